"""Loading CSV into DuckDB with dlt, which by itself knows only files that tell their columns' types."""

from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import LoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.storages.load_package import ParsedLoadJobFileName
from dlt.destinations.impl.duckdb.duck import DuckDbClient, DuckDbCopyJob

from pipelines.merging import MergingClient, MergingDestination
from pipelines.row_files import LONGEST_LINE

_FORMAT = f"""
    FORMAT csv, AUTO_DETECT false, HEADER, DELIMITER ',', QUOTE '"', ESCAPE '"', NULLSTR '', ALLOW_QUOTED_NULLS false,
    MAX_LINE_SIZE {LONGEST_LINE}, BUFFER_SIZE {2 * LONGEST_LINE}, PARALLEL false
"""


def copying(table: str, file: Path) -> str:
    """The statement that copies a file of `row_files` into a table."""
    with file.open(encoding="utf-8") as opened:
        columns = opened.readline().strip()
    quoted = str(file).replace("'", "''")
    return f"COPY {table} ({columns}) FROM '{quoted}' ({_FORMAT})"


class CopyJob(DuckDbCopyJob):
    """Copies a file of `row_files`."""

    def run(self) -> None:
        sql_client = self._job_client.sql_client
        table = sql_client.make_qualified_table_name(self.load_table_name)
        sql_client.execute_sql(copying(table, Path(self._file_path)))


class _Client(MergingClient, DuckDbClient):
    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        if ParsedLoadJobFileName.parse(file_path).file_format == "csv":
            return CopyJob(file_path)
        return super().create_load_job(table, file_path, load_id, restore)


class CopyingDuckDB(MergingDestination, dlt.destinations.duckdb):
    """dlt's DuckDB with this way of copying."""

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        capabilities.supported_loader_file_formats = [*(capabilities.supported_loader_file_formats or []), "csv"]
        return capabilities

    @property
    def client_class(self) -> type[Any]:
        return _Client
