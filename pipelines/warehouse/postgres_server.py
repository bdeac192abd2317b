"""The warehouse in a Postgres server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

import psycopg2
from psycopg2.extensions import parse_dsn

from pipelines.errors import WarehouseUnusable
from pipelines.tables import DATASET
from pipelines.warehouse.base import Warehouse, staging_layout
from pipelines.warehouse.session import LOCK_WAIT_SECONDS, Dialect, Session, what_went_wrong

if TYPE_CHECKING:  # dlt is imported where something is loaded
    from pipelines.merging import MergingDestination

_PATIENCE = {"connect_timeout": "15", "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}
"""For a server that says nothing, in seconds; a server's address may say otherwise."""

_NAMED = frozenset({"host", "port", "dbname", "user", "password"})

_COMMENTS = """
    SELECT c.relname, a.attname, d.description
    FROM pg_description d
    JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
    WHERE n.nspname = %s
"""
_RELATIONS = """
    SELECT c.relname, c.relkind NOT IN ('r', 'p'), a.attname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_DIALECT = Dialect(
    is_postgres=True,
    placeholder="%s",
    enter_schema=f"SET search_path = {DATASET}",
    comments=_COMMENTS,
    relations=_RELATIONS,
)


class PostgresWarehouse(Warehouse):
    """A schema in a Postgres database."""

    def __init__(self, url: str, lock_wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self._url = url
        self._lock_wait_seconds = lock_wait_seconds

    def __repr__(self) -> str:
        parts = urlsplit(self._url)
        return f"PostgresWarehouse('{parts.hostname or 'local socket'}{parts.path}')"

    def destination(self, company_id: int) -> "MergingDestination":
        from pipelines.warehouse.into_postgres import CopyingPostgres  # noqa: PLC0415

        destination = CopyingPostgres(staging_dataset_name_layout=staging_layout(company_id))
        destination.lock_wait_seconds = self._lock_wait_seconds
        return destination

    def bind(self, destination: "MergingDestination", session: Session) -> None:
        """Credentials are taken from a connection that was made: addresses may leave out the password, and more.

        dlt wants a password in any case; where the server asked for none, one that is not looked at will do.
        """
        from dlt.destinations.impl.postgres.configuration import PostgresCredentials  # noqa: PLC0415

        info = session.connection_info
        credentials = PostgresCredentials()
        credentials.host = quote(info.host, safe="")  # the folder of a socket has slashes
        credentials.port = info.port
        credentials.database = info.dbname
        credentials.username = info.user
        credentials.password = info.password or "none"
        given = {name: value for name, value in parse_qsl(urlsplit(self._url).query) if name not in _NAMED}
        settings = f"-c jit=off -c lock_timeout={self._lock_wait_seconds:.0f}s"
        credentials.query = {**_PATIENCE, **given, "options": f"{settings} {given.get('options', '')}".strip()}
        destination.config_params["credentials"] = credentials

    @contextmanager
    def session(self) -> Iterator[Session]:
        with self._connected() as connection, connection.cursor() as cursor:
            session = Session(cursor, _DIALECT, self._lock_wait_seconds)
            # To compile a query of many parts takes Postgres seconds, more than to answer it for a million invoices.
            session.execute(f"SET TIME ZONE 'UTC'; SET lock_timeout = '{self._lock_wait_seconds:.0f}s'; SET jit = off")
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
