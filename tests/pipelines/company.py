"""A company in a sandbox, and a warehouse that it is synchronized into."""

import functools
import math
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from pipelines import loading
from pipelines.client import OneToken, Pennylane
from pipelines.details import DetailsReport, DetailsSync, Share
from pipelines.exclusions import publish, published
from pipelines.landing import Landing
from pipelines.lists import ListsReport, ListsSync
from pipelines.progress import Progress, Watch
from pipelines.warehouse import DuckDBWarehouse, Warehouse
from sandbox.clock import Clock
from sandbox.core import Settings
from sandbox.generator.books import make_worlds
from sandbox.server import SandboxServer
from sandbox.world import World
from tests.pipelines.truth import Key, Row, differences, expected, held

NOW = datetime(2026, 9, 15, 8, 0, tzinfo=UTC)
HOUR, DAY, WEEK = 3600.0, 86_400.0, 604_800.0
PREFIX = "/api/external/v2"


def make_sandbox(
    *, customers: int, invoices: int, seed: int = 1, frozen: bool = True, start: datetime = NOW, **settings: Any
) -> SandboxServer:
    """A sandbox of one company whose clock stands still until it is advanced; without a limit unless one is given."""
    worlds = make_worlds(Clock(start, frozen=frozen), customers=customers, invoices=invoices, companies=1, seed=seed)
    return SandboxServer(*worlds, settings=Settings(**{"control": True, "rate_limit": 0, "seed": seed, **settings}))


@functools.cache
def file_with_tables() -> bytes:
    """A DuckDB file in which there was another company before: making the tables takes longer than a small sync."""
    with tempfile.TemporaryDirectory() as folder:
        warehouse = DuckDBWarehouse(Path(folder, "receivables.duckdb"))
        with Landing.opened(warehouse, 1, Path(folder, "dlt")):
            pass
        return warehouse.path.read_bytes()


@functools.cache
def file_after_first_sync(customers: int, invoices: int, loader: Callable[..., Any]) -> bytes:
    """A DuckDB file that such a company was synchronized into once by this loader, as `Company.sync` does it."""
    with (
        mock.patch.object(loading, "Loader", loader),
        tempfile.TemporaryDirectory() as folder,
        make_sandbox(customers=customers, invoices=invoices) as server,
    ):
        warehouse = DuckDBWarehouse(Path(folder, "receivables.duckdb"))
        warehouse.path.write_bytes(file_with_tables())
        Company(server, warehouse, Path(folder, "dlt")).sync()
        return warehouse.path.read_bytes()


@dataclass
class Synced:
    """What one sync did, and how many requests its steps made."""

    lists: ListsReport
    details: DetailsReport
    list_requests: int
    detail_requests: int
    pennylane: Pennylane
    tally: dict[str, Any]


@dataclass
class Company:
    """A company under synchronization. `excluded` may be changed between syncs."""

    server: SandboxServer
    warehouse: Warehouse
    work_dir: Path
    excluded: set[int] = field(default_factory=set)
    progress: list[Progress] = field(default_factory=list)
    watch: Watch | None = None

    @property
    def world(self) -> World:
        return self.server.world

    @property
    def id(self) -> int:
        return self.world.id

    def clock(self) -> datetime:
        return self.world.clock.now()

    def pennylane(self, client: type[Pennylane] = Pennylane) -> Pennylane:
        """A client that waits for nothing but the limit."""
        return client(self.server.url, OneToken(self.server.token()), str(self.id), sleep=lambda _: None)

    def sync(
        self,
        *,
        full: bool = False,
        rotation: int = 0,
        history_seconds: float = HOUR,
        longest: Callable[[], float] = lambda: math.inf,
        again_after: timedelta = timedelta(),
        after: float = HOUR,
        pennylane: Pennylane | None = None,
    ) -> Synced:
        """A whole sync, `after` seconds later; all of the history is read, however long that takes, unless told."""
        self.world.clock.advance(after)
        pennylane = pennylane or self.pennylane()
        watch = self.watch or self.progress.append
        with Landing.opened(self.warehouse, self.id, self.work_dir) as landing:
            publish(landing, dict.fromkeys(self.excluded, NOW), self.clock)
            lists = ListsSync(pennylane, landing, published(landing), self.clock, watch).run(full=full)
            list_requests = pennylane.statuses.total()
            share = Share(rotation, history_seconds, longest, again_after)
            details = DetailsSync(pennylane, landing, self.clock, watch).run(share)
        return Synced(
            lists,
            details,
            list_requests,
            pennylane.statuses.total() - list_requests,
            pennylane,
            {table.name: tally for table, tally in landing.tally.items()},
        )

    def lists_only(
        self, *, full: bool = False, pennylane: Pennylane | None = None, watch: Watch = lambda _: None
    ) -> ListsReport:
        pennylane = pennylane or self.pennylane()
        with Landing.opened(self.warehouse, self.id, self.work_dir) as landing:
            publish(landing, dict.fromkeys(self.excluded, NOW), self.clock)
            return ListsSync(pennylane, landing, published(landing), self.clock, watch).run(full=full)

    def differences(self, excluded: Collection[int] | None = None) -> list[str]:
        """How the tables differ from the truth; an empty list where they do not."""
        truth = expected(self.world, self.server.url, self.excluded if excluded is None else excluded)
        return differences(held(self.warehouse, self.id), truth)

    def held(self) -> dict[str, dict[Key, Row]]:
        """The rows in the warehouse, by table and key."""
        return held(self.warehouse, self.id)

    @property
    def requests(self) -> dict[str, Any]:
        """What the sandbox counted."""
        return self.server.sandbox.statistics.report()

    def forget_requests(self) -> None:
        self.server.sandbox.statistics.reset()
