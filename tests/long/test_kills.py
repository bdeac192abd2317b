"""kill -9 of a sync, hundreds of times, at random places and at random moments, in both databases."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from resources.tokens import AuthorizationLost
from tests.life.mortal import Mortal
from tests.long.tried import tried
from tests.model.places import COSTS_THE_TOKEN, PLACES, PLACES_IN_DLT
from tests.pipelines.company import make_sandbox

PARTS = 6
ROUNDS = 15
"""In each part: one or two kills, then a sync that makes them good."""

OTHERS = {"DuckDB": "(Postgres)", "Postgres": "(DuckDB)"}


@pytest.fixture(params=["DuckDB", "Postgres"])
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def mortal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Mortal]:
    home = tmp_path_factory.mktemp("mortal")
    url = f"duckdb:///{home / 'receivables.duckdb'}"
    if database == "Postgres":
        server, name = request.getfixturevalue("postgres_server"), f"mortal_{time.time_ns()}"
        server.run(f"CREATE DATABASE {name}")
        url = server.url(name)
    with make_sandbox(customers=8, invoices=40, frozen=False, start=datetime.now(UTC)) as sandbox:
        yield Mortal(sandbox, home, url)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_whenever_a_sync_is_killed_the_next_one_ends_equal_to_the_truth(
    mortal: Mortal, database: str, part: int
) -> None:
    chance = random.Random(part)  # noqa: S311
    places = sorted(one for one in (*PLACES, *PLACES_IN_DLT) if not one.endswith(OTHERS[database]))
    mortal.connect()
    for round_ in range(ROUNDS):
        token_is_lost = False
        if chance.random() < 0.3:
            mortal.connect(token_lasts=timedelta(minutes=5))
        mortal.change()
        for _ in range(chance.choice([1, 1, 2])):
            full = chance.random() < 0.3
            if chance.random() < 0.3:
                place, killed = "a random moment", mortal.sync_killed_after(chance.uniform(0.05, 3), full=full)
            else:
                place = chance.choice(places)
                killed = mortal.sync_killed_at(place, chance.choice([1, 1, 2, 3, 5, 10, 30]), full=full)
            token_is_lost |= killed and place in COSTS_THE_TOKEN | {"a random moment"}
            tried[f"kills, {database}: {place if killed else 'none, as it ended before'}"] += 1
            if token_is_lost:
                break
        _make_good(mortal, token_may_be_lost=token_is_lost, database=database)
        differences = mortal.differences()
        tried[f"kills, {database}: syncs compared with the truth afterwards"] += 1
        tried[f"kills, {database}: differences"] += len(differences)
        assert differences == [], f"part {part}, round {round_}"


def _make_good(mortal: Mortal, *, token_may_be_lost: bool, database: str) -> None:
    try:
        mortal.sync()
    except AuthorizationLost as lost:
        assert token_may_be_lost, lost
        assert mortal.installation().connections.get(mortal.id).state == "needs_authorization"
        tried[f"kills, {database}: authorizations lost in the one instant, and said so"] += 1
        mortal.connect()
        mortal.sync()
