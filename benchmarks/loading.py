"""How fast a first listing loads without the rate limit, and what it takes.

`python -m benchmarks.loading [INVOICES]`: into a DuckDB file, and into a Postgres that is started for it. The sandbox
has a process of its own. What it can deliver at the most is measured first, with answers that are dropped; then loading
alone, of records that are in memory; then the listing as it is.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from benchmarks.growth import in_a_process, sandbox_of, warehouses
from benchmarks.stand_in import StandIn
from pipelines.client import API, WORKERS, OneToken, Pennylane
from pipelines.filters import condition, encoded
from pipelines.indexes import index
from pipelines.kinds import INVOICE, Kind, Reader
from pipelines.landing import Landing
from pipelines.listing import PAGE, PAGES_AHEAD, Listing, Task
from pipelines.pieces import Pieces
from pipelines.prefetch import prefetched
from pipelines.ranges import ALL_IDS
from pipelines.records import Record, Row
from pipelines.tables import INVOICES
from pipelines.warehouse import warehouse_at

_PAGES = 200
_LOADED_ALONE = 50_000


def delivered(sandbox: StandIn, invoices: int) -> float:
    """Rows a second that the sandbox delivers to whoever drops them."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {sandbox.token()}"
    address = f"{sandbox.url}{API}/customer_invoices"

    def page(order: str, *conditions: dict[str, object]) -> list[dict[str, int]]:
        parameters: dict[str, str | int] = {"limit": 100, "sort": order, **encoded(conditions)}
        items: list[dict[str, int]] = session.get(address, params=parameters, timeout=60).json()["items"]
        return items

    first, last = page("id")[0]["id"], page("-id")[0]["id"]
    starts = [first + (last - first) * number // _PAGES for number in range(_PAGES - max(_PAGES * 100 // invoices, 1))]
    began = time.perf_counter()
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(lambda start: len(page("id", condition("id", "gteq", start))), starts))
    return len(starts) * 100 / (time.perf_counter() - began)


def landed(sandbox: StandIn, warehouse_url: str, company: int, invoices: int) -> float:
    """Rows a second from records that are in memory already into the tables, as a first listing puts them there."""
    pennylane = Pennylane(sandbox.url, OneToken(sandbox.token()))
    reader = Reader(company, frozenset(), lambda: datetime.now(UTC))
    with ThreadPoolExecutor(WORKERS) as executor:
        tasks = [Task("invoices", INVOICE, INVOICE.conditions, ALL_IDS)]
        pages = islice(Listing(pennylane, _Keeping(), executor, tasks).pages(), invoices // PAGE)
        records = [record for page in pages for record in page.rows]
    with (
        tempfile.TemporaryDirectory() as folder,
        Landing.opened(warehouse_at(warehouse_url), company, Path(folder)) as landing,
    ):
        gc.freeze()  # the records, which a sync does not hold: it would look through them after each piece
        began = time.perf_counter()
        pieces = Pieces(landing)
        with prefetched((reader.rows(INVOICE, page) for page in _pages(records)), PAGES_AHEAD) as coming:
            for rows in coming:
                pieces.add(INVOICES, rows)
                if pieces.full:
                    pieces.collect(landing.state)
        pieces.land(landing.state)
        with landing.warehouse.session() as session:
            index(session)  # as the next step of a run does
        took = time.perf_counter() - began
        gc.unfreeze()
        return len(records) / took


def _pages(records: list[Record]) -> Iterator[list[Record]]:
    for at in range(0, len(records), PAGE):
        yield records[at : at + PAGE]


class _Keeping(Reader):
    """Keeps the records as they came."""

    def __init__(self) -> None:
        super().__init__(0, frozenset(), lambda: datetime.now(UTC))

    def rows(self, kind: Kind, records: Iterable[Record]) -> list[Row]:
        return list(records) if kind is INVOICE else []


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("invoices", nargs="?", type=int, default=100_000)
    given = arguments.parse_args()
    table = Table(title=f"First listing of {given.invoices:,} invoices, without the rate limit", title_justify="left")
    for heading in ("into", "sandbox at most, rows/s", "loading alone", "listed and loaded", "CPU us/row"):
        table.add_column(heading, justify="right")
    for postgres in (False, True):
        with warehouses(postgres=postgres) as new_warehouse, sandbox_of(given.invoices) as sandbox:
            most = delivered(sandbox, given.invoices)
            alone = landed(sandbox, new_warehouse("alone"), 1, min(given.invoices, _LOADED_ALONE))
            found = in_a_process(sandbox, new_warehouse("listed"), 1, details=0)
        table.add_row(
            "Postgres" if postgres else "DuckDB",
            f"{most:,.0f}",
            f"{alone:,.0f}",
            f"{found['rows'] / found['seconds']:,.0f}",
            f"{found['cpu'] / found['rows'] * 1e6:,.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
