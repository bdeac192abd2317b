"""Bank transactions and the invoices that they settle."""

from dataclasses import dataclass

from sandbox.answers.transactions import matched_invoice_record, transaction_record
from sandbox.api.call import Call, Json
from sandbox.filters import TRANSACTION_FIELDS


@dataclass(frozen=True)
class _Matched:
    id: int


def list_transactions(call: Call) -> Json:
    page = call.page(call.world.transactions, TRANSACTION_FIELDS)
    call.statistics.serve(transaction.customer_id for transaction in page.rows)
    return call.answer(page, lambda transaction: transaction_record(transaction, call.base_url))


def get_transaction(call: Call) -> Json:
    transaction = call.find(call.world.transactions)
    call.statistics.serve([transaction.customer_id])
    return transaction_record(transaction, call.base_url)


def list_matched_invoices(call: Call) -> Json:
    transaction = call.find(call.world.transactions, "transaction_id")
    call.statistics.serve([transaction.customer_id])
    page = call.short_page([_Matched(invoice_id) for invoice_id, _ in transaction.matches])
    return call.answer(page, lambda matched: matched_invoice_record(matched.id, call.base_url))
