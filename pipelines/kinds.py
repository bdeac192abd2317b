"""Which list of the API fills which table, and how accounts are left out of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.errors import BrokenAnswer
from pipelines.filters import Condition, condition, within, without
from pipelines.ranges import ALL_IDS, Range
from pipelines.records import Record, Row, UnreadableRecord, to_row
from pipelines.set_aside import NAMELESS, UNREADABLE, said, set_aside, unreadable_of
from pipelines.tables import ACCOUNTS, CREDIT_NOTES, INVOICES, NOT_INVOICES, Table


@dataclass(frozen=True)
class Kind:
    """A kind of record that the API lists."""

    table: Table
    path: str
    changelog: str
    conditions: tuple[Condition, ...] = ()

    def leaving_out(self, excluded: Iterable[int]) -> list[tuple[Range, list[Condition]]]:
        """Ranges of the records' ids, covering all of them, with conditions that leave the excluded accounts out.

        More exclusions than fit in an address make several ranges of accounts. These do not hold the documents without
        an account: they come in once they have one.
        """
        if self.table is ACCOUNTS:
            return [(ids, [*self.conditions, *conditions]) for ids, conditions in without("id", excluded)]
        return [
            (ALL_IDS, [*self.conditions, *within("customer_id", accounts), *conditions])
            for accounts, conditions in without("customer_id", excluded)
        ]

    def row(self, record: Record, company_id: int, synced_at: datetime) -> Row | None:
        """The record's row; None for documents that stand in the list and are no invoices."""
        if record.get("status") in NOT_INVOICES:
            return None
        filled = {"source": "pennylane"} if self.table is ACCOUNTS else {}
        return to_row(self.table, record, company_id=company_id, synced_at=synced_at, **filled)

    def account_of(self, record: Record) -> Any:
        """The id of the account that a record belongs to, before anything else of it is looked at."""
        if self.table is ACCOUNTS:
            return record["id"]
        customer = record.get("customer")
        return customer.get("id") if isinstance(customer, dict) else None


ACCOUNT = Kind(ACCOUNTS, "/customers", "/changelogs/customers")
INVOICE = Kind(
    INVOICES, "/customer_invoices", "/changelogs/customer_invoices", (condition("credit_note", "eq", False),)
)
CREDIT_NOTE = Kind(
    CREDIT_NOTES, "/customer_invoices", "/changelogs/customer_invoices", (condition("credit_note", "eq", True),)
)

KINDS = (ACCOUNT, INVOICE, CREDIT_NOTE)


_NO_COINCIDENCE = 20
"""Where so many records of a kind, and most of those read, cannot be read, the trouble is not theirs."""

_MOST_SET_ASIDE = 10_000
"""They are kept in the state, and asked for again by each sync."""


class Reader:
    """Turns records into rows, drops excluded accounts unread, and sets aside, with the reason, what cannot be read."""

    def __init__(self, company_id: int, excluded: frozenset[int], now: Callable[[], datetime]) -> None:
        self.unreadable: dict[tuple[Table, int], str] = {}
        self._known: frozenset[tuple[Table, int]] = frozenset()
        self._read: Counter[Table] = Counter()
        self._company_id = company_id
        self._excluded = excluded
        self._now = now

    def rows(self, kind: Kind, records: Iterable[Record]) -> list[Row]:
        """Raises BrokenAnswer where there would be too many to set aside."""
        synced_at = self._now()
        rows = []
        for record in records:
            if kind.account_of(record) in self._excluded:
                continue
            try:
                row = kind.row(record, self._company_id, synced_at)
            except UnreadableRecord as error:
                self.unreadable[kind.table, record["id"]] = error.reason
                continue
            self.unreadable.pop((kind.table, record["id"]), None)
            if row is not None and (kind is ACCOUNT or row["account_id"] not in self._excluded):
                rows.append(row)  # an id that came as text is known once it is read
        self._read[kind.table] += len(rows)
        if len(self.unreadable) > _MOST_SET_ASIDE:
            raise self._too_many(kind.table)
        return rows

    def judge(self) -> None:
        """Raises BrokenAnswer where most of a kind's records cannot be read, but for those known since `follow`."""
        for table in (kind.table for kind in KINDS):
            news = [key for key in self.unreadable.keys() - self._known if key[0] is table]
            if len(news) >= _NO_COINCIDENCE and len(news) > self._read[table]:
                raise self._too_many(table)

    def follow(self) -> None:
        """From here on only what changed is read, and what is set aside already: that is known to be unreadable."""
        self._known = frozenset(self.unreadable)

    def _too_many(self, table: Table) -> BrokenAnswer:
        reasons = Counter(why for (of, _), why in list(self.unreadable.items()) if of is table)
        ((why, times),) = reasons.most_common(1)
        return BrokenAnswer(
            f"{reasons.total():,} {table.name} cannot be read ({times:,} of them: {why}), against "
            f"{self._read[table]:,} that can. Nothing is lost: the next sync asks again. If it persists, Pennylane has "
            "changed what it sends, and a newer version of this program is needed."
        )

    def forget(self, kind: Kind, ids: Iterable[int]) -> None:
        """These are about to be read anew: what was unreadable about them no longer counts."""
        for one in ids:
            self.unreadable.pop((kind.table, one), None)

    def set_aside(self, kind: Kind, ids: Iterable[int], reason: str) -> None:
        """These are there, but what Pennylane sends in their place cannot be read."""
        self.unreadable |= {(kind.table, one): reason for one in ids}

    def to_state(self) -> dict[str, dict[str, str]]:
        """The reasons by table and id, so that the next run tries these records again."""
        found: dict[str, dict[str, str]] = {}
        for (table, one), reason in sorted(self.unreadable.items(), key=lambda item: (item[0][0].name, item[0][1])):
            found.setdefault(table.name, {})[str(one)] = reason
        return found

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what an earlier run could not read, but for accounts that are left out since: nobody asks for them.

        Their documents are asked for, and then found to be none of ours.
        """
        for kind in KINDS:
            never_asked = self._excluded if kind is ACCOUNT else frozenset()
            found = unreadable_of(state, kind.table)
            self.unreadable |= {(kind.table, one): why for one, why in found.items() if one not in never_asked}

    def resume(self, state: Mapping[str, Any], read: Mapping[str, int]) -> None:
        """Go on with a listing, of which an earlier run has read so many rows by table, and could not read those."""
        self.unreadable.clear()
        self.restore(state)
        self._read.update({kind.table: read.get(kind.table.name, 0) for kind in KINDS})

    def unreadable_ids(self, table: Table) -> set[int]:
        """Records that were there and could not be read: what we hold of them stays."""
        return {one for of, one in list(self.unreadable) if of is table and one != NAMELESS}

    def met_nameless(self, table: Table) -> bool:
        """Whether a listing met records without a usable id: which of ours they are, nobody knows."""
        return (table, NAMELESS) in self.unreadable

    def told(self) -> list[str]:
        """What is set aside, in words."""
        return [said(one) for one in set_aside({UNREADABLE: self.to_state()})]
