"""One call of a read operation: who asks, of which company, with which parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.datastructures import QueryParams

from sandbox.cursors import ListPosition, read_list_cursor, write_list_cursor
from sandbox.errors import bad_request, not_found
from sandbox.filters import Field, parse_filter
from sandbox.paging import Page, list_page, parse_sort, short_page
from sandbox.statistics import Statistics
from sandbox.table import Row, Table
from sandbox.tokens import Grant
from sandbox.world import World

RowT = TypeVar("RowT", bound=Row)
Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """Unknown query parameters are ignored, as Pennylane does; the known ones are checked, never clamped."""

    world: World
    grant: Grant
    query: QueryParams
    path: dict[str, str]
    base_url: str
    statistics: Statistics

    @property
    def now(self) -> int:
        return self.world.clock.microseconds()

    @property
    def today(self) -> int:
        return self.world.clock.today().toordinal()

    def path_id(self, name: str = "id", *, described_as_text: bool = False) -> int:
        """An id from the path. Two operations describe theirs as text: anything there is merely not found."""
        text = self.path[name]
        if text.isascii() and text.isdigit():
            return int(text)
        if described_as_text:
            raise not_found()
        raise bad_request(f"{name} expected integer, but received String: {text}", "ValidateError")

    def find(self, table: Table[RowT], name: str = "id", *, described_as_text: bool = False) -> RowT:
        row = table.get(self.path_id(name, described_as_text=described_as_text))
        if row is None:
            raise not_found()
        return row

    def limit(self, maximum: int = 100) -> int:
        text = self.query.get("limit")
        if text is None:
            return 20
        try:
            limit = int(text)
        except ValueError:
            raise bad_request(f"limit expected integer, but received String: {text}", "ValidateError") from None
        if limit < 1:
            raise bad_request(f"{limit} is less than the minimum value of 1 for limit", "LessThanMinimum")
        if limit > maximum:
            raise bad_request(f"{limit} is more than the maximum value of {maximum} for limit", "MoreThanMaximum")
        return limit

    def page(self, table: Table[RowT], fields: dict[str, Field[RowT]], sorts: Sequence[str] = ("id",)) -> Page[RowT]:
        """The page of a whole table that the query asks for."""
        limit, position = self.limit(), self._position()
        sort = parse_sort(self.query.get("sort"), sorts)
        return list_page(table, parse_filter(self.query.get("filter"), fields), sort, position, limit)

    def short_page(self, rows: Sequence[RowT]) -> Page[RowT]:
        """The page of the few rows under one record that the query asks for."""
        limit, position = self.limit(), self._position()
        return short_page(rows, parse_sort(self.query.get("sort"), ("id",)), position, limit)

    def answer(self, page: Page[RowT], record: Callable[[RowT], Json]) -> Json:
        cursor = None if page.next_position is None else write_list_cursor(page.next_position, self.now)
        return {
            "items": [record(row) for row in page.rows],
            "has_more": page.next_position is not None,
            "next_cursor": cursor,
        }

    def _position(self) -> ListPosition | None:
        text = self.query.get("cursor")
        return read_list_cursor(text, self.now) if text else None
