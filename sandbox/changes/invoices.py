"""Invoices, credit notes and other documents are made, changed, moved and removed."""

from datetime import date
from typing import Any, Literal

from sandbox.changes.picking import ImpossibleError, pick_customer, pick_draft, pick_finalized, pick_invoice
from sandbox.changes.receipts import detach
from sandbox.generator.books import mirror_amounts
from sandbox.generator.documents import document_number, make_document
from sandbox.generator.vocabulary import RATES
from sandbox.money import convert, share, to_cents
from sandbox.records import CREDIT_NOTE, ESTIMATES, INVOICE, Customer, Invoice
from sandbox.world import World

CustomerId = int | Literal["any"] | None
"""Which customer a document is for: `any` picks one, None stands for none at all."""

_AMOUNTS = ("amount", "tax")
_DAYS = ("date", "deadline")
_COLUMNS = {"label": "label", "invoice_number": "number", "currency": "currency", "exchange_rate": "exchange_rate"}
_EXTRA = (
    "special_mention",
    "language",
    "quote",
    "billing_subscription",
    "external_reference",
    "e_invoicing",
    "transaction_reference",
    "customer_invoice_template",
    "pdf_description",
    "pdf_invoice_subject",
    "pdf_invoice_free_text",
    "discount",
    "filename",
)


def create_invoice(world: World, *, customer_id: CustomerId = "any", **fields: Any) -> dict[str, Any]:
    """A finalized invoice of today."""
    return _create(world, customer_id, fields)


def create_draft(world: World, *, customer_id: CustomerId = "any", **fields: Any) -> dict[str, Any]:
    return _create(world, customer_id, fields, draft=True)


def create_estimate(
    world: World, *, customer_id: CustomerId = "any", status: str = "estimate_pending", **fields: Any
) -> dict[str, Any]:
    """A document that is no invoice but stands in the same list."""
    if status not in ESTIMATES:
        raise ImpossibleError(f"the status of an estimate is one of {', '.join(ESTIMATES)}")
    return _create(world, customer_id, fields, kind=status)


def finalize_invoice(world: World, *, id: int | None = None) -> dict[str, Any]:
    """Turns a draft into the real thing: it gets a number, a date and a deadline."""
    with world.lock:
        invoice = pick_draft(world, id)
        invoice.draft = False
        invoice.number = document_number(invoice.kind, world.clock.microseconds(), _next_number(world))
        invoice.date = invoice.date or world.clock.today().toordinal()
        if invoice.deadline is None and invoice.kind != CREDIT_NOTE:
            invoice.deadline = invoice.date + 30
        world.invoices.reorder()
        return _changed(world, invoice)


def update_invoice(world: World, *, id: int | None = None, **fields: Any) -> dict[str, Any]:
    """Other values for fields of a document, named as the API names them; a new label if none is given."""
    with world.lock:
        invoice = world.invoices.get(id) if id is not None else pick_invoice(world, None)
        if invoice is None:
            raise ImpossibleError(f"{id} is not a document of the invoice list")
        _set(invoice, fields or {"label": f"Prestation n° {world.random.randrange(10**6)}"})
        world.invoices.reorder()
        return _changed(world, invoice)


def move_invoice(
    world: World,
    *,
    id: int | None = None,
    customer_id: CustomerId = "any",
) -> dict[str, Any]:
    """Gives an invoice to another customer, or with null to none."""
    with world.lock:
        invoice = pick_invoice(world, id)
        customer = _customer(world, customer_id)
        for _ in range(20):
            if customer_id == "any" and customer is not None and customer.id == invoice.customer_id:
                customer = pick_customer(world, None)
        if customer is None:
            invoice.former_customer_id = invoice.customer_id or invoice.former_customer_id
        invoice.customer_id = None if customer is None else customer.id
        return _changed(world, invoice) | {"customer_id": invoice.customer_id}


def delete_invoice(world: World, *, id: int | None = None) -> dict[str, Any]:
    """Removes an invoice, or whatever finalized document `id` is; transactions that settled it are free again."""
    with world.lock:
        invoice = pick_invoice(world, None) if id is None else pick_finalized(world, id)
        return _delete(world, invoice)


def delete_draft(world: World, *, id: int | None = None) -> dict[str, Any]:
    with world.lock:
        return _delete(world, pick_draft(world, id))


def create_credit_note(
    world: World, *, invoice_id: int | None = None, percent: int = 100, draft: bool = False
) -> dict[str, Any]:
    """Credits a whole invoice, which is then cancelled, or `percent` of it. A draft leaves the invoice alone."""
    if not 0 < percent <= 100:
        raise ImpossibleError("percent is 1 to 100")
    with world.lock:
        credited = pick_invoice(world, invoice_id)
        customer = None if credited.customer_id is None else world.customers[credited.customer_id]
        note = _make(world, customer, kind=CREDIT_NOTE, draft=draft)
        note.credited_invoice_id = credited.id
        mirror_amounts(note, credited, percent)
        _add(world, note)
        if not draft:
            credited.cancelled = "cancelled" if percent == 100 else "partially_cancelled"
            world.invoice_changed(credited, "update", note.created_at)
        return {"id": note.id, "invoice_id": credited.id}


def cancel_invoice(world: World, *, id: int | None = None) -> dict[str, Any]:
    with world.lock:
        invoice = pick_invoice(world, id)
        invoice.cancelled = "cancelled"
        return _changed(world, invoice)


def archive_invoice(world: World, *, id: int | None = None) -> dict[str, Any]:
    with world.lock:
        invoice = pick_invoice(world, id)
        invoice.archived_at = world.clock.microseconds()
        return _changed(world, invoice)


def mark_paid(world: World, *, id: int | None = None) -> dict[str, Any]:
    """Someone says by hand that an invoice is paid: no receipt stands anywhere."""
    with world.lock:
        invoice = pick_invoice(world, id)
        invoice.paid_by_hand = True
        return _changed(world, invoice)


def _create(
    world: World, customer_id: CustomerId, fields: dict[str, Any], *, kind: str = INVOICE, draft: bool = False
) -> dict[str, Any]:
    with world.lock:
        invoice = _make(world, _customer(world, customer_id), kind=kind, draft=draft)
        _set(invoice, fields)
        _add(world, invoice)
        return {"id": invoice.id, "customer_id": invoice.customer_id}


def _make(world: World, customer: Customer | None, *, kind: str, draft: bool) -> Invoice:
    id_ = world.ids.invoice + world.random.randrange(1, 200)
    now = world.clock.microseconds()
    return make_document(world.random, id_, now, _next_number(world), customer=customer, kind=kind, draft=draft)


def _add(world: World, invoice: Invoice) -> None:
    world.ids.invoice = invoice.id
    world.invoices.add(invoice)
    world.invoice_changed(invoice, "insert", invoice.created_at)


def _customer(world: World, customer_id: CustomerId) -> Customer | None:
    if customer_id is None or (customer_id == "any" and not len(world.customers)):
        return None
    return pick_customer(world, customer_id if isinstance(customer_id, int) else None)


def _next_number(world: World) -> int:
    world.next_number += 1
    return world.next_number - 1


def _changed(world: World, invoice: Invoice) -> dict[str, Any]:
    world.invoice_changed(invoice, "update", world.clock.microseconds())
    return {"id": invoice.id}


def _delete(world: World, invoice: Invoice) -> dict[str, Any]:
    now = world.clock.microseconds()
    for transaction_id, _ in invoice.matches:
        detach(world.transactions[transaction_id], invoice)
        world.transaction_changed(world.transactions[transaction_id], "update", now)
    for other in world.invoices:
        if other.credited_invoice_id == invoice.id:
            other.credited_invoice_id = None
            world.invoice_changed(other, "update", now)
    world.invoices.remove(invoice.id)
    world.invoice_changed(invoice, "delete", now)
    return {"id": invoice.id}


def _set(invoice: Invoice, fields: dict[str, Any]) -> None:
    """Sets fields by their API names; `amount` and `tax` are in its currency and give the euros too."""
    for name, value in fields.items():
        if name in _DAYS:
            setattr(invoice, name, None if value is None else date.fromisoformat(str(value)).toordinal())
        elif name in _COLUMNS:
            setattr(invoice, _COLUMNS[name], value)
        elif name in _EXTRA:
            invoice.extra = {**(invoice.extra or {}), name: value}
        elif name not in _AMOUNTS:
            raise ImpossibleError(f"cannot set {name}")
    if fields.keys() & {*_AMOUNTS, "currency", "exchange_rate"}:
        _set_amounts(invoice, fields)


def _set_amounts(invoice: Invoice, fields: dict[str, Any]) -> None:
    if "currency" in fields and "exchange_rate" not in fields:
        invoice.exchange_rate = RATES[invoice.currency][0] if invoice.currency in RATES else "1.0"
    before = invoice.currency_cents
    if "amount" in fields:
        invoice.currency_cents = to_cents(fields["amount"])
        invoice.currency_tax_cents = share(invoice.currency_cents, invoice.currency_tax_cents, before)
    if "tax" in fields:
        invoice.currency_tax_cents = to_cents(fields["tax"])
    invoice.cents = convert(invoice.currency_cents, invoice.exchange_rate)
    invoice.tax_cents = convert(invoice.currency_tax_cents, invoice.exchange_rate)
