"""What the rules make of the tables as they were, of Pennylane as it is, and of who is left out (README: edges).

Written for tables of any history: what a sync has to arrive at follows from what was there before it, not from how it
came to be there.
"""

from collections.abc import Callable, Collection
from typing import Literal

from pipelines.set_aside import SetAside
from tests.pipelines.truth import Key, Row

Tables = dict[str, dict[Key, Row]]

Fate = Literal["in", "out", "either"]
"""What becomes of a document without an account that is not here yet."""

DOCUMENTS = ("invoices", "credit_notes")


def without_times(tables: Tables) -> Tables:
    """The rows without the columns that say when we read something, as the truth has them."""
    return {
        table: {
            key: {name: value for name, value in row.items() if not name.endswith("synced_at")}
            for key, row in rows.items()
        }
        for table, rows in tables.items()
    }


def demanded(
    before: Tables, truth: Tables, excluded: Collection[int], after: Tables, fate: Callable[[int], Fate]
) -> Tables:
    """The tables that a sync which succeeds has to leave behind.

    `truth` is that of all accounts; `after` is looked at only for documents of which the rules leave open whether they
    are in.
    """
    left_open = {key for table in DOCUMENTS for key in after[table] if fate(key[1]) == "either"}
    documents = {
        table: _documents(before[table], truth[table], excluded, lambda key: key in left_open or fate(key[1]) == "in")
        for table in DOCUMENTS
    }
    frozen = _frozen_invoices(before, excluded)
    settled = {key[:2]: documents["invoices"].get(key[:2]) for key in (*before["payments"], *truth["payments"])}
    return {
        "accounts": _of_accounts("accounts", before, truth, excluded),
        "contacts": _of_accounts("contacts", before, truth, excluded),
        **documents,
        "payments": {
            key: row
            for rows, of_frozen in ((before["payments"], True), (truth["payments"], False))
            for key, row in rows.items()
            if settled[key[:2]] is not None
            and (key[:2] in frozen and settled[key[:2]] is before["invoices"][key[:2]]) == of_frozen
        },
    }


def except_(
    wanted: Tables, before: Tables, after: Tables, aside: Collection[SetAside], told_wrongly: Collection[SetAside]
) -> Tables:
    """`wanted`, except that what is set aside may also be as it was, and what is told wrongly as it is."""

    def is_excepted(table: str, key: Key, row: Row) -> bool:
        as_it_was = after[table].get(key) == before[table].get(key)
        return _is_among(told_wrongly, table, key, row) or (as_it_was and _is_among(aside, table, key, row))

    excepted: Tables = {}
    for table, rows in wanted.items():
        concerned = {**before[table], **rows, **after[table]}
        as_they_are = {key for key, row in concerned.items() if is_excepted(table, key, row)}
        excepted[table] = {key: row for key, row in rows.items() if key not in as_they_are} | {
            key: row for key, row in after[table].items() if key in as_they_are
        }
    return excepted


def is_nameless(one: SetAside) -> bool:
    """A record of a list without a usable id: only listing everything tells whether it has one now."""
    return one.id is None and one.parent_id is None


def _is_among(some: Collection[SetAside], table: str, key: Key, row: Row) -> bool:
    """Whether a row's record or its whole list is among these, or what it hangs on.

    An invoice hangs on its payments, too: what some of them do raises no event, and it is read again for their sake.
    """
    named = {(one.table, one.id, one.parent_id) for one in some}
    if table not in _PARENTS:
        told_by_payments = table == "invoices" and any(of == "payments" and key[-1] == one for of, _, one in named)
        return told_by_payments or not named.isdisjoint({(table, key[-1], None), (table, None, None)})
    parents, column = _PARENTS[table]
    parent = row[column]
    return not named.isdisjoint(
        {(table, key[-1], parent), (table, None, parent), (parents, parent, None), (parents, None, None)}
    )


_PARENTS = {"contacts": ("accounts", "account_id"), "payments": ("invoices", "invoice_id")}


def touched_though_left_out(before: Tables, truth: Tables, excluded: Collection[int], after: Tables) -> list[str]:
    """Rows of excluded accounts that came, went or changed, be it only in when they were read: a fault at any time.

    An invoice that an included account has now is no longer theirs.
    """
    moved_out = {
        key
        for table in DOCUMENTS
        for key, row in truth[table].items()
        if row["account_id"] is not None and row["account_id"] not in excluded
    }
    found = []
    for table in ("accounts", "contacts", *DOCUMENTS):
        was, now = _theirs(before[table], excluded), _theirs(after[table], excluded)
        found += [f"{table}: {key} came in" for key in now.keys() - was.keys()]
        found += [
            f"{table}: {key} was {row}, is {after[table].get(key)}"
            for key, row in was.items()
            if after[table].get(key) != row and key not in moved_out
        ]
    frozen = _frozen_invoices(before, excluded) - moved_out
    was, now = (
        {key: row for key, row in some["payments"].items() if key[:2] in frozen} for some in (before, after)
    )  # fmt: skip
    if was != now:
        found.append(f"payments: were {was}, are {now}")
    return found


def _of_accounts(table: str, before: Tables, truth: Tables, excluded: Collection[int]) -> dict[Key, Row]:
    included = {key: row for key, row in truth[table].items() if row["account_id"] not in excluded}
    return included | _theirs(before[table], excluded)


def _documents(
    before: dict[Key, Row], truth: dict[Key, Row], excluded: Collection[int], comes_in: Callable[[Key], bool]
) -> dict[Key, Row]:
    theirs = _theirs(before, excluded)
    wanted = {key: row for key, row in theirs.items() if key not in truth}
    for key, row in truth.items():
        account = row["account_id"]
        if key in theirs and (account is None or account in excluded):
            wanted[key] = theirs[key]
        elif account not in excluded and (account is not None or key in before or comes_in(key)):
            wanted[key] = row
    return wanted


def _theirs(rows: dict[Key, Row], excluded: Collection[int]) -> dict[Key, Row]:
    return {key: row for key, row in rows.items() if row["account_id"] in excluded}


def _frozen_invoices(before: Tables, excluded: Collection[int]) -> set[Key]:
    return set(_theirs(before["invoices"], excluded))
