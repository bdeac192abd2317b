"""Changes raise the events that Pennylane would raise, and leave books that fit together."""

from typing import Any

import pytest

from sandbox.changes import customers, invoices, receipts
from sandbox.changes.randomly import CHANGES, change_randomly
from sandbox.clock import Clock
from sandbox.generator.books import make_world
from sandbox.world import World
from tests.sandbox.conftest import NOW

FEEDS = ("customer_feed", "invoice_feed", "transaction_feed")
Events = dict[str, list[tuple[int, str]]]


@pytest.fixture
def world() -> World:
    return make_world(Clock(NOW, frozen=True), customers=12, invoices=150)


def _events(world: World) -> Events:
    """What the feeds tell from now on; the clock is moved so that earlier events do not count."""
    now = world.clock.microseconds()
    found: Events = {}
    for name in FEEDS:
        page, _ = getattr(world, name).page(None, 10_000, now)
        found[name] = [(event.id, event.operation) for event in page if event.processed_at >= now]
    return {name: events for name, events in found.items() if events}


def _raised(world: World, kind: str, **arguments: Any) -> tuple[dict[str, Any], Events]:
    world.clock.advance(1)
    made = CHANGES[kind](world, **arguments)
    return made, _events(world)


@pytest.mark.parametrize(
    ("kind", "feed", "operation"),
    [
        ("create_invoice", "invoice_feed", "insert"),
        ("create_draft", "invoice_feed", "insert"),
        ("create_estimate", "invoice_feed", "insert"),
        ("finalize_invoice", "invoice_feed", "update"),
        ("update_invoice", "invoice_feed", "update"),
        ("move_invoice", "invoice_feed", "update"),
        ("mark_paid", "invoice_feed", "update"),
        ("cancel_invoice", "invoice_feed", "update"),
        ("archive_invoice", "invoice_feed", "update"),
        ("delete_draft", "invoice_feed", "delete"),
        ("create_customer", "customer_feed", "insert"),
        ("update_customer", "customer_feed", "update"),
    ],
)
def test_a_change_of_one_record_is_one_event(world: World, kind: str, feed: str, operation: str) -> None:
    made, events = _raised(world, kind)
    assert events == {feed: [(made["id"], operation)]}


@pytest.mark.parametrize("kind", ["create_contact", "update_contact", "delete_contact", "update_payment_status"])
def test_no_event_is_raised_for_contacts_nor_for_the_status_of_a_payment(world: World, kind: str) -> None:
    receipts.create_payment(world)
    _, events = _raised(world, kind)
    assert events == {}


def test_a_payment_updates_its_invoice_when_it_comes_and_when_it_goes(world: World) -> None:
    made, events = _raised(world, "create_payment")
    assert events == {"invoice_feed": [(made["invoice_id"], "update")]}
    gone, events = _raised(world, "delete_payment", id=made["id"])
    assert gone == made
    assert events == {"invoice_feed": [(made["invoice_id"], "update")]}


def test_a_transaction_updates_every_invoice_that_it_settles(world: World) -> None:
    made, events = _raised(world, "pay_invoices", count=4)
    updates = [(id_, "update") for id_ in made["invoice_ids"]]
    assert len(updates) > 1
    assert events == {"transaction_feed": [(made["id"], "insert")], "invoice_feed": updates}
    _, events = _raised(world, "unmatch_transaction", id=made["id"])
    assert events == {"transaction_feed": [(made["id"], "update")], "invoice_feed": updates}


def test_a_credit_note_updates_the_invoice_it_credits_unless_it_is_a_draft(world: World) -> None:
    made, events = _raised(world, "create_credit_note")
    assert events == {"invoice_feed": [(made["id"], "insert"), (made["invoice_id"], "update")]}
    made, events = _raised(world, "create_credit_note", draft=True)
    assert events == {"invoice_feed": [(made["id"], "insert")]}


def test_deleting_a_customer_leaves_its_invoices_without_one(world: World) -> None:
    id_ = next(row.customer_id for row in world.invoices if row.customer_id is not None)
    made, events = _raised(world, "delete_customer", id=id_)
    assert made["invoices"]
    assert events["customer_feed"] == [(id_, "delete")]
    assert events["invoice_feed"] == [(invoice, "update") for invoice in made["invoices"]]
    assert all(world.invoices[invoice].customer_id is None for invoice in made["invoices"])
    assert id_ not in world.customers


def test_deleting_a_paid_invoice_frees_its_transaction(world: World) -> None:
    invoice = next(row for row in world.invoices if row.matches and row.settles)
    transaction = world.transactions[invoice.matches[0][0]]
    _, events = _raised(world, "delete_invoice", id=invoice.id)
    assert events["invoice_feed"][-1] == (invoice.id, "delete")
    assert (transaction.id, "update") in events["transaction_feed"]
    assert invoice.id not in [matched for matched, _ in transaction.matches]


def test_deleting_a_credited_invoice_leaves_no_link_to_it(world: World) -> None:
    made = invoices.create_credit_note(world, percent=10)
    _, events = _raised(world, "delete_invoice", id=made["invoice_id"])
    assert (made["id"], "update") in events["invoice_feed"]
    assert world.invoices[made["id"]].credited_invoice_id is None


def test_moving_changes_the_customer_or_takes_it_away(world: World) -> None:
    invoice = next(row for row in world.invoices if row.settles and row.customer_id is not None and not row.cancelled)
    before = invoice.customer_id
    assert invoices.move_invoice(world, id=invoice.id)["customer_id"] not in (before, None)
    assert invoices.move_invoice(world, id=invoice.id, customer_id=None)["customer_id"] is None


def test_updating_an_amount_keeps_everything_in_proportion(world: World) -> None:
    id_ = invoices.create_invoice(world, amount="120.00", tax="20.00", currency="EUR")["id"]
    invoices.update_invoice(world, id=id_, amount="60.00", label=None, deadline="2027-01-01")
    row = world.invoices[id_]
    assert (row.cents, row.tax_cents, row.currency_cents, row.label) == (6000, 1000, 6000, None)


def test_contacts_come_change_and_go(world: World) -> None:
    made = customers.create_contact(world, email="a@example.org")
    customers.update_contact(world, id=made["id"], email="b@example.org")
    contacts = {contact.id: contact for contact in world.customers[made["customer_id"]].contacts}
    assert contacts[made["id"]].email == "b@example.org"
    customers.delete_contact(world, id=made["id"])
    assert made["id"] not in [contact.id for contact in world.customers[made["customer_id"]].contacts]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_books_fit_together_after_many_random_changes(seed: int) -> None:
    world = make_world(Clock(NOW, frozen=True), customers=10, invoices=100, seed=seed)
    made = change_randomly(world, count=1500)["changes"]
    assert {change["kind"] for change in made} == set(CHANGES)
    for invoice in world.invoices:
        assert invoice.customer_id is None or invoice.customer_id in world.customers
        assert invoice.credited_invoice_id is None or invoice.credited_invoice_id in world.invoices
        for transaction, cents in invoice.matches:
            assert (invoice.id, cents) in world.transactions[transaction].matches
    for transaction_row in world.transactions:
        assert sum(cents for _, cents in transaction_row.matches) <= transaction_row.cents
        for invoice_id, cents in transaction_row.matches:
            assert (transaction_row.id, cents) in world.invoices[invoice_id].matches


def test_random_changes_are_the_same_for_the_same_seed() -> None:
    first, second = (make_world(Clock(NOW, frozen=True), customers=10, invoices=100) for _ in range(2))
    assert change_randomly(first, count=200) == change_randomly(second, count=200)
    other = make_world(Clock(NOW, frozen=True), customers=10, invoices=100, seed=2)
    assert change_randomly(other, count=5) != change_randomly(first, count=5)
