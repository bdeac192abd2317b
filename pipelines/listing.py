"""Listing everything, by ascending and descending id at once, without the API's cursors.

A page is asked for by the range of ids that is still open (`id >= low and id < high`), so nothing depends on a cursor
that expires or that counts rows: what is inserted or deleted meanwhile shifts nothing, and a listing goes on
after a crash from the ranges that are left. Each range is worked from both ends. Where answers take so long that this
leaves the rate limit unused, large ones are cut, which costs a page that is not full; where ids lie unevenly, so that
what is left is estimated badly, a request or two more.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from pipelines.client import Pennylane
from pipelines.errors import BrokenAnswer
from pipelines.filters import Condition, encoded, within
from pipelines.kinds import KINDS, Kind, Reader
from pipelines.ranges import END, Range
from pipelines.records import Record, Row
from pipelines.set_aside import NAMELESS

PAGE = 100
PAGES_AHEAD = 50
"""Pages that may wait while others are landed or compared."""
_SPLIT_ABOVE_PAGES = 20  # estimated pages left of a range that may be cut
_OTHER_END_AFTER_PAGES = 2  # full pages seen; the next one tells how far the ids go
_BOTH_ENDS_ABOVE_PAGES = 3.0  # estimated pages left; fewer are read one after the other, so that none is read twice


@dataclass(frozen=True)
class Task:
    """What is to be listed: the open range of one kind, under conditions; `key` names it in a checkpoint."""

    key: str
    kind: Kind
    conditions: Sequence[Condition]
    ids: Range


def all_tasks(excluded: Collection[int]) -> list[Task]:
    """What lists everything of the accounts that are not excluded."""
    return [
        Task(f"{kind.table.name}/{number}", kind, conditions, ids)
        for kind in KINDS
        for number, (ids, conditions) in enumerate(kind.leaving_out(excluded))
    ]


@dataclass(frozen=True)
class Page:
    """Rows that were read, and the ids that they cover: no other id in that range exists any more."""

    task: Task
    covered: Range
    rows: list[Row]


@dataclass
class _Open:
    """A range being listed; `busy` holds the request at work at either end (True: the ascending one)."""

    task: Task
    low: int
    high: int
    busy: "dict[bool, _Request]" = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.low >= self.high

    def take(self, covered: Range) -> Range:
        """Close what `covered` holds of this range, which is one end of it or all; returns that part."""
        taken = Range(max(covered.low, self.low), min(covered.high, self.high))
        if taken.empty:
            return Range(0, 0)
        if taken.low == self.low:
            self.low = taken.high
        else:
            self.high = taken.low
        return taken


@dataclass
class _Request:
    part: _Open
    ascending: bool
    ids: Range


@dataclass
class _Density:
    """How closely a task's ids lie, as far as seen: lets us guess how many pages are left."""

    rows: int = 0
    span: int = 0

    def note(self, records: list[Record]) -> None:
        self.rows += len(records)
        self.span += abs(records[-1]["id"] - records[0]["id"]) + 1

    def pages(self, part: _Open) -> float:
        if part.high == END or not self.span:
            return float("inf")
        return (part.high - part.low) * self.rows / self.span / PAGE


class Listing:
    """All rows of some tasks, read with as many requests at once as help."""

    def __init__(self, pennylane: Pennylane, reader: Reader, executor: ThreadPoolExecutor, tasks: list[Task]) -> None:
        self._pennylane = pennylane
        self._reader = reader
        self._executor = executor
        self._open = [_Open(task, task.ids.low, task.ids.high) for task in tasks]
        self._density = {task.key: _Density() for task in tasks}

    def pages(self) -> Iterator[Page]:
        """Pages in the order in which they come. Raises BrokenAnswer where the API breaks its own rules."""
        running: dict[Future[tuple[list[Record], bool]], _Request] = {}
        while True:
            for request in self._next_requests():
                running[self._executor.submit(self._fetch, request)] = request
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                request = running.pop(future)
                records, has_more = future.result()
                yield self._take(request, records, has_more)

    def rows_left(self) -> int | None:
        """About how many rows are still to come; None while it is not known how far the ids go."""
        pages = sum(self._pages_left(part) for part in list(self._open) if not part.done)
        return round(pages * PAGE) if isfinite(pages) else None

    def _next_requests(self) -> Iterator[_Request]:
        self._open = [part for part in self._open if not part.done or part.busy]
        for part in self._open:
            if part.done:
                continue
            if not part.busy:
                yield self._start(part, ascending=not self._end_is_sought(part))
            if len(part.busy) == 1 and self._worth_both_ends(part):
                yield self._start(part, ascending=True not in part.busy)
        while self._too_few_under_way() and (large := self._largest()):
            upper = self._upper_half(large)
            yield self._start(upper, ascending=True)
            yield self._start(large, ascending=False)

    def _end_is_sought(self, part: _Open) -> bool:
        return part.high == END and self._density[part.task.key].rows >= _OTHER_END_AFTER_PAGES * PAGE

    def _worth_both_ends(self, part: _Open) -> bool:
        return part.high < END and self._pages_left(part) > _BOTH_ENDS_ABOVE_PAGES

    def _too_few_under_way(self) -> bool:
        return sum(len(part.busy) for part in self._open) < self._pennylane.pacer.wanted_in_flight

    def _largest(self) -> _Open | None:
        """Of the ranges that are worth a cut, the one of which most is left."""
        large = (
            part
            for part in self._open
            if len(part.busy) == 2 and _SPLIT_ABOVE_PAGES < self._pages_left(part) < float("inf")
        )
        return max(large, key=self._pages_left, default=None)

    def _pages_left(self, part: _Open) -> float:
        return self._density[part.task.key].pages(part)

    def _upper_half(self, part: _Open) -> _Open:
        """Cut an open range in the middle of its ids; the request that works downwards goes with the new upper part."""
        downwards = part.busy.pop(False)
        upper = _Open(part.task, (part.low + part.high) // 2, part.high, {False: downwards})
        downwards.part = upper
        part.high = upper.low
        self._open.append(upper)
        return upper

    def _start(self, part: _Open, *, ascending: bool) -> _Request:
        request = _Request(part, ascending, Range(part.low, part.high))
        part.busy[ascending] = request
        return request

    def _fetch(self, request: _Request) -> tuple[list[Record], bool]:
        kind = request.part.task.kind
        conditions = [*request.part.task.conditions, *within("id", request.ids)]
        answer = self._pennylane.get(
            kind.path, {"limit": PAGE, "sort": "id" if request.ascending else "-id", **encoded(conditions)}
        )
        records, nameless = with_ids(answer, kind.path)
        if nameless:
            self._reader.set_aside(kind, [NAMELESS], NO_ID)
        _check_order(records, request, kind.path)
        has_more = more_follows(answer, kind.path)
        if has_more and not records:
            raise BrokenAnswer(f"Pennylane announces more of {kind.path} but sends nothing; the next sync asks again.")
        return records, has_more

    def _take(self, request: _Request, records: list[Record], has_more: bool) -> Page:
        """Note what a page covers; rows that another request has covered meanwhile are dropped."""
        task = request.part.task
        del request.part.busy[request.ascending]
        covered = request.ids
        if has_more:
            self._density[task.key].note(records)
            last = records[-1]["id"]
            covered = Range(covered.low, last + 1) if request.ascending else Range(last, covered.high)
        fresh = [part.take(covered) for part in self._open if part.task.key == task.key]
        kept = [one for one in records if any(taken.low <= one["id"] < taken.high for taken in fresh)]
        return Page(task, covered, self._reader.rows(task.kind, kept))


NO_ID = "id is no bigint"


def with_ids(answer: Mapping[str, Any], path: str) -> tuple[list[Record], int]:
    """The records of a list's answer that have an id, and how many have none that can be stored.

    Raises BrokenAnswer where there is no list.
    """
    items = answer.get("items")
    if not isinstance(items, list):
        raise BrokenAnswer(f"Pennylane's answer to {path} holds no list of records; the next sync asks again.")
    records = [one for one in items if isinstance(one, dict) and _is_id(one.get("id"))]
    return records, len(items) - len(records)


def list_items(answer: Mapping[str, Any], path: str) -> list[Record]:
    """The records of a list of which none may be left out. Raises BrokenAnswer where one has no id."""
    records, nameless = with_ids(answer, path)
    if nameless:
        raise BrokenAnswer(f"Pennylane's answer to {path} holds records without an id; the next sync asks again.")
    return records


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < END


def more_follows(answer: Mapping[str, Any], path: str) -> bool:
    """Whether a list goes on after this page. Raises BrokenAnswer where the answer does not say.

    Taken for the end, a page that does not say would let all rows after it be removed.
    """
    has_more = answer.get("has_more")
    if isinstance(has_more, bool):
        return has_more
    if "next_cursor" in answer:
        return answer["next_cursor"] is not None
    raise BrokenAnswer(f"Pennylane's answer to {path} does not say whether more follows; the next sync asks again.")


def _check_order(records: list[Record], request: _Request, path: str) -> None:
    ids = [record["id"] for record in records]
    expected = sorted(set(ids), reverse=not request.ascending)
    if ids != expected or any(not request.ids.low <= one < request.ids.high for one in ids):
        raise BrokenAnswer(
            f"Pennylane's answer to {path} is not what was asked for (order or range of ids); the next sync asks again."
        )
