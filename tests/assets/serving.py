"""Dagster's own servers, as `pennylane-sync start` runs them, asked as its UI asks them."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import requests
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)
from dagster._core.workspace.load_target import WorkspaceFileTarget

from assets.schedules import hourly
from cli.instance import ROOT
from tests.ports import free_port
from tests.program import Program

_LAUNCH = """
mutation($job: String!, $tags: [ExecutionTag!]!) {
  launchRun(executionParams: {
    selector: { jobName: $job, repositoryLocationName: "pennylane-sync", repositoryName: "__repository__" }
    runConfigData: {}
    executionMetadata: {tags: $tags}
  }) { __typename ... on PythonError { message } }
}
"""
_BACKFILL = """
mutation($companies: [String!]!) {
  launchPartitionBackfill(backfillParams: {
    selector: {
      partitionSetName: "initial_sync_partition_set"
      repositorySelector: {repositoryLocationName: "pennylane-sync", repositoryName: "__repository__"}
    }
    partitionNames: $companies
    fromFailure: false
    tags: []
  }) { __typename ... on PythonError { message } }
}
"""
_SENSOR = """
fragment looked on Sensor { id sensorState { ticks { status } } }
query($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { ...looked } }
"""
_SWITCH_ON = "mutation($sensor: SensorSelector!) { startSensor(sensorSelector: $sensor) { __typename } }"
_SWITCH_OFF = "mutation($id: String!) { stopSensor(id: $id) { __typename } }"
_RUNS = "{ runsOrError { ... on Runs { results { jobName status } } } }"


class Server:
    """What `start` serves."""

    def __init__(self, url: str, process: "subprocess.Popen[str]") -> None:
        self.url = url
        self.process = process

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        assert "errors" not in content, content
        data: dict[str, Any] = content["data"]
        return data

    def launch(self, company_id: int | None, job: str = "hourly_sync") -> None:
        """Start a job for a company, or one that is about none."""
        tags = [{"key": "dagster/partition", "value": str(company_id)}] if company_id else []
        launched = self.ask(_LAUNCH, job=job, tags=tags)["launchRun"]
        assert launched == {"__typename": "LaunchRunSuccess"}

    def backfill(self, *company_ids: int) -> None:
        """Start the first syncs of companies."""
        companies = [str(one) for one in company_ids]
        launched = self.ask(_BACKFILL, companies=companies)["launchPartitionBackfill"]
        assert launched == {"__typename": "LaunchBackfillSuccess"}

    def switch_on(self, sensor: str) -> None:
        assert self.ask(_SWITCH_ON, sensor=_selector(sensor))["startSensor"] == {"__typename": "Sensor"}

    def switch_off(self, sensor: str) -> list[str]:
        """How its ticks ended."""
        found = self.ask(_SENSOR, sensor=_selector(sensor))["sensorOrError"]
        assert self.ask(_SWITCH_OFF, id=found["id"])["stopSensor"] == {"__typename": "StopSensorMutationResult"}
        return [tick["status"] for tick in found["sensorState"]["ticks"]]

    def runs(self) -> list[tuple[str, str]]:
        """Job and status, newest first."""
        return [(run["jobName"], run["status"]) for run in self.ask(_RUNS)["runsOrError"]["results"]]


def _selector(sensor: str) -> dict[str, str]:
    return {"sensorName": sensor, "repositoryLocationName": "pennylane-sync", "repositoryName": "__repository__"}


@contextmanager
def started(program: Program) -> Iterator[Server]:
    port = free_port()
    with program.start("start", "--port", str(port), in_background=True, stderr=subprocess.STDOUT) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said.startswith("Dagster starts"), said
            url = f"http://127.0.0.1:{port}"
            # Before it, a schedule that makes up for a missed hour may have had something to say.
            assert any(line.startswith(f"Dagster's UI: {url} ") for line in process.stdout)
            yield Server(url, process)
        finally:
            process.terminate()
            process.wait(timeout=60)


def miss_an_hour(instance: dg.DagsterInstance) -> None:
    """As if Dagster had been down at the last full hour: once it serves, the hourly schedule makes up for it.

    Nothing public sets since when a schedule was not looked at.
    """
    (location,) = WorkspaceFileTarget(paths=[str(ROOT / "workspace.yaml")]).create_origins()
    schedule = RemoteRepositoryOrigin(location, "__repository__").get_instigator_origin(hourly.name)
    looked_at = ScheduleInstigatorData(str(hourly.cron_schedule), time.time() - 3600)
    in_code = InstigatorStatus.DECLARED_IN_CODE
    instance.add_instigator_state(InstigatorState(schedule, InstigatorType.SCHEDULE, in_code, looked_at))


def wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.5)


def unfinished(server: Server) -> list[str]:
    """The states of runs that wait or go on."""
    return [status for _, status in server.runs() if status not in ("SUCCESS", "FAILURE", "CANCELED")]
