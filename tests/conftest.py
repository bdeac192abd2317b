"""Which database the tests run on, and servers for those that want Postgres in any case.

`PENNYLANE_SYNC_TEST_WAREHOUSE` is `postgres` for the server that comes from a wheel, or the address of a database whose
user may make others. Without it each test has a DuckDB file of its own, and those of both databases run on both.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.landing import Landing
from pipelines.warehouse import warehouse_at
from tests.postgres import Databases, PostgresServer, running_postgres

CHOSEN = os.environ.get("PENNYLANE_SYNC_TEST_WAREHOUSE", "duckdb")
ON_POSTGRES = CHOSEN != "duckdb"
DATABASE = "postgres" if ON_POSTGRES else "duckdb"
DATABASES = ["postgres"] if ON_POSTGRES else ["duckdb", "postgres"]
"""On which those tests run that are of both."""


def pytest_report_header() -> str:
    server = "the one from a wheel" if CHOSEN == "postgres" else "the one whose address was given"
    return f"warehouse: Postgres, {server}" if ON_POSTGRES else "warehouse: DuckDB"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that may take minutes, by a time limit of their own, begin first: nobody waits for one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)
    for item in items:
        if ON_POSTGRES and (only := item.get_closest_marker("duckdb")):
            item.add_marker(pytest.mark.skip(reason=f"DuckDB alone: {only.args[0]}"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server per test process, started in about a second; its administrator is ours."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Databases:
    """Where databases can be made: the server above, or the one whose address was given."""
    if CHOSEN not in ("duckdb", "postgres"):
        return Databases(CHOSEN)
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return Databases(server.url("postgres"))


@pytest.fixture
def postgres_url(databases: Databases) -> Iterator[str]:
    """The address, with a password, of an empty database that only this test sees."""
    with databases.new() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_with_tables(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database in which there was another company before, to be copied: making tables takes longer than that."""
    with databases.new() as url:
        with Landing.opened(warehouse_at(url), 1, Path(tmp_path_factory.mktemp("dlt"))):
            pass
        yield url
