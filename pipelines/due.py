"""Which contacts and payments are to be read, and in what order: derived from when each was last read.

What matters for follow-up comes first: rank 0, accounts and invoices with something unpaid; rank 1, touched or paid
lately; rank 2, history. What was never read goes newest first (invoices by their date, accounts by their last change),
what was read before goes longest ago first.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from pipelines.tables import DATASET
from pipelines.unpaid import UNPAID
from pipelines.warehouse import Session, id_list

What = Literal["contacts", "payments"]
_KINDS: tuple[What, ...] = get_args(What)

LATELY = timedelta(days=35)
"""A payment term and a few days: how long a paid invoice is looked at hourly, since bank matches may be undone."""

_MATTERS = tuple(f"{what}_{rank}" for what in _KINDS for rank in (0, 1))
"""What follow-up waits for, as `_candidates` names it."""
_HISTORY = tuple(f"{what}_2" for what in _KINDS)
"""All else."""

_REQUESTS = "CASE WHEN received THEN 2 ELSE 1 END"
"""What the details of a candidate cost, as `Due.requests` says."""


@dataclass(frozen=True)
class Due:
    """The contacts of an account, or the payments of an invoice, to be read with `requests` requests.

    `received` is False where the list tells that no money can have come in: bank transactions need not be asked for.
    """

    what: What
    parent_id: int
    received: bool

    @property
    def requests(self) -> int:
        return 2 if self.what == "payments" and self.received else 1


@dataclass(frozen=True)
class Pending:
    """What was never read since it last changed; `ready` once nothing of it matters for follow-up."""

    contacts: int
    payments: int
    requests: int
    ready: bool


def _candidates(company_id: int, now: datetime) -> str:
    """Everything that has details, as `contacts` and `payments`, and each rank of these as `contacts_0` and so on.

    A rank is a condition, not a column that is reckoned for each row, so that Postgres answers it by an index where
    there is one. Drafts have no payments (GUIDE: "The records").
    """
    excluded = f"SELECT account_id FROM {DATASET}.excluded_accounts WHERE company_id = {company_id}"
    lately = _at(now - LATELY)
    theirs = "EXISTS (SELECT 1 FROM payments AS its WHERE its.account_id = account.account_id AND"
    owing, invoiced = f"{theirs} {UNPAID})", f"{theirs} its.updated_at >= {lately})"
    touched = f"COALESCE(updated_at, TIMESTAMPTZ '-infinity') >= {lately}"
    return f"""
        WITH payments AS NOT MATERIALIZED (
            SELECT
                'payments' AS what, invoice_id AS parent_id, payments_synced_at AS last_read, date AS day,
                NOT COALESCE(NOT paid AND currency = 'EUR' AND remaining_amount_with_tax = amount, FALSE) AS received,
                account_id, draft, paid, status, updated_at, synced_at
            FROM {DATASET}.invoices
            WHERE company_id = {company_id} AND NOT COALESCE(draft, FALSE)
                AND (account_id IS NULL OR account_id NOT IN ({excluded}))
        ),
        contacts AS NOT MATERIALIZED (
            SELECT
                'contacts' AS what, account_id AS parent_id, contacts_synced_at AS last_read,
                CAST(updated_at AS DATE) AS day, FALSE AS received, account_id, updated_at, synced_at
            FROM {DATASET}.accounts WHERE company_id = {company_id} AND account_id NOT IN ({excluded})
        ),
        payments_0 AS NOT MATERIALIZED (SELECT *, 0 AS rank FROM payments WHERE {UNPAID}),
        payments_1 AS NOT MATERIALIZED (
            SELECT *, 1 AS rank FROM payments WHERE NOT ({UNPAID}) AND updated_at >= {lately}
        ),
        payments_2 AS NOT MATERIALIZED (SELECT *, 2 AS rank FROM payments WHERE NOT ({UNPAID}) AND NOT {touched}),
        contacts_0 AS NOT MATERIALIZED (SELECT *, 0 AS rank FROM contacts AS account WHERE {owing}),
        contacts_1 AS NOT MATERIALIZED (
            SELECT *, 1 AS rank FROM contacts AS account WHERE NOT {owing} AND ({touched} OR {invoiced})
        ),
        contacts_2 AS NOT MATERIALIZED (
            SELECT *, 2 AS rank FROM contacts AS account WHERE NOT {owing} AND NOT {touched} AND NOT {invoiced}
        )
    """


def _at(time: datetime) -> str:
    """As a literal: as a parameter it would have to be given as often as it stands in a query."""
    return f"TIMESTAMPTZ '{time.isoformat()}'"


def _from_candidates(session: Session, company_id: int, now: datetime, query: str) -> list[tuple[Any, ...]]:
    return session.rows(f"{_candidates(company_id, now)} {query}")


def _of_each(candidates: Iterable[str], query: Callable[[str], str]) -> str:
    """What `query` asks of each of these by itself."""
    return " UNION ALL ".join(f"({query(name)})" for name in candidates)


_NEWEST = "day DESC NULLS LAST, parent_id DESC"
_NEVER_READ = "last_read IS NULL"

_FENCE = "OFFSET 0"
"""Rows are found first, and ordered then: else Postgres may look for a few among a million, in the wanted order."""


def _never_read(name: str, but_history_until: datetime | None) -> str:
    since = ""
    if but_history_until and name in _HISTORY:
        since = f"AND (synced_at IS NULL OR synced_at > {_at(but_history_until)})"
    return f"SELECT what, parent_id, received, rank, day FROM {name} WHERE {_NEVER_READ} {since}"


def never_read(
    session: Session, company_id: int, now: datetime, limit: int, *, but_history_until: datetime | None = None
) -> list[Due]:
    """At most `limit` of what was never read since it last changed, most important first.

    `but_history_until` leaves out the history that a listing brought, which ended then; not what an event, or an
    account that is included again, brought since.
    """

    def newest(name: str) -> str:
        unread = f"{_never_read(name, but_history_until)} {_FENCE}"
        return f"SELECT * FROM ({unread}) AS unread ORDER BY {_NEWEST} LIMIT {limit}"

    unread = _of_each([*_MATTERS, *_HISTORY], newest)
    query = f"SELECT what, parent_id, received FROM ({unread}) AS unread ORDER BY rank, {_NEWEST}, what LIMIT {limit}"
    return _due(_from_candidates(session, company_id, now, query))


def never_read_history(session: Session, company_id: int, now: datetime, limit: int) -> list[Due]:
    """At most `limit` of the history that was never read since it last changed, newest first."""
    unread = _of_each(_HISTORY, lambda name: f"{_never_read(name, None)} ORDER BY {_NEWEST} LIMIT {limit}")
    query = f"SELECT what, parent_id, received FROM ({unread}) AS unread ORDER BY {_NEWEST}, what LIMIT {limit}"
    return _due(_from_candidates(session, company_id, now, query))


def due_of(session: Session, company_id: int, now: datetime, what: What, parents: Collection[int]) -> list[Due]:
    """Those of these accounts or invoices whose details are ours to read."""
    if not parents:
        return []
    query = f"SELECT what, parent_id, received FROM {what} WHERE parent_id IN ({id_list(parents)})"
    return _due(_from_candidates(session, company_id, now, query))


def requests_to_read(
    session: Session,
    company_id: int,
    now: datetime,
    *,
    but_history_until: datetime | None = None,
    at_most: int | None = None,
) -> int:
    """How many requests it takes to read what was never read; of more than `at_most`, some number that is no less."""
    unread = _of_each([*_HISTORY, *_MATTERS], lambda name: _never_read(name, but_history_until))
    if at_most is not None:  # counting all of a long history takes as long as reading it from the disk
        unread = f"{unread} LIMIT {at_most}"
    query = f"SELECT sum({_REQUESTS}) FROM ({unread}) AS unread"
    ((requests,),) = _from_candidates(session, company_id, now, query)
    return int(requests or 0)


def rotation(
    session: Session, company_id: int, now: datetime, requests: int, *, read_before: datetime | None = None
) -> list[Due]:
    """What to read again without any event asking for it, for at most `requests` requests.

    Nothing that was read since `read_before`.

    Contacts and a payment's own status change without an event. What matters takes up to four fifths, longest ago
    first; the rest goes to what of all was read longest ago, which is history wherever that was read longer ago than
    what matters, so that nothing is left out for ever.
    """
    before = read_before or now
    chosen = list(_within(_oldest(session, company_id, now, requests, _MATTERS, before=before), requests * 4 // 5))
    taken = set(chosen)
    others = [due for due in _oldest(session, company_id, now, requests, _KINDS, before=before) if due not in taken]
    return chosen + list(_within(others, requests - sum(due.requests for due in chosen)))


def pending(session: Session, company_id: int, now: datetime) -> Pending:
    """How much was never read since it last changed."""

    def count(name: str) -> str:
        return f"SELECT '{name}', count(*), COALESCE(sum({_REQUESTS}), 0) FROM {name} WHERE {_NEVER_READ}"

    rows = _from_candidates(session, company_id, now, _of_each([*_KINDS, *_MATTERS], count))
    unread = {name: (int(number), int(requests)) for name, number, requests in rows}
    return Pending(
        contacts=unread["contacts"][0],
        payments=unread["payments"][0],
        requests=sum(unread[what][1] for what in _KINDS),
        ready=not any(unread[name][0] for name in _MATTERS),
    )


def _oldest(
    session: Session, company_id: int, now: datetime, limit: int, candidates: Collection[str], *, before: datetime
) -> list[Due]:
    """At most `limit` of these that were last read before then, longest ago first."""
    if limit <= 0:
        return []

    def oldest(name: str) -> str:
        # Invoices that were touched lately are few as a rule, and come last in this order: found as such first.
        fence = _FENCE if name == "payments_1" else ""
        read = f"SELECT what, parent_id, received, last_read FROM {name} WHERE last_read < {_at(before)} {fence}"
        return f"SELECT * FROM ({read}) AS read_before ORDER BY last_read LIMIT {limit}"

    chosen = f"({_of_each(candidates, oldest)}) AS oldest ORDER BY last_read, parent_id DESC LIMIT {limit}"
    return _due(_from_candidates(session, company_id, now, f"SELECT what, parent_id, received FROM {chosen}"))


def _due(rows: list[tuple[Any, ...]]) -> list[Due]:
    return [Due(what, int(parent_id), bool(received)) for what, parent_id, received in rows]


def _within(dues: list[Due], requests: int) -> Iterator[Due]:
    """As many as fit; one that no longer does is passed over, and is the oldest next time."""
    for due in dues:
        if due.requests <= requests:
            requests -= due.requests
            yield due
