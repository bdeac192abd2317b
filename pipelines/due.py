"""Which contacts and payments are to be read, and in what order: derived from when each was last read.

What matters for follow-up comes first: rank 0, accounts and invoices with something unpaid; rank 1, touched or paid
lately; rank 2, history. What was never read goes newest first (invoices by their date, accounts by their last change),
what was read before goes longest ago first.
"""

from collections.abc import Collection, Iterator
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

_MATTERS, _HISTORY = (0, 1), (2,)
"""Ranks."""

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

    A rank is a condition, not a column that is reckoned for each row: so Postgres answers it by its indexes, and reads
    no more than a few rows where few are asked for. Drafts have no payments (GUIDE: "The records").
    """
    excluded = f"SELECT account_id FROM {DATASET}.excluded_accounts WHERE company_id = {company_id}"
    lately = _at(now - LATELY)
    theirs = "EXISTS (SELECT 1 FROM payments AS its WHERE its.account_id = account.account_id AND"
    owing, invoiced = f"{theirs} {UNPAID})", f"{theirs} its.updated_at >= {lately})"
    touched = f"COALESCE(updated_at, TIMESTAMPTZ '-infinity') >= {lately}"
    return f"""
        WITH payments AS NOT MATERIALIZED (
            SELECT
                *, 'payments' AS what, invoice_id AS parent_id, payments_synced_at AS last_read, date AS day,
                NOT COALESCE(NOT paid AND currency = 'EUR' AND remaining_amount_with_tax = amount, FALSE) AS received
            FROM {DATASET}.invoices
            WHERE company_id = {company_id} AND NOT COALESCE(draft, FALSE)
                AND (account_id IS NULL OR account_id NOT IN ({excluded}))
        ),
        contacts AS NOT MATERIALIZED (
            SELECT
                *, 'contacts' AS what, account_id AS parent_id, contacts_synced_at AS last_read,
                CAST(updated_at AS DATE) AS day, FALSE AS received
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
    return f"TIMESTAMPTZ '{time.isoformat()}'"


def _from_candidates(session: Session, company_id: int, now: datetime, query: str) -> list[tuple[Any, ...]]:
    return session.rows(f"{_candidates(company_id, now)} {query}")


def _of_each(ranks: Collection[int], query: str) -> str:
    """A query of the candidates of each kind and rank by itself."""
    return " UNION ALL ".join(f"({query.format(ranked=f'{what}_{rank}')})" for what in _KINDS for rank in ranks)


_COLUMNS = "what, parent_id, received, rank, last_read, day"
_NEWEST = "day DESC NULLS LAST, parent_id DESC"
_NEVER_READ = "last_read IS NULL"


def _never_read(columns: str, but_history_until: datetime | None, newest: str = "") -> str:
    unread = f"SELECT {columns} FROM {{ranked}} WHERE {_NEVER_READ}"
    brought = f"AND (synced_at IS NULL OR synced_at > {_at(but_history_until)})" if but_history_until else ""
    return f"{_of_each(_HISTORY, f'{unread} {brought} {newest}')} UNION ALL {_of_each(_MATTERS, f'{unread} {newest}')}"


def never_read(
    session: Session, company_id: int, now: datetime, limit: int, *, but_history_until: datetime | None = None
) -> list[Due]:
    """At most `limit` of what was never read since it last changed, most important first.

    `but_history_until` leaves out the history that a listing brought, which ended then; not what an event, or an
    account that is included again, brought since.
    """
    unread = _never_read(_COLUMNS, but_history_until, f"ORDER BY {_NEWEST} LIMIT {limit}")
    query = f"SELECT what, parent_id, received FROM ({unread}) AS unread ORDER BY rank, {_NEWEST}, what LIMIT {limit}"
    return _due(_from_candidates(session, company_id, now, query))


def never_read_history(session: Session, company_id: int, now: datetime, limit: int) -> list[Due]:
    """At most `limit` of the history that was never read since it last changed; a million are sorted by days alone."""
    newest = f"SELECT {_COLUMNS} FROM {{ranked}} WHERE {_NEVER_READ} ORDER BY {_NEWEST} LIMIT {limit}"
    unread = _of_each(_HISTORY, newest)
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
    """How many requests all of that takes; where they are more than `at_most`, some number that is no less."""
    unread = _never_read("received", but_history_until)
    if at_most is not None:
        unread = f"{unread} LIMIT {at_most}"  # counting all of a long history takes as long as reading it from the disk
    query = f"SELECT sum({_REQUESTS}) FROM ({unread}) AS unread"
    ((requests,),) = _from_candidates(session, company_id, now, query)
    return int(requests or 0)


def rotation(session: Session, company_id: int, now: datetime, requests: int) -> list[Due]:
    """What to read again without any event asking for it, for at most `requests` requests.

    Contacts and a payment's own status change without an event. What matters takes up to four fifths, longest ago
    first; the rest goes to history in turn, so that nothing is left out for ever.
    """
    matters = _oldest(session, company_id, now, requests, _MATTERS)
    others = _oldest(session, company_id, now, requests, _HISTORY)
    share = max(requests * 4 // 5, requests - sum(due.requests for due in others))
    chosen = list(_within(matters, share))
    return chosen + list(_within(others, requests - sum(due.requests for due in chosen)))


def pending(session: Session, company_id: int, now: datetime) -> Pending:
    """How much was never read since it last changed."""
    unread = " UNION ALL ".join(f"SELECT what, received FROM {what} WHERE {_NEVER_READ}" for what in _KINDS)
    matters = _of_each(_MATTERS, f"SELECT count(*) AS number FROM {{ranked}} WHERE {_NEVER_READ}")
    query = f"""
        SELECT
            count(*) FILTER (WHERE what = 'contacts'), count(*) FILTER (WHERE what = 'payments'),
            COALESCE(sum({_REQUESTS}), 0), (SELECT sum(number) FROM ({matters}) AS matters)
        FROM ({unread}) AS unread
    """
    ((contacts, payments, requests, urgent),) = _from_candidates(session, company_id, now, query)
    return Pending(int(contacts), int(payments), int(requests), ready=not urgent)


def _oldest(session: Session, company_id: int, now: datetime, limit: int, ranks: Collection[int]) -> list[Due]:
    """At most `limit` of what was read before."""
    if limit <= 0:
        return []
    oldest = " UNION ALL ".join(
        f"(SELECT * FROM ({_read_before(what, rank, now)}) AS read_before ORDER BY last_read LIMIT {limit})"
        for what in _KINDS
        for rank in ranks
    )
    order = "last_read, rank, parent_id DESC"
    query = f"SELECT what, parent_id, received FROM ({oldest}) AS oldest ORDER BY {order} LIMIT {limit}"
    return _due(_from_candidates(session, company_id, now, query))


def _read_before(what: What, rank: int, now: datetime) -> str:
    """What was read before now.

    Invoices that were touched lately are found as such, and ordered then: Postgres would look for them among a million
    in the order in which these were read, were it not for OFFSET, which keeps it from doing so.
    """
    fence = "OFFSET 0" if (what, rank) == ("payments", 1) else ""
    return f"SELECT {_COLUMNS} FROM {what}_{rank} WHERE last_read < {_at(now)} {fence}"


def _due(rows: list[tuple[Any, ...]]) -> list[Due]:
    return [Due(what, int(parent_id), bool(received)) for what, parent_id, received in rows]


def _within(dues: list[Due], requests: int) -> Iterator[Due]:
    """As many as fit; one that no longer does is passed over, and is the oldest next time."""
    for due in dues:
        if due.requests <= requests:
            requests -= due.requests
            yield due
