from tests.homes import left_out, program, sandbox, synced, synced_home
from tests.pipelines.conftest import (
    company,
    make_company,
    plain_loading,
    warehouse,
    warehouse_of,
    warehouse_with_tables,
)

__all__ = [
    "company",
    "left_out",
    "make_company",
    "plain_loading",
    "program",
    "sandbox",
    "synced",
    "synced_home",
    "warehouse",
    "warehouse_of",
    "warehouse_with_tables",
]
