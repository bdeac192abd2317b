"""Indexes, for the database that looks rows up by them: Postgres. DuckDB scans a million ids in milliseconds."""

from pipelines.tables import ACCOUNTS, CREDIT_NOTES, DATASET, INVOICES, TABLES, Table
from pipelines.unpaid import NOT_YET_LATE, UNPAID
from pipelines.warehouse import Session


def _index(table: Table, *columns: str, unique: bool = False) -> tuple[str, str]:
    """An index's name and the statement that makes it."""
    name = "_".join((table.name, *columns[1:], "key" if unique else "index"))
    kind = "UNIQUE INDEX" if unique else "INDEX"
    return name, f"CREATE {kind} IF NOT EXISTS {name} ON {DATASET}.{table.name} ({', '.join(columns)})"


def _few(table: Table, which: str, column: str, where: str) -> tuple[str, str]:
    """An index of few rows, for queries that say in the same words which."""
    name = f"{table.name}_{which}_index"
    return name, f"CREATE INDEX IF NOT EXISTS {name} ON {DATASET}.{table.name} (company_id, {column}) WHERE {where}"


INDEXES = dict(
    [
        *(_index(table, *table.key, unique=True) for table in TABLES),
        *(
            _index(table, *table.replaced_by)
            for table in TABLES
            if table.replaced_by != table.key[: len(table.replaced_by)]
        ),
        _index(INVOICES, "company_id", "account_id"),
        _index(INVOICES, "company_id", "payments_synced_at"),
        _few(INVOICES, "unpaid", "account_id", UNPAID),
        _few(INVOICES, "not_yet_late", "deadline", NOT_YET_LATE),
        *(_few(table, "unread", table.id_column, "synced_at IS NULL") for table in (ACCOUNTS, INVOICES, CREDIT_NOTES)),
        _index(ACCOUNTS, "company_id", "contacts_synced_at"),
    ]
)


_OF_KEYS = {_index(table, *table.key, unique=True)[0]: table for table in TABLES}


def index(session: Session) -> None:
    """Make the indexes that are missing, where the database wants them.

    Where that of a key was missing, somebody may have put a row in twice: the one read last stays.
    """
    if not session.looks_up_by_index:
        return
    known = {name for (name,) in session.rows("SELECT indexname FROM pg_indexes WHERE schemaname = %s", DATASET)}
    for name, statement in INDEXES.items():
        if name in known:
            continue
        if name in _OF_KEYS:
            _drop_doubles(session, _OF_KEYS[name])
        session.execute(statement)


def _drop_doubles(session: Session, table: Table) -> None:
    same = " AND ".join(f"other.{column} = row.{column}" for column in table.key)
    session.execute(
        f"DELETE FROM {DATASET}.{table.name} AS row USING {DATASET}.{table.name} AS other WHERE {same} "
        "AND (COALESCE(row.synced_at, '-infinity'), row.ctid) < (COALESCE(other.synced_at, '-infinity'), other.ctid)"
    )
