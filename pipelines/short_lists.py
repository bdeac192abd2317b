"""The short lists of one parent: an account's contacts, an invoice's payments and matched bank transactions.

They are read whole, page after page; one that cannot be read is told with its error, for others may well be readable.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.client import Pennylane
from pipelines.due import Due
from pipelines.errors import AskedForSilence, BrokenAnswer, PennylaneRefused, PennylaneUnreachable
from pipelines.filters import condition, encoded
from pipelines.kinds import ACCOUNT, INVOICE
from pipelines.listing import list_items, more_follows
from pipelines.progress import Clock
from pipelines.records import Record, Row, UnreadableRecord, to_row
from pipelines.tables import BANK_TRANSACTION, CONTACTS, PAYMENT, PAYMENTS, Table

_PAGE = 100

_ONES_OWN_TROUBLE = (PennylaneRefused, BrokenAnswer, PennylaneUnreachable)
"""What a single list may come to, while all others can be read: a server fails over one record, a cursor leads on and
on..."""

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Details:
    """What was read for a due, or the failure that kept it from being read; no value is in the reasons."""

    due: Due
    read_at: datetime
    rows: list[Row]
    unreadable: dict[Key, str]
    failure: "Failure | None" = None

    @property
    def lists(self) -> set[str]:
        """What had to be asked for."""
        if self.due.what == "contacts":
            return {"contacts"}
        return {"payments", "matched_transactions"} if self.due.received else {"payments"}


@dataclass(frozen=True)
class Failure:
    """A list that could not be read, by the last part of its path."""

    list: str
    error: PennylaneRefused | BrokenAnswer | PennylaneUnreachable

    @property
    def reason(self) -> str:
        """Without what Pennylane says: this is kept, and shown."""
        if isinstance(self.error, PennylaneRefused):
            return f"{self.list} refused with status {self.error.status}"
        return f"{self.list} unanswered" if isinstance(self.error, PennylaneUnreachable) else f"{self.list} broken"


def _says_there_is_none(error: Exception) -> bool:
    return isinstance(error, PennylaneRefused) and error.status == 404


class _CursorRefused(PennylaneRefused):
    """A cursor in mid-list: they live for a short time only, and a run may have waited longer for the limit."""


class ShortLists:
    """Reads them, for one company."""

    def __init__(self, pennylane: Pennylane, company_id: int, clock: Clock) -> None:
        self._pennylane = pennylane
        self._company_id = company_id
        self._clock = clock

    def read(self, due: Due) -> Details:
        """What was read; lists that cannot be are told by the list's name and the error."""
        read_at = self._clock()
        records: list[tuple[Table, Record, Row]] = []
        for name, path, table, filled in self._lists(due):
            try:
                records += [(table, record, filled) for record in self._all(path)]
            except AskedForSilence:
                raise
            except _ONES_OWN_TROUBLE as error:
                if _says_there_is_none(error) and self._is_gone(due):
                    continue
                return Details(due, read_at, [], {}, Failure(name, error))
        return self._read_records(due, read_at, records)

    def _read_records(self, due: Due, read_at: datetime, records: Iterable[tuple[Table, Record, Row]]) -> Details:
        filled: Row = {"company_id": self._company_id, "synced_at": read_at}
        rows: dict[Key, Row] = {}
        unreadable: dict[Key, str] = {}
        for table, record, more in records:
            try:
                row = to_row(table, record, **filled, **more)
            except UnreadableRecord as error:
                unreadable[table.key_of({**filled, **more, table.id_column: record["id"]})] = error.reason
            else:
                rows[table.key_of(row)] = row
        return Details(due, read_at, list(rows.values()), unreadable)

    def _lists(self, due: Due) -> Iterator[tuple[str, str, Table, Row]]:
        """What has to be asked for: the list's name and path, the table it fills, and what its records do not say."""
        if due.what == "contacts":
            yield "contacts", f"/customers/{due.parent_id}/contacts", CONTACTS, {"account_id": due.parent_id}
            return
        for name, kind in (("payments", PAYMENT), ("matched_transactions", BANK_TRANSACTION)):
            if kind == PAYMENT or due.received:
                path = f"/customer_invoices/{due.parent_id}/{name}"
                yield name, path, PAYMENTS, {"invoice_id": due.parent_id, "kind": kind}

    def _is_gone(self, due: Due) -> bool:
        """Whether the account or invoice was deleted meanwhile, as the change feed will tell.

        A 404 alone may be a gateway's: everything that we hold of the list would go.
        """
        path = (ACCOUNT if due.what == "contacts" else INVOICE).path
        answer = self._pennylane.get(path, {"limit": 1, **encoded([condition("id", "in", [due.parent_id])])})
        return not list_items(answer, path)

    def _all(self, path: str) -> list[Record]:
        try:
            return self._pages(path)
        except _CursorRefused:
            return self._pages(path)  # from its beginning, once

    def _pages(self, path: str) -> list[Record]:
        parameters: dict[str, str | int] = {"limit": _PAGE, "sort": "id"}
        found: dict[int, Record] = {}
        while True:
            try:
                answer = self._pennylane.get(path, parameters)
            except PennylaneRefused as refusal:
                if refusal.status == 400 and "cursor" in parameters:
                    raise _CursorRefused(str(refusal), refusal.status) from None
                raise
            page = {record["id"]: record for record in list_items(answer, path)}
            if not more_follows(answer, path):
                return list({**found, **page}.values())
            cursor = answer.get("next_cursor")
            if not isinstance(cursor, str) or page.keys() <= found.keys():
                raise BrokenAnswer(
                    f"Pennylane announces more of {path} without saying where; the next sync asks again."
                )
            found |= page
            parameters["cursor"] = cursor
