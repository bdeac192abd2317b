"""Merging with dlt, one key at a time, and rows of many loads at once.

Where a table has a primary key and a merge key, dlt deletes with `EXISTS (... primary key OR merge key)`, which no
database can look up: every row held is compared with every row that came. One DELETE per key does the same by hash or
index.

dlt merges each load by itself, so that a list of many pieces would change its table as many times. Here pieces can be
collected in the staging schema and be merged together, and with what has to go, in one transaction: see `Merge`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from dlt.common.configuration.specs.base_configuration import BaseConfiguration
from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.destination.client import FollowupJobRequest
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema import Schema
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_client import SqlClientBase
from dlt.destinations.sql_jobs import SqlMergeFollowupJob

from pipelines.warehouse.base import Merge


class _MergeJob(SqlMergeFollowupJob):
    merge: ClassVar[Merge]

    @classmethod
    def generate_sql(cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]) -> list[str]:
        name = str(table_chain[0]["name"])
        statements = [*super().generate_sql(table_chain, sql_client), *cls.merge.afterwards.get(name, ())]
        if name not in cls.merge.together:
            return statements
        _, staging = sql_client.get_qualified_table_names(name)
        keys = [column for column, hints in table_chain[0]["columns"].items() if hints.get("primary_key")]
        place = "ctid" if sql_client.capabilities.sqlglot_dialect == "postgres" else "rowid"
        return [_without_doubles(staging, keys, place), *statements]

    @classmethod
    def gen_key_table_clauses(  # noqa: PLR0917 - dlt's signature
        cls,
        root_table_name: str,
        staging_root_table_name: str,
        primary_keys: Sequence[str],
        merge_keys: Sequence[str],
        for_delete: bool,  # noqa: ARG003
        source_filter: str | None = None,
    ) -> list[str]:
        conditions = (key.format(d="d", s="s") for key in cls._gen_key_table_clauses(primary_keys, merge_keys))
        return [
            f"FROM {root_table_name} AS d WHERE EXISTS (SELECT 1 FROM {staging_root_table_name} AS s "
            f"WHERE {cls._gen_staging_rows_cond(condition, source_filter)})"
            for condition in conditions
        ]


def _without_doubles(table: str, keys: Sequence[str], place: str) -> str:
    """Of a key that came several times, the row that was read last stays.

    So it is where a record changes while all are read, and where a load that was killed had copied some already.
    """
    same = " AND ".join(f"later.{key} = earlier.{key}" for key in keys)
    return (
        f"DELETE FROM {table} AS earlier WHERE EXISTS (SELECT 1 FROM {table} AS later WHERE {same} "
        f"AND (later.synced_at, later.{place}) > (earlier.synced_at, earlier.{place}))"
    )


class MergingClient(SqlJobClientBase):
    """A client of dlt's that merges this way."""

    merge: Merge

    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        """dlt empties staged tables before and after each load; what is collected there stays."""
        super().initialize_storage(set(truncate_tables or ()) - self.merge.waiting - self.merge.together)

    def _create_merge_followup_jobs(self, table_chain: Sequence[PreparedTableSchema]) -> list[FollowupJobRequest]:
        if table_chain[0]["name"] in self.merge.waiting:
            return []

        class Job(_MergeJob):  # dlt makes its jobs by methods of their classes
            merge = self.merge

        return [Job.from_table_chain(table_chain, self.sql_client)]


class MergingDestination(Destination[Any, Any]):
    """A destination that merges this way.

    It is told all of its settings: dlt asks it some twenty times per load what it can do, and would look through
    environment and files each time for settings that say otherwise, a fifth of a small load.
    """

    merge = Merge()

    def capabilities(
        self, config: BaseConfiguration | None = None, naming: NamingConvention | None = None
    ) -> DestinationCapabilitiesContext:
        return super().capabilities(config or self.spec(), naming)

    def client(self, schema: Schema, initial_config: Any = None) -> Any:
        client = super().client(schema, initial_config)
        client.merge = self.merge
        return client
