"""A company and a warehouse per test; changes of the clock and of the books are the test's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pipelines.warehouse import Warehouse, warehouse_at
from tests.conftest import DATABASES, ON_POSTGRES
from tests.pipelines.company import Company, file_with_tables, make_sandbox
from tests.postgres import Databases

MakeCompany = Callable[..., Company]
MakeWarehouse = Callable[[str], Warehouse]


@pytest.fixture
def warehouse(warehouse_of: MakeWarehouse) -> Warehouse:
    """An empty one."""
    return warehouse_of("postgres" if ON_POSTGRES else "duckdb")


@pytest.fixture
def warehouse_of(request: pytest.FixtureRequest, tmp_path: Path) -> MakeWarehouse:
    """Makes a warehouse in either database; Postgres is started only where it is asked for."""

    def make(database: str) -> Warehouse:
        if database == "postgres":
            return warehouse_at(request.getfixturevalue("postgres_url"))
        return warehouse_at(f"duckdb:///{tmp_path / 'receivables.duckdb'}")

    return make


@pytest.fixture(params=DATABASES)
def any_warehouse(request: pytest.FixtureRequest, warehouse_of: MakeWarehouse) -> Warehouse:
    """Each test runs on both databases."""
    return warehouse_of(request.param)


@pytest.fixture
def warehouse_with_tables(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    """One in which there was another company before."""
    if ON_POSTGRES:
        databases: Databases = request.getfixturevalue("databases")
        with databases.new(template=request.getfixturevalue("postgres_with_tables")) as url:
            yield warehouse_at(url)
    else:
        path = tmp_path / "receivables.duckdb"
        path.write_bytes(file_with_tables())
        yield warehouse_at(f"duckdb:///{path}")


@pytest.fixture
def make_company(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeCompany]:
    """Starts a sandbox; the company in it is not synchronized yet."""
    with ExitStack() as running:

        def make(
            customers: int = 12, invoices: int = 80, warehouse: Warehouse | None = None, **settings: Any
        ) -> Company:
            server = running.enter_context(make_sandbox(customers=customers, invoices=invoices, **settings))
            warehouse = warehouse or request.getfixturevalue("warehouse_with_tables")
            return Company(server, warehouse, tmp_path / "dlt")

        yield make


@pytest.fixture
def company(make_company: MakeCompany) -> Company:
    """A small company, not synchronized yet."""
    return make_company()
