"""Following the change feeds: which records were touched since the cursor, and what they look like now.

What moves a cursor: reading its feed to the end, at the server's time. What a cursor misses: changes of contacts and of
a payment's own status raise no event (GUIDE: "Changes"); the rotation of `details` covers those. Ties and late
events: a feed is read again from OVERLAP before the cursor, and events seen in that stretch are skipped.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.client import WORKERS, Pennylane
from pipelines.errors import BrokenAnswer, PennylaneRefused
from pipelines.filters import Condition, batches, condition, encoded
from pipelines.kinds import ACCOUNT, Kind, Reader
from pipelines.listing import NO_ID, PAGE, more_follows, with_ids
from pipelines.prefetch import completed
from pipelines.records import Record, Row

EVENTS_PER_PAGE = 1000
OVERLAP = timedelta(minutes=5)
CLOCKS_APART = timedelta(minutes=10)
"""Our clock and Pennylane's, at the most."""
_JUST_BEFORE = timedelta(milliseconds=1)

Event = tuple[int, str, str]
"""A record's id, when its change was processed, and what it was."""


class CursorTooOld(Exception):
    """The feed does not tell all that happened since the last sync: a full sync is due.

    It keeps four weeks; and a cursor may stand in the future.
    """


@dataclass(frozen=True)
class Cursor:
    """A position in a change feed: read to its end at `until` (server time); `recent` are the events of the overlap."""

    until: datetime
    recent: frozenset[Event] = frozenset()

    def to_state(self) -> dict[str, Any]:
        return {"until": self.until.isoformat(), "recent": sorted(map(list, self.recent))}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Cursor":
        recent = frozenset((int(one), str(at), str(operation)) for one, at, operation in state["recent"])
        return cls(datetime.fromisoformat(state["until"]), recent)


def read_feed(pennylane: Pennylane, path: str, cursor: Cursor, now: datetime) -> tuple[set[Event], Cursor]:
    """What happened since the cursor, and the cursor after it; `now` is our time. Raises CursorTooOld.

    The cursor goes no further than both clocks: an answer with a wrong `Date`, such as a proxy's, would else take it
    past all that happens until then. One that stands there already is of no use.
    """
    events: dict[Event, datetime] = {}
    server_time: datetime | None = None
    for page in _pages(pennylane, path, cursor.until - OVERLAP):
        server_time = server_time or pennylane.server_time()
        events.update(page)
    if server_time and cursor.until > max(server_time, now) + CLOCKS_APART:
        raise CursorTooOld
    # Not by the events' own times: one dated in the future would take the cursor there as well.
    until = max(cursor.until, min(server_time or cursor.until, now + CLOCKS_APART))
    recent = frozenset(event for event, at in events.items() if until - OVERLAP <= at and not _may_recur(at, until))
    return events.keys() - cursor.recent, Cursor(until, recent)


def cursors_of(state: Mapping[str, Any]) -> dict[str, Cursor]:
    """By the path of its feed; none before everything was listed once."""
    return {path: Cursor.from_state(one) for path, one in state.get("cursors", {}).items()}


def has_news(pennylane: Pennylane, cursors: Mapping[str, Cursor]) -> bool:
    """Whether a feed tells of something since its cursor, or no longer reaches back to it: a request for each."""
    try:
        return any(
            page.keys() - cursor.recent
            for path, cursor in cursors.items()
            for page in _pages(pennylane, path, cursor.until - OVERLAP)
        )
    except CursorTooOld:
        return True


def touched(events: Iterable[Event]) -> set[int]:
    """The ids of the records that the events are about."""
    return {one for one, _, _ in events}


def maybe_deleted(events: Iterable[Event]) -> set[int]:
    """The ids of the records of which an event says that they were deleted, or something that we do not know."""
    return {one for one, _, what in events if what not in ("insert", "update")}


def _may_recur(at: datetime, until: datetime) -> bool:
    """Whether a feed that counts in whole seconds may still tell the same of a record, in the second of our reading."""
    return at.microsecond == 0 and at > until - timedelta(seconds=1)


def _pages(pennylane: Pennylane, path: str, start: datetime) -> Iterator[dict[Event, datetime]]:
    """Pages of a feed from `start` on.

    Each page is asked for by the time of the last event before it, not by the API's cursor: that is a bare timestamp,
    and may lose the other events of its instant at a page's end. Only where this leads no further, since an instant
    fills a whole page, the cursor is followed until it has left that instant.
    """
    known: set[Event] = set()
    position = {"start_date": _rfc3339(start)}
    while True:
        try:
            answer = pennylane.get(path, {"limit": EVENTS_PER_PAGE, **position})
        except PennylaneRefused as refusal:
            if refusal.status == 422:
                raise CursorTooOld from None
            raise
        page = _events(answer, path, start)
        yield page
        if not more_follows(answer, path):
            return
        news = page.keys() - known
        if not news and "cursor" in position:
            raise BrokenAnswer(f"Pennylane announces ever more of {path} but repeats itself; the next sync asks again.")
        known |= news
        reached = max(page.values(), default=start) - _JUST_BEFORE
        if news and reached > start:
            start = reached
            position = {"start_date": _rfc3339(start)}
        elif isinstance(answer.get("next_cursor"), str):
            position = {"cursor": answer["next_cursor"]}
        else:
            raise BrokenAnswer(f"Pennylane announces more of {path} without saying where; the next sync asks again.")


def _events(answer: dict[str, Any], path: str, start: datetime) -> dict[Event, datetime]:
    """A page's events with their times; `start` for one that has no readable time: its record is read all the same.

    Raises CursorTooOld where an event does not say what changed: only listing everything tells.
    """
    found, nameless = with_ids(answer, path)
    if nameless:
        raise CursorTooOld
    return {
        (one["id"], str(one.get("processed_at")), str(one.get("operation"))): _moment(one.get("processed_at")) or start
        for one in found
    }


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def fetch(
    pennylane: Pennylane,
    reader: Reader,
    executor: ThreadPoolExecutor,
    kind: Kind,
    ids: Iterable[int],
    *,
    excluded: frozenset[int],
) -> Iterator[tuple[set[int], list[Row]]]:
    """The records of `kind` with these ids as they are now, in batches: the ids that were asked for, and their rows.

    An id without a row is none of ours any more: deleted, of another kind, or an excluded account's.
    """
    wanted = set(ids) - excluded if kind is ACCOUNT else set(ids)
    alternatives = [kind.conditions] if kind is ACCOUNT else [one for _, one in kind.leaving_out(excluded)]

    def read(batch: tuple[int, ...]) -> tuple[set[int], list[Row]]:
        reader.forget(kind, batch)
        records: dict[int, Record] = {}
        nameless = 0
        for conditions in alternatives:
            sought = [one for one in batch if one not in records]
            if sought:
                found, without_id = _with_ids(pennylane, kind, conditions, sought)
                records |= found
                nameless += without_id
        if nameless:
            reader.set_aside(kind, set(batch) - records.keys(), NO_ID)
        return set(batch), reader.rows(kind, records.values())

    tasks = (tuple(batch) for batch in batches(wanted))
    return completed(executor, read, tasks, in_flight=WORKERS)


def _with_ids(
    pennylane: Pennylane, kind: Kind, conditions: Sequence[Condition], ids: Sequence[int]
) -> tuple[dict[int, Record], int]:
    """Those of at most a page of records that meet the conditions, by id, and how many came without an id."""
    answer = pennylane.get(
        kind.path, {"limit": PAGE, "sort": "id", **encoded([*conditions, condition("id", "in", ids)])}
    )
    records, nameless = with_ids(answer, kind.path)
    found = {record["id"]: record for record in records}
    if more_follows(answer, kind.path) or len(found) < len(records) or not found.keys() <= set(ids):
        raise BrokenAnswer(f"Pennylane sent other records of {kind.path} than asked for; the next sync asks again.")
    return found, nameless
