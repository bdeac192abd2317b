"""Where connections are kept: a SQLite file, or a schema of its own in a Postgres."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateSchema
from sqlalchemy.types import TypeDecorator
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from pipelines.rights import Wanted, lacking, told
from resources.errors import PennylaneSyncError
from resources.migrations import migrate, version
from resources.vault import make_private_folder

SCHEMA = "pennylane_sync"
LOCK_WAIT_SECONDS = 60
"""Longer than a token refresh may hold the lock, so that nobody gives up because of one."""

_ADVISORY_LOCK_CLASS = 0x50_4C_53  # "PLS": keeps our advisory locks apart from those of others in the same Postgres
_UNUSABLE = ("permission denied", "not a database", "malformed")
"""How drivers tell trouble with a database as a whole, other than by an `OperationalError`."""
_MAKING = 0
"""Takes the place of a company while the tables are made; no company has this id."""


class StoreUnavailable(PennylaneSyncError):
    """The store cannot be reached, opened or locked."""


class UtcDateTime(TypeDecorator[datetime]):
    """A time with zone, in UTC; SQLite, which keeps no zone, is given the UTC time without it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without zone")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


metadata = MetaData(schema=SCHEMA)

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

connections = Table(
    "connections",
    metadata,
    Column("company_id", BigInteger, primary_key=True, autoincrement=False),
    Column("company_name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("token", Text, comment="encrypted; null once disconnected"),
    Column("scopes", Text, nullable=False, comment="separated by spaces"),
    Column("connected_at", UtcDateTime, nullable=False),
    Column("activated_at", UtcDateTime),
    Column("last_sync_at", UtcDateTime),
    Column("ready_at", UtcDateTime),
    Column("last_error", Text),
    Column("authorization_lost", Text, comment="the reason"),
    Column("disconnected_at", UtcDateTime),
)

exclusions = Table(
    "exclusions",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("company_id", BigInteger, nullable=False),
    Column("account_id", BigInteger, nullable=False),
    Column("excluded_at", UtcDateTime, nullable=False),
    Column("excluded_by", Text, nullable=False),
    Column("included_at", UtcDateTime),
    Column("included_by", Text),
)
Index(
    "one_open_exclusion_per_account",
    exclusions.c.company_id,
    exclusions.c.account_id,
    unique=True,
    sqlite_where=exclusions.c.included_at.is_(None),
    postgresql_where=exclusions.c.included_at.is_(None),
)

leases = Table(
    "leases",
    metadata,
    Column("company_id", BigInteger, primary_key=True, autoincrement=False),
    Column("holder", Text, primary_key=True, comment="one per entry: an owner may enter several times"),
    Column("owner", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("acquired_at", UtcDateTime, nullable=False),
    Column("renewed_at", UtcDateTime, nullable=False),
)


class Store:
    """Transactions on the store, which is made, or brought to this program's version, at its first use.

    Nothing is opened before that, and no database connection outlives a transaction: safe to carry across a fork.
    `place` tells one store from another.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.name = parsed.set(query={}).render_as_string(hide_password=True)  # a password may be an option, too
        self._file: Path | None = None
        self._ready = False
        self._making = threading.Lock()
        if parsed.get_backend_name() == "sqlite":
            self._file = Path(parsed.database or "")
            self._engine = _sqlite_engine(self._file)
            self.place: Path | URL = self._file.resolve()
        else:
            self.place = parsed  # shown without its password
            self._engine = create_engine(
                parsed.set(drivername="postgresql+psycopg2"),
                poolclass=NullPool,
                hide_parameters=True,
                connect_args={"connect_timeout": 10, "application_name": "pennylane-sync"},
            )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads; never waits for a writer. Raises `StoreUnavailable`."""
        self._make()
        with self._told_plainly(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, company_id: int | None = None) -> Iterator[Connection]:
        """A transaction that writes. In SQLite it has the file to itself from its beginning; in Postgres it goes after
        any other one of the same company. Waits up to a minute, then raises `StoreUnavailable`."""
        self._make()
        with self._told_plainly(), self._writer().connect() as connection, connection.begin():
            _go_after_others(connection, company_id)
            yield connection

    def _writer(self) -> Engine:
        return self._engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")

    def _make(self) -> None:
        with self._making:
            if self._ready:
                return
            if self._file:
                _make_private_file(self._file)
            with self._told_plainly():
                self._refuse_lacking_rights()
                if not self._is_made():
                    if self._file:
                        self._let_readers_and_a_writer_coexist()
                    with self._writer().connect() as connection, connection.begin():
                        _go_after_others(connection, _MAKING)
                        self._make_tables(connection)
            self._ready = True

    def _refuse_lacking_rights(self) -> None:
        """Raises `StoreUnavailable`, with the SQL to be run, where a role in Postgres may not do what is needed."""
        if self._file:
            return
        tables = {table.name for table in metadata.tables.values()}
        with self._engine.connect() as connection, connection.begin():
            rows = connection.exec_driver_sql(lacking([Wanted(SCHEMA, tables)])).all()
        if rows:
            raise StoreUnavailable(f"The connections store {self.name} cannot be used: {told(rows)}.")

    def _is_made(self) -> bool:
        """Whether the tables are there, of this version. Asked first, because it does not wait for a writer."""
        with self._engine.connect() as connection, connection.begin():
            return self._version_found(connection) == version()

    def _version_found(self, connection: Connection) -> int | None:
        """Of the tables, if there are any. Raises `StoreUnavailable` if a newer program made them."""
        if not inspect(connection).has_table("schema_version", schema=None if self._file else SCHEMA):
            return None
        found: int | None = connection.scalar(select(schema_version.c.version))
        if found is not None and found > version():
            raise StoreUnavailable(
                f"The connections store {self.name} was made by a newer pennylane-sync (tables of version {found},"
                f" {version()} here): update this installation."
            )
        return found

    def _make_tables(self, connection: Connection) -> None:
        """All or nothing, and nothing where another process was first."""
        found = self._version_found(connection)
        if found is None:
            if not self._file and not inspect(connection).has_schema(SCHEMA):
                connection.execute(CreateSchema(SCHEMA))
            metadata.create_all(connection)
            connection.execute(insert(schema_version).values(version=version()))
        elif found < version():
            if not self._file:
                connection.execute(text(f"SET LOCAL search_path = {SCHEMA}"))
            migrate(connection, found)
            connection.execute(update(schema_version).values(version=version()))

    def _let_readers_and_a_writer_coexist(self) -> None:
        """SQLite's write-ahead log: a reader cannot then keep a new token pair from being saved. The switch does not
        wait for other processes at the same switch, hence the retries."""
        retries = Retrying(
            retry=retry_if_exception(lambda error: "locked" in str(error)),
            stop=stop_after_delay(LOCK_WAIT_SECONDS),
            wait=wait_random(0, 0.05),
            reraise=True,
        )
        retries(self._switch_journal)

    def _switch_journal(self) -> None:
        with self._engine.connect().execution_options(sqlite_begin=None) as connection:
            connection.execute(text("PRAGMA journal_mode = WAL"))

    @contextmanager
    def _told_plainly(self) -> Iterator[None]:
        failure: str
        try:
            yield
        except DatabaseError as error:
            failure = str(error.orig).strip().partition("\n")[0]
            if not isinstance(error, OperationalError) and not any(sign in failure for sign in _UNUSABLE):
                raise
        else:
            return
        if "locked" in failure or "lock timeout" in failure:
            failure = f"another process kept it locked for {LOCK_WAIT_SECONDS} s"
        raise StoreUnavailable(
            f"The connections store {self.name} cannot be used: {failure}. Check CONNECTIONS_URL (or WAREHOUSE_URL, its"
            " default) and that the database can be reached."
        )


def _go_after_others(connection: Connection, company_id: int | None) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = {round(LOCK_WAIT_SECONDS * 1000)}"))
        if company_id is not None:
            key = func.hashtextextended(str(company_id), _ADVISORY_LOCK_CLASS)
            connection.execute(select(func.pg_advisory_xact_lock(key)))


def _make_private_file(file: Path) -> None:
    """Before SQLite would, so that nobody else may read it; its log files take over its mode."""
    failure: OSError
    try:
        make_private_folder(file.parent)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as error:
        failure = error
    else:
        return
    raise StoreUnavailable(
        f"The connections store {file} cannot be opened: {failure.strerror}."
        " Check PENNYLANE_SYNC_HOME, or CONNECTIONS_URL."
    )


def _sqlite_engine(file: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"timeout": LOCK_WAIT_SECONDS},
        execution_options={"schema_translate_map": {SCHEMA: None}, "sqlite_begin": "BEGIN"},
    )

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(driver_connection: Any, _record: object) -> None:
        driver_connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        statement = connection.get_execution_options()["sqlite_begin"]
        if statement:
            connection.exec_driver_sql(statement)

    return engine
