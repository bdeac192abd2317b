"""The change feeds."""

import re
from datetime import datetime

from sandbox.api.call import Call, Json
from sandbox.clock import rfc3339, to_microseconds
from sandbox.cursors import read_feed_cursor, write_feed_cursor
from sandbox.errors import bad_request, unprocessable
from sandbox.feed import RETENTION, Event, Feed, Position

_MAXIMUM = 1000
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def customer_changes(call: Call) -> Json:
    return _changes(call, call.world.customer_feed)


def invoice_changes(call: Call) -> Json:
    return _changes(call, call.world.invoice_feed)


def transaction_changes(call: Call) -> Json:
    return _changes(call, call.world.transaction_feed)


def _changes(call: Call, feed: Feed) -> Json:
    limit = call.limit(_MAXIMUM)
    start = _start(call)
    events, following = feed.page(start, limit, call.now)
    return {
        "items": [_event_record(event) for event in events],
        "has_more": following is not None,
        "next_cursor": None if following is None else write_feed_cursor(following),
    }


def _start(call: Call) -> Position | None:
    """Where to read on from. Only `start_date` is documented to be too old; a cursor that is, gets the same answer."""
    cursor, start_date = call.query.get("cursor"), call.query.get("start_date")
    if cursor and start_date:
        raise bad_request("start_date and cursor cannot be provided together")
    if cursor:
        start = read_feed_cursor(cursor)
    elif start_date:
        start = Position(_moment(start_date))
    else:
        return None
    if start.moment < call.now - RETENTION:
        raise unprocessable("start_date is older than the 4 weeks for which changes are retained")
    return start


def _moment(text: str) -> int:
    """RFC 3339 has `T` between day and time, and lets applications agree on a space."""
    try:
        if _RFC3339.fullmatch(text):
            return to_microseconds(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError):
        pass
    raise bad_request(f"start_date {text!r} is not a date-time as of RFC3339", "InvalidDateTimeFormat")


def _event_record(event: Event) -> Json:
    return {
        "id": event.id,
        "operation": event.operation,
        "processed_at": rfc3339(event.processed_at),
        "updated_at": rfc3339(event.updated_at),
        "created_at": rfc3339(event.created_at),
    }
