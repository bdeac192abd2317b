"""Tables that are not as declared: new, from an older version, or changed by somebody's hand.

What is missing is made again by dlt, and what it held is read again: a row whose `synced_at` is null was never read as
far as we know, an account or invoice without its mark has contacts or payments to be read. That is noted in the
database before dlt makes anything, so that a crash in between leaves the damage to be found again. A whole table of a
list tells by its comment when it was made, and so that no company's cursors cover it yet. Columns of others' making
stay, and are left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.committed import BOOKKEEPING, forget_schema, noted_tables
from pipelines.errors import WarehouseUnusable
from pipelines.removal import included
from pipelines.tables import DATASET, EXCLUDED_ACCOUNTS, LISTED, MARKS, TABLES, Table
from pipelines.versions import refuse_other
from pipelines.views import VIEWS
from pipelines.warehouse import Relation, Session

_FILLED_BY_DETAILS = {mark for _, mark in MARKS.values()}


@dataclass(frozen=True)
class Damage:
    """Which tables are missing, which of dlt's own, and which columns of those that are there."""

    tables: frozenset[Table]
    columns: dict[Table, frozenset[str]]
    held: dict[Table, frozenset[str]]
    bookkeeping: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.tables or self.columns or self.bookkeeping)

    def __str__(self) -> str:
        """What is missing, in words."""
        names = [*(one.name for one in TABLES if one in self.tables), *sorted(self.bookkeeping)]
        names += [f"{table.name}.{column}" for table, columns in self.columns.items() for column in sorted(columns)]
        return f"Missing: {', '.join(names)}"


def look_for_damage(session: Session) -> Damage:
    """Raises WarehouseUnusable, saying what to do, where something else has a table's or view's name."""
    found = session.relations(DATASET)
    for table in TABLES:
        if table.name in found and found[table.name].is_view:
            raise WarehouseUnusable(
                f"{DATASET}.{table.name} is a view, where the table of that name belongs. Drop or rename it (DROP VIEW "
                f"{DATASET}.{table.name}) and sync again: the table is made and filled anew."
            )
    for view in VIEWS:
        if view.name in found and not found[view.name].is_view:
            raise WarehouseUnusable(
                f"{DATASET}.{view.name} is a table, where the view of that name belongs. Drop or rename it (ALTER "
                f"TABLE {DATASET}.{view.name} RENAME TO ...) and sync again: the view is made anew."
            )
    held = _held(found)
    missing = {table: frozenset(one.name for one in table.columns) - columns for table, columns in held.items()}
    for table, columns in missing.items():
        if lacking := columns & {*table.key, "account_id"}:
            raise WarehouseUnusable(
                f"{DATASET}.{table.name} lacks {', '.join(sorted(lacking))}, without which its rows cannot be told "
                f"apart, or whose they are. Drop it (DROP TABLE {DATASET}.{table.name}) and sync again: it is made and "
                "filled anew."
            )
    return Damage(
        frozenset(table for table in TABLES if table not in held),
        {table: columns for table, columns in missing.items() if columns},
        held,
        BOOKKEEPING - found.keys(),
    )


def refuse_damage(session: Session) -> None:
    """Raises WarehouseUnusable where the tables are not as declared: what only reads cannot mend them."""
    refuse_other(session)
    if damage := look_for_damage(session):
        raise WarehouseUnusable(f"{damage} in {DATASET}. The next sync mends that: pennylane-sync sync")


def prepare(session: Session, damage: Damage) -> None:
    """Note what is to be read again, and let dlt see that its tables are not what it made."""
    for table, columns in damage.columns.items():
        filled = columns - _FILLED_BY_DETAILS
        if table in LISTED and filled:
            _unmark(session, damage.held, table, "synced_at")
        elif table in MARKS and filled:
            _unmark(session, damage.held, *MARKS[table])
    for table in damage.tables & MARKS.keys():
        _unmark(session, damage.held, *MARKS[table])
    forget_schema(session)


def read_again(session: Session, table: Table) -> None:
    """Have all that a table holds read from Pennylane again, by each company's next sync, but for accounts left out.

    A table of a list then counts as one that was just made: its comment, which tells when it was, goes.
    """
    held = _held(session.relations(DATASET))
    if table in MARKS:
        _unmark(session, held, *MARKS[table])
    elif table in held:
        session.execute(f"COMMENT ON TABLE {DATASET}.{table.name} IS NULL")


def drop_damaged_staging(session: Session, schema: str) -> None:
    """Drop all from the schema in which dlt puts what it merges, where it is not as dlt notes there that it made it.

    The next load makes it again. What a listing had collected there is without the columns that are declared since, and
    has to be read again. The schema itself stays: where an administrator made it, we could not.
    """
    found = session.relations(schema)
    noted = noted_tables(session, schema) if found else set()
    columns = {table: {one.name for one in table.columns} for table in TABLES if table.name in noted}
    if found and not (noted and all(names <= _columns(found, table) for table, names in columns.items())):
        session.empty(schema)


def _columns(found: Mapping[str, Relation], table: Table) -> set[str]:
    return found[table.name].columns if table.name in found else set()


def _held(found: Mapping[str, Relation]) -> dict[Table, frozenset[str]]:
    return {table: frozenset(found[table.name].columns) for table in TABLES if table.name in found}


def _unmark(session: Session, held: Mapping[Table, frozenset[str]], table: Table, column: str) -> None:
    """Take a mark from all rows but those of accounts that are left out: these stay as they are."""
    if column not in held.get(table, ()):
        return
    where = f"{column} IS NOT NULL"
    if EXCLUDED_ACCOUNTS in held:
        where += f" AND {included(table)}"
    session.execute(f"UPDATE {DATASET}.{table.name} SET {column} = NULL WHERE {where}")
