"""The truth about a company at this moment, in the words of the API: what a synchronization has to arrive at."""

from typing import Any

from sandbox.answers.customers import contact_record, customer_record
from sandbox.answers.invoices import invoice_record, is_credit_note, payment_record
from sandbox.answers.transactions import matched_transaction_record
from sandbox.api.invoices import shown_payments, shown_transactions
from sandbox.world import World


def true_state(world: World, base_url: str) -> dict[str, Any]:
    """Every record exactly as the API gives it (invoices also say whether they are credit notes).

    `former_customers` tells whose the invoices were that may have none any more, which the API does not.
    Invoices and customers with nothing beneath them have no entry under contacts, payments, matched_transactions.
    """
    with world.lock:
        today = world.clock.today().toordinal()
        invoices = list(world.invoices)
        return {
            "company": {"id": world.id, "name": world.name, "reg_no": world.reg_no},
            "now": world.clock.now().isoformat(),
            "customers": [customer_record(customer, base_url) for customer in world.customers],
            "contacts": {
                str(customer.id): [contact_record(contact) for contact in customer.contacts]
                for customer in world.customers
                if customer.contacts
            },
            "customer_invoices": [
                invoice_record(invoice, base_url, today) | {"credit_note": is_credit_note(invoice)}
                for invoice in invoices
            ],
            "former_customers": {
                str(invoice.id): invoice.former_customer_id for invoice in invoices if invoice.former_customer_id
            },
            "payments": {
                str(invoice.id): [payment_record(payment) for payment in payments]
                for invoice in invoices
                if (payments := shown_payments(invoice))
            },
            "matched_transactions": {
                str(invoice.id): [matched_transaction_record(transaction, base_url) for transaction in transactions]
                for invoice in invoices
                if (transactions := shown_transactions(world, invoice))
            },
        }
