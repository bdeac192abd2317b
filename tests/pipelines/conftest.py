"""A company and a warehouse per test; changes of the clock and of the books are the test's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pipelines.warehouse import Warehouse, warehouse_at
from tests.pipelines.company import Company, file_with_tables, make_sandbox
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

MakeCompany = Callable[..., Company]
MakeWarehouse = Callable[[str], Warehouse]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return warehouse_at(f"duckdb:///{tmp_path / 'receivables.duckdb'}")


@pytest.fixture
def warehouse_of(request: pytest.FixtureRequest, warehouse: Warehouse) -> MakeWarehouse:
    """Makes a warehouse in either database; Postgres is started only where it is asked for."""

    def make(database: str) -> Warehouse:
        return warehouse_at(request.getfixturevalue("postgres_url")) if database == "postgres" else warehouse

    return make


@pytest.fixture(params=["duckdb", "postgres"])
def any_warehouse(request: pytest.FixtureRequest, warehouse_of: MakeWarehouse) -> Warehouse:
    """Each test runs on both databases."""
    return warehouse_of(request.param)


@pytest.fixture
def make_company(tmp_path: Path) -> Iterator[MakeCompany]:
    """Starts a sandbox; the company in it is not synchronized yet."""
    with ExitStack() as running:

        def make(
            customers: int = 12, invoices: int = 80, warehouse: Warehouse | None = None, **settings: Any
        ) -> Company:
            server = running.enter_context(make_sandbox(customers=customers, invoices=invoices, **settings))
            return Company(server, warehouse or warehouse_with_tables(), tmp_path / "dlt")

        def warehouse_with_tables() -> Warehouse:
            path = tmp_path / "receivables.duckdb"
            if not path.exists():
                path.write_bytes(file_with_tables())
            return warehouse_at(f"duckdb:///{path}")

        yield make


@pytest.fixture
def company(make_company: MakeCompany) -> Company:
    """A small company, not synchronized yet."""
    return make_company()
