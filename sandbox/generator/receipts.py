"""How the seeded invoices were paid: which money came when, for which of them."""

import random
from collections import defaultdict
from dataclasses import dataclass, field

from sandbox.clock import to_datetime
from sandbox.records import Invoice, Payment, Transaction
from sandbox.world import World

_DAY = 86_400_000_000
_PAYMENT_STATUSES = ("initiated", "pending", "emitted", "failed", "charged_back", "cancelled", "error")


@dataclass
class _Transfer:
    """Money that arrives in one amount for one or several invoices."""

    when: int
    parts: list[tuple[Invoice, int]] = field(default_factory=list)


class Receipts:
    """Collects what will have come in, and enters what has come in by now, in the order of time."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._transfers: list[_Transfer] = []
        self._debits: list[tuple[int, Invoice]] = []
        self._waiting: defaultdict[int | None, list[Invoice]] = defaultdict(list)

    def settle(self, invoice: Invoice) -> None:
        """Decides how an invoice gets paid: most in one transfer, some in parts or together, some never."""
        roll, when = self._rng.random(), self._payday(invoice)
        if roll < 0.68:
            self._transfers.append(_Transfer(when, [(invoice, invoice.cents)]))
        elif roll < 0.74:
            self._in_parts(invoice, when, last=roll < 0.71)
        elif roll < 0.84:
            self._together(invoice, when)
        elif roll < 0.88:
            self._debits.append((when, invoice))
        elif roll < 0.90:
            invoice.paid_by_hand = when < self._world.clock.microseconds()

    def enter(self) -> None:
        """Writes the transactions and payments that lie in the past."""
        now = self._world.clock.microseconds()
        for transfer in sorted(self._transfers, key=lambda transfer: transfer.when):
            if transfer.when < now:
                enter_transfer(self._world, self._rng, transfer.when, transfer.parts)
        for when, invoice in sorted(self._debits, key=lambda debit: debit[0]):
            if when < now:
                failed = self._rng.random() < 0.1
                status = self._rng.choice(_PAYMENT_STATUSES if failed else ("confirmed", "paid_out", "found"))
                enter_payment(self._world, when, invoice, invoice.cents, status)

    def _payday(self, invoice: Invoice) -> int:
        due = 30 if invoice.deadline is None or invoice.date is None else invoice.deadline - invoice.date
        return invoice.created_at + int(_DAY * max(0.2, due + self._rng.gauss(2, 12)))

    def _in_parts(self, invoice: Invoice, when: int, *, last: bool) -> None:
        first = invoice.cents * self._rng.randrange(20, 80) // 100
        if first > 0:
            self._transfers.append(_Transfer(when, [(invoice, first)]))
        if last:
            self._transfers.append(_Transfer(when + 20 * _DAY, [(invoice, invoice.cents - first)]))

    def _together(self, invoice: Invoice, when: int) -> None:
        waiting = self._waiting[invoice.customer_id]
        waiting.append(invoice)
        if len(waiting) >= 2 + invoice.id % 3:
            self._transfers.append(_Transfer(when, [(each, each.cents) for each in waiting]))
            waiting.clear()


def enter_transfer(world: World, rng: random.Random, when: int, parts: list[tuple[Invoice, int]]) -> Transaction:
    """A bank transaction that settles `parts` (invoice, euro cents). Its own currency is that of a single invoice."""
    world.ids.transaction += rng.randrange(1, 60)
    first = parts[0][0]
    cents = sum(part for _, part in parts)
    foreign = len(parts) == 1 and cents == first.cents
    name = world.customers[first.customer_id].name if first.customer_id is not None else "CLIENT"
    transaction = Transaction(
        id=world.ids.transaction,
        label=None if rng.random() < 0.03 else f"VIR SEPA {name.upper()}",
        date=to_datetime(when).toordinal(),
        currency=first.currency if foreign else "EUR",
        currency_cents=first.currency_cents if foreign else cents,
        cents=cents,
        bank_account_id=53 + world.ids.transaction % 2,
        journal_id=234 + world.ids.transaction % 2,
        customer_id=first.customer_id if rng.random() < 0.7 else None,
        created_at=when,
        updated_at=when,
        matches=tuple((invoice.id, part) for invoice, part in parts),
    )
    world.transactions.add(transaction)
    for invoice, part in parts:
        invoice.matches = (*invoice.matches, (transaction.id, part))
        invoice.updated_at = max(invoice.updated_at, when)
    return transaction


def enter_payment(world: World, when: int, invoice: Invoice, cents: int, status: str) -> Payment:
    """A payment that Pennylane collects, in the invoice's currency; `cents` are euros."""
    world.ids.payment += 1 + invoice.id % 20
    whole = cents == invoice.cents
    payment = Payment(
        id=world.ids.payment,
        label=f"Prélèvement {invoice.number}",
        currency=invoice.currency if whole else "EUR",
        currency_cents=invoice.currency_cents if whole else cents,
        cents=cents,
        status=status,
        created_at=when,
        updated_at=when,
    )
    invoice.payments = (*invoice.payments, payment)
    invoice.updated_at = max(invoice.updated_at, when)
    return payment
