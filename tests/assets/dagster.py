"""Dagster's side of an installation, in this process: its instance, its jobs, and its schedule."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import dagster as dg

from assets import definitions
from assets.schedules import hourly
from assets.sensors import changes
from cli.instance import dagster_home
from resources.clock import Clock, utc_now
from resources.installation import Installation
from resources.settings import Settings
from tests.program import NOW, Program

Ticked = tuple[dict[str, str], str | None]
"""By partition, the key of the run that was asked for; and the reason if there was none."""


class DagsterSide:
    """What Dagster's servers would do with an installation."""

    def __init__(self, installation: Installation, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.installation = installation
        self.definitions = definitions(installation)

    def run(self, job: str, company_id: int, **options: Any) -> dg.ExecuteInProcessResult:
        """A run as the schedule, or a backfill, would launch it; its failure raises nothing."""
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=str(company_id), raise_on_error=False, **options
        )

    def run_alone(self, job: str) -> dg.ExecuteInProcessResult:
        """A run of a job that is about no company."""
        return self.definitions.resolve_job_def(job).execute_in_process(instance=self.instance)

    def tick(self, at: datetime = NOW) -> Ticked:
        """What the hourly schedule asks for."""
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=at,
            repository_def=self.definitions.get_repository_def(),
            resources={"installation": self.installation},
        ) as context:
            asked = hourly.evaluate_tick(context)
        requests = {str(one.partition_key): str(one.run_key) for one in asked.run_requests or []}
        return requests, asked.skip_message

    def look(self) -> tuple[dict[str, Any], str | None]:
        """What the sensor asks for: by partition, the configuration of its run; and the reason if there is none."""
        with dg.SensorEvaluationContext(
            instance_ref=self.instance.get_ref(),  # of which build_sensor_context knows nothing
            last_tick_completion_time=None,
            last_run_key=None,
            cursor=None,
            repository_name=None,
            repository_def=self.definitions.get_repository_def(),
            resources={"installation": dg.ResourceDefinition.hardcoded_resource(self.installation)},
        ) as context:
            asked = changes.evaluate_tick(context)
        return {str(one.partition_key): one.run_config for one in asked.run_requests or []}, asked.skip_message

    def events(self) -> str:
        """Everything that Dagster keeps of the runs, as text."""
        kept = [record.dagster_run for record in self.instance.get_run_records()]
        return "\n".join(f"{run}{entry}" for run in kept for entry in self.instance.all_logs(run.run_id))


@contextmanager
def dagster_side(program: Program, clock: Clock = utc_now) -> Iterator[DagsterSide]:
    """Over the storage that the program itself uses."""
    given = {name.lower(): value for name, value in program.environment.items() if name.startswith("PENNYLANE_")}
    given["WAREHOUSE_URL"] = program.warehouse_url
    installation = Installation(clock=clock)
    installation.settings = Settings(**given)
    with dg.DagsterInstance.from_config(str(dagster_home(installation.settings))) as instance:
        yield DagsterSide(installation, instance)


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the one step that failed says."""
    assert not result.success
    (failed,) = (event for event in result.all_node_events if event.is_step_failure)
    data = failed.step_failure_data
    assert data.user_failure_data, data.error
    return str(data.user_failure_data.description)
