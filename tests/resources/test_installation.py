"""What asks Pennylane for a company, one after the other in one process, knows what was asked of it before."""

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


def test_steps_of_a_run_keep_one_pace_and_count_their_own_requests(
    installation: Installation, connection: Connection
) -> None:
    first = installation.pennylane(connection)
    headers = {"ratelimit-limit": "25", "ratelimit-remaining": "24", "ratelimit-reset": "1000000005"}
    first.pacer.release(first.pacer.acquire(), {**headers, "date": "Sun, 09 Sep 2001 01:46:41 GMT"})
    assert first.paced.requests == 1

    second = installation.pennylane(connection)
    second.pacer.release(second.pacer.acquire(), {**headers, "ratelimit-remaining": "23"})

    assert second.pacer._others() == 0
    assert second.paced.requests == 1


def test_a_company_has_a_pace_of_its_own(installation: Installation, connection: Connection) -> None:
    other = installation.connections.save(2, "Two", "api_token", Credential("b"), [])
    assert installation.pennylane(connection).pacer is not installation.pennylane(other).pacer


def test_what_was_known_of_the_limit_long_ago_is_forgotten(installation: Installation, connection: Connection) -> None:
    now = [1000.0]
    pacer = installation.pennylane(connection).pacer
    pacer._clock = lambda: now[0]
    pacer.release(
        pacer.acquire(), {"ratelimit-limit": "25", "ratelimit-remaining": "3", "ratelimit-reset": "1000000005"}
    )
    assert installation.pennylane(connection).pacer is pacer
    now[0] += 3600
    assert installation.pennylane(connection).pacer is not pacer


def test_after_a_sync_that_was_stopped_the_next_one_can_ask(installation: Installation, connection: Connection) -> None:
    stopped = installation.pennylane(connection)
    told = {"ratelimit-limit": "25", "ratelimit-remaining": "24", "ratelimit-reset": "1000000005"}
    stopped.pacer.release(stopped.pacer.acquire(), {**told, "date": "Sun, 09 Sep 2001 01:46:41 GMT"})
    assert installation.pennylane(connection).pacer is stopped.pacer
    stopped.stop()
    with pytest.raises(Stopped):
        stopped.pacer.acquire()
    assert installation.pennylane(connection).pacer.acquire()
