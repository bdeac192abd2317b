"""Merging with dlt, one key at a time.

Where a table has a primary key and a merge key, dlt deletes with `EXISTS (... primary key OR merge key)`, which no
database can look up: every row held is compared with every row that came. One DELETE per key does the same by hash or
index.
"""

from collections.abc import Sequence

from dlt.common.destination.client import FollowupJobRequest
from dlt.common.destination.typing import PreparedTableSchema
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_jobs import SqlMergeFollowupJob


class _MergeJob(SqlMergeFollowupJob):
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


class MergesKeyByKey(SqlJobClientBase):
    """A client of dlt's that merges this way."""

    def _create_merge_followup_jobs(self, table_chain: Sequence[PreparedTableSchema]) -> list[FollowupJobRequest]:
        return [_MergeJob.from_table_chain(table_chain, self.sql_client)]
