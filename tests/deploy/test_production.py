"""Dagster in production, as `deploy/` sets it up: Postgres storage, a queue with limits, dead workers, old runs.

One deployment for all of it, since starting one takes longer than all that is then tried.
"""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets.old_runs import delete_runs
from resources.connections import Connections
from resources.settings import Settings
from sandbox.server import SandboxServer
from tests.assets.serving import wait_until
from tests.deploy.production import Production, environment_files, make_databases, running
from tests.deploy.units import DEPLOY, Installed
from tests.postgres import running_postgres
from tests.program import control


@pytest.fixture
def production(tmp_path: Path, sandbox: SandboxServer) -> Iterator[Production]:
    state = tmp_path / "state"
    state.mkdir()
    with running_postgres() as postgres:
        make_databases(postgres)
        installed = Installed(state, environment_files(postgres, {"PENNYLANE_URL": sandbox.url}))
        with running(installed, sandbox.url) as production:
            yield production


@pytest.mark.timeout(400)
def test_a_deployment_queues_runs_keeps_its_limits_and_repeats_what_died(
    production: Production, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (company.id for company in sandbox.worlds)
    written = sorted(DEPLOY.rglob("*"))
    for company in sandbox.worlds:
        production.program.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token(company))
    control(sandbox, "POST", "faults", path="customers", kind="latency", seconds=4, times=None)

    # The second run of a company waits for the first; the other company's, launched after it, does not.
    for company_id in (one, one, other):
        production.launch(company_id, "initial_sync")
    wait_until(lambda: [run.status for run in production.all_runs()] == ["STARTED", "QUEUED", "STARTED"])
    killed, waiting, beside = production.all_runs()
    assert [run.company for run in (killed, waiting, beside)] == [one, one, other]
    for process in production.everything_running():
        listening = {one.laddr.ip for one in process.net_connections() if one.status == "LISTEN"}
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
        assert not any("p@ss" in argument or "of-the-warehouse" in argument for argument in process.cmdline())

    # A worker that is killed is noticed, and its run goes on in a new one, at once and not beside another.
    production.cancel(waiting.id)
    connections = Connections.from_settings(_settings(production))
    holder = connections.get(one).lease
    assert holder is not None
    assert holder.owner == f"run {killed.id}"
    os.kill(holder.pid, signal.SIGKILL)
    wait_until(lambda: len(production.all_runs()) == 4)
    control(sandbox, "DELETE", "faults")
    wait_until(lambda: all(run.status == "SUCCESS" for run in production.all_runs()[2:]))
    states = [(run.status, run.parent, run.company) for run in production.all_runs()]
    assert states == [
        ("FAILURE", None, one),
        ("CANCELED", None, one),
        ("SUCCESS", None, other),
        ("SUCCESS", killed.id, one),
    ]
    status = production.program.status()
    assert {company["company_id"]: (company["state"], company["ready"]) for company in status} == {
        one: ("active", True),
        other: ("active", True),
    }

    # Nothing was written where the deployment's files are; old runs go with all their events.
    assert sorted(DEPLOY.rglob("*")) == written
    for name, value in production.program.environment.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(DEPLOY)) as instance:
        assert any("SIGKILL" in str(entry) or "-9" in str(entry) for entry in instance.all_logs(killed.id))
        assert sum(delete_runs(instance, datetime.now(UTC))) == 4
        assert instance.get_runs() == []
        assert [instance.all_logs(run.id) for run in (killed, waiting, beside)] == [[], [], []]


def _settings(production: Production) -> Settings:
    names = ("PENNYLANE_SYNC_HOME", "WAREHOUSE_URL")
    return Settings(**{name if "URL" in name else name.lower(): production.program.environment[name] for name in names})
