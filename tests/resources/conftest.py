import os
from pathlib import Path

import pytest
from hypothesis import settings

from resources.connections import Connections
from resources.credential import Credential
from resources.vault import Vault
from tests.resources.fakes import FakeClock
from tests.resources.pennylane import pennylane

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

__all__ = ["pennylane"]


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting and no `.env` of the machine that runs the tests."""
    for name in list(os.environ):
        if name.startswith("PENNYLANE_") or name in ("WAREHOUSE_URL", "CONNECTIONS_URL"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'connections.sqlite'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def connections(store_url: str, tmp_path: Path, clock: FakeClock) -> Connections:
    return Connections(store_url, Vault(tmp_path / "home"), clock)


@pytest.fixture
def credential(clock: FakeClock) -> Credential:
    return Credential("access-SECRET-1", "refresh-SECRET-1", clock.now)
