"""Which record a change is about, and what makes a change impossible."""

from collections.abc import Callable
from typing import TypeVar

from sandbox.records import Contact, Customer, Invoice, Payment
from sandbox.settlement import remaining_cents
from sandbox.table import Row, Table
from sandbox.world import World

RowT = TypeVar("RowT", bound=Row)

_ATTEMPTS = 200


class ImpossibleError(ValueError):
    """The change cannot be made: no such record, or none that it would suit."""


def pick(world: World, table: Table[RowT], id_: int | None, suits: Callable[[RowT], bool], what: str) -> RowT:
    """The record with that id or, without one, a suitable one at random; a given one has to suit as well."""
    if id_ is not None:
        row = table.get(id_)
        if row is None or not suits(row):
            raise ImpossibleError(f"{id_} is not {what}")
        return row
    for _ in range(_ATTEMPTS if len(table) else 0):
        row = table.at(world.random.randrange(len(table)))
        if suits(row):
            return row
    row = next((row for row in table if suits(row)), None)
    if row is None:
        raise ImpossibleError(f"there is not {what}")
    return row


def pick_customer(world: World, id_: int | None) -> Customer:
    return pick(world, world.customers, id_, lambda _: True, "a customer")


def pick_invoice(world: World, id_: int | None) -> Invoice:
    """A finalized invoice that is neither archived nor cancelled."""
    return pick(world, world.invoices, id_, _is_live, "an invoice")


def pick_open_invoice(world: World, id_: int | None) -> Invoice:
    return pick(
        world, world.invoices, id_, lambda row: _is_live(row) and remaining_cents(row) > 0, "an invoice with money due"
    )


def pick_finalized(world: World, id_: int) -> Invoice:
    return pick(world, world.invoices, id_, lambda row: not row.draft, "a finalized document")


def pick_draft(world: World, id_: int | None) -> Invoice:
    return pick(world, world.invoices, id_, lambda row: row.draft, "a draft")


def pick_contact(world: World, id_: int | None) -> tuple[Customer, Contact]:
    def suits(row: Customer) -> bool:
        return any(id_ in (None, contact.id) for contact in row.contacts)

    customer = pick(world, world.customers, None, suits, "a contact")
    return customer, next(contact for contact in customer.contacts if id_ in (None, contact.id))


def pick_payment(world: World, id_: int | None) -> tuple[Invoice, Payment]:
    def suits(row: Invoice) -> bool:
        return any(id_ in (None, payment.id) for payment in row.payments)

    invoice = pick(world, world.invoices, None, suits, "a payment")
    return invoice, next(payment for payment in invoice.payments if id_ in (None, payment.id))


def _is_live(row: Invoice) -> bool:
    return row.settles and row.archived_at is None and row.cancelled != "cancelled"
