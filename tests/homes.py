"""Homes to begin with: an empty one, and one whose first company is synchronized (made once per test process)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from sandbox.server import SandboxServer
from tests.conftest import ON_POSTGRES
from tests.postgres import Databases
from tests.program import Program, copied, small_sandbox


class Home(NamedTuple):
    """A folder, and the address of its tables where these are in Postgres."""

    folder: Path
    database: str


@contextmanager
def _database(request: pytest.FixtureRequest, template: str = "") -> Iterator[str]:
    """The address of a Postgres database of its own, where the tests run on Postgres."""
    if ON_POSTGRES:
        databases: Databases = request.getfixturevalue("databases")
        with databases.new(template) as url:
            yield url
    else:
        yield ""


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with small_sandbox() as server:
        yield server


@pytest.fixture
def program(request: pytest.FixtureRequest, tmp_path: Path, sandbox: SandboxServer) -> Iterator[Program]:
    """Nothing was ever done with it."""
    with _database(request) as database:
        yield Program(tmp_path / "home", sandbox.url, WAREHOUSE_URL=database)


@pytest.fixture(scope="session")
def synced_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The first company is connected by its API token, two accounts are left out, and the first sync has run."""
    folder = tmp_path_factory.mktemp("synced") / "home"
    with _database(request) as database:
        with small_sandbox() as server:
            left_out = ",".join(str(customer.id) for customer in list(server.world.customers)[:2])
            program = Program(folder, server.url, WAREHOUSE_URL=database)
            ran = program.run("connect", "--token-stdin", "--exclude", left_out, stdin=server.token())
            assert ran.status == 0, ran
        yield Home(folder, database)


@pytest.fixture
def synced(
    request: pytest.FixtureRequest, tmp_path: Path, sandbox: SandboxServer, synced_home: Home
) -> Iterator[Program]:
    """A copy of that home, and a sandbox of its own in the same state."""
    with _database(request, synced_home.database) as database:
        yield Program(copied(synced_home.folder, tmp_path / "home"), sandbox.url, WAREHOUSE_URL=database)


@pytest.fixture
def left_out(sandbox: SandboxServer) -> list[int]:
    """The accounts that are left out in `synced`."""
    return [customer.id for customer in list(sandbox.world.customers)[:2]]
