"""The database that the tables live in: a DuckDB file or a Postgres server, opened for moments only."""

from pathlib import Path

from pipelines.warehouse.base import STAGING, Merge, Warehouse, staging_layout
from pipelines.warehouse.duckdb_file import DuckDBWarehouse
from pipelines.warehouse.postgres_server import PostgresWarehouse
from pipelines.warehouse.session import Relation, Session, id_list, what_went_wrong

__all__ = [
    "STAGING",
    "DuckDBWarehouse",
    "Merge",
    "PostgresWarehouse",
    "Relation",
    "Session",
    "Warehouse",
    "id_list",
    "staging_layout",
    "warehouse_at",
    "what_went_wrong",
]


def warehouse_at(url: str) -> Warehouse:
    """The warehouse at `duckdb:///path` or `postgresql://...`."""
    if url.startswith("duckdb:///"):
        return DuckDBWarehouse(Path(url.removeprefix("duckdb:///")))
    return PostgresWarehouse(url)
