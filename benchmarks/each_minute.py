"""What Dagster's servers load for a benchmark of runs: the hourly schedule, but every minute, or when CRON says."""

import os
from collections.abc import Iterator

import dagster as dg

from assets import definitions
from assets.forked_runs import fork_runs
from assets.jobs import hourly_sync
from assets.schedules import hourly
from resources.installation import Installation

CRON = "BENCHMARK_CRON"


@dg.schedule(
    name=hourly.name,
    job=hourly_sync,
    cron_schedule=os.environ.get(CRON, "* * * * *"),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    required_resource_keys={"installation"},
)
def _each_minute(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    yield from hourly(context)  # type: ignore[misc]


def _definitions() -> dg.Definitions:
    real = definitions(Installation())
    return dg.Definitions(
        assets=real.assets,
        asset_checks=real.asset_checks,
        jobs=real.jobs,
        schedules=[_each_minute],
        resources=real.resources,
        executor=real.executor,
    )


fork_runs()
defs = _definitions()
