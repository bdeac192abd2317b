"""When syncs, comparisons and the deletion of old runs happen by themselves."""

from collections.abc import Iterator

import dagster as dg

from assets.abandoned import end_abandoned
from assets.jobs import hourly_sync, verify
from assets.old_runs import delete_old_runs
from assets.partitions import register
from assets.skipping import NO_COMPANY, reasons_to_skip, told
from resources.installation import Installation


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
        yield dg.SkipReason(NO_COMPANY)
        return
    register(context.instance, known)
    at_work = {connection.company_id for connection in known if connection.lease}
    for run_id in end_abandoned(context.instance, at_work, installation.clock()):
        context.log.warning(f"Run {run_id} was marked as failed: its process ended without a word.")
    reasons = reasons_to_skip(context.instance, known)
    for connection in known:
        if connection.company_id not in reasons:
            yield dg.RunRequest(
                run_key=f"{connection.company_id} {context.scheduled_execution_time:%Y-%m-%dT%H:%MZ}",
                partition_key=str(connection.company_id),
            )
    skipped = told(reasons)
    if len(reasons) == len(known):
        yield dg.SkipReason(skipped)
    elif skipped:
        context.log.info(f"Skipped: {skipped}")
