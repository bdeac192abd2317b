"""When syncs, comparisons and the deletion of old runs happen by themselves."""

from collections.abc import Iterator

import dagster as dg

from assets.abandoned import end_abandoned
from assets.jobs import hourly_sync, verify
from assets.old_runs import delete_old_runs
from assets.partitions import connections
from resources.connections import Connection
from resources.installation import Installation

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.schedule(
    job=hourly_sync,
    cron_schedule="0 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every hour, one run for each active connection. What is skipped, and why, stands in the tick's log.",
)
def hourly(
    context: dg.ScheduleEvaluationContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run per active connection."""
    yield from _a_run_each(context, installation)


@dg.schedule(
    job=verify,
    cron_schedule="30 3 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night at 03:30 UTC, between two hourly syncs, if you switch it on: one comparison with "
    "Pennylane for each active connection, about a request per hundred rows.",
)
def daily_verification(
    context: dg.ScheduleEvaluationContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One comparison per active connection."""
    yield from _a_run_each(context, installation)


daily_deletion = dg.ScheduleDefinition(
    name="daily_deletion",
    job=delete_old_runs,
    cron_schedule="45 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 02:45 UTC: runs older than PENNYLANE_SYNC_KEEP_RUNS_DAYS are deleted, with their event "
    "logs.",
)


def _a_run_each(
    context: dg.ScheduleEvaluationContext, installation: Installation
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run per active connection; what cannot or need not be worked on is skipped with a reason.

    Dagster takes a SkipReason only where nothing runs, so beside runs the reasons go to the tick's log.
    """
    known = installation.connections.all()
    if not known:
        yield dg.SkipReason("No company is connected yet: pennylane-sync connect")
        return
    # They are registered when they are connected, but on that machine; the connections may be shared.
    context.instance.add_dynamic_partitions(
        str(connections.name), [str(connection.company_id) for connection in known if not connection.disconnected_at]
    )
    at_work = {connection.company_id for connection in known if connection.lease}
    for run_id in end_abandoned(context.instance, at_work, installation.clock()):
        context.log.warning(f"Run {run_id} was marked as failed: its process ended without a word.")
    unfinished = _unfinished_runs(context.instance)
    skipped: list[str] = []
    for connection in known:
        reason = _reason_to_skip(connection, unfinished)
        if reason:
            skipped.append(f"{connection.company_id}: {reason}")
        else:
            yield dg.RunRequest(
                run_key=f"{connection.company_id} {context.scheduled_execution_time:%Y-%m-%dT%H:%MZ}",
                partition_key=str(connection.company_id),
            )
    if len(skipped) == len(known):
        yield dg.SkipReason("; ".join(skipped))
    elif skipped:
        context.log.info(f"Skipped: {'; '.join(skipped)}")


def _unfinished_runs(instance: dg.DagsterInstance) -> dict[str, str]:
    """By partition, the job of a run that is queued or goes on."""
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    return {run.tags.get("dagster/partition", ""): run.job_name for run in runs}


def _reason_to_skip(connection: Connection, unfinished: dict[str, str]) -> str | None:
    match connection.state:
        case "disconnected":
            return "disconnected"
        case "needs_authorization":
            return f"must be authorized again: pennylane-sync connect ({connection.authorization_lost})"
        case "connected":
            return "not activated yet: pennylane-sync activate"
        case "syncing" if connection.lease:
            return f"a run still goes on ({connection.lease.purpose}, since {connection.lease.acquired_at:%H:%M} UTC)"
    job = unfinished.get(str(connection.company_id))
    return f"a run still goes on ({job})" if job else None
