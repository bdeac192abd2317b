"""Every fault on every address that a sync asks: passing ones are overcome, lasting ones told, and nothing is lost."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.client import OneToken, Pennylane
from pipelines.errors import AuthorizationFailed, PennylaneUnreachable
from pipelines.tables import TABLES
from resources.connections import Connections
from resources.credential import Credential
from resources.oauth import SCOPES
from resources.settings import Settings
from resources.tokens import AuthorizationLost, TokenSource
from resources.vault import Vault
from sandbox import core
from sandbox.changes import customers, invoices, receipts
from tests.pipelines.company import DAY, Company
from tests.pipelines.conftest import MakeCompany
from tests.pipelines.disturbing import (
    ADDRESSES,
    LASTING,
    PASSING,
    TIMEOUT,
    Unhurried,
    disturb,
    sync_that_fails,
    undisturbed,
)
from tests.resources.fakes import FakeClock

pytestmark = pytest.mark.usefixtures("plain_loading")

ENOUGH = 1000
"""Requests for reading everything again: each address is asked for in each sync."""


@pytest.fixture
def company(make_company: MakeCompany, monkeypatch: pytest.MonkeyPatch) -> Company:
    monkeypatch.setattr("pipelines.client._TIMEOUT", TIMEOUT)
    return make_company(4, 25)


def let_things_happen(company: Company) -> None:
    """What makes the next sync ask at every address."""
    world = company.world
    customers.create_contact(world, customer_id=customers.update_customer(world)["id"])
    receipts.pay_invoice(world, id=invoices.create_invoice(world)["id"])
    invoices.create_credit_note(world)


@pytest.mark.parametrize("kinds", [list(PASSING)[:6], list(PASSING)[6:]], ids=" and ".join)
def test_faults_that_pass_are_overcome_at_every_address_in_a_first_and_an_hourly_sync(
    company: Company, kinds: list[str]
) -> None:
    """A request that fails in so many ways, one after the other, is answered in its last attempt."""
    for sync in ("first", "hourly"):
        faults = {
            (address, kind): disturb(company, path, times=1, **PASSING[kind])
            for address, path in ADDRESSES.items()
            for kind in kinds
        }
        synced = company.sync(pennylane=company.pennylane(Unhurried), rotation=ENOUGH)
        assert [struck for struck, fault in faults.items() if fault.times] == []
        assert (synced.lists.mode, synced.details.unreadable) == ("first" if sync == "first" else "incremental", [])
        assert company.differences() == []
        let_things_happen(company)


def test_faults_that_stay_are_told_and_cost_nothing_at_any_address_in_a_first_sync(company: Company) -> None:
    """One kind per address here; the long tests try each on each."""
    for address, kind in zip((one for one in ADDRESSES if "changelog" not in one), LASTING, strict=False):
        sync_that_fails(company, address, kind)
    company.sync(after=60)
    assert company.differences() == []


def test_faults_that_stay_are_told_and_cost_nothing_at_any_address_in_an_hourly_sync(company: Company) -> None:
    company.sync()
    for address, kind in zip(ADDRESSES, reversed(LASTING), strict=False):
        let_things_happen(company)
        sync_that_fails(company, address, kind)
    company.sync(after=60, rotation=ENOUGH)
    assert company.differences() == []


@pytest.mark.parametrize("kind", PASSING)
def test_who_is_connected_is_asked_until_there_is_an_answer(company: Company, kind: str) -> None:
    """`connect` asks it of each token."""
    disturb(company, "/me$", times=7, **PASSING[kind])
    assert company.pennylane(Unhurried).get("/me")["company"]["id"] == company.id
    disturb(company, "/me$", **PASSING[kind])
    with pytest.raises(PennylaneUnreachable, match="/me in 8 attempts"):
        company.pennylane(Unhurried).get("/me")


def test_new_fields_at_every_address_change_nothing(company: Company) -> None:
    new = {"a_field_of_the_future": {"nested": [1, None, "é"]}, "another": None}
    for path in ADDRESSES.values():
        disturb(company, path, kind="changed", body=new, item=new)
    assert company.sync().lists.unreadable == []
    let_things_happen(company)
    synced = company.sync(rotation=ENOUGH)
    assert synced.lists.unreadable + synced.details.unreadable == []
    assert company.differences() == []


@pytest.mark.through_dlt
@pytest.mark.parametrize("absent", ["null", "missing"])
def test_records_without_any_field_but_their_id_stop_nothing(company: Company, absent: str) -> None:
    company.sync()
    let_things_happen(company)
    for path in ADDRESSES.values():
        if absent == "null":
            disturb(company, path, kind="changed", item=dict.fromkeys(_FIELDS))
        else:
            disturb(company, path, kind="changed", item_without=sorted(_FIELDS))
    synced = company.sync(rotation=ENOUGH)
    assert synced.lists.unreadable + synced.details.unreadable == []
    undisturbed(company)
    company.sync(full=True, rotation=ENOUGH)
    assert company.differences() == []


_FIELDS = {(column.path or "").split(".")[0] for table in TABLES for column in table.columns} - {"", "id"} | {
    "operation",
    "processed_at",
}


# Tokens


@pytest.fixture
def connections(company: Company, tmp_path: Path, clock: FakeClock) -> Connections:
    """The company is connected by OAuth; our clock thinks that the token is good for a day."""
    made = Connections(f"sqlite:///{tmp_path}/connections.sqlite", Vault(tmp_path / "home"), clock)
    pair = company.server.sandbox.tokens.issue(company.id, SCOPES)
    credential = Credential(pair.access_token, pair.refresh_token, clock.now.replace(year=clock.now.year + 1))
    made.save(company.id, "Company", "oauth", credential, SCOPES)
    return made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def _client(company: Company, connections: Connections) -> Pennylane:
    settings = Settings(
        pennylane_url=company.server.url,
        pennylane_client_id=core.CLIENT_ID,
        pennylane_client_secret=core.CLIENT_SECRET,
    )
    tokens = TokenSource(connections, company.id, settings, sleep=lambda _: None)
    return Unhurried(company.server.url, tokens, str(company.id), sleep=lambda _: None)


@pytest.mark.parametrize("disturbed", [{}, {"kind": "plain", "status": 503}, {"kind": "status", "status": 500}])
def test_a_token_that_expires_in_the_middle_of_a_sync_is_renewed_once_and_the_sync_goes_on(
    company: Company, connections: Connections, disturbed: dict[str, Any]
) -> None:
    if disturbed:
        disturb(company, "^/oauth/token$", times=2, **disturbed)
    expired: list[object] = []

    def expire(progress: object) -> None:
        if not expired:
            company.world.clock.advance(1.1 * DAY)
        expired.append(progress)

    company.watch = expire
    company.sync(pennylane=_client(company, connections))
    assert company.requests["by_status"]["401"] >= 1
    assert company.server.sandbox.tokens.reused_refresh_tokens == 0
    company.watch = None
    company.sync(pennylane=_client(company, connections))
    assert company.differences() == []


def test_an_authorization_revoked_in_the_middle_of_a_sync_is_told_and_nothing_is_lost(
    company: Company, connections: Connections
) -> None:
    company.watch = lambda _: company.server.sandbox.tokens.revoke_all(company.id)
    with pytest.raises(AuthorizationLost, match=f"Company {company.id}: .*revoked there.*pennylane-sync connect"):
        company.sync(pennylane=_client(company, connections))
    assert connections.get(company.id).state == "needs_authorization"
    company.watch = None
    token = company.server.sandbox.tokens.add_company_token(company.id)
    company.sync(pennylane=Unhurried(company.server.url, OneToken(token), str(company.id)))
    assert company.differences() == []


def test_an_api_token_revoked_in_the_middle_of_a_sync_is_told(company: Company) -> None:
    company.watch = lambda _: company.server.sandbox.tokens.revoke_all(company.id)
    with pytest.raises(AuthorizationFailed, match=f"Company {company.id}: "):
        company.sync()
