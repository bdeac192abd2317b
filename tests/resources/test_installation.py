"""What asks Pennylane for a company knows what was asked of it before, by whatever process of the installation."""

from pathlib import Path

import pytest

from pipelines.pacing import Stopped
from resources.connections import Connection
from resources.credential import Credential
from resources.installation import Installation
from resources.settings import Settings


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    installation = Installation()
    installation.settings = Settings(pennylane_sync_home=tmp_path / "home")
    return installation


@pytest.fixture
def connection(installation: Installation) -> Connection:
    return installation.connections.save(1, "One", "api_token", Credential("a"), [])


TOLD = {"ratelimit-limit": "25", "ratelimit-reset": "1000000005", "date": "Sun, 09 Sep 2001 01:46:41 GMT"}


def test_steps_of_a_run_keep_one_pace_and_count_their_own_requests(
    installation: Installation, connection: Connection
) -> None:
    """So does a sync after the sensor, or `verify` after a sync, in a process of its own."""
    for remaining, waits in ((24, False), (0, True)):
        step = installation.pennylane(connection).pacer
        step.release(step.acquire(), {**TOLD, "ratelimit-remaining": str(remaining)})
        assert step.statistics.requests == 1
        assert (installation.pennylane(connection).pacer._ask()[0] > 0.3) == waits


def test_a_company_has_a_pace_of_its_own(installation: Installation, connection: Connection) -> None:
    other = installation.connections.save(2, "Two", "api_token", Credential("b"), [])
    pacer = installation.pennylane(connection).pacer
    pacer.release(pacer.acquire(), TOLD, refused_for=3600)
    assert installation.pennylane(connection).pacer._ask()[0] > 3000
    assert installation.pennylane(other).pacer._ask()[0] == 0


def test_after_a_sync_that_was_stopped_the_next_one_can_ask(installation: Installation, connection: Connection) -> None:
    stopped = installation.pennylane(connection)
    stopped.pacer.release(stopped.pacer.acquire(), {**TOLD, "ratelimit-remaining": "24"})
    stopped.stop()
    with pytest.raises(Stopped):
        stopped.pacer.acquire()
    assert installation.pennylane(connection).pacer.acquire()
