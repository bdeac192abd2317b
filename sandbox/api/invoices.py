"""Customer invoices, and the two places where their receipts stand."""

from sandbox.answers.invoices import invoice_record, line_records, payment_record
from sandbox.answers.transactions import matched_transaction_record
from sandbox.api.call import Call, Json
from sandbox.errors import bad_request
from sandbox.filters import INVOICE_FIELDS
from sandbox.records import Invoice, Payment, Transaction
from sandbox.world import World


def list_invoices(call: Call) -> Json:
    include = call.query.get("include")
    if include not in (None, "", "invoice_lines"):
        raise bad_request(f"include {include!r} is not available")
    page = call.page(call.world.invoices, INVOICE_FIELDS, ("id", "date"))
    call.statistics.serve(invoice.customer_id for invoice in page.rows)
    today = call.today
    answer = call.answer(page, lambda invoice: invoice_record(invoice, call.base_url, today))
    if include:
        answer["included"] = {"invoice_lines": {str(invoice.id): line_records(invoice) for invoice in page.rows}}
    return answer


def get_invoice(call: Call) -> Json:
    invoice = call.find(call.world.invoices)
    call.statistics.serve([invoice.customer_id])
    return invoice_record(invoice, call.base_url, call.today)


def list_payments(call: Call) -> Json:
    invoice = call.find(call.world.invoices, "customer_invoice_id")
    call.statistics.serve([invoice.customer_id])
    return call.answer(call.short_page(shown_payments(invoice)), payment_record)


def list_matched_transactions(call: Call) -> Json:
    invoice = call.find(call.world.invoices, "customer_invoice_id")
    call.statistics.serve([invoice.customer_id])
    page = call.short_page(shown_transactions(call.world, invoice))
    return call.answer(page, lambda transaction: matched_transaction_record(transaction, call.base_url))


def shown_payments(invoice: Invoice) -> tuple[Payment, ...]:
    """ "If the invoice is draft or credit note, an empty list will be returned" (openapi.json)."""
    return invoice.payments if invoice.settles else ()


def shown_transactions(world: World, invoice: Invoice) -> list[Transaction]:
    """ "If the invoice is archived, or draft, an empty list will be returned" (openapi.json)."""
    if invoice.draft or invoice.archived_at is not None:
        return []
    return [world.transactions[transaction_id] for transaction_id, _ in invoice.matches]
