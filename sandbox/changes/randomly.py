"""All changes by name, and random ones in the proportions of daily business."""

from collections.abc import Callable
from typing import Any

from sandbox.changes import customers, invoices, receipts
from sandbox.changes.picking import ImpossibleError
from sandbox.world import World

Change = Callable[..., dict[str, Any]]

_WEIGHTS: dict[Change, int] = {
    invoices.create_invoice: 22,
    receipts.pay_invoice: 18,
    receipts.pay_invoices: 4,
    invoices.update_invoice: 6,
    receipts.create_payment: 5,
    receipts.update_payment_status: 5,
    customers.create_customer: 5,
    customers.update_customer: 5,
    customers.create_contact: 4,
    customers.update_contact: 4,
    invoices.create_credit_note: 4,
    invoices.create_draft: 4,
    invoices.finalize_invoice: 3,
    invoices.create_estimate: 2,
    customers.delete_contact: 2,
    receipts.unmatch_transaction: 2,
    invoices.mark_paid: 2,
    invoices.move_invoice: 1,
    invoices.delete_invoice: 1,
    invoices.delete_draft: 1,
    invoices.cancel_invoice: 1,
    invoices.archive_invoice: 1,
    receipts.delete_payment: 1,
    customers.delete_customer: 1,
}

CHANGES: dict[str, Change] = {change.__name__: change for change in _WEIGHTS}


def change_something(world: World) -> dict[str, Any]:
    """One plausible change; tells its `kind` and the `id` that it was about."""
    with world.lock:
        for _ in range(50):
            change = world.random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
            try:
                return {"kind": change.__name__, **change(world)}
            except ImpossibleError:
                continue
        return {"kind": "create_customer", **customers.create_customer(world)}


def change_randomly(world: World, *, count: int = 1) -> dict[str, Any]:
    """`count` plausible changes one after the other."""
    with world.lock:
        made = [change_something(world) for _ in range(count)]
    return {"id": made[-1]["id"] if made else None, "changes": made}
