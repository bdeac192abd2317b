"""For which connections no run is asked for, and why."""

from collections.abc import Mapping, Sequence

import dagster as dg

from resources.connections import Connection

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


NO_COMPANY = "No company is connected yet: pennylane-sync connect"


def reasons_to_skip(instance: dg.DagsterInstance, known: Sequence[Connection]) -> dict[int, str]:
    """By company, why no run is to be started now: it cannot be worked on, or is being worked on."""
    unfinished = _unfinished_runs(instance)
    reasons = {one.company_id: _reason_to_skip(one, unfinished) for one in known}
    return {company_id: reason for company_id, reason in reasons.items() if reason}


def told(reasons: Mapping[int, str]) -> str:
    """All of them, in one line."""
    return "; ".join(f"{company_id}: {reason}" for company_id, reason in reasons.items())


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
