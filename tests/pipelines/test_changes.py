"""The change feeds: nothing is missed at a page's end, in the overlap or at one instant, nothing is read for ever."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.changes import EVENTS_PER_PAGE, OVERLAP, Cursor, CursorTooOld, read_feed, touched
from pipelines.errors import BrokenAnswer, PennylaneRefused
from pipelines.landing import Landing
from sandbox.changes import customers, invoices
from sandbox.feed import Event
from tests.pipelines.company import DAY, WEEK, Company
from tests.pipelines.conftest import MakeCompany, MakeSynced
from tests.pipelines.disturbing import disturb
from tests.pipelines.fakes import FakePennylane, Json, refused

pytestmark = pytest.mark.usefixtures("plain_loading")

FEED = "/changelogs/customers"
T0 = datetime(2026, 9, 15, 7, 0, tzinfo=UTC)
START = Cursor(T0)
NOW = T0 + timedelta(hours=1)
"""By our clock and by Pennylane's."""


def _event(one: int, at: datetime, operation: str = "update") -> Json:
    return {"id": one, "operation": operation, "processed_at": at.isoformat().replace("+00:00", "Z")}


def _feed(events: list[Json], *, bare_cursor: bool = False) -> FakePennylane:
    """A feed as Pennylane's; with a `bare_cursor`, a page begins after the last instant of the page before."""

    def answer(_: str, params: Mapping[str, Any]) -> Json:
        ordered = sorted(events, key=lambda one: str(one["processed_at"]))
        if "cursor" in params:
            first = int(params["cursor"])
        else:
            first = next(
                (at for at, one in enumerate(ordered) if one["processed_at"] >= params["start_date"]), len(ordered)
            )
        last = min(first + int(params["limit"]), len(ordered))
        if bare_cursor and last < len(ordered):
            moment = ordered[last - 1]["processed_at"]
            following = next((at for at, one in enumerate(ordered) if one["processed_at"] > moment), len(ordered))
        else:
            following = last
        more = last < len(ordered)
        return {"items": ordered[first:last], "has_more": more, "next_cursor": str(following) if more else None}

    return FakePennylane(answer)


def _millisecond(number: int) -> datetime:
    return T0 + timedelta(milliseconds=10 * number)


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 3500])
def test_all_events_are_read(count: int) -> None:
    events_read, cursor = read_feed(_feed([_event(one, _millisecond(one)) for one in range(count)]), FEED, START, NOW)
    assert touched(events_read) == set(range(count))
    assert cursor.until >= T0


@pytest.mark.parametrize("before", [0, 1, 500, 999])
@pytest.mark.parametrize("together", [2, 600, 1000, 1001, 2000, 2001, 5000])
def test_events_of_one_instant_across_a_page_boundary_are_all_read(before: int, together: int) -> None:
    events = [_event(one, _millisecond(one)) for one in range(before)]
    events += [_event(10_000 + one, _millisecond(before)) for one in range(together)]
    events += [_event(90_000 + one, _millisecond(before + 1 + one)) for one in range(700)]
    events_read, _ = read_feed(_feed(events), FEED, START, NOW)
    assert touched(events_read) == {one["id"] for one in events}


def test_a_cursor_that_skips_the_rest_of_an_instant_loses_nothing() -> None:
    events = [_event(one, _millisecond(one)) for one in range(995)]
    events += [_event(10_000 + one, _millisecond(995)) for one in range(10)]
    events += [_event(20_000 + one, _millisecond(996 + one)) for one in range(10)]
    events_read, _ = read_feed(_feed(events, bare_cursor=True), FEED, START, NOW)
    assert touched(events_read) == {one["id"] for one in events}


def test_an_event_that_comes_late_within_the_overlap_is_read() -> None:
    events = [_event(1, T0 - timedelta(minutes=1))]
    _, cursor = read_feed(_feed(events), FEED, START, NOW)
    late = [*events, _event(2, cursor.until - OVERLAP + timedelta(seconds=1))]
    events_read, after = read_feed(_feed(late), FEED, cursor, NOW)
    assert touched(events_read) == {2}
    events_read, _ = read_feed(_feed(late), FEED, after, NOW)
    assert touched(events_read) == set()


def test_a_second_kind_of_event_at_the_same_instant_is_another_event() -> None:
    just_now = T0 + timedelta(minutes=58)
    first = [_event(1, just_now, "insert")]
    _, cursor = read_feed(_feed(first), FEED, START, NOW)
    events_read, _ = read_feed(_feed([*first, _event(1, just_now, "delete")]), FEED, cursor, NOW)
    assert touched(events_read) == {1}


def test_a_cursor_survives_the_warehouse() -> None:
    _, cursor = read_feed(_feed([_event(one, T0 + timedelta(minutes=59)) for one in range(3)]), FEED, START, NOW)
    assert len(cursor.recent) == 3
    assert Cursor.from_state(json.loads(json.dumps(cursor.to_state()))) == cursor


def test_the_cursor_never_goes_back() -> None:
    later = Cursor(NOW + timedelta(minutes=5))
    _, cursor = read_feed(_feed([]), FEED, later, NOW)
    assert cursor.until == later.until


def test_a_feed_that_never_ends_is_an_error() -> None:
    page = {"items": [_event(1, T0)], "has_more": True, "next_cursor": "again"}
    with pytest.raises(BrokenAnswer, match="repeats itself"):
        read_feed(FakePennylane(lambda *_: page), FEED, START, NOW)


def test_a_cursor_that_repeats_is_an_error() -> None:
    def answer(_: str, params: Mapping[str, Any]) -> Json:
        number = 2 if "cursor" in params else 1
        items = [_event(number * 1000 + one, T0) for one in range(EVENTS_PER_PAGE)]
        return {"items": items, "has_more": True, "next_cursor": "same"}

    with pytest.raises(BrokenAnswer, match="repeats itself"):
        read_feed(FakePennylane(answer), FEED, START, NOW)


@pytest.mark.parametrize(
    "page",
    [
        {"items": [], "has_more": True, "next_cursor": None},
        {"items": [], "has_more": True, "next_cursor": "one"},
        {"has_more": False},
        {"items": "none", "has_more": False},
        {"items": []},
    ],
)
def test_a_broken_page_is_an_error(page: Json) -> None:
    with pytest.raises(BrokenAnswer):
        read_feed(FakePennylane(lambda *_: page), FEED, START, NOW)


def test_an_event_that_does_not_say_what_changed_makes_everything_be_listed(company: Company) -> None:
    page = {"items": [{"processed_at": "2026-09-15T07:00:00Z"}], "has_more": False}
    with pytest.raises(CursorTooOld):
        read_feed(FakePennylane(lambda *_: page), FEED, START, NOW)
    company.sync()
    one = customers.update_customer(company.world, name="Another name")["id"]
    disturb(company, "/changelogs/customers$", kind="changed", item_without=["id"], only_ids=[one])
    assert company.sync().lists.mode == "full"
    assert company.differences() == []
    assert company.sync().lists.mode == "incremental"


@pytest.mark.parametrize("time", [{}, {"processed_at": None}, {"processed_at": "yesterday"}])
def test_an_event_without_a_readable_time_is_read_all_the_same(time: Json) -> None:
    page = {"items": [{"id": 1, "operation": "update", **time}, _event(2, T0)], "has_more": False}
    events_read, cursor = read_feed(FakePennylane(lambda *_: page), FEED, START, NOW)
    assert touched(events_read) == {1, 2}
    assert cursor.until == datetime(2026, 9, 15, 8, tzinfo=UTC)


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "2026-09-16T07:00:00Z", "0001-01-01T00:00:00Z"])
def test_an_event_dated_far_away_is_read_and_takes_the_cursor_nowhere(at: str) -> None:
    page = {"items": [{"id": 1, "operation": "update", "processed_at": at}], "has_more": False}
    events_read, cursor = read_feed(FakePennylane(lambda *_: page), FEED, START, NOW)
    assert touched(events_read) == {1}
    assert cursor.until == datetime(2026, 9, 15, 8, tzinfo=UTC)


def test_a_feed_that_no_longer_reaches_back_is_told_apart_from_other_refusals() -> None:
    for status, error in ((422, CursorTooOld), (400, PennylaneRefused)):

        def answer(*_: object, status: int = status) -> Json:
            raise refused(status)

        with pytest.raises(error):
            read_feed(FakePennylane(answer), FEED, START, NOW)


def test_thousands_of_events_at_one_instant_reach_the_tables(make_company: MakeCompany) -> None:
    company = make_company(20, 2500)
    company.lists_only()
    world = company.world
    for one in [one for one in world.invoices if one.kind == "invoice"]:
        invoices.update_invoice(world, id=one.id, label=f"all at once {one.id}")
    company.world.clock.advance(DAY)
    company.lists_only()
    labels = {
        row["label"] for key, row in company.held()["invoices"].items() if world.invoices[key[1]].label != row["label"]
    }
    assert labels == set()


def test_after_more_than_four_weeks_everything_is_listed_and_what_went_meanwhile_is_removed(
    make_synced: MakeSynced,
) -> None:
    company = make_synced()
    world = company.world
    gone = [one.id for one in world.invoices if one.settles][:3]
    for one in gone:
        invoices.delete_invoice(world, id=one)
    customers.delete_customer(world)
    customers.create_customer(world)
    synced = company.sync(after=5 * WEEK)
    assert synced.lists.mode == "full"
    assert company.differences() == []
    assert not {(company.id, one) for one in gone} & company.held()["invoices"].keys()
    assert company.sync().lists.mode == "incremental"


def test_within_four_weeks_the_feed_is_enough(make_synced: MakeSynced) -> None:
    company = make_synced()
    invoices.delete_invoice(company.world)
    company.forget_requests()
    synced = company.sync(after=4 * WEEK - DAY)
    assert synced.lists.mode == "incremental"
    assert synced.list_requests <= 4


def test_an_event_that_appears_late_in_the_feed_is_not_missed(make_synced: MakeSynced) -> None:
    company = make_synced()
    world = company.world
    one = next(one for one in world.invoices if one.settles)
    changed = world.clock.microseconds()
    one.label = "changed two minutes before it was told"
    company.sync(after=120)
    # The event comes only now, dated back to when it happened.
    feed = world.invoice_feed
    feed._events.append(Event(one.id, "update", changed, changed, one.created_at))
    feed._moments.append(changed)
    assert company.differences() != []
    company.sync(after=120)
    assert company.differences() == []


@pytest.mark.through_dlt
def test_cursors_stay_where_they_are_when_loading_fails(
    make_synced: MakeSynced, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = make_synced()
    invoices.create_invoice(company.world)
    customers.create_customer(company.world)
    load = Landing._load

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Landing, "_load", fail)
    with pytest.raises(OSError, match="disk full"):
        company.sync()
    monkeypatch.setattr(Landing, "_load", load)
    assert company.differences() != []
    company.sync()
    assert company.differences() == []


def test_a_change_in_the_very_second_of_our_reading_is_read_again_where_a_feed_counts_in_seconds() -> None:
    at = datetime(2026, 9, 15, 8, 0, 5, tzinfo=UTC)
    feed = FakePennylane(
        lambda _, __: {"items": [_event(1, at)], "has_more": False, "next_cursor": None}, at + timedelta(seconds=0.5)
    )

    first, cursor = read_feed(feed, "/changelogs/customer_invoices", Cursor(at - timedelta(hours=1)), at)
    again, _ = read_feed(feed, "/changelogs/customer_invoices", cursor, at)

    assert touched(first) == touched(again) == {1}


def test_a_wrong_date_of_one_answer_does_not_take_the_cursor_past_what_is_to_come() -> None:
    ahead = FakePennylane(lambda _, __: {"items": [], "has_more": False, "next_cursor": None}, T0 + timedelta(days=3))
    _, cursor = read_feed(ahead, FEED, START, T0)
    events_read, _ = read_feed(_feed([_event(1, T0 + timedelta(minutes=30))]), FEED, cursor, NOW)
    assert touched(events_read) == {1}


def test_a_cursor_that_stands_in_the_future_is_of_no_use() -> None:
    with pytest.raises(CursorTooOld):
        read_feed(_feed([]), FEED, Cursor(NOW + timedelta(days=3)), NOW)


def test_where_our_own_clock_is_behind_the_feed_is_read_again_and_nothing_is_missed() -> None:
    behind = NOW - timedelta(days=2)
    events = [_event(1, T0 + timedelta(minutes=30))]
    for _ in range(2):
        events_read, cursor = read_feed(_feed(events), FEED, START, behind)
        assert (touched(events_read), cursor.until) == ({1}, T0)
