"""A crash at any moment loses nothing, doubles nothing, and costs at most a piece of work."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dlt.destinations.exceptions import DatabaseTerminalException
from dlt.destinations.job_client_impl import SqlLoadJob

from pipelines import details, listing, pieces
from pipelines.client import WORKERS, Pennylane
from pipelines.committed import committed
from pipelines.details import DetailsSync
from pipelines.due import requests_to_read
from pipelines.errors import PennylaneUnreachable, WarehouseUnusable
from pipelines.landing import Landing
from pipelines.pace import REQUESTS_PER_SECOND
from pipelines.pacing import Pacer
from pipelines.progress import Progress
from pipelines.receipts import rows_with
from pipelines.short_lists import Details
from pipelines.tables import DATASET, INVOICES
from pipelines.warehouse import staging_layout, warehouse_at
from sandbox.changes import customers, invoices, receipts
from sandbox.changes.randomly import change_randomly
from tests.conftest import ON_POSTGRES
from tests.pipelines.company import PREFIX, Company
from tests.pipelines.conftest import MakeCompany
from tests.pipelines.disturbing import disturb, slow, undisturbed
from tests.pipelines.syncing import PIECE
from tests.pipelines.test_requests import FEEDS
from tests.pipelines.truth import KEYS, everything_stored

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 40)
    monkeypatch.setattr(details, "PIECE_ROWS", 40)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small company's lists are long ones, of many pages and pieces."""
    monkeypatch.setattr(listing, "PAGE", 20)
    monkeypatch.setattr(pieces, "PIECE_ROWS", 20)


def failing_after(company: Company, requests: int) -> Pennylane:
    """A client whose network is gone after so many requests."""
    return counting(company, lambda count: _fail() if count > requests else None)


def counting(company: Company, at_request: Callable[[int], object]) -> Pennylane:
    """A client that calls `at_request` with the number of each request before it goes out."""
    lock = threading.Lock()
    count = 0

    class Counting(Pennylane):
        def get(self, path: str, params: Mapping[str, str | int] | None = None) -> dict[str, Any]:
            nonlocal count
            with lock:
                count += 1
                at_request(count)
            return super().get(path, params)

    return company.pennylane(Counting)


def _fail() -> None:
    raise PennylaneUnreachable("the network is gone")


def _is_listing(company: Company) -> bool:
    """Whether a listing has begun and has not come to its end."""
    with company.warehouse.session() as session:
        return "listing" in (committed(session, company.id) or {})


def _assert_whole(company: Company) -> None:
    assert company.differences() == []
    with company.warehouse.session() as session:
        for table, key in KEYS.items():
            columns = ", ".join(key)
            doubled = session.rows(
                f"SELECT {columns}, count(*) FROM receivables.{table} GROUP BY {columns} HAVING count(*) > 1"
            )
            assert doubled == [], table


@pytest.mark.usefixtures("small_pieces", "small_pages")
def test_a_first_sync_cut_short_in_its_lists_and_in_its_details_is_completed_by_the_next(company: Company) -> None:
    for requests, while_listing in ((4, True), (60, False)):
        with pytest.raises(PennylaneUnreachable):
            company.sync(pennylane=failing_after(company, requests))
        assert _is_listing(company) == while_listing
    change_randomly(company.world, count=5)
    company.sync(after=60, rotation=500)
    _assert_whole(company)


@pytest.mark.usefixtures("plain_loading", "small_pieces")
def test_what_a_first_sync_has_just_read_when_it_was_cut_short_is_not_read_again_by_the_next(company: Company) -> None:
    read = itertools.count(1)

    def stop(progress: Progress) -> None:
        if progress.step in ("details", "history") and next(read) > 45:
            raise KeyboardInterrupt

    company.watch = stop
    with pytest.raises(KeyboardInterrupt):
        company.sync()
    company.watch = None
    to_read, half_an_hour = _to_read(company), timedelta(minutes=30)
    resumed = company.sync(after=60, rotation=500, again_after=half_an_hour)
    assert _to_read(company) == 0 < to_read
    later = company.sync(rotation=500, again_after=half_an_hour)
    # One more reads invoices again that their payments tell to be outdated.
    assert resumed.detail_requests <= to_read + 1 < later.detail_requests


@pytest.mark.usefixtures("plain_loading", "small_pieces")
def test_an_incremental_sync_cut_short_early_and_late_is_completed_by_the_next(company: Company) -> None:
    company.sync()
    change_randomly(company.world, count=25)
    for requests in (3, 20):
        with pytest.raises(PennylaneUnreachable):
            company.sync(after=60, rotation=100, pennylane=failing_after(company, requests))
    company.sync(after=60, rotation=500)
    _assert_whole(company)


@pytest.mark.usefixtures("small_pieces", "small_pages")
def test_a_full_sync_cut_short_in_its_details_and_in_its_lists_is_completed_by_an_hourly_one(company: Company) -> None:
    company.sync()
    change_randomly(company.world, count=10)
    for requests, while_listing in ((40, False), (4, True)):
        with pytest.raises(PennylaneUnreachable):
            company.sync(after=60, full=True, pennylane=failing_after(company, requests))
        assert _is_listing(company) == while_listing
    company.sync(after=60, rotation=500)
    _assert_whole(company)


@pytest.mark.usefixtures("plain_loading")
@pytest.mark.parametrize("wanted", [0, 6])
@pytest.mark.parametrize(("full", "excluded"), [(False, set()), (True, {1})])
def test_what_was_listed_before_a_crash_is_not_listed_again(
    make_company: MakeCompany, monkeypatch: pytest.MonkeyPatch, full: bool, excluded: set[int], wanted: int
) -> None:
    """Also of lists that were cut, as so many requests are wanted under way."""
    monkeypatch.setattr(Pacer, "wanted_in_flight", wanted)
    monkeypatch.setattr(pieces, "PIECE_ROWS", 300)
    company = make_company(100, 3000)
    company.excluded = excluded
    if full:
        company.lists_only()
    company.forget_requests()
    with pytest.raises(PennylaneUnreachable):
        company.lists_only(full=full, pennylane=failing_after(company, 20))
    assert company.requests["total"] == 20
    gone = [one.id for one in company.world.invoices if one.settles]
    for one in (gone[0], gone[len(gone) // 2], gone[-1]):
        invoices.delete_invoice(company.world, id=one)
    company.world.clock.advance(60)
    company.forget_requests()
    report = company.lists_only(full=full)
    assert report.mode == ("full" if full else "first")
    # 32 pages or a few more, of which 20 were read; a piece of 3 or 4 pages had not landed yet. Where accounts are left
    # out the feeds are read first, and what seems to be gone is asked for by its ids.
    listed = company.requests["total"] - 2
    assert listed <= 32 + 6 - 20 + 4 + 3 + (4 if excluded else 0)
    rows = company.held()
    assert {key[1] for key in rows["invoices"]} | {key[1] for key in rows["credit_notes"]} == {
        one.id for one in company.world.invoices if one.kind in ("invoice", "credit_note")
    }


@pytest.mark.usefixtures("plain_loading", "small_pieces")
def test_a_listing_interrupted_under_other_exclusions_starts_again(make_company: MakeCompany) -> None:
    company = make_company(8, 180)
    with pytest.raises(PennylaneUnreachable):
        company.sync(pennylane=failing_after(company, 3))
    assert _is_listing(company)
    company.excluded = {company.world.customers.at(3).id}
    company.sync()
    assert company.differences(excluded=()) != []
    company.excluded = set()
    company.sync()
    _assert_whole(company)


@pytest.mark.usefixtures("small_pages")
def test_who_is_excluded_after_a_first_sync_was_interrupted_is_nowhere_after_the_next(
    make_company: MakeCompany,
) -> None:
    company = make_company(8, 60)
    first = next(iter(company.world.customers))
    with pytest.raises(PennylaneUnreachable):
        company.sync(pennylane=failing_after(company, 4))
    assert first.name in everything_stored(company.warehouse)
    company.excluded = {first.id}
    with pytest.raises(PennylaneUnreachable):
        company.sync(pennylane=failing_after(company, 1))
    assert first.name not in everything_stored(company.warehouse)


@pytest.mark.usefixtures("plain_loading", "small_pages")
@pytest.mark.parametrize("full", [False, True], ids=["first", "full"])
def test_a_listing_whose_collected_rows_are_gone_begins_again(make_company: MakeCompany, full: bool) -> None:
    """Such as where tables were put back from a backup that was made while it was under way."""
    company = make_company(8, 180)
    if full:
        company.lists_only()
    with pytest.raises(PennylaneUnreachable):
        company.lists_only(full=full, pennylane=failing_after(company, 9))
    staging = staging_layout(company.id) % DATASET
    with company.warehouse.session() as session:
        assert session.value(f"SELECT count(*) FROM {staging}.invoices") >= 20
        session.execute(
            f"DELETE FROM {staging}.invoices WHERE invoice_id = (SELECT min(invoice_id) FROM {staging}.invoices)"
        )
    company.forget_requests()
    company.sync(full=full)
    assert company.requests["by_path"][f"{PREFIX}/customers"] == 1
    _assert_whole(company)


@pytest.mark.usefixtures("small_pages")
def test_what_was_collected_in_another_shape_than_the_tables_have_now_is_read_again(make_company: MakeCompany) -> None:
    """As after an upgrade that brings a column."""
    company = make_company(8, 60)
    with pytest.raises(PennylaneUnreachable):
        company.sync(pennylane=failing_after(company, 4))
    staging = staging_layout(company.id) % DATASET
    with company.warehouse.session() as session:
        session.execute(f"ALTER TABLE {staging}.invoices DROP COLUMN label")
    company.sync()
    _assert_whole(company)


@contextmanager
def failing_merge(table: str) -> Iterator[None]:
    """The database refuses to merge a table, such as for want of room on its disk."""
    merge = SqlLoadJob.run

    def fail(job: SqlLoadJob) -> None:
        if job.job_file_info().table_name == table:
            raise DatabaseTerminalException(OSError("no room on the disk"))
        merge(job)

    with pytest.MonkeyPatch.context() as failing:
        failing.setattr(SqlLoadJob, "run", fail)
        yield


@pytest.mark.usefixtures("small_pages")
def test_a_listing_whose_merge_failed_asks_for_next_to_nothing_again(make_company: MakeCompany) -> None:
    company = make_company(8, 180)
    with failing_merge("invoices"), pytest.raises(WarehouseUnusable, match="no room on the disk"):
        company.lists_only()
    company.forget_requests()
    company.lists_only()
    by_path = company.requests["by_path"]
    assert sum(count for path, count in by_path.items() if "changelogs" not in path) <= 3, by_path  # the last pages
    company.sync()
    _assert_whole(company)


@pytest.mark.usefixtures("small_pages")
def test_a_full_sync_whose_merge_failed_goes_on_although_many_records_cannot_be_read(make_company: MakeCompany) -> None:
    company = make_company(8, 60)
    wrong = [one.id for one in company.world.invoices if one.settles][:25]
    disturb(company, "v2/customer_invoices$", kind="changed", item={"created_at": "yesterday"}, only_ids=wrong)
    company.sync()
    with failing_merge("accounts"), pytest.raises(WarehouseUnusable, match="no room on the disk"):
        company.lists_only(full=True)
    assert len(company.lists_only(full=True).unreadable) == 25
    undisturbed(company)
    company.sync()
    _assert_whole(company)


@pytest.mark.usefixtures("plain_loading", "small_pages")
@pytest.mark.parametrize("requests", [4, 6])
def test_what_could_not_be_read_is_asked_for_until_it_is_in_although_a_full_sync_was_interrupted(
    make_company: MakeCompany, requests: int
) -> None:
    company = make_company(8, 60)
    wrong = next(one.id for one in company.world.invoices if one.settles)
    disturb(company, "v2/customer_invoices$", kind="changed", item={"created_at": "yesterday"}, only_ids=[wrong])
    company.sync()
    assert company.differences() != []
    undisturbed(company)
    with pytest.raises(PennylaneUnreachable):
        company.lists_only(full=True, pennylane=failing_after(company, requests))
    company.sync()
    _assert_whole(company)


@pytest.mark.usefixtures("small_pages")
def test_an_invoice_that_its_payments_tell_to_be_outdated_is_merged_although_a_full_sync_was_interrupted(
    make_company: MakeCompany,
) -> None:
    company = make_company(8, 60)
    company.sync()
    with pytest.raises(PennylaneUnreachable):
        company.sync(full=True, pennylane=failing_after(company, 4))
    invoice = next(one.id for one in company.world.invoices if one.settles)
    with Landing.opened(company.warehouse, company.id, company.work_dir) as opened:
        with company.warehouse.session() as session:
            (known,) = rows_with(session, company.id, INVOICES, [(company.id, invoice)])
        opened.land({INVOICES: [{**known, "label": "just read"}]})
    assert company.held()["invoices"][company.id, invoice]["label"] == "just read"
    company.sync(full=True)
    _assert_whole(company)


@pytest.mark.usefixtures("plain_loading", "small_pieces")
@pytest.mark.parametrize("full", [False, True], ids=["first", "full"])
def test_rows_inserted_changed_and_deleted_while_listing_are_caught(make_company: MakeCompany, full: bool) -> None:
    company = make_company(20, 250)
    if full:
        company.lists_only()

    def change(count: int) -> None:
        world = company.world
        if count % 2 == 0 and count <= 6:
            world.clock.advance(1)
            invoices.create_invoice(world)
            invoices.delete_invoice(world)
            invoices.delete_draft(world)
            receipts.pay_invoice(world)
            customers.create_customer(world)
            customers.update_customer(world)
            invoices.move_invoice(world)

    company.sync(pennylane=counting(company, change), full=full)
    if not full:
        _assert_whole(company)
    company.sync(after=60)  # what changed when the feeds were read already
    _assert_whole(company)


@pytest.mark.usefixtures("plain_loading")
@pytest.mark.parametrize("pieces_end", ["by rows", "by time"])
def test_never_do_more_requests_than_a_minute_s_wait_to_be_landed(
    make_company: MakeCompany, monkeypatch: pytest.MonkeyPatch, pieces_end: str
) -> None:
    """Whatever comes in while rows are landed, and while outdated invoices are read again for that."""
    company = make_company(30, 500)
    company.lists_only()
    with company.warehouse.session() as session:
        session.execute("UPDATE receivables.invoices SET synced_at = TIMESTAMPTZ '2020-01-01 00:00:00+00'")
    if pieces_end == "by rows":
        monkeypatch.setattr("pipelines.details.PIECE_ROWS", 50)
        pennylane = company.pennylane()
    else:
        pennylane = company.pennylane(slow(monkeypatch, 1 / REQUESTS_PER_SECOND))
    land, landed, waiting = DetailsSync._land, [pennylane.statuses.total()], [0]

    def watched(sync: DetailsSync, collected: list[Details], *, again: bool) -> None:
        land(sync, collected, again=again)
        waiting.append(pennylane.statuses.total() - landed[0])
        landed[0] += sum(details.due.requests for details in collected)

    monkeypatch.setattr(DetailsSync, "_land", watched)
    assert company.sync(pennylane=pennylane).tally["invoices"].read > 10
    assert len(waiting) > 3
    assert max(waiting) < 60 * REQUESTS_PER_SECOND
    _assert_whole(company)


@pytest.mark.parametrize(("landing", "due_after"), [(0, 25), (10, 15), (24, 2), (600, 2)])
def test_the_time_of_a_piece_begins_with_the_landing_before_it_which_may_take_longer(
    monkeypatch: pytest.MonkeyPatch, landing: float, due_after: float
) -> None:
    now = [100.0]
    monkeypatch.setattr("pipelines.pieces.time", SimpleNamespace(monotonic=lambda: now[0]))
    timer = pieces.PieceTimer()
    with timer.landing():
        now[0] += landing
    now[0] += due_after - 0.5
    assert not timer.is_up
    now[0] += 0.5
    assert timer.is_up


@pytest.mark.usefixtures("plain_loading")
def test_rows_of_a_list_that_comes_slowly_wait_no_longer_than_a_piece_lasts(
    make_company: MakeCompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("pipelines.pieces.time", SimpleNamespace(monotonic=lambda: now[0]))
    company = make_company(1, 1)
    with Landing.opened(company.warehouse, company.id, company.work_dir) as landing:
        of_a_list = pieces.Pieces(landing)
        for _ in range(2):
            for seconds, full in ((24.5, False), (0.5, True)):
                now[0] += seconds
                assert of_a_list.full == full
            of_a_list.collect({})


@pytest.fixture
def url(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Where another process finds the tables."""
    found = request.getfixturevalue("postgres_url") if ON_POSTGRES else f"duckdb:///{tmp_path / 'killed.duckdb'}"
    return str(found)


def test_a_killed_process_has_lost_no_more_than_a_piece_and_what_was_under_way(
    make_company: MakeCompany, url: str
) -> None:
    company = make_company(30, 600, warehouse_at(url), latency=0.01, frozen=False, start=datetime.now(UTC))
    company.lists_only()
    company.forget_requests()
    before = _to_read(company)
    _kill_at(company, url, "history 500", "any")
    kept = before - _to_read(company)
    ahead = 2 * (PIECE + details._AHEAD + WORKERS)  # an invoice takes two
    assert kept < before
    assert company.requests["total"] - len(FEEDS) - kept <= ahead


def _to_read(company: Company) -> int:
    with company.warehouse.session() as session:
        return requests_to_read(session, company.id, datetime.now(UTC))


def test_a_killed_process_is_completed_by_the_next(make_company: MakeCompany, url: str) -> None:
    company = make_company(30, 300, warehouse_at(url), latency=0.01, frozen=False, start=datetime.now(UTC))
    for place, how in (("lists 60", "any"), ("details 25", "any"), ("lists 250", "full"), ("history 100", "full")):
        _kill_at(company, url, place, how)
        if how == "full":
            change_randomly(company.world, count=5)
    company.sync(after=60, rotation=500)
    _assert_whole(company)


def _kill_at(company: Company, url: str, place: str, how: str) -> None:
    step, reached = place.split()
    arguments = [company.server.url, company.server.token(), str(company.id), url, str(company.work_dir), how]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.pipelines.syncing", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            now, done = line.split()
            if now == step and int(done) >= int(reached):
                process.kill()
                break
    assert process.returncode == -9, f"it ended before {place}"
