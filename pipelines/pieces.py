"""What a sync brings of the lists, in pieces: rows, and what has gone."""

import time
from collections import defaultdict
from collections.abc import Collection, Mapping

from pipelines.committed import State
from pipelines.landing import Landing
from pipelines.records import Row
from pipelines.removal import Removal, gone
from pipelines.tables import Table
from pipelines.warehouse import Session

PIECE_ROWS = 10_000
PIECE_SECONDS = 25.0
"""A crash costs at most a piece: rows go to the warehouse when either is reached."""


class Pieces:
    """Keeps rows until there are enough of them, or enough time has gone by, to be put into the warehouse together.

    Of each record the last word counts: its newest row, or that it is gone.
    """

    def __init__(self, landing: Landing) -> None:
        self._landing = landing
        self._gone: defaultdict[Table, set[int]] = defaultdict(set)
        self._empty()

    @property
    def full(self) -> bool:
        return self._count >= PIECE_ROWS or time.monotonic() - self._since >= PIECE_SECONDS

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
            kept = self._kept()
            self._empty()  # now, as what comes in while these are collected waits, too
            self._landing.collect(kept, state)

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
        self._since = time.monotonic()
