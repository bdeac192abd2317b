"""Customers in their two shapes, and contacts."""

from typing import Any
from urllib.parse import quote

from sandbox.clock import rfc3339
from sandbox.records import Contact, Customer

API = "/api/external/v2"


def customer_record(customer: Customer, base_url: str, *, typed: bool = True) -> dict[str, Any]:
    """A customer; `typed` adds `customer_type`, which the two single-shape endpoints leave out."""
    record: dict[str, Any] = {
        "id": customer.id,
        "name": customer.name,
        "billing_iban": customer.billing_iban,
        "payment_conditions": customer.payment_conditions,
        "recipient": customer.recipient,
        "phone": customer.phone,
        "reference": customer.reference,
        "notes": customer.notes,
    }
    if customer.individual:
        record |= {"first_name": customer.first_name, "last_name": customer.last_name}
    else:
        record |= {"vat_number": customer.vat_number, "reg_no": customer.reg_no}
    record |= {
        "ledger_account": None if customer.ledger_account_id is None else {"id": customer.ledger_account_id},
        "emails": list(customer.emails),
        "billing_address": _address(customer.billing_address),
        "delivery_address": _address(customer.delivery_address),
        "created_at": rfc3339(customer.created_at),
        "updated_at": rfc3339(customer.updated_at),
        "external_reference": customer.external_reference,
        "billing_language": customer.billing_language,
        "mandates": {"url": _mandates(customer.id, f"{base_url}{API}/gocardless_mandates")},
        "pro_account_mandates": {"url": _mandates(customer.id, f"{base_url}{API}/pro_account/mandates")},
        "contacts": {"url": f"{base_url}{API}/customers/{customer.id}/contacts"},
    }
    if typed:
        record["customer_type"] = "individual" if customer.individual else "company"
    return record


def contact_record(contact: Contact) -> dict[str, Any]:
    return {
        "id": contact.id,
        "first_name": contact.first_name,
        "last_name": contact.last_name,
        "role": contact.role,
        "email": contact.email,
        "telephone_number": contact.telephone_number,
        "mobile_number": contact.mobile_number,
        "created_at": rfc3339(contact.created_at),
        "updated_at": rfc3339(contact.updated_at),
    }


def _address(parts: tuple[str, str, str, str]) -> dict[str, str]:
    return dict(zip(("address", "postal_code", "city", "country_alpha2"), parts, strict=True))


def _mandates(customer_id: int, address: str) -> str:
    condition = f'[{{"field":"customer_id","operator":"eq","value":"{customer_id}"}}]'
    return f"{address}?filter={quote(condition)}"
