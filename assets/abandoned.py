"""Runs whose process ended without a word (a power cut, a container that was killed).

Dagster takes them for running for ever (its default launcher cannot ask how a run is), and one run per company goes at
a time: the company would never be synchronized again. Where the process that starts runs outlived them it told Dagster
at once, and where each has a pod of its own Dagster asks (deploy/); such runs never come here.

Ended here, a run is failed like any other: a deployment that repeats runs repeats it, before or after the hourly one.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

import dagster as dg

SILENT_FOR = timedelta(minutes=5)


def end_abandoned(instance: dg.DagsterInstance, at_work: Collection[int], now: datetime) -> list[str]:
    """Mark as failed the runs that have been silent for five minutes while nobody holds their company's lease.

    `at_work` are the companies whose lease is held. Returns the ids of the runs.
    """
    started = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    abandoned = [run for run in started if _company_of(run) not in at_work and _silent(instance, run, now)]
    for run in abandoned:
        instance.report_run_failed(run, "The run's process ended without a word. The next run goes on from there.")
    return [run.run_id for run in abandoned]


def _company_of(run: dg.DagsterRun) -> int | None:
    key = run.tags.get("dagster/partition", "")
    return int(key) if key.isdecimal() else None


def _silent(instance: dg.DagsterInstance, run: dg.DagsterRun, now: datetime) -> bool:
    last = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    return bool(last) and now.timestamp() - last[0].timestamp > SILENT_FOR.total_seconds()
