"""`pennylane-sync start`: Dagster's own servers over the installation, as the UI uses them."""

import signal
import sys

import psutil  # type: ignore[import-untyped]
import pytest

from sandbox.server import SandboxServer
from tests.assets.dagster import dagster_side
from tests.assets.serving import started, wait_until
from tests.program import Program, control

_SEEN = """
{
  assetNodes { assetKey { path } partitionKeys }
  schedulesOrError(repositorySelector: {repositoryLocationName: "pennylane-sync", repositoryName: "__repository__"}) {
    ... on Schedules { results { name scheduleState { status } } }
  }
}
"""


@pytest.mark.timeout(400)
def test_the_ui_s_servers_run_a_first_sync_as_a_backfill_and_leave_nothing_behind(
    program: Program, sandbox: SandboxServer
) -> None:
    program.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token())
    company = sandbox.world.id
    with started(program) as server:
        seen = server.ask(_SEEN)
        assert len(seen["assetNodes"]) == 10
        assert all(node["partitionKeys"] == [str(company)] for node in seen["assetNodes"])
        schedules = {one["name"]: one["scheduleState"]["status"] for one in seen["schedulesOrError"]["results"]}
        assert schedules == {"hourly": "RUNNING", "daily_deletion": "RUNNING", "daily_verification": "STOPPED"}

        server.backfill(company)
        wait_until(lambda: server.runs() == [("initial_sync", "SUCCESS")])
        assert program.accounts(company) == {customer.id for customer in sandbox.world.customers}
        (status,) = program.status()
        assert (status["state"], status["ready"]) == ("active", True)

        control(sandbox, "POST", "faults", path="customer_invoices/", kind="latency", seconds=3, times=None)
        server.launch(company)
        wait_until(lambda: program.status()[0]["state"] == "syncing")
        assert f"Company {company} is being worked on: hourly_sync (run " in program.fails("sync")
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert len(children) >= 5
        if sys.platform == "linux":
            assert _forked(children), "the run had to import everything"
        server.process.send_signal(signal.SIGTERM)
        printed, _ = server.process.communicate(timeout=35)  # by force it takes 40
        assert server.process.returncode == 0
        assert "Ending; a run that goes on is stopped, the next one goes on from there.\n" in printed
        assert not [line for line in printed.splitlines() if "DEBUG" in line or "Warning" in line]
        assert [child for child in children if child.is_running()] == []

    control(sandbox, "DELETE", "faults")
    with dagster_side(program) as side:
        stopped = side.instance.get_runs(limit=1)[0]
        assert (stopped.job_name, stopped.is_finished, stopped.is_success) == ("hourly_sync", True, False)
    assert program.status()[0]["state"] == "active"
    program.done("sync")


def _forked(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that began as a copy of another one, with what that had imported."""
    forking = [one for one in processes if any("multiprocessing.forkserver" in word for word in one.cmdline())]
    return [child for one in forking for child in one.children()]


def test_a_port_in_use_is_told_in_one_line(program: Program, sandbox: SandboxServer) -> None:
    port = sandbox.url.rpartition(":")[2]
    said = program.fails("start", "--port", port)
    assert said == f"Cannot listen on 127.0.0.1:{port}: Address already in use. Choose another with --port."


def test_beside_a_deployment_no_second_daemon_is_started_and_what_to_run_is_said(program: Program) -> None:
    said = program.with_settings(DAGSTER_HOME="/opt/pennylane-sync/deploy").fails("start")
    assert said.startswith("DAGSTER_HOME is /opt/pennylane-sync/deploy: a deployment's Dagster")
    assert "systemctl start pennylane-sync.target" in said


@pytest.mark.parametrize("port", ["0", "70000", "http"])
def test_a_port_that_is_none_is_bad_usage(program: Program, port: str) -> None:
    assert "--port" in program.fails("start", "--port", port, status=2)
