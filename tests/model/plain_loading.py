"""A stand-in for dlt that merges as it does, in a tenth of the time, for tests of what is not about loading."""

import base64
import copy
import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from unittest import mock

from pipelines import loading
from pipelines.committed import SOURCE, State, committed, pipeline_name
from pipelines.loading import Loader
from pipelines.records import Row
from pipelines.row_files import write_rows
from pipelines.tables import DATASET, Table
from pipelines.warehouse import DuckDBWarehouse, Merge, Session, Warehouse, staging_layout
from pipelines.warehouse.into_duckdb import copying
from tests.pipelines.company import file_with_tables


class PlainLoader:
    """Takes the place of `Loader`, in a DuckDB file that has the tables already; all or nothing, as a package is."""

    def __init__(self, warehouse: Warehouse, company_id: int, work_dir: Path) -> None:
        self._warehouse = warehouse
        self._company_id = company_id
        self._work_dir = work_dir
        self._staging = staging_layout(company_id) % DATASET
        work_dir.mkdir(parents=True)

    @property
    def state(self) -> State:
        with self._warehouse.session() as session:
            return committed(session, self._company_id) or {}

    def load(
        self,
        rows: Mapping[Table, list[Row]],
        state: State,
        merge: Merge,
        writing: Callable[[], AbstractContextManager[Session]],
    ) -> None:
        load_id = str(time.time_ns() / 1e9)
        with writing() as session, session.transaction():
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {self._staging}")
            session.execute(f"CREATE TABLE IF NOT EXISTS {self._staging}._dlt_version (schema VARCHAR PRIMARY KEY)")
            for table, table_rows in rows.items():
                self._copy(session, table, table_rows, add=table.name in merge.waiting | merge.together)
                if table.name not in merge.waiting:
                    self._merge(session, table)
                    for statement in merge.afterwards.get(table.name, ()):
                        session.execute(statement)
            written = json.dumps({"sources": {SOURCE: copy.deepcopy(state)}})
            session.execute(
                f"INSERT INTO {DATASET}._dlt_pipeline_state BY NAME SELECT 1 AS version, 4 AS engine_version, "
                "%s AS pipeline_name, %s AS state, now() AS created_at, %s AS _dlt_load_id, %s AS _dlt_id",
                pipeline_name(self._company_id),
                base64.b64encode(zlib.compress(written.encode())).decode(),
                load_id,
                load_id,
            )
            session.execute(
                f"INSERT INTO {DATASET}._dlt_loads BY NAME SELECT %s AS load_id, 0 AS status, now() AS inserted_at",
                load_id,
            )

    def _copy(self, session: Session, table: Table, rows: list[Row], *, add: bool) -> None:
        """With a note of the table, as dlt leaves one: without it, it would be taken for somebody else's."""
        came = f"{self._staging}.{table.name}"
        note = json.dumps({"tables": {table.name: {}}})
        session.execute(f"INSERT OR IGNORE INTO {self._staging}._dlt_version VALUES (%s)", note)
        session.execute(f"CREATE TABLE IF NOT EXISTS {came} AS FROM {DATASET}.{table.name} LIMIT 0")
        if not add:
            session.execute(f"TRUNCATE TABLE {came}")
        file = self._work_dir / f"{table.name}.csv"
        write_rows(file, table, rows)
        session.execute(copying(came, file))

    def _merge(self, session: Session, table: Table) -> None:
        came = f"{self._staging}.{table.name}"
        session.execute(
            f"DELETE FROM {came} WHERE rowid NOT IN "
            f"(SELECT max_by(rowid, (synced_at, rowid)) FROM {came} GROUP BY {', '.join(table.key)})"
        )
        for key in (table.key, table.replaced_by):
            if key:
                same = " AND ".join(f"d.{name} = s.{name}" for name in key)
                goes = f"EXISTS (SELECT 1 FROM {came} AS s WHERE {same})"
                session.execute(f"DELETE FROM {DATASET}.{table.name} AS d WHERE {goes}")
        session.execute(f"INSERT INTO {DATASET}.{table.name} BY NAME FROM {came}")


def plain_into_duckdb(warehouse: Warehouse, company_id: int, work_dir: Path) -> PlainLoader | Loader:
    """The stand-in for a DuckDB file, and what it stands for where there is none."""
    return (PlainLoader if isinstance(warehouse, DuckDBWarehouse) else Loader)(warehouse, company_id, work_dir)


@contextmanager
def without_dlt() -> Iterator[None]:
    """While the block runs, what goes into a DuckDB file is loaded so; dlt makes the tables, once, before that."""
    file_with_tables()
    with mock.patch.object(loading, "Loader", plain_into_duckdb):
        yield
