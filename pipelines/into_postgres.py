"""Loading into Postgres with dlt, keeping empty text apart from none.

dlt's own copy job turns an empty string in any nullable column into NULL (it says FORCE_NULL). Pennylane sends both.
"""

from typing import Any

import dlt
from dlt.common.destination.client import LoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.storages.file_storage import FileStorage
from dlt.destinations.impl.postgres.postgres import PostgresClient, PostgresCsvCopyJob

from pipelines.destinations import GivenWhole
from pipelines.merging import MergesKeyByKey


class CopyJob(PostgresCsvCopyJob):
    """Copies a file of `row_files`."""

    def run(self) -> None:
        sql_client = self._job_client.sql_client
        table = sql_client.make_qualified_table_name(self.load_table_name)
        with FileStorage.open_zipsafe_ro(self._file_path, "rb") as file:
            columns = file.readline().decode().strip()
            with sql_client.begin_transaction(), sql_client.native_connection.cursor() as cursor:
                cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN WITH (FORMAT CSV, ENCODING 'utf-8')", file)


class _Client(MergesKeyByKey, PostgresClient):
    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        job = super().create_load_job(table, file_path, load_id, restore)
        return CopyJob(file_path) if type(job) is PostgresCsvCopyJob else job


class CopyingPostgres(GivenWhole, dlt.destinations.postgres):
    """dlt's Postgres with this way of copying."""

    @property
    def client_class(self) -> type[Any]:
        return _Client
