"""Money comes in, in both of the places where it stands, or is taken back."""

from typing import Any

from sandbox.changes.picking import ImpossibleError, pick, pick_open_invoice, pick_payment
from sandbox.generator.receipts import enter_payment, enter_transfer
from sandbox.money import to_cents
from sandbox.records import Invoice, Transaction
from sandbox.settlement import remaining_cents
from sandbox.world import World

STATUSES = (
    "initiated",
    "pending",
    "emitted",
    "found",
    "not_found",
    "aborted",
    "error",
    "refunded",
    "prepared",
    "pending_customer_approval",
    "pending_submission",
    "submitted",
    "confirmed",
    "paid_out",
    "cancelled",
    "customer_approval_denied",
    "failed",
    "charged_back",
    "resubmission_requested",
    "draft",
)
"""The statuses of a payment, in the order of openapi.json."""


def pay_invoice(world: World, *, id: int | None = None, amount: str | None = None) -> dict[str, Any]:
    """A bank transaction over what is due, or over `amount` euros, matched with one invoice."""
    with world.lock:
        invoice = pick_open_invoice(world, id)
        return _transfer(world, [(invoice, _cents(amount, remaining_cents(invoice)))])


def pay_invoices(world: World, *, ids: list[int] | None = None, count: int = 3) -> dict[str, Any]:
    """One bank transaction that settles several invoices: `ids`, or `count` random ones."""
    with world.lock:
        wanted: list[int | None] = [*ids] if ids else [None] * count
        invoices: dict[int, Invoice] = {}
        for id_ in wanted:
            invoice = pick_open_invoice(world, id_)
            invoices[invoice.id] = invoice
        return _transfer(world, [(invoice, remaining_cents(invoice)) for invoice in invoices.values()])


def unmatch_transaction(
    world: World,
    *,
    id: int | None = None,
    invoice_id: int | None = None,
) -> dict[str, Any]:
    """Takes the match of a transaction back: with all of its invoices, or with one of them."""
    with world.lock:
        transaction = pick(world, world.transactions, id, lambda row: bool(row.matches), "a matched transaction")
        wanted = [matched for matched, _ in transaction.matches if invoice_id in (None, matched)]
        if not wanted:
            raise ImpossibleError(f"transaction {transaction.id} is not matched with invoice {invoice_id}")
        now = world.clock.microseconds()
        for matched in wanted:
            invoice = world.invoices[matched]
            detach(transaction, invoice)
            invoice.matches = tuple(match for match in invoice.matches if match[0] != transaction.id)
            world.invoice_changed(invoice, "update", now)
        world.transaction_changed(transaction, "update", now)
        return {"id": transaction.id, "invoice_ids": wanted}


def create_payment(
    world: World, *, invoice_id: int | None = None, amount: str | None = None, status: str = "pending"
) -> dict[str, Any]:
    """A payment that Pennylane collects, over what is due or `amount` euros. The invoice changes with it."""
    _check(status)
    with world.lock:
        invoice = pick_open_invoice(world, invoice_id)
        now = world.clock.microseconds()
        cents = _cents(amount, remaining_cents(invoice))
        payment = enter_payment(world, now, invoice, cents, status)
        world.invoice_changed(invoice, "update", now)
        return {"id": payment.id, "invoice_id": invoice.id}


def update_payment_status(world: World, *, id: int | None = None, status: str = "confirmed") -> dict[str, Any]:
    """The collection goes on or fails. No event: nothing promises one, though the invoice may now be paid."""
    _check(status)
    with world.lock:
        invoice, payment = pick_payment(world, id)
        payment.status = status
        payment.updated_at = world.clock.microseconds()
        return {"id": payment.id, "invoice_id": invoice.id}


def delete_payment(world: World, *, id: int | None = None) -> dict[str, Any]:
    with world.lock:
        invoice, payment = pick_payment(world, id)
        invoice.payments = tuple(each for each in invoice.payments if each is not payment)
        world.invoice_changed(invoice, "update", world.clock.microseconds())
        return {"id": payment.id, "invoice_id": invoice.id}


def detach(transaction: Transaction, invoice: Invoice) -> None:
    """Removes the invoice from what a transaction settles."""
    transaction.matches = tuple(match for match in transaction.matches if match[0] != invoice.id)


def _transfer(world: World, parts: list[tuple[Invoice, int]]) -> dict[str, Any]:
    now = world.clock.microseconds()
    transaction = enter_transfer(world, world.random, now, parts)
    world.transaction_changed(transaction, "insert", now)
    for invoice, _ in parts:
        world.invoice_changed(invoice, "update", now)
    return {"id": transaction.id, "invoice_ids": [invoice.id for invoice, _ in parts]}


def _cents(amount: str | None, due: int) -> int:
    cents = due if amount is None else to_cents(amount)
    if cents <= 0:
        raise ImpossibleError("the amount of a receipt is above zero")
    return cents


def _check(status: str) -> None:
    if status not in STATUSES:
        raise ImpossibleError(f"unknown payment status {status!r}")
