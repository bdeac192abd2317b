"""How many requests a sync makes: every one of them costs a fifth of a second of the limit."""

import re
from math import ceil
from urllib.parse import urlencode

import pytest

from pipelines.client import Pennylane
from pipelines.due import Due
from pipelines.filters import BATCH, condition, encoded
from pipelines.kinds import ACCOUNT, CREDIT_NOTE, INVOICE
from pipelines.pacing import Pacer
from pipelines.ranges import END
from sandbox.changes import customers, invoices, receipts
from sandbox.state import true_state
from tests.pipelines.company import DAY, HOUR, PREFIX, Company
from tests.pipelines.conftest import MakeCompany, MakeSynced
from tests.pipelines.truth import OTHER_DOCUMENTS, held

pytestmark = pytest.mark.usefixtures("plain_loading")

FEEDS = {f"{PREFIX}/changelogs/customers": 1, f"{PREFIX}/changelogs/customer_invoices": 1}


def test_an_hour_without_changes_costs_two_requests(make_synced: MakeSynced) -> None:
    company = make_synced()
    company.forget_requests()
    company.sync()
    assert company.requests["by_path"] == FEEDS


def test_the_rotation_adds_as_many_requests_as_the_setting_says(make_synced: MakeSynced) -> None:
    company = make_synced()
    for rotation in (7, 50, 50):
        company.forget_requests()
        company.sync(rotation=rotation)
        assert company.requests["total"] == 2 + rotation


def test_the_rotation_comes_round_to_everything(make_synced: MakeSynced) -> None:
    company = make_synced(6, 30)
    everything = company.sync(full=True).detail_requests
    before = _marks(company)
    rounds = 0
    while any(at == before[key] for key, at in _marks(company).items()):
        company.sync(rotation=everything // 3)
        rounds += 1
        assert rounds <= 6 * 3


def _marks(company: Company) -> dict[tuple[str, int], object]:
    rows = held(company.warehouse, company.id, with_times=True)
    contacts = {("contacts", key[1]): row["contacts_synced_at"] for key, row in rows["accounts"].items()}
    payments = {
        ("payments", key[1]): row["payments_synced_at"] for key, row in rows["invoices"].items() if not row["draft"]
    }
    return contacts | payments


@pytest.mark.parametrize(
    ("accounts", "documents", "latency"),
    [(0, 0, 0.0), (1, 1, 0.03), (99, 99, 0.0), (100, 100, 0.03), (101, 101, 0.0), (301, 1, 0.03), (1, 301, 0.0)],
)
def test_listing_takes_exactly_a_request_per_hundred_of_each_list(
    make_company: MakeCompany, accounts: int, documents: int, latency: float
) -> None:
    company = make_company(accounts, documents, latency=latency)
    assert _listing(company) == _of_lists(company)


@pytest.mark.through_dlt
@pytest.mark.parametrize(("documents", "latency"), [(3000, 0.2), (20_000, 0.0)])
def test_listing_much_takes_exactly_a_request_per_hundred_of_each_list(
    make_company: MakeCompany, monkeypatch: pytest.MonkeyPatch, documents: int, latency: float
) -> None:
    monkeypatch.setattr(Pacer, "wanted_in_flight", 0)  # answers are quick, whatever this machine is busy with
    company = make_company(2500, documents, latency=latency)
    assert _listing(company) == _of_lists(company)


@pytest.mark.through_dlt
def test_where_answers_are_slow_listing_much_takes_up_to_a_request_more_per_part(
    make_company: MakeCompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pacer, "wanted_in_flight", 6)
    company = make_company(300, 12_000, latency=0.02)
    assert 0 <= _listing(company) - _of_lists(company) <= 6


def _listing(company: Company) -> int:
    """How many requests it takes, without those of the feeds."""
    company.lists_only()
    counted = company.requests
    assert sum(counted["by_path"][path] for path in FEEDS) == 2
    rows = held(company.warehouse, company.id)
    assert rows["accounts"].keys() == {(company.id, one.id) for one in company.world.customers}
    listed = {one.id for one in company.world.invoices if one.kind in ("invoice", "credit_note")}
    assert {key[1] for table in ("invoices", "credit_notes") for key in rows[table]} == listed
    requests: int = counted["total"] - 2
    return requests


def _of_lists(company: Company) -> int:
    """The formula in the README."""
    world = company.world
    notes = sum(one.kind == "credit_note" for one in world.invoices)
    lists = (len(world.customers), len(world.invoices) - notes, notes)
    return sum(max(1, ceil(listed / 100)) for listed in lists)


def test_changes_are_fetched_a_hundred_at_a_time(make_company: MakeCompany) -> None:
    company = make_company(30, 400)
    company.lists_only()
    touched = [one.id for one in company.world.invoices if one.kind == "invoice"][:250]
    for one in touched:
        invoices.update_invoice(company.world, id=one)
    company.forget_requests()
    company.world.clock.advance(DAY)
    company.lists_only()
    assert company.requests["by_path"] == {**FEEDS, f"{PREFIX}/customer_invoices": 3}


def test_only_what_is_no_invoice_is_asked_for_among_credit_notes(make_company: MakeCompany) -> None:
    company = make_company(30, 400)
    company.lists_only()
    credit_note = invoices.create_credit_note(company.world)["id"]
    for _ in range(3):
        invoices.create_invoice(company.world)
    company.forget_requests()
    company.world.clock.advance(HOUR)
    company.lists_only()
    assert company.requests["by_path"] == {**FEEDS, f"{PREFIX}/customer_invoices": 2}
    assert (company.id, credit_note) in held(company.warehouse, company.id)["credit_notes"]


def test_a_record_that_changed_many_times_is_fetched_once(make_synced: MakeSynced) -> None:
    company = make_synced()
    for _ in range(120):
        customers.update_customer(company.world, id=company.world.customers.at(0).id)
        company.world.clock.advance(1)
    company.forget_requests()
    company.sync()
    assert company.requests["by_path"][f"{PREFIX}/customers"] == 1


def test_an_event_in_the_overlap_is_not_fetched_again(make_synced: MakeSynced) -> None:
    company = make_synced()
    invoices.create_invoice(company.world)
    company.sync(after=60)
    company.forget_requests()
    company.sync(after=60)
    assert company.requests["by_path"] == FEEDS


@pytest.mark.parametrize(("accounts", "documents", "latency"), [(0, 0, 0.0), (250, 150, 0.0), (20, 450, 0.02)])
def test_a_first_sync_takes_as_many_requests_as_the_formula_in_the_readme_says(
    make_company: MakeCompany, accounts: int, documents: int, latency: float
) -> None:
    company = make_company(accounts, documents, latency=latency)
    synced = company.sync()
    state = true_state(company.world, company.server.url)
    notes = sum(one["credit_note"] for one in state["customer_invoices"])
    others = len(state["customer_invoices"]) - notes
    issued = [
        one
        for one in state["customer_invoices"]
        if not one["credit_note"] and one["status"] not in ("draft", *OTHER_DOCUMENTS)
    ]
    untouched = [
        one
        for one in issued
        if one["currency"] == "EUR" and not one["paid"] and one["remaining_amount_with_tax"] == one["amount"]
    ]
    lists = sum(max(1, ceil(listed / 100)) for listed in (accounts, others, notes)) + 2
    assert synced.list_requests == lists
    assert synced.detail_requests == accounts + 2 * len(issued) - len(untouched)
    assert len(issued) > len(untouched) or not documents


def test_nothing_is_asked_about_drafts_and_credit_notes(company: Company) -> None:
    asked = {int(one) for path in _paths_of_details(company) for one in re.findall(r"/customer_invoices/(\d+)", path)}
    without = {one.id for one in company.world.invoices if one.draft or one.kind != "invoice"}
    assert len(without) > 5
    assert asked
    assert not asked & without


def _paths_of_details(company: Company) -> set[str]:
    asked = set()

    class Listening(Pennylane):
        def get(self, path: str, params: object = None) -> dict[str, object]:
            asked.add(path)
            return super().get(path, params)  # type: ignore[arg-type]

    company.sync(pennylane=company.pennylane(Listening))
    return asked


def test_nothing_is_asked_about_excluded_accounts(company: Company) -> None:
    world = company.world
    owner = next(one.customer_id for one in world.invoices if one.customer_id is not None and one.settles)
    company.excluded = {owner, world.customers.at(0).id}
    company.sync()
    customers.update_customer(world, id=owner)
    receipts.pay_invoice(world, id=invoices.create_invoice(world, customer_id=owner)["id"])
    company.sync(rotation=500)
    company.sync(full=True)
    assert not company.requests["served"].keys() & {str(one) for one in company.excluded}


def test_thousands_of_exclusions_are_not_even_asked_for_and_nobody_else_is_left_out(make_company: MakeCompany) -> None:
    """Beyond what fits in an address, documents without an account stay out until they have one (README)."""
    company = make_company(3050, 700)
    world = company.world
    ids = [one.id for one in world.customers]
    company.excluded = set(ids[20:3020])
    orphans = {one.id for one in world.invoices if one.customer_id is None}
    assert orphans
    company.sync()
    assert {int(re.findall(r"\d+", line)[1]) for line in company.differences()} <= orphans
    assert company.requests["by_status"].keys() == {"200"}
    assert not company.requests["served"].keys() & {str(one) for one in company.excluded}
    ranges = len(ACCOUNT.leaving_out(company.excluded))
    owned = [one for one in world.invoices if one.customer_id and one.customer_id not in company.excluded]
    assert company.requests["total"] <= 2 + 3 * ranges + len(owned) / 100 + 50 + 2 * len(owned)

    for one in list(world.invoices)[-30:]:
        invoices.update_invoice(world, id=one.id)
    customers.update_customer(world, id=ids[30])
    found = [one for one in world.invoices if one.id in orphans and one.settles]
    for invoice in found:
        invoices.move_invoice(world, id=invoice.id, customer_id=ids[0])
    company.forget_requests()
    company.sync(after=60)
    assert found
    assert {int(re.findall(r"\d+", line)[1]) for line in company.differences()} <= orphans - {one.id for one in found}
    assert not company.requests["served"].keys() & {str(one) for one in company.excluded}


def test_no_address_comes_near_what_proxies_refuse() -> None:
    largest = range(END - 3000, END - 1)
    for kind in (ACCOUNT, INVOICE, CREDIT_NOTE):
        for ids, conditions in kind.leaving_out(largest):
            bounds = [condition("id", "gteq", ids.low), condition("id", "lt", END - 1)]
            batch = [condition("id", "in", list(largest)[:BATCH])]
            for narrowed in (bounds, batch):
                query = urlencode({"limit": 100, "sort": "-id", **encoded([*conditions, *narrowed])})
                assert len(f"{PREFIX}{kind.path}?{query}") < 8192


def test_requests_of_what_is_due_are_what_is_really_asked(company: Company) -> None:
    assert Due("contacts", 1, received=False).requests == 1
    assert Due("payments", 1, received=False).requests == 1
    assert Due("payments", 1, received=True).requests == 2
    synced = company.sync()
    told = {one.step: one.done for one in company.progress}
    assert told["details"] + told["history"] == synced.detail_requests
    for step in ("details", "history"):
        assert {one.total for one in company.progress if one.step == step} == {told[step]}


def test_a_listing_tells_about_how_much_there_is(make_company: MakeCompany) -> None:
    company = make_company(300, 3000, latency=0.01)
    company.lists_only(watch=company.progress.append)
    told = [one.total for one in company.progress if one.step == "lists" and one.total]
    listed = company.progress[-1].done
    assert len(told) > 15
    assert all(0.7 * listed < total < 1.3 * listed for total in told)
