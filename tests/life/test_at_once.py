"""Schedule, sensor, launched runs, a backfill and command lines at once, as real processes: one sync at a time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import dagster as dg
import psutil  # type: ignore[import-untyped]
import pytest

from pipelines.warehouse import warehouse_at
from sandbox.server import SandboxServer
from sandbox.world import World
from tests.assets.dagster import DagsterSide, dagster_side
from tests.assets.serving import Server, miss_an_hour, started, unfinished, wait_until
from tests.cli.test_connect import authorize_in
from tests.pipelines.truth import differences, expected, held
from tests.program import Program, control
from tests.resources.browser import Browser

_HELD = "is being worked on: "


_STARTED_BY = {
    "dagster/schedule_name": "schedule",
    "dagster/sensor_name": "sensor",
    "dagster/backfill": "backfill",
    "started_by": "command line",
}
"""The tags by which a run tells who started it; one that was launched in the UI has none of them."""


def connect(program: Program, world: World) -> None:
    with program.start("connect", "--no-browser") as process:
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


def started_by(run: dg.DagsterRun) -> str:
    (starter,) = {who for tag, who in _STARTED_BY.items() if tag in run.tags} or {"launched"}
    return starter


def runs_of(side: DagsterSide, but: set[str]) -> dict[tuple[str, int], list[dg.DagsterRun]]:
    """By who started them and the company, all runs but these."""
    found: dict[tuple[str, int], list[dg.DagsterRun]] = {}
    for run in side.instance.get_runs():
        if run.run_id not in but:
            found.setdefault((started_by(run), int(run.tags["dagster/partition"])), []).append(run)
    return found


def refusals(program: Program, *company_ids: int) -> tuple[list[int], list[str]]:
    """Commands that sync these at once: the companies of those that were refused, and what these said."""
    commands = [(one, program.start("sync", "--company", str(one))) for one in company_ids]
    ended = [(one, process.communicate(timeout=240)[1], process.returncode) for one, process in commands]
    assert {code for _, _, code in ended} <= {0, 1}
    assert all(code or said == "" for _, said, code in ended), ended
    return [one for one, _, code in ended if code], [said for _, said, code in ended if code]


@pytest.mark.timeout(600)
def test_schedule_sensor_backfill_launched_runs_and_command_lines_at_once_sync_each_company_one_by_one(
    synced: Program, sandbox: SandboxServer, left_out: list[int]
) -> None:
    first, second = sandbox.worlds
    for world in (first, second):
        connect(synced, world)
    for _ in range(5):
        for world in (first, second):
            control(sandbox, "POST", f"changes/random?company={world.id}", count=3)
    with dagster_side(synced) as side, ExitStack() as somebody, ExitStack() as slowness:
        before, known = {run.run_id for run in side.instance.get_runs()}, side.installation.connections
        control(sandbox, "DELETE", "requests")
        control(sandbox, "POST", "clock", advance_seconds=86_400)  # no access token is good any more
        miss_an_hour(side.instance)
        # Both leave alone who is worked on: the schedule finds the first company idle, the sensor then the second.
        somebody.enter_context(known.lease(second.id, "somebody", "full_sync"))
        slowness.enter_context(slow(sandbox, "/v2/c", 1.5))
        with started(synced) as server:
            wait_until(lambda: ("schedule", first.id) in runs_of(side, before))
            somebody.close()
            server.switch_on("changes")
            wait_until(lambda: ("sensor", second.id) in runs_of(side, before))
            wait_until(lambda: known.get(second.id).lease is not None)
            for world in (first, second):
                server.launch(world.id)
            server.backfill(first.id, second.id)
            refused, said = refusals(synced, first.id, first.id, second.id)
            slowness.close()
            while refused:  # "Try again when it has ended."
                refused, again = refusals(synced, *refused)
                said += again
            everybody = {("schedule", first.id), ("sensor", second.id)} | {
                (who, world.id) for who in ("backfill", "launched", "command line") for world in sandbox.worlds
            }
            wait_until(lambda: everybody <= runs_of(side, before).keys() and not unfinished(server), 240)
            ticks = server.switch_off("changes")
            wait_until(lambda: not unfinished(server))
            report = control(sandbox, "GET", "requests")

            runs = runs_of(side, before)
            for asked_first in (("schedule", first.id), ("sensor", second.id)):
                assert runs[asked_first][-1].is_success, asked_first
            assert {run.job_name for world in sandbox.worlds for run in runs["backfill", world.id]} == {"initial_sync"}
            assert "FAILURE" not in ticks
            assert said
            assert all(_HELD in one and one.count("\n") == 1 for one in said), said
            for world_id, found in work(side).items():
                assert all(success or _HELD in why for _, _, success, why in found), (world_id, found)
                worked = sorted((begin, end) for begin, end, success, _ in found if success)
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
