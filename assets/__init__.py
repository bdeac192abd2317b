"""Dagster's side: assets, jobs and schedules around the pipelines."""

import dagster as dg

from assets.jobs import JOBS
from assets.receivables import connection, details, lists, views
from assets.run_lease import run_lease
from assets.schedules import daily_deletion, daily_verification, hourly
from assets.sensors import changes
from assets.verification import verification
from resources.installation import Installation


def definitions(installation: Installation) -> dg.Definitions:
    """Everything that Dagster serves. One process per run: its steps are short, and starting one costs seconds."""
    return dg.Definitions(
        assets=[connection, lists, details, views],
        asset_checks=[verification],
        jobs=list(JOBS),
        schedules=[hourly, daily_verification, daily_deletion],
        sensors=[changes],
        resources={"installation": installation, "run_lease": run_lease},
        executor=dg.in_process_executor,
    )
