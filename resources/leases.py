"""One connection is synchronized by one run at a time, whoever starts it, in whichever process."""

import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from resources.clock import Clock
from resources.errors import PennylaneSyncError
from resources.store import Store, StoreUnavailable, leases

RENEWED_EVERY = timedelta(seconds=10)
LAPSES_AFTER = timedelta(seconds=60)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseHolder:
    """Who works on a company now, or did until its process ended."""

    owner: str
    purpose: str
    host: str
    pid: int
    acquired_at: datetime
    renewed_at: datetime

    def is_live(self, now: datetime) -> bool:
        """Whether it was renewed within the last minute, by a process that still runs as far as this host can tell."""
        if now - self.renewed_at > LAPSES_AFTER:
            return False
        return self.host != _this_host() or _process_lives(self.pid)


class LeaseHeld(PennylaneSyncError):
    """Somebody else works on the company."""

    def __init__(self, company_id: int, holder: LeaseHolder) -> None:
        self.company_id = company_id
        self.holder = holder
        super().__init__(
            f"Company {company_id} is being worked on: {holder.purpose} ({holder.owner}), since"
            f" {holder.acquired_at:%Y-%m-%d %H:%M:%S} UTC, by process {holder.pid} on {holder.host.split()[0]}."
            " Try again when it has ended."
        )


class LeaseLost(PennylaneSyncError):
    """The lease was taken by somebody else, or ended because the company was disconnected."""

    def __init__(self, company_id: int) -> None:
        self.company_id = company_id
        super().__init__(
            f"The work on company {company_id} was stopped: it was disconnected, or taken over by another run after"
            f" {LAPSES_AFTER.seconds} s without a sign of life. What was loaded stays; the next run goes on from there."
        )


class Lease:
    """The right to work on a company, until its `with` block ends."""

    def __init__(self, store: Store, clock: Clock, company_id: int, holder: str) -> None:
        self.company_id = company_id
        self._store = store
        self._clock = clock
        self._holder = holder

    def check(self) -> None:
        """Returns when the lease is ours, and then it is for the next minute; else raises `LeaseLost`."""
        with self._store.writing() as connection:
            renewed = connection.execute(
                update(leases).where(leases.c.holder == self._holder).values(renewed_at=self._clock())
            )
        if not renewed.rowcount:
            raise LeaseLost(self.company_id)

    def release(self) -> None:
        """Lets others work on the company. A store that cannot be reached is no reason to fail: the lease lapses."""
        try:
            with self._store.writing() as connection:
                connection.execute(delete(leases).where(leases.c.holder == self._holder))
        except StoreUnavailable as error:
            log.warning("The lease on company %s was left to lapse: %s", self.company_id, error)


class Leases:
    """The leases of all companies."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @contextmanager
    def hold(self, company_id: int, owner: str, purpose: str) -> Iterator[Lease]:
        """Holds the company against every other owner; the same owner may enter again, also from other processes.

        A thread renews the lease every 10 s; one not renewed for 60 s, or whose process on this host has ended, is
        taken over. Raises `LeaseHeld` when another owner has it.
        """
        lease = self._acquire(company_id, owner, purpose)
        ended = threading.Event()
        heartbeat = threading.Thread(target=_renew_until, args=(ended, lease), name=f"lease-{company_id}", daemon=True)
        heartbeat.start()
        try:
            yield lease
        finally:
            ended.set()
            lease.release()

    def live(self, connection: Connection) -> dict[int, LeaseHolder]:
        """Who works on which company now; the first to enter, of an owner that entered several times."""
        rows = connection.execute(select(leases).order_by(leases.c.acquired_at.desc()))
        now = self._clock()
        return {row.company_id: holder for row in rows if (holder := _holder(row)).is_live(now)}

    def end_all(self, connection: Connection, company_id: int) -> None:
        """Whoever works on the company learns at the next check that it is over."""
        connection.execute(delete(leases).where(leases.c.company_id == company_id))

    def _acquire(self, company_id: int, owner: str, purpose: str) -> Lease:
        entry = secrets.token_hex(16)
        with self._store.writing(company_id) as connection:
            now = self._clock()
            for row in connection.execute(select(leases).where(leases.c.company_id == company_id)).all():
                holder = _holder(row)
                if not holder.is_live(now):
                    connection.execute(delete(leases).where(leases.c.holder == row.holder))
                elif holder.owner != owner:
                    raise LeaseHeld(company_id, holder)
            connection.execute(
                insert(leases).values(
                    company_id=company_id,
                    holder=entry,
                    owner=owner,
                    purpose=purpose,
                    host=_this_host(),
                    pid=os.getpid(),
                    acquired_at=now,
                    renewed_at=now,
                )
            )
        return Lease(self._store, self._clock, company_id, entry)


def _holder(row: Row[Any]) -> LeaseHolder:
    return LeaseHolder(row.owner, row.purpose, row.host, row.pid, row.acquired_at, row.renewed_at)


def _renew_until(ended: threading.Event, lease: Lease) -> None:
    while not ended.wait(RENEWED_EVERY.total_seconds()):
        try:
            lease.check()
        except LeaseLost:
            return
        except StoreUnavailable as error:
            log.warning("The lease on company %s was not renewed, next try in 10 s: %s", lease.company_id, error)


def _this_host() -> str:
    """The host name and, where there are such, the process-id namespace: a process id means something only there, and
    two containers may carry the same name."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}".rstrip()


def _process_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
