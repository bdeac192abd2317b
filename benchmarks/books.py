"""What a contender's tables say, and what Pennylane says, in one shape, so that they can be compared.

Of each record the fields that a follow-up of unpaid invoices looks at, and that the changes of `history` change.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.contenders import rest_api

Row = dict[str, Any]
Fields = tuple[Any, ...]
Key = tuple[Any, ...]

_OTHER_DOCUMENTS = frozenset(
    {"proforma", "shipping_order", "purchasing_order",
     "estimate_pending", "estimate_accepted", "estimate_invoiced", "estimate_denied"}
)  # fmt: skip


@dataclass
class Books:
    """Rows by key. `credit_notes` are the documents that are known for credit notes."""

    accounts: dict[Key, Fields] = field(default_factory=dict)
    contacts: dict[Key, Fields] = field(default_factory=dict)
    documents: dict[Key, Fields] = field(default_factory=dict)
    payments: dict[Key, Fields] = field(default_factory=dict)
    credit_notes: set[Key] = field(default_factory=set)

    def tables(self) -> tuple[dict[Key, Fields], ...]:
        return self.accounts, self.contacts, self.documents, self.payments

    def of(self, accounts: Collection[int], *, others: bool = False) -> "Books":
        """What belongs to these accounts, or (`others`) all the rest, documents without an account among it."""

        def chosen(rows: dict[Key, Fields], account: Callable[[Key, Fields], Any]) -> dict[Key, Fields]:
            return {key: row for key, row in rows.items() if (account(key, row) in accounts) is not others}

        documents = chosen(self.documents, lambda _, row: row[0])
        return Books(
            accounts=chosen(self.accounts, lambda key, _: key[0]),
            contacts=chosen(self.contacts, lambda _, row: row[0]),
            documents=documents,
            payments={key: row for key, row in self.payments.items() if (key[1],) in documents},
            credit_notes=self.credit_notes & documents.keys(),
        )

    def add_account(self, row: Row, key: str = "id") -> None:
        self.accounts[_id(row[key]),] = (row["name"], row["phone"], row["payment_conditions"])

    def add_contact(self, row: Row, account: Any, key: str = "id") -> None:
        self.contacts[_id(row[key]),] = (_id(account), row["last_name"], row["email"])

    def add_document(self, row: Row, account: Any, *, credit_note: bool, key: str = "id") -> None:
        if row["status"] in _OTHER_DOCUMENTS:
            return
        number = _id(row[key])
        self.documents[number,] = (
            _id(account),
            row["label"],
            row["status"],
            row["paid"],
            _amount(row["amount"]),
            _amount(row["remaining_amount_with_tax"]),
        )
        if credit_note:
            self.credit_notes.add((number,))

    def add_payment(self, row: Row, kind: str, invoice: Any, key: str = "id") -> None:
        self.payments[kind, _id(invoice), _id(row[key])] = (_amount(row["currency_amount"]), row.get("status"))


def truth(state: dict[str, Any]) -> Books:
    """What the sandbox itself says, by its control address."""
    books = Books()
    for one in state["customers"]:
        books.add_account(one)
        for contact in state["contacts"].get(str(one["id"]), ()):
            books.add_contact(contact, one["id"])
    for one in state["customer_invoices"]:
        customer = one["customer"]
        books.add_document(one, customer and customer["id"], credit_note=one["credit_note"])
        for kind, path in (("payment", "payments"), ("bank_transaction", "matched_transactions")):
            for received in state[path].get(str(one["id"]), ()):
                books.add_payment(received, kind, one["id"])
    return books


def books_of(contender: str, database: Path) -> Books:
    return _READERS[contender](_Tables(database))


class _Tables:
    """The tables of a DuckDB file; one that was never made is empty, a column that was never made is null."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def rows(self, schema: str, table: str) -> list[Row]:
        with duckdb.connect(str(self._database), read_only=True) as connection:
            try:
                relation = connection.table(f"{schema}.{table}")
            except duckdb.CatalogException:
                return []
            names = relation.columns
            return [dict(zip(names, values, strict=True)) for values in relation.fetchall()]


def _ours(tables: _Tables) -> Books:
    books = Books()
    for row in tables.rows("receivables", "accounts"):
        books.add_account(row, "account_id")
    for row in tables.rows("receivables", "contacts"):
        books.add_contact(row, row["account_id"], "contact_id")
    for row in tables.rows("receivables", "invoices"):
        books.add_document(row, row["account_id"], credit_note=False, key="invoice_id")
    for row in tables.rows("receivables", "credit_notes"):
        books.add_document(row, row["account_id"], credit_note=True, key="credit_note_id")
    for row in tables.rows("receivables", "payments"):
        books.add_payment(row, row["kind"], row["invoice_id"], "payment_id")
    return books


def _theirs(tables: _Tables, schema: str, *, customer: str, credited: str, contact_of: str, payment_of: str) -> Books:
    books = Books()
    for row in tables.rows(schema, "customers"):
        books.add_account(row)
    for row in tables.rows(schema, "contacts"):
        books.add_contact(row, row[contact_of])
    for row in tables.rows(schema, "customer_invoices"):
        told = row["status"] == "credit_note" or _id(row.get(credited)) is not None
        books.add_document(row, row.get(customer), credit_note=told)
    for kind, table in (("payment", "payments"), ("bank_transaction", "matched_transactions")):
        for row in tables.rows(schema, table):
            books.add_payment(row, kind, row[payment_of])
    return books


def _rest_api(tables: _Tables) -> Books:
    return _theirs(
        tables,
        rest_api.DATASET,
        customer="customer__id",
        credited="credited_invoice__id",
        contact_of="_customers_id",
        payment_of="_customer_invoices_id",
    )


def _sdk(tables: _Tables) -> Books:
    return _theirs(
        tables,
        "main",
        customer="customer_id",
        credited="credited_invoice_id",
        contact_of="customer_id",
        payment_of="invoice_id",
    )


_READERS: dict[str, Callable[[_Tables], Books]] = {"ours": _ours, "rest_api": _rest_api, "sdk": _sdk}


def _id(value: Any) -> int | None:
    """Ids may have become floating-point numbers on the way through pandas, and missing ones NaN."""
    return None if value is None or value != value else int(value)  # noqa: PLR0124  # NaN differs from itself


def _amount(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))


@dataclass(frozen=True)
class Missed:
    """How far a contender's tables are from what they should hold."""

    missing: int
    payments_missing: int
    left_over: int
    stale: int
    confused: int

    @classmethod
    def between(cls, held: Books, wanted: Books) -> "Missed":
        pairs = list(zip(held.tables(), wanted.tables(), strict=True))
        return cls(
            missing=sum(len(right.keys() - left.keys()) for left, right in pairs),
            payments_missing=len(wanted.payments.keys() - held.payments.keys()),
            left_over=sum(len(left.keys() - right.keys()) for left, right in pairs),
            stale=sum(left[key] != right[key] for left, right in pairs for key in left.keys() & right.keys()),
            confused=len((held.credit_notes ^ wanted.credit_notes) & held.documents.keys() & wanted.documents.keys()),
        )

    @property
    def rows(self) -> int:
        return self.missing + self.left_over + self.stale
