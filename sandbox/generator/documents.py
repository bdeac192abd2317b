"""Documents of the invoice list, one at a time: for the seeded books and for changes alike."""

import random
from typing import Any

from sandbox.clock import to_datetime
from sandbox.generator import vocabulary as words
from sandbox.money import convert, share
from sandbox.records import CREDIT_NOTE, INVOICE, Customer, Invoice

_PREFIXES = {CREDIT_NOTE: "AV", "proforma": "PF", "shipping_order": "BL", "purchasing_order": "BC"}
_E_INVOICING = (
    ("submitted", None),
    ("sent", None),
    ("accepted", None),
    ("approved", None),
    ("collected", None),
    ("in_dispute", "Montant contesté"),
    ("refused", "Destinataire inconnu"),
    ("rejected", ""),
)


def random_cents(rng: random.Random) -> int:
    """Amounts as invoices have them: many small ones, few large ones, rarely round."""
    return int(10 ** rng.uniform(3.3, 6.2)) + rng.randrange(100)


def make_document(
    rng: random.Random,
    id_: int,
    now: int,
    number: int,
    *,
    customer: Customer | None,
    kind: str = INVOICE,
    draft: bool = False,
    before_tax: int | None = None,
) -> Invoice:
    """A document issued on the day of `now`; credit notes are negative, drafts have no number and mostly no dates."""
    cents = random_cents(rng) if before_tax is None else before_tax
    tax = share(cents, rng.choice(words.VAT), 10_000)
    currency, rate = "EUR", "1.0"
    if rng.random() < 0.06:
        currency = rng.choice(tuple(words.RATES))
        rate = words.RATES[currency][to_datetime(now).year % 3]
    sign = -1 if kind == CREDIT_NOTE else 1
    total = sign * (cents + tax)
    day: int | None = to_datetime(now).toordinal()
    if draft and rng.random() < 0.6:
        day = None
    roll = rng.random()
    return Invoice(
        id=id_,
        kind=kind,
        draft=draft,
        customer_id=None if customer is None else customer.id,
        number="" if draft else document_number(kind, now, number),
        currency=currency,
        exchange_rate=rate,
        currency_cents=total,
        currency_tax_cents=sign * tax,
        cents=total if currency == "EUR" else convert(total, rate),
        tax_cents=sign * tax if currency == "EUR" else convert(sign * tax, rate),
        date=day,
        deadline=_deadline(rng, day, customer, kind),
        created_at=now,
        updated_at=now,
        label=None if roll < 0.08 else "" if roll < 0.1 else rng.choice(words.LABELS),
        extra=_extra(rng, id_) if kind == INVOICE and not draft else None,
    )


def document_number(kind: str, now: int, number: int) -> str:
    return f"{_PREFIXES.get(kind, 'DE' if kind != INVOICE else 'F')}-{to_datetime(now).year}-{number:07d}"


def _deadline(rng: random.Random, day: int | None, customer: Customer | None, kind: str) -> int | None:
    """The customer's payment terms; a credit note has no deadline in half of the cases, an invoice rarely."""
    if day is None or rng.random() < (0.5 if kind == CREDIT_NOTE else 0.01):
        return None
    return day + words.PAYMENT_TERMS[customer.payment_conditions if customer else "30_days"]


def _extra(rng: random.Random, id_: int) -> dict[str, Any] | None:
    """Fields that few invoices have: a quote, a subscription, e-invoicing, an own reference."""
    roll = rng.random()
    if roll < 0.05:
        return {"quote": {"id": id_ - 7}}
    if roll < 0.08:
        return {"billing_subscription": {"id": 5000 + id_ % 40}}
    if roll < 0.09:
        return {"external_reference": f"CMD-{id_ % 100_000}", "special_mention": "Bon de commande à rappeler"}
    if roll < 0.12:
        status, reason = rng.choice(_E_INVOICING)
        flow = None if roll < 0.095 else {"id": f"{id_:08x}-0000-4000-8000-{id_:012x}"}
        return {"e_invoicing": {"status": status, "reason": reason, "flow": flow}, "language": "fr_FR"}
    return None
