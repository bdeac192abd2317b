import sqlite3
import traceback
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy.exc import StatementError

from resources.connections import Connections, UnknownConnection
from resources.credential import Credential
from resources.leases import LeaseLost
from resources.vault import KeyMismatch, Vault
from tests.resources.fakes import FakeClock

COMPANY = 2**62
SCOPES = ("customers:readonly", "customer_invoices:readonly")


@pytest.fixture
def connected(connections: Connections, credential: Credential) -> Connections:
    connections.save(COMPANY, "Boulangerie Née", "oauth", credential, SCOPES)
    return connections


def test_a_saved_connection_is_there_for_the_next_process(
    connected: Connections, store_url: str, tmp_path: Path, clock: FakeClock, credential: Credential
) -> None:
    connection = Connections(store_url, Vault(tmp_path / "home"), clock).get(COMPANY)
    assert connection.company_name == "Boulangerie Née"
    assert connection.kind == "oauth"
    assert connection.scopes == SCOPES
    assert connection.connected_at == clock.now
    assert connection.connected_at.tzinfo is UTC
    assert connection.state == "connected"
    with connected.token_slot(COMPANY) as slot:
        assert slot.credential() == credential


def test_times_keep_their_instant_whatever_zone_they_came_in(connected: Connections) -> None:
    paris = timezone(timedelta(hours=2))
    connected.record_success(COMPANY, datetime(2026, 9, 1, 12, 0, 0, 123456, paris), ready=True)
    assert connected.get(COMPANY).last_sync_at == datetime(2026, 9, 1, 10, 0, 0, 123456, UTC)


def test_the_life_of_a_connection_shows_in_its_state(connected: Connections, credential: Credential) -> None:
    def state() -> str:
        return connected.get(COMPANY).state

    assert state() == "connected"
    connected.activate(COMPANY)
    assert state() == "active"
    with connected.lease(COMPANY, "run-1", "hourly sync"):
        assert state() == "syncing"
    assert state() == "active"
    connected.record_authorization_lost(COMPANY, "Pennylane said no.")
    assert state() == "needs_authorization"
    connected.save(COMPANY, "Boulangerie Née", "oauth", credential, SCOPES)
    assert state() == "active"
    connected.disconnect(COMPANY)
    assert state() == "disconnected"


def test_connecting_again_keeps_what_the_person_had_set_up(
    connected: Connections, clock: FakeClock, credential: Credential
) -> None:
    connected.activate(COMPANY)
    activated_at = clock.now
    connected.exclude(COMPANY, [7], by="anne")
    connected.record_success(COMPANY, clock.now, ready=True)
    connected.record_failure(COMPANY, "Pennylane was down.")
    connected.record_authorization_lost(COMPANY, "Pennylane said no.")
    connected.disconnect(COMPANY)
    clock.pass_(days=40)

    connection = connected.save(COMPANY, "Née & Fils", "api_token", Credential("api-SECRET"), [])

    assert connection.state == "active"
    assert connection.company_name == "Née & Fils"
    assert connection.kind == "api_token"
    assert connection.activated_at == connection.last_sync_at == activated_at
    assert connection.connected_at == clock.now
    assert (connection.last_error, connection.authorization_lost, connection.disconnected_at) == (None, None, None)
    assert list(connected.excluded(COMPANY)) == [7]


def test_activating_twice_keeps_the_first_time(connected: Connections, clock: FakeClock) -> None:
    connected.activate(COMPANY)
    first = clock.now
    clock.pass_(hours=1)
    connected.activate(COMPANY)
    assert connected.get(COMPANY).activated_at == first


def test_a_success_ends_the_error_and_ready_tells_since_when(connected: Connections, clock: FakeClock) -> None:
    connected.record_failure(COMPANY, "Pennylane was down.")
    assert connected.get(COMPANY).last_error == "Pennylane was down."
    connected.record_success(COMPANY, clock.now, ready=False)
    assert connected.get(COMPANY).last_error is None
    assert connected.get(COMPANY).ready_at is None
    clock.pass_(hours=1)
    since = clock.now
    connected.record_success(COMPANY, since, ready=True)
    clock.pass_(hours=1)
    connected.record_success(COMPANY, clock.now, ready=True)
    assert connected.get(COMPANY).ready_at == since
    assert connected.get(COMPANY).last_sync_at == clock.now
    connected.record_success(COMPANY, clock.now, ready=False)
    assert connected.get(COMPANY).ready_at is None


def test_disconnecting_forgets_the_token_at_once_and_hands_it_over_to_be_revoked(
    connected: Connections, credential: Credential
) -> None:
    assert connected.disconnect(COMPANY) == credential
    with connected.token_slot(COMPANY) as slot:
        assert slot.disconnected
    assert connected.disconnect(COMPANY) is None


def test_disconnecting_works_without_the_key_too(connected: Connections, store_url: str, tmp_path: Path) -> None:
    other = Connections(store_url, Vault(tmp_path, SecretStr(Fernet.generate_key().decode())))
    assert other.disconnect(COMPANY) is None
    assert other.get(COMPANY).state == "disconnected"


def test_disconnecting_stops_the_run_in_progress(connected: Connections) -> None:
    with connected.lease(COMPANY, "run-1", "hourly sync") as lease:
        lease.check()
        connected.disconnect(COMPANY)
        with pytest.raises(LeaseLost, match="disconnected"):
            lease.check()


def test_without_the_key_the_status_can_be_read_and_the_token_cannot(
    connected: Connections, store_url: str, tmp_path: Path
) -> None:
    other = Connections(store_url, Vault(tmp_path, SecretStr(Fernet.generate_key().decode())))
    assert other.get(COMPANY).state == "connected"
    with pytest.raises(KeyMismatch), other.token_slot(COMPANY) as slot:
        slot.credential()


def test_what_is_changed_in_a_slot_is_dropped_when_its_block_fails(
    connected: Connections, credential: Credential
) -> None:
    with pytest.raises(RuntimeError), connected.token_slot(COMPANY) as slot:
        slot.replace(Credential("other"))
        raise RuntimeError
    with connected.token_slot(COMPANY) as slot:
        assert slot.credential() == credential


def test_the_one_that_is_meant_is_found_or_the_choice_is_shown(connections: Connections) -> None:
    with pytest.raises(UnknownConnection, match="No company is connected yet"):
        connections.find(None)
    connections.save(1, "One", "api_token", Credential("a"), [])
    assert connections.find(None).company_id == 1
    connections.save(2, "Two", "api_token", Credential("b"), [])
    assert connections.find(2).company_id == 2
    with pytest.raises(UnknownConnection, match=r"1 \(One\), 2 \(Two\)"):
        connections.find(None)
    with pytest.raises(UnknownConnection, match=r"Company 3 is not connected.*1 \(One\), 2 \(Two\)"):
        connections.find(3)
    connections.disconnect(1)
    assert connections.find(None).company_id == 2
    assert connections.find(1).company_id == 1
    connections.disconnect(2)
    with pytest.raises(UnknownConnection, match=r"1 \(One\), 2 \(Two\)"):
        connections.find(None)


def test_all_lists_every_company_by_id(connections: Connections) -> None:
    for company_id in (3, 1, 2):
        connections.save(company_id, "Name", "api_token", Credential("a"), [])
    connections.disconnect(2)
    assert [connection.company_id for connection in connections.all()] == [1, 2, 3]


def test_no_token_shows_in_anything_that_is_printed(connected: Connections, credential: Credential) -> None:
    with connected.token_slot(COMPANY) as slot:
        shown = [connected, connected.all(), credential, slot, slot.credential(), connected.lease]
        assert "SECRET" not in repr(shown) + str(shown) + f"{credential}"
    with pytest.raises(StatementError, match="without zone") as caught:
        connected.record_success(COMPANY, datetime(2026, 9, 1), ready=True)  # noqa: DTZ001
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


def test_tokens_lie_encrypted_in_a_file_for_its_owner_alone(tmp_path: Path, credential: Credential) -> None:
    file = tmp_path / "home" / "connections.sqlite"
    connections = Connections(f"sqlite:///{file}", Vault(tmp_path / "home"))
    connections.save(COMPANY, "Name", "oauth", credential, SCOPES)
    reader = sqlite3.connect(file)
    try:
        reader.execute("SELECT * FROM connections").fetchall()
        files = list((tmp_path / "home").iterdir())
        assert {path.name for path in files} >= {"connections.sqlite", "connections.sqlite-wal", "key"}
        for path in files:
            assert path.stat().st_mode & 0o077 == 0, path
            assert b"SECRET" not in path.read_bytes(), path
    finally:
        reader.close()
