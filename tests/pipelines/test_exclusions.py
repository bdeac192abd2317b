"""Left out before, left out later, included again: what stays, what goes, and what is asked."""

from typing import Any

import pytest

from pipelines.client import Pennylane
from sandbox import filters
from sandbox.changes import customers, invoices, receipts
from sandbox.records import Customer
from tests.pipelines.company import HOUR, Company
from tests.pipelines.conftest import MakeCompany, MakeSynced
from tests.pipelines.truth import held

pytestmark = pytest.mark.usefixtures("plain_loading")


@pytest.fixture
def synced(make_synced: MakeSynced) -> Company:
    """A company with some accounts, all of it synchronized."""
    return make_synced(8, 100)


def _busy(company: Company) -> Customer:
    """An account with contacts and several invoices, paid and open, none of them sharing a receipt with others."""
    owners = [one.customer_id for one in company.world.invoices if one.settles and one.customer_id]
    return max((one for one in company.world.customers if one.contacts), key=lambda one: (owners.count(one.id), one.id))


def _rows_of(company: Company, account: int) -> dict[str, dict[Any, Any]]:
    """All that stands of an account, with the times at which we read it."""
    rows = held(company.warehouse, company.id, with_times=True)
    theirs = {
        table: {key: row for key, row in rows[table].items() if row["account_id"] == account}
        for table in ("accounts", "contacts", "invoices", "credit_notes")
    }
    mine = {key[1] for key in theirs["invoices"]}
    return {**theirs, "payments": {key: row for key, row in rows["payments"].items() if key[1] in mine}}


def _change_all_of(company: Company, account: int) -> None:
    world = company.world
    owned = [one for one in world.invoices if one.customer_id == account]
    live = [one for one in owned if one.settles and one.archived_at is None and one.cancelled != "cancelled"]
    unpaid = [one for one in live if not one.matches and not one.paid_by_hand and one.cents > 0]
    invoices.delete_invoice(world, id=live[0].id)
    invoices.update_invoice(world, id=live[1].id, label="changed while excluded")
    invoices.create_credit_note(world, invoice_id=live[2].id)
    if unpaid[3:]:
        receipts.pay_invoice(world, id=unpaid[3].id)
    invoices.create_invoice(world, customer_id=account)
    customers.update_customer(world, id=account, name="Renamed while excluded")
    customers.update_contact(world, id=world.customers[account].contacts[0].id)
    customers.create_contact(world, customer_id=account)


def test_what_is_there_of_an_account_excluded_later_stays_as_it_is(synced: Company) -> None:
    account = _busy(synced).id
    before = _rows_of(synced, account)
    assert len(before["invoices"]) > 5
    synced.excluded = {account}
    _change_all_of(synced, account)
    for full in (False, True):
        synced.forget_requests()
        synced.sync(rotation=500, full=full)
        assert _rows_of(synced, account) == before
        assert str(account) not in synced.requests["served"]
    others = [line for line in synced.differences() if f"left over ({synced.id}," not in line]
    assert others == []


def test_an_excluded_account_deleted_at_pennylane_stays_with_all_that_is_its_own(synced: Company) -> None:
    account = _busy(synced).id
    synced.excluded = {account}
    before = _rows_of(synced, account)
    customers.delete_customer(synced.world, id=account)
    for full in (False, True):
        synced.sync(rotation=500, full=full)
        assert _rows_of(synced, account) == before


@pytest.mark.parametrize(("full", "gap"), [(True, HOUR), (False, 40 * 24 * HOUR)], ids=["full", "after 40 days"])
def test_what_was_never_let_in_stays_out_when_its_account_is_deleted_at_pennylane(
    company: Company, full: bool, gap: float
) -> None:
    """Its documents have no account from then on: nothing of Pennylane's tells any more whose they were."""
    account = _busy(company).id
    company.excluded = {account}
    company.sync()
    just_made = invoices.create_invoice(company.world, customer_id=account)["id"]
    kept_out = {one.id for one in company.world.invoices if one.customer_id == account}
    customers.delete_customer(company.world, id=account)

    company.sync(full=full, after=gap)
    invoices.update_invoice(company.world, id=just_made, label="and later")
    company.sync()
    company.sync(full=True)

    rows = company.held()
    assert len(kept_out) > 5
    assert not kept_out & {key[1] for table in ("invoices", "credit_notes", "payments") for key in rows[table]}
    assert company.differences() == []


@pytest.mark.parametrize("minutes", [10, 30])
def test_nor_does_it_come_in_when_it_changes_later(company: Company, minutes: int) -> None:
    account = _busy(company).id
    company.excluded = {account}
    company.sync()
    company.world.clock.advance(HOUR - 60 * minutes)
    made = invoices.create_invoice(company.world, customer_id=account)["id"]
    customers.delete_customer(company.world, id=account)
    company.sync(after=60 * minutes)
    invoices.update_invoice(company.world, id=made, label="touched")
    company.sync()
    company.sync(full=True)
    assert company.differences() == []


def test_nor_does_it_come_in_later_where_the_change_feeds_no_longer_told_of_the_deletion(company: Company) -> None:
    """After over four weeks the feeds are not read, and everything is listed: nobody says that the account is gone."""
    account = _busy(company).id
    company.excluded = {account}
    company.sync()
    company.world.clock.advance(40 * 24 * HOUR)
    made = invoices.create_invoice(company.world, customer_id=account)["id"]
    customers.delete_customer(company.world, id=account)
    company.sync(after=20 * 60)
    invoices.update_invoice(company.world, id=made, label="touched")
    company.sync(after=60)
    assert company.differences() == []


def test_an_excluded_account_deleted_during_the_first_sync_leaves_nothing_here(
    make_company: MakeCompany,
) -> None:
    company = make_company(20, 250)
    account = _busy(company).id
    company.excluded = {account}

    class Deleting(Pennylane):
        def get(self, path: str, params: Any = None) -> dict[str, Any]:
            answer = super().get(path, params)
            if path == "/customers" and company.world.customers.get(account):
                company.world.clock.advance(5)
                customers.delete_customer(company.world, id=account)
            return answer

    company.sync(pennylane=company.pennylane(Deleting))
    assert not company.world.customers.get(account)
    assert company.differences() == []
    company.sync(full=True)
    assert company.differences() == []


def _losing_documents_without_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `not_in` does to a document without a customer is not documented; a database's would drop it."""
    holds = filters._holds
    monkeypatch.setattr(
        filters,
        "_holds",
        lambda name, actual, wanted: (actual is not None or name != "not_in") and holds(name, actual, wanted),
    )


@pytest.mark.parametrize(("loses", "others", "full"), [(False, 1000, True), (True, 1, False)])
def test_invoices_stay_when_their_account_is_deleted_while_others_are_left_out(
    synced: Company, monkeypatch: pytest.MonkeyPatch, loses: bool, others: int, full: bool
) -> None:
    deleted = _busy(synced).id
    owned = {one.id for one in synced.world.invoices if one.customer_id == deleted and one.kind == "invoice"}
    left_out = next(one.id for one in synced.world.customers if one.id != deleted)
    synced.excluded = {left_out, *range(10**9, 10**9 + others - 1)}
    if loses:
        _losing_documents_without_account(monkeypatch)
    customers.delete_customer(synced.world, id=deleted)
    synced.sync(full=full)
    held_now = {key[1]: row for key, row in synced.held()["invoices"].items() if key[1] in owned}
    assert held_now.keys() == owned
    assert all(row["account_id"] is None for row in held_now.values())


@pytest.mark.parametrize("full", [False, True], ids=["hourly", "full"])
def test_a_new_invoice_without_account_comes_in_while_others_are_left_out(company: Company, full: bool) -> None:
    company.excluded = {_busy(company).id}
    company.sync()
    orphan = invoices.create_invoice(company.world, customer_id=None)["id"]
    company.sync(full=full)
    assert (company.id, orphan) in company.held()["invoices"]
    assert company.differences() == []


def test_a_credit_note_of_an_invoice_that_lost_its_account_comes_in_while_others_are_left_out(
    company: Company,
) -> None:
    """Found by a random history: after 40 days nothing tells that it is no excluded account's but what it credits."""
    company.excluded = {_busy(company).id}
    company.sync()
    credited = next(one for one in company.world.invoices if one.settles and one.customer_id not in company.excluded)
    assert credited.customer_id is not None
    customers.delete_customer(company.world, id=credited.customer_id)
    company.sync()
    made = invoices.create_credit_note(company.world, invoice_id=credited.id)["id"]
    company.sync(after=40 * 24 * HOUR)
    assert company.held()["credit_notes"][company.id, made]["account_id"] is None
    assert company.differences() == []


def test_an_account_included_again_is_caught_up_wholly(synced: Company) -> None:
    account = _busy(synced).id
    synced.excluded = {account}
    _change_all_of(synced, account)
    synced.sync()
    synced.excluded = set()
    synced.sync(after=60)
    assert synced.differences() == []


def test_an_account_included_again_costs_requests_for_itself_only(synced: Company) -> None:
    account = min(one.id for one in synced.world.customers if one.contacts)
    synced.excluded = {account}
    synced.sync()
    synced.excluded = set()
    synced.forget_requests()
    synced.sync()
    owned = [one for one in synced.world.invoices if one.customer_id == account]
    assert synced.requests["served"].keys() == {str(account)}
    assert synced.requests["total"] <= 2 + 1 + len(owned) / 100 + 4 + 1 + 2 * len(owned)
    assert synced.differences() == []


def test_an_account_deleted_while_excluded_goes_when_it_is_included_again(synced: Company) -> None:
    account = _busy(synced).id
    synced.excluded = {account}
    synced.sync()
    customers.delete_customer(synced.world, id=account)
    synced.sync()
    synced.excluded = set()
    synced.sync(after=60)
    assert synced.differences() == []


def test_an_account_excluded_from_the_start_can_be_included_later(company: Company) -> None:
    account = _busy(company).id
    company.excluded = {account}
    company.sync()
    assert company.differences() == []
    company.excluded = set()
    company.sync()
    assert company.differences() == []


def test_an_invoice_that_moves_away_from_an_excluded_account_follows(synced: Company) -> None:
    account = _busy(synced).id
    synced.excluded = {account}
    synced.sync()
    moved = next(one for one in synced.world.invoices if one.customer_id == account and one.settles)
    other = next(one.id for one in synced.world.customers if one.id != account)
    invoices.move_invoice(synced.world, id=moved.id, customer_id=other)
    synced.sync()
    assert synced.held()["invoices"][synced.id, moved.id]["account_id"] == other


def test_an_invoice_that_moves_to_an_excluded_account_goes(synced: Company) -> None:
    account = _busy(synced).id
    synced.excluded = {account}
    moved = next(one for one in synced.world.invoices if one.customer_id not in (None, account) and one.matches)
    invoices.move_invoice(synced.world, id=moved.id, customer_id=account)
    synced.sync()
    tables = synced.held()
    assert (synced.id, moved.id) not in tables["invoices"]
    assert not [key for key in tables["payments"] if key[1] == moved.id]


def test_an_unknown_id_is_kept_and_harms_nobody(company: Company) -> None:
    company.excluded = {1, 999_999_999_999}
    company.sync()
    assert company.differences() == []
    with company.warehouse.session() as session:
        assert session.value("SELECT count(*) FROM receivables.excluded_accounts") == 2
    company.excluded = {1}
    company.sync()
    company.excluded = set()
    company.sync()
    with company.warehouse.session() as session:
        assert session.value("SELECT count(*) FROM receivables.excluded_accounts") == 0
    assert company.differences() == []


@pytest.mark.parametrize("full", [False, True], ids=["hourly", "full"])
def test_an_invoice_without_account_stays_where_the_filter_of_exclusions_loses_it(
    company: Company, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    orphan = invoices.create_invoice(company.world, customer_id=None)["id"]
    company.sync()
    _losing_documents_without_account(monkeypatch)
    company.excluded = {next(one.id for one in company.world.customers)}

    invoices.update_invoice(company.world, id=orphan, label="still here")
    company.sync(full=full)

    assert held(company.warehouse, company.id)["invoices"][company.id, orphan]["label"] == "still here"
