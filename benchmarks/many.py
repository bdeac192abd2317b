"""What many companies cost on one machine: an hour's tick with a run for each, from the queue to the end of the last.

`python -m benchmarks.many [--postgres] [--rotation REQUESTS] [COMPANIES]`: a sandbox that serves them all, each with a
rate limit of its own, their lists read, one change at each, and `pennylane-sync start` whose schedule ticks once.
Prints how long runs waited in the queue and took, and what processor, memory and disk they cost. With --postgres, the
tables and Dagster's storage are in a Postgres of its own (without fsync), with the settings of `deploy/`. --rotation is
PENNYLANE_SYNC_DETAIL_REQUESTS: with few requests the run itself is what is measured, else waiting for the limit.
"""

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import dagster as dg
import psutil  # type: ignore[import-untyped]
import psycopg2
from rich.console import Console
from rich.table import Table

from assets.old_runs import delete_runs
from benchmarks.each_minute import CRON
from benchmarks.growth import mark_as_read
from benchmarks.overhead import ROOT, Servers, Used, serving
from benchmarks.stand_in import REAL, Size, StandIn, stand_in
from pipelines.companies import publish_company
from pipelines.exclusions import publish
from pipelines.lists import ListsSync
from pipelines.warehouse import warehouse_at
from resources.credential import Credential
from resources.installation import Installation
from resources.oauth import SCOPES
from resources.settings import Settings
from sandbox.generator.books import SMALL_CUSTOMERS, SMALL_INVOICES, company_id
from tests.postgres import HASHES_IN_PRODUCTION, PostgresServer, running_postgres
from tests.program import FOREIGN

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
SIZE = Size("small", SMALL_CUSTOMERS, SMALL_INVOICES)


class Files:
    """One machine with `pennylane-sync start`: DuckDB, and Dagster's storage in SQLite."""

    settings = ROOT / "dagster.yaml"

    def __init__(self, folder: Path) -> None:
        self._dagster = folder / "home" / "dagster"
        self.environment = {"WAREHOUSE_URL": f"duckdb:///{folder / 'receivables.duckdb'}"}

    def used(self) -> float:
        """Processor seconds of its server."""
        return 0

    def size(self) -> int:
        """Bytes that Dagster keeps."""
        return sum(path.stat().st_size for path in self._dagster.rglob("*") if path.is_file())


class Server:
    """The same in a Postgres, as in `deploy/`."""

    settings = ROOT / "deploy" / "dagster.yaml"

    def __init__(self, postgres: PostgresServer) -> None:
        for name in ("dagster", "receivables"):
            postgres.run(f"CREATE DATABASE {name}")
        self._postgres = postgres
        self.environment = {
            "WAREHOUSE_URL": postgres.url("receivables"),
            "DAGSTER_POSTGRES_HOST": "127.0.0.1",
            "DAGSTER_POSTGRES_PORT": str(postgres.port),
            "DAGSTER_POSTGRES_USER": "postgres",
            "DAGSTER_POSTGRES_PASSWORD": postgres.password,
            "DAGSTER_POSTGRES_DB": "dagster",
        }

    def used(self) -> float:
        """Processor seconds of its server."""
        process_id = Path(self._postgres.sockets, "data", "postmaster.pid").read_text().split()[0]
        used = Used.by(psutil.Process(int(process_id)))
        return used.ended + used.living

    def size(self) -> int:
        """Bytes that Dagster keeps."""
        with contextlib.closing(psycopg2.connect(self._postgres.url("dagster"))) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT pg_database_size('dagster')")
            return int(cursor.fetchone()[0])


@contextmanager
def storage(folder: Path, *, postgres: bool) -> Iterator[Files | Server]:
    """Where the tables and Dagster's runs are kept."""
    if not postgres:
        yield Files(folder)
        return
    with running_postgres(HASHES_IN_PRODUCTION) as server:
        yield Server(server)


def connect_all(installation: Installation, sandbox: StandIn, companies: int) -> None:
    """Each with its lists, and as if contacts and payments had been read, which takes hundreds of requests each."""
    for number in range(companies):
        id_, name = company_id(number), f"Company {number}"
        installation.connections.save(id_, name, "api_token", Credential(sandbox.token(id_)), SCOPES)
        with installation.company(id_, "benchmark", "initial_sync") as company:
            publish_company(company.landing, name, None, installation.clock)
            publish(company.landing, {}, installation.clock)
            ListsSync(company.pennylane, company.landing, (), installation.clock, installation.watch).run()
        installation.connections.activate(id_)
        installation.connections.record_success(id_, installation.clock(), ready=True)
    mark_as_read(warehouse_at(installation.settings.warehouse_url), history=True)


def one_tick(servers: Servers, tick: datetime, companies: int) -> tuple[list[dg.RunRecord], int]:
    """The runs that the tick asked for, all of them finished, and the most memory that was taken, in bytes."""
    memory = 0
    while True:
        time.sleep(5)
        if servers.instance.get_runs_count(dg.RunsFilter(statuses=FINISHED)) == companies:
            return list(servers.instance.get_run_records()), memory
        memory = max(memory, servers.memory())
        if datetime.now(UTC) > tick + timedelta(hours=1):
            raise RuntimeError(f"not all runs of {companies} companies ended within the hour")


@dataclass(frozen=True)
class Cost:
    """Seconds, bytes of memory and of disk. Of Dagster and Postgres it is processor time."""

    dagster: float
    postgres: float
    memory: int
    disk: int
    deletion: float


def table(records: list[dg.RunRecord], tick: datetime, cost: Cost) -> Table:
    waited = [(record.start_time or 0) - tick.timestamp() for record in records]
    took = [(record.end_time or 0) - (record.start_time or 0) for record in records]
    failed = sum(not record.dagster_run.is_success for record in records)
    shown = Table("", "", title=f"An hour of {len(records)} companies", title_justify="left", show_header=False)
    for name, value in {
        "runs, of which failed": f"{len(records)}, {failed}",
        "asked for within": f"{max(r.create_timestamp.timestamp() for r in records) - tick.timestamp():.1f} s",
        "waited until they began, median and longest": f"{median(waited):.0f} s, {max(waited):.0f} s",
        "took, median and longest": f"{median(took):.1f} s, {max(took):.1f} s",
        "from the tick to the end of the last": f"{max(r.end_time or 0 for r in records) - tick.timestamp():.0f} s",
        "processor time, per run": f"{cost.dagster:.0f} s, {cost.dagster / len(records):.2f} s",
        "of Postgres, per run": f"{cost.postgres:.0f} s, {cost.postgres / len(records):.2f} s",
        "memory, at most": f"{cost.memory / 1e6:,.0f} MB",
        "Dagster's storage grew, per run": f"{cost.disk / 1e6:.0f} MB, {cost.disk / len(records) / 1e3:.0f} kB",
        "to delete these runs": f"{cost.deletion:.1f} s",
    }.items():
        shown.add_row(name, value)
    return shown


def _installation(home: Path, url: str, storage: dict[str, str], rotation: int) -> tuple[Installation, dict[str, str]]:
    """One over these, and the environment of programs that share it."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    environment = (
        others
        | storage
        | {
            "PENNYLANE_URL": url,
            "PENNYLANE_SYNC_HOME": str(home),
            "CONNECTIONS_URL": f"sqlite:///{home / 'connections.sqlite'}",
            "PENNYLANE_SYNC_DETAIL_REQUESTS": str(rotation),
            "NO_PROXY": "127.0.0.1,localhost",
        }
    )
    installation = Installation()
    installation.settings = Settings(
        _env_file=None,
        pennylane_url=url,
        pennylane_sync_home=home,
        WAREHOUSE_URL=environment["WAREHOUSE_URL"],
        CONNECTIONS_URL=environment["CONNECTIONS_URL"],
    )
    return installation, environment


def measure(companies: int, *, postgres: bool, rotation: int, say: Console) -> Table:
    with (
        tempfile.TemporaryDirectory() as name,
        stand_in(SIZE, REAL, companies=companies) as sandbox,
        storage(Path(name), postgres=postgres) as kept,
    ):
        home = Path(name, "home")
        installation, environment = _installation(home, sandbox.url, kept.environment, rotation)
        os.environ.update(kept.environment)  # Dagster's settings name these variables
        say.print(f"{companies} first syncs")
        connect_all(installation, sandbox, companies)
        for number in range(companies):
            sandbox.change(f"pay_invoice?company={company_id(number)}")
        sandbox.an_hour_later()
        tick = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=2)
        with serving(home, environment | {CRON: f"{tick:%M %H} * * *"}, kept.settings) as servers:
            time.sleep(max(tick.timestamp() - time.time() - 5, 0))
            say.print(f"tick at {tick:%H:%M} UTC")
            before, of_postgres, size = servers.used(), kept.used(), kept.size()
            records, memory = one_tick(servers, tick, companies)
            servers.settle()
            used = servers.used() - before
            processor, grown = used.ended + used.living, kept.size() - size
            of_postgres = kept.used() - of_postgres
            began = time.monotonic()
            sum(delete_runs(servers.instance, datetime.now(UTC)))
            deletion = time.monotonic() - began
            return table(records, tick, Cost(processor, of_postgres, memory, grown, deletion))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("companies", type=int, nargs="?", default=200)
    arguments.add_argument("--postgres", action="store_true", help="as the warehouse, in place of a DuckDB file")
    arguments.add_argument(
        "--rotation", type=int, default=Settings.model_fields["pennylane_sync_detail_requests"].default
    )
    given = arguments.parse_args()
    console = Console(width=100)
    console.print(measure(given.companies, postgres=given.postgres, rotation=given.rotation, say=console))


if __name__ == "__main__":
    main()
