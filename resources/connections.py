"""The connected companies: what is known of each, its encrypted token, and the accounts left out of it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection as Transaction
from sqlalchemy import Row, insert, select, update

from resources.clock import Clock, utc_now
from resources.credential import Credential
from resources.errors import PennylaneSyncError
from resources.exclusions import Exclusion, Exclusions
from resources.leases import Lease, LeaseHolder, Leases
from resources.settings import Settings
from resources.store import Store, connections, exclusions
from resources.vault import KeyMismatch, Vault

Kind = Literal["oauth", "api_token"]
State = Literal["connected", "syncing", "active", "needs_authorization", "disconnected"]


class UnknownConnection(PennylaneSyncError):
    """No connection, or not exactly one, is the one that is meant."""


@dataclass(frozen=True)
class Connection:
    """A Pennylane company as this installation knows it; its token is not part of it."""

    company_id: int
    company_name: str
    kind: Kind
    scopes: tuple[str, ...]
    connected_at: datetime
    """When it was connected, or connected again, last."""
    activated_at: datetime | None
    last_sync_at: datetime | None
    """The end of the last sync that succeeded."""
    ready_at: datetime | None
    """Since when all that matters for follow-up is in; None while some of it is still to be fetched."""
    last_error: str | None
    """Of the last sync, if that failed."""
    authorization_lost: str | None
    """Why Pennylane no longer accepts the token."""
    disconnected_at: datetime | None
    lease: LeaseHolder | None
    """Who works on it now."""

    @property
    def state(self) -> State:
        """The first that holds of: disconnected, needs_authorization, syncing, active, connected."""
        if self.disconnected_at:
            return "disconnected"
        if self.authorization_lost:
            return "needs_authorization"
        if self.lease:
            return "syncing"
        return "active" if self.activated_at else "connected"


class AlreadyConnected(PennylaneSyncError):
    """A company that is to be moved to a store is known there."""


class TokenSlot:
    """A connection and its credential, held under the store's lock."""

    def __init__(self, transaction: Transaction, vault: Vault, row: Row[Any]) -> None:
        self._transaction = transaction
        self._vault = vault
        self._row = row

    @property
    def disconnected(self) -> bool:
        return self._row.disconnected_at is not None

    @property
    def authorization_lost(self) -> str | None:
        """The reason, if it is lost."""
        reason: str | None = self._row.authorization_lost
        return reason

    def credential(self) -> Credential:
        """The stored credential; raises `KeyMismatch` when it cannot be decrypted."""
        return Credential.from_json(self._vault.decrypt(self._row.token))

    def save_again(self) -> None:
        """Stores the same credential, to see that it can be done: the disk may be full."""
        self._update(token=self._vault.encrypt(self.credential().to_json()))

    def replace(self, credential: Credential) -> None:
        """Stores a new credential."""
        self._update(token=self._vault.encrypt(credential.to_json()))

    def lose(self, reason: str) -> None:
        """Records that Pennylane no longer accepts the credential."""
        self._update(authorization_lost=reason)

    def _update(self, **values: str) -> None:
        _update(self._transaction, self._row.company_id, **values)


class Connections:
    """The store of connections. Opens nothing before its first use; may be shared by threads."""

    def __init__(self, url: str, vault: Vault, clock: Clock = utc_now) -> None:
        self.clock = clock
        self._store = Store(url)
        self._vault = vault
        self._leases = Leases(self._store, clock)
        self._exclusions = Exclusions(self._store, clock)

    @classmethod
    def from_settings(cls, settings: Settings, clock: Clock = utc_now) -> "Connections":
        """The store at `settings.connections_url`."""
        return cls(settings.connections_url, Vault.from_settings(settings), clock)

    def __repr__(self) -> str:
        return f"<Connections in {self._store.name}>"

    def all(self) -> list[Connection]:
        """Every connection, disconnected ones too, by company id."""
        with self._store.reading() as transaction:
            live = self._leases.live(transaction)
            rows = transaction.execute(select(connections).order_by(connections.c.company_id))
            return [_connection(row, live.get(row.company_id)) for row in rows]

    def get(self, company_id: int) -> Connection:
        """The connection of a company; raises `UnknownConnection`."""
        known = self.all()
        for connection in known:
            if connection.company_id == company_id:
                return connection
        raise UnknownConnection(f"Company {company_id} is not connected. {_what_there_is(known)}")

    def find(self, company_id: int | None) -> Connection:
        """The connection that is meant: the one with this id; without an id the only one, or the only one that is not
        disconnected. Raises `UnknownConnection`, which lists the ids there are."""
        if company_id is not None:
            return self.get(company_id)
        known = self.all()
        candidates = [connection for connection in known if not connection.disconnected_at] or known
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise UnknownConnection(f"Several companies could be meant. {_what_there_is(candidates)}")
        raise UnknownConnection(_what_there_is(known))

    def save(
        self, company_id: int, company_name: str, kind: Kind, credential: Credential, scopes: Sequence[str]
    ) -> Connection:
        """Connects a company, or connects it again: then what was excluded and when it was activated stay, and what
        ended it (authorization lost, disconnected) and its last error are forgotten."""
        values = {
            "company_name": company_name,
            "kind": kind,
            "token": self._vault.encrypt(credential.to_json()),
            "scopes": " ".join(scopes),
            "connected_at": self.clock(),
            "authorization_lost": None,
            "disconnected_at": None,
            "last_error": None,
        }
        with self._store.writing(company_id) as transaction:
            if not _update(transaction, company_id, **values):
                transaction.execute(insert(connections).values(company_id=company_id, **values))
        return self.get(company_id)

    def activate(self, company_id: int) -> None:
        """From now on it is synchronized; the first activation is the one remembered."""
        with self._store.writing(company_id) as transaction:
            transaction.execute(
                update(connections)
                .where(connections.c.company_id == company_id, connections.c.activated_at.is_(None))
                .values(activated_at=self.clock())
            )

    def record_ready(self, company_id: int) -> None:
        """All that matters for follow-up is in, from now on if it was not before; the sync goes on with the rest."""
        with self._store.writing(company_id) as transaction:
            row = _locked_row(transaction, company_id)
            if row:
                _update(transaction, company_id, ready_at=row.ready_at or self.clock())

    def record_success(self, company_id: int, at: datetime, *, ready: bool) -> None:
        """A sync ended well at `at`; `ready`: all that matters for follow-up is in."""
        with self._store.writing(company_id) as transaction:
            row = _locked_row(transaction, company_id)
            if row:
                ready_at = (row.ready_at or at) if ready else None
                _update(transaction, company_id, last_sync_at=at, ready_at=ready_at, last_error=None)

    def record_failure(self, company_id: int, message: str) -> None:
        """A sync failed; `message` is shown in the status and must hold no secret."""
        with self._store.writing(company_id) as transaction:
            _update(transaction, company_id, last_error=message)

    def record_authorization_lost(self, company_id: int, reason: str) -> None:
        """Pennylane no longer lets us in (token refused, scope missing): nothing runs until it is connected again."""
        with self._store.writing(company_id) as transaction:
            _update(transaction, company_id, authorization_lost=reason)

    def disconnect(self, company_id: int) -> Credential | None:
        """Forgets the token at once, and ends the leases: a run in progress stops at its next check.

        Returns the credential that was forgotten, to be revoked at Pennylane; None if there was none, or none that
        this installation's key can read.
        """
        credential = None
        with self._store.writing(company_id) as transaction:
            row = _locked_row(transaction, company_id)
            if row is None or row.disconnected_at is not None:
                return None
            if row.token is not None:
                try:
                    credential = Credential.from_json(self._vault.decrypt(row.token))
                except KeyMismatch:
                    credential = None
            _update(transaction, company_id, token=None, disconnected_at=self.clock())
            self._leases.end_all(transaction, company_id)
        return credential

    @contextmanager
    def token_slot(self, company_id: int) -> Iterator[TokenSlot]:
        """The company's credential under the store's lock: nobody else reads it in order to change it, nor changes it,
        before the block ends. What was changed is kept unless the block raises. Within it, only the slot may write.
        Raises `UnknownConnection`."""
        with self._store.writing() as transaction:
            row = _locked_row(transaction, company_id)
            if row is None:
                raise UnknownConnection(f"Company {company_id} is not connected: pennylane-sync connect")
            yield TokenSlot(transaction, self._vault, row)

    def is_kept_with(self, others: "Connections") -> bool:
        """Whether both are the same store, however it was named."""
        return self._store.place == others._store.place

    def refuse_unreadable(self) -> None:
        """Raises `KeyMismatch` where this installation's key cannot decrypt a token."""
        with self._store.reading() as transaction:
            for token in transaction.scalars(select(connections.c.token).where(connections.c.token.is_not(None))):
                self._vault.decrypt(token)

    def taken_over(self, others: "Connections") -> set[int]:
        """The companies of another store that were taken over from there before.

        Raises `AlreadyConnected` where one is known here otherwise than there.
        """
        with others._store.reading() as there, self._store.reading() as here:
            return _taken_over(there, here, self._store.name)

    def take_over(self, others: "Connections") -> None:
        """Copies all of another store that was not taken over before: the connections, with their tokens as they are
        encrypted, and what was ever left out. Raises `AlreadyConnected`."""
        with others._store.reading() as there, self._store.writing() as here:
            before = _taken_over(there, here, self._store.name)
            for table in (connections, exclusions):
                names = [column for column in table.c if column is not exclusions.c.id]  # numbered here
                rows = there.execute(select(*names).order_by(*table.primary_key)).mappings()
                for some in rows.partitions(1000):
                    new = [dict(row) for row in some if row["company_id"] not in before]
                    if new:
                        here.execute(insert(table), new)

    def let_go(self, company_ids: Iterable[int]) -> None:
        """Forgets the tokens of companies that another store has taken over, without an end at Pennylane: they are in
        use there. What is left out stays known."""
        with self._store.writing() as transaction:
            for company_id in company_ids:
                row = _locked_row(transaction, company_id)
                if row and row.disconnected_at is None:
                    _update(transaction, company_id, token=None, disconnected_at=self.clock())

    def lease(self, company_id: int, owner: str, purpose: str) -> AbstractContextManager[Lease]:
        """Holds the company against every other owner until the block ends; the same owner may enter again, also from
        other processes.

        A thread renews the lease every 10 s; one not renewed for 60 s, or whose process on this host has ended, is
        taken over. Raises `LeaseHeld` when another owner has it.
        """
        return self._leases.hold(company_id, owner, purpose)

    def exclude(self, company_id: int, account_ids: Iterable[int], by: str) -> list[int]:
        """Leaves accounts out from the next sync on, whether known or not, also before the company is first saved.
        Returns those that were not excluded yet."""
        return self._exclusions.exclude(company_id, account_ids, by)

    def include(self, company_id: int, account_ids: Iterable[int], by: str) -> list[int]:
        """Ends exclusions; returns the accounts that were excluded."""
        return self._exclusions.include(company_id, account_ids, by)

    def excluded(self, company_id: int) -> dict[int, datetime]:
        """The accounts that are left out, and since when."""
        return self._exclusions.excluded(company_id)

    def exclusion_history(self, company_id: int) -> list[Exclusion]:
        """Who excluded and included what, when; oldest first."""
        return self._exclusions.history(company_id)


def _taken_over(there: Transaction, here: Transaction, name: str) -> set[int]:
    """The companies of which all that is known there is known here. The times tell a copy from the same made anew."""
    theirs, ours = _known(there), _known(here)
    both = theirs.keys() & ours.keys()
    for company_id in sorted(both):
        if not theirs[company_id] <= ours[company_id]:
            raise AlreadyConnected(
                f"Company {company_id} is known in {name} already, and otherwise: it was connected there, or again "
                "where it is to be moved from. Nothing was changed. Choose another database, or disconnect it where "
                "it is not to be synchronized any more."
            )
    return both


def _known(transaction: Transaction) -> dict[int, set[tuple[object, ...]]]:
    """By company, what never changes of its connection and its exclusions."""
    known: dict[int, set[tuple[object, ...]]] = {}
    connected = select(connections.c.company_id, connections.c.connected_at)
    left_out = select(exclusions.c.company_id, exclusions.c.account_id, exclusions.c.excluded_at)
    for query in (connected, left_out):
        for company_id, *facts in transaction.execute(query):
            known.setdefault(company_id, set()).add(tuple(facts))
    return known


def _locked_row(transaction: Transaction, company_id: int) -> Row[Any] | None:
    query = select(connections).where(connections.c.company_id == company_id).with_for_update()
    return transaction.execute(query).one_or_none()


def _update(transaction: Transaction, company_id: int, **values: object) -> bool:
    changed = transaction.execute(update(connections).where(connections.c.company_id == company_id).values(values))
    return changed.rowcount > 0


def _connection(row: Row[Any], lease: LeaseHolder | None) -> Connection:
    fields = dict(row._mapping)
    del fields["token"]
    fields["scopes"] = tuple(row.scopes.split())
    return Connection(**fields, lease=lease)


def _what_there_is(known: list[Connection]) -> str:
    if not known:
        return "No company is connected yet: pennylane-sync connect"
    listed = ", ".join(f"{connection.company_id} ({connection.company_name})" for connection in known)
    return f"Choose one with --company: {listed}"
