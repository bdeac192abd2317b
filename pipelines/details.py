"""Contacts and payments: one call per account or invoice, in the order that `due` gives.

What changed and what matters for follow-up is read at once, wholly. The history that a first or full listing brings,
and what is read again without an event, share what the user allows a run to spend on them.

No cursor moves here: what was read is marked on the account or invoice, after its contacts or payments are landed; a
crash in between reads them again. An account's contacts, an invoice's payments are replaced as a whole. Where payments
tell of something that the invoice's row cannot know yet, since it raised no event, the invoice is read again as well.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Any

from pipelines.changes import fetch
from pipelines.client import WORKERS, Pennylane
from pipelines.due import Due, Pending, What, never_read, pending, requests_to_read, rotation
from pipelines.errors import BrokenAnswer, NotListed, PennylaneRefused
from pipelines.exclusions import published
from pipelines.kinds import INVOICE, Reader
from pipelines.landing import PIECE_ROWS, PIECE_SECONDS, Landing
from pipelines.listing import list_items
from pipelines.prefetch import completed, prefetched
from pipelines.progress import Clock, Progress, Watch
from pipelines.receipts import invoices_outdated_by, rows_with
from pipelines.records import Record, Row, UnreadableRecord, to_row
from pipelines.tables import ACCOUNTS, BANK_TRANSACTION, CONTACTS, DATASET, INVOICES, PAYMENT, PAYMENTS, Table
from pipelines.warehouse import id_list

_PAGE = 100
_AHEAD = 8 * WORKERS
_ROUND = 5000
"""How much due work is taken from the database at once: memory does not grow with the company."""

Key = tuple[Any, ...]

_TABLES: dict[What, Table] = {"contacts": CONTACTS, "payments": PAYMENTS}
_MARKS = {CONTACTS: (ACCOUNTS, "contacts_synced_at"), PAYMENTS: (INVOICES, "payments_synced_at")}


@dataclass(frozen=True)
class Share:
    """What a run may spend on details that no event asked for.

    So many requests; history goes on for so many seconds where Pennylane's limit lets more be made in them.
    """

    requests: int
    seconds: float = 0.0


class _Allowance:
    """What is left of a share."""

    def __init__(self, share: Share) -> None:
        self.used_up = False
        self._requests = share.requests
        self._until = time.monotonic() + share.seconds

    def take(self, requests: int) -> bool:
        """Whether so many requests may be made; if so they are taken."""
        if requests > self._requests and time.monotonic() >= self._until:
            self.used_up = True
            return False
        self._requests -= requests
        return True


@dataclass
class DetailsReport:
    """What a run did: accounts and invoices whose details were read, and what is still to be read."""

    contacts_of: int = 0
    payments_of: int = 0
    pending: Pending = field(default_factory=lambda: Pending(0, 0, 0, True))
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Details:
    due: Due
    read_at: datetime
    rows: list[Row]
    unreadable: dict[Key, str]


class DetailsSync:
    """One run over the contacts and payments of one company."""

    def __init__(self, pennylane: Pennylane, landing: Landing, clock: Clock, watch: Watch) -> None:
        self._pennylane = pennylane
        self._landing = landing
        self._clock = clock
        self._watch = watch
        self._report = DetailsReport()
        self._done: Counter[str] = Counter()
        self._refreshed: set[int] = set()

    def run(self, share: Share, when_ready: Callable[[], None] = lambda: None) -> DetailsReport:
        """Read what changed and what matters, call `when_ready`, then spend the share on the rest.

        Half of the share, at least, is for the history that was never read, as long as there is any. Raises what the
        client raises, and NotListed before the first listing is whole; what was landed until then stays.
        """
        if "cursors" not in self._landing.state:
            raise NotListed(
                f"The accounts and invoices of company {self._landing.company_id} are not all listed yet. "
                "Run a whole sync first: pennylane-sync activate"
            )
        started = self._clock()
        allowance = _Allowance(share)
        noted = self._landing.state.get("listed_until")
        listed_until = datetime.fromisoformat(noted) if noted else None
        with ThreadPoolExecutor(WORKERS, "pennylane") as self._executor:
            try:
                self._read_unread("details", started, listed_until)
                when_ready()
                self._read_again(started, share.requests, allowance)
                self._read_unread("details", started, listed_until)  # what reading again has found to be outdated
                self._read_unread("history", started, within=allowance)
            except BaseException:
                self._pennylane.stop()
                raise
        with self._landing.warehouse.session() as session:
            self._report.pending = pending(session, self._landing.company_id, started)
        return self._report

    def _read_unread(
        self, step: str, started: datetime, but_history_until: datetime | None = None, within: _Allowance | None = None
    ) -> None:
        company_id = self._landing.company_id
        with self._landing.warehouse.session() as session:
            total = requests_to_read(session, company_id, started, but_history_until=but_history_until)
        while not (within and within.used_up):
            with self._landing.warehouse.session() as session:
                dues = never_read(session, company_id, started, _ROUND, but_history_until=but_history_until)
            if not dues:
                return
            allowed = takewhile(lambda due: within.take(due.requests), dues) if within else dues
            self._read(step, allowed, total, again=False)

    def _read_again(self, started: datetime, requests: int, allowance: _Allowance) -> None:
        with self._landing.warehouse.session() as session:
            history = requests_to_read(session, self._landing.company_id, started)
            chosen = rotation(session, self._landing.company_id, started, requests - min(history, requests // 2))
        spent = sum(due.requests for due in chosen)
        allowance.take(spent)
        self._read("rotation", chosen, spent, again=True)

    def _read(self, step: str, dues: Iterable[Due], total: int, *, again: bool) -> None:
        collected: list[_Details] = []
        since = time.monotonic()
        with prefetched(completed(self._executor, self._fetch, dues, _AHEAD), _AHEAD) as results:
            for details in results:
                collected.append(details)
                self._done[step] += details.due.requests
                self._watch(Progress(step, self._done[step], max(total, self._done[step])))
                if len(collected) >= PIECE_ROWS or time.monotonic() - since >= PIECE_SECONDS:
                    self._land(collected, again=again)
                    collected = []
                    since = time.monotonic()
        self._land(collected, again=again)

    def _land(self, collected: list[_Details], *, again: bool) -> None:
        if not collected:
            return
        rows: dict[Table, dict[Key, Row]] = {}
        parents: dict[Table, list[int]] = {}
        unreadable: dict[Table, dict[Key, str]] = {}
        for details in collected:
            table = _TABLES[details.due.what]
            rows.setdefault(table, {}).update((table.key_of(row), row) for row in details.rows)
            parents.setdefault(table, []).append(details.due.parent_id)
            unreadable.setdefault(table, {}).update(details.unreadable)
        with self._landing.warehouse.session() as session:
            for table, keys in unreadable.items():
                held = rows_with(session, self._landing.company_id, table, keys)
                rows[table].update((table.key_of(row), row) for row in held)
                self._report.unreadable += keys.values()
            receipts = {details.due.parent_id: details for details in collected if details.due.what == "payments"}
            payments = {one: details.rows for one, details in receipts.items()}
            outdated = invoices_outdated_by(session, self._landing.company_id, payments, again=again) - self._refreshed
        self._refresh(outdated)
        # Bank transactions that were not asked for, as nothing had come in, are to be asked for now: no mark.
        asked_again = {one for one in outdated if not receipts[one].due.received}
        self._landing.land({table: list(some.values()) for table, some in rows.items()}, replaced=parents)
        with self._landing.writing() as session, session.transaction():
            for table, ids in parents.items():
                parent, mark = _MARKS[table]
                session.execute(
                    f"UPDATE {DATASET}.{parent.name} SET {mark} = %s "
                    f"WHERE company_id = {self._landing.company_id} "
                    f"AND {parent.id_column} IN ({id_list(set(ids) - asked_again if table is PAYMENTS else ids)})",
                    min(details.read_at for details in collected),
                )
        self._report.contacts_of += len(parents.get(CONTACTS, []))
        self._report.payments_of += len(parents.get(PAYMENTS, []))

    def _fetch(self, due: Due) -> _Details:
        read_at = self._clock()
        filled: Row = {"company_id": self._landing.company_id, "synced_at": read_at}
        rows: dict[Key, Row] = {}
        unreadable: dict[Key, str] = {}
        for table, record, more in self._records(due):
            try:
                row = to_row(table, record, **filled, **more)
            except UnreadableRecord as error:
                unreadable[table.key_of({**filled, **more, table.id_column: record["id"]})] = str(error)
            else:
                rows[table.key_of(row)] = row
        return _Details(due, read_at, list(rows.values()), unreadable)

    def _refresh(self, invoices: Collection[int]) -> None:
        """Read invoices again whose payments changed without an event: what is left to be paid may have changed too.

        Done before their payments land, and leaving these marked as to be read: a crash in between is made good.
        """
        if not invoices:
            return
        reader = Reader(self._landing.company_id, published(self._landing), self._clock)
        # By their ids alone: they are ours, and filters that leave accounts out may lose those without one.
        for _, rows in fetch(self._pennylane, reader, self._executor, INVOICE, invoices, excluded=frozenset()):
            self._landing.land({INVOICES: rows})
        self._refreshed |= set(invoices)
        self._report.unreadable += reader.unreadable.values()

    def _records(self, due: Due) -> Iterator[tuple[Table, Record, Row]]:
        if due.what == "contacts":
            for record in self._all(f"/customers/{due.parent_id}/contacts"):
                yield CONTACTS, record, {"account_id": due.parent_id}
            return
        for record in self._all(f"/customer_invoices/{due.parent_id}/payments"):
            yield PAYMENTS, record, {"invoice_id": due.parent_id, "kind": PAYMENT}
        if due.received:
            for record in self._all(f"/customer_invoices/{due.parent_id}/matched_transactions"):
                yield PAYMENTS, record, {"invoice_id": due.parent_id, "kind": BANK_TRANSACTION}

    def _all(self, path: str) -> Iterator[Record]:
        """All pages of a short list; nothing where its parent was deleted meanwhile (the change feed will tell)."""
        parameters: dict[str, str | int] = {"limit": _PAGE, "sort": "id"}
        seen: set[str] = set()
        while True:
            try:
                answer = self._pennylane.get(path, parameters)
            except PennylaneRefused as refusal:
                if refusal.status == 404:
                    return
                raise
            yield from list_items(answer, path)
            if not answer.get("has_more"):
                return
            cursor = answer.get("next_cursor")
            if not isinstance(cursor, str) or cursor in seen:
                raise BrokenAnswer(
                    f"Pennylane announces more of {path} without saying where; the next sync asks again."
                )
            seen.add(cursor)
            parameters["cursor"] = cursor
