"""What the tables have to hold, derived from the sandbox's true state alone: the mapping is written out by hand."""

import json
from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pipelines.warehouse import Warehouse
from sandbox.state import true_state
from sandbox.world import World

Row = dict[str, Any]
Key = tuple[Any, ...]
Json = dict[str, Any]

KEYS = {
    "accounts": ("company_id", "account_id"),
    "contacts": ("company_id", "contact_id"),
    "invoices": ("company_id", "invoice_id"),
    "credit_notes": ("company_id", "credit_note_id"),
    "payments": ("company_id", "invoice_id", "kind", "payment_id"),
}
OTHER_DOCUMENTS = (
    "proforma", "shipping_order", "purchasing_order",
    "estimate_pending", "estimate_accepted", "estimate_invoiced", "estimate_denied",
)  # fmt: skip


def expected(world: World, base_url: str, excluded: Collection[int] = ()) -> dict[str, dict[Key, Row]]:
    """The rows of every table, by key, without the columns that say when we read something."""
    state = true_state(world, base_url)
    accounts = [_account(one) for one in state["customers"] if one["id"] not in excluded]
    documents = [
        one
        for one in state["customer_invoices"]
        if (_id(one, "customer") or state["former_customers"].get(str(one["id"]))) not in excluded
        and one["status"] not in OTHER_DOCUMENTS
    ]
    contacts = [
        _contact(one, account["account_id"])
        for account in accounts
        for one in state["contacts"].get(str(account["account_id"]), [])
    ]
    invoices = [_invoice(one) for one in documents if not one["credit_note"]]
    payments = [
        row
        for invoice in invoices
        for row in [
            *(_payment(one, invoice["invoice_id"]) for one in state["payments"].get(str(invoice["invoice_id"]), [])),
            *(
                _bank_transaction(one, invoice["invoice_id"])
                for one in state["matched_transactions"].get(str(invoice["invoice_id"]), [])
            ),
        ]
    ]
    rows = {
        "accounts": accounts,
        "contacts": contacts,
        "invoices": invoices,
        "credit_notes": [_credit_note(one) for one in documents if one["credit_note"]],
        "payments": payments,
    }
    return {
        table: {tuple({"company_id": world.id, **row}[name] for name in KEYS[table]): {"company_id": world.id, **row}
                for row in some}
        for table, some in rows.items()
    }  # fmt: skip


def held(warehouse: Warehouse, company_id: int, *, with_times: bool = False) -> dict[str, dict[Key, Row]]:
    """The rows that stand in the warehouse, by key; fails where a key is there twice."""
    found: dict[str, dict[Key, Row]] = {}
    with warehouse.session() as session:
        for table, key in KEYS.items():
            columns = [
                name
                for (name,) in session.rows(
                    "SELECT column_name FROM information_schema.columns "
                    "WHERE table_schema = 'receivables' AND table_name = %s",
                    table,
                )
                if with_times or not name.endswith("synced_at")
            ]
            rows = [
                dict(zip(columns, values, strict=True))
                for values in session.rows(
                    f"SELECT {', '.join(columns)} FROM receivables.{table} WHERE company_id = {company_id}"
                )
            ]
            for row in rows:
                if isinstance(row.get("emails"), str):
                    row["emails"] = json.loads(row["emails"])
            found[table] = {tuple(row[name] for name in key): row for row in rows}
            assert len(found[table]) == len(rows), f"{table} holds a key twice"
    return found


def differences(held_rows: dict[str, dict[Key, Row]], expected_rows: dict[str, dict[Key, Row]]) -> list[str]:
    """What is missing, left over or different, in words; empty where the tables equal the truth."""
    found = []
    for table, wanted in expected_rows.items():
        there = held_rows[table]
        found += [f"{table}: missing {key}" for key in wanted.keys() - there.keys()]
        found += [f"{table}: left over {key}" for key in there.keys() - wanted.keys()]
        for key in wanted.keys() & there.keys():
            if there[key] != wanted[key]:
                names = there[key].keys() | wanted[key].keys()
                found += [
                    f"{table} {key}: {name} is {there[key].get(name, 'no column')!r}, "
                    f"not {wanted[key].get(name, 'in the truth')!r}"
                    for name in sorted(names)
                    if there[key].get(name, _NONE) != wanted[key].get(name, _NONE)
                ]
    return sorted(found)


def everything_stored(warehouse: Warehouse) -> str:
    """All values of all tables of all schemas, dlt's own and staging among them, as one text to search in."""
    texts = []
    with warehouse.session() as session:
        tables = session.rows(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_schema LIKE %s AND table_type = 'BASE TABLE'",
            "receivables%",
        )
        for schema, table in tables:
            texts += [repr(row) for row in session.rows(f'SELECT * FROM "{schema}"."{table}"')]
    return "\n".join(texts)


_NONE = object()


def _account(one: Json) -> Row:
    billing, delivery = one["billing_address"], one["delivery_address"]
    return {
        "account_id": one["id"],
        "source": "pennylane",
        "customer_type": one["customer_type"],
        "name": one["name"],
        "first_name": one.get("first_name"),
        "last_name": one.get("last_name"),
        "reg_no": one.get("reg_no"),
        "vat_number": one.get("vat_number"),
        "emails": one["emails"],
        "phone": one["phone"],
        "recipient": one["recipient"],
        "reference": one["reference"],
        "notes": one["notes"],
        "billing_iban": one["billing_iban"],
        "payment_conditions": one["payment_conditions"],
        "billing_language": one["billing_language"],
        "billing_address": billing["address"],
        "billing_address_postal_code": billing["postal_code"],
        "billing_address_city": billing["city"],
        "billing_address_country_alpha2": billing["country_alpha2"],
        "delivery_address": delivery["address"],
        "delivery_address_postal_code": delivery["postal_code"],
        "delivery_address_city": delivery["city"],
        "delivery_address_country_alpha2": delivery["country_alpha2"],
        "ledger_account_id": _id(one, "ledger_account"),
        "external_reference": one["external_reference"],
        "created_at": _time(one["created_at"]),
        "updated_at": _time(one["updated_at"]),
    }


def _contact(one: Json, account_id: int) -> Row:
    return {
        "contact_id": one["id"],
        "account_id": account_id,
        "first_name": one["first_name"],
        "last_name": one["last_name"],
        "role": one["role"],
        "email": one["email"],
        "telephone_number": one["telephone_number"],
        "mobile_number": one["mobile_number"],
        "created_at": _time(one["created_at"]),
        "updated_at": _time(one["updated_at"]),
    }


def _invoice(one: Json) -> Row:
    return {"invoice_id": one["id"], **_document(one)}


def _credit_note(one: Json) -> Row:
    return {"credit_note_id": one["id"], "credited_invoice_id": _id(one, "credited_invoice"), **_document(one)}


def _document(one: Json) -> Row:
    e_invoicing = one["e_invoicing"] or {}
    reference = one["transaction_reference"] or {}
    return {
        "account_id": _id(one, "customer"),
        "invoice_number": one["invoice_number"],
        "label": one["label"],
        "status": one["status"],
        "draft": one["draft"],
        "paid": one["paid"],
        "date": _day(one["date"]),
        "deadline": _day(one["deadline"]),
        "currency": one["currency"],
        "currency_amount": _amount(one["currency_amount"]),
        "currency_amount_before_tax": _amount(one["currency_amount_before_tax"]),
        "currency_tax": _amount(one["currency_tax"]),
        "amount": _amount(one["amount"]),
        "tax": _amount(one["tax"]),
        "exchange_rate": _amount(one["exchange_rate"]),
        "remaining_amount_with_tax": _amount(one["remaining_amount_with_tax"]),
        "remaining_amount_without_tax": _amount(one["remaining_amount_without_tax"]),
        "language": one["language"],
        "discount_type": one["discount"]["type"],
        "discount_value": _amount(one["discount"]["value"]),
        "special_mention": one["special_mention"],
        "pdf_invoice_subject": one["pdf_invoice_subject"],
        "pdf_invoice_free_text": one["pdf_invoice_free_text"],
        "pdf_description": one["pdf_description"],
        "filename": one["filename"],
        "factur_x": one["factur_x"],
        "schematron_validation_status": one["schematron_validation_status"],
        "e_invoicing_status": e_invoicing.get("status"),
        "e_invoicing_reason": e_invoicing.get("reason"),
        "e_invoicing_flow_id": (e_invoicing.get("flow") or {}).get("id"),
        "transaction_reference_banking_provider": reference.get("banking_provider"),
        "transaction_reference_provider_field_name": reference.get("provider_field_name"),
        "transaction_reference_provider_field_value": reference.get("provider_field_value"),
        "ledger_entry_id": _id(one, "ledger_entry"),
        "billing_subscription_id": _id(one, "billing_subscription"),
        "customer_invoice_template_id": _id(one, "customer_invoice_template"),
        "quote_id": _id(one, "quote"),
        "external_reference": one["external_reference"],
        "archived_at": _time(one["archived_at"]),
        "created_at": _time(one["created_at"]),
        "updated_at": _time(one["updated_at"]),
    }


def _payment(one: Json, invoice_id: int) -> Row:
    return {
        "invoice_id": invoice_id,
        "kind": "payment",
        "payment_id": one["id"],
        "label": one["label"],
        "status": one["status"],
        "date": None,
        "currency": one["currency"],
        "currency_amount": _amount(one["currency_amount"]),
        "amount": None,
        "outstanding_balance": None,
        "currency_fee": None,
        "fee": None,
        "bank_account_id": None,
        "journal_id": None,
        "attachment_required": None,
        "archived_at": None,
        "created_at": _time(one["created_at"]),
        "updated_at": _time(one["updated_at"]),
    }


def _bank_transaction(one: Json, invoice_id: int) -> Row:
    return {
        "invoice_id": invoice_id,
        "kind": "bank_transaction",
        "payment_id": one["id"],
        "label": one["label"],
        "status": None,
        "date": _day(one["date"]),
        "currency": one["currency"],
        "currency_amount": _amount(one["currency_amount"]),
        "amount": _amount(one["amount"]),
        "outstanding_balance": _amount(one["outstanding_balance"]),
        "currency_fee": _amount(one["currency_fee"]),
        "fee": _amount(one["fee"]),
        "bank_account_id": _id(one, "bank_account"),
        "journal_id": _id(one, "journal"),
        "attachment_required": one["attachment_required"],
        "archived_at": _time(one["archived_at"]),
        "created_at": _time(one["created_at"]),
        "updated_at": _time(one["updated_at"]),
    }


def _id(one: Json, link: str) -> int | None:
    linked = one[link]
    return None if linked is None else int(linked["id"])


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
