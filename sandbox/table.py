"""Rows of one kind, found by id at once and listed in order from any position."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar


class Row(Protocol):
    @property
    def id(self) -> int: ...


RowT = TypeVar("RowT", bound=Row)
Key = tuple[int, int]


class Table(Generic[RowT]):
    """`ids` stays sorted, so that a page that starts at a known id costs its own length and not the table's.

    A second order (`order_by`) is built when first asked for, and kept up to date from then on.
    """

    def __init__(self, order_by: Callable[[RowT], int] | None = None) -> None:
        self._rows: dict[int, RowT] = {}
        self._ids: list[int] = []
        self._order_by = order_by
        self._ordered: list[Key] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[RowT]:
        """Rows by ascending id."""
        return (self._rows[id_] for id_ in self._ids)

    def get(self, id_: int) -> RowT | None:
        return self._rows.get(id_)

    def __getitem__(self, id_: int) -> RowT:
        return self._rows[id_]

    def __contains__(self, id_: int) -> bool:
        return id_ in self._rows

    def at(self, index: int) -> RowT:
        """The row at a place in the order of ids, for choosing one at random."""
        return self._rows[self._ids[index]]

    def add(self, row: RowT) -> None:
        if row.id in self._rows:
            raise ValueError(f"id {row.id} is taken")
        self._rows[row.id] = row
        insort(self._ids, row.id)
        if self._ordered is not None:
            insort(self._ordered, self.key(row))

    def remove(self, id_: int) -> RowT:
        row = self._rows.pop(id_)
        del self._ids[bisect_left(self._ids, id_)]
        if self._ordered is not None:
            del self._ordered[bisect_left(self._ordered, self.key(row))]
        return row

    def reorder(self) -> None:
        """To be called after a row changed in what `order_by` looks at."""
        self._ordered = None

    def key(self, row: RowT) -> Key:
        if self._order_by is None:
            raise LookupError("this table has one order only, by id")
        return self._order_by(row), row.id

    def by_id(self, after: int | None, before: int | None, *, descending: bool) -> Iterator[RowT]:
        """Rows with `after` < id < `before`."""
        low = 0 if after is None else bisect_right(self._ids, after)
        high = len(self._ids) if before is None else bisect_left(self._ids, before)
        places = range(high - 1, low - 1, -1) if descending else range(low, high)
        return (self._rows[self._ids[place]] for place in places)

    def by_order(self, position: Key | None, *, descending: bool) -> Iterator[RowT]:
        """Rows in the second order, those after `position` in the direction asked for."""
        if self._ordered is None:
            self._ordered = sorted(self.key(row) for row in self._rows.values())
        low, high = 0, len(self._ordered)
        if position is not None and descending:
            high = bisect_left(self._ordered, position)
        elif position is not None:
            low = bisect_right(self._ordered, position)
        places = range(high - 1, low - 1, -1) if descending else range(low, high)
        ordered = self._ordered
        return (self._rows[ordered[place][1]] for place in places)
