"""What a kill costs: a first sync whose process is killed again and again, and the requests that are made twice.

`python -m benchmarks.interrupted [--postgres]`: a million invoices are listed without the rate limit, so that reading
is ahead of writing; contacts and payments of a middle company are read under the real limit. The cost of a kill
(`SIGKILL`, a random time after a random request) is the number of requests that the process made and whose answers the
warehouse does not hold afterwards. It may be 300, what the limit grants in 60 seconds: more is an error.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.growth import warehouses
from benchmarks.stand_in import REAL, UNLIMITED, WINDOW, Size, StandIn, stand_in
from benchmarks.trials import MIDDLE
from pipelines.client import OneToken, Pennylane
from pipelines.details import DetailsSync, Share
from pipelines.due import requests_to_read
from pipelines.landing import Landing
from pipelines.lists import ListsSync
from pipelines.progress import Progress
from pipelines.warehouse import Warehouse, warehouse_at

MANY = Size("of a million invoices", 100_000, 1_000_000)
COMPANY = 1


@dataclass(frozen=True)
class Kills:
    """So many, each up to so many seconds after a number of requests of the process that is between the two."""

    count: int
    least: int
    most: int
    seconds: float


OF_LISTS, OF_DETAILS = Kills(12, 100, 1200, 3), Kills(6, 60, 300, 10)
ALLOWED = int(60 * REAL.limit / WINDOW)


@dataclass(frozen=True)
class Started:
    """What a process is told: which step of a sync it makes, and where."""

    step: str
    url: str
    token: str
    warehouse: str
    folder: str


def sync(started: Started) -> None:
    """A step in this process; prints the requests whose answers were read, and of lists those that were collected."""
    read = 0

    def watch(progress: Progress) -> None:
        nonlocal read
        read = read + 1 if started.step == "lists" else progress.done  # a page, or requests
        print("read", read, flush=True)  # noqa: T201

    class Telling(Landing):
        def collect(self, *what: Any) -> None:
            super().collect(*what)
            print("kept", read, flush=True)  # noqa: T201

    pennylane = Pennylane(started.url, OneToken(started.token))
    with Telling.opened(warehouse_at(started.warehouse), COMPANY, Path(started.folder)) as landing:
        if started.step == "lists":
            ListsSync(pennylane, landing, (), _clock, watch).run()
        else:
            DetailsSync(pennylane, landing, _clock, watch).run(Share(0, 3600.0))


def killed(started: Started, after: int, seconds: float) -> int | None:
    """Kill the step some time after it has read so much; returns of how many requests it told that answers were kept.

    Not at once: it would never be in the middle of writing, when reading is furthest ahead. None where it came to its
    end before that.
    """
    kept = 0
    timer: threading.Timer | None = None
    command = [sys.executable, "-m", "benchmarks.interrupted", "--sync", json.dumps(vars(started))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            what, count = line.split()
            kept = int(count) if what == "kept" else kept
            if int(count) >= after and timer is None:
                timer = threading.Timer(seconds, process.kill)
                timer.start()
    if timer:
        timer.cancel()
    if process.returncode == 0:
        return None
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"The process that was to be killed ended with status {process.returncode}.")
    return kept


def costs(sandbox: StandIn, started: Started, kills: Kills, kept_now: Callable[[], int] | None = None) -> list[int]:
    """Requests that are made again, for each kill; `kept_now` tells what is kept of all so far."""
    found = []
    places = random.Random(kills.count)  # noqa: S311
    before = kept_now() if kept_now else 0
    for _ in range(kills.count):
        kept = killed(started, places.randint(kills.least, kills.most), places.uniform(0, kills.seconds))
        if kept is None:
            break
        if kept_now:
            now = kept_now()
            kept, before = now - before, now
        found.append(sandbox.asked().requests - kept)
    if len(found) < kills.count / 2:
        raise SystemExit(f"All was read after {len(found)} kills, which say too little.")
    return found


def _lists(warehouse: str, folder: str) -> list[int]:
    with stand_in(MANY, UNLIMITED) as sandbox:
        return costs(sandbox, Started("lists", sandbox.url, sandbox.token(), warehouse, folder), OF_LISTS)


def _details(warehouse: str, folder: str) -> list[int]:
    with stand_in(MIDDLE, REAL) as sandbox:
        token = sandbox.token()
        with Landing.opened(warehouse_at(warehouse), COMPANY, Path(folder)) as landing:
            ListsSync(Pennylane(sandbox.url, OneToken(token)), landing, (), _clock, lambda _: None).run()
        sandbox.asked()
        started = Started("details", sandbox.url, token, warehouse, folder)
        return costs(sandbox, started, OF_DETAILS, lambda: -_to_read(warehouse_at(warehouse)))


def _to_read(warehouse: Warehouse) -> int:
    with warehouse.session() as session:
        return requests_to_read(session, COMPANY, _clock())


def _clock() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--postgres", action="store_true")
    arguments.add_argument("--sync", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.sync:
        sync(Started(**json.loads(given.sync)))
        return
    table = Table(title="What is asked again after a kill", title_justify="left")
    table.add_column("killed while")
    for heading in ("kills", "requests again: mean", "most", "most, in seconds of the limit"):
        table.add_column(heading, justify="right")
    with warehouses(postgres=given.postgres) as new_warehouse, tempfile.TemporaryDirectory() as folder:
        costs_of = {
            f"listing {MANY.invoices:,} invoices": _lists(new_warehouse("lists"), folder),
            "reading contacts and payments": _details(new_warehouse("details"), folder),
        }
        for what, found in costs_of.items():
            mean = sum(found) / len(found)
            seconds = max(found) * WINDOW / REAL.limit
            table.add_row(what, str(len(found)), f"{mean:.0f}", str(max(found)), f"{seconds:.0f}")
    Console(width=120).print(table)
    if any(max(found) > ALLOWED for found in costs_of.values()):
        raise SystemExit(f"A kill cost more than {ALLOWED} requests.")


if __name__ == "__main__":
    main()
