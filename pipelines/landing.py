"""Landing: batches of rows and the cursors that cover them, put into the warehouse by one dlt pipeline per company.

A batch is merged at once, or collected with others that are to be seen together, and merged when all are there.

dlt's working folder is wiped before each use and its state taken from the warehouse: what is committed there is the one
truth about where we stand, whatever a crashed run left behind, on whichever machine. dlt itself is opened when there is
something to load.
"""

import contextlib
import copy
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from uuid import uuid4

from pipelines.collected import COLLECTED, as_merged, clear, is_there, noted, tables_of
from pipelines.committed import State, committed, forget_packages
from pipelines.damage import drop_damaged_staging, look_for_damage, prepare
from pipelines.errors import PipelineError, naming
from pipelines.indexes import index
from pipelines.records import Row
from pipelines.removal import Removal, excluded_before
from pipelines.rights import refuse_lacking
from pipelines.tables import CREDIT_NOTES, DATASET, INVOICES, LISTED, TABLES, Table
from pipelines.tally import Tally, compare
from pipelines.versions import upgrade
from pipelines.views import describe
from pipelines.warehouse import STAGING, Merge, Session, Warehouse, id_list, staging_layout

if TYPE_CHECKING:
    from pipelines.loading import Loader

_LISTS = frozenset(table.name for table in LISTED)
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
        new_state = copy.deepcopy(self.state if state is None else state)
        if COLLECTED in self.state and any(rows.get(table) for table in LISTED):
            self.forget_collected()  # which would be merged over these
            new_state.pop(COLLECTED, None)
        if not any(rows.values()) and not replaced and new_state == self.state:
            return
        with self.writing() as session:
            present = self._accepted(session, rows, replaced)
            childless = {
                table: found
                for table in replaced
                if (found := self._childless(session, table, present, replaced[table]))
            }
        merged = {table: present.get(table, []) for table in {*present, *childless}}
        if merged or new_state != self.state:
            afterwards = {table.name: [statement] for table, statement in childless.items()}
            self._load(merged, new_state, Merge(waiting=self._waiting, afterwards=afterwards))

    def collect(self, rows: Mapping[Table, list[Row]], state: State | None = None) -> None:
        """Put rows of lists where `land_collected` merges them from, and commit `state`, as for `land`.

        They are given up where `land` brings rows of lists before that.
        """
        with self.writing() as session:
            if COLLECTED not in self.state:
                clear(session, self._staging)
            present = self._accepted(session, rows)
        new_state = copy.deepcopy(self.state if state is None else state)
        new_state[COLLECTED] = noted(self.state, present)
        if present or new_state != self.state:
            self._load(present, new_state, Merge(waiting=_LISTS))

    def land_collected(
        self, rows: Mapping[Table, list[Row]], state: State, removals: Mapping[Table, Removal] | None = None
    ) -> None:
        """Merge `rows` and all that was collected, remove what is gone, and commit `state`.

        Of each table a reader sees all of it or nothing.
        """
        removals = removals or {}
        with self.writing() as session:
            present = self._accepted(session, rows)
        for table, removal in removals.items():
            self.tally[table] += Tally(removed=removal.count)
        merged = {table: present.get(table, []) for table in {*present, *removals, *tables_of(self.state)}}
        afterwards = {table.name: removal.statements(self.company_id, table) for table, removal in removals.items()}
        new_state = copy.deepcopy(state)
        new_state.pop(COLLECTED, None)
        if merged or new_state != self.state:
            were_collected = self._waiting
            self._load(merged, new_state, Merge(together=were_collected, afterwards=afterwards))
            if were_collected:
                with self.writing() as session:
                    clear(session, self._staging)

    @property
    def holds_collected(self) -> bool:
        """Whether all is there that was collected by the sync before, which did not come to its end."""
        with self.warehouse.session() as session:
            return is_there(session, self._staging, self.state)

    @property
    def collected(self) -> Mapping[str, int]:
        """How many rows are collected, by table."""
        found: Mapping[str, int] = self.state.get(COLLECTED, {}).get("rows", {})
        return found

    def forget_collected(self) -> None:
        """What was collected is not to be merged any more."""
        if self.state.pop(COLLECTED, None) is not None:
            with self.writing() as session:
                clear(session, self._staging)

    def as_merged(self, table: Table) -> str:
        """SQL to select from: the rows, by id and account, that a table of a list has with what was collected."""
        return as_merged(table, self._staging, tables_of(self.state))

    @property
    def _waiting(self) -> frozenset[str]:
        """The tables whose rows in the staging schema are to stay there until all of them are merged."""
        return _LISTS if COLLECTED in self.state else frozenset()

    def _accepted(
        self,
        session: Session,
        rows: Mapping[Table, list[Row]],
        replaced: Mapping[Table, Collection[int]] = MappingProxyType({}),
    ) -> dict[Table, list[Row]]:
        """The rows, counted against those held, but for what an excluded account has left behind without an account."""
        present = {table: rows[table] for table in TABLES if rows.get(table)}  # invoices before their credit notes
        let_in: set[int] = set()
        for table in (INVOICES, CREDIT_NOTES):
            if table in present:
                theirs = excluded_before(
                    session,
                    self.company_id,
                    table,
                    present[table],
                    known_until=self.known_until,
                    invoices=self.as_merged(INVOICES),
                    let_in=let_in,
                )
                present[table] = [row for row in present[table] if row[table.id_column] not in theirs]
                let_in = {row[table.id_column] for row in present[table] if row["account_id"] is None}
        for table in {*present, *replaced}:
            self.tally[table] += compare(session, self.company_id, table, present.get(table, []), replaced.get(table))
        return {table: some for table, some in present.items() if some}

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

    def _childless(
        self, session: Session, table: Table, rows: Mapping[Table, list[Row]], parents: Collection[int]
    ) -> str:
        """SQL that deletes what we hold of parents that have no row any more; the merge replaces the others' rows."""
        childless = set(parents) - {row[table.parent_column] for row in rows.get(table, ())}
        those = f"FROM {DATASET}.{table.name} WHERE company_id = {self.company_id} AND {table.parent_column} IN "
        held = (
            session.rows(f"SELECT DISTINCT {table.parent_column} {those} ({id_list(childless)})") if childless else []
        )
        return f"DELETE {those} ({id_list(one for (one,) in held)})" if held else ""

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
                self._load({table: [] for table in TABLES}, self.state, Merge(waiting=self._waiting))
            self.made = describe(session)
            index(session)
            forget_packages(session, self.company_id)

    def _empty_staging(self) -> None:
        """Of what dlt puts there to merge it, nothing is needed any more; a DuckDB file is opened with all its tables.

        With 200 companies, their empty ones made that take ten times as long. All is landed by now: what cannot be
        dropped is left to the next sync.
        """
        if self._loader is None or COLLECTED in self.state:
            return
        with contextlib.suppress(PipelineError), self.writing() as session:
            companies = [schema for schema in session.schemas() if STAGING.fullmatch(schema)]
            if not session.is_postgres and len(companies) > FEW_COMPANIES:
                session.empty(self._staging)

    def _load(self, rows: Mapping[Table, list[Row]], state: State, merge: Merge) -> None:
        self._dlt().load(rows, state, merge, self.writing)
        self.state = state

    def _dlt(self) -> "Loader":
        if self._loader is None:
            from pipelines.loading import Loader  # noqa: PLC0415 - see there

            self._loader = Loader(self.warehouse, self.company_id, self._work_dir)
        return self._loader
