"""Generated books: the same for the same seed, plausible, and consistent at any size."""

from collections import Counter

import pytest

from sandbox.clock import Clock
from sandbox.generator.books import LAST_CUSTOMER_ID, make_world, make_worlds
from sandbox.money import to_cents
from sandbox.records import RECEIVED
from sandbox.state import true_state
from sandbox.world import World
from tests.sandbox.conftest import NOW


def _state(seed: int) -> object:
    world = make_world(Clock(NOW, frozen=True), customers=30, invoices=300, seed=seed)
    state = true_state(world, "http://sandbox")
    for invoice in state["customer_invoices"]:
        del invoice["public_file_url"]
    return state


def test_the_same_seed_gives_the_same_books_and_another_gives_others() -> None:
    assert _state(1) == _state(1)
    assert _state(1) != _state(2)


def test_companies_share_no_ids() -> None:
    worlds = make_worlds(Clock(NOW, frozen=True), customers=40, invoices=400, companies=200)
    for ids in (
        [row.id for world in worlds for row in world.customers],
        [row.id for world in worlds for row in world.invoices],
        [row.id for world in worlds for row in world.transactions],
        [contact.id for world in worlds for row in world.customers for contact in row.contacts],
        [world.id for world in worlds],
    ):
        assert min(ids) > 0
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("customers", [1, 500, 3000])
def test_the_newest_customer_has_the_id_that_users_are_shown(customers: int) -> None:
    world = make_world(Clock(NOW, frozen=True), customers=customers, invoices=0)
    assert max(row.id for row in world.customers) == LAST_CUSTOMER_ID == 193957360


def test_an_empty_company_is_possible() -> None:
    world = make_world(Clock(NOW, frozen=True), customers=0, invoices=10)
    assert [row.customer_id for row in world.invoices] == [None] * 10


@pytest.fixture(scope="module")
def large() -> World:
    return make_world(Clock(NOW, frozen=True), customers=800, invoices=100_000)


def test_a_hundred_thousand_invoices_agree_with_their_receipts(large: World) -> None:
    state = true_state(large, "http://sandbox")
    matched = Counter({(invoice, row.id): cents for row in large.transactions for invoice, cents in row.matches})
    by_invoice: Counter[int] = Counter()
    for (invoice_id, _), cents in matched.items():
        by_invoice[invoice_id] += cents
    assert len(state["customer_invoices"]) == 100_000
    for record in state["customer_invoices"]:
        row = large.invoices[record["id"]]
        if record["draft"]:
            assert record["remaining_amount_with_tax"] is None
            continue
        collected = sum(payment.cents for payment in row.payments if payment.status in RECEIVED)
        due = max(0, to_cents(record["amount"]) - by_invoice[row.id] - collected)
        remaining = 0 if row.paid_by_hand else due
        assert to_cents(record["remaining_amount_with_tax"]) == remaining
        assert 0 <= to_cents(record["remaining_amount_without_tax"]) <= remaining
        assert record["paid"] == (row.settles and remaining == 0)
        assert (record["currency"] == "EUR") == (record["exchange_rate"] == "1.0")
        if record["currency"] == "EUR":
            assert (record["amount"], record["tax"]) == (record["currency_amount"], record["currency_tax"])


def test_ids_grow_with_creation_and_leave_gaps(large: World) -> None:
    for rows in (list(large.customers), list(large.invoices), list(large.transactions)):
        ids, created = [row.id for row in rows], [row.created_at for row in rows]
        assert ids == sorted(ids)
        assert created == sorted(created)
        assert ids[-1] - ids[0] > 10 * len(ids)
        assert created[-1] < large.clock.microseconds()


def test_receipts_come_in_all_the_ways_there_are(large: World) -> None:
    invoices = [row for row in large.invoices if row.settles]
    assert any(len(row.matches) > 1 for row in invoices)
    assert any(len(row.matches) > 1 for row in large.transactions)
    assert any(row.payments and not row.matches for row in invoices)
    assert any(row.paid_by_hand and not row.payments and not row.matches for row in invoices)
    statuses = {payment.status for row in invoices for payment in row.payments}
    assert statuses & RECEIVED
    assert statuses - RECEIVED
    assert all(not row.payments and not row.matches for row in large.invoices if not row.settles)


def test_what_may_be_empty_or_null_sometimes_is(large: World) -> None:
    customers, invoices = list(large.customers), list(large.invoices)
    for values in (
        {row.reg_no for row in customers},
        {row.phone for row in customers},
        {row.reference for row in customers},
        {contact.email for row in customers for contact in row.contacts},
        {row.label for row in invoices},
    ):
        assert "" in values
    for nullable in (
        {row.customer_id for row in invoices},
        {row.date for row in invoices if row.draft},
        {row.deadline for row in invoices if not row.draft},
        {row.credited_invoice_id for row in invoices if row.kind == "credit_note"},
        {row.ledger_account_id for row in customers},
        {row.label for row in large.transactions},
    ):
        assert None in nullable
        assert len(nullable) > 1
    assert {len(row.contacts) for row in customers} == {0, 1, 2, 3}
    assert any("e_invoicing" in (row.extra or {}) for row in invoices)
    assert len({row.currency for row in invoices}) == 4
    assert any(ord(letter) > 127 for row in customers for letter in row.name)
