"""Landing: batches of rows and the cursors that cover them, put into the warehouse by one dlt pipeline per company.

dlt's working folder is wiped before each use and its state taken from the warehouse: what is committed there is the one
truth about where we stand, whatever a crashed run left behind, on whichever machine. dlt itself is opened when there is
something to load.
"""

import contextlib
import copy
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pipelines.committed import State, committed, forget_packages
from pipelines.damage import drop_damaged_staging, look_for_damage, prepare
from pipelines.errors import PipelineError, naming
from pipelines.indexes import index
from pipelines.records import Row
from pipelines.removal import excluded_before
from pipelines.rights import refuse_lacking
from pipelines.tables import CREDIT_NOTES, DATASET, INVOICES, TABLES, Table
from pipelines.tally import Tally, compare
from pipelines.versions import upgrade
from pipelines.views import describe
from pipelines.warehouse import STAGING, Session, Warehouse, id_list, staging_layout

if TYPE_CHECKING:
    from pipelines.loading import Loader

PIECE_ROWS = 10_000
PIECE_SECONDS = 30.0
"""A crash costs at most a piece: rows are landed when either is reached."""
FEW_COMPANIES = 10
"""Up to so many in one DuckDB file, the tables from which dlt merges are opened sooner than made anew."""


class Landing:
    """One company's way into the warehouse.

    `state` is what the last landed package committed, `made` when each table of a list was made, `tally` counts what
    landing changed. A document without an account that is older than `known_until` and not here was an excluded
    account's, and does not land.
    """

    def __init__(
        self, warehouse: Warehouse, company_id: int, work_dir: Path, before_write: Callable[[], None] | None = None
    ) -> None:
        self.warehouse = warehouse
        self.company_id = company_id
        self.state: State = {}
        self.made: dict[str, str] = {}
        self.tally: defaultdict[Table, Tally] = defaultdict(Tally)
        self.known_until: datetime | None = None
        self._companys_folder = work_dir / str(company_id)
        self._work_dir = self._companys_folder / uuid4().hex
        self._before_write = before_write or (lambda: None)
        self._is_writing = False
        self._loader: Loader | None = None
        self._staging = staging_layout(company_id) % DATASET

    @classmethod
    @contextmanager
    def opened(
        cls, warehouse: Warehouse, company_id: int, work_dir: Path, before_write: Callable[[], None] | None = None
    ) -> Iterator["Landing"]:
        """A landing whose tables exist and whose state is the warehouse's; its working files are gone afterwards.

        `before_write` is called before anything is written, and may raise to prevent it.
        """
        landing = cls(warehouse, company_id, work_dir, before_write)
        with naming(company_id):
            shutil.rmtree(landing._companys_folder, ignore_errors=True)
            try:
                landing._restore()
                yield landing
                landing._empty_staging()
            finally:
                landing._clear()

    def land(
        self,
        rows: Mapping[Table, list[Row]],
        state: State | None = None,
        replaced: Mapping[Table, Collection[int]] | None = None,
    ) -> None:
        """Merge `rows` and commit `state` (the cursors stay where they are if it is None).

        `replaced` names, for tables whose rows go as a whole, all parents that `rows` speak of, also those without any:
        what these parents had and `rows` do not hold is gone afterwards.
        """
        replaced = replaced or {}
        new_state = self.state if state is None else copy.deepcopy(state)
        present = {table: table_rows for table, table_rows in rows.items() if table_rows}
        if not present and not replaced and new_state == self.state:
            return
        with self.writing() as session:
            for table in present.keys() & {INVOICES, CREDIT_NOTES}:
                theirs = excluded_before(session, self.company_id, table, present[table], self.known_until)
                present[table] = [row for row in present[table] if row[table.id_column] not in theirs]
            for table in {*present, *replaced}:
                table_rows = present.get(table, [])
                self.tally[table] += compare(session, self.company_id, table, table_rows, replaced.get(table))
                self._delete_childless(session, table, table_rows, replaced.get(table, ()))
        if any(present.values()) or new_state != self.state:
            self._load(present, new_state)
        self.state = new_state

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session to write in; raises where we no longer may.

        Asked when nobody else can write any more: the company stays ours to the session's end, even if we are stopped
        meanwhile and another process takes over.
        """
        with self.warehouse.session() as session:
            if self._is_writing:
                self._before_write()
                yield session
                return
            with session.only_writer(self.company_id):
                self._before_write()
                self._is_writing = True
                try:
                    yield session
                finally:
                    self._is_writing = False

    def _delete_childless(self, session: Session, table: Table, rows: list[Row], parents: Collection[int]) -> None:
        """Delete what is left of parents that have no row any more; the merge replaces the others' rows."""
        childless = set(parents) - {row[table.parent_column] for row in rows}
        if childless:
            session.execute(
                f"DELETE FROM {DATASET}.{table.name} "
                f"WHERE company_id = {self.company_id} AND {table.parent_column} IN ({id_list(childless)})"
            )

    def _clear(self) -> None:
        shutil.rmtree(self._work_dir, ignore_errors=True)
        with contextlib.suppress(OSError):  # another sync of the company, which took over, has files there
            self._companys_folder.rmdir()

    def _restore(self) -> None:
        with self.writing() as session, session.one_at_a_time():
            refuse_lacking(session, self._staging)
            upgraded = upgrade(session)
            damage = look_for_damage(session)
            if damage:
                prepare(session, damage)
            drop_damaged_staging(session, self._staging)
            found = committed(session, self.company_id)
            self.state = self._dlt().state if found is None else found
            if damage or upgraded:
                self._load({table: [] for table in TABLES}, self.state)
            self.made = describe(session)
            index(session)
            forget_packages(session, self.company_id)

    def _empty_staging(self) -> None:
        """Of what dlt puts there to merge it, nothing is needed any more; a DuckDB file is opened with all its tables.

        With 200 companies, their empty ones made that take ten times as long. All is landed by now: what cannot be
        dropped is left to the next sync.
        """
        if self._loader is None:
            return
        with contextlib.suppress(PipelineError), self.writing() as session:
            companies = [schema for schema in session.schemas() if STAGING.fullmatch(schema)]
            if not session.is_postgres and len(companies) > FEW_COMPANIES:
                session.empty(self._staging)

    def _load(self, rows: Mapping[Table, list[Row]], state: State) -> None:
        self._dlt().load(rows, state, self.writing)

    def _dlt(self) -> "Loader":
        if self._loader is None:
            from pipelines.loading import Loader  # noqa: PLC0415 - see there

            self._loader = Loader(self.warehouse, self.company_id, self._work_dir)
        return self._loader


class Pieces:
    """Collects rows until there are enough of them, or enough time has gone by, to be landed together."""

    def __init__(self, landing: Landing, clock: Callable[[], float] = time.monotonic) -> None:
        self._landing = landing
        self._clock = clock
        self._empty()

    @property
    def full(self) -> bool:
        return self._count >= PIECE_ROWS or self._clock() - self._since >= PIECE_SECONDS

    def add(self, table: Table, rows: list[Row]) -> None:
        """Add rows of records that are not among those collected, or newer than those: the last one counts."""
        collected = self._rows.setdefault(table, {})
        for row in rows:
            collected[table.key_of(row)] = row
        self._count += len(rows)

    def land(self, state: State | None) -> None:
        """Land what was collected; `state` as for Landing.land."""
        self._landing.land({table: list(rows.values()) for table, rows in self._rows.items()}, state)
        self._empty()

    def _empty(self) -> None:
        self._rows: dict[Table, dict[tuple[Any, ...], Row]] = {}
        self._count = 0
        self._since = self._clock()
