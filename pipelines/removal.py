"""Gone there, gone here: which rows Pennylane may no longer have, and deleting those, with what hangs on them.

Rows of excluded accounts are never touched: what is there of them stays as it is.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from pipelines.records import Row
from pipelines.tables import ACCOUNTS, CONTACTS, CREDIT_NOTES, DATASET, INVOICES, PAYMENTS, Table
from pipelines.warehouse import Session, id_list

_HANGING_ON: dict[Table, tuple[Table, str]] = {ACCOUNTS: (CONTACTS, "account_id"), INVOICES: (PAYMENTS, "invoice_id")}


@dataclass(frozen=True)
class Removal:
    """Rows of a table that go, by an SQL condition on them, and how many these are."""

    condition: str
    count: int

    def statements(self, company_id: int, table: Table) -> list[str]:
        """What deletes them, and what hangs on rows of this table that are not there."""
        where = f"company_id = {company_id} AND {self.condition} AND {included(table)}"
        deleting = [f"DELETE FROM {DATASET}.{table.name} WHERE {where}"]
        if table in _HANGING_ON:
            deleting.append(
                f"DELETE FROM {DATASET}.{_HANGING_ON[table][0].name} WHERE {_parentless(company_id, table)}"
            )
        return deleting


def gone(session: Session, company_id: int, table: Table, merged: str, ids: Collection[int]) -> Removal:
    """The rows with these ids. `merged` (SQL to select from) is the table with what is still to be merged."""
    condition = f"{table.id_column} IN ({id_list(ids)})"
    return Removal(condition, _count(session, company_id, table, merged, condition))


def unlisted(
    session: Session, company_id: int, table: Table, merged: str, *, listed_since: datetime, keep: Collection[int]
) -> Removal:
    """The rows that a listing, begun at `listed_since`, did not bring; `keep` are ids that it could not read."""
    condition = f"{_not_read_since(listed_since)} AND {table.id_column} NOT IN ({id_list(keep) if keep else -1})"
    return Removal(condition, _count(session, company_id, table, merged, condition))


def remove_now(session: Session, company_id: int, table: Table, removal: Removal) -> None:
    """Delete in a transaction of its own."""
    with session.transaction():
        for statement in removal.statements(company_id, table):
            session.execute(statement)


def holds_parentless(session: Session, company_id: int, table: Table) -> bool:
    """Whether there is something that hangs on a row of this table that is not there."""
    if table not in _HANGING_ON:
        return False
    hanging = _HANGING_ON[table][0]
    return bool(session.rows(f"SELECT 1 FROM {DATASET}.{hanging.name} WHERE {_parentless(company_id, table)} LIMIT 1"))


def _parentless(company_id: int, table: Table) -> str:
    """A payment without its invoice is nobody's; a contact says whose it is: an excluded account's stays."""
    hanging, link = _HANGING_ON[table]
    where = (
        f"company_id = {company_id} AND NOT EXISTS (SELECT 1 FROM {DATASET}.{table.name} AS parent "
        f"WHERE parent.company_id = {company_id} AND parent.{link} = {hanging.name}.{link})"
    )
    return f"{where} AND {included(hanging)}" if link == "account_id" else where


def holds_older(session: Session, company_id: int, table: Table, than: datetime) -> bool:
    """Whether there is a row that was read before then."""
    where = f"company_id = {company_id} AND {_not_read_since(than)}"
    return bool(session.rows(f"SELECT 1 FROM {DATASET}.{table.name} WHERE {where} LIMIT 1"))


def doubt_times_to_come(session: Session, company_id: int, table: Table, now: datetime) -> None:
    """Rows that seem to have been read later than now (a clock was ahead, somebody wrote them) count as not read."""
    session.execute(
        f"UPDATE {DATASET}.{table.name} SET synced_at = NULL WHERE company_id = {company_id} AND synced_at > %s "
        f"AND {included(table)}",
        now,
    )


def unread(session: Session, company_id: int, table: Table, limit: int) -> set[int]:
    """The ids of a company's rows that were never read as far as we know, at most `limit` of them."""
    rows = session.rows(
        f"SELECT {table.id_column} FROM {DATASET}.{table.name} "
        f"WHERE company_id = {company_id} AND synced_at IS NULL AND {included(table)} LIMIT {limit}"
    )
    return {int(one) for (one,) in rows}


def unlisted_of(
    session: Session, company_id: int, table: Table, merged: str, *, since: datetime, accounts: Collection[int]
) -> set[int]:
    """The ids of these accounts' rows that a listing, begun at `since`, did not bring."""
    rows = session.rows(
        f"SELECT {table.id_column} FROM {merged} "
        f"WHERE company_id = {company_id} AND {_not_read_since(since)} AND account_id IN ({id_list(accounts)})"
    )
    return {int(one) for (one,) in rows}


def removable(
    session: Session, company_id: int, table: Table, merged: str, *, among: Collection[int] | None, since: datetime
) -> set[int]:
    """Rows of no excluded account, not read since then; `among` limits them to these ids."""
    limit = "" if among is None else f"AND {table.id_column} IN ({id_list(among)})"
    rows = session.rows(
        f"SELECT {table.id_column} FROM {merged} "
        f"WHERE company_id = {company_id} AND {_not_read_since(since)} {limit} AND {included(table)}"
    )
    return {int(one) for (one,) in rows}


def without_account(session: Session, company_id: int, table: Table, merged: str, among: Collection[int]) -> set[int]:
    """The rows among these that have no account."""
    rows = session.rows(
        f"SELECT {table.id_column} FROM {merged} "
        f"WHERE company_id = {company_id} AND account_id IS NULL AND {table.id_column} IN ({id_list(among)})"
    )
    return {int(one) for (one,) in rows}


def excluded_before(
    session: Session,
    company_id: int,
    table: Table,
    rows: Collection[Row],
    *,
    known_until: datetime | None,
    invoices: str,
    let_in: Collection[int],
) -> set[int]:
    """The ids among `rows` without an account that were an excluded account's: what we hold or not of them stays so.

    Pennylane takes the account from its documents when it is deleted there. Those that we hold as an excluded account's
    are its own, and so are those that we do not hold, although they were there at `known_until`: unless they credit an
    invoice without an account that was let in: one of those, or one that stands in `invoices` (SQL to select from).
    """
    orphans = {row[table.id_column]: row for row in rows if row["account_id"] is None}
    if not orphans:
        return set()
    held = dict(
        session.rows(
            f"SELECT {table.id_column}, account_id IN ({_excluded(company_id)}) FROM {DATASET}.{table.name} "
            f"WHERE company_id = {company_id} AND {table.id_column} IN ({id_list(orphans)})"
        )
    )
    if known_until is None:
        return {one for one, theirs in held.items() if theirs}
    ours = _crediting_ours(session, company_id, orphans, invoices, let_in) if table is CREDIT_NOTES else set()
    return {
        one
        for one, row in orphans.items()
        if (held[one] if one in held else one not in ours and _was_there(row, known_until))
    }


def _was_there(row: Row, at: datetime) -> bool:
    return row["created_at"] is None or row["created_at"] < at


def _crediting_ours(
    session: Session, company_id: int, credit_notes: Mapping[int, Row], invoices: str, let_in: Collection[int]
) -> set[int]:
    credited = {one: row["credited_invoice_id"] for one, row in credit_notes.items()}
    among = {one for one in credited.values() if one is not None}
    ours = without_account(session, company_id, INVOICES, invoices, among).union(let_in)
    return {one for one, invoice in credited.items() if invoice in ours}


def _excluded(company_id: int) -> str:
    return f"SELECT account_id FROM {DATASET}.excluded_accounts WHERE company_id = {company_id}"


def included(table: Table) -> str:
    """SQL: the row of this table, which goes by its own name, is of no account that is left out."""
    return (
        f"NOT EXISTS (SELECT 1 FROM {DATASET}.excluded_accounts AS x "
        f"WHERE x.company_id = {table.name}.company_id AND x.account_id = {table.name}.account_id)"
    )


def _not_read_since(moment: datetime) -> str:
    """SQL: rows are without that time where it cannot be true, or where somebody with a SQL tool has written them."""
    return f"(synced_at IS NULL OR synced_at < TIMESTAMPTZ '{moment.isoformat()}')"


def _count(session: Session, company_id: int, table: Table, merged: str, condition: str) -> int:
    where = f"company_id = {company_id} AND {condition} AND {included(table)}"
    return int(session.value(f"SELECT count(*) FROM {merged} WHERE {where}"))
