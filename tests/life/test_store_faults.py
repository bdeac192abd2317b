"""The connections store fails in the middle of a sync: one clear line, nothing lost, and the next sync is whole."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from resources.connections import TokenSlot
from resources.credential import Credential
from resources.installation import USER_ERRORS
from resources.store import StoreUnavailable
from resources.tokens import TokenSource
from sandbox.changes.randomly import change_randomly
from tests.model.office import Office
from tests.pipelines.company import DAY, make_sandbox
from tests.pipelines.truth import differences, expected, held
from tests.postgres import PostgresServer, running_postgres


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that may be stopped: no other test's."""
    with running_postgres() as server:
        yield server


def _patient(kind: type[TokenSource], *of: Any, **_: object) -> TokenSource:
    return kind(*of)


@pytest.fixture
def office(tmp_path: Path, own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """A company whose connection is kept in Postgres, and its tables in a file; its first sync is done.

    A token that cannot be saved is tried again in real time.
    """
    monkeypatch.setattr("tests.model.office.TokenSource", partial(_patient, TokenSource))
    database = tmp_path.name.lower()
    own_server.run(f'CREATE DATABASE "{database}"')
    own_server.run(f'ALTER DATABASE "{database}" SET synchronous_commit = on')  # as is everywhere but in tests
    with make_sandbox(customers=6, invoices=18) as sandbox:
        warehouse = f"duckdb:///{tmp_path / 'receivables.duckdb'}"
        office = Office(sandbox, tmp_path, warehouse, own_server.url(database))
        office.connect("oauth")
        office.sync("first", full=False)
        change_randomly(sandbox.world, count=5)
        office.time.pass_(DAY)  # the access token is good no more
        yield office


def _differences(office: Office) -> list[str]:
    return differences(held(office.warehouse, office.company_id), expected(office.server.world, office.server.url))


@pytest.mark.parametrize("request_", [2, 10])
def test_a_store_that_restarts_is_noticed_by_nobody_or_told(
    office: Office, own_server: PostgresServer, request_: int
) -> None:
    def restart(number: int) -> None:
        if number == request_:
            own_server.stop()
            own_server.start()

    office.at_request = restart
    try:
        office.sync("disturbed", full=False)
    except USER_ERRORS as error:
        assert isinstance(error, StoreUnavailable)
        assert "\n" not in str(error)
    office.at_request = lambda _: None
    office.time.pass_(120)
    office.sync("next", full=False)
    assert _differences(office) == []
    assert office.connections.get(office.company_id).last_error is None


@pytest.mark.parametrize("request_", [1, 10])
def test_a_store_that_stays_down_is_told_and_costs_nothing_once_it_is_up(
    office: Office, own_server: PostgresServer, request_: int
) -> None:
    def stop(number: int) -> None:
        if number == request_:
            own_server.stop()

    office.at_request = stop
    with pytest.raises(StoreUnavailable, match=r"connections store .* cannot be used"):
        office.sync("disturbed", full=False)
    own_server.start()
    office.at_request = lambda _: None
    office.time.pass_(120)
    office.sync("next", full=False)
    assert _differences(office) == []


def test_a_store_that_fails_between_the_refresh_and_the_saving_costs_no_authorization(
    office: Office, own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, failures = TokenSlot.replace, iter([True])

    def failing(slot: TokenSlot, credential: Credential) -> None:
        if next(failures, False):
            own_server.stop()
            own_server.start()
        replace(slot, credential)

    monkeypatch.setattr(TokenSlot, "replace", failing)
    office.sync("disturbed", full=False)
    assert next(failures, None) is None
    assert office.server.sandbox.tokens.reused_refresh_tokens == 0
    assert _differences(office) == []
