"""Loading into Postgres with dlt, keeping empty text apart from none.

dlt's own copy job turns an empty string in any nullable column into NULL (it says FORCE_NULL). Pennylane sends both.
"""

from typing import Any

import dlt
from dlt.common.destination.client import LoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.schema import Schema
from dlt.common.schema.typing import TSchemaTables
from dlt.common.storages.file_storage import FileStorage
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.impl.postgres.postgres import PostgresClient, PostgresCsvCopyJob
from psycopg2.errors import LockNotAvailable
from tenacity import retry_if_exception

from pipelines.merging import MergingClient, MergingDestination
from pipelines.warehouse.session import WAIT_A_MOMENT, in_moments


class CopyJob(PostgresCsvCopyJob):
    """Copies a file of `row_files`."""

    def run(self) -> None:
        sql_client = self._job_client.sql_client
        table = sql_client.make_qualified_table_name(self.load_table_name)
        with FileStorage.open_zipsafe_ro(self._file_path, "rb") as file:
            columns = file.readline().decode().strip()
            with sql_client.begin_transaction(), sql_client.native_connection.cursor() as cursor:
                cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN WITH (FORMAT CSV, ENCODING 'utf-8')", file)


class _Client(MergingClient, PostgresClient):
    lock_wait_seconds: float

    def update_stored_schema(self, *arguments: Any, **named: Any) -> TSchemaTables | None:
        """A new column wants its table for itself: see `Session.between_readers`. dlt does all in one transaction."""
        updated: TSchemaTables | None = None
        for attempt in in_moments(retry_if_exception(_met_a_lock), self.lock_wait_seconds):
            with attempt:
                self.sql_client.execute_sql(f"SET {WAIT_A_MOMENT}")  # dlt resets its connection after an error
                updated = super().update_stored_schema(*arguments, **named)
        self.sql_client.execute_sql("RESET lock_timeout")
        return updated

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        job = super().create_load_job(table, file_path, load_id, restore)
        return CopyJob(file_path) if type(job) is PostgresCsvCopyJob else job


def _met_a_lock(error: BaseException) -> bool:
    return isinstance(error, DatabaseException) and isinstance(error.dbapi_exception, LockNotAvailable)


class CopyingPostgres(MergingDestination, dlt.destinations.postgres):
    """dlt's Postgres with this way of copying, and of waiting."""

    lock_wait_seconds: float

    def client(self, schema: Schema, initial_config: Any = None) -> Any:
        client = super().client(schema, initial_config)
        client.lock_wait_seconds = self.lock_wait_seconds
        return client

    @property
    def client_class(self) -> type[Any]:
        return _Client
