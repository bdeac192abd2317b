"""Lists companies of growing size from the sandbox, without its rate limit, into DuckDB, each in its own process."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from pipelines.client import Pennylane
from pipelines.landing import Landing
from pipelines.lists import ListsSync
from pipelines.warehouse import warehouse_at

SIZES = (1_000, 10_000, 100_000)


class _Token:
    def __init__(self, token: str) -> None:
        self._token = token

    def access_token(self) -> str:
        return self._token

    def renewed(self, after: str) -> str:
        raise RuntimeError(f"the sandbox refused a token of {len(after)} characters")


def measure(url: str) -> dict[str, float]:
    """A first listing of the sandbox's first company, and an hourly sync after 100 changes."""
    token = requests.post(f"{url}/control/tokens", json={}, timeout=30).json()["token"]
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        warehouse = warehouse_at(f"duckdb:///{folder}/receivables.duckdb")
        for name, changes in (("first", 0), ("hourly", 100)):
            if changes:
                requests.post(f"{url}/control/changes/random", json={"count": changes}, timeout=300)
            pennylane = Pennylane(url, _Token(token))
            began = time.perf_counter()
            with Landing.opened(warehouse, 1, Path(folder) / "dlt") as landing:
                ListsSync(pennylane, landing, (), lambda: datetime.now(UTC), lambda _: None).run()
            figures[f"{name} seconds"] = time.perf_counter() - began
            figures[f"{name} requests"] = pennylane.statuses.total()
            figures[f"{name} rows"] = sum(tally.read for tally in landing.tally.values())
    figures["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def measure_size(invoices: int) -> dict[str, float]:
    """Measures in a new process against a new sandbox of this size."""
    size = ["--customers", str(max(invoices // 10, 1)), "--invoices", str(invoices)]
    command = [sys.executable, "-u", "-m", "sandbox", "--port", "0", "--rate-limit", "0", "--control", *size]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sandbox:
        try:
            url = sandbox.stdout.readline().split()[-1] if sandbox.stdout else ""
            printed = subprocess.run(
                [sys.executable, "-m", "benchmarks", url], stdout=subprocess.PIPE, text=True, check=True
            ).stdout
        finally:
            sandbox.terminate()
    figures: dict[str, float] = json.loads(printed)
    return figures


def main() -> None:
    if len(sys.argv) > 1:
        json.dump(measure(sys.argv[1]), sys.stdout)
        return
    table = Table(title="Lists into DuckDB, without the rate limit", title_justify="left")
    for heading in ("invoices", "first: requests", "rows/s", "100 changes: requests", "seconds", "peak MB"):
        table.add_column(heading, justify="right")
    for invoices in SIZES:
        found = measure_size(invoices)
        table.add_row(
            f"{invoices:,}",
            f"{found['first requests']:,.0f}",
            f"{found['first rows'] / found['first seconds']:,.0f}",
            f"{found['hourly requests']:,.0f}",
            f"{found['hourly seconds']:.1f}",
            f"{found['peak MB']:,.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
