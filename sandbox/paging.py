"""One page of a list: from a position, in an order, of the rows for which all conditions hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from sandbox.cursors import ListPosition
from sandbox.errors import bad_request
from sandbox.filters import Condition
from sandbox.table import Row, Table

RowT = TypeVar("RowT", bound=Row)


@dataclass(frozen=True)
class Sort:
    field: str
    descending: bool


@dataclass(frozen=True)
class Page(Generic[RowT]):
    rows: list[RowT]
    next_position: ListPosition | None


def parse_sort(text: str | None, available: Sequence[str]) -> Sort:
    text = text or "-id"
    sort = Sort(text.removeprefix("-"), text.startswith("-"))
    if sort.field not in available:
        raise bad_request(f"sort on field {sort.field!r} is not available")
    return sort


def list_page(
    table: Table[RowT],
    conditions: Sequence[Condition[RowT]],
    sort: Sort,
    position: ListPosition | None,
    limit: int,
) -> Page[RowT]:
    if sort.field == "date":
        rows = _by_date(table, sort, position)
        remaining = conditions
    else:
        rows, remaining = _by_id(table, conditions, sort, position)
    wanted = (row for row in rows if all(condition.holds(row) for condition in remaining))
    return _cut(list(islice(wanted, limit + 1)), limit, table if sort.field == "date" else None)


def short_page(rows: Sequence[RowT], sort: Sort, position: ListPosition | None, limit: int) -> Page[RowT]:
    """A page of a handful of rows that stand under one record, such as its payments."""
    ordered = sorted(rows, key=lambda row: row.id, reverse=sort.descending)
    if position is not None:
        ordered = [row for row in ordered if _is_after(row.id, position.id, sort)]
    return _cut(ordered[: limit + 1], limit, None)


def _by_date(table: Table[RowT], sort: Sort, position: ListPosition | None) -> Iterator[RowT]:
    if position is None:
        return table.by_order(None, descending=sort.descending)
    if position.date is None:
        raise bad_request("The cursor does not belong to a list sorted by date")
    return table.by_order((position.date, position.id), descending=sort.descending)


def _by_id(
    table: Table[RowT], conditions: Sequence[Condition[RowT]], sort: Sort, position: ListPosition | None
) -> tuple[Iterator[RowT], Sequence[Condition[RowT]]]:
    """Rows between the bounds that position and conditions on `id` set, and the conditions still to be checked."""
    after, before = None, None
    if position is not None:
        after, before = (None, position.id) if sort.descending else (position.id, None)
    wanted: frozenset[int] | None = None
    remaining = []
    for condition in conditions:
        if condition.field != "id" or condition.operator in ("not_eq", "not_in"):
            remaining.append(condition)
        elif condition.operator in ("gt", "gteq"):
            bound = condition.value - (condition.operator == "gteq")
            after = bound if after is None else max(after, bound)
        elif condition.operator in ("lt", "lteq"):
            bound = condition.value + (condition.operator == "lteq")
            before = bound if before is None else min(before, bound)
        else:
            values = condition.value if condition.operator == "in" else frozenset([condition.value])
            wanted = values if wanted is None else wanted & values
    if wanted is None:
        return table.by_id(after, before, descending=sort.descending), remaining
    found = sorted((id_ for id_ in wanted if _between(id_, after, before) and id_ in table), reverse=sort.descending)
    return (table[id_] for id_ in found), remaining


def _cut(rows: list[RowT], limit: int, dated: Table[RowT] | None) -> Page[RowT]:
    """`rows` holds one row more than fits if there is a next page."""
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]
    return Page(rows[:limit], ListPosition(last.id, dated.key(last)[0] if dated is not None else None))


def _between(id_: int, after: int | None, before: int | None) -> bool:
    return (after is None or id_ > after) and (before is None or id_ < before)


def _is_after(id_: int, position: int, sort: Sort) -> bool:
    return id_ < position if sort.descending else id_ > position
