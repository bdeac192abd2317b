"""The tables, each declared once: key, columns with type and meaning, and where in the API's record a value stands.

dlt's column hints, the comments in the database, Dagster's column schemas and the README's
tables are all made from these declarations. Field facts: Pennylane's published description of the Company API v2.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # dlt is imported where something is loaded
    from dlt.common.schema.typing import TColumnSchema

DATASET = "receivables"

DIGITS = 38
AMOUNT_SCALE = 6
RATE_SCALE = 12
"""Of a decimal's digits, how many stand behind the point."""


class Type(Enum):
    """A column's type, the same in DuckDB and Postgres."""

    ID = "bigint"
    TEXT = "text"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp with time zone"
    AMOUNT = "decimal(38, 6)"
    RATE = "decimal(38, 12)"
    JSON = "json"

    @property
    def dlt(self) -> "TColumnSchema":
        return _DLT[self]


_DLT: dict[Type, "TColumnSchema"] = {
    Type.ID: {"data_type": "bigint"},
    Type.TEXT: {"data_type": "text"},
    Type.BOOLEAN: {"data_type": "bool"},
    Type.DATE: {"data_type": "date"},
    Type.TIMESTAMP: {"data_type": "timestamp"},
    Type.AMOUNT: {"data_type": "decimal", "precision": DIGITS, "scale": AMOUNT_SCALE},
    Type.RATE: {"data_type": "decimal", "precision": DIGITS, "scale": RATE_SCALE},
    Type.JSON: {"data_type": "json"},
}


@dataclass(frozen=True)
class Column:
    """A column; `path` leads to its value in the API's record (dots go inside), None where we fill it ourselves."""

    name: str
    type: Type
    description: str
    path: str | None = None


@dataclass(frozen=True, eq=False)
class Table:
    """A table of the schema `receivables`; `key` starts with company_id; rows sharing `replaced_by` go as a whole.

    Each is declared once and equals only itself: it is looked up per record, and hashing all its columns is slow.
    """

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    replaced_by: tuple[str, ...] = ()

    @property
    def id_column(self) -> str:
        """The column that holds the record's own id."""
        return self.key[-1]

    @property
    def parent_column(self) -> str:
        """The column whose rows are replaced together; the record's own id where each stands for itself."""
        return self.replaced_by[-1] if self.replaced_by else self.id_column

    def key_of(self, row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.key)

    def dlt_columns(self) -> dict[str, "TColumnSchema"]:
        """dlt's hints for every column, so that one that is null in each row exists all the same."""
        return {
            c.name: {**c.type.dlt, "name": c.name, "nullable": c.name not in self.key, "description": c.description}
            for c in self.columns
        }


def _column(name: str, type_: Type, description: str, path: str | None = None) -> Column:
    return Column(name, type_, description, path if path is not None else name)


_COMPANY = Column("company_id", Type.ID, "The Pennylane company (connection) that the row belongs to")
_SYNCED = Column("synced_at", Type.TIMESTAMP, "When this row was last read from Pennylane")
_CREATED = _column("created_at", Type.TIMESTAMP, "When the record was created in Pennylane")
_UPDATED = _column("updated_at", Type.TIMESTAMP, "When the record was last updated in Pennylane")


def _address(kind: str) -> tuple[Column, ...]:
    return tuple(
        _column(f"{kind}_address{suffix}", Type.TEXT, f"{kind.capitalize()} address: {what}", f"{kind}_address.{field}")
        for suffix, field, what in (
            ("", "address", "street and number"),
            ("_postal_code", "postal_code", "postal code"),
            ("_city", "city", "city"),
            ("_country_alpha2", "country_alpha2", "country, two letters"),
        )
    )


ACCOUNTS = Table(
    "accounts",
    "Customers of the company, companies and individuals alike, one row each",
    ("company_id", "account_id"),
    (
        _COMPANY,
        _column("account_id", Type.ID, "Pennylane's customer id, as in the address of the customer's page", "id"),
        Column("source", Type.TEXT, "Where the account comes from: always pennylane"),
        _column("customer_type", Type.TEXT, "company or individual"),
        _column("name", Type.TEXT, "Name of the customer"),
        _column("first_name", Type.TEXT, "First name (individuals only)"),
        _column("last_name", Type.TEXT, "Last name (individuals only)"),
        _column("reg_no", Type.TEXT, "Registration number, SIREN in France (companies only)"),
        _column("vat_number", Type.TEXT, "VAT number (companies only)"),
        _column("emails", Type.JSON, "E-mail addresses, a JSON array of strings"),
        _column("phone", Type.TEXT, "Telephone number"),
        _column("recipient", Type.TEXT, "The person to whom invoices are addressed"),
        _column("reference", Type.TEXT, "The company's own reference for the customer"),
        _column("notes", Type.TEXT, "Notes kept in Pennylane"),
        _column("billing_iban", Type.TEXT, "IBAN used for billing"),
        _column("payment_conditions", Type.TEXT, "Usual payment term, such as 30_days or upon_receipt"),
        _column("billing_language", Type.TEXT, "Language in which the customer receives invoices, such as fr_FR"),
        *_address("billing"),
        *_address("delivery"),
        _column("ledger_account_id", Type.ID, "Id of the customer's ledger account", "ledger_account.id"),
        _column("external_reference", Type.TEXT, "Unique external reference given by the company or by Pennylane"),
        _CREATED,
        _UPDATED,
        Column("contacts_synced_at", Type.TIMESTAMP, "When the contacts were last read; null: still to be read"),
        _SYNCED,
    ),
)

CONTACTS = Table(
    "contacts",
    "Contact persons of the accounts",
    ("company_id", "contact_id"),
    (
        _COMPANY,
        _column("contact_id", Type.ID, "Pennylane's contact id", "id"),
        Column("account_id", Type.ID, "The account that the contact belongs to"),
        _column("first_name", Type.TEXT, "First name"),
        _column("last_name", Type.TEXT, "Last name"),
        _column("role", Type.TEXT, "Role at the customer, such as accountant"),
        _column("email", Type.TEXT, "E-mail address"),
        _column("telephone_number", Type.TEXT, "Telephone number"),
        _column("mobile_number", Type.TEXT, "Mobile number"),
        _CREATED,
        _UPDATED,
        _SYNCED,
    ),
    replaced_by=("company_id", "account_id"),
)

_BILL_COLUMNS = (
    _column("account_id", Type.ID, "The account (Pennylane's customer) that is billed; null while none is set",
            "customer.id"),
    _column("invoice_number", Type.TEXT, "Number printed on the document; empty on drafts"),
    _column("label", Type.TEXT, "Label in Pennylane"),
    _column("status", Type.TEXT, "Status as Pennylane worked it out when read (lateness: see the views)"),
    _column("draft", Type.BOOLEAN, "Whether the document is not finalized yet"),
    _column("paid", Type.BOOLEAN, "Whether Pennylane holds it for paid"),
    _column("date", Type.DATE, "Date of issue"),
    _column("deadline", Type.DATE, "Date on which payment is due"),
    _column("currency", Type.TEXT, "Currency, three letters"),
    _column("currency_amount", Type.AMOUNT, "Total with tax, in the document's currency"),
    _column("currency_amount_before_tax", Type.AMOUNT, "Total before tax, in the document's currency"),
    _column("currency_tax", Type.AMOUNT, "Tax, in the document's currency"),
    _column("amount", Type.AMOUNT, "Total with tax, in euros"),
    _column("tax", Type.AMOUNT, "Tax, in euros"),
    _column("exchange_rate", Type.RATE, "Rate used to convert to euros; 1 for euros"),
    _column("remaining_amount_with_tax", Type.AMOUNT, "What is left to be paid, with tax; may be null on drafts"),
    _column("remaining_amount_without_tax", Type.AMOUNT, "What is left to be paid, without tax; may be null on drafts"),
    _column("language", Type.TEXT, "Language of the document, such as fr_FR"),
    _column("discount_type", Type.TEXT, "absolute (an amount) or relative (per cent)", "discount.type"),
    _column("discount_value", Type.AMOUNT, "Discount on the total before tax", "discount.value"),
    _column("special_mention", Type.TEXT, "Additional details printed on the document"),
    _column("pdf_invoice_subject", Type.TEXT, "Subject printed on the document"),
    _column("pdf_invoice_free_text", Type.TEXT, "Free text printed on the document"),
    _column("pdf_description", Type.TEXT, "Description printed on the document"),
    _column("filename", Type.TEXT, "Name of the attached file"),
    _column("factur_x", Type.BOOLEAN, "Whether the file is a Factur-X document"),
    _column("schematron_validation_status", Type.TEXT, "Validation of the Factur-X structure: pending, valid, invalid"),
    _column("e_invoicing_status", Type.TEXT, "E-invoicing: status in the life cycle, such as submitted or refused",
            "e_invoicing.status"),
    _column("e_invoicing_reason", Type.TEXT, "E-invoicing: reason given with the status", "e_invoicing.reason"),
    _column("e_invoicing_flow_id", Type.TEXT, "E-invoicing: id of the AFNOR flow", "e_invoicing.flow.id"),
    _column("transaction_reference_banking_provider", Type.TEXT, "Automatic matching: banking provider",
            "transaction_reference.banking_provider"),
    _column("transaction_reference_provider_field_name", Type.TEXT, "Automatic matching: field to match",
            "transaction_reference.provider_field_name"),
    _column("transaction_reference_provider_field_value", Type.TEXT, "Automatic matching: value to match",
            "transaction_reference.provider_field_value"),
    _column("ledger_entry_id", Type.ID, "Id of the ledger entry", "ledger_entry.id"),
    _column("billing_subscription_id", Type.ID, "Id of the subscription it was made from", "billing_subscription.id"),
    _column("customer_invoice_template_id", Type.ID, "Id of the template", "customer_invoice_template.id"),
    _column("quote_id", Type.ID, "Id of the quote it was made from", "quote.id"),
    _column("external_reference", Type.TEXT, "Unique external reference given by the company or by Pennylane"),
    _column("archived_at", Type.TIMESTAMP, "When the document was archived"),
    _CREATED,
    _UPDATED,
)  # fmt: skip

INVOICES = Table(
    "invoices",
    "Customer invoices, drafts included; no credit notes, proformas, estimates or orders",
    ("company_id", "invoice_id"),
    (
        _COMPANY,
        _column("invoice_id", Type.ID, "Pennylane's invoice id", "id"),
        *_BILL_COLUMNS,
        Column("payments_synced_at", Type.TIMESTAMP, "When the payments were last read; null: still to be read"),
        _SYNCED,
    ),
)

CREDIT_NOTES = Table(
    "credit_notes",
    "Credit notes, drafts included",
    ("company_id", "credit_note_id"),
    (
        _COMPANY,
        _column("credit_note_id", Type.ID, "Pennylane's id of the credit note", "id"),
        _column("credited_invoice_id", Type.ID, "The invoice that is credited, if named", "credited_invoice.id"),
        *_BILL_COLUMNS,
        _SYNCED,
    ),
)  # fmt: skip

PAYMENT, BANK_TRANSACTION = "payment", "bank_transaction"

PAYMENTS = Table(
    "payments",
    "Money that came in for invoices, one row per invoice and receipt: Pennylane's own payments and bank transactions",
    ("company_id", "invoice_id", "kind", "payment_id"),
    (
        _COMPANY,
        Column("invoice_id", Type.ID, "The invoice that is settled"),
        Column("kind", Type.TEXT, "payment (handled by Pennylane: card, direct debit) or bank_transaction (matched)"),
        _column("payment_id", Type.ID, "Pennylane's id of the payment or bank transaction, unique by kind", "id"),
        _column("label", Type.TEXT, "Label of the payment or of the bank transaction"),
        _column("status", Type.TEXT, "Status of a payment (initiated, confirmed...); null on bank transactions"),
        _column("date", Type.DATE, "Date of a bank transaction; null on payments, see created_at"),
        _column("currency", Type.TEXT, "Currency, three letters"),
        _column("currency_amount", Type.AMOUNT, "Amount, in the currency; of the whole bank transaction, which may "
                "settle several invoices"),
        _column("amount", Type.AMOUNT, "Amount in euros (bank transactions only)"),
        _column("outstanding_balance", Type.AMOUNT, "Balance of the bank transaction after it was processed"),
        _column("currency_fee", Type.AMOUNT, "Fee, in the currency (bank transactions only)"),
        _column("fee", Type.AMOUNT, "Fee in euros (bank transactions only)"),
        _column("bank_account_id", Type.ID, "Id of the bank account", "bank_account.id"),
        _column("journal_id", Type.ID, "Id of the journal", "journal.id"),
        _column("attachment_required", Type.BOOLEAN, "Whether the bank transaction still needs a document"),
        _column("archived_at", Type.TIMESTAMP, "When the bank transaction was archived"),
        _CREATED,
        _UPDATED,
        _SYNCED,
    ),
    replaced_by=("company_id", "invoice_id"),
)  # fmt: skip

MARKS = {CONTACTS: (ACCOUNTS, "contacts_synced_at"), PAYMENTS: (INVOICES, "payments_synced_at")}
"""Where it stands when an account's contacts, an invoice's payments were last read."""

EXCLUDED_ACCOUNTS = Table(
    "excluded_accounts",
    "Accounts that are left out: never synchronized, or no more since excluded_at",
    ("company_id", "account_id"),
    (
        _COMPANY,
        Column("account_id", Type.ID, "Pennylane's customer id"),
        Column("excluded_at", Type.TIMESTAMP, "When the account was excluded"),
        _SYNCED,
    ),
    replaced_by=("company_id",),
)

COMPANIES = Table(
    "companies",
    "The connected Pennylane companies, and whether their rows are still kept up to date",
    ("company_id",),
    (
        _COMPANY,
        Column("company_name", Type.TEXT, "Name of the company in Pennylane"),
        Column("disconnected_at", Type.TIMESTAMP, "Since when its rows are no longer updated; null while connected"),
        _SYNCED,
    ),
)

TABLES = (COMPANIES, EXCLUDED_ACCOUNTS, ACCOUNTS, CONTACTS, INVOICES, CREDIT_NOTES, PAYMENTS)
LISTED = (ACCOUNTS, INVOICES, CREDIT_NOTES)
"""Filled from Pennylane's lists and change feeds; a company's cursors cover what these hold."""

NOT_INVOICES = frozenset(
    {
        "proforma",
        "shipping_order",
        "purchasing_order",
        "estimate_pending",
        "estimate_accepted",
        "estimate_invoiced",
        "estimate_denied",
    }
)
"""Statuses of documents that stand in Pennylane's list of customer invoices and are none."""
