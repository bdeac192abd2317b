"""Dagster's books do not grow for ever: runs are forgotten after some time, the tables are not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from assets.verification import CHECK
from pipelines.tables import INVOICES
from sandbox.server import SandboxServer
from tests.assets.dagster import dagster_side
from tests.program import Program


def _checked_by(instance: dg.DagsterInstance) -> set[str]:
    """The runs whose result of the check of invoices Dagster knows."""
    check = dg.AssetCheckKey(dg.AssetKey(INVOICES.name), CHECK)
    return {one.run_id for one in instance.event_log_storage.get_asset_check_execution_history(check, limit=10)}


def test_runs_older_than_the_setting_says_are_deleted_with_all_that_dagster_keeps_of_them(
    synced: Program, sandbox: SandboxServer
) -> None:
    company = sandbox.world.id
    with dagster_side(synced) as side:
        (first,) = side.instance.get_runs()
        unfinished = side.instance.create_run_for_job(
            side.definitions.resolve_job_def("hourly_sync"), status=dg.DagsterRunStatus.STARTED
        ).run_id
        verified = side.run("verify", company).run_id
        between = datetime.now(UTC)
        later = side.run("hourly_sync", company).run_id
        verified_later = side.run("verify", company).run_id
        assert _checked_by(side.instance) == {verified, verified_later}
        captured = Path(side.instance.storage_directory(), first.run_id, "compute_logs", "step.err")
        captured.parent.mkdir(parents=True)
        captured.write_text("what an earlier version captured", encoding="utf-8")
    before = synced.status(), synced.accounts(company)

    days = timedelta(days=10)
    with dagster_side(synced.with_settings(PENNYLANE_SYNC_KEEP_RUNS_DAYS="10"), lambda: between + days) as side:
        deletion = side.run_alone("delete_old_runs")

        assert deletion.success
        assert {run.run_id for run in side.instance.get_runs()} == {unfinished, later, verified_later, deletion.run_id}
        assert _checked_by(side.instance) == {verified_later}
        assert side.instance.all_logs(later) != []
        said = [entry.user_message for entry in side.instance.all_logs(deletion.run_id)]
        assert "Deleted 2 runs older than 10 days, with their event logs." in said
    kept = [path for path in (synced.home / "dagster").rglob("*") if first.run_id in str(path) or verified in str(path)]
    assert kept == []
    assert (synced.status(), synced.accounts(company)) == before
