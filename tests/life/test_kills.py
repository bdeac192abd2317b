"""kill -9 at any stage of a sync: the next that ends is equal to the truth; no token is lost but in one instant."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from time import time_ns

import pytest

from resources.tokens import AuthorizationLost
from tests.life.mortal import Mortal
from tests.model.places import COSTS_THE_TOKEN, PLACES, PLACES_IN_DLT
from tests.pipelines.company import make_sandbox
from tests.program import Program

TOKENS = {"before a refresh", "after saving a token"} | COSTS_THE_TOKEN
KILLED = [
    ("DuckDB", [("within a merge", 2)]),
    ("DuckDB", [("with some tables copied", 1), ("between pages", 3)]),
    ("DuckDB", [("before a merge", 2), ("before landing what is collected", 1)]),
    ("DuckDB", [("within a merge", 2), ("after extract", 1)]),
    ("DuckDB", [("after a merge", 2), ("after normalize", 1)]),
    ("DuckDB", [("after landing what was collected", 1), ("before landing", 1)]),
    ("DuckDB", [("before deleting", 1), ("between deletions", 1)]),
    ("DuckDB", [("just after the cursor", 1), ("between load and cursor", 1)]),
    ("DuckDB", [("after landing", 1), ("before marking", 1)]),
    ("Postgres", [("between load and cursor", 1)]),
    ("Postgres", [("between deletions", 1), ("with some tables copied", 1)]),
    ("Postgres", [("after a merge", 2), ("within a merge", 2)]),
    ("Postgres", [("before marking", 1), ("between pages", 3)]),
]
"""Where one sync dies, and then the next: places, with the time at which it comes by; where it matters which database
it is, in both. What is deleted by itself is in two of dlt's own tables."""

STAGES_OF_A_FULL_SYNC = [
    ("DuckDB", "before collecting", 2, "full"), ("Postgres", "with some tables copied", 4, "full"),
    ("DuckDB", "after collecting", 2, "full"), ("Postgres", "after collecting", 2, "hourly"),
    ("DuckDB", "within a merge", 2, "full"), ("Postgres", "within a merge", 2, "full"),
    ("Postgres", "after a merge", 2, "full"), ("DuckDB", "after a merge", 3, "hourly"),
    ("DuckDB", "between load and cursor", 3, "full"),
]  # fmt: skip
"""Those where it matters that a list comes in pieces, and which sync comes next."""


def test_every_place_is_a_stage() -> None:
    tried = {place for _, kills in KILLED for place, _ in kills} | {place for _, place, *_ in STAGES_OF_A_FULL_SYNC}
    beside = {"before a request", "before loading", "after loading"}
    assert tried | TOKENS | beside == {place.partition(" (")[0] for place in (*PLACES, *PLACES_IN_DLT)}


def test_who_has_the_tables_in_postgres_has_the_connections_there_too(mortal: Mortal) -> None:
    """What is killed around a refresh holds the store's lock: a file's in the one case, a row's in the other."""
    in_a_file = (mortal.home / "connections.sqlite").exists()
    assert in_a_file == mortal.warehouse_url.startswith("duckdb")
    if not in_a_file:
        with mortal.installation().warehouse.session() as session:
            assert session.rows("SELECT company_id FROM pennylane_sync.connections") == [(mortal.id,)]


@pytest.fixture(scope="module")
def mortals(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Mortal]]:
    """A synchronized company by database; each test leaves it equal to the truth for the next one."""
    with ExitStack() as running:

        @functools.cache
        def made(database: str) -> Mortal:
            home = tmp_path_factory.mktemp("mortal") / "home"
            home.mkdir()
            url = f"duckdb:///{home / 'receivables.duckdb'}"
            if database == "Postgres":
                server = request.getfixturevalue("postgres_server")
                name = f"mortal_{time_ns()}"
                server.run(f"CREATE DATABASE {name}")
                url = server.url(name)
            sandbox = make_sandbox(customers=8, invoices=40, frozen=False, start=datetime.now(UTC))
            company = Mortal(running.enter_context(sandbox), home, url)
            company.connect()
            company.sync()
            return company

        yield made


@pytest.fixture(params=["DuckDB", "Postgres"])
def mortal(request: pytest.FixtureRequest, mortals: Callable[[str], Mortal]) -> Mortal:
    return mortals(request.param)


def stage_in(mortal: Mortal, stage: str) -> str:
    database = "DuckDB" if mortal.warehouse_url.startswith("duckdb") else "Postgres"
    return stage if stage in (*PLACES, *PLACES_IN_DLT) else f"{stage} ({database})"


@pytest.mark.parametrize(("mortal", "kills"), KILLED, indirect=["mortal"], ids=str)
def test_what_one_or_two_killed_syncs_left_behind_is_made_good_by_the_next(
    mortal: Mortal, kills: list[tuple[str, int]]
) -> None:
    for stage, time in kills:
        mortal.change()
        assert mortal.differences() != []
        assert mortal.sync_killed_at(stage_in(mortal, stage), time, full=False)
        assert mortal.installation().connections.get(mortal.id).state == "active"  # nobody is thought to work on it
    mortal.sync()
    assert mortal.differences() == []


@pytest.mark.parametrize(("mortal", "stage", "time", "then"), STAGES_OF_A_FULL_SYNC, indirect=["mortal"])
def test_a_full_sync_killed_at_any_stage_is_made_good_by_the_next(
    mortal: Mortal, stage: str, time: int, then: str
) -> None:
    mortal.change()
    assert mortal.sync_killed_at(stage_in(mortal, stage), time, full=True)
    mortal.sync(full=then == "full")
    assert mortal.differences() == []


@pytest.mark.parametrize("stage", ["before a refresh", "after saving a token"])
def test_no_token_is_lost_by_a_kill_around_its_refresh(mortal: Mortal, stage: str) -> None:
    mortal.connect(token_lasts=timedelta(minutes=5))
    mortal.change()
    mortal.server.sandbox.tokens.reused_refresh_tokens = 0

    assert mortal.sync_killed_at(stage, 1, full=False)
    mortal.sync()

    assert mortal.server.sandbox.tokens.reused_refresh_tokens == 0
    assert mortal.differences() == []


@pytest.mark.parametrize("stage", sorted(COSTS_THE_TOKEN))
def test_a_kill_between_a_tokens_refresh_and_its_saving_asks_to_authorize_again(mortal: Mortal, stage: str) -> None:
    mortal.connect(token_lasts=timedelta(minutes=5))
    mortal.change()

    assert mortal.sync_killed_at(stage, 1, full=False)
    with pytest.raises(AuthorizationLost, match=f"Company {mortal.id}: .* pennylane-sync connect"):
        mortal.sync()

    assert mortal.installation().connections.get(mortal.id).state == "needs_authorization"
    said = Program(mortal.home, mortal.server.url, WAREHOUSE_URL=mortal.warehouse_url).fails("sync")
    assert "must be authorized again: pennylane-sync connect" in said

    mortal.connect()
    mortal.sync()
    assert mortal.differences() == []
