"""Sensor, launched runs, a backfill and command lines at once, as real processes: one sync of a company at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import dagster as dg
import psutil  # type: ignore[import-untyped]
import pytest

from pipelines.warehouse import warehouse_at
from sandbox.server import SandboxServer
from sandbox.world import World
from tests.assets.dagster import DagsterSide, dagster_side
from tests.assets.serving import Server, started, unfinished, wait_until
from tests.cli.test_connect import authorize_in
from tests.pipelines.truth import differences, expected, held
from tests.program import Program, control
from tests.resources.browser import Browser

_HELD = "is being worked on: "


def connect(program: Program, world: World) -> None:
    with program.start("connect", "--no-browser", "--no-activate") as process:
        authorize_in(process, Browser(world.id))
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said


def assert_equal(program: Program, sandbox: SandboxServer, left_out: list[int]) -> None:
    """Every table of every company equals the truth."""
    warehouse = warehouse_at(program.warehouse_url)
    for world in sandbox.worlds:
        truth = expected(world, sandbox.url, left_out)
        assert differences(held(warehouse, world.id), truth) == []


@contextmanager
def slow(sandbox: SandboxServer, path: str, seconds: float) -> Iterator[None]:
    """Answers take so long that whoever works is met by the others."""
    control(sandbox, "POST", "faults", path=path, kind="latency", seconds=seconds, times=None)
    yield
    control(sandbox, "DELETE", "faults")


def work(side: DagsterSide) -> dict[int, list[tuple[float, float, bool, str]]]:
    """By company, of each run: when it worked, whether it succeeded, and what it said if not."""
    found: dict[int, list[tuple[float, float, bool, str]]] = {}
    for record in side.instance.get_run_records():
        run = record.dagster_run
        events = side.instance.all_logs(run.run_id)
        steps = [one.timestamp for one in events if one.is_dagster_event and one.get_dagster_event().is_step_event]
        failures = [
            one.get_dagster_event().step_failure_data.user_failure_data
            for one in events
            if one.dagster_event_type == dg.DagsterEventType.STEP_FAILURE
        ]
        said = " ".join(str(one.description) for one in failures if one)
        company = int(run.tags["dagster/partition"])
        found.setdefault(company, []).append((min(steps), max(steps), run.is_success, said))
    return found


@pytest.mark.timeout(600)
def test_sensor_backfill_launched_runs_and_command_lines_at_once_sync_each_company_one_by_one(
    synced: Program, sandbox: SandboxServer, left_out: list[int]
) -> None:
    first, second = sandbox.worlds
    for world in (first, second):
        connect(synced, world)
    for _ in range(5):
        for world in (first, second):
            control(sandbox, "POST", f"changes/random?company={world.id}", count=3)
    with dagster_side(synced) as side, started(synced) as server:
        runs_before, known = side.instance.get_runs_count(), side.installation.connections
        control(sandbox, "DELETE", "requests")
        control(sandbox, "POST", "clock", advance_seconds=86_400)  # no access token is good any more
        companies = [first.id, second.id]
        server.switch_on("changes")
        with slow(sandbox, "/v2/c", 1.5):
            commands = [synced.start("sync", "--company", str(company)) for company in (companies[0], *companies)]
            wait_until(lambda: {one.state for one in known.all()} == {"syncing"})
            for company in companies:
                server.launch(company)
            server.backfill(*companies)
            ended = [(process.communicate(timeout=240)[1], process.returncode) for process in commands]
        wait_until(lambda: len(server.runs()) >= runs_before + 6 and not unfinished(server), 240)
        ticks = server.switch_off("changes")
        wait_until(lambda: not unfinished(server))
        report = control(sandbox, "GET", "requests")

        assert "SUCCESS" in ticks or "SKIPPED" in ticks
        assert "FAILURE" not in ticks
        assert sorted(code for _, code in ended[:2]) == [0, 1]
        assert ended[2] == ("", 0)
        (refused,) = (said for said, code in ended if code)
        assert _HELD in refused
        assert refused.count("\n") == 1
        for world_id, runs in work(side).items():
            assert all(success or _HELD in why for _, _, success, why in runs), (world_id, runs)
            worked = sorted((begin, end) for begin, end, success, _ in runs if success)
            assert worked
            assert all(end <= begin for (_, end), (begin, _) in pairwise(worked)), (world_id, worked)
        assert report["reused_refresh_tokens"] == 0
        assert report["by_path"]["/oauth/token"] == len(sandbox.worlds)
        assert [one.last_error for one in known.all()] == [None, None]
        assert_equal(synced, sandbox, left_out)

        killed_while_it_held_the_lease(synced, sandbox, server, side, first)
        assert_equal(synced, sandbox, left_out)


def killed_while_it_held_the_lease(
    program: Program, sandbox: SandboxServer, server: Server, side: DagsterSide, world: World
) -> None:
    """A launched run ends without a word, as when memory runs out; a command takes over, and Dagster learns."""
    invoice = control(sandbox, "POST", f"changes/create_invoice?company={world.id}")["id"]
    control(sandbox, "POST", "clock", advance_seconds=3600)
    connections = side.installation.connections
    with slow(sandbox, "/v2/c", 3):
        server.launch(world.id)
        wait_until(lambda: connections.get(world.id).lease is not None)
        lease = connections.get(world.id).lease
        assert lease is not None
        worker = psutil.Process(lease.pid)
        assert worker in psutil.Process(server.process.pid).children(recursive=True)
        worker.kill()
    # Until the dead process is buried, which is its parent's to do, it passes for alive: a minute at most.
    wait_until(lambda: connections.get(world.id).state == "active", 90)
    program.done("sync", "--company", str(world.id))
    assert program.rows(f"SELECT count(*) FROM invoices WHERE invoice_id = {invoice}") == [(1,)]
    wait_until(lambda: not unfinished(server))
    dead = side.instance.get_run_by_id(lease.owner.removeprefix("run "))
    assert dead is not None
    assert dead.status == dg.DagsterRunStatus.FAILURE
