"""Primary keys and indexes, and what is known of the rows, for the database that goes by them: Postgres.

DuckDB has none: it scans a million ids in milliseconds, and takes a key for violated where one transaction deletes a
row and inserts it anew, which is how rows are merged.
"""

import logging
from functools import partial

from pipelines.errors import PipelineError, WarehouseUnusable
from pipelines.tables import ACCOUNTS, CREDIT_NOTES, DATASET, INVOICES, LISTED, TABLES, Table
from pipelines.unpaid import NOT_YET_LATE, UNPAID
from pipelines.warehouse import Session, Warehouse

log = logging.getLogger(__name__)

_MANY_ROWS = 5_000
"""To look at a table takes a fraction of a second, however many rows it has; to read fewer by a bad plan, not more."""


def _index(table: Table, *columns: str) -> tuple[str, tuple[Table, str]]:
    """An index's name, and its table with the statement that makes it."""
    name = "_".join((table.name, *columns[1:], "index"))
    return name, (table, f"CREATE INDEX IF NOT EXISTS {name} ON {DATASET}.{table.name} ({', '.join(columns)})")


def _partial(table: Table, which: str, column: str, where: str) -> tuple[str, tuple[Table, str]]:
    """An index of a part of the rows, for queries that say in the same words which."""
    name = f"{table.name}_{which}_index"
    made = f"CREATE INDEX IF NOT EXISTS {name} ON {DATASET}.{table.name} (company_id, {column}) WHERE {where}"
    return name, (table, made)


INDEXES = dict(
    [
        *(
            _index(table, *table.replaced_by)
            for table in TABLES
            if table.replaced_by != table.key[: len(table.replaced_by)]
        ),
        _index(INVOICES, "company_id", "account_id"),
        _index(CREDIT_NOTES, "company_id", "account_id"),
        _index(CREDIT_NOTES, "company_id", "credited_invoice_id"),
        _index(INVOICES, "company_id", "payments_synced_at"),
        _partial(INVOICES, "touched", "updated_at, payments_synced_at, account_id", "NOT COALESCE(draft, FALSE)"),
        _partial(INVOICES, "unpaid_of_account", "account_id, payments_synced_at", UNPAID),
        _partial(INVOICES, "not_yet_late", "deadline", NOT_YET_LATE),
        _partial(INVOICES, "unpaid_by_reading", "payments_synced_at", UNPAID),
        _partial(INVOICES, "never_read", "date DESC NULLS LAST, invoice_id DESC", "payments_synced_at IS NULL"),
        _partial(INVOICES, "never_read_since", "synced_at", "payments_synced_at IS NULL"),
        *(
            _partial(table, "unread", table.id_column, "synced_at IS NULL")
            for table in (ACCOUNTS, INVOICES, CREDIT_NOTES)
        ),
        _index(ACCOUNTS, "company_id", "contacts_synced_at"),
    ]
)


_REPLACED = ("invoices_updated_at_index", "invoices_unpaid_index", "invoices_never_read_unpaid_index")
"""Indexes of earlier versions, in whose place others have come."""


def _name_of_key(table: Table) -> str:
    return f"{table.name}_pkey"


def _name_before_key(table: Table) -> str:
    """Of the unique index that becomes the primary key, which an earlier version left as it was."""
    return "_".join((table.name, *table.key[1:], "key"))


_TABLE_OF = {
    **{name: table for name, (table, _) in INDEXES.items()},
    **{name(table): table for table in TABLES for name in (_name_of_key, _name_before_key)},
}


def index(session: Session) -> None:
    """Make the primary keys and indexes that are missing, where the database wants them, and drop what they replace.

    Whoever writes to a table keeps its new index waiting, and waits while it is made: another sync, for the most part.
    Since an index is about speed, the next sync makes it where this one would have to wait for long. An empty table of
    a list is filled first: to index all rows together takes a fraction of what it takes for each as it comes. What was
    filled is looked at before.

    A table that somebody renamed has kept the names of its indexes, which the one made in its place needs.
    """
    if not session.is_postgres:
        return
    known = session.rows(
        """
        SELECT i.relname, t.relname, indisprimary, indexrelid
        FROM pg_index JOIN pg_class i ON i.oid = indexrelid JOIN pg_class t ON t.oid = indrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname = %s
        """,
        DATASET,
    )
    for name, table, _, number in known:
        if name in _TABLE_OF and table != _TABLE_OF[name].name:
            session.execute(f"ALTER INDEX {DATASET}.{name} RENAME TO old_{number}_{name}")
    names = {(name, table) for name, table, *_ in known}
    with_key = {table for _, table, primary, _ in known if primary}
    for one in TABLES:
        if one.name not in with_key:
            if (_name_before_key(one), one.name) not in names:
                _make_unique(session, one)
            _make_key(session, one)
    missing = [(one, statement) for name, (one, statement) in INDEXES.items() if (name, one.name) not in names]
    later = {one for one in _not_looked_at(session) if not _look_at(session, one)}
    if missing:
        later |= {one for one in LISTED if _is_empty(session, one)}
    for one, statement in missing:
        if one not in later and not session.unless_in_use(partial(session.execute, statement)):
            later.add(one)
    for name in {name for name, *_ in known}.intersection(_REPLACED):
        session.unless_in_use(partial(session.execute, f"DROP INDEX {DATASET}.{name}"))


def index_what_was_filled(warehouse: Warehouse) -> None:
    """Make the indexes of tables that were empty; what cannot be made is left to the next sync."""
    try:
        with warehouse.session() as session, session.one_at_a_time():
            index(session)
    except PipelineError as error:
        log.info("Indexes are left to the next sync: %s", error)


def _is_empty(session: Session, table: Table) -> bool:
    return not session.rows(f"SELECT 1 FROM {DATASET}.{table.name} LIMIT 1")


def _not_looked_at(session: Session) -> list[Table]:
    """The tables of lists, where many rows of them have come or changed since Postgres last looked at them.

    By itself it looks a minute or two later, and only once a tenth of a table is new. Of a company that it has not seen
    it expects a row or none: what it plans for that does not end with 100,000 invoices.
    """
    lists = {one.name: one for one in LISTED}
    found = session.rows("SELECT relname, n_mod_since_analyze FROM pg_stat_user_tables WHERE schemaname = %s", DATASET)
    changed = {lists[name]: count for name, count in found if name in lists and count}
    return list(changed) if sum(changed.values()) >= _MANY_ROWS else []


def _look_at(session: Session, table: Table) -> bool:
    """Whether Postgres could look at it, which keeps no reader and no writer waiting.

    Not where somebody makes an index, or vacuums. An autovacuum gives way to whoever has waited for a while
    (`deadlock_timeout`, a second), as those who make an index do not.
    """
    try:
        with session.transaction():
            session.execute("SET LOCAL lock_timeout = '3s'")
            session.execute(f"ANALYZE {DATASET}.{table.name}")
    except WarehouseUnusable as error:
        log.info("To look at %s, and to index it, is left to the next sync: %s", table.name, error)
        return False
    return True


def _make_unique(session: Session, table: Table) -> None:
    """While the index is made the table can be read.

    Where it was missing, somebody may have put a row in twice: the one read last stays.
    """
    _drop_doubles(session, table)
    columns = ", ".join(table.key)
    session.execute(f"CREATE UNIQUE INDEX {_name_before_key(table)} ON {DATASET}.{table.name} ({columns})")


def _make_key(session: Session, table: Table) -> None:
    """Of the unique index, which does as well for as long as somebody reads the table."""
    key = f"{_name_of_key(table)} PRIMARY KEY USING INDEX {_name_before_key(table)}"
    session.unless_in_use(lambda: session.execute(f"ALTER TABLE {DATASET}.{table.name} ADD CONSTRAINT {key}"))


def _drop_doubles(session: Session, table: Table) -> None:
    same = " AND ".join(f"other.{column} = row.{column}" for column in table.key)
    session.execute(
        f"DELETE FROM {DATASET}.{table.name} AS row USING {DATASET}.{table.name} AS other WHERE {same} "
        "AND (COALESCE(row.synced_at, '-infinity'), row.ctid) < (COALESCE(other.synced_at, '-infinity'), other.ctid)"
    )
