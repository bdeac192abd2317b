"""Statuses and what remains are worked out at reading time, from receipts in both places."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from sandbox.changes import invoices, receipts
from sandbox.clock import Clock
from sandbox.generator.books import make_world
from sandbox.server import SandboxServer
from tests.sandbox.client import Caller, caller


@pytest.fixture
def api(server: SandboxServer) -> Caller:
    return caller(server)


def _invoice(server: SandboxServer, **fields: Any) -> int:
    given = {"amount": "120.00", "tax": "20.00", "currency": "EUR", "deadline": "2026-09-20"}
    return int(invoices.create_invoice(server.world, **{**given, **fields})["id"])


def _settled(api: Caller, id_: int) -> tuple[Any, ...]:
    record = api.json(f"/customer_invoices/{id_}")
    fields = ("status", "paid", "remaining_amount_with_tax", "remaining_amount_without_tax")
    return tuple(record[field] for field in fields)


def test_an_invoice_becomes_late_in_paris_without_any_event(server: SandboxServer, api: Caller) -> None:
    id_ = _invoice(server)
    events = len(api.items("/changelogs/customer_invoices"))
    assert _settled(api, id_) == ("upcoming", False, "120.00", "100.00")
    clock = server.sandbox.clock
    clock.advance((datetime.fromisoformat("2026-09-20T23:59:59+02:00") - clock.now()).total_seconds())
    assert _settled(api, id_)[0] == "upcoming"
    clock.advance(1)
    assert _settled(api, id_)[0] == "late"
    assert len(api.items("/changelogs/customer_invoices")) == events


def test_an_invoice_without_deadline_never_gets_late(server: SandboxServer, api: Caller) -> None:
    id_ = _invoice(server, deadline=None)
    server.sandbox.clock.advance(1000 * 86_400)
    assert _settled(api, id_)[0] == "upcoming"


def test_a_transaction_settles_partly_then_wholly_and_can_be_taken_back(server: SandboxServer, api: Caller) -> None:
    id_ = _invoice(server)
    receipts.pay_invoice(server.world, id=id_, amount="30.50")
    assert _settled(api, id_) == ("partially_paid", False, "89.50", "74.58")
    last = receipts.pay_invoice(server.world, id=id_)["id"]
    assert _settled(api, id_) == ("paid", True, "0.00", "0.00")
    matched = api.items(f"/customer_invoices/{id_}/matched_transactions", sort="id")
    assert [record["amount"] for record in matched] == ["30.50", "89.50"]
    assert api.items(f"/customer_invoices/{id_}/payments") == []
    receipts.unmatch_transaction(server.world, id=last)
    assert _settled(api, id_) == ("partially_paid", False, "89.50", "74.58")
    assert api.json(f"/transactions/{last}")["outstanding_balance"] == "89.50"
    assert api.ids(f"/transactions/{last}/matched_invoices") == []


def test_only_a_finished_payment_counts_as_received(server: SandboxServer, api: Caller) -> None:
    id_ = _invoice(server)
    payment = receipts.create_payment(server.world, invoice_id=id_, status="pending")["id"]
    records = api.items(f"/customer_invoices/{id_}/payments")
    assert [(record["id"], record["currency_amount"], record["status"]) for record in records] == [
        (payment, "120.00", "pending")
    ]
    for status in receipts.STATUSES:
        receipts.update_payment_status(server.world, id=payment, status=status)
        paid = status in ("found", "confirmed", "paid_out")
        assert _settled(api, id_) == (
            ("paid", True, "0.00", "0.00") if paid else ("upcoming", False, "120.00", "100.00")
        )
    receipts.delete_payment(server.world, id=payment)
    assert api.items(f"/customer_invoices/{id_}/payments") == []


def test_both_places_add_up_and_too_much_money_leaves_zero(server: SandboxServer, api: Caller) -> None:
    id_ = _invoice(server)
    receipts.create_payment(server.world, invoice_id=id_, amount="100.00", status="confirmed")
    receipts.pay_invoice(server.world, id=id_, amount="19.99")
    assert _settled(api, id_) == ("partially_paid", False, "0.01", "0.01")
    receipts.pay_invoice(server.world, id=id_, amount="5.00")
    assert _settled(api, id_) == ("paid", True, "0.00", "0.00")


def test_one_transaction_settles_several_invoices_consistently(server: SandboxServer, api: Caller) -> None:
    ids = [_invoice(server), _invoice(server, amount="60.00", tax="10.00")]
    transaction = receipts.pay_invoices(server.world, ids=ids)["id"]
    record = api.json(f"/transactions/{transaction}")
    assert (record["amount"], record["outstanding_balance"]) == ("180.00", "0.00")
    assert api.ids(f"/transactions/{transaction}/matched_invoices") == ids[::-1]
    for id_ in ids:
        assert _settled(api, id_) == ("paid", True, "0.00", "0.00")
        assert api.ids(f"/customer_invoices/{id_}/matched_transactions") == [transaction]
    receipts.unmatch_transaction(server.world, id=transaction, invoice_id=ids[0])
    assert [_settled(api, id_)[0] for id_ in ids] == ["upcoming", "paid"]


def test_an_invoice_marked_paid_by_hand_has_no_receipts(server: SandboxServer, api: Caller) -> None:
    id_ = _invoice(server)
    invoices.mark_paid(server.world, id=id_)
    assert _settled(api, id_) == ("paid", True, "0.00", "0.00")
    for place in ("payments", "matched_transactions"):
        assert api.items(f"/customer_invoices/{id_}/{place}") == []


def test_a_draft_has_nothing_remaining_and_no_receipts_until_finalized(server: SandboxServer, api: Caller) -> None:
    id_ = invoices.create_draft(server.world, amount="50.00")["id"]
    record = api.json(f"/customer_invoices/{id_}")
    assert (record["status"], record["draft"], record["remaining_amount_with_tax"]) == ("draft", True, None)
    assert record["public_file_url"] is None
    assert api.items(f"/customer_invoices/{id_}/payments") == []
    invoices.finalize_invoice(server.world, id=id_)
    record = api.json(f"/customer_invoices/{id_}")
    assert (record["status"], record["draft"], record["remaining_amount_with_tax"]) == ("upcoming", False, "50.00")
    assert record["invoice_number"]


def test_an_archived_invoice_shows_no_transactions(server: SandboxServer, api: Caller) -> None:
    id_ = _invoice(server)
    receipts.pay_invoice(server.world, id=id_, amount="10.00")
    invoices.archive_invoice(server.world, id=id_)
    assert _settled(api, id_)[0] == "archived"
    assert api.json(f"/customer_invoices/{id_}")["archived_at"] is not None
    assert api.items(f"/customer_invoices/{id_}/matched_transactions") == []


def test_credit_notes_cancel_or_partly_cancel_their_invoice(server: SandboxServer, api: Caller) -> None:
    whole, part, draft = _invoice(server), _invoice(server), _invoice(server)
    note = invoices.create_credit_note(server.world, invoice_id=whole)["id"]
    invoices.create_credit_note(server.world, invoice_id=part, percent=40)
    pending = invoices.create_credit_note(server.world, invoice_id=draft, draft=True)["id"]
    assert [_settled(api, id_)[0] for id_ in (whole, part, draft)] == ["cancelled", "partially_cancelled", "upcoming"]
    record = api.json(f"/customer_invoices/{note}")
    assert (record["status"], record["amount"], record["tax"]) == ("credit_note", "-120.00", "-20.00")
    assert record["credited_invoice"]["id"] == whole
    assert api.json(f"/customer_invoices/{pending}")["status"] == "draft"
    assert api.items(f"/customer_invoices/{note}/payments") == []


@pytest.mark.parametrize("status", ["estimate_pending", "estimate_accepted", "estimate_invoiced", "estimate_denied"])
def test_an_estimate_stands_in_the_list_with_its_own_status(server: SandboxServer, api: Caller, status: str) -> None:
    id_ = invoices.create_estimate(server.world, status=status)["id"]
    record = next(item for item in api.items("/customer_invoices", limit=100) if item["id"] == id_)
    assert (record["status"], record["draft"], record["paid"]) == (status, False, False)


def test_other_currencies_come_with_exact_euros(server: SandboxServer, api: Caller) -> None:
    id_ = _invoice(server, currency="USD", exchange_rate="0.8571")
    record = api.json(f"/customer_invoices/{id_}")
    assert (record["currency_amount"], record["amount"], record["tax"]) == ("120.00", "102.85", "17.14")
    assert record["remaining_amount_with_tax"] == "102.85"
    transaction = receipts.pay_invoice(server.world, id=id_)["id"]
    paid = api.json(f"/transactions/{transaction}")
    assert (paid["currency"], paid["currency_amount"], paid["amount"]) == ("USD", "120.00", "102.85")


def test_a_large_list_holds_every_status() -> None:
    from sandbox.settlement import status

    clock = Clock()
    world = make_world(clock, customers=50, invoices=6000)
    today: Callable[[], int] = clock.today().toordinal
    assert {status(invoice, today()) for invoice in world.invoices} == {
        *("archived", "incomplete", "cancelled", "paid", "partially_paid", "partially_cancelled", "upcoming", "late"),
        *("draft", "credit_note", "proforma", "shipping_order", "purchasing_order"),
        *("estimate_pending", "estimate_accepted", "estimate_invoiced", "estimate_denied"),
    }
