"""Which list of the API fills which table, and how accounts are left out of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from pipelines.filters import Condition, condition, without
from pipelines.ranges import Range
from pipelines.records import Record, Row, UnreadableRecord, to_row
from pipelines.tables import ACCOUNTS, CREDIT_NOTES, INVOICES, NOT_INVOICES, Table


@dataclass(frozen=True)
class Kind:
    """A kind of record that the API lists. `account_field` is the filter field that holds the account's id."""

    table: Table
    path: str
    changelog: str
    account_field: str
    conditions: tuple[Condition, ...] = ()

    def leaving_out(self, excluded: Iterable[int]) -> list[tuple[Range, list[Condition]]]:
        """Conditions that leave the excluded accounts out: one set per range of accounts, covering all of them."""
        return [(ids, [*self.conditions, *conditions]) for ids, conditions in without(self.account_field, excluded)]

    def row(self, record: Record, company_id: int, synced_at: datetime) -> Row | None:
        """The record's row; None for documents that stand in the list and are no invoices."""
        if record.get("status") in NOT_INVOICES:
            return None
        filled = {"source": "pennylane"} if self.table is ACCOUNTS else {}
        return to_row(self.table, record, company_id=company_id, synced_at=synced_at, **filled)


ACCOUNT = Kind(ACCOUNTS, "/customers", "/changelogs/customers", "id")
INVOICE = Kind(
    INVOICES, "/customer_invoices", "/changelogs/customer_invoices", "customer_id",
    (condition("credit_note", "eq", False),),
)  # fmt: skip
CREDIT_NOTE = Kind(
    CREDIT_NOTES, "/customer_invoices", "/changelogs/customer_invoices", "customer_id",
    (condition("credit_note", "eq", True),),
)  # fmt: skip

KINDS = (ACCOUNT, INVOICE, CREDIT_NOTE)


class Reader:
    """Turns records into rows, leaves excluded accounts out once more, and sets aside what cannot be read."""

    def __init__(self, company_id: int, excluded: frozenset[int], now: Callable[[], datetime]) -> None:
        self.unreadable: dict[tuple[Table, int], str] = {}
        self._company_id = company_id
        self._excluded = excluded
        self._now = now

    def rows(self, kind: Kind, records: Iterable[Record]) -> list[Row]:
        synced_at = self._now()
        rows = []
        for record in records:
            try:
                row = kind.row(record, self._company_id, synced_at)
            except UnreadableRecord as error:
                self.unreadable[kind.table, record["id"]] = str(error)
                continue
            self.unreadable.pop((kind.table, record["id"]), None)
            if row is not None and row["account_id"] not in self._excluded:
                rows.append(row)
        return rows

    def unreadable_ids(self, table: Table) -> set[int]:
        """Records that were there and could not be read: what we hold of them stays."""
        return {one for of, one in self.unreadable if of is table}
