import resource
import sqlite3
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest

from resources.connections import Connections, TokenSlot, UnknownConnection
from resources.credential import Credential
from resources.oauth import SCOPES
from resources.oauth_session import OAuthRefused, PennylaneUnreachable
from resources.store import StoreUnavailable
from resources.tokens import AuthorizationLost, Disconnected, TokenSource
from resources.vault import Vault
from tests.ports import free_port
from tests.resources.fakes import FakeClock
from tests.resources.pennylane import Pennylane
from tests.resources.workers import refresh


class Waits(list[float]):
    """Takes the place of sleep and remembers how long."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def first(pennylane: Pennylane, connections: Connections) -> Credential:
    """The credential of a company that has just been connected."""
    return pennylane.connect(connections)


@pytest.fixture
def tokens(pennylane: Pennylane, connections: Connections, first: Credential, waits: Waits) -> TokenSource:
    return TokenSource(connections, pennylane.company_id, pennylane.settings, sleep=waits)


def stored(connections: Connections, company_id: int) -> Credential:
    with connections.token_slot(company_id) as slot:
        return slot.credential()


def test_a_token_is_kept_in_memory_while_it_is_good(
    tokens: TokenSource, first: Credential, pennylane: Pennylane, connections: Connections, clock: FakeClock
) -> None:
    assert tokens.access_token() == first.access_token
    connections.disconnect(pennylane.company_id)
    clock.pass_(hours=23)
    assert tokens.access_token() == first.access_token
    assert pennylane.token_calls() == 1


def test_a_token_is_renewed_ten_minutes_before_it_expires(
    tokens: TokenSource, first: Credential, pennylane: Pennylane, connections: Connections, clock: FakeClock
) -> None:
    clock.pass_(hours=23, minutes=49)
    assert tokens.access_token() == first.access_token
    clock.pass_(minutes=1)
    second = tokens.access_token()
    assert second != first.access_token
    assert pennylane.accepts(second)
    assert not pennylane.accepts(first.access_token)
    kept = stored(connections, pennylane.company_id)
    assert kept.access_token == second
    assert kept.refresh_token != first.refresh_token
    assert kept.expires_at == clock.now + timedelta(days=1)
    assert tokens.access_token() == second
    assert pennylane.token_calls() == 2


def test_a_token_is_not_renewed_while_the_store_s_disk_is_full(
    pennylane: Pennylane, tmp_path: Path, clock: FakeClock, waits: Waits
) -> None:
    """The new pair could not be saved, and the old one would be dead."""
    file = tmp_path / "connections.sqlite"
    connections = Connections(f"sqlite:///{file}", Vault(tmp_path), clock)
    pennylane.connect(connections)
    tokens = TokenSource(connections, pennylane.company_id, pennylane.settings, sleep=waits)
    pennylane.days_pass(1)
    with full_disk(file), pytest.raises(StoreUnavailable):
        tokens.access_token()
    assert pennylane.token_calls() == 1
    assert pennylane.accepts(tokens.access_token())
    assert pennylane.token_calls() == 2


@contextmanager
def full_disk(file: Path) -> Iterator[None]:
    """What SQLite appends is refused; what is there can be read. Its log stays while somebody has the file open."""
    log = file.with_name(f"{file.name}-wal")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        while not log.exists() or log.stat().st_size < 65_536:  # more than any other file that it writes to
            connection.execute("UPDATE connections SET company_name = hex(randomblob(8))")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_for_three_months_of_hourly_use_each_refresh_token_is_used_once(
    tokens: TokenSource, pennylane: Pennylane
) -> None:
    for _day in range(100):
        pennylane.days_pass(1)
        assert pennylane.accepts(tokens.access_token())
    assert pennylane.token_calls() == 101
    assert pennylane.reused_refresh_tokens() == 0


def test_a_refused_token_is_renewed_at_once(tokens: TokenSource, first: Credential, pennylane: Pennylane) -> None:
    pennylane.control("POST", "clock", advance_seconds=86_400)
    assert not pennylane.accepts(tokens.access_token())
    assert pennylane.accepts(tokens.renewed(after=first.access_token))


def test_what_another_process_has_renewed_is_taken_over(
    tokens: TokenSource, first: Credential, pennylane: Pennylane, connections: Connections
) -> None:
    other = TokenSource(connections, pennylane.company_id, pennylane.settings)
    assert tokens.access_token() == other.access_token() == first.access_token
    second = other.renewed(after=first.access_token)
    assert tokens.renewed(after=first.access_token) == second
    assert tokens.renewed(after=first.access_token) == tokens.access_token() == second
    assert pennylane.token_calls() == 2


def test_processes_that_are_refused_together_refresh_once(
    first: Credential, pennylane: Pennylane, store_url: str, tmp_path: Path
) -> None:
    used = first.access_token
    with ProcessPoolExecutor(6, mp_context=get_context("spawn")) as processes:
        for round_ in range(1, 4):
            pennylane.disturb_token_calls(kind="latency", seconds=0.3)
            tasks = [
                processes.submit(refresh, store_url, tmp_path / "home", pennylane.settings, pennylane.company_id, used)
                for _ in range(6)
            ]
            (used,) = {task.result() for task in tasks}
            assert pennylane.token_calls() == 1 + round_
    assert pennylane.accepts(used)
    assert pennylane.reused_refresh_tokens() == 0


def test_threads_that_need_a_token_together_refresh_once(
    tokens: TokenSource, first: Credential, pennylane: Pennylane
) -> None:
    pennylane.days_pass(1)
    with ThreadPoolExecutor(8) as threads:
        used = set(threads.map(lambda _: tokens.access_token(), range(16)))
        assert len(used) == 1
        used |= set(threads.map(lambda _: tokens.renewed(after=first.access_token), range(16)))
    assert len(used) == 1
    assert pennylane.token_calls() == 2
    assert pennylane.reused_refresh_tokens() == 0


@pytest.mark.parametrize("how", ["90 days pass", "revoked at Pennylane"])
def test_an_authorization_that_is_lost_is_recorded_and_says_what_to_do(
    how: str, tokens: TokenSource, pennylane: Pennylane, connections: Connections, clock: FakeClock
) -> None:
    if how == "90 days pass":
        pennylane.days_pass(90)
    else:
        pennylane.control("POST", "tokens/revoke_all")
        clock.pass_(days=1)
    with pytest.raises(AuthorizationLost, match=rf"Company {pennylane.company_id}: .* pennylane-sync connect"):
        tokens.access_token()
    assert connections.get(pennylane.company_id).state == "needs_authorization"
    calls = pennylane.token_calls()
    with pytest.raises(AuthorizationLost):
        tokens.access_token()
    assert pennylane.token_calls() == calls

    second = pennylane.connect(connections)
    assert tokens.access_token() == second.access_token
    assert connections.get(pennylane.company_id).state == "connected"


def test_an_undocumented_401_for_a_dead_refresh_token_counts_as_lost_too(
    tokens: TokenSource, pennylane: Pennylane, connections: Connections, clock: FakeClock
) -> None:
    clock.pass_(days=1)
    pennylane.disturb_token_calls(kind="status", status=401, times=None)
    with pytest.raises(AuthorizationLost):
        tokens.access_token()
    assert connections.get(pennylane.company_id).state == "needs_authorization"


def test_a_company_connected_again_while_its_old_token_is_refused_is_not_lost(
    tokens: TokenSource, pennylane: Pennylane, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    pennylane.days_pass(90)
    again: list[Credential] = []
    token_slot = connections.token_slot

    @contextmanager
    def then_connect_again(company_id: int) -> Iterator[TokenSlot]:
        try:
            with token_slot(company_id) as slot:
                yield slot
        finally:
            if not again:
                again.append(pennylane.connect(connections))

    monkeypatch.setattr(connections, "token_slot", then_connect_again)
    assert tokens.access_token() == again[0].access_token
    assert connections.get(pennylane.company_id).state == "connected"


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 503}, {"kind": "plain", "status": 429}, {"kind": "html"}]
)
def test_trouble_at_pennylane_is_waited_out(
    fault: dict[str, object], tokens: TokenSource, pennylane: Pennylane, clock: FakeClock, waits: Waits
) -> None:
    clock.pass_(days=1)
    pennylane.disturb_token_calls(**fault, times=3)
    assert pennylane.accepts(tokens.access_token())
    assert len(waits) == 3
    assert all(0 < wait <= 10 for wait in waits)


def test_trouble_that_stays_is_said_and_nothing_is_lost(
    tokens: TokenSource, pennylane: Pennylane, connections: Connections, clock: FakeClock
) -> None:
    clock.pass_(days=1)
    pennylane.disturb_token_calls(kind="status", status=500, times=None)
    with pytest.raises(PennylaneUnreachable, match=rf"company {pennylane.company_id} .*status 500"):
        tokens.access_token()
    assert connections.get(pennylane.company_id).state == "connected"
    pennylane.control("DELETE", "faults")
    assert pennylane.accepts(tokens.access_token())


def test_an_address_where_nobody_answers_is_said_and_nothing_is_lost(
    first: Credential, pennylane: Pennylane, connections: Connections, clock: FakeClock, waits: Waits
) -> None:
    clock.pass_(days=1)
    settings = pennylane.settings_with(pennylane_url=f"http://localhost:{free_port()}")
    tokens = TokenSource(connections, pennylane.company_id, settings, sleep=waits)
    with pytest.raises(PennylaneUnreachable, match="could not be reached"):
        tokens.access_token()
    assert stored(connections, pennylane.company_id) == first
    assert connections.get(pennylane.company_id).state == "connected"


def test_an_answer_lost_on_its_way_costs_the_authorization_and_is_said(
    tokens: TokenSource, pennylane: Pennylane, connections: Connections, clock: FakeClock
) -> None:
    """Pennylane has then used up the refresh token, and we have no other: nothing else is left to try."""
    clock.pass_(days=1)
    pennylane.disturb_token_calls(kind="cut")
    with pytest.raises(AuthorizationLost):
        tokens.access_token()
    assert connections.get(pennylane.company_id).state == "needs_authorization"


def test_a_wrong_client_secret_is_said_and_nothing_is_lost(
    first: Credential, pennylane: Pennylane, connections: Connections, clock: FakeClock
) -> None:
    clock.pass_(days=1)
    settings = pennylane.settings_with(pennylane_client_secret="wrong-SECRET")
    with pytest.raises(OAuthRefused, match="check PENNYLANE_CLIENT_ID and PENNYLANE_CLIENT_SECRET"):
        TokenSource(connections, pennylane.company_id, settings).access_token()
    assert connections.get(pennylane.company_id).state == "connected"


def test_an_api_token_is_used_as_it_is_until_pennylane_refuses_it(
    pennylane: Pennylane, connections: Connections, clock: FakeClock
) -> None:
    api_token = pennylane.server.token()
    connections.save(pennylane.company_id, "Company", "api_token", Credential(api_token), SCOPES)
    tokens = TokenSource(connections, pennylane.company_id, pennylane.settings_with(pennylane_client_id=None))
    pennylane.days_pass(400)
    assert pennylane.accepts(tokens.access_token())
    with pytest.raises(AuthorizationLost, match="API token") as caught:
        tokens.renewed(after=api_token)
    assert api_token not in "".join(traceback.format_exception(caught.value))
    assert connections.get(pennylane.company_id).state == "needs_authorization"


def test_a_replaced_api_token_is_found(pennylane: Pennylane, connections: Connections) -> None:
    connections.save(pennylane.company_id, "Company", "api_token", Credential("old"), SCOPES)
    tokens = TokenSource(connections, pennylane.company_id, pennylane.settings)
    assert tokens.access_token() == "old"
    connections.save(pennylane.company_id, "Company", "api_token", Credential("new"), SCOPES)
    assert tokens.renewed(after="old") == tokens.access_token() == "new"


def test_a_disconnected_company_has_no_token_and_has_not_lost_anything(
    tokens: TokenSource, pennylane: Pennylane, connections: Connections
) -> None:
    connections.disconnect(pennylane.company_id)
    with pytest.raises(Disconnected, match=f"Company {pennylane.company_id}"):
        tokens.access_token()
    assert connections.get(pennylane.company_id).state == "disconnected"


def test_an_unknown_company_is_said(pennylane: Pennylane, connections: Connections) -> None:
    with pytest.raises(UnknownConnection, match="404"):
        TokenSource(connections, 404, pennylane.settings).access_token()


def test_nothing_secret_shows_in_what_is_printed_logged_or_raised(
    tokens: TokenSource,
    first: Credential,
    pennylane: Pennylane,
    connections: Connections,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    pennylane.clock.pass_(days=1)
    shown = [repr(tokens)]
    second = stored(connections, pennylane.company_id)
    for fault in ({"kind": "status", "status": 500}, {"kind": "status", "status": 422}, {"kind": "html"}):
        pennylane.disturb_token_calls(**fault, times=4)
        with pytest.raises((PennylaneUnreachable, OAuthRefused)) as caught:
            tokens.access_token()
        shown += traceback.format_exception(caught.value)
        pennylane.control("DELETE", "faults")
    third = tokens.access_token()
    pennylane.control("POST", "tokens/revoke_all")
    with pytest.raises(AuthorizationLost) as lost:
        tokens.renewed(after=third)
    shown += [*traceback.format_exception(lost.value), repr(connections.all()), caplog.text]
    last = stored(connections, pennylane.company_id)
    everything = "\n".join(shown)
    for credential in (first, second, last):
        assert credential.access_token not in everything
        assert str(credential.refresh_token) not in everything
    assert "sandbox-secret" not in everything
