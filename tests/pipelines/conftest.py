"""A company and a warehouse per test; changes of the clock and of the books are the test's own."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, Protocol

import pytest

from pipelines import loading
from pipelines.warehouse import Warehouse, warehouse_at
from tests.conftest import DATABASE, DATABASES, ON_POSTGRES
from tests.model.plain_loading import without_dlt
from tests.pipelines.company import HOUR, Company, file_after_first_sync, file_with_tables, make_sandbox
from tests.postgres import Databases

MakeCompany = Callable[..., Company]


class MakeSynced(Protocol):
    def __call__(self, customers: int = 12, invoices: int = 80, *, database: str = DATABASE) -> Company: ...


MakeWarehouse = Callable[[str], Warehouse]


@pytest.fixture
def warehouse(warehouse_of: MakeWarehouse) -> Warehouse:
    """An empty one."""
    return warehouse_of(DATABASE)


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
def plain_loading(request: pytest.FixtureRequest) -> Iterator[None]:
    """For tests of what is asked for and decided, not of how it is loaded; into Postgres dlt loads all the same."""
    with_dlt = ON_POSTGRES or request.node.get_closest_marker("through_dlt")
    with nullcontext() if with_dlt else without_dlt():
        yield


@pytest.fixture
def company(make_company: MakeCompany) -> Company:
    """A small company, not synchronized yet."""
    return make_company()


@pytest.fixture(scope="session")
def postgres_after_first_sync(
    databases: Databases, postgres_with_tables: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int, int], str]]:
    """The address of a database that a company of so many customers and invoices was synchronized into."""
    with ExitStack() as kept:

        @functools.cache
        def made(customers: int, invoices: int) -> str:
            url = kept.enter_context(databases.new(template=postgres_with_tables))
            with make_sandbox(customers=customers, invoices=invoices) as server:
                Company(server, warehouse_at(url), tmp_path_factory.mktemp("dlt")).sync()
            return url

        yield made


@pytest.fixture
def make_synced(request: pytest.FixtureRequest, tmp_path: Path, make_company: MakeCompany) -> Iterator[MakeSynced]:
    """Starts a sandbox in the state after a first sync, with a copy of the warehouse that such a sync has filled.

    It was that of another sandbox: its token, its working files, its progress and what it counted are not here.
    """
    with ExitStack() as kept:

        def make(customers: int = 12, invoices: int = 80, *, database: str = DATABASE) -> Company:
            if database == "postgres":
                databases: Databases = request.getfixturevalue("databases")
                template = request.getfixturevalue("postgres_after_first_sync")(customers, invoices)
                url = kept.enter_context(databases.new(template=template))
            else:
                path = tmp_path / "receivables.duckdb"
                path.write_bytes(file_after_first_sync(customers, invoices, loading.Loader))
                url = f"duckdb:///{path}"
            company = make_company(customers, invoices, warehouse_at(url))
            company.world.clock.advance(HOUR)
            return company

        yield make
