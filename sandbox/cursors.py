"""Cursors: opaque to clients, holding the position only, so that filter, sort and limit have to be sent again."""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.clock import rfc3339, to_microseconds
from sandbox.errors import ApiError, bad_request
from sandbox.feed import Position

LIFETIME = 30 * 60 * 1_000_000
"""Cursors are short-lived; how short is not documented. Thirty minutes, in microseconds."""

_LIST_CURSOR = re.compile(r"id:(\d+)(?:,date:(\d+))?;at:(\d+)")
_FEED_CURSOR = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})(\d{6})?Z")


@dataclass(frozen=True)
class ListPosition:
    """The key of the last row of a page: its id, and its date where the list is sorted by date."""

    id: int
    date: int | None = None


def write_list_cursor(position: ListPosition, now: int) -> str:
    day = "" if position.date is None else f",date:{position.date}"
    return _encode(f"id:{position.id}{day};at:{now}")


def read_list_cursor(text: str, now: int) -> ListPosition:
    match = _LIST_CURSOR.fullmatch(_decode(text))
    if match is None:
        raise _invalid()
    if now - int(match[3]) > LIFETIME:
        raise bad_request("The cursor has expired")
    return ListPosition(int(match[1]), int(match[2]) if match[2] else None)


def write_feed_cursor(position: Position) -> str:
    """A bare timestamp, as in Pennylane's example cursor.

    Only where one instant fills more than a page it gets six more digits, which count the events already handed out.
    """
    moment = rfc3339(position.moment)
    return _encode(f"{moment[:-1]}{position.skip:06d}Z" if position.skip else moment)


def read_feed_cursor(text: str) -> Position:
    match = _FEED_CURSOR.fullmatch(_decode(text))
    if match is None:
        raise _invalid()
    try:
        moment = datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=UTC)
    except ValueError:
        raise _invalid() from None
    return Position(to_microseconds(moment), skip=int(match[2] or 0))


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(text: str) -> str:
    try:
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise _invalid() from None


def _invalid() -> ApiError:
    return bad_request("The cursor is invalid")
