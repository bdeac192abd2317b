"""An installation at work against a sandbox, in this process, with the sandbox's time as its own."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from pipelines.client import Pennylane
from pipelines.companies import mark_disconnected, publish_company
from pipelines.details import DetailsSync, Share
from pipelines.exclusions import publish
from pipelines.landing import Landing
from pipelines.lists import ListsSync
from pipelines.pace_file import PaceFile
from pipelines.pacing import Pacer
from pipelines.set_aside import SetAside, set_aside
from resources.connections import Connection
from resources.credential import Credential
from resources.installation import Installation
from resources.leases import Lease
from resources.oauth import SCOPES, revoke
from resources.settings import Settings
from resources.tokens import TokenSource
from sandbox import core
from sandbox.server import SandboxServer
from sandbox.tokens import ACCESS_SECONDS
from tests.model.places import Place, at

ENOUGH = Share(100_000, 3600.0)
"""Every contact and payment is read again in each sync."""

A_REQUEST_TAKES = 0.01


class Killed(BaseException):
    """The process ends here: nothing that a program does about errors is done."""


class Time:
    """The sandbox's clock as several threads move it. Waiting moves it, too: nobody waits for real."""

    def __init__(self, server: SandboxServer) -> None:
        self._clock = server.world.clock
        self._moving = threading.Lock()

    def now(self) -> datetime:
        return self._clock.now()

    def seconds(self) -> float:
        return self._clock.microseconds() / 1e6

    def pass_(self, seconds: float) -> None:
        with self._moving:
            self._clock.advance(seconds)

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """As a pacer waits: for the limit, or, shortly and then for real, for another thread's answer."""
        if seconds < 0.05:
            condition.wait(seconds)
        self.pass_(max(seconds, 0.001))  # the sandbox counts microseconds: by less, its time would stand still


class Ran(NamedTuple):
    """What a sync that succeeded says: its mode, and what it has set aside, as `status` shows it."""

    mode: str
    aside: list[SetAside]


def sync(installation: Installation, company_id: int, owner: str, *, full: bool) -> Ran:
    """What a run of the hourly or full sync does, from its first step to its last, but all contacts and payments."""
    job = "full_sync" if full else "hourly_sync"
    clock, watch = installation.clock, installation.watch
    with installation.company(company_id, owner, job) as company:
        publish_company(company.landing, company.connection.company_name, None, clock)
        excluded = installation.connections.excluded(company.id)
        publish(company.landing, excluded, clock)
        installation.connections.activate(company.id)
        report = ListsSync(company.pennylane, company.landing, excluded, clock, watch).run(full=full)
        details = DetailsSync(company.pennylane, company.landing, clock, watch).run(ENOUGH)
        installation.connections.record_success(company.id, clock(), ready=details.pending.ready)
        aside = list(set_aside(company.landing.state))
        whole_lists = Counter(one.table for one in aside if one.parent_id is not None and one.id is None)
        assert details.pending.contacts <= whole_lists["contacts"]
        assert details.pending.payments <= whole_lists["payments"]
        return Ran(report.mode, aside)


class Office(Installation):
    """A company's installation. `at_request` is called with the number of each request of a sync before it goes out."""

    def __init__(self, server: SandboxServer, home: Path, warehouse_url: str, connections_url: str = "") -> None:
        self.time = Time(server)
        super().__init__(clock=self.time.now)
        self.server = server
        self.company_id = server.world.id
        self.at_request: Callable[[int], None] = lambda _: None
        self.settings = Settings(
            _env_file=None,
            pennylane_url=server.url,
            pennylane_client_id=core.CLIENT_ID,
            pennylane_client_secret=core.CLIENT_SECRET,
            pennylane_sync_home=home,
            WAREHOUSE_URL=warehouse_url,
            CONNECTIONS_URL=connections_url or f"sqlite:///{home / 'connections.sqlite'}",
        )

    def pennylane(self, connection: Connection) -> Pennylane:
        office = self
        tokens = TokenSource(self.connections, connection.company_id, self.settings, sleep=self.time.pass_)

        class Watched(Pennylane):
            requests = 0
            counting = threading.Lock()

            def get(self, path: str, params: Mapping[str, str | int] | None = None) -> dict[str, Any]:
                with self.counting:
                    self.requests += 1
                    office.time.pass_(A_REQUEST_TAKES)
                    office.at_request(self.requests)
                return super().get(path, params)

        pace = PaceFile(
            self.settings.home / "pace" / f"{connection.company_id}.json", self.time.seconds, self.time.seconds
        )
        pacer = Pacer(pace, self.time.seconds, self.time.wait)
        return Watched(self.settings.pennylane_url, tokens, str(connection.company_id), pacer, sleep=self.time.pass_)

    def connect(self, kind: str) -> None:
        """As `pennylane-sync connect` does once the person has said yes, or has pasted an API token."""
        company = self.server.world
        if kind == "api_token":
            token = self.server.sandbox.tokens.add_company_token(company.id)
            self.connections.save(company.id, company.name, "api_token", Credential(token), SCOPES)
        else:
            pair = self.server.sandbox.tokens.issue(company.id, SCOPES)
            expires_at = self.clock() + timedelta(seconds=ACCESS_SECONDS)
            credential = Credential(pair.access_token, pair.refresh_token, expires_at)
            self.connections.save(company.id, company.name, "oauth", credential, SCOPES)

    def disconnect(self) -> Credential | None:
        """As `pennylane-sync disconnect` does."""
        credential = self.connections.disconnect(self.company_id)
        if credential is not None:
            revoke(self.settings, credential)
        mark_disconnected(self.warehouse, self.company_id, self.clock())
        return credential

    def sync(self, owner: str, *, full: bool) -> Ran:
        return sync(self, self.company_id, owner, full=full)

    @contextmanager
    def dying_at(self, place: Place, time: int) -> Iterator[None]:
        """A sync in this block dies there, and leaves its lease and its working files behind as a dead process does."""
        dead = threading.Event()

        def die() -> None:
            dead.set()
            raise Killed

        release, clear = Lease.release, Landing._clear
        with (
            mock.patch.object(Lease, "release", lambda lease: None if dead.is_set() else release(lease)),
            mock.patch.object(Landing, "_clear", lambda landing: None if dead.is_set() else clear(landing)),
            at(place, time, die),
        ):
            yield
