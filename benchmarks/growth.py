"""What growth costs: a first listing's memory, and an hourly sync after changes to 100 invoices, on growing tables.

`python -m benchmarks.growth [--postgres] [SIZE...]`: into DuckDB files, or into a Postgres that is started for it.
Each size has a sandbox of its own, without a rate limit, and a process per sync, with Dagster imported. A first sync
lists everything and makes the first 5,000 requests for contacts and payments (17 minutes of the limit); the others are
marked as read after it, those of history longer ago, so that an hourly sync reads those of what changed, and up to 50
requests' worth in rotation; before that all but those of history, of which it reads a part then. Of five hourly syncs
each, each after a change to 100 paid invoices taken at random, the medians are told.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.memory import peak_mb
from benchmarks.stand_in import Conditions, Size, StandIn, stand_in
from pipelines.client import OneToken, Pennylane
from pipelines.details import DetailsSync, Share
from pipelines.due import LATELY
from pipelines.landing import Landing
from pipelines.lists import ListsSync
from pipelines.progress import Progress
from pipelines.tables import ACCOUNTS, DATASET, INVOICES, MARKS
from pipelines.unpaid import UNPAID
from pipelines.warehouse import PostgresWarehouse, Warehouse, warehouse_at
from tests.postgres import HASHES_IN_PRODUCTION, running_postgres

SIZES = (1_000, 100_000)
CHANGES = 100
HOURS = 5
ROTATION = 50
OF_THE_FIRST = 5_000
"""Requests for contacts and payments, after which a first sync is ended here."""


class _Enough(Exception):
    """So many requests were made."""


def sandbox_of(invoices: int) -> AbstractContextManager[StandIn]:
    """A sandbox of this size, without limit and latency."""
    return stand_in(Size("grown", max(invoices // 10, 1), invoices), Conditions(limit=0, latency_ms=0))


def sync(url: str, token: str, warehouse_url: str, company: int, *, details: int | None) -> dict[str, float]:
    """A sync in this process, and what it took; `rows` are those of the lists.

    It has two steps, as a run has: lists, and details, which end after so many requests; None: not before all are read
    that it would read. Dagster is imported, as in the process of a run, whose memory it is a part of.
    """
    import_module("assets")
    warehouse = warehouse_at(warehouse_url)
    pennylane = Pennylane(url, OneToken(token))
    began, used = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        with Landing.opened(warehouse, company, Path(folder)) as landing:
            opened = time.perf_counter()
            ListsSync(pennylane, landing, (), _clock, lambda _: None).run()
            rows = sum(tally.read for tally in landing.tally.values())
        listed, peak_of_lists = time.perf_counter(), peak_mb()
        if details != 0:
            with Landing.opened(warehouse, company, Path(folder)) as landing:
                _read_details(pennylane, landing, details)
    return {
        "rows": rows,
        "requests": pennylane.statuses.total(),
        "seconds": time.perf_counter() - began,
        "opening": opened - began,
        "lists": listed - opened,
        "details": time.perf_counter() - listed,
        "cpu": time.process_time() - used,
        "peak of lists MB": peak_of_lists,
        "peak MB": peak_mb(),
    }


def _read_details(pennylane: Pennylane, landing: Landing, most: int | None) -> None:
    before = pennylane.statuses.total()

    def end(_: Progress) -> None:
        if most is not None and pennylane.statuses.total() - before >= most:
            raise _Enough

    with contextlib.suppress(_Enough):
        DetailsSync(pennylane, landing, _clock, end).run(Share(ROTATION if most is None else most))


def in_a_process(sandbox: StandIn, warehouse_url: str, company: int, *, details: int | None) -> dict[str, float]:
    where = {"url": sandbox.url, "token": sandbox.token(), "warehouse_url": warehouse_url}
    told = json.dumps({**where, "company": company, "details": details})
    printed = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth", "--sync", told], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    figures: dict[str, float] = json.loads(printed)
    return figures


@contextmanager
def warehouses(*, postgres: bool) -> Iterator[Callable[[str], str]]:
    """Makes empty warehouses by their names: DuckDB files, or databases of a Postgres server of our own."""
    if not postgres:
        with tempfile.TemporaryDirectory() as folder:
            yield lambda name: f"duckdb:///{folder}/{name}.duckdb"
        return
    with running_postgres(HASHES_IN_PRODUCTION) as server:

        def new_database(name: str) -> str:
            server.run(f"CREATE DATABASE {name}")
            return server.url(name)

        yield new_database


def mark_as_read(warehouse: Warehouse, *, history: bool) -> None:
    """As if the details of what matters had been read today, and those of history in the months before, or never."""
    lately = f"updated_at >= now() - INTERVAL '{LATELY.days} days'"
    matters = {
        INVOICES: f"({UNPAID} OR {lately})",
        ACCOUNTS: f"({lately} OR account_id IN (SELECT account_id FROM {DATASET}.invoices WHERE {UNPAID} OR {lately}))",  # noqa: S608
    }
    with warehouse.session() as session:
        for table, mark in MARKS.values():
            months_ago = f"now() - (1 + mod({table.id_column}, 90)) * INTERVAL '1 day'" if history else "NULL"
            session.execute(
                f"UPDATE {DATASET}.{table.name} SET {mark} = CASE WHEN {matters[table]} THEN %s ELSE {months_ago} END",  # noqa: S608
                _clock(),
            )
        if isinstance(warehouse, PostgresWarehouse):
            session.execute("VACUUM ANALYZE")  # as the server does by itself within a minute


def _an_hour(sandbox: StandIn, warehouse_url: str, company: int) -> dict[str, float]:
    for invoice in _some_paid(warehouse_at(warehouse_url)):
        sandbox.change("update_invoice", id=invoice)
    return in_a_process(sandbox, warehouse_url, company, details=None)


def _some_paid(warehouse: Warehouse) -> list[int]:
    """Invoices at random, each of which takes as many requests as any other when it has changed."""
    with warehouse.session() as session:
        chosen = f"SELECT invoice_id FROM {DATASET}.invoices WHERE paid ORDER BY random() LIMIT {CHANGES}"  # noqa: S608
        found = [invoice for (invoice,) in session.rows(chosen)]
    if len(found) < CHANGES:
        raise SystemExit(f"Only {len(found)} invoices are paid: take a larger company.")
    return found


def _medians(taken: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in taken) for name in taken[0]}


def _clock() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("sizes", nargs="*", type=int, default=SIZES)
    arguments.add_argument("--postgres", action="store_true")
    arguments.add_argument("--sync", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.sync:
        json.dump(sync(**json.loads(given.sync)), sys.stdout)
        return
    table = Table(
        title=f"An hourly sync after {CHANGES} invoices have changed, as the tables grow", title_justify="left"
    )
    for heading in (
        "invoices",
        "first: rows/s",
        "peak MB: lists",
        "all",
        "hourly: requests",
        "seconds",
        "of which CPU",
        "peak MB",
        "history unread: requests",
        "seconds",
        "peak MB",
    ):
        table.add_column(heading, justify="right")
    with warehouses(postgres=given.postgres) as new_warehouse:
        for company, invoices in enumerate(given.sizes, start=1):
            warehouse_url = new_warehouse(f"of_{invoices}")
            with sandbox_of(invoices) as sandbox:
                first = in_a_process(sandbox, warehouse_url, company, details=OF_THE_FIRST)
                hourly = {}
                for history in (False, True):
                    mark_as_read(warehouse_at(warehouse_url), history=history)
                    hourly[history] = _medians([_an_hour(sandbox, warehouse_url, company) for _ in range(HOURS)])
            table.add_row(
                f"{invoices:,}",
                f"{first['rows'] / (first['opening'] + first['lists']):,.0f}",
                f"{first['peak of lists MB']:,.0f}",
                f"{first['peak MB']:,.0f}",
                f"{hourly[True]['requests']:,.0f}",
                f"{hourly[True]['seconds']:.1f}",
                f"{hourly[True]['cpu']:.1f}",
                f"{hourly[True]['peak MB']:,.0f}",
                f"{hourly[False]['requests']:,.0f}",
                f"{hourly[False]['seconds']:.1f}",
                f"{hourly[False]['peak MB']:,.0f}",
            )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
