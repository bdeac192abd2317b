"""What many companies cost on one machine: an hour's tick with a run for each, from the queue to the end of the last.

`python -m benchmarks.many [--postgres] [COMPANIES]`: a sandbox that serves them all, without a rate limit (each company
has a limit of its own), their first syncs done, one change at each, and `pennylane-sync start` whose schedule ticks
once. Prints how long runs waited in the queue and took, and what processor, memory and disk they cost.
"""

import argparse
import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import dagster as dg
from rich.console import Console
from rich.table import Table

from benchmarks.each_minute import CRON
from benchmarks.growth import warehouses
from benchmarks.overhead import Servers, serving
from benchmarks.stand_in import Size, StandIn, stand_in
from cli.instance import dagster_home
from resources.credential import Credential
from resources.installation import Installation
from resources.oauth import SCOPES
from resources.settings import Settings
from sandbox.generator.books import SMALL_CUSTOMERS, SMALL_INVOICES, company_id
from tests.model.office import sync
from tests.program import FOREIGN

SIZE = Size("small", SMALL_CUSTOMERS, SMALL_INVOICES)


def connect_all(installation: Installation, sandbox: StandIn, companies: int) -> None:
    """Each with its first sync, contacts and payments included."""
    for number in range(companies):
        id_ = company_id(number)
        credential = Credential(sandbox.token(id_))
        installation.connections.save(id_, f"Company {number}", "api_token", credential, SCOPES)
        sync(installation, id_, "benchmark", full=False)


def one_tick(servers: Servers, tick: datetime, companies: int) -> tuple[list[dg.RunRecord], int]:
    """The runs that the tick asked for, all of them finished, and the most memory that was taken, in bytes."""
    memory = 0
    while True:
        time.sleep(1)
        records = servers.instance.get_run_records()
        if len(records) == companies and all(record.dagster_run.is_finished for record in records):
            return list(records), memory
        memory = max(memory, servers.memory())
        if datetime.now(UTC) > tick + timedelta(hours=1):
            raise RuntimeError(f"{len(records)} runs of {companies} were begun within the hour")


def table(records: list[dg.RunRecord], tick: datetime, processor: float, memory: int, disk: int) -> Table:
    waited = [(record.start_time or 0) - tick.timestamp() for record in records]
    took = [(record.end_time or 0) - (record.start_time or 0) for record in records]
    failed = sum(not record.dagster_run.is_success for record in records)
    shown = Table("", "", title=f"An hour of {len(records)} companies", title_justify="left", show_header=False)
    for name, value in {
        "runs, of which failed": f"{len(records)}, {failed}",
        "waited until they began, median and longest": f"{median(waited):.0f} s, {max(waited):.0f} s",
        "took, median and longest": f"{median(took):.1f} s, {max(took):.1f} s",
        "from the tick to the end of the last": f"{max(r.end_time or 0 for r in records) - tick.timestamp():.0f} s",
        "processor time, per run": f"{processor:.0f} s, {processor / len(records):.1f} s",
        "memory, at most": f"{memory / 1e6:,.0f} MB",
        "Dagster's storage grew, per run": f"{disk / 1e6:.0f} MB, {disk / len(records) / 1e3:.0f} kB",
    }.items():
        shown.add_row(name, value)
    return shown


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _installation(home: Path, url: str, warehouse_url: str) -> tuple[Installation, dict[str, str]]:
    """One over these, and the environment of programs that share it."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    environment = others | {
        "PENNYLANE_URL": url,
        "PENNYLANE_SYNC_HOME": str(home),
        "WAREHOUSE_URL": warehouse_url,
        "CONNECTIONS_URL": f"sqlite:///{home / 'connections.sqlite'}",
        "PENNYLANE_SYNC_DETAIL_REQUESTS": "20",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    installation = Installation()
    installation.settings = Settings(
        _env_file=None,
        pennylane_url=url,
        pennylane_sync_home=home,
        WAREHOUSE_URL=warehouse_url,
        CONNECTIONS_URL=environment["CONNECTIONS_URL"],
    )
    return installation, environment


def measure(companies: int, *, postgres: bool, say: Console) -> Table:
    with (
        tempfile.TemporaryDirectory() as name,
        stand_in(SIZE, limited=False, companies=companies) as sandbox,
        warehouses(postgres=postgres) as new_warehouse,
    ):
        home = Path(name, "home")
        installation, environment = _installation(home, sandbox.url, new_warehouse("many"))
        dagster_home(installation.settings)
        say.print(f"{companies} first syncs")
        connect_all(installation, sandbox, companies)
        for number in range(companies):
            sandbox.change(f"pay_invoice?company={company_id(number)}")
        sandbox.an_hour_later()
        tick = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=2)
        with serving(home, environment | {CRON: f"{tick:%M %H} * * *"}) as servers:
            time.sleep(max(tick.timestamp() - time.time() - 5, 0))
            say.print(f"tick at {tick:%H:%M} UTC")
            before, disk = servers.used(), _size(home / "dagster")
            records, memory = one_tick(servers, tick, companies)
            servers.settle()
            used = servers.used() - before
            grown = _size(home / "dagster") - disk
        return table(records, tick, used.ended + used.living, memory, grown)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("companies", type=int, nargs="?", default=200)
    arguments.add_argument("--postgres", action="store_true", help="as the warehouse, in place of a DuckDB file")
    given = arguments.parse_args()
    console = Console(width=100)
    console.print(measure(given.companies, postgres=given.postgres, say=console))


if __name__ == "__main__":
    main()
