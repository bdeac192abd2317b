"""Dagster's asset checks: they pass and fail company by company, and tell counts, nothing personal."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest

from assets.schedules import daily_verification
from sandbox.server import SandboxServer
from tests.assets.dagster import DagsterSide, dagster_side, failure
from tests.program import NOW, Program, control

TABLES = {"accounts", "invoices", "credit_notes"}
COUNTS = {"agree", "missing", "differing", "left_over", "changed_since", "left_out", "unreadable"}


@pytest.fixture
def side(synced: Program) -> Iterator[DagsterSide]:
    with dagster_side(synced) as side:
        yield side


def sql(program: Program, statement: str) -> None:
    with program.sql_tool() as tool:
        tool.execute(statement)


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    assert result.success
    found = {one.asset_key.to_user_string(): one for one in result.get_asset_check_evaluations()}
    assert {one.check_name for one in found.values()} == {"equals_pennylane"}
    return found


def test_the_checks_pass_after_a_sync_for_the_company_of_the_run(side: DagsterSide, sandbox: SandboxServer) -> None:
    checked = evaluations(side.run("verify", sandbox.world.id))
    assert checked.keys() == TABLES
    for one in checked.values():
        assert one.passed
        assert one.partition == str(sandbox.world.id)
        assert one.metadata.keys() >= COUNTS | {"last_sync", "requests"}
        assert one.target_materialization_data is not None


def test_the_checks_fail_on_damage_with_counts_and_nothing_personal_until_a_full_sync(
    side: DagsterSide, synced: Program, sandbox: SandboxServer
) -> None:
    company = sandbox.world.id
    names = {name for (name,) in synced.rows("SELECT name FROM accounts")}
    sql(synced, "UPDATE accounts SET name = 'Somebody ' || name, notes = 'secret'")
    sql(synced, "DELETE FROM credit_notes")

    checked = evaluations(side.run("verify", company))

    assert {table: one.passed for table, one in checked.items()} == {
        "accounts": False,
        "invoices": True,
        "credit_notes": False,
    }
    assert checked["accounts"].metadata["differing"].value == len(names)
    assert checked["credit_notes"].metadata["missing"].value != 0
    assert "full_sync" in str(checked["accounts"].description)
    kept = side.events()
    assert [name for name in names if name in kept] == []
    assert "secret" not in kept.replace("PENNYLANE_CLIENT_SECRET", "")
    assert sandbox.token() not in kept

    assert side.run("full_sync", company).success
    assert all(one.passed for one in evaluations(side.run("verify", company)).values())


def test_a_check_that_cannot_be_made_fails_the_run_with_one_line_and_leaves_the_status_alone(
    side: DagsterSide, sandbox: SandboxServer
) -> None:
    company = sandbox.world.id
    control(sandbox, "POST", "faults", path="/customers", kind="status", status=400, times=None)
    assert failure(side.run("verify", company)).startswith(f"Pennylane (company {company}) refused /customers")
    assert side.installation.connections.get(company).last_error is None
    control(sandbox, "DELETE", "faults")
    with side.installation.connections.lease(company, "somebody", "full_sync"):
        assert "is being worked on" in failure(side.run("verify", company))


def test_syncs_run_no_checks(side: DagsterSide, sandbox: SandboxServer) -> None:
    assert side.run("hourly_sync", sandbox.world.id).get_asset_check_evaluations() == []


def test_the_daily_schedule_asks_for_a_run_of_each_active_company(
    side: DagsterSide, synced: Program, sandbox: SandboxServer
) -> None:
    second = sandbox.worlds[1]
    synced.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token(second))
    with dg.build_schedule_context(
        instance=side.instance,
        scheduled_execution_time=NOW + timedelta(days=1),
        repository_def=side.definitions.get_repository_def(),
        resources={"installation": side.installation},
    ) as context:
        (request,) = daily_verification.evaluate_tick(context).run_requests or []
    assert request.partition_key == str(sandbox.world.id)
    assert request.tags["dagster/partition"] == str(sandbox.world.id)
