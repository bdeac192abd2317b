"""The warehouse in a DuckDB file."""

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

from pipelines.errors import WarehouseBusy, WarehouseUnusable
from pipelines.tables import DATASET
from pipelines.warehouse.base import Warehouse, staging_layout
from pipelines.warehouse.session import LOCK_WAIT_SECONDS, Dialect, Session, what_went_wrong

if TYPE_CHECKING:  # dlt is imported where something is loaded
    from pipelines.merging import MergingDestination

MEMORY_LIMIT = "128MB"
"""For DuckDB, which else takes up to 80 % of the machine's; what does not fit goes to a folder beside the file."""
ROW_GROUP_ROWS = 30_720
"""On closing, DuckDB merges pieces into groups, by default of 122,880 rows; these take half the memory to merge."""

_HEADER_BYTES = 3 * 4096
"""What every DuckDB file begins with; another process may make one between our look and our attempt."""

_CATALOG = "warehouse"
_COMMENTS = """
    WITH wanted AS (SELECT %s AS name)
    SELECT table_name, NULL, comment FROM duckdb_tables(), wanted WHERE schema_name = name AND comment IS NOT NULL
    UNION ALL
    SELECT view_name, NULL, comment FROM duckdb_views(), wanted WHERE schema_name = name AND comment IS NOT NULL
    UNION ALL
    SELECT table_name, column_name, comment FROM duckdb_columns(), wanted
    WHERE schema_name = name AND comment IS NOT NULL
"""
_RELATIONS = """
    WITH wanted AS (SELECT %s AS name)
    SELECT t.table_name, FALSE, c.column_name FROM duckdb_tables() t JOIN duckdb_columns() c USING (table_oid), wanted
    WHERE t.schema_name = name
    UNION ALL
    SELECT view_name, TRUE, NULL FROM duckdb_views(), wanted WHERE schema_name = name
"""
_DIALECT = Dialect(
    is_postgres=False,
    placeholder="?",
    enter_schema=f"SET search_path = '{_CATALOG}.{DATASET}'",
    comments=_COMMENTS,
    relations=_RELATIONS,
)


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

    def destination(self, company_id: int) -> "MergingDestination":
        from pipelines.warehouse.into_duckdb import CopyingDuckDB  # noqa: PLC0415

        return CopyingDuckDB(staging_dataset_name_layout=staging_layout(company_id))

    def bind(self, destination: "MergingDestination", session: Session) -> None:  # noqa: ARG002 - all are of one engine
        from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials  # noqa: PLC0415

        if self._engine is None or not self._sessions:
            raise RuntimeError("the destination is for use within a session")
        # dlt works on connections cloned from ours; a clone has to be told which catalog is meant.
        credentials = DuckDbCredentials(self._engine, pragmas=[f"search_path='{_CATALOG}.main'"])
        destination.config_params["credentials"] = credentials

    @contextmanager
    def session(self) -> Iterator[Session]:
        with self._opening:
            engine = self._engine if self._engine and self._sessions else self._attached()
            self._sessions += 1
        try:
            with contextlib.closing(engine.cursor()) as cursor:
                session = Session(cursor, _DIALECT)
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
            wait=wait_random(min=0.02, max=0.2),  # others of ours hold it for some hundredths of a second
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
