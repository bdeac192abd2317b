"""What an hour without changes costs: from the schedule's tick to the end of its run, wall and processor time.

`python -m benchmarks.overhead`: a sandbox without a rate limit, a company whose first sync is done, and
`pennylane-sync start` with its hourly schedule set to every minute. Of each tick it prints when what was reached, and
the processor time of the run's own process and of all others; then what the imports of a run take.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import dagster as dg
import psutil  # type: ignore[import-untyped]
from dagster import DagsterEventType as Event
from rich.console import Console
from rich.table import Table

from benchmarks.stand_in import UNLIMITED, Size, StandIn, stand_in
from tests.ports import free_port
from tests.program import FOREIGN

ROOT = Path(__file__).resolve().parent.parent
SIZE = Size("small", 100, 1_000)
DEFAULT_ROTATION = 1500

_WORKSPACE = f"""
load_from:
  - python_module:
      module_name: benchmarks.each_minute
      working_directory: {ROOT}
      location_name: pennylane-sync
"""
_START = """
import sys, pathlib, cli.instance, cli.start, cli.main
cli.instance.ROOT = cli.start.ROOT = pathlib.Path(sys.argv.pop(1))
cli.main.main()
"""
_DUE = 60.0
_WARMING_UP = 2
"""Ticks that are not measured: the servers have just started."""


@dataclass(frozen=True)
class Used:
    """Processor seconds of a tree of processes so far."""

    living: float
    ended: float

    @classmethod
    def by(cls, root: psutil.Process) -> "Used":
        """`ended` are processes that came and went, whether they were waited for or not yet: the runs."""
        living = ended = 0.0
        for process in [root, *root.children(recursive=True)]:
            try:
                times = process.cpu_times()
                is_run = _is_run(process)
            except psutil.NoSuchProcess:
                continue
            ended += times.children_user + times.children_system
            if is_run:
                ended += times.user + times.system
            else:
                living += times.user + times.system
        return cls(living, ended)

    def __sub__(self, other: "Used") -> "Used":
        return Used(self.living - other.living, self.ended - other.ended)


@dataclass(frozen=True)
class Tick:
    """What a tick led to: seconds from the tick to each moment of its run, and processor time."""

    moments: Mapping[str, float]
    run: float
    servers: float
    idle: float

    @property
    def total(self) -> float:
        """Processor seconds that there would not have been without the tick."""
        return self.run + self.servers - self.idle


class Servers:
    """A running `pennylane-sync start`."""

    def __init__(self, process: psutil.Process, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self._process = process

    def used(self) -> "Used":
        return Used.by(self._process)

    def memory(self) -> int:
        """Bytes that its processes, runs among them, have for themselves just now."""
        return sum(_own_memory(one) for one in [self._process, *self._process.children(recursive=True)])

    def tick(self) -> Tick:
        """The next minute's."""
        self.settle()
        at = (time.time() // _DUE + 1) * _DUE
        if at - time.time() < 8:
            at += _DUE
        _sleep_until(at - 6)
        idle = Used.by(self._process)
        _sleep_until(at - 1)
        before = Used.by(self._process)
        seen = {run.run_id for run in self.instance.get_runs()}
        _sleep_until(at)
        run = self._finished(seen, at + _DUE)
        self.settle()
        used = Used.by(self._process) - before
        seconds = time.time() - (at - 1)
        return Tick(self._moments(run.run_id, at), used.ended, used.living, (before - idle).living / 5 * seconds)

    def _finished(self, seen: set[str], until: float) -> dg.DagsterRun:
        while time.time() < until:
            for run in self.instance.get_runs():
                if run.run_id not in seen and run.is_finished:
                    if not run.is_success:
                        raise RuntimeError(f"the run ended as {run.status}")
                    return run
            time.sleep(0.2)
        raise RuntimeError("no run in this minute")

    def settle(self) -> None:
        """Wait until the processes of all runs have ended."""
        while any(_is_run(one) and _goes_on(one) for one in self._process.children(recursive=True)):
            time.sleep(0.1)

    def _moments(self, run_id: str, tick: float) -> dict[str, float]:
        """Seconds from the tick to each event of its run that tells of progress."""
        moments: dict[str, float] = {}
        for entry in self.instance.all_logs(run_id):
            event = entry.dagster_event
            name = _name(event, entry.message or "") if event else None
            if name:
                moments[name] = entry.timestamp - tick
        return moments


_NAMES = {
    Event.PIPELINE_ENQUEUED: "tick evaluated, run queued",
    Event.PIPELINE_STARTING: "taken from the queue",
    Event.PIPELINE_START: "definitions loaded, run begins",
    Event.PIPELINE_SUCCESS: "run succeeded",
}


def _name(event: dg.DagsterEvent, message: str) -> str | None:
    if message.startswith("Started process for run"):
        return "process started, Dagster imported"
    if message.startswith("Process for run exited"):
        return "process exits"
    if event.is_step_start:
        return f"{event.step_key} begins"
    if event.is_step_success:
        return f"{event.step_key} done"
    return _NAMES.get(event.event_type)


def _is_run(process: psutil.Process) -> bool:
    """A run is what the code server forks; it leaves nothing but its processor time when it has ended."""
    try:
        return not _goes_on(process) or _forks(process.parent())
    except psutil.NoSuchProcess:
        return True


def _forks(process: psutil.Process | None) -> bool:
    return process is not None and any("multiprocessing.forkserver" in argument for argument in process.cmdline())


def _goes_on(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _own_memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.NoSuchProcess:
        return 0


def _sleep_until(moment: float) -> None:
    time.sleep(max(moment - time.time(), 0))


@contextmanager
def serving(home: Path, environment: Mapping[str, str], settings: Path = ROOT / "dagster.yaml") -> Iterator[Servers]:
    """`pennylane-sync start` over a home, its schedule set to every minute, Dagster with these settings."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "workspace.yaml").write_text(_WORKSPACE, encoding="utf-8")
        own = Path(folder, "dagster.yaml")
        own.symlink_to(settings)
        link = home / "dagster" / own.name
        link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(own)
        command = [sys.executable, "-u", "-c", _START, folder, "start", "--port", str(free_port())]
        with (
            subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as process,
            dg.DagsterInstance.from_config(str(link.parent)) as instance,
        ):
            try:
                if process.stdout and not any(line.startswith("Dagster's UI") for line in process.stdout):
                    raise RuntimeError("Dagster does not serve")
                yield Servers(psutil.Process(process.pid), instance)
            finally:
                process.terminate()


def imports(module: str) -> tuple[float, dict[str, float]]:
    """Processor seconds to import a module in a process of its own, and of these the share of each package."""
    command = [sys.executable, "-c", f"import {module}"]
    used = min(_processor_seconds(command) for _ in range(3))
    command.insert(1, "-Ximporttime")
    lines = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True, cwd=ROOT).stderr.splitlines()
    packages: Counter[str] = Counter()
    for line in lines:
        found = re.fullmatch(r"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)", line)
        if found:
            packages[found[2].partition(".")[0]] += int(found[1])
    whole = packages.total()
    return used, {package: used * share / whole for package, share in packages.most_common(14)}


def _processor_seconds(command: list[str]) -> float:
    before = os.times()
    subprocess.run(command, check=True, cwd=ROOT)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def measure(folder: Path, sandbox: StandIn, *, ticks: int, rotation: int) -> list[Tick]:
    """Some ticks of a company without changes, an hour apart by Pennylane's clock, after two that warm up."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)} | {
        "PENNYLANE_URL": sandbox.url,
        "PENNYLANE_SYNC_HOME": str(folder / "home"),
        "PENNYLANE_SYNC_DETAIL_REQUESTS": str(rotation),
        "NO_PROXY": "127.0.0.1,localhost",
    }
    connect = [str(Path(sys.executable).with_name("pennylane-sync")), "connect", "--token-stdin", "--json"]
    with_all = environment | {"PENNYLANE_SYNC_DETAIL_REQUESTS": "1000000"}
    subprocess.run(
        connect, input=sandbox.token(), text=True, env=with_all, cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    with serving(folder / "home", environment) as servers:
        found: list[Tick] = []
        for _ in range(_WARMING_UP + ticks):
            sandbox.an_hour_later()
            found.append(servers.tick())
        return found[_WARMING_UP:]


def table(title: str, ticks: list[Tick]) -> Table:
    """The median of ticks, moment by moment."""
    shown = Table("moment", "s after the tick", "s since the last", title=title, title_justify="left")
    last = 0.0
    for name in ticks[0].moments:
        at = median(tick.moments[name] for tick in ticks)
        shown.add_row(name, f"{at:.2f}", f"{at - last:.2f}")
        last = at
    shown.add_section()
    figures: dict[str, Callable[[Tick], float]] = {
        "processor time of the run's process": lambda tick: tick.run,
        "of Dagster's servers meanwhile": lambda tick: tick.servers,
        "which they would have taken anyway": lambda tick: tick.idle,
        "processor time of the tick in all": lambda tick: tick.total,
    }
    for name, figure in figures.items():
        shown.add_row(name, f"{median(map(figure, ticks)):.2f}", "")
    return shown


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--ticks", type=int, default=3, help="how many to measure; one a minute")
    arguments.add_argument(
        "--rotation", type=int, nargs="+", default=[0, DEFAULT_ROTATION], help="PENNYLANE_SYNC_DETAIL_REQUESTS"
    )
    given = arguments.parse_args()
    console = Console(width=100)
    for rotation in given.rotation:
        with tempfile.TemporaryDirectory() as folder, stand_in(SIZE, UNLIMITED) as sandbox:
            ticks = measure(Path(folder), sandbox, ticks=given.ticks, rotation=rotation)
        title = f"An hour without changes, {rotation} requests in rotation: median of {given.ticks} ticks"
        console.print(table(title, ticks))
    for module in ("dagster", "dlt", "definitions"):
        used, packages = imports(module)
        shares = ", ".join(f"{package} {seconds:.2f}" for package, seconds in packages.items())
        console.print(f"import {module}: {used:.2f} s of processor time, of which {shares}")


if __name__ == "__main__":
    main()
