"""A whole company: customers, three years of documents, what was paid, and a few recent events."""

import random
from collections.abc import Sequence
from typing import Any

from sandbox.clock import Clock
from sandbox.feed import Event, Feed
from sandbox.generator import vocabulary as words
from sandbox.generator.documents import make_document
from sandbox.generator.people import make_contact, make_customer
from sandbox.generator.receipts import Receipts
from sandbox.records import CREDIT_NOTE, OTHER_DOCUMENTS, Contact, Customer, Invoice
from sandbox.table import Table
from sandbox.world import Ids, User, World

LAST_CUSTOMER_ID = 193_957_360
"""The example of a customer id that Pennylane users are shown; the newest customer of the first company has it."""

SMALL_CUSTOMERS, SMALL_INVOICES = 15, 120
"""The size of every company but the first."""

_OF_THE_FIRST, _OF_THE_OTHERS = 40_000_000, 100_000
"""Room for a company's customer ids, which are numbered through all companies."""

_HISTORY = 3 * 365 * 86_400_000_000
_DAY = 86_400_000_000


def make_worlds(clock: Clock, *, customers: int, invoices: int, companies: int = 2, seed: int = 1) -> list[World]:
    """The first company has the size asked for, the others are small."""
    sizes = [(customers, invoices), *[(SMALL_CUSTOMERS, SMALL_INVOICES)] * (companies - 1)]
    return [make_world(clock, customers=c, invoices=i, seed=seed, number=n) for n, (c, i) in enumerate(sizes)]


def make_world(clock: Clock, *, customers: int, invoices: int, seed: int = 1, number: int = 0) -> World:
    """Company `number` of a seed."""
    rng = random.Random(f"{seed}/{number}")  # noqa: S311
    world = _empty_world(clock, rng, number)
    _add_customers(world, rng, customers, _last_customer_id(number))
    _add_documents(world, rng, invoices)
    _add_recent_events(world)
    return world


def company_id(number: int) -> int:
    """The id of company `number`, the first being 0."""
    return 21_540_000 + 137 * number


def _last_customer_id(number: int) -> int:
    return LAST_CUSTOMER_ID - (_OF_THE_FIRST + (number - 1) * _OF_THE_OTHERS if number else 0)


def _empty_world(clock: Clock, rng: random.Random, number: int) -> World:
    name, reg_no = words.COMPANIES[number % len(words.COMPANIES)]
    first, last, email = words.USER
    return World(
        id=company_id(number),
        name=name if number < len(words.COMPANIES) else f"{name} {number}",
        reg_no=reg_no,
        user=User(480_012, first, last, email),
        clock=clock,
        ids=Ids(
            customer=0,
            contact=61_000_000 + number * 9_000_000,
            invoice=1_450_000_000 + number * 700_000_000,
            transaction=3_100_000_000 + number * 700_000_000,
            payment=88_000_000 + number * 9_000_000,
        ),
        random=random.Random(rng.random()),  # noqa: S311
    )


def _add_customers(world: World, rng: random.Random, count: int, last_id: int) -> None:
    """Customers came one after the other over the three years; each has up to three contacts."""
    start = world.clock.microseconds() - _HISTORY
    widest = max(2, min(400, 30_000_000 // max(1, count)))
    gaps = [rng.randrange(1, widest) for _ in range(count)]
    world.ids.customer = last_id - sum(gaps)
    for place, gap in enumerate(gaps):
        world.ids.customer += gap
        created = start + _HISTORY * place // count
        customer = make_customer(rng, world.ids.customer, created)
        customer.contacts = tuple(_contacts(world, rng, created))
        world.customers.add(customer)


def _contacts(world: World, rng: random.Random, created: int) -> list[Contact]:
    contacts = []
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        world.ids.contact += rng.randrange(1, 30)
        contacts.append(make_contact(rng, world.ids.contact, created))
    return contacts


def _add_documents(world: World, rng: random.Random, count: int) -> None:
    now = world.clock.microseconds()
    customers = list(world.customers)
    receipts = Receipts(world, rng)
    recent: list[Invoice] = []
    for place in range(count):
        created = now - _HISTORY + _HISTORY * place // count + rng.randrange(max(1, _HISTORY // count))
        world.ids.invoice += rng.randrange(1, 200)
        invoice = _document(world, rng, created, customers, recent)
        world.invoices.add(invoice)
        if invoice.settles and invoice.archived_at is None and invoice.cancelled != "cancelled":
            receipts.settle(invoice)
            recent.append(invoice)
            del recent[:-40]
    receipts.enter()


def _document(
    world: World, rng: random.Random, created: int, customers: Sequence[Customer], recent: Sequence[Invoice]
) -> Invoice:
    """Any document. The newest customers get theirs when they exist; a few invoices have no customer at all."""
    customer = customers[int(len(customers) * rng.random() ** 1.5)] if customers and rng.random() > 0.02 else None
    id_, number = world.ids.invoice, world.next_number
    world.next_number += 1
    roll = rng.random()
    if roll < 0.05:
        credited = rng.choice(recent) if recent and rng.random() < 0.75 else None
        return _credit_note(world, rng, created, customer, credited, draft=roll < 0.004)
    if roll < 0.07:
        return make_document(rng, id_, created, number, customer=customer, draft=True)
    if roll < 0.12:
        return make_document(rng, id_, created, number, customer=customer, kind=rng.choice(OTHER_DOCUMENTS))
    invoice = make_document(rng, id_, created, number, customer=customer)
    if roll < 0.125:
        invoice.archived_at = min(created + _DAY // 24, world.clock.microseconds())
    elif roll < 0.13:
        invoice.incomplete = True
    return invoice


def _credit_note(
    world: World,
    rng: random.Random,
    created: int,
    customer: Customer | None,
    credited: Invoice | None,
    *,
    draft: bool,
) -> Invoice:
    """A credit note, often for a whole invoice (which is then cancelled), else for a part of one, or for none."""
    if credited is not None:
        customer = None if credited.customer_id is None else world.customers[credited.customer_id]
    note = make_document(
        rng, world.ids.invoice, created, world.next_number - 1, customer=customer, kind=CREDIT_NOTE, draft=draft
    )
    if credited is not None and credited.cents > 0:
        note.credited_invoice_id = credited.id
        mirror_amounts(note, credited, 100 if rng.random() < 0.5 else rng.randrange(5, 60))
        if not draft:
            credited.cancelled = "cancelled" if note.cents == -credited.cents else "partially_cancelled"
            credited.updated_at = created
    return note


def mirror_amounts(note: Invoice, credited: Invoice, percent: int) -> None:
    """Gives a credit note the negative of (a part of) another invoice's amounts."""
    note.currency, note.exchange_rate = credited.currency, credited.exchange_rate
    note.currency_cents = -(credited.currency_cents * percent // 100)
    note.currency_tax_cents = -(credited.currency_tax_cents * percent // 100)
    note.cents = -(credited.cents * percent // 100)
    note.tax_cents = -(credited.tax_cents * percent // 100)


def _add_recent_events(world: World) -> None:
    """The last few records of each kind stand in the feeds; older history has left them."""
    now = world.clock.microseconds()
    for days, place in enumerate(range(len(world.customers) - 1, max(-1, len(world.customers) - 5), -1), start=1):
        customer = world.customers.at(place)
        customer.updated_at = max(customer.created_at, now - days * 2 * _DAY)
    _enter_events(world, world.customers, world.customer_feed)
    _enter_events(world, world.invoices, world.invoice_feed)
    _enter_events(world, world.transactions, world.transaction_feed)


def _enter_events(world: World, table: Table[Any], feed: Feed) -> None:
    since = world.clock.microseconds() - 21 * _DAY
    events = []
    for place in range(max(0, len(table) - 8), len(table)):
        row = table.at(place)
        events.append(Event(row.id, "insert", row.created_at, row.created_at, row.created_at))
        if row.updated_at > row.created_at:
            events.append(Event(row.id, "update", row.updated_at, row.updated_at, row.created_at))
    for event in sorted(events, key=lambda event: event.processed_at):
        if event.processed_at > since:
            feed.append(event)
