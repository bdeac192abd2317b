"""What a sync brings of the lists, in pieces: rows, and what has gone."""

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from pipelines.committed import State
from pipelines.landing import Landing
from pipelines.records import Row
from pipelines.removal import Removal, gone
from pipelines.tables import Table
from pipelines.warehouse import Session

PIECE_ROWS = 15_000
PIECE_SECONDS = 25.0
"""A crash costs at most a piece: rows go to the warehouse when either is reached.

These are 150 pages and more: other documents stand in the list of invoices, too. With what is read ahead or under way,
that is less than Pennylane's limit grants in a minute. A load costs dlt a third of a second, however few its rows.
"""
_LEAST_SECONDS = 2.0
"""After a landing, however long it took, so that the next one has something to land."""


class PieceTimer:
    """Tells when a piece has lasted long enough, counted from when the one before was begun to be landed.

    What comes in while that is landed waits, too, and a crash would repeat it.
    """

    def __init__(self) -> None:
        self._due_at = time.monotonic() + PIECE_SECONDS

    @property
    def is_up(self) -> bool:
        return time.monotonic() >= self._due_at

    @contextmanager
    def landing(self) -> Iterator[None]:
        """While this is entered, a piece is landed."""
        due_at = time.monotonic() + PIECE_SECONDS
        yield
        self._due_at = max(due_at, time.monotonic() + _LEAST_SECONDS)


class Pieces:
    """Keeps rows until there are enough of them, or enough time has gone by, to be put into the warehouse together.

    Of each record the last word counts: its newest row, or that it is gone.
    """

    def __init__(self, landing: Landing) -> None:
        self._landing = landing
        self._gone: defaultdict[Table, set[int]] = defaultdict(set)
        self._timer = PieceTimer()
        self._empty()

    @property
    def full(self) -> bool:
        return self._count >= PIECE_ROWS or self._timer.is_up

    def add(self, table: Table, rows: list[Row]) -> None:
        """Add rows of records that are not here yet, or newer than those that are."""
        kept = self._rows.setdefault(table, {})
        for row in rows:
            kept[row[table.id_column]] = row
            self._gone[table].discard(row[table.id_column])
        self._count += len(rows)

    def remove(self, table: Table, ids: Collection[int]) -> None:
        """Note that these records are gone."""
        for one in ids:
            self._rows.get(table, {}).pop(one, None)
        self._gone[table].update(ids)

    def collect(self, state: State | None) -> None:
        """Put the rows where `land` merges them from; `state` as for Landing.land."""
        if any(self._rows.values()) or state is not None:
            with self._timer.landing():
                self._landing.collect(self._kept(), state)
            self._empty()

    def land(self, state: State, removals: Mapping[Table, Removal] | None = None) -> None:
        """Land all rows, also those that were collected; what goes was noted, or is said by `removals`."""
        if removals is None:
            with self._landing.warehouse.session() as session:
                removals = self._removals(session)
        self._landing.land_collected(self._kept(), state, removals)

    def _removals(self, session: Session) -> dict[Table, Removal]:
        found = {
            table: gone(session, self._landing.company_id, table, self._landing.as_merged(table), ids)
            for table, ids in self._gone.items()
            if ids
        }
        return {table: removal for table, removal in found.items() if removal.count}

    def _kept(self) -> dict[Table, list[Row]]:
        return {table: list(rows.values()) for table, rows in self._rows.items()}

    def _empty(self) -> None:
        self._rows: dict[Table, dict[int, Row]] = {}
        self._count = 0
