"""What looks for changes between the hourly syncs, where somebody has switched it on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import dagster as dg

from assets.jobs import hourly_sync
from assets.partitions import register
from assets.skipping import NO_COMPANY, reasons_to_skip, told
from resources.connections import Connection
from resources.installation import USER_ERRORS, Installation

_AT_ONCE = 8
"""Companies that are asked about; each has a limit of its own at Pennylane."""

CHANGES_ONLY = {"ops": {"sync_details": {"config": {"changes_only": True}}}}


@dg.sensor(
    name="changes",
    job=hourly_sync,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Every minute, if you switch it on: two requests for each active connection, and a run for those of "
    "which Pennylane tells of changes. It reads these; history, and reading again, are left to the hourly runs.",
)
def changes(
    context: dg.SensorEvaluationContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """A run for each connection with news that nobody works on."""
    known = installation.connections.all()
    register(context.instance, known)
    reasons = reasons_to_skip(context.instance, known)

    def ask(connection: Connection) -> str | None:
        """Why there is nothing to do, if so."""
        if connection.last_error:
            return "the last sync failed, and the next hourly one tries again"
        try:
            return None if installation.has_news(connection.company_id) else "nothing new"
        except USER_ERRORS as error:
            return str(error)

    idle = [one for one in known if one.company_id not in reasons]
    with ThreadPoolExecutor(_AT_ONCE) as executor:
        for connection, reason in zip(idle, executor.map(ask, idle), strict=True):
            if reason:
                reasons[connection.company_id] = reason
            else:
                yield dg.RunRequest(partition_key=str(connection.company_id), run_config=CHANGES_ONLY)
    if len(reasons) == len(known):
        yield dg.SkipReason(told(reasons) or NO_COMPANY)
