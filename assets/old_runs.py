"""Deletes old runs. Dagster purges its schedules' ticks (dagster.yaml), but keeps runs and event logs for ever."""

import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

from resources.installation import Installation

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_AT_ONCE = 500


def delete_runs(instance: dg.DagsterInstance, before: datetime) -> Iterator[int]:
    """Delete the finished runs that were created before a moment, with their event logs and output.

    What they materialized leaves the assets' history, too; the tables are not touched. Yields, now and then, how many
    were deleted since it last did.
    """
    old = dg.RunsFilter(statuses=_FINISHED, created_before=before)
    while runs := instance.get_runs(old, limit=_AT_ONCE):
        _delete_check_results(instance, [run.run_id for run in runs])  # first: nobody would find them afterwards
        for run in runs:
            _delete(instance, run.run_id)
        yield len(runs)


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    shutil.rmtree(Path(instance.storage_directory(), run_id), ignore_errors=True)  # output, which was captured once
    instance.delete_run(run_id)
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        # A file of its own per run, of which Dagster deletes the rows only.
        Path(storage.path_for_shard(run_id)).unlink(missing_ok=True)


def _delete_check_results(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """What the runs' checks found, which Dagster keeps when it deletes a run."""
    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        with storage.index_connection() as connection:
            of_these = AssetCheckExecutionsTable.c.run_id.in_(run_ids)
            connection.execute(AssetCheckExecutionsTable.delete().where(of_these))


@dg.op(name="delete")
def _deletion(context: dg.OpExecutionContext, installation: dg.ResourceParam[Installation]) -> None:
    days = installation.settings.pennylane_sync_keep_runs_days
    deleted = 0
    for some in delete_runs(context.instance, installation.clock() - timedelta(days=days)):
        deleted += some
        # A run that is silent for long is taken for dead (assets/abandoned.py).
        context.log.info(f"{deleted} runs deleted so far")
    context.log.info(f"Deleted {deleted} runs older than {days} days, with their event logs.")
    context.add_output_metadata({"runs_deleted": deleted})


@dg.job(
    name="delete_old_runs",
    description="Deletes runs, with their event logs, that are older than PENNYLANE_SYNC_KEEP_RUNS_DAYS. Tables are "
    "not touched.",
)
def delete_old_runs() -> None:
    """One step, which says how many."""
    _deletion()
