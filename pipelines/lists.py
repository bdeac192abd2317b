"""Accounts, invoices and credit notes: the first or full listing, then the change feeds.

Readers of a table see each of both as a whole, however many rows it brings: pieces are collected beside the table until
all is there, and then merged in one transaction, in which goes what has gone.
"""

import contextlib
from collections.abc import Collection, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from pipelines.changes import (
    CLOCKS_APART,
    Cursor,
    CursorTooOld,
    Event,
    cursors_of,
    fetch,
    maybe_deleted,
    read_feed,
    touched,
)
from pipelines.client import WORKERS, Pennylane
from pipelines.errors import BrokenAnswer
from pipelines.filters import BATCH, batches, condition
from pipelines.kinds import ACCOUNT, CREDIT_NOTE, INVOICE, KINDS, Kind, Reader
from pipelines.landing import Landing
from pipelines.lateness import late_by_now
from pipelines.listing import PAGES_AHEAD, Listing, Task, all_tasks
from pipelines.pieces import Pieces
from pipelines.prefetch import prefetched
from pipelines.progress import Clock, Progress, Watch
from pipelines.ranges import ALL_IDS, Range, subtract
from pipelines.records import Row
from pipelines.removal import (
    Removal,
    doubt_times_to_come,
    gone,
    holds_older,
    holds_parentless,
    removable,
    remove_now,
    unlisted,
    unlisted_of,
    unread,
    without_account,
)
from pipelines.set_aside import NAMELESS, UNREADABLE, UNREADABLE_DETAILS
from pipelines.tables import DATASET, Table
from pipelines.tally import Tally

Mode = Literal["first", "full", "incremental"]

_LATE_EVENTS = timedelta(hours=1)
"""By how much a document's first event may come later than the document."""

_MOST_UNREAD = 5_000
"""Rows to be read again that are asked for by their ids; where there are more, everything is listed."""

RESUMABLE = timedelta(weeks=3)
"""How old an interrupted listing may be to go on with it: the feeds keep what happened since it began for four."""


@dataclass
class ListsReport:
    """What a run did, and where the cursors of the change feeds stand now (server time)."""

    mode: Mode
    cursors: dict[str, datetime] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


class ListsSync:
    """One run over the lists of one company. `excluded` are the accounts left out, as published in the warehouse."""

    def __init__(
        self, pennylane: Pennylane, landing: Landing, excluded: Collection[int], clock: Clock, watch: Watch
    ) -> None:
        self._pennylane = pennylane
        self._landing = landing
        self._excluded = frozenset(excluded)
        self._clock = clock
        self._watch = watch
        self._not_before: datetime | None = None
        self._fetched = 0
        self._reader = Reader(landing.company_id, self._excluded, self._now)

    def run(self, *, full: bool = False) -> ListsReport:
        """Bring the lists up to date.

        A first sync, a cursor older than four weeks, a table that was made since and `full` list everything.
        """
        state = self._landing.state
        self._report = ListsReport("incremental")
        self._kept_out_until: str | None = state.get("kept_out_until")
        self._included_again = frozenset(state.get("excluded", ())) - self._excluded
        self._covered: dict[str, str] = state.get("tables", {})
        self._reader.restore(state.get(UNREADABLE, {}))
        with self._landing.warehouse.session() as session:
            company_id = self._landing.company_id
            self._unread = {kind.table: unread(session, company_id, kind.table, _MOST_UNREAD) for kind in KINDS}
        full = (
            full
            or self._covered != self._landing.made  # a table is another one than the cursors were for
            or any(len(ids) == _MOST_UNREAD for ids in self._unread.values())
        )
        with ThreadPoolExecutor(WORKERS, "pennylane") as self._executor:
            try:
                if "cursors" not in state:
                    self._list_everything()
                elif full:
                    self._follow_before_listing()
                    self._list_everything()
                try:
                    self._follow()
                except CursorTooOld:
                    self._list_everything()
                    self._follow_just_listed()
            except BaseException:
                self._pennylane.stop()
                raise
        self._report.unreadable = self._reader.told()
        return self._report

    def _now(self) -> datetime:
        """Never before the listing began, even if the clock was set back: older rows count as not listed."""
        now = self._clock()
        return max(now, self._not_before) if self._not_before else now

    def _server_time(self) -> datetime:
        """Pennylane's, unless it is far ahead of ours (as `read_feed`)."""
        return min(self._pennylane.server_time(), self._clock() + CLOCKS_APART)

    # First and full sync

    def _list_everything(self) -> None:
        """List all; goes on with a listing that was interrupted, unless it is old or left other accounts out."""
        self._report.mode = "full" if "cursors" in self._landing.state else "first"
        if self._excluded and self._report.mode == "full":
            self._landing.known_until = self._clock() + CLOCKS_APART
        tasks = all_tasks(self._excluded)
        listing = self._interrupted_listing()
        started = datetime.fromisoformat(listing["started"]) if listing else self._clock()
        if not listing:
            self._forget_listing()
            for kind in KINDS:
                self._reader.forget(kind, [NAMELESS])
        self._not_before = started
        remaining = {task.key: [task.ids] for task in tasks}
        noted: datetime | None = None
        if listing is None:
            self._doubt_times_to_come(started)
        else:
            self._reader.resume(listing[UNREADABLE], self._landing.collected)
            noted = datetime.fromisoformat(listing["noted"])
            remaining = {key: [Range(*one) for one in ranges] for key, ranges in listing["remaining"].items()}
            tasks = [Task(task.key, task.kind, task.conditions, ids) for task in tasks for ids in remaining[task.key]]
        pieces = Pieces(self._landing)
        listed = 0
        listing_now = Listing(self._pennylane, self._reader, self._executor, tasks)
        with prefetched(listing_now.pages(), PAGES_AHEAD) as pages:
            for page in pages:
                noted = noted or self._server_time() - (self._clock() - started) - timedelta(seconds=2)
                remaining[page.task.key] = subtract(remaining[page.task.key], page.covered)
                pieces.add(page.task.kind.table, page.rows)
                listed += len(page.rows)
                left = listing_now.rows_left()
                self._watch(Progress("lists", listed, None if left is None else listed + left))
                if pieces.full:
                    self._collect(pieces, started, noted, remaining)
        self._reader.judge()
        self._unread = {kind.table: set() for kind in KINDS}
        cursor = Cursor(noted or self._server_time())
        removals: dict[Table, Removal] = {}
        if self._holds_older_rows(started):
            self._collect(pieces, started, cursor.until, remaining)
            for kind in KINDS:
                if found := self._found_without_account(kind, started, None):
                    pieces.add(kind.table, found)
                    self._collect(pieces, started, cursor.until, remaining)
            removals = self._unlisted(started)
        if self._excluded and self._report.mode == "full":
            self._keep_out_until(cursor.until)
        self._covered = self._landing.made
        pieces.land(
            {
                **self._state({kind.changelog: cursor for kind in KINDS}),
                "listed_until": self._now().isoformat(),
                "excluded": sorted(self._excluded | self._included_again),  # these are still to be caught up with
            },
            removals,
        )

    def _forget_listing(self) -> None:
        self._landing.forget_collected()
        self._landing.state.pop("listing", None)

    def _interrupted_listing(self) -> dict[str, Any] | None:
        """Where to go on; not with a listing that is old, of other accounts, ranges or tables, or whose rows went."""
        listing: dict[str, Any] | None = self._landing.state.get("listing")
        if (
            listing is None
            or frozenset(listing["excluded"]) != self._excluded
            or listing.get("tables", {}) != self._landing.made
            or listing["remaining"].keys() != {task.key for task in all_tasks(self._excluded)}
            or self._clock() - datetime.fromisoformat(listing["started"]) > RESUMABLE
            or not self._landing.holds_collected
        ):
            return None
        return listing

    def _doubt_times_to_come(self, now: datetime) -> None:
        with self._landing.writing() as session:
            for kind in KINDS:
                doubt_times_to_come(session, self._landing.company_id, kind.table, now)

    def _holds_older_rows(self, than: datetime) -> bool:
        """Rows from before the listing, or that hang on such; none in a first sync."""
        company_id = self._landing.company_id
        with self._landing.warehouse.session() as session:
            return any(
                holds_older(session, company_id, kind.table, than) or holds_parentless(session, company_id, kind.table)
                for kind in KINDS
            )

    def _collect(self, pieces: Pieces, started: datetime, noted: datetime, remaining: dict[str, list[Range]]) -> None:
        pieces.collect(
            {
                **self._landing.state,
                "listing": self._checkpoint(started, noted, remaining),
            }
        )

    def _state(self, cursors: Mapping[str, Cursor]) -> dict[str, Any]:
        return {
            "cursors": {path: cursor.to_state() for path, cursor in cursors.items()},
            "listed_until": self._landing.state.get("listed_until"),
            "tables": self._covered,
            "kept_out_until": self._kept_out_until,
            "excluded": sorted(self._excluded),
            UNREADABLE: self._reader.to_state(),
            UNREADABLE_DETAILS: self._landing.state.get(UNREADABLE_DETAILS, {}),
        }

    def _checkpoint(self, started: datetime, noted: datetime, remaining: dict[str, list[Range]]) -> dict[str, Any]:
        return {
            "started": started.isoformat(),
            "noted": noted.isoformat(),
            "excluded": sorted(self._excluded),
            "tables": self._landing.made,
            UNREADABLE: self._reader.to_state(),  # of no concern to a sync that does not go on with this listing
            "remaining": {key: [[one.low, one.high] for one in ranges] for key, ranges in remaining.items()},
        }

    def _found_without_account(self, kind: Kind, before: datetime, among: Collection[int] | None) -> list[Row]:
        """Of documents that seem to be gone, those that are still there, without an account.

        A filter that leaves accounts out may lose documents that have none (its meaning for them is not documented),
        and Pennylane takes the account from documents when it is deleted: they are asked for by their ids alone.
        """
        if not self._excluded or kind is ACCOUNT:
            return []
        merged = self._landing.as_merged(kind.table)
        with self._landing.warehouse.session() as session:
            ids = removable(session, self._landing.company_id, kind.table, merged, among=among, since=before)
        found: list[Row] = []
        for _, rows in fetch(self._pennylane, self._reader, self._executor, kind, ids, excluded=frozenset()):
            found += rows
        return found

    def _unlisted(self, since: datetime) -> dict[Table, Removal]:
        """What a listing, of which all is collected, did not bring."""
        removals: dict[Table, Removal] = {}
        with self._landing.warehouse.session() as session:
            for table in (kind.table for kind in KINDS):
                merged = self._landing.as_merged(table)
                if self._reader.met_nameless(table):  # any of ours may be one of them
                    removals[table] = gone(session, self._landing.company_id, table, merged, ())
                    continue
                keep = self._reader.unreadable_ids(table)
                removals[table] = unlisted(
                    session, self._landing.company_id, table, merged, listed_since=since, keep=keep
                )
        return removals

    # What changed since

    def _follow(self) -> None:
        state = self._landing.state
        self._reader.follow()
        cursors = cursors_of(state)
        events: dict[str, set[Event]] = {}
        following: dict[str, Cursor] = {}
        feeds = {
            path: self._executor.submit(read_feed, self._pennylane, path, one, self._clock())
            for path, one in cursors.items()
        }
        for path, feed in feeds.items():
            events[path], following[path] = feed.result()
        if self._excluded & maybe_deleted(events[ACCOUNT.changelog]):
            self._keep_out(touched(events[INVOICE.changelog]))
        self._landing.known_until = self._known_until(cursors)
        self._forget_listing()
        pieces = Pieces(self._landing)
        with self._landing.warehouse.session() as session:
            late = late_by_now(session, self._landing.company_id, self._clock())
        invoices: set[int] = set()
        for kind in KINDS:
            ids = touched(events[kind.changelog]) | self._reader.unreadable_ids(kind.table) | self._unread[kind.table]
            if kind is INVOICE:
                invoices = self._fetch(kind, ids | late, pieces)
            else:
                self._fetch(kind, ids, pieces, known_as_another=invoices)
        self._catch_up(set(state["excluded"]) - self._excluded, pieces)
        self._reader.judge()
        pieces.land(self._state(following))
        self._report.cursors = {path: cursor.until for path, cursor in following.items()}

    def _known_until(self, cursors: Mapping[str, Cursor]) -> datetime | None:
        """Until when a document without an account, if it is nobody else's, would have been seen."""
        if not self._excluded:
            return None
        known = cursors[INVOICE.changelog].until - _LATE_EVENTS
        return max(known, datetime.fromisoformat(self._kept_out_until)) if self._kept_out_until else known

    def _keep_out(self, documents: Collection[int]) -> None:
        """An excluded account was deleted: documents without an account may be its own, now and whenever they change.

        A first listing may have brought some of them already.
        """
        self._keep_out_until(self._clock() + CLOCKS_APART)
        if self._report.mode == "first":
            with self._landing.writing() as session:
                for kind in (INVOICE, CREDIT_NOTE):
                    held = f"{DATASET}.{kind.table.name}"
                    orphans = without_account(session, self._landing.company_id, kind.table, held, documents)
                    removal = gone(session, self._landing.company_id, kind.table, held, orphans)
                    remove_now(session, self._landing.company_id, kind.table, removal)
                    self._landing.tally[kind.table] += Tally(removed=removal.count)

    def _keep_out_until(self, at: datetime) -> None:
        """Documents without an account that were there at that time and are not here may not come in later, either.

        So too after a listing: where the feeds do not reach back, nobody has told of accounts that were deleted before.
        """
        earlier = datetime.fromisoformat(self._kept_out_until) if self._kept_out_until else at
        self._kept_out_until = max(at, earlier).isoformat()

    def _follow_before_listing(self) -> None:
        """What came since the last sync is told apart from what was kept from us, which a listing cannot do."""
        if self._excluded and not self._interrupted_listing():
            with contextlib.suppress(CursorTooOld):
                self._follow()

    def _follow_just_listed(self) -> None:
        try:
            self._follow()
        except CursorTooOld:
            raise BrokenAnswer(
                "Pennylane's change feeds do not tell all since the beginning of this sync; the next sync asks again."
            ) from None

    def _fetch(
        self, kind: Kind, ids: Set[int], pieces: Pieces, *, known_as_another: Set[int] = frozenset()
    ) -> set[int]:
        """Bring the records with these ids to what they are now; those that are none of ours any more go.

        Those `known_as_another` kind of document are not asked for. Returns the ids that are of this kind.
        """
        table = kind.table
        found: set[int] = set()
        lost = set(ids & known_as_another)
        wanted = ids - known_as_another
        with prefetched(
            fetch(self._pennylane, self._reader, self._executor, kind, wanted, excluded=self._excluded), PAGES_AHEAD
        ) as fetched:
            for asked, rows in fetched:
                here = {row[table.id_column] for row in rows}
                found |= here
                lost |= asked - here
                pieces.add(table, rows)
                self._fetched += len(rows)
                self._watch(Progress("changes", self._fetched))
                if pieces.full:
                    pieces.collect(None)
        lost -= self._reader.unreadable_ids(table)
        if lost:
            without = self._found_without_account(kind, self._now(), lost)
            lost -= self._reader.unreadable_ids(table)  # so, too, what has come only now, and cannot be read
            pieces.remove(table, lost)
            pieces.add(table, without)
        return found

    def _catch_up(self, included_again: Collection[int], pieces: Pieces) -> None:
        """Accounts that were excluded at the last sync and no longer are: all that is theirs is read anew.

        What we hold of theirs and did not find among it was deleted, or moved while we looked away.
        """
        if not included_again:
            return
        started = self._not_before = self._clock()
        self._fetch(ACCOUNT, set(included_again), pieces)
        tasks = [
            Task(
                f"{kind.table.name}/{batch[0]}",
                kind,
                [*kind.conditions, condition("customer_id", "in", batch)],
                ALL_IDS,
            )
            for kind in (INVOICE, CREDIT_NOTE)
            for batch in batches(included_again, BATCH)
        ]
        with prefetched(Listing(self._pennylane, self._reader, self._executor, tasks).pages(), PAGES_AHEAD) as pages:
            for page in pages:
                pieces.add(page.task.kind.table, page.rows)
        pieces.collect(None)
        for kind in (INVOICE, CREDIT_NOTE):
            merged = self._landing.as_merged(kind.table)
            with self._landing.warehouse.session() as session:
                ids = unlisted_of(
                    session, self._landing.company_id, kind.table, merged, since=started, accounts=included_again
                )
            self._fetch(kind, ids, pieces)
