"""A company whose books the sandbox keeps: its records, its change feeds, its next ids."""

import random
from dataclasses import dataclass, field
from threading import RLock

from sandbox.clock import Clock
from sandbox.feed import Event, Feed, Operation
from sandbox.records import Customer, Invoice, Transaction
from sandbox.table import Table

_NO_DATE = 10_000_000
"""Sorts documents without a date after all others, as a database does."""


@dataclass(frozen=True)
class User:
    id: int
    first_name: str
    last_name: str
    email: str
    locale: str = "fr"


@dataclass
class Ids:
    """The last id given out per kind of record. Ids grow with creation and leave gaps."""

    customer: int
    contact: int
    invoice: int
    transaction: int
    payment: int


def _date_key(invoice: Invoice) -> int:
    return _NO_DATE if invoice.date is None else invoice.date


@dataclass
class World:
    """Everything true about one company. Whoever reads or changes it holds `lock`."""

    id: int
    name: str
    reg_no: str
    user: User
    clock: Clock
    ids: Ids
    random: random.Random
    customers: Table[Customer] = field(default_factory=Table)
    invoices: Table[Invoice] = field(default_factory=lambda: Table(_date_key))
    transactions: Table[Transaction] = field(default_factory=Table)
    customer_feed: Feed = field(default_factory=Feed)
    invoice_feed: Feed = field(default_factory=Feed)
    transaction_feed: Feed = field(default_factory=Feed)
    next_number: int = 1
    lock: RLock = field(default_factory=RLock)

    def customer_changed(self, customer: Customer, operation: Operation, now: int) -> None:
        customer.updated_at = now
        self.customer_feed.append(Event(customer.id, operation, now, now, customer.created_at))

    def invoice_changed(self, invoice: Invoice, operation: Operation, now: int) -> None:
        invoice.updated_at = now
        self.invoice_feed.append(Event(invoice.id, operation, now, now, invoice.created_at))

    def transaction_changed(self, transaction: Transaction, operation: Operation, now: int) -> None:
        transaction.updated_at = now
        self.transaction_feed.append(Event(transaction.id, operation, now, now, transaction.created_at))
