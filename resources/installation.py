"""What assets and commands are given: the settings, the connections, the warehouse, and a company to work on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipelines.changes import cursors_of, has_news
from pipelines.client import Pennylane
from pipelines.committed import committed
from pipelines.errors import AuthorizationFailed, MissingScope, PipelineError, naming
from pipelines.landing import Landing
from pipelines.pace_file import PaceFile
from pipelines.pacing import Pacer
from pipelines.progress import Progress, Watch
from pipelines.verification import Verification, Verified
from pipelines.warehouse import Warehouse, warehouse_at
from resources.clock import Clock, utc_now
from resources.connections import Connection, Connections
from resources.errors import PennylaneSyncError
from resources.leases import LeaseLost
from resources.settings import Settings
from resources.tokens import AuthorizationLost, Disconnected, TokenSource

USER_ERRORS = (PennylaneSyncError, PipelineError)
"""Errors whose text is one line that says what happened and what to do next."""


@dataclass(frozen=True)
class Company:
    """A company that is being worked on: its lease is held, its tables exist."""

    connection: Connection
    pennylane: Pennylane
    landing: Landing

    @property
    def id(self) -> int:
        return self.connection.company_id


class NotAuthorized(PennylaneSyncError):
    """The connection cannot be synchronized until somebody connects it again."""


def _unwatched(_: Progress) -> None:
    """Nobody looks."""


class Installation:
    """Everything local to one installation. Reads settings and opens databases at first use, never at import."""

    def __init__(self, watch: Watch = _unwatched, clock: Clock = utc_now) -> None:
        self.watch = watch
        self.clock = clock

    @cached_property
    def settings(self) -> Settings:
        return Settings()

    @cached_property
    def connections(self) -> Connections:
        return Connections.from_settings(self.settings, self.clock)

    @cached_property
    def warehouse(self) -> Warehouse:
        return warehouse_at(self.settings.warehouse_url)

    @property
    def work_dir(self) -> Path:
        """dlt's working folder; empty between syncs."""
        return self.settings.home / "dlt"

    def pennylane(self, connection: Connection) -> Pennylane:
        """The API with this connection's token, at the pace of all that is asked with it on this machine."""
        company_id = connection.company_id
        tokens = TokenSource(self.connections, company_id, self.settings)
        pacer = Pacer(PaceFile(self.settings.home / "pace" / f"{company_id}.json"))
        return Pennylane(self.settings.pennylane_url, tokens, str(company_id), pacer)

    def authorized(self, company_id: int) -> Connection:
        """The connection of a company that may be worked on; raises NotAuthorized, UnknownConnection."""
        connection = self.connections.get(company_id)
        if connection.disconnected_at:
            raise NotAuthorized(f"Company {company_id} is disconnected. Connect it again: pennylane-sync connect")
        if connection.authorization_lost:
            reason = connection.authorization_lost
            raise NotAuthorized(f"Company {company_id} must be authorized again: pennylane-sync connect. {reason}")
        return connection

    @contextmanager
    def company(self, company_id: int, owner: str, purpose: str) -> Iterator[Company]:
        """Work on a company, alone: raises LeaseHeld where another owner does. What goes wrong inside is recorded.

        Raises NotAuthorized, the errors of the lease, and what the work raises.
        """
        connection = self.authorized(company_id)
        with (
            self.connections.lease(company_id, owner, purpose) as lease,
            self._recorded(company_id),
            self._authorization_watched(company_id),
            Landing.opened(self.warehouse, company_id, self.work_dir, before_write=lease.check) as landing,
        ):
            yield Company(connection, self.pennylane(connection), landing)

    def verify(
        self, company_id: int, owner: str, purpose: str, *, watch: Watch | None = None, details: bool = False
    ) -> tuple[Verified, Pennylane]:
        """Compare a company with Pennylane while nobody else works on it, and write nothing. Raises as `company` does.

        What was found, and the client that was asked, with its counts.
        """
        connection = self.authorized(company_id)
        with (
            self.connections.lease(company_id, owner, purpose) as lease,
            self._authorization_watched(company_id),
            naming(company_id),
        ):
            pennylane = self.pennylane(connection)
            excluded = self.connections.excluded(company_id)
            verification = Verification(
                pennylane,
                self.warehouse,
                company_id,
                excluded=excluded,
                clock=self.clock,
                watch=watch or self.watch,
                details=details,
            )
            found = verification.run()
            lease.check()
            return found, pennylane

    def has_news(self, company_id: int) -> bool:
        """Whether Pennylane tells of changes since a company's last sync; no, where its first has not listed all yet.

        Raises NotAuthorized, and what asking Pennylane or opening the warehouse may raise.
        """
        connection = self.authorized(company_id)
        with self._authorization_watched(company_id), naming(company_id):
            with self.warehouse.session() as session:
                cursors = cursors_of(committed(session, company_id) or {})
            return has_news(self.pennylane(connection), cursors)

    @contextmanager
    def _recorded(self, company_id: int) -> Iterator[None]:
        """A connection's last error is one of its syncs; what goes wrong in looking at it is only told."""
        try:
            yield
        except (AuthorizationLost, Disconnected, LeaseLost):
            raise  # said elsewhere: by the connection's state, or by the run that took over
        except USER_ERRORS as error:
            self.connections.record_failure(company_id, str(error))
            raise
        except Exception as error:
            self.connections.record_failure(company_id, f"{type(error).__name__} (the run's log tells more)")
            raise

    @contextmanager
    def _authorization_watched(self, company_id: int) -> Iterator[None]:
        try:
            yield
        except (AuthorizationFailed, MissingScope) as error:
            self.connections.record_authorization_lost(company_id, str(error))
            raise
