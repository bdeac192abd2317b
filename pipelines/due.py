"""Which contacts and payments are to be read, and in what order: derived from when each was last read.

What matters for follow-up comes first: rank 0, accounts and invoices with something unpaid; rank 1, touched or paid
lately; rank 2, history. What was never read goes newest first (invoices by their date, accounts by their last change),
what was read before goes longest ago first.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from pipelines.tables import DATASET
from pipelines.unpaid import UNPAID
from pipelines.warehouse import Session, id_list

What = Literal["contacts", "payments"]
_KINDS: tuple[What, ...] = get_args(What)

LATELY = timedelta(days=35)
"""A payment term and a few days: how long a paid invoice is looked at hourly, since bank matches may be undone."""

HISTORY = 2

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


def _candidates(company_id: int) -> str:
    """Everything that has details, with rank and age. Drafts have no payments (GUIDE: "The records").

    That an invoice is history stands there by itself, too: Postgres knows how many these are, not how many have a rank,
    and so takes the index by which it finds the newest.
    """
    excluded = f"SELECT account_id FROM {DATASET}.excluded_accounts WHERE company_id = {company_id}"
    theirs = "EXISTS (SELECT 1 FROM invoice i WHERE i.account_id = a.account_id AND"
    return f"""
        WITH invoice AS NOT MATERIALIZED (
            SELECT
                *,
                CASE WHEN {UNPAID} THEN 0 WHEN updated_at >= %s THEN 1 ELSE {HISTORY} END AS rank,
                NOT ({UNPAID}) AND COALESCE(updated_at, TIMESTAMPTZ '-infinity') < %s AS is_history
            FROM {DATASET}.invoices
            WHERE company_id = {company_id} AND NOT COALESCE(draft, FALSE)
                AND (account_id IS NULL OR account_id NOT IN ({excluded}))
        ),
        account AS NOT MATERIALIZED (
            SELECT
                'contacts' AS what, a.account_id AS parent_id, FALSE AS received, a.contacts_synced_at AS last_read,
                CASE
                    WHEN {theirs} {UNPAID}) THEN 0
                    WHEN a.updated_at >= %s OR {theirs} i.updated_at >= %s) THEN 1
                    ELSE {HISTORY}
                END AS rank,
                CAST(a.updated_at AS DATE) AS day, a.synced_at AS seen_at
            FROM {DATASET}.accounts a
            WHERE a.company_id = {company_id} AND a.account_id NOT IN ({excluded})
        ),
        contacts AS NOT MATERIALIZED (SELECT *, rank = {HISTORY} AS is_history FROM account),
        payments AS NOT MATERIALIZED (
            SELECT
                'payments' AS what, invoice_id AS parent_id,
                NOT COALESCE(NOT paid AND currency = 'EUR' AND remaining_amount_with_tax = amount, FALSE) AS received,
                payments_synced_at AS last_read, rank, date AS day, synced_at AS seen_at, is_history
            FROM invoice
        ),
        candidate AS NOT MATERIALIZED (SELECT * FROM contacts UNION ALL SELECT * FROM payments)
    """


def _from_candidates(
    session: Session, company_id: int, now: datetime, query: str, *parameters: object
) -> list[tuple[Any, ...]]:
    return session.rows(f"{_candidates(company_id)} {query}", *[now - LATELY] * 4, *parameters)


def _of_each_kind(query: str) -> str:
    """A query of the candidates of each kind by itself: what one table alone answers goes by its index, or at once."""
    return " UNION ALL ".join(f"({query.format(what=what)})" for what in _KINDS)


_EVER = datetime(1, 1, 1, tzinfo=UTC)

_NEWEST = "day DESC NULLS LAST, parent_id DESC"
_UNREAD = f"last_read IS NULL AND (rank < {HISTORY} OR seen_at IS NULL OR seen_at > %s)"


def never_read(
    session: Session, company_id: int, now: datetime, limit: int, *, but_history_until: datetime | None = None
) -> list[Due]:
    """At most `limit` of what was never read since it last changed, most important first.

    `but_history_until` leaves out the history that a listing brought, which ended then; not what an event, or an
    account that is included again, brought since.
    """
    order = f"rank, {_NEWEST}"
    unread = _of_each_kind(f"SELECT * FROM {{what}} WHERE {_UNREAD} ORDER BY {order} LIMIT {limit}")
    query = f"SELECT what, parent_id, received FROM ({unread}) AS unread ORDER BY {order}, what LIMIT {limit}"
    return _due(_from_candidates(session, company_id, now, query, *(but_history_until or _EVER for _ in _KINDS)))


def never_read_history(session: Session, company_id: int, now: datetime, limit: int) -> list[Due]:
    """At most `limit` of the history that was never read since it last changed; a million are sorted by days alone."""
    unread = _of_each_kind(
        f"SELECT * FROM {{what}} WHERE last_read IS NULL AND is_history ORDER BY {_NEWEST} LIMIT {limit}"
    )
    query = f"SELECT what, parent_id, received FROM ({unread}) AS unread ORDER BY {_NEWEST}, what LIMIT {limit}"
    return _due(_from_candidates(session, company_id, now, query))


def due_of(session: Session, company_id: int, now: datetime, what: What, parents: Collection[int]) -> list[Due]:
    """Those of these accounts or invoices whose details are ours to read."""
    if not parents:
        return []
    query = f"SELECT what, parent_id, received FROM candidate WHERE what = %s AND parent_id IN ({id_list(parents)})"
    return _due(_from_candidates(session, company_id, now, query, what))


def requests_to_read(
    session: Session,
    company_id: int,
    now: datetime,
    *,
    but_history_until: datetime | None = None,
    at_most: int | None = None,
) -> int:
    """How many requests all of that takes; where they are more than `at_most`, some number that is no less."""
    unread = f"SELECT received FROM candidate WHERE {_UNREAD}"
    if at_most is not None:
        unread = f"{unread} LIMIT {at_most}"  # counting all of a long history takes as long as reading it from the disk
    query = f"SELECT sum({_REQUESTS}) FROM ({unread}) AS unread"
    ((requests,),) = _from_candidates(session, company_id, now, query, but_history_until or _EVER)
    return int(requests or 0)


def rotation(session: Session, company_id: int, now: datetime, requests: int) -> list[Due]:
    """What to read again without any event asking for it, for at most `requests` requests.

    Contacts and a payment's own status change without an event. What matters takes up to four fifths, longest ago
    first; the rest goes to history in turn, so that nothing is left out for ever.
    """
    matters = _oldest(session, company_id, now, requests, f"rank < {HISTORY}")
    others = _oldest(session, company_id, now, requests, f"rank = {HISTORY}")
    share = max(requests * 4 // 5, requests - sum(due.requests for due in others))
    chosen = list(_within(matters, share))
    return chosen + list(_within(others, requests - sum(due.requests for due in chosen)))


def pending(session: Session, company_id: int, now: datetime) -> Pending:
    """How much was never read since it last changed."""
    query = _of_each_kind(
        f"SELECT '{{what}}', count(*), count(*) FILTER (WHERE rank < {HISTORY}), sum({_REQUESTS}) "
        "FROM {what} WHERE last_read IS NULL"
    )
    rows = _from_candidates(session, company_id, now, query)
    count = {what: int(number) for what, number, *_ in rows}
    return Pending(
        contacts=count["contacts"],
        payments=count["payments"],
        requests=sum(int(requests or 0) for *_, requests in rows),
        ready=not any(matters for _, _, matters, _ in rows),
    )


def _oldest(session: Session, company_id: int, now: datetime, limit: int, condition: str) -> list[Due]:
    """At most `limit` of what was read before."""
    if limit <= 0:
        return []
    oldest = f"SELECT * FROM {{what}} WHERE last_read < %s AND {condition} ORDER BY last_read LIMIT {limit}"
    query = f"""
        SELECT what, parent_id, received FROM ({_of_each_kind(oldest)}) AS oldest
        ORDER BY last_read, rank, parent_id DESC LIMIT {limit}
    """
    return _due(_from_candidates(session, company_id, now, query, *(now for _ in _KINDS)))


def _due(rows: list[tuple[Any, ...]]) -> list[Due]:
    return [Due(what, int(parent_id), bool(received)) for what, parent_id, received in rows]


def _within(dues: list[Due], requests: int) -> Iterator[Due]:
    """As many as fit; one that no longer does is passed over, and is the oldest next time."""
    for due in dues:
        if due.requests <= requests:
            requests -= due.requests
            yield due
