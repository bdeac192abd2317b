"""An open connection to the warehouse, for moments only."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import duckdb
import psycopg2
from psycopg2.errors import DependentObjectsStillExist, FeatureNotSupported, InvalidTableDefinition, LockNotAvailable
from psycopg2.extensions import ConnectionInfo
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random
from tenacity.retry import retry_base

from pipelines.errors import OtherColumns, WarehouseBusy, WarehouseLocked, WarehouseUnusable
from pipelines.tables import DATASET

log = logging.getLogger(__name__)

LOCK_WAIT_SECONDS = 60.0
"""For a file that another program has open, or for what it has locked in a server."""
TABLES_WAIT_SECONDS = 600.0
"""For another sync that prepares the tables: a migration, or an index of millions of rows, takes minutes."""
BRIEF_WAIT_SECONDS = 2.0
"""For readers, with what the next sync may do as well: each company's next one waits again."""
WAIT_A_MOMENT = "lock_timeout = '300ms'"
"""For what readers hold, in Postgres: longer than nearly all queries, and short enough for others to wait as long."""

_LOCKS = DATASET
"""Keeps our advisory locks apart from those of others in the same Postgres."""
_KINDS = {LockNotAvailable: WarehouseLocked, InvalidTableDefinition: OtherColumns}


@dataclass(frozen=True)
class Dialect:
    """Where the two databases differ in the little SQL of our own."""

    is_postgres: bool
    placeholder: str
    enter_schema: str
    comments: str
    """A schema's comments, given its name: table, column or NULL, comment."""
    relations: str
    """A schema's tables and views, given its name: name, whether it is a view, one of its columns."""


@dataclass(frozen=True)
class Relation:
    """A table with its columns, or something that is read like one."""

    is_view: bool
    columns: set[str]


class _Cursor(Protocol):
    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class Session:
    """An open connection: SQL with `%s` for parameters, the same for both databases."""

    def __init__(self, cursor: _Cursor, dialect: Dialect, lock_wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self._cursor = cursor
        self._dialect = dialect
        self._lock_wait_seconds = lock_wait_seconds

    @property
    def is_postgres(self) -> bool:
        """Whether there are roles, locks of our own, and indexes that help; else it is DuckDB, which has none."""
        return self._dialect.is_postgres

    @property
    def connection_info(self) -> ConnectionInfo:
        """How the server was reached, and as whom; of Postgres alone."""
        cursor: Any = self._cursor
        info: ConnectionInfo = cursor.connection.info
        return info

    def execute(self, sql: str, *parameters: Any) -> None:
        try:
            self._cursor.execute(sql.replace("%s", self._dialect.placeholder), list(parameters))
        except (duckdb.Error, psycopg2.Error) as error:
            kind = _KINDS.get(type(error), WarehouseUnusable)
            raise kind(
                f"The warehouse refused: {what_went_wrong(error)}. Nothing is lost; the next sync goes on from here."
            ) from None

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        self.execute(sql, *parameters)
        return [tuple(row) for row in self._cursor.fetchall()]

    def value(self, sql: str, *parameters: Any) -> Any:
        return self.rows(sql, *parameters)[0][0]

    def copy(self, statement: str, file: BinaryIO) -> int:
        """Postgres's COPY ... FROM STDIN, of a file; how many rows came."""
        cursor: Any = self._cursor
        try:
            cursor.copy_expert(statement, file)
        except psycopg2.Error as error:
            raise WarehouseUnusable(f"The warehouse refused: {what_went_wrong(error)}") from None
        return int(cursor.rowcount)

    def has_table(self, name: str, schema: str = DATASET) -> bool:
        return bool(
            self.rows(
                "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s", schema, name
            )
        )

    def relations(self, schema: str) -> dict[str, Relation]:
        """A schema's tables and views, by name."""
        found: dict[str, Relation] = {}
        for name, is_view, column in self.rows(self._dialect.relations, schema):
            found.setdefault(name, Relation(is_view, set())).columns.add(column)
        return found

    def schemas(self) -> set[str]:
        """The names of all schemas."""
        return {name for (name,) in self.rows("SELECT schema_name FROM information_schema.schemata")}

    def empty(self, schema: str) -> None:
        """Drop all tables and views of a schema, but not itself: where an administrator made it, we could not again."""
        for name, relation in self.relations(schema).items():
            kind, quoted = "VIEW" if relation.is_view else "TABLE", name.replace('"', '""')
            self.execute(f'DROP {kind} IF EXISTS "{schema}"."{quoted}" CASCADE')

    def comments(self, schema: str) -> dict[tuple[str, str | None], str]:
        """The comments on a schema's tables and views (column None) and on their columns."""
        return {(table, column): comment for table, column, comment in self.rows(self._dialect.comments, schema)}

    def one_at_a_time(self) -> AbstractContextManager[None]:
        """Alone among the processes that make tables and indexes: `IF NOT EXISTS` is no protection in Postgres.

        Raises WarehouseBusy where another one still does so after ten minutes.
        """
        return self._alone("tables", TABLES_WAIT_SECONDS, "Another sync prepares the tables, for all companies")

    def only_writer(self, company_id: int) -> AbstractContextManager[None]:
        """Alone among the processes that write a company's rows, for as long as this session lives.

        Raises WarehouseBusy where another one still does so after a time.
        """
        among = f"company {company_id}"
        return self._alone(among, self._lock_wait_seconds, f"Another process writes the rows of {among}")

    @contextmanager
    def _alone(self, among: str, seconds: float, otherwise: str) -> Iterator[None]:
        """DuckDB has one process at a time anyway."""
        if not self.is_postgres:
            yield
            return
        try:
            with self.transaction():  # which the lock outlives
                self.execute(f"SET LOCAL lock_timeout = '{seconds * 1000:.0f}ms'")
                self.execute("SELECT pg_advisory_lock(hashtext(%s), hashtext(%s))", _LOCKS, among)
        except WarehouseLocked:
            raise WarehouseBusy(
                f"{otherwise}; waited {seconds:.0f} s. Nothing is lost; the next sync goes on from here."
            ) from None
        try:
            yield
        finally:
            with contextlib.suppress(WarehouseUnusable):  # a connection that is lost holds no lock
                self.execute("SELECT pg_advisory_unlock(hashtext(%s), hashtext(%s))", _LOCKS, among)

    def enter_schema(self) -> None:
        """From here on, names without a schema are those of `receivables`."""
        self.execute(self._dialect.enter_schema)

    def between_readers(self, change: Callable[[], None]) -> None:
        """Change, in one transaction, the definition of what others may be reading. `change` may be called repeatedly.

        In Postgres whoever waits for the end of a long report keeps all that begin after it waiting, too: so we wait
        for moments only, again and again. Raises WarehouseLocked where that was for nothing.
        """
        self._in_moments(change, self._lock_wait_seconds)

    def unless_in_use(self, change: Callable[[], None]) -> bool:
        """The same for what can be left to the next sync, where somebody reads on, or writes. Whether it was done."""
        try:
            self._in_moments(change, BRIEF_WAIT_SECONDS)
        except WarehouseLocked:
            log.info("Somebody uses what is to be changed, in a transaction that has not ended: left to the next sync")
            return False
        return True

    def _in_moments(self, change: Callable[[], None], seconds: float) -> None:
        for attempt in in_moments(retry_if_exception_type(WarehouseLocked), seconds):
            with attempt, self.transaction():
                if self.is_postgres:
                    self.execute(f"SET LOCAL {WAIT_A_MOMENT}")
                change()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):  # the connection may be what failed
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")


def id_list(ids: Iterable[int]) -> str:
    """Ids as SQL, for `IN (...)`; an empty list matches nothing.

    As one text that the database takes apart: DuckDB takes 90 ms to read and plan 10,000 literals, and 8 for this.
    """
    text = ",".join(str(int(one)) for one in ids)
    return f"SELECT CAST(unnest(string_to_array('{text}', ',')) AS BIGINT)" if text else "NULL"


def in_moments(locked: retry_base, seconds: float) -> Retrying:
    """Attempts at what ends by an error where it meets a lock, for so long."""
    return Retrying(retry=locked, stop=stop_after_delay(seconds), wait=wait_random(min=0.2, max=1), reraise=True)


def what_went_wrong(error: BaseException) -> str:
    """The first line of what a database said, unless it may repeat a value: that may be somebody's name."""
    if isinstance(error, duckdb.DataError | psycopg2.DataError):
        return f"a value does not fit the type that a column has now ({type(error).__name__})"
    if isinstance(error, LockNotAvailable):
        return "another program keeps what is to be written locked, in a transaction that has not ended"
    if isinstance(error, psycopg2.Error) and (theirs := _in_the_way(error)):
        return f"something of somebody's own is in the way ({theirs}). Drop that, sync, and make it again"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _in_the_way(error: psycopg2.Error) -> str:
    """What depends on something that is to be dropped or changed, as Postgres tells: names, no values."""
    told = error.diag.message_detail or ""
    if isinstance(error, DependentObjectsStillExist) or (isinstance(error, FeatureNotSupported) and "_RETURN" in told):
        return ", ".join(told.splitlines())  # a view's one rule is called _RETURN
    return ""
