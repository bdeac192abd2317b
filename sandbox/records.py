"""What a company's books hold. Rows are slim (slots, whole numbers, shared strings); the JSON is built when read.

Times are microseconds since 1970, days are proleptic ordinals (`date.toordinal`), amounts are cents. Fields that are
constant or can be worked out from the id are not stored; a change that sets one puts it into `extra`.
"""

from dataclasses import dataclass
from typing import Any

INVOICE = "invoice"
CREDIT_NOTE = "credit_note"
ESTIMATES = ("estimate_pending", "estimate_accepted", "estimate_invoiced", "estimate_denied")
OTHER_DOCUMENTS = ("proforma", "shipping_order", "purchasing_order", *ESTIMATES)
"""Documents of the invoice list that are neither invoice nor credit note; the kind is also their status."""

RECEIVED = frozenset({"found", "confirmed", "paid_out"})
"""Payment statuses that mean the money is there. Undocumented: Pennylane lists the statuses without explaining them."""


@dataclass(slots=True)
class Contact:
    id: int
    first_name: str
    last_name: str
    role: str
    email: str
    telephone_number: str
    mobile_number: str
    created_at: int
    updated_at: int


@dataclass(slots=True)
class Customer:
    """A company, or an individual (then `last_name` is set and `vat_number`, `reg_no` are not shown)."""

    id: int
    individual: bool
    name: str
    first_name: str
    last_name: str
    reg_no: str
    vat_number: str
    payment_conditions: str
    emails: list[str]
    phone: str
    billing_iban: str | None
    recipient: str
    reference: str | None
    notes: str | None
    ledger_account_id: int | None
    billing_address: tuple[str, str, str, str]
    delivery_address: tuple[str, str, str, str]
    external_reference: str
    billing_language: str
    created_at: int
    updated_at: int
    contacts: tuple[Contact, ...] = ()


@dataclass(slots=True)
class Payment:
    """Money that Pennylane itself collects (direct debit, card), with a status of its own."""

    id: int
    label: str
    currency: str
    currency_cents: int
    cents: int
    status: str
    created_at: int
    updated_at: int


@dataclass(slots=True)
class Invoice:
    """A document of the invoice list. `matches` are (transaction id, euro cents of it that settle this invoice).

    `former_customer_id` is whose it was before it had none; the API never tells.
    """

    id: int
    kind: str
    draft: bool
    customer_id: int | None
    number: str
    currency: str
    exchange_rate: str
    currency_cents: int
    currency_tax_cents: int
    cents: int
    tax_cents: int
    date: int | None
    deadline: int | None
    created_at: int
    updated_at: int
    label: str | None
    cancelled: str = ""
    incomplete: bool = False
    archived_at: int | None = None
    paid_by_hand: bool = False
    credited_invoice_id: int | None = None
    matches: tuple[tuple[int, int], ...] = ()
    payments: tuple[Payment, ...] = ()
    extra: dict[str, Any] | None = None
    former_customer_id: int | None = None

    @property
    def settles(self) -> bool:
        """Whether money can be received for it at all."""
        return self.kind == INVOICE and not self.draft


@dataclass(slots=True)
class Transaction:
    """A line of a bank account. `matches` are (invoice id, euro cents that settle it)."""

    id: int
    label: str | None
    date: int
    currency: str
    currency_cents: int
    cents: int
    bank_account_id: int
    journal_id: int
    customer_id: int | None
    created_at: int
    updated_at: int
    matches: tuple[tuple[int, int], ...] = ()
