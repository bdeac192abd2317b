"""When syncs run by themselves."""

from collections.abc import Iterator

import dagster as dg

from assets.jobs import JOBS, hourly_sync
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
    description="Every hour, one run for each active connection.",
)
def hourly(
    context: dg.ScheduleEvaluationContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run per active connection; what cannot or need not be synced is skipped with a reason."""
    known = installation.connections.all()
    if not known:
        yield dg.SkipReason("No company is connected yet: pennylane-sync connect")
        return
    reasons = {connection.company_id: _reason_to_skip(context.instance, connection) for connection in known}
    for company_id, reason in reasons.items():
        if reason is None:
            yield dg.RunRequest(
                run_key=f"{company_id} {context.scheduled_execution_time:%Y-%m-%dT%H:%MZ}",
                partition_key=str(company_id),
            )
    skipped = [f"{company_id}: {reason}" for company_id, reason in reasons.items() if reason]
    if len(skipped) == len(known):
        yield dg.SkipReason("; ".join(skipped))


def _reason_to_skip(instance: dg.DagsterInstance, connection: Connection) -> str | None:
    match connection.state:
        case "disconnected":
            return "disconnected"
        case "needs_authorization":
            return f"must be authorized again: pennylane-sync connect ({connection.authorization_lost})"
        case "connected":
            return "not activated yet: pennylane-sync activate"
        case "syncing" if connection.lease:
            return f"a run still goes on ({connection.lease.purpose}, since {connection.lease.acquired_at:%H:%M} UTC)"
    for job in JOBS:
        unfinished = instance.get_run_records(
            dg.RunsFilter(
                job_name=job.name, statuses=UNFINISHED, tags={"dagster/partition": str(connection.company_id)}
            ),
            limit=1,
        )
        if unfinished:
            return f"a run still goes on ({job.name})"
    return None
