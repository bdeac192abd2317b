"""How fast a first listing loads without the rate limit, and what it takes.

`python -m benchmarks.loading [--postgres URL] [INVOICES]`: URL is an empty Postgres database; a DuckDB file otherwise.
The sandbox has a process of its own. What it can deliver at the most is measured first, with answers that are dropped.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import requests
from rich.console import Console
from rich.table import Table

from benchmarks.growth import Token, in_a_process, sandbox_of
from pipelines.client import API
from pipelines.filters import condition, encoded

_PAGES = 200


def delivered(url: str, invoices: int) -> float:
    """Rows a second that the sandbox delivers to whoever drops them."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {Token(url).access_token()}"
    address = f"{url}{API}/customer_invoices"

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


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("invoices", nargs="?", type=int, default=100_000)
    arguments.add_argument("--postgres", metavar="URL")
    given = arguments.parse_args()
    table = Table(title=f"First listing of {given.invoices:,} invoices, without the rate limit", title_justify="left")
    for heading in ("into", "sandbox at most, rows/s", "loaded, rows/s", "CPU us/row", "peak MB"):
        table.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as folder, sandbox_of(given.invoices) as url:
        most = delivered(url, given.invoices)
        warehouse_url = given.postgres or f"duckdb:///{folder}/receivables.duckdb"
        found = in_a_process(url, warehouse_url, 1, details=False)
    table.add_row(
        warehouse_url.partition(":")[0],
        f"{most:,.0f}",
        f"{found['rows'] / found['seconds']:,.0f}",
        f"{found['cpu'] / found['rows'] * 1e6:,.0f}",
        f"{found['peak MB']:,.0f}",
    )
    Console().print(table)


if __name__ == "__main__":
    main()
