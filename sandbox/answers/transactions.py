"""Bank transactions: in the transaction list, under an invoice (fewer fields), and the invoices they settle."""

from datetime import date
from typing import Any

from sandbox.answers.customers import API
from sandbox.clock import rfc3339
from sandbox.money import to_text
from sandbox.records import Transaction


def matched_transaction_record(transaction: Transaction, base_url: str) -> dict[str, Any]:
    """A transaction as listed under an invoice: the whole amount, whatever part of it settles that invoice."""
    customer = None
    if transaction.customer_id is not None:
        customer = {"id": transaction.customer_id, "url": f"{base_url}{API}/customers/{transaction.customer_id}"}
    return {
        "id": transaction.id,
        "label": transaction.label,
        "attachment_required": not transaction.matches,
        "date": date.fromordinal(transaction.date).isoformat(),
        "outstanding_balance": to_text(transaction.cents - sum(cents for _, cents in transaction.matches)),
        "created_at": rfc3339(transaction.created_at),
        "updated_at": rfc3339(transaction.updated_at),
        "archived_at": None,
        "currency": transaction.currency,
        "currency_amount": to_text(transaction.currency_cents),
        "amount": to_text(transaction.cents),
        "currency_fee": None,
        "fee": None,
        "journal": {"id": transaction.journal_id},
        "bank_account": {
            "id": transaction.bank_account_id,
            "url": f"{base_url}{API}/bank_accounts/{transaction.bank_account_id}",
        },
        "pro_account_expense": None,
        "customer": customer,
        "categories": [],
    }


def transaction_record(transaction: Transaction, base_url: str) -> dict[str, Any]:
    journal_id = transaction.journal_id
    return matched_transaction_record(transaction, base_url) | {
        "journal": {"id": journal_id, "url": f"{base_url}{API}/journals/{journal_id}"},
        "supplier": None,
        "matched_invoices": {"url": f"{base_url}{API}/transactions/{transaction.id}/matched_invoices"},
        "interbank_code": None if transaction.id % 3 else "A1",
    }


def matched_invoice_record(invoice_id: int, base_url: str) -> dict[str, Any]:
    return {"id": invoice_id, "type": "customer", "url": f"{base_url}{API}/customer_invoices/{invoice_id}"}
