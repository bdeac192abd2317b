"""What is settled of an invoice and which status follows: worked out when read, never stored."""

from sandbox.records import CREDIT_NOTE, INVOICE, RECEIVED, Invoice


def received_cents(invoice: Invoice) -> int:
    """Euros that came in for an invoice, in both places where receipts stand."""
    matched = sum(cents for _, cents in invoice.matches)
    return matched + sum(payment.cents for payment in invoice.payments if payment.status in RECEIVED)


def remaining_cents(invoice: Invoice) -> int:
    """What is still to be paid: the amount less what came in, never below zero."""
    if invoice.paid_by_hand:
        return 0
    return max(0, invoice.cents - received_cents(invoice))


def is_paid(invoice: Invoice) -> bool:
    """Undocumented for credit notes and other documents: the sandbox says they are not paid."""
    return invoice.settles and remaining_cents(invoice) == 0


def status(invoice: Invoice, today: int) -> str:
    """The status, worked out when read; the order in which the facts are asked for is not documented."""
    if invoice.draft:
        return "draft"
    if invoice.kind not in (INVOICE, CREDIT_NOTE):
        return invoice.kind
    if invoice.archived_at is not None:
        return "archived"
    if invoice.cancelled == "cancelled":
        return "cancelled"
    if invoice.kind == CREDIT_NOTE:
        return "credit_note"
    return _settlement(invoice, today)


def _settlement(invoice: Invoice, today: int) -> str:
    if invoice.incomplete:
        return "incomplete"
    if is_paid(invoice):
        return "paid"
    if invoice.cancelled:
        return "partially_cancelled"
    if received_cents(invoice) > 0:
        return "partially_paid"
    if invoice.deadline is not None and invoice.deadline < today:
        return "late"
    return "upcoming"
