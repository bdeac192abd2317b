"""Comparing the tables with Pennylane through its lists: which rows agree, are missing, differ or are left over.

It only reads, on both sides. Accounts, invoices and credit notes are compared; contacts and payments stand in no list
and would cost a request each. What Pennylane changed since the last sync is told apart: the next one brings it.
"""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipelines.changes import CursorTooOld, cursors_of, fetch, read_feed, touched
from pipelines.client import WORKERS, Pennylane
from pipelines.committed import State, committed
from pipelines.damage import refuse_damage
from pipelines.errors import PipelineError
from pipelines.kinds import ACCOUNT, KINDS, Kind, Reader
from pipelines.lateness import became_late_since
from pipelines.listing import PAGES_AHEAD, Listing, all_tasks
from pipelines.prefetch import prefetched
from pipelines.progress import Clock, Progress, Watch
from pipelines.records import Row
from pipelines.set_aside import UNREADABLE, unreadable_of
from pipelines.tables import DATASET, EXCLUDED_ACCOUNTS, Column, Table
from pipelines.tally import comparable
from pipelines.warehouse import Session, Warehouse, id_list

_ROWS_AT_ONCE = 2_000
"""Rows that are compared in one session: opening a DuckDB file for each page would take as long as the listing."""
_IDS_AT_ONCE = 50_000

Fields = dict[str, tuple[Any, Any]]
"""By column, the value here and the one at Pennylane."""


class NeverSynchronized(PipelineError):
    """There is nothing to compare yet."""


@dataclass
class Comparison:
    """One table against its list.

    `missing`, `differing` and `left_over` are what a full sync heals. `changed_since` differs because of what happened
    at Pennylane since the last sync, and `left_out` are documents without an account that may have been an excluded
    one's: a full sync lets them in no more than an hourly one. What we hold of `unreadable` records is not judged.
    """

    agree: int = 0
    missing: set[int] = field(default_factory=set)
    differing: dict[int, Fields] = field(default_factory=dict)
    left_over: set[int] = field(default_factory=set)
    changed_since: set[int] = field(default_factory=set)
    left_out: set[int] = field(default_factory=set)
    unreadable: set[int] = field(default_factory=set)

    @property
    def equal(self) -> bool:
        return not (self.missing or self.differing or self.left_over)

    @property
    def counts(self) -> dict[str, int]:
        return {
            "agree": self.agree,
            "missing": len(self.missing),
            "differing": len(self.differing),
            "left_over": len(self.left_over),
            "changed_since": len(self.changed_since),
            "left_out": len(self.left_out),
            "unreadable": len(self.unreadable),
        }

    def explain(self, ids: AbstractSet[int]) -> None:
        """What was found of these is Pennylane's doing since the last sync."""
        for found in (self.missing, self.left_over, self.left_out):
            self.changed_since |= found & ids
            found.difference_update(ids)
        for one in self.differing.keys() & ids:
            self.changed_since.add(one)
            del self.differing[one]


@dataclass(frozen=True)
class Verified:
    """What was found. `as_of` is the last sync, at Pennylane's time; `feeds_reach_back` tells whether Pennylane still
    knows what changed since: it forgets after four weeks, and then every change counts as a difference."""

    tables: Mapping[Table, Comparison]
    as_of: datetime
    feeds_reach_back: bool

    @property
    def equal(self) -> bool:
        return all(comparison.equal for comparison in self.tables.values())

    @property
    def differences(self) -> int:
        return sum(len(one.missing) + len(one.differing) + len(one.left_over) for one in self.tables.values())


class Verification:
    """One comparison of one company, during which nobody else may work on it.

    `excluded` are the accounts that are left out by now; those that were at the last sync are, too: the next one
    catches up. `details` keeps the values of differing fields, which may be personal data. Memory grows with what is
    found, and by eight bytes with each listed row.
    """

    def __init__(
        self,
        pennylane: Pennylane,
        warehouse: Warehouse,
        company_id: int,
        *,
        excluded: Collection[int],
        clock: Clock,
        watch: Watch,
        details: bool = False,
    ) -> None:
        self._pennylane = pennylane
        self._warehouse = warehouse
        self._company_id = company_id
        self._clock = clock
        self._watch = watch
        self._details = details
        self._state = self._synchronized()
        self._cursors = cursors_of(self._state)
        self._excluded = frozenset(excluded) | frozenset(self._state["excluded"]) | self._published()
        self._reader = Reader(company_id, self._excluded, clock)
        self._tables = {kind.table: Comparison() for kind in KINDS}
        self._listed = {kind.table: array("q") for kind in KINDS}

    def run(self) -> Verified:
        with ThreadPoolExecutor(WORKERS, "pennylane") as self._executor:
            try:
                self._compare_listed()
                self._reader.judge()
                for kind in KINDS:
                    self._compare_unlisted(kind)
                feeds_reach_back = self._explain()
            except BaseException:
                self._pennylane.stop()
                raise
        as_of = min(cursor.until for cursor in self._cursors.values())
        return Verified(self._tables, as_of, feeds_reach_back)

    def _synchronized(self) -> State:
        with self._warehouse.session() as session:
            state = committed(session, self._company_id) or {}
            if "cursors" in state:
                refuse_damage(session)
        if "cursors" not in state:
            raise NeverSynchronized(
                f"Company {self._company_id} has nothing to verify: its first sync has not come to its end. "
                "Run it: pennylane-sync activate"
            )
        return state

    def _published(self) -> frozenset[int]:
        with self._warehouse.session() as session:
            if not session.has_table(EXCLUDED_ACCOUNTS.name):
                return frozenset()
            rows = session.rows(
                f"SELECT account_id FROM {DATASET}.excluded_accounts WHERE company_id = {self._company_id}"
            )
        return frozenset(int(account_id) for (account_id,) in rows)

    # What the lists hold

    def _compare_listed(self) -> None:
        everything = Listing(self._pennylane, self._reader, self._executor, all_tasks(self._excluded))
        compared = 0
        for batch in self._batches(everything):
            with self._warehouse.session() as session:
                for kind in KINDS:
                    self._compare(session, kind, batch[kind.table])
                    compared += len(batch[kind.table])
            self._watch(Progress("verification", compared))

    def _batches(self, listing: Listing) -> Iterator[defaultdict[Table, list[Row]]]:
        """The listed rows, as many at once as are worth opening the warehouse for."""
        batch: defaultdict[Table, list[Row]] = defaultdict(list)
        with prefetched(listing.pages(), PAGES_AHEAD) as pages:
            for page in pages:
                batch[page.task.kind.table] += page.rows
                if sum(map(len, batch.values())) >= _ROWS_AT_ONCE:
                    yield batch
                    batch = defaultdict(list)
        yield batch

    def _compare(self, session: Session, kind: Kind, rows: list[Row]) -> None:
        """Judge rows that Pennylane has."""
        id_column = kind.table.id_column
        ids = [row[id_column] for row in rows]
        self._listed[kind.table].extend(ids)
        held: dict[int, Row] = {}
        for row in self._held(session, kind.table, ids):
            if held.setdefault(row[id_column], row) is not row:
                self._tables[kind.table].left_over.add(row[id_column])  # a row too many
        for row in rows:
            self._judge(kind, row, held.get(row[id_column]))

    def _held(self, session: Session, table: Table, ids: list[int]) -> Iterator[Row]:
        if not session.has_table(table.name):
            return
        names = [*(column.name for column in _compared(table)), "synced_at"]
        for values in session.rows(
            f"SELECT {', '.join(names)} FROM {DATASET}.{table.name} "
            f"WHERE company_id = {self._company_id} AND {table.id_column} IN ({id_list(ids)})"
        ):
            yield dict(zip(names, values, strict=True))

    def _judge(self, kind: Kind, row: Row, held: Row | None) -> None:
        comparison, one = self._tables[kind.table], row[kind.table.id_column]
        stays_out = row["account_id"] is None and self._was_excluded(held)
        fields = _differing(kind.table, held, row) if held else {}
        if held and not fields:
            comparison.agree += 1
        elif self._is_news(kind, row) or (held and _became_late(held, row, fields)):
            comparison.changed_since.add(one)
        elif stays_out:
            comparison.left_out.add(one)
        elif held:
            comparison.differing[one] = fields if self._details else {}
        else:
            comparison.missing.add(one)

    def _was_excluded(self, held: Row | None) -> bool:
        """Whether a document without an account may have been an excluded one's, before that was deleted there."""
        return held["account_id"] in self._excluded if held else bool(self._excluded)

    def _is_news(self, kind: Kind, row: Row) -> bool:
        """Whether the record itself tells that it changed after the last sync: its event may come later than it."""
        updated_at = row["updated_at"]
        return updated_at is not None and updated_at > self._cursors[kind.changelog].until

    # What they do not hold

    def _compare_unlisted(self, kind: Kind) -> None:
        comparison = self._tables[kind.table]
        comparison.unreadable = self._reader.unreadable_ids(kind.table)
        listed = array("q", sorted(self._listed[kind.table]))
        without_account: set[int] = set()
        for one, account_id in self._held_ids(kind.table):
            if _holds(listed, one) or one in comparison.unreadable:
                continue
            if self._reader.met_nameless(kind.table):
                comparison.unreadable.add(one)  # it may be the one that came without an id
                continue
            comparison.left_over.add(one)
            if account_id is None:
                without_account.add(one)
        if self._excluded and kind is not ACCOUNT:
            self._compare_without_account(kind, without_account)

    def _compare_without_account(self, kind: Kind, ids: set[int]) -> None:
        """A filter that leaves accounts out may lose documents without one: they are asked for by their ids alone."""
        for _, rows in fetch(self._pennylane, self._reader, self._executor, kind, ids, excluded=frozenset()):
            self._tables[kind.table].left_over -= {row[kind.table.id_column] for row in rows}
            with self._warehouse.session() as session:
                self._compare(session, kind, rows)

    def _held_ids(self, table: Table) -> Iterator[tuple[int, int | None]]:
        """The ids of the rows whose account is not excluded, with their accounts."""
        after = -1
        while True:
            with self._warehouse.session() as session:
                if not session.has_table(table.name):
                    return
                rows = session.rows(
                    f"SELECT {table.id_column} AS id, account_id FROM {DATASET}.{table.name} "
                    f"WHERE company_id = {self._company_id} AND {table.id_column} > {after} "
                    f"ORDER BY id LIMIT {_IDS_AT_ONCE}"
                )
            yield from ((one, account_id) for one, account_id in rows if account_id not in self._excluded)
            if len(rows) < _IDS_AT_ONCE:
                return
            after = rows[-1][0]

    # Why

    def _explain(self) -> bool:
        """Tell apart what the next sync reads anyway; whether Pennylane still knows what that is.

        The feeds are read last, so that they hold what happened while everything was listed.
        """
        unreadable_then = self._state.get(UNREADABLE, {})
        for kind in KINDS:
            self._tables[kind.table].explain(set(unreadable_of(unreadable_then, kind.table)))
        try:
            for path, cursor in self._cursors.items():
                ids = touched(read_feed(self._pennylane, path, cursor, self._clock())[0])
                for kind in KINDS:
                    if kind.changelog == path:
                        self._tables[kind.table].explain(ids)
        except CursorTooOld:
            return False
        return True


def _compared(table: Table) -> list[Column]:
    """The columns that Pennylane fills."""
    return [column for column in table.columns if column.path is not None]


def _differing(table: Table, held: Row, row: Row) -> Fields:
    pairs = {column: (held[column.name], row[column.name]) for column in _compared(table)}
    return {
        column.name: (comparable(column, here), comparable(column, there))
        for column, (here, there) in pairs.items()
        if here != there and comparable(column, here) != comparable(column, there)
    }


def _became_late(held: Row, row: Row, fields: Fields) -> bool:
    """Whether time alone made the difference, which raises no event; the views know it all the same."""
    return (
        fields.keys() == {"status"}
        and row["status"] == "late"
        and became_late_since(held["synced_at"], row["deadline"])
    )


def _holds(ordered: "array[int]", one: int) -> bool:
    at = bisect_left(ordered, one)
    return at < len(ordered) and ordered[at] == one
