"""Dagster in production, as `deploy/` sets it up: Postgres storage, a queue with limits, dead workers, old runs.

One deployment for all of it, since starting one takes longer than all that is then tried.
"""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets import definitions
from assets.abandoned import end_abandoned
from assets.old_runs import delete_runs
from assets.verification import CHECK
from pipelines.tables import INVOICES
from resources.connections import Connections
from resources.installation import Installation
from resources.settings import Settings
from sandbox.server import SandboxServer
from tests.assets.serving import wait_until
from tests.deploy.production import Production, environment_files, make_databases, running
from tests.deploy.units import DEPLOY, Installed
from tests.postgres import running_postgres
from tests.program import control


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """The files as they are, but that two runs at once are the most: the companies here are no more."""
    copy: Path = shutil.copytree(DEPLOY, tmp_path / "deploy")
    file = copy / "dagster.yaml"
    written = file.read_text(encoding="utf-8")
    limited = re.sub(r"max_concurrent_runs: \d+", "max_concurrent_runs: 2", written)
    assert limited != written
    file.write_text(limited, encoding="utf-8")
    return copy


@pytest.fixture
def production(tmp_path: Path, sandbox: SandboxServer, deploy: Path) -> Iterator[Production]:
    state = tmp_path / "state"
    state.mkdir()
    with running_postgres() as postgres:
        make_databases(postgres)
        installed = Installed(state, environment_files(postgres, {"PENNYLANE_URL": sandbox.url}), deploy)
        with running(installed, sandbox.url) as production:
            yield production


@pytest.mark.timeout(400)
def test_a_deployment_queues_runs_keeps_its_limits_and_repeats_what_died(
    production: Production, sandbox: SandboxServer, deploy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (company.id for company in sandbox.worlds)
    written = sorted(deploy.rglob("*"))
    for company in sandbox.worlds:
        production.program.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token(company))
    control(sandbox, "POST", "faults", path="customers", kind="latency", seconds=4, times=None)

    # The second run of a company waits for the first; the other company's, launched after it, does not, and a third
    # at once does.
    for company_id in (one, one, other):
        production.launch(company_id, "initial_sync")
    production.launch(None, "delete_old_runs")
    wait_until(lambda: [run.status for run in production.first_syncs()] == ["STARTED", "QUEUED", "STARTED"])
    killed, waiting, beside = production.first_syncs()
    assert [run.company for run in (killed, waiting, beside)] == [one, one, other]
    assert ("delete_old_runs", "QUEUED") in production.runs()
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
    wait_until(lambda: len(production.first_syncs()) == 4)
    control(sandbox, "DELETE", "faults")
    wait_until(lambda: all(run.status == "SUCCESS" for run in production.first_syncs()[2:]))
    assert [run.status for run in production.first_syncs()] == ["FAILURE", "CANCELED", "SUCCESS", "SUCCESS"]
    wait_until(lambda: ("delete_old_runs", "SUCCESS") in production.runs())
    repeated = production.first_syncs()[3]
    assert (repeated.company, repeated.parent) == (one, killed.id)
    status = production.program.status()
    assert {company["company_id"]: (company["state"], company["ready"]) for company in status} == {
        one: ("active", True),
        other: ("active", True),
    }

    canceled, stopped = ended_in_order(production, sandbox, connections, one)

    # Nothing was written where the deployment's files are.
    assert sorted(deploy.rglob("*")) == written
    for name, value in production.program.environment.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(deploy)) as instance:
        assert any("was terminated by signal 9 (SIGKILL)" in str(entry) for entry in instance.all_logs(killed.id))
        for run_id, outcome, again in ((canceled, "CANCELED", None), (stopped, "FAILURE", "true")):
            (run,) = instance.get_runs(dg.RunsFilter([run_id]))
            assert (run.status.value, run.tags.get("dagster/will_retry")) == (outcome, again)
            said = [str(entry.message) for entry in instance.all_logs(run_id)]
            assert any(message.startswith("Process for run exited") for message in said)
            assert not any("unexpectedly exited" in message for message in said)

        # A run that died together with the code server is ended by the schedule, to be repeated like any other.
        job = definitions(Installation()).resolve_job_def("hourly_sync")
        silent = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id
        instance.report_engine_event("Executing steps", run_id=silent, job_name="hourly_sync")
        assert end_abandoned(instance, [], datetime.now(UTC) + timedelta(minutes=6)) == [silent]
        ended = instance.get_run_by_id(silent)
        assert ended is not None
        assert ended.tags["dagster/will_retry"] == "true"

        old_runs_go(instance, [run.id for run in (killed, waiting, beside, repeated)], other)


def old_runs_go(instance: dg.DagsterInstance, old: list[str], company_id: int) -> None:
    """With all their events, and the results of their checks."""
    check = dg.AssetCheckKey(dg.AssetKey(INVOICES.name), CHECK)
    verify = definitions(Installation()).resolve_job_def("verify")
    verified = verify.execute_in_process(instance=instance, partition_key=str(company_id)).run_id
    assert instance.event_log_storage.get_asset_check_execution_history(check, limit=10) != []
    assert all(instance.all_logs(run_id) for run_id in [*old, verified])
    assert sum(delete_runs(instance, datetime.now(UTC))) > len(old)
    assert not any(instance.has_run(run_id) or instance.all_logs(run_id) for run_id in [*old, verified])
    assert instance.event_log_storage.get_asset_check_execution_history(check, limit=10) == []


def ended_in_order(
    production: Production, sandbox: SandboxServer, connections: Connections, company_id: int
) -> tuple[str, str]:
    """Runs that read from Pennylane: one ended in the UI, one by its service, which is asked to end; nobody has to wait
    for them."""
    control(sandbox, "POST", "faults", path="customers", kind="latency", seconds=4, times=None)
    canceled = _at_work(production, connections, company_id)
    production.cancel(canceled)
    wait_until(lambda: connections.get(company_id).lease is None)
    stopped = _at_work(production, connections, company_id)
    for service in ("daemon", "code"):  # as systemd stops them: a daemon without a code server gives repetitions up
        process = production.processes[service]
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(120) == 0  # systemd gives it 60, on a machine that has nothing else to do
    assert connections.get(company_id).lease is None
    return canceled, stopped


def _at_work(production: Production, connections: Connections, company_id: int) -> str:
    production.launch(company_id, "initial_sync")
    wait_until(lambda: connections.get(company_id).lease is not None)
    lease = connections.get(company_id).lease
    assert lease is not None
    return lease.owner.removeprefix("run ")


def _settings(production: Production) -> Settings:
    names = ("PENNYLANE_SYNC_HOME", "WAREHOUSE_URL")
    return Settings(**{name if "URL" in name else name.lower(): production.program.environment[name] for name in names})
