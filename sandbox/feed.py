"""Change feeds: what happened to which record, for four weeks, oldest first."""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

Operation = Literal["insert", "update", "delete"]

RETENTION = 28 * 24 * 3600 * 1_000_000
"""Four weeks, in microseconds: "Changes for the last 4 weeks are retained" (changelogs, openapi.json)."""

_COMPACT_AFTER = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    id: int
    operation: Operation
    processed_at: int
    updated_at: int
    created_at: int


@dataclass(frozen=True, slots=True)
class Position:
    """A moment, and how many events of that very moment were already handed out."""

    moment: int
    skip: int = 0


class Feed:
    """Events in the order in which they were processed."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._moments: list[int] = []

    def append(self, event: Event) -> None:
        if self._moments and event.processed_at < self._moments[-1]:
            raise ValueError("events are appended in the order in which they happen")
        self._events.append(event)
        self._moments.append(event.processed_at)

    def page(self, start: Position | None, limit: int, now: int) -> tuple[list[Event], Position | None]:
        """Events from `start` on, and where the next page starts (None at the end).

        The next page starts at the moment of the first event not handed out, as a moment is all that a cursor
        says: events of one moment that a page cut in two come again. Only when a whole page is of one moment would that
        stand still, and only then the position also counts events.
        """
        self._forget(now - RETENTION)
        oldest = bisect_left(self._moments, now - RETENTION)
        first = oldest if start is None else max(oldest, bisect_left(self._moments, start.moment) + start.skip)
        last = min(first + limit, len(self._events))
        events = self._events[first:last]
        if last == len(self._events) or not events:
            return events, None
        moment = self._moments[last]
        if moment == events[0].processed_at:
            return events, Position(moment, skip=last - bisect_left(self._moments, moment))
        return events, Position(moment)

    def _forget(self, before: int) -> None:
        gone = bisect_left(self._moments, before)
        if gone > _COMPACT_AFTER:
            del self._events[:gone]
            del self._moments[:gone]
