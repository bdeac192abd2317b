"""The database that the tables live in: a DuckDB file or a Postgres server, opened for moments only."""

import contextlib
import logging
import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

import duckdb
import psycopg2
from psycopg2.errors import DependentObjectsStillExist, FeatureNotSupported, InvalidTableDefinition, LockNotAvailable
from psycopg2.extensions import parse_dsn
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter, wait_random
from tenacity.retry import retry_base

from pipelines.errors import OtherColumns, WarehouseBusy, WarehouseLocked, WarehouseUnusable
from pipelines.tables import DATASET

if TYPE_CHECKING:  # dlt is imported where something is loaded
    from dlt.common.destination import TDestinationReferenceArg
    from dlt.destinations.impl.postgres.configuration import PostgresCredentials

log = logging.getLogger(__name__)

LOCK_WAIT_SECONDS = 60.0
"""For a file that another program has open, or for what it has locked in a server."""
TABLES_WAIT_SECONDS = 600.0
"""For another sync that prepares the tables: a migration, or an index of millions of rows, takes minutes."""
BRIEF_WAIT_SECONDS = 2.0
"""For readers, with what the next sync may do as well: each company's next one waits again."""
WAIT_A_MOMENT = "lock_timeout = '300ms'"
"""For what readers hold, in Postgres: longer than nearly all queries, and short enough for others to wait as long."""
MEMORY_LIMIT = "256MB"
"""For DuckDB, which else takes up to 80 % of the machine's; what does not fit goes to a folder beside the file."""
ROW_GROUP_ROWS = 30_720
"""On closing, DuckDB merges pieces into groups, by default of 122,880 rows; these take half the memory to merge."""

_HEADER_BYTES = 3 * 4096
"""What every DuckDB file begins with; another process may make one between our look and our attempt."""

_PATIENCE = {"connect_timeout": "15", "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}
"""For a server that says nothing, in seconds; a server's address may say otherwise."""

_NAMED = frozenset({"host", "port", "dbname", "user", "password"})


@dataclass(frozen=True)
class _Dialect:
    """Where the two databases differ in the little SQL of our own."""

    placeholder: str
    enter_schema: str
    comments: str
    relations: str


_CATALOG = "warehouse"
_LOCKS = DATASET
"""Keeps our advisory locks apart from those of others in the same Postgres."""

_DUCKDB_COMMENTS = """
    WITH wanted AS (SELECT %s AS name)
    SELECT table_name, NULL, comment FROM duckdb_tables(), wanted WHERE schema_name = name AND comment IS NOT NULL
    UNION ALL
    SELECT view_name, NULL, comment FROM duckdb_views(), wanted WHERE schema_name = name AND comment IS NOT NULL
    UNION ALL
    SELECT table_name, column_name, comment FROM duckdb_columns(), wanted
    WHERE schema_name = name AND comment IS NOT NULL
"""
_POSTGRES_COMMENTS = """
    SELECT c.relname, a.attname, d.description
    FROM pg_description d
    JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
    WHERE n.nspname = %s
"""
_DUCKDB_RELATIONS = """
    WITH wanted AS (SELECT %s AS name)
    SELECT t.table_name, FALSE, c.column_name FROM duckdb_tables() t JOIN duckdb_columns() c USING (table_oid), wanted
    WHERE t.schema_name = name
    UNION ALL
    SELECT view_name, TRUE, NULL FROM duckdb_views(), wanted WHERE schema_name = name
"""
_POSTGRES_RELATIONS = """
    SELECT c.relname, c.relkind NOT IN ('r', 'p'), a.attname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_DUCKDB = _Dialect(
    "?",
    f"SET search_path = '{_CATALOG}.{DATASET}'",
    _DUCKDB_COMMENTS,
    _DUCKDB_RELATIONS,
)
_POSTGRES = _Dialect(
    "%s",
    f"SET search_path = {DATASET}",
    _POSTGRES_COMMENTS,
    _POSTGRES_RELATIONS,
)
_KINDS = {LockNotAvailable: WarehouseLocked, InvalidTableDefinition: OtherColumns}


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

    def __init__(self, cursor: _Cursor, dialect: "_Dialect", lock_wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self._cursor = cursor
        self._dialect = dialect
        self._lock_wait_seconds = lock_wait_seconds

    @property
    def is_postgres(self) -> bool:
        """Whether there are roles, locks of our own, and indexes that help; else it is DuckDB, which has none."""
        return self._dialect is _POSTGRES

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

    def relations(self, schema: str) -> "dict[str, Relation]":
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

    def unless_read(self, change: Callable[[], None]) -> None:
        """The same for what can be left to the next sync, where somebody reads on."""
        try:
            self._in_moments(change, BRIEF_WAIT_SECONDS)
        except WarehouseLocked:
            log.info("Somebody reads what is to be changed, in a transaction that has not ended: left to the next sync")

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


class Warehouse(ABC):
    """Where rows land."""

    @abstractmethod
    def destination(self, company_id: int) -> "TDestinationReferenceArg":
        """dlt's destination, for use within a session.

        Each company has a staging schema of its own (dlt#4297: else they truncate each other's rows).
        """

    @abstractmethod
    @contextmanager
    def session(self) -> Iterator[Session]:
        """An open connection. Raises WarehouseBusy or WarehouseUnusable."""


STAGING = re.compile(rf"{DATASET}_staging_\d+")
"""The names of all companies' staging schemas."""


def staging_layout(company_id: int) -> str:
    return f"%s_staging_{company_id}"


class DuckDBWarehouse(Warehouse):
    """One file. While a process has it open no other may write: it is held open for moments, with wait and retry.

    The file is attached under a name of our own: opened directly, its catalog would be named after the file,
    `receivables` like the schema, and every `receivables.x` would be ambiguous to DuckDB. What it is attached to, an
    engine without any file, stays: to start one takes ten times as long as to attach.
    """

    def __init__(self, path: Path, lock_wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self.path = path
        self._lock_wait_seconds = lock_wait_seconds
        self._engine: duckdb.DuckDBPyConnection | None = None
        self._sessions = 0
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        return f"DuckDBWarehouse({str(self.path)!r})"

    def destination(self, company_id: int) -> "TDestinationReferenceArg":
        from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials  # noqa: PLC0415

        from pipelines.into_duckdb import CopyingDuckDB  # noqa: PLC0415

        if self._engine is None or not self._sessions:
            raise RuntimeError("the destination is for use within a session")
        # dlt works on connections cloned from ours; a clone has to be told which catalog is meant.
        credentials = DuckDbCredentials(self._engine, pragmas=[f"search_path='{_CATALOG}.main'"])
        return CopyingDuckDB(credentials, staging_dataset_name_layout=staging_layout(company_id))

    @contextmanager
    def session(self) -> Iterator[Session]:
        with self._opening:
            engine = self._engine if self._engine and self._sessions else self._attached()
            self._sessions += 1
        try:
            with contextlib.closing(engine.cursor()) as cursor:
                session = Session(cursor, _DUCKDB)
                session.execute(f"USE {_CATALOG}")
                yield session
        finally:
            self._detach_after_last_session()

    def _detach_after_last_session(self) -> None:
        with self._opening:
            self._sessions -= 1
            if self._sessions or self._engine is None:
                return
            try:
                with contextlib.closing(self._engine.cursor()) as cursor:  # dlt has made the file the default of ours
                    cursor.execute(f"DETACH {_CATALOG}")
            except duckdb.Error:  # such as for want of room; what is committed is in the file's log
                self._end_engine()

    def _end_engine(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _attached(self) -> duckdb.DuckDBPyConnection:
        """The engine, with the file, once nobody else has it open."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise self._unusable(error.strerror or type(error).__name__) from None
        retrying = Retrying(
            retry=retry_if_exception_type(_FileLocked),
            stop=stop_after_delay(self._lock_wait_seconds),
            wait=wait_exponential_jitter(multiplier=0.05, max=1),
            reraise=True,
        )
        try:
            return retrying(self._attach)
        except _FileLocked as locked:
            raise WarehouseBusy(
                f"{self.path} is held open by {locked.holder}; waited {self._lock_wait_seconds:.0f} s. "
                "Close it there (DuckDB lets one process write at a time); the next sync goes on from here."
            ) from None

    def _attach(self) -> duckdb.DuckDBPyConnection:
        is_new, engine_is_new = not self.path.exists(), self._engine is None
        quoted = str(self.path).replace("'", "''")
        try:
            self._engine = self._engine or _started_engine(f"{quoted}.tmp")
            with contextlib.closing(self._engine.cursor()) as cursor:
                cursor.execute(f"ATTACH '{quoted}' AS {_CATALOG} (ROW_GROUP_SIZE {ROW_GROUP_ROWS})")
            return self._engine
        except duckdb.Error as error:
            if "could not set lock" in str(error).lower():
                raise _FileLocked(_holder(str(error))) from None
            self._end_engine()
            if not engine_is_new:  # an earlier session may be what broke it
                return self._attach()
            if "file handle conflict" in str(error).lower():
                raise _FileLocked("another part of this process") from None
            if is_new and self.path.exists() and self.path.stat().st_size < _HEADER_BYTES:
                self.path.unlink()  # half a header, where the disk is full: no later attempt could read it
            raise self._unusable(what_went_wrong(error)) from None

    def _unusable(self, why: str) -> WarehouseUnusable:
        return WarehouseUnusable(
            f"{self.path} cannot be opened: {why}. Check WAREHOUSE_URL or PENNYLANE_SYNC_HOME, the rights there and "
            "the room on its disk. Nothing is lost; the next sync goes on from here."
        )


def _started_engine(spill_folder: str) -> duckdb.DuckDBPyConnection:
    engine = duckdb.connect()
    engine.execute("SET GLOBAL TimeZone = 'UTC'")
    engine.execute(f"SET GLOBAL memory_limit = '{MEMORY_LIMIT}'")
    engine.execute(f"SET GLOBAL temp_directory = '{spill_folder}'")
    return engine


class PostgresWarehouse(Warehouse):
    """A schema in a Postgres database."""

    def __init__(self, url: str, lock_wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self._url = url
        self._lock_wait_seconds = lock_wait_seconds

    def __repr__(self) -> str:
        parts = urlsplit(self._url)
        return f"PostgresWarehouse('{parts.hostname or 'local socket'}{parts.path}')"

    def destination(self, company_id: int) -> "TDestinationReferenceArg":
        from pipelines.into_postgres import CopyingPostgres  # noqa: PLC0415

        layout = staging_layout(company_id)
        destination = CopyingPostgres(self._credentials(), staging_dataset_name_layout=layout)
        destination.lock_wait_seconds = self._lock_wait_seconds
        return destination

    def _credentials(self) -> "PostgresCredentials":
        """What dlt wants to know, taken from a connection that was made: addresses may leave out the password and more.

        dlt wants a password in any case; where the server asked for none, one that is not looked at will do.
        """
        from dlt.destinations.impl.postgres.configuration import PostgresCredentials  # noqa: PLC0415

        with self._connected() as connection:
            info = connection.info
            credentials = PostgresCredentials()
            credentials.host = quote(info.host, safe="")  # the folder of a socket has slashes
            credentials.port = info.port
            credentials.database = info.dbname
            credentials.username = info.user
            credentials.password = info.password or "none"
            given = {name: value for name, value in parse_qsl(urlsplit(self._url).query) if name not in _NAMED}
            waiting = f"-c lock_timeout={self._lock_wait_seconds:.0f}s"
            credentials.query = {**_PATIENCE, **given, "options": f"{waiting} {given.get('options', '')}".strip()}
            return credentials

    @contextmanager
    def session(self) -> Iterator[Session]:
        with self._connected() as connection, connection.cursor() as cursor:
            session = Session(cursor, _POSTGRES, self._lock_wait_seconds)
            session.execute("SET TIME ZONE 'UTC'")
            session.execute(f"SET lock_timeout = '{self._lock_wait_seconds:.0f}s'")
            yield session

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            given = parse_dsn(self._url)
            connection = psycopg2.connect(**{**_PATIENCE, **given})
        except psycopg2.Error as error:
            raise WarehouseUnusable(f"Postgres cannot be reached: {what_went_wrong(error)}") from None
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()


def warehouse_at(url: str) -> Warehouse:
    """The warehouse at `duckdb:///path` or `postgresql://...`."""
    if url.startswith("duckdb:///"):
        return DuckDBWarehouse(Path(url.removeprefix("duckdb:///")))
    return PostgresWarehouse(url)


def id_list(ids: Iterable[int]) -> str:
    """Ids as SQL, for `IN (...)`; an empty list matches nothing.

    As one text that the database takes apart: DuckDB takes 90 ms to read and plan 10,000 literals, and 8 for this.
    """
    text = ",".join(str(int(one)) for one in ids)
    return f"SELECT CAST(unnest(string_to_array('{text}', ',')) AS BIGINT)" if text else "NULL"


def in_moments(locked: retry_base, seconds: float) -> Retrying:
    """Attempts at what ends by an error where it meets a lock, for so long."""
    return Retrying(retry=locked, stop=stop_after_delay(seconds), wait=wait_random(min=0.2, max=1), reraise=True)


class _FileLocked(Exception):
    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def _holder(message: str) -> str:
    """Who holds the file, as DuckDB's message tells: `Conflicting lock is held in PROGRAM (PID n)`."""
    found = re.search(r"held in (.+?) \(PID (\d+)\)", message)
    if not found:
        return "another process"
    return f"{os.path.basename(found[1])}, process {found[2]}"  # noqa: PTH119 - a name in a message, not a path


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
