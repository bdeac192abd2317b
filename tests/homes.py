"""Homes to begin with: an empty one, and one whose first company is synchronized (made once per test process)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.server import SandboxServer
from tests.program import Program, copied, small_sandbox


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with small_sandbox() as server:
        yield server


@pytest.fixture
def program(tmp_path: Path, sandbox: SandboxServer) -> Program:
    """Nothing was ever done with it."""
    return Program(tmp_path / "home", sandbox.url)


@pytest.fixture(scope="session")
def synced_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first company is connected by its API token, two accounts are left out, and the first sync has run."""
    home = tmp_path_factory.mktemp("synced") / "home"
    with small_sandbox() as server:
        left_out = ",".join(str(customer.id) for customer in list(server.world.customers)[:2])
        ran = Program(home, server.url).run("connect", "--token-stdin", "--exclude", left_out, stdin=server.token())
        assert ran.status == 0, ran
    return home


@pytest.fixture
def synced(tmp_path: Path, sandbox: SandboxServer, synced_home: Path) -> Program:
    """A copy of that home, and a sandbox of its own in the same state."""
    return Program(copied(synced_home, tmp_path / "home"), sandbox.url)


@pytest.fixture
def left_out(sandbox: SandboxServer) -> list[int]:
    """The accounts that are left out in `synced`."""
    return [customer.id for customer in list(sandbox.world.customers)[:2]]
