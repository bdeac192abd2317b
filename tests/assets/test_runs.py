"""Runs as the schedule and a backfill launch them: what they materialize, and how they fail."""

import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import update

from pipelines.details import DetailsReport, DetailsSync, Share
from pipelines.errors import PennylaneUnreachable
from pipelines.progress import Progress
from pipelines.warehouse import warehouse_at
from resources.store import Store, leases
from sandbox.changes.customers import update_customer
from sandbox.changes.invoices import update_invoice
from sandbox.server import SandboxServer
from tests.assets.dagster import DagsterSide, dagster_side, failure
from tests.pipelines.truth import differences, expected, held
from tests.program import NOW, Program, control

COUNTS = {"rows_in", "rows_added", "rows_changed", "rows_removed", "requests", "seconds_waited_for_limit"}
FEEDS = {"cursor /changelogs/customers", "cursor /changelogs/customer_invoices"}


@pytest.fixture
def side(synced: Program) -> Iterator[DagsterSide]:
    with dagster_side(synced) as side:
        yield side


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, object]]:
    assert result.success
    return {
        event.asset_key.to_user_string(): {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.all_events
        if event.is_step_materialization and event.asset_key
    }


def texts(value: object) -> Iterator[str]:
    """Every text within a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


def test_a_first_and_an_hourly_run_materialize_every_asset_with_counts_and_nothing_personal(
    program: Program, sandbox: SandboxServer
) -> None:
    program.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token())
    company = sandbox.world.id
    with dagster_side(program) as side:
        first = metadata(side.run("initial_sync", company))
        control(sandbox, "POST", "changes/update_customer")
        hourly = metadata(side.run("hourly_sync", company))
        assert len(first) == len(hourly) == 10
        for key in first:
            latest = side.instance.get_latest_materialization_event(dg.AssetKey(key))
            assert latest is not None
            assert latest.dagster_event is not None
            assert latest.dagster_event.partition == str(company)
        kept = side.events()

    customers = len(sandbox.world.customers)
    assert first["accounts"].items() >= {"rows_in": customers, "rows_added": customers, "mode": "first"}.items()
    assert hourly["accounts"].items() >= {"rows_in": 1, "rows_changed": 1, "mode": "incremental"}.items()
    for table in ("accounts", "invoices", "credit_notes"):
        assert hourly[table].keys() >= COUNTS | FEEDS
    assert hourly["contacts"].keys() >= COUNTS | {"accounts_still_to_be_read", "ready"}
    assert hourly["payments"].keys() >= COUNTS | {"invoices_still_to_be_read", "ready"}
    assert first["excluded_accounts"] == {"excluded_accounts": 0}
    assert first["open_invoices"].keys() == {"rows", "outstanding_euros"}

    assert sandbox.token() not in kept
    state = control(sandbox, "GET", "state")
    names = {text for one in state["customers"] for text in (one["name"], one["phone"], *one["emails"]) if text}
    people = {text for text in texts(state["contacts"]) if "@" in text}
    assert len(names) > customers
    assert people
    assert [text for text in names | people if text in kept] == []


def test_a_run_that_pennylane_refuses_fails_with_one_line_and_the_next_one_heals(
    side: DagsterSide, sandbox: SandboxServer
) -> None:
    company = sandbox.world.id
    control(sandbox, "POST", "faults", path="/changelogs/", kind="status", status=400, times=None)
    failed = side.run("hourly_sync", company)
    said = failure(failed)
    assert said.startswith(f"Pennylane (company {company}) refused /changelogs/")
    assert "\n" not in said
    (step,) = (event.step_failure_data for event in failed.all_node_events if event.is_step_failure)
    assert step.error is not None
    assert step.error.cause is None
    assert step.error.context is None
    assert side.installation.connections.get(company).last_error == said
    assert side.tick()[0].keys() == {str(company)}
    control(sandbox, "DELETE", "faults")
    assert side.run("hourly_sync", company).success
    assert side.installation.connections.get(company).last_error is None


def warnings(side: DagsterSide, result: dg.ExecuteInProcessResult) -> list[str]:
    """What the log of a run shows as such."""
    entries = side.instance.all_logs(result.run_id)
    return [entry.user_message for entry in entries if entry.level == logging.WARNING]


def test_what_cannot_be_read_is_told_by_the_materializations_and_the_run_s_log_until_it_can_be(
    side: DagsterSide, sandbox: SandboxServer, left_out: list[int]
) -> None:
    world = sandbox.world
    account = next(one for one in world.customers if one.id not in left_out)
    invoice = next(one for one in world.invoices if one.settles and one.matches and one.customer_id not in left_out)
    update_customer(world, id=account.id)
    update_invoice(world, id=invoice.id)
    wrong = {"created_at": "yesterday"}
    control(
        sandbox, "POST", "faults", path="/customers$", kind="changed", item=wrong, only_ids=[account.id], times=None
    )
    control(
        sandbox, "POST", "faults", path=f"/{invoice.id}/matched_transactions$", kind="status", status=400, times=None
    )
    of_the_account = f"accounts {account.id}: created_at is no timestamp with time zone"
    of_the_invoice = f"payments of invoice {invoice.id}: matched_transactions refused with status 400"
    for _ in range(2):
        result = side.run("hourly_sync", world.id)
        told = metadata(result)
        assert (told["accounts"]["set_aside"], told["accounts"]["set_aside_reasons"]) == (1, [of_the_account])
        assert (told["payments"]["set_aside"], told["payments"]["set_aside_reasons"]) == (1, [of_the_invoice])
        assert [told[table]["set_aside"] for table in ("invoices", "credit_notes", "contacts")] == [0, 0, 0]
        said = "Set aside, since it cannot be read; each sync tries again: "
        assert warnings(side, result) == [said + of_the_account, said + of_the_invoice]
    kept = side.events()
    assert [text for text in (account.name, *account.emails, wrong["created_at"]) if text in kept] == []

    control(sandbox, "DELETE", "faults")
    result = side.run("hourly_sync", world.id)
    told = metadata(result)
    assert [told[table]["set_aside"] for table in ("accounts", "payments")] == [0, 0]
    assert not any("set_aside_reasons" in one for one in told.values())
    assert warnings(side, result) == []
    truth = expected(world, sandbox.url, left_out)
    assert differences(held(side.installation.warehouse, world.id), truth) == []


def test_an_unreachable_pennylane_fails_the_run_with_what_to_check(
    side: DagsterSide, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.client.Pennylane._backoff", lambda *_: 0)
    side.installation.settings = side.installation.settings.model_copy(update={"pennylane_url": "http://127.0.0.1:9"})
    said = failure(side.run("hourly_sync", sandbox.world.id))
    assert "gave no usable answer" in said
    assert "check the network and PENNYLANE_URL" in said
    assert side.installation.connections.get(sandbox.world.id).last_error == said


def test_a_revoked_token_stops_the_schedule_until_the_company_is_connected_again(
    side: DagsterSide, synced: Program, sandbox: SandboxServer
) -> None:
    company = sandbox.world.id
    control(sandbox, "POST", "tokens/revoke_all")
    assert "Connect it again" in failure(side.run("hourly_sync", company))
    connection = side.installation.connections.get(company)
    assert connection.state == "needs_authorization"
    requests, reason = side.tick()
    assert requests == {}
    assert reason is not None
    assert reason.startswith(f"{company}: must be authorized again: pennylane-sync connect")
    assert "must be authorized again" in failure(side.run("hourly_sync", company))

    synced.done("connect", "--token-stdin", stdin=control(sandbox, "POST", "tokens")["token"])
    assert side.tick()[0].keys() == {str(company)}
    assert side.run("hourly_sync", company).success


def test_a_scope_taken_away_is_named_and_stops_the_schedule_too(
    side: DagsterSide, synced: Program, sandbox: SandboxServer
) -> None:
    company = sandbox.world.id
    narrow = control(sandbox, "POST", "tokens", scopes=["customers:readonly"])["token"]
    with side.installation.connections.token_slot(company) as slot:
        slot.replace(type(slot.credential())(narrow))
    assert "customer_invoices:readonly" in failure(side.run("hourly_sync", company))
    assert side.installation.connections.get(company).state == "needs_authorization"
    assert "customer_invoices:readonly" in str(side.tick()[1])
    synced.done("connect", "--token-stdin", stdin=sandbox.token())
    assert side.run("hourly_sync", company).success


def test_a_disconnected_company_is_left_alone_by_a_run_that_was_launched_before(
    side: DagsterSide, synced: Program, sandbox: SandboxServer
) -> None:
    synced.run("disconnect", "--yes")
    control(sandbox, "DELETE", "requests")
    assert "is disconnected" in failure(side.run("hourly_sync", sandbox.world.id))
    assert control(sandbox, "GET", "requests")["total"] == 0


def test_a_command_for_a_company_that_has_to_be_connected_again_makes_no_run(
    side: DagsterSide, synced: Program, sandbox: SandboxServer
) -> None:
    control(sandbox, "POST", "tokens/revoke_all")
    synced.fails("sync")
    runs = side.instance.get_runs_count()
    for command in ("sync", "activate"):
        assert "must be authorized again" in synced.fails(command)
    synced.run("disconnect", "--yes")
    assert "is disconnected" in synced.fails("sync")
    assert side.instance.get_runs_count() == runs


def test_a_run_finds_the_lease_held_says_by_whom_and_touches_nothing(
    side: DagsterSide, synced: Program, sandbox: SandboxServer
) -> None:
    company = sandbox.world.id
    before = held(warehouse_at(synced.warehouse_url), company, with_times=True)
    control(sandbox, "DELETE", "requests")
    with side.installation.connections.lease(company, "somebody", "full_sync"):
        said = failure(side.run("hourly_sync", company))
    assert f"Company {company} is being worked on: full_sync (somebody), since" in said
    assert control(sandbox, "GET", "requests")["total"] == 0
    assert held(warehouse_at(synced.warehouse_url), company, with_times=True) == before
    assert side.installation.connections.get(company).last_error is None
    assert side.run("hourly_sync", company).success


def test_a_run_that_repeats_a_dead_one_waits_until_it_is_sure_that_nobody_works_on_the_company(
    side: DagsterSide, synced: Program, sandbox: SandboxServer
) -> None:
    company = sandbox.world.id
    repeated = {"dagster/retry_number": "1"}
    with side.installation.connections.lease(company, "run of old", "hourly_sync"):
        with Store(side.installation.settings.connections_url).writing() as transaction:
            last_seen = datetime.now(UTC) - timedelta(seconds=50)
            transaction.execute(update(leases).values(host="elsewhere pid:[1]", holder="dead", renewed_at=last_seen))
        assert "on elsewhere" in failure(side.run("hourly_sync", company))
        assert side.run("hourly_sync", company, tags=repeated).success


def test_two_companies_are_synchronized_at_once_into_one_duckdb_file(synced: Program, sandbox: SandboxServer) -> None:
    first, second = sandbox.worlds
    synced.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token(second))
    full = synced.start("sync", "--full", "--company", str(first.id))
    initial = synced.start("activate", "--company", str(second.id))
    for process in (full, initial):
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
    assert synced.accounts(first.id) == {one.id for one in list(first.customers)[2:]}
    assert synced.accounts(second.id) == {one.id for one in second.customers}
    assert [one["ready"] for one in synced.status()] == [True, True]


def test_materializing_the_lists_alone_leaves_out_what_is_excluded_by_then(
    program: Program, sandbox: SandboxServer
) -> None:
    company = sandbox.world
    left_out = [customer.id for customer in company.customers][:2]
    ids = ",".join(map(str, left_out))
    program.done("connect", "--token-stdin", "--no-activate", "--exclude", ids, stdin=sandbox.token())
    with dagster_side(program) as side:
        lists = [dg.AssetKey(name) for name in ("accounts", "invoices", "credit_notes")]
        assert side.run("hourly_sync", company.id, asset_selection=lists).success
    assert program.accounts(company.id) == {one.id for one in company.customers} - set(left_out)
    assert program.rows("SELECT count(*) FROM excluded_accounts") == [(2,)]


def test_an_exclusion_set_while_a_run_goes_on_holds_from_the_next_run_on(
    program: Program, sandbox: SandboxServer
) -> None:
    company = sandbox.world
    account = next(one.id for one in company.customers if one.contacts)
    program.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token())
    with dagster_side(program) as side:
        connections = side.installation.connections

        def exclude(_: Progress) -> None:
            connections.exclude(company.id, [account], "somebody")

        side.installation.watch = exclude
        assert side.run("initial_sync", company.id).success
        contacts = program.rows("SELECT * FROM contacts WHERE account_id = ?", account)
        assert contacts
        assert program.rows("SELECT count(*) FROM excluded_accounts") == [(0,)]

        control(sandbox, "POST", "changes/create_contact", customer_id=account)
        control(sandbox, "POST", "changes/update_customer", id=account)
        assert side.run("hourly_sync", company.id).success
    assert program.rows("SELECT account_id FROM excluded_accounts") == [(account,)]
    assert program.rows("SELECT * FROM contacts WHERE account_id = ?", account) == contacts


def test_a_run_s_log_tells_how_far_it_is_how_fast_it_goes_and_how_long_it_will_take(
    program: Program, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.run_log.RunLog._EVERY_SECONDS", 0.0)
    program.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token())
    with dagster_side(program) as side:
        assert side.run("initial_sync", sandbox.world.id).success
        assert re.search(r"Contacts, payments: [\d,]+ of [\d,]+, [\d,.]+ a second, \d+ (s|min|h) left", side.events())


def test_a_first_run_tells_when_the_company_is_ready_and_leaves_history_to_the_hourly_ones(
    program: Program, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.receivables._FIRST_HISTORY_SECONDS", 0.0)
    company = sandbox.world.id
    program.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token())
    with dagster_side(program.with_settings(PENNYLANE_SYNC_DETAIL_REQUESTS="0")) as side:
        first = metadata(side.run("initial_sync", company))
        assert first["payments"]["ready"] is True
        assert first["payments"]["invoices_still_to_be_read"] != 0
        assert "Ready: all that is needed for follow-up is in." in side.events()
    (status,) = program.status()
    assert (status["state"], status["ready"]) == ("active", True)
    assert status["pending_payments"] == first["payments"]["invoices_still_to_be_read"]

    said = program.with_settings(PENNYLANE_SYNC_DETAIL_REQUESTS="0").done("sync").out
    assert "Ready: all that is needed for follow-up is in. The history of" in said
    assert said.rstrip().endswith("waits: PENNYLANE_SYNC_DETAIL_REQUESTS is 0.")
    assert program.done("sync").out.rstrip().endswith("Everything is in.")
    assert program.status()[0]["pending_payments"] == 0


def test_a_first_sync_that_was_stopped_goes_on_without_reading_again_what_it_has_just_read(
    program: Program, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whichever job; once a sync has come to its end, all is read again in turn."""
    company, again_after = sandbox.world.id, list[timedelta]()
    run = DetailsSync.run

    def noted(sync: DetailsSync, share: Share, ready: Callable[[], None]) -> DetailsReport:
        again_after.append(share.again_after)
        if len(again_after) == 1:
            raise PennylaneUnreachable("the network is gone")
        return run(sync, share, ready)

    monkeypatch.setattr(DetailsSync, "run", noted)
    program.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token())
    with dagster_side(program) as side:
        assert not side.run("initial_sync", company).success
        assert side.run("hourly_sync", company).success
        assert side.run("hourly_sync", company).success
    assert again_after == [timedelta(minutes=30), timedelta(minutes=30), timedelta()]


@pytest.mark.parametrize(
    ("began", "passed_and_left"),
    [("00:05", {0: 3475, 600: 2875}), ("40:00", {0: 1080, 1140: 0, 1300: 3380}), ("58:30", {0: 120, 50: 70, 85: 35})],
)
def test_history_and_reading_again_end_before_the_next_hourly_run_is_due_which_would_be_left_out(
    program: Program,
    sandbox: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    began: str,
    passed_and_left: dict[int, float],
) -> None:
    """Two minutes before the hour; a run that has just begun has two minutes."""
    minute, second = map(int, began.split(":"))
    now = [NOW.replace(minute=minute, second=second)]
    left: dict[int, float] = {}
    run = DetailsSync.run

    def noted(sync: DetailsSync, share: Share, ready: Callable[[], None]) -> DetailsReport:
        then = now[0]
        for passed in passed_and_left:
            now[0] = then + timedelta(seconds=passed)
            left[passed] = share.longest()
        now[0] = then
        return run(sync, share, ready)

    monkeypatch.setattr(DetailsSync, "run", noted)
    program.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token())
    with dagster_side(program, lambda: now[0]) as side:
        assert side.run("initial_sync", sandbox.world.id).success
    assert left == passed_and_left
