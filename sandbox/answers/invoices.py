"""Documents of the invoice list, and what Pennylane itself collected for them."""

import secrets
from datetime import date
from typing import Any

from sandbox.answers.customers import API
from sandbox.clock import rfc3339
from sandbox.money import share, to_text
from sandbox.records import CREDIT_NOTE, Invoice, Payment
from sandbox.settlement import is_paid, remaining_cents, status

_MENTIONS = (None, "", "Auto-liquidation", "TVA non applicable, art. 293 B du CGI")
_FREE_TEXTS = ("", "", "Merci pour votre confiance.", "En cas de retard, une indemnité de 40 € est due.")
_VAT_CODES = {200: "FR_200", 100: "FR_100", 55: "FR_55"}
_LINKS = (
    "invoice_line_sections",
    "invoice_lines",
    "custom_header_fields",
    "categories",
    "payments",
    "matched_transactions",
    "appendices",
)


def external_reference(invoice: Invoice) -> str:
    """What Pennylane assigns when nobody else did: a UUID, here worked out from the id."""
    given = (invoice.extra or {}).get("external_reference")
    if given is not None:
        return str(given)
    mixed = invoice.id * 0x9E3779B97F4A7C15 & (1 << 96) - 1
    text = f"{mixed:024x}"
    return f"{text[:8]}-{text[8:12]}-4{text[12:15]}-8{text[15:18]}-{text[18:]}{text[:6]}"


def category_ids(invoice: Invoice) -> tuple[int, ...]:
    """Analytical categories; they are not served, only filtered by."""
    return (501 + invoice.id % 7,) if invoice.id % 3 == 0 else ()


def linked_id(invoice: Invoice, field: str) -> int | None:
    """The id in a linked object such as `quote`, if the document has one."""
    linked = (invoice.extra or {}).get(field)
    return linked["id"] if linked else None


def flow_id(invoice: Invoice) -> str | None:
    flow = ((invoice.extra or {}).get("e_invoicing") or {}).get("flow")
    return flow["id"] if flow else None


def invoice_record(invoice: Invoice, base_url: str, today: int) -> dict[str, Any]:
    """An invoice, credit note or other document; `today` (a day's ordinal) decides what is late.

    A draft has no file, no number yet and nothing remaining, none of which is documented.
    """
    address = f"{base_url}{API}/customer_invoices/{invoice.id}"
    remaining = None if invoice.draft else remaining_cents(invoice)
    record: dict[str, Any] = {
        "id": invoice.id,
        "label": invoice.label,
        "invoice_number": invoice.number,
        "currency": invoice.currency,
        "amount": to_text(invoice.cents),
        "currency_amount": to_text(invoice.currency_cents),
        "currency_amount_before_tax": to_text(invoice.currency_cents - invoice.currency_tax_cents),
        "exchange_rate": invoice.exchange_rate,
        "date": _day(invoice.date),
        "deadline": _day(invoice.deadline),
        "currency_tax": to_text(invoice.currency_tax_cents),
        "tax": to_text(invoice.tax_cents),
        "language": "fr_FR" if invoice.currency == "EUR" else "en_GB",
        "paid": is_paid(invoice),
        "status": status(invoice, today),
        "discount": {"type": "absolute", "value": "0.0"},
        "ledger_entry": {"id": invoice.id * 2 + 1},
        "public_file_url": None if invoice.draft else _file_address(base_url),
        "filename": None if invoice.draft else f"{invoice.number}.pdf",
        "remaining_amount_with_tax": None if remaining is None else to_text(remaining),
        "remaining_amount_without_tax": None if remaining is None else to_text(_before_tax(remaining, invoice)),
        "draft": invoice.draft,
        "special_mention": _MENTIONS[invoice.id % 4],
        "customer": None,
        "pdf_invoice_free_text": _FREE_TEXTS[invoice.id // 4 % 4],
        "pdf_invoice_subject": invoice.label or "",
        "pdf_description": None if invoice.id % 5 else "Selon bon de commande signé.",
        "billing_subscription": None,
        "credited_invoice": None,
        "customer_invoice_template": {"id": 12045} if invoice.id % 2 else None,
        "transaction_reference": None,
        "quote": None,
        "external_reference": external_reference(invoice),
        "e_invoicing": None,
        "factur_x": invoice.id % 4 == 0,
        "schematron_validation_status": "valid" if invoice.id % 4 == 0 else None,
        "archived_at": None if invoice.archived_at is None else rfc3339(invoice.archived_at),
        "created_at": rfc3339(invoice.created_at),
        "updated_at": rfc3339(invoice.updated_at),
    }
    record |= {link: {"url": f"{address}/{link}"} for link in _LINKS}
    if invoice.customer_id is not None:
        record["customer"] = _link(invoice.customer_id, f"{base_url}{API}/customers")
    if invoice.credited_invoice_id is not None:
        record["credited_invoice"] = _link(invoice.credited_invoice_id, f"{base_url}{API}/customer_invoices")
    return record | (invoice.extra or {})


def is_credit_note(invoice: Invoice) -> bool:
    """What the filter `credit_note` looks at; a draft credit note is one, although its status is `draft`."""
    return invoice.kind == CREDIT_NOTE


def payment_record(payment: Payment) -> dict[str, Any]:
    return {
        "id": payment.id,
        "label": payment.label,
        "currency": payment.currency,
        "currency_amount": to_text(payment.currency_cents),
        "status": payment.status,
        "created_at": rfc3339(payment.created_at),
        "updated_at": rfc3339(payment.updated_at),
    }


def line_records(invoice: Invoice) -> dict[str, Any]:
    """The lines of an invoice as `include=invoice_lines` nests them: here always a single one."""
    before_tax = to_text(invoice.currency_cents - invoice.currency_tax_cents)
    rate = share(1000, invoice.currency_tax_cents, invoice.currency_cents - invoice.currency_tax_cents)
    line = {
        "id": invoice.id * 3 + 1,
        "label": invoice.label or "Prestation",
        "description": "",
        "unit": None,
        "quantity": "1",
        "amount": to_text(invoice.cents),
        "currency_amount": to_text(invoice.currency_cents),
        "currency_amount_before_tax": before_tax,
        "currency_tax": to_text(invoice.currency_tax_cents),
        "tax": to_text(invoice.tax_cents),
        "raw_currency_unit_price": before_tax,
        "vat_rate": _VAT_CODES.get(rate, "exempt"),
        "product": None,
        "discount": {"type": "absolute", "value": "0.0"},
        "section_rank": None,
        "imputation_dates": None,
        "substance": None,
        "created_at": rfc3339(invoice.created_at),
        "updated_at": rfc3339(invoice.updated_at),
    }
    return {"items": [line], "has_more": False, "next_url": None}


def _before_tax(remaining: int, invoice: Invoice) -> int:
    """The part of the remaining amount that is not VAT."""
    return share(remaining, invoice.cents - invoice.tax_cents, invoice.cents)


def _file_address(base_url: str) -> str:
    """The address of the PDF expires after 30 minutes, so that every reading gives another one."""
    return f"{base_url}/public/invoice/pdf?encrypted_id={secrets.token_urlsafe(24)}"


def _day(ordinal: int | None) -> str | None:
    return None if ordinal is None else date.fromordinal(ordinal).isoformat()


def _link(id_: int, address: str) -> dict[str, Any]:
    return {"id": id_, "url": f"{address}/{id_}"}
