"""Contacts and payments: one call per account or invoice, in the order that `due` gives.

What changed and what matters for follow-up is read at once, wholly. The history that a first or full listing brings,
and what is read again without an event, share what the user allows a run to spend on them.

No cursor moves here: what was read is marked on the account or invoice, after its contacts or payments are landed; a
crash in between reads them again. An account's contacts, an invoice's payments are replaced as a whole. Where payments
tell of something that the invoice's row cannot know yet, since it raised no event, the invoice is read again as well.

What cannot be read, be it one record or the whole list of an account or invoice, stops nothing else: it is set aside
and tried again at the end of runs. Where that befalls many in a row, or all, the trouble is not theirs: an error, after
which the next run goes on behind them.
"""

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from pipelines.changes import fetch
from pipelines.client import ATTEMPTS, WORKERS, Pennylane
from pipelines.committed import State
from pipelines.due import (
    Due,
    Pending,
    What,
    due_of,
    never_read,
    never_read_history,
    pending,
    requests_to_read,
    rotation,
)
from pipelines.errors import NotListed
from pipelines.exclusions import published
from pipelines.failures import Failures
from pipelines.kinds import INVOICE, Reader
from pipelines.landing import Landing
from pipelines.pace import REQUESTS_PER_SECOND
from pipelines.pieces import PIECE_ROWS, PieceTimer
from pipelines.prefetch import completed, prefetched
from pipelines.progress import Clock, Progress, Watch
from pipelines.receipts import invoices_outdated_by, rows_with
from pipelines.records import Row
from pipelines.set_aside import NAMELESS, UNREADABLE, UNREADABLE_DETAILS, said, set_aside
from pipelines.short_lists import Details, Key, ShortLists
from pipelines.tables import CONTACTS, DATASET, INVOICES, MARKS, PAYMENTS, Table
from pipelines.warehouse import id_list

_AHEAD = 20
"""Accounts and invoices whose lists may wait while others are landed, up to two requests each.

A crash repeats what was made in `PIECE_SECONDS` before a landing, what was under way when that began (a request of each
worker), and what came in meanwhile (this, and two requests of each worker): that stays below what the limit grants in a
minute, however long landing takes.
"""
_ROUND = 5000
"""How much due work is taken from the database at once: memory does not grow with the company."""

_LEAST_TRIED_AGAIN = 10
"""Of the lists that earlier runs set aside, even if nothing is left of the share."""

_TABLES: dict[What, Table] = {"contacts": CONTACTS, "payments": PAYMENTS}


@dataclass(frozen=True)
class Share:
    """What a run may spend on details that no event asked for.

    So many requests; history goes on for so many seconds where Pennylane's limit lets more be made in them. However
    slow it is, all of that ends after as many seconds as `longest` says when it begins. What was read less than
    `again_after` ago is not read again.
    """

    requests: int
    seconds: float = 0.0
    longest: Callable[[], float] = lambda: math.inf
    again_after: timedelta = timedelta()


class _Allowance:
    """What is left of a share."""

    def __init__(self, share: Share) -> None:
        self.used_up = False
        self._requests = share.requests
        self._until = time.monotonic() + share.seconds
        self._ends = time.monotonic() + share.longest()

    def take(self, requests: int) -> bool:
        """Whether so many requests may be made; if so they are taken."""
        now = time.monotonic()
        if now >= self._ends or (requests > self._requests and now >= self._until):
            self.used_up = True
            return False
        self._requests -= requests
        return True

    @property
    def most(self) -> int:
        """How many requests it will allow, at the documented limit."""
        until = max(self._until - time.monotonic(), 0.0) * REQUESTS_PER_SECOND
        return int(min(max(self._requests, until), self.longest * REQUESTS_PER_SECOND))

    @property
    def longest(self) -> float:
        """Seconds until it ends, whatever is left of it."""
        return max(self._ends - time.monotonic(), 0.0)


@dataclass
class DetailsReport:
    """What a run did: accounts and invoices whose details were read, and what is still to be read."""

    contacts_of: int = 0
    payments_of: int = 0
    pending: Pending = field(default_factory=lambda: Pending(0, 0, 0, True))
    unreadable: list[str] = field(default_factory=list)


class DetailsSync:
    """One run over the contacts and payments of one company."""

    def __init__(self, pennylane: Pennylane, landing: Landing, clock: Clock, watch: Watch) -> None:
        self._pennylane = pennylane
        self._landing = landing
        self._clock = clock
        self._watch = watch
        self._report = DetailsReport()
        self._done: Counter[str] = Counter()
        self._ready = False
        self._refreshed: set[int] = set()
        self._failures = Failures()
        self._lists = ShortLists(pennylane, landing.company_id, clock)
        kept = landing.state.get(UNREADABLE_DETAILS, {})
        self._set_aside = {
            table: {int(parent): found for parent, found in kept.get(table.name, {}).items()}
            for table in _TABLES.values()
        }
        self._from_earlier = {(table, parent) for table, parents in self._set_aside.items() for parent in parents}
        self._slow_to_fail = {
            (table, parent)
            for table, parents in self._set_aside.items()
            for parent, found in parents.items()
            if any(one == NAMELESS for one, _ in found)  # the whole list, not one of its records
        }
        self._failed: set[tuple[Table, int]] = set()

    def run(self, share: Share, when_ready: Callable[[], None] = lambda: None) -> DetailsReport:
        """Read what changed and what matters, call `when_ready`, then spend the share on the rest.

        Half of the share, at least, and of its time, is for the history that was never read, as long as there is any.
        Raises what the client raises, and NotListed before the first listing is whole; what was landed until then
        stays.
        """
        if "cursors" not in self._landing.state:
            raise NotListed(
                f"The accounts and invoices of company {self._landing.company_id} are not all listed yet. "
                "Run a whole sync first: pennylane-sync activate"
            )
        started = self._clock()
        noted = self._landing.state.get("listed_until")
        listed_until = datetime.fromisoformat(noted) if noted else None
        with (
            ThreadPoolExecutor(WORKERS, "pennylane") as self._executor,
            ThreadPoolExecutor(WORKERS, "refresh") as self._refreshing,  # not behind all the lists that are under way
        ):
            try:
                self._read_what_matters(started, listed_until)
                self._ready = self._is_ready(started)
                if self._ready:
                    when_ready()
                allowance = _Allowance(share)
                self._read_again(started, share, allowance)
                if self._refreshed:
                    self._read_what_matters(started, listed_until)  # what that has found to be outdated
                self._read_history(started, allowance)
                if self._from_earlier:
                    self._try_what_was_set_aside(started, allowance)
                if self._refreshed:
                    self._read_what_matters(started, listed_until)
            except BaseException:
                self._pennylane.stop()
                raise
        with self._landing.warehouse.session() as session:
            self._report.pending = pending(session, self._landing.company_id, started)
        self._report.unreadable += [said(one) for one in set_aside({UNREADABLE_DETAILS: self._kept_aside()})]
        self._failures.conclude()
        return self._report

    def _read_what_matters(self, started: datetime, but_history_until: datetime | None) -> None:
        company_id, total = self._landing.company_id, None
        while True:
            limit = self._round()
            with self._landing.warehouse.session() as session:
                dues = never_read(session, company_id, started, limit, but_history_until=but_history_until)
                all_of_it = len(dues) < limit
                if total is None and all_of_it:
                    total = sum(due.requests for due in dues)
                elif total is None:
                    total = requests_to_read(session, company_id, started, but_history_until=but_history_until)
            dues = self._but_set_aside(dues)
            if not dues:
                return
            self._read("details", dues, total, again=False)
            if all_of_it and not self._refreshed:
                return

    def _read_history(self, started: datetime, within: _Allowance) -> None:
        company_id, most = self._landing.company_id, within.most
        if not most:
            return
        with self._landing.warehouse.session() as session:
            total = min(requests_to_read(session, company_id, started, at_most=most), most)
        while not within.used_up:
            with self._landing.warehouse.session() as session:
                dues = never_read_history(session, company_id, started, self._round(most))
            dues = self._but_set_aside(dues)
            if not dues:
                return
            self._read("history", takewhile(lambda due: within.take(due.requests), dues), total, again=False)

    def _round(self, most: int = _ROUND) -> int:
        """How much is taken from the database at once; what is set aside may be among it, and is left there."""
        return min(most, _ROUND) + len(self._from_earlier) + len(self._failed)

    def _read_again(self, started: datetime, share: Share, allowance: _Allowance) -> None:
        requests, before = share.requests, started - share.again_after
        with self._landing.warehouse.session() as session:
            half = max(requests - requests // 2, 2)
            history = requests_to_read(session, self._landing.company_id, started, at_most=half)
            left = requests - min(history, half)
            chosen = rotation(session, self._landing.company_id, started, left, read_before=before)
        chosen = self._but_set_aside(chosen)
        total = sum(due.requests for due in chosen)
        only_set_aside = history <= 2 * len(self._slow_to_fail | self._failed)
        longest = allowance.longest if only_set_aside else allowance.longest / 2
        within = _Allowance(Share(total, longest=lambda: longest))
        allowed = takewhile(lambda due: within.take(due.requests), chosen)
        self._read("rotation", allowed, min(total, within.most), again=True)
        allowance.take(self._done["rotation"])

    def _is_ready(self, started: datetime) -> bool:
        """Whether all that matters was read; only what is set aside can be in the way."""
        if not self._failed and not self._from_earlier:
            return True
        with self._landing.warehouse.session() as session:
            return pending(session, self._landing.company_id, started).ready

    def _but_set_aside(self, dues: list[Due]) -> list[Due]:
        later = self._slow_to_fail | self._failed
        return [due for due in dues if (_TABLES[due.what], due.parent_id) not in later]

    def _try_what_was_set_aside(self, started: datetime, allowance: _Allowance) -> None:
        """By earlier runs, and was not read again by this one. What is none of ours any more is forgotten.

        Last, since whole lists may be slow to fail.
        """
        dues: list[Due] = []
        with self._landing.warehouse.session() as session:
            for what, table in _TABLES.items():
                ids = [parent for of, parent in self._from_earlier if of is table]
                dues += due_of(session, self._landing.company_id, started, what, ids)
        ours = {(_TABLES[due.what], due.parent_id) for due in dues}
        for table, parent in self._from_earlier - ours:
            del self._set_aside[table][parent]
        self._from_earlier = ours
        random.shuffle(dues)  # where they are more than a run may try, each has its turn
        total = self._done["rotation"] + sum(due.requests for due in dues)
        self._read("rotation", self._tried(dues, allowance), total, again=True, known=True)
        self._landing.land({}, self._state())

    def _tried(self, dues: Iterable[Due], allowance: _Allowance) -> Iterator[Due]:
        """As many as are left of the share, at what they cost if they fail again; the others wait for the next run."""
        for number, due in enumerate(dues):
            attempts = ATTEMPTS if (_TABLES[due.what], due.parent_id) in self._slow_to_fail else 1
            allowed = allowance.take(due.requests * attempts)
            if not allowed and (number >= _LEAST_TRIED_AGAIN or not allowance.longest):
                return
            yield due

    def _read(self, step: str, dues: Iterable[Due], total: int, *, again: bool, known: bool = False) -> None:
        collected: list[Details] = []
        timer = PieceTimer()
        with prefetched(completed(self._executor, self._lists.read, dues, WORKERS), _AHEAD) as results:
            for details in results:
                collected.append(details)
                trouble = self._failures.note(details, known=known)
                self._done[step] += details.due.requests
                self._watch(Progress(step, self._done[step], max(total, self._done[step]), ready=self._ready))
                if trouble or len(collected) >= PIECE_ROWS or timer.is_up:
                    with timer.landing():
                        self._land(collected, again=again)
                    collected = []
                if trouble:  # landed, so that the next run goes on after these
                    raise trouble.error
        self._land(collected, again=again)

    def _land(self, collected: list[Details], *, again: bool) -> None:
        if not collected:
            return
        rows: dict[Table, dict[Key, Row]] = {}
        parents: dict[Table, set[int]] = {}
        unreadable: dict[Table, dict[Key, str]] = {}
        for details in collected:
            self._note_unreadable(details)
        collected = [details for details in collected if not details.failure]
        if not collected:
            self._landing.land({}, self._state())
            return
        for details in collected:
            table = _TABLES[details.due.what]
            rows.setdefault(table, {}).update((table.key_of(row), row) for row in details.rows)
            parents.setdefault(table, set()).add(details.due.parent_id)
            unreadable.setdefault(table, {}).update(details.unreadable)
        with self._landing.warehouse.session() as session:
            kept: dict[int, list[Row]] = {}
            for table, keys in unreadable.items():
                for row in rows_with(session, self._landing.company_id, table, keys):
                    if row[table.parent_column] not in parents[table]:
                        continue  # it came from another account, whose contacts would all be replaced by this one
                    rows[table][table.key_of(row)] = row
                    if table is PAYMENTS:
                        kept.setdefault(row[table.parent_column], []).append(row)
            receipts = {details.due.parent_id: details for details in collected if details.due.what == "payments"}
            payments = {one: [*details.rows, *kept.get(one, ())] for one, details in receipts.items()}
            outdated = invoices_outdated_by(session, self._landing.company_id, payments, again=again) - self._refreshed
        self._refresh(outdated)
        # Bank transactions that were not asked for, as nothing had come in, are to be asked for now: no mark.
        asked_again = {one for one in outdated if not receipts[one].due.received}
        landed = {table: list(some.values()) for table, some in rows.items()}
        self._landing.land(landed, self._state(), replaced=parents)
        with self._landing.writing() as session, session.transaction():
            for table, ids in parents.items():
                parent, mark = MARKS[table]
                session.execute(
                    f"UPDATE {DATASET}.{parent.name} SET {mark} = %s "
                    f"WHERE company_id = {self._landing.company_id} "
                    f"AND {parent.id_column} IN ({id_list(ids - asked_again if table is PAYMENTS else ids)})",
                    min(details.read_at for details in collected),
                )
        self._report.contacts_of += len(parents.get(CONTACTS, ()))
        self._report.payments_of += len(parents.get(PAYMENTS, ()))

    def _note_unreadable(self, details: Details) -> None:
        """What cannot be read takes the place of what could not be read the time before."""
        table, parent = _TABLES[details.due.what], details.due.parent_id
        self._set_aside[table].pop(parent, None)
        self._from_earlier.discard((table, parent))
        self._slow_to_fail.discard((table, parent))
        if details.failure:
            self._set_aside[table][parent] = [[NAMELESS, details.failure.reason]]
            self._failed.add((table, parent))
        elif details.unreadable:
            self._set_aside[table][parent] = [[key[-1], reason] for key, reason in details.unreadable.items()]

    def _kept_aside(self) -> dict[str, dict[str, list[Any]]]:
        return {
            table.name: {str(parent): found for parent, found in sorted(parents.items())}
            for table, parents in self._set_aside.items()
            if parents
        }

    def _state(self) -> State:
        return {**self._landing.state, UNREADABLE_DETAILS: self._kept_aside()}

    def _refresh(self, invoices: Collection[int]) -> None:
        """Read invoices again whose payments changed without an event: what is left to be paid may have changed too.

        Done before their payments land, and leaving these marked as to be read: a crash in between is made good.
        """
        if not invoices:
            return
        reader = Reader(self._landing.company_id, published(self._landing), self._clock)
        reader.restore(self._landing.state.get(UNREADABLE, {}))
        already_told, already_aside = reader.told(), dict(reader.unreadable)
        # By their ids alone: they are ours, and filters that leave accounts out may lose those without one.
        came: set[int] = set()
        for _, rows in fetch(self._pennylane, reader, self._refreshing, INVOICE, invoices, excluded=frozenset()):
            self._landing.land({INVOICES: rows})
            came |= {row[INVOICES.id_column] for row in rows}
        # What was set aside and is gone stays so: no event will tell of it again, and the next sync removes it.
        gone = {(INVOICES, one) for one in set(invoices) - came}
        reader.unreadable = {one: why for one, why in already_aside.items() if one in gone} | reader.unreadable
        self._landing.land({}, {**self._landing.state, UNREADABLE: reader.to_state()})
        self._refreshed |= set(invoices)
        self._report.unreadable += [one for one in reader.told() if one not in already_told]
