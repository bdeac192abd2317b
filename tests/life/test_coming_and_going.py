"""Disconnecting, coming back, and what is said of it beside the data."""

import time

from sandbox.server import SandboxServer
from tests.cli.test_disconnect import connect_in_browser
from tests.program import Program, control


def _synchronized(program: Program) -> set[tuple[bool, ...]]:
    return {
        *program.rows("SELECT DISTINCT synchronized FROM open_invoices"),
        *program.rows("SELECT DISTINCT synchronized FROM account_balances"),
    }


def test_the_data_of_a_disconnected_company_is_marked_as_no_longer_updated_until_it_comes_back(
    synced: Program, sandbox: SandboxServer
) -> None:
    assert synced.rows("SELECT company_name, disconnected_at FROM companies") == [(sandbox.world.name, None)]
    assert _synchronized(synced) == {(True,)}
    invoices = synced.rows("SELECT * FROM invoices ORDER BY invoice_id")

    synced.run("disconnect", "--yes")

    ((since,),) = synced.rows("SELECT disconnected_at FROM companies")
    assert since is not None
    assert _synchronized(synced) == {(False,)}
    assert synced.rows("SELECT * FROM invoices ORDER BY invoice_id") == invoices

    synced.done("connect", "--token-stdin", stdin=sandbox.token())
    synced.done("sync")

    assert synced.rows("SELECT disconnected_at FROM companies") == [(None,)]
    assert _synchronized(synced) == {(True,)}


def test_coming_back_after_more_than_four_weeks_lists_everything_again(synced: Program, sandbox: SandboxServer) -> None:
    synced.run("disconnect", "--yes")
    control(sandbox, "POST", "clock", advance_seconds=5 * 7 * 86_400)
    gone = next(one.id for one in sandbox.world.invoices if one.settles)
    control(sandbox, "POST", "changes/delete_invoice", id=gone)
    control(sandbox, "POST", "clock", advance_seconds=5 * 7 * 86_400)

    synced.done("connect", "--token-stdin", stdin=sandbox.token())
    tables = synced.done("sync", "--json").document["tables"]

    assert tables["invoices"]["mode"] == "full"
    assert synced.rows(f"SELECT count(*) FROM invoices WHERE invoice_id = {gone}") == [(0,)]


def test_disconnecting_stops_a_sync_that_runs_and_keeps_what_is_there(synced: Program, sandbox: SandboxServer) -> None:
    held = synced.accounts(sandbox.world.id)
    control(sandbox, "POST", "faults", path="/payments$", kind="latency", seconds=1, times=None)
    with synced.start("sync", "--full") as running:
        deadline = time.monotonic() + 60
        while synced.status()[0]["state"] != "syncing" and time.monotonic() < deadline:
            assert running.poll() is None, running.communicate()
        synced.run("disconnect", "--yes")
        _, said = running.communicate(timeout=120)

    assert running.returncode == 1
    assert "disconnect" in said
    assert "Traceback" not in said
    assert synced.status()[0]["state"] == "disconnected"
    assert synced.accounts(sandbox.world.id) == held


def test_an_authorization_that_lapsed_after_90_days_is_said_and_connecting_again_heals_it(
    synced: Program, sandbox: SandboxServer
) -> None:
    connect_in_browser(synced, sandbox)
    control(sandbox, "POST", "clock", advance_seconds=91 * 86_400)

    assert "pennylane-sync connect" in synced.fails("sync")
    (status,) = synced.status()
    assert status["state"] == "needs_authorization"
    assert status["last_error"]

    connect_in_browser(synced, sandbox)
    synced.done("sync")
    (status,) = synced.status()
    assert (status["state"], status["last_error"]) == ("active", None)


def test_companies_side_by_side_do_not_mix_and_one_ones_trouble_is_not_the_others(
    synced: Program, sandbox: SandboxServer
) -> None:
    first, second = sandbox.worlds
    synced.done("connect", "--token-stdin", stdin=sandbox.token(second))
    assert synced.accounts(second.id) == {one.id for one in second.customers}
    assert synced.accounts(first.id).isdisjoint(synced.accounts(second.id))

    control(sandbox, "POST", f"tokens/revoke_all?company={second.id}")
    assert str(second.id) in synced.fails("sync", "--company", str(second.id))
    synced.done("sync", "--company", str(first.id))

    states = {one["company_id"]: one["state"] for one in synced.status()}
    assert states == {first.id: "active", second.id: "needs_authorization"}
