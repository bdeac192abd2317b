"""What cannot be read stops nothing but itself: set aside with the reason, tried again, gone once it can be read."""

from typing import Any

import pytest

from pipelines.committed import committed
from pipelines.errors import BrokenAnswer, PennylaneRefused, PennylaneUnreachable
from pipelines.set_aside import SetAside, said, set_aside
from sandbox.changes import customers, invoices, receipts
from sandbox.cursors import ListPosition, write_list_cursor
from sandbox.faults import Fault
from tests.pipelines.company import Company
from tests.pipelines.conftest import MakeCompany, MakeSynced
from tests.pipelines.disturbing import disturb, undisturbed

pytestmark = pytest.mark.usefixtures("plain_loading")


@pytest.fixture
def company(make_company: MakeCompany) -> Company:
    return make_company(6, 30)


def aside(company: Company) -> list[SetAside]:
    """What `status` would show."""
    with company.warehouse.session() as session:
        return list(set_aside(committed(session, company.id) or {}))


def _paid(company: Company) -> int:
    """An invoice for which bank transactions are asked for, and that matters no more."""
    return next(one.id for one in company.world.invoices if one.settles and one.matches)


@pytest.mark.parametrize("id_", [None, 2**63], ids=repr)
def test_a_record_without_a_usable_id_is_set_aside_and_costs_no_row_that_we_hold(
    make_synced: MakeSynced, id_: object
) -> None:
    company = make_synced(6, 30)
    before = company.held()["accounts"]
    hidden = company.world.customers.at(2).id
    disturb(company, "v2/customers$", kind="changed", item={"id": id_}, only_ids=[hidden])
    synced = company.sync(full=True)
    assert synced.lists.unreadable == ["accounts: id is no bigint"]
    assert company.held()["accounts"] == before
    assert aside(company) == [SetAside("accounts", None, None, "id is no bigint")]
    undisturbed(company)
    assert company.sync(full=True).lists.unreadable == []
    assert company.differences() == []


def test_a_changed_record_that_comes_without_its_id_is_not_taken_for_deleted(make_synced: MakeSynced) -> None:
    company = make_synced(6, 30)
    changed = company.world.customers.at(2).id
    customers.update_customer(company.world, id=changed, name="Another name")
    disturb(company, "v2/customers$", kind="changed", item_without=["id"], only_ids=[changed])
    for _ in range(2):
        assert company.sync(after=60).lists.unreadable == [f"accounts {changed}: id is no bigint"]
        assert (company.id, changed) in company.held()["accounts"]
    undisturbed(company)
    company.sync(after=60)
    assert company.differences() == []
    assert aside(company) == []


def test_a_contact_that_cannot_be_read_is_tried_again_with_each_sync_until_it_can_be(company: Company) -> None:
    contact = next(one for customer in company.world.customers for one in customer.contacts)
    account = next(one.id for one in company.world.customers if contact in one.contacts)
    disturb(company, "/contacts$", kind="changed", item={"created_at": "yesterday"}, only_ids=[contact.id])
    company.sync()
    reason = "created_at is no timestamp with time zone"
    assert {line.split(" (")[0] for line in company.differences()} == {"contacts: missing"}
    for _ in range(2):
        assert aside(company) == [SetAside("contacts", contact.id, account, reason)]
        synced = company.sync(after=60)
        assert synced.details.unreadable == [f"contacts {contact.id} of account {account}: {reason}"]
        assert (synced.details.pending.ready, synced.detail_requests) == (True, 1)
    undisturbed(company)
    company.sync(after=60)
    assert company.differences() == []
    assert aside(company) == []


def test_a_contact_that_moved_and_cannot_be_read_costs_its_old_account_no_other_contact(company: Company) -> None:
    old, new = company.world.customers.at(0), company.world.customers.at(1)
    for _ in range(2):
        customers.create_contact(company.world, customer_id=old.id)
    company.sync()
    *stayed, moved = old.contacts
    old.contacts, new.contacts = tuple(stayed), (*new.contacts, moved)
    customers.update_customer(company.world, id=new.id)
    disturb(company, "/contacts$", kind="changed", item={"created_at": "yesterday"}, only_ids=[moved.id])
    company.sync(after=60)
    assert {str(moved.id) in line for line in company.differences()} == {True}


def test_what_was_set_aside_of_an_account_that_is_gone_or_left_out_is_forgotten(company: Company) -> None:
    first, second, third, fourth = [one for one in company.world.customers if one.contacts][:4]
    disturb(company, "/contacts$", kind="changed", item={"created_at": "yesterday"})
    never = [third.id, fourth.id, *(one.id for one in company.world.invoices if one.customer_id == third.id)]
    disturb(company, "v2/customer(s|_invoices)$", kind="changed", item={"created_at": "yesterday"}, only_ids=never)
    company.sync()
    assert {one.parent_id for one in aside(company)} > {first.id, second.id}
    assert {one.id for one in aside(company)} > {*never}
    undisturbed(company)
    for gone in (first, fourth):
        customers.delete_customer(company.world, id=gone.id)
    company.excluded = {second.id, third.id, fourth.id}
    company.sync(after=60)
    assert aside(company) == []


def test_an_invoice_that_cannot_be_read_after_its_payments_changed_without_an_event_is_shown_as_set_aside(
    company: Company,
) -> None:
    payment = receipts.create_payment(company.world)
    company.sync()
    receipts.update_payment_status(company.world, id=payment["id"])
    invoice = payment["invoice_id"]
    disturb(company, "/customer_invoices$", kind="changed", item={"created_at": "yesterday"}, only_ids=[invoice])
    synced = company.sync(after=60, rotation=1000)
    (kept,) = aside(company)
    assert (kept.table, kept.id) == ("invoices", invoice)
    assert synced.lists.unreadable + synced.details.unreadable == [said(kept)]


@pytest.mark.parametrize("kind", ["500", "no list", "has_more never ends"])
def test_an_invoice_whose_payments_cannot_be_listed_holds_up_no_other(company: Company, kind: str) -> None:
    one = _paid(company)
    again = write_list_cursor(ListPosition(1), company.world.clock.microseconds() + 10**10)
    faults: dict[str, dict[str, Any]] = {
        "500": {"kind": "status", "status": 500},
        "no list": {"kind": "changed", "body": {"items": None}},
        "has_more never ends": {"kind": "changed", "body": {"has_more": True, "next_cursor": again}},
    }
    disturb(company, f"/{one}/matched_transactions$", **faults[kind])
    for _ in range(2):
        synced = company.sync(after=60)
        (kept,) = aside(company)
        assert (kept.table, kept.id, kept.parent_id) == ("payments", None, one)
        assert kept.reason.split()[0] == "matched_transactions"
        assert synced.details.unreadable == [said(kept)]
        assert synced.details.pending.payments == 1
        assert {str(one) in line for line in company.differences()} == {True}
        invoices.create_invoice(company.world)
    undisturbed(company)
    company.sync(after=60)
    assert company.differences() == []
    assert aside(company) == []


def test_a_list_that_fails_for_every_account_is_an_error_and_no_matter_of_single_ones(
    make_company: MakeCompany,
) -> None:
    company = make_company(25, 10)
    disturb(company, "/contacts$", kind="status", status=500)
    with pytest.raises(PennylaneUnreachable, match=f"company {company.id}.*status 500"):
        company.sync()
    assert company.requests["by_status"]["500"] < 8 * 25 * 2
    undisturbed(company)
    company.sync(after=60)
    assert company.differences() == []
    assert aside(company) == []


def test_many_lists_that_fail_one_after_the_other_hold_up_the_others_for_one_sync_only(
    make_company: MakeCompany,
) -> None:
    company = make_company(14, 5)
    failing = {company.world.customers.at(number).id for number in range(12)}
    disturb(company, f"/({'|'.join(map(str, failing))})/contacts$", kind="status", status=500)
    with pytest.raises(PennylaneUnreachable, match="status 500"):
        company.sync()
    assert len(aside(company)) >= 10
    assert company.sync(after=60, rotation=100).details.pending.contacts == 12
    assert {one.parent_id for one in aside(company)} == failing
    assert {line.split(" (")[0] for line in company.differences()} == {"contacts: missing"}


def test_what_was_set_aside_costs_little_beyond_the_share_and_what_is_not_tried_waits_its_turn(
    make_company: MakeCompany,
) -> None:
    company = make_company(28, 5)
    lists = [one.id for one in company.world.customers][::2]
    disturb(company, f"/({'|'.join(map(str, lists))})/contacts$", kind="status", status=400)
    company.sync()
    for one in lists:
        customers.update_customer(company.world, id=one)
    undisturbed(company)
    synced = company.sync(after=60, history_seconds=0)
    assert (synced.detail_requests, synced.details.pending.contacts) == (10, 4)
    assert len({one.parent_id for one in aside(company)}) == 4


def test_where_pennylane_asks_to_be_left_alone_no_list_is_set_aside_for_it_and_the_sync_ends(company: Company) -> None:
    disturb(company, "/payments$", kind="plain", status=503, headers={"retry-after": "7200"})
    with pytest.raises(PennylaneUnreachable, match=f"company {company.id}.* left alone for 120 minutes"):
        company.sync()
    assert aside(company) == []


def test_a_cursor_that_is_refused_in_the_middle_of_a_list_begins_it_anew(company: Company) -> None:
    account = company.world.customers.at(0).id
    for _ in range(130):
        customers.create_contact(company.world, customer_id=account)
    company.server.sandbox.faults.add(Fault(f"/{account}/contacts$", "status", status=400, skip=1))
    assert company.sync().details.unreadable == []
    assert company.differences() == []


def test_ids_that_an_older_version_set_aside_without_reasons_are_shown_and_tried_again() -> None:
    assert [said(one) for one in set_aside({"unreadable": {"invoices": [12]}})] == ["invoices 12: could not be read"]


def test_an_address_that_is_not_found_costs_nothing_that_we_hold(make_synced: MakeSynced) -> None:
    """As where a gateway lost its way: the accounts and invoices are there."""
    company = make_synced(6, 30)
    held = company.held()
    disturb(company, "/contacts$|/matched_transactions$", kind="plain", status=404)
    with pytest.raises(PennylaneRefused, match="404"):
        company.sync(rotation=300)
    assert company.held().items() >= {one: held[one] for one in ("contacts", "payments")}.items()
    undisturbed(company)
    company.sync(after=60, rotation=300)
    assert company.differences() == []
    assert aside(company) == []


def test_one_list_that_is_not_found_is_set_aside(make_synced: MakeSynced) -> None:
    company = make_synced(6, 30)
    account = next(one for one in company.world.customers if one.contacts)
    customers.update_customer(company.world, id=account.id)
    customers.update_customer(company.world, id=next(one.id for one in company.world.customers if one is not account))
    disturb(company, f"/{account.id}/contacts$", kind="plain", status=404)
    company.sync(after=60)
    assert aside(company) == [SetAside("contacts", None, account.id, "contacts refused with status 404")]
    assert company.differences() == []


def test_one_payment_that_could_not_be_read_does_not_put_off_what_changes_later(make_synced: MakeSynced) -> None:
    company = make_synced(6, 30)
    disturb(company, "/matched_transactions$", kind="changed", item={"date": "yesterday"})
    company.sync(rotation=500)
    undisturbed(company)
    matched = [one.id for one in company.world.transactions if one.matches]
    assert len({one.parent_id for one in aside(company)}) > 10
    for one in matched:
        receipts.unmatch_transaction(company.world, id=one)
    company.sync(after=60, rotation=0, history_seconds=0)
    assert company.differences() == []


@pytest.mark.parametrize("sync", ["first", "hourly"])
def test_a_kind_of_which_most_cannot_be_read_fails_the_sync_until_it_can_be(
    make_company: MakeCompany, sync: str
) -> None:
    company = make_company(6, 60)
    if sync == "hourly":
        company.sync()
        for one in [one.id for one in company.world.invoices if one.settles]:
            invoices.update_invoice(company.world, id=one, label="Changed")
    disturb(company, "v2/customer_invoices$", kind="changed", item={"date": "01/02/2026"})
    for _ in range(2):
        with pytest.raises(BrokenAnswer, match=r"invoices cannot be read .*date is no date"):
            company.sync(after=60)
    undisturbed(company)
    company.sync(after=60)
    assert company.differences() == []
    assert aside(company) == []


def test_an_invoice_deleted_while_another_comes_without_its_id_is_gone_after_the_next_sync(
    make_synced: MakeSynced,
) -> None:
    """Which of the two is gone cannot be told at first; that its payments are gone, too, is noticed meanwhile."""
    company = make_synced(6, 30)
    gone = _paid(company)
    hidden = next(one.id for one in company.world.invoices if one.settles and one.id != gone)
    invoices.delete_invoice(company.world, id=gone)
    invoices.update_invoice(company.world, id=hidden)
    disturb(company, "v2/customer_invoices$", kind="changed", item_without=["id"], only_ids=[hidden])
    company.sync(after=60, rotation=1000)
    assert {one.id for one in aside(company)} == {gone, hidden}
    undisturbed(company)
    company.sync(after=60)
    assert company.differences() == []
    assert aside(company) == []


def test_a_credit_note_that_changes_while_an_invoice_comes_without_its_id_is_read(make_synced: MakeSynced) -> None:
    company = make_synced(6, 30)
    note = invoices.create_credit_note(company.world)["id"]
    hidden = next(one.id for one in company.world.invoices if one.settles and one.id != note)
    invoices.update_invoice(company.world, id=hidden)
    disturb(company, "v2/customer_invoices$", kind="changed", item_without=["id"], only_ids=[hidden])
    company.sync(after=60)
    assert (company.id, note) in company.held()["credit_notes"]
    undisturbed(company)
    company.sync(after=60)
    assert company.differences() == []
    assert aside(company) == []


def test_an_invoice_that_loses_its_account_and_comes_without_its_id_is_not_taken_for_deleted(company: Company) -> None:
    """Many accounts are left out by ranges, in which it no longer stands: it is asked for by its id alone."""
    company.excluded = set(range(1, 2000))
    company.sync()
    held = company.held()["invoices"]
    moved = invoices.move_invoice(company.world, customer_id=None)["id"]
    disturb(company, "v2/customer_invoices$", kind="changed", item_without=["id"], only_ids=[moved])
    company.sync(after=60)
    assert company.held()["invoices"][company.id, moved] == held[company.id, moved]
    undisturbed(company)
    company.sync(after=60)
    assert company.differences() == []
    assert aside(company) == []
