"""What happens at Pennylane between the first synchronization and the second, and before the first."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from benchmarks.stand_in import StandIn

_BEFORE: tuple[tuple[str, dict[str, object]], ...] = (
    ("create_draft", {}),
    ("create_payment", {}),
    ("create_payment", {}),
)
_AFTER: tuple[tuple[str, int], ...] = (
    ("create_invoice", 5),
    ("pay_invoice", 5),
    ("create_payment", 2),
    ("update_payment_status", 2),
    ("delete_payment", 1),
    ("unmatch_transaction", 2),
    ("mark_paid", 1),
    ("delete_draft", 1),
    ("delete_invoice", 2),
    ("create_credit_note", 2),
    ("create_contact", 2),
    ("update_contact", 2),
    ("delete_contact", 3),
    ("create_customer", 1),
    ("update_customer", 2),
)
CHANGES = sum(count for _, count in _AFTER) + 2


@dataclass(frozen=True)
class Cast:
    """Accounts with a part to play: left out from the start, left out before the second run, deleted."""

    never: int
    later: int
    deleted: int


def prepare(stand_in: StandIn) -> Cast:
    """See to it that there is something of every kind to be changed, and choose busy accounts for the parts."""
    for kind, arguments in _BEFORE:
        stand_in.change(kind, **arguments)
    _draft_a_credit_note(stand_in)
    documents = stand_in.state()["customer_invoices"]
    owners = Counter(one["customer"]["id"] for one in documents if one["customer"])
    return Cast(*(owner for owner, _ in owners.most_common(3)))


def happen(stand_in: StandIn, cast: Cast) -> None:
    """A day in a company's life, with more deletions than most have."""
    stand_in.change("update_invoice", id=_some_credit_note(stand_in.state()), label="Geste commercial")
    stand_in.change("delete_customer", id=cast.deleted)
    for kind, count in _AFTER:
        for _ in range(count):
            stand_in.change(kind)


def _draft_a_credit_note(stand_in: StandIn) -> None:
    """One that credits no invoice: a draft for one that is then deleted."""
    documents = stand_in.state()["customer_invoices"]
    invoice = next(one["id"] for one in documents if one["status"] == "late")
    stand_in.change("create_credit_note", invoice_id=invoice, draft=True)
    stand_in.change("delete_invoice", id=invoice)


def _some_credit_note(state: dict[str, Any]) -> int:
    return next(int(one["id"]) for one in state["customer_invoices"] if one["status"] == "credit_note")
