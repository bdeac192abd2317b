"""Every id is listed exactly once, whatever the ids, the order of answers and the place where it went on."""

import random
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import listing
from pipelines.errors import BrokenAnswer
from pipelines.kinds import ACCOUNT, Reader
from pipelines.listing import Listing, Task, with_ids
from pipelines.pacing import Pacer
from pipelines.prefetch import completed, prefetched
from pipelines.ranges import ALL_IDS, END, Range, subtract
from tests.pipelines.fakes import FakePennylane, Json, conditions

ids_of_a_company = st.one_of(
    st.sets(st.integers(1, 5000), max_size=600),
    st.integers(0, 900).map(lambda count: set(range(1_450_000_000, 1_450_000_000 + count))),
    st.sets(st.integers(2**53, END - 1), max_size=250),
    st.tuples(st.sets(st.integers(1, 400)), st.sets(st.integers(10**12, 10**12 + 400))).map(
        lambda both: both[0] | both[1]
    ),
)
some_ranges = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda ends: Range(min(ends), max(ends))), max_size=8
)


@given(some_ranges)
def test_what_remains_and_what_was_covered_are_everything_and_do_not_overlap(covered: list[Range]) -> None:
    remaining = [Range(0, 300)]
    for one in covered:
        remaining = subtract(remaining, one)
    left = [id_ for part in remaining for id_ in range(part.low, part.high)]
    assert len(left) == len(set(left))
    assert set(left) == set(range(300)) - {id_ for part in covered for id_ in range(part.low, part.high)}


class _Wanting(Pacer):
    """Whose answers take so long that so many have to be under way."""

    def __init__(self, in_flight: int) -> None:
        super().__init__()
        self._in_flight_at_least = in_flight

    @property
    def wanted_in_flight(self) -> int:
        return self._in_flight_at_least


def serving(ids: set[int], delay: random.Random | None = None, wanted: int = 0) -> FakePennylane:
    ordered = sorted(ids)

    def answer(_: str, params: Mapping[str, Any]) -> Json:
        low, high = 0, END
        for one in conditions(params):
            low = one["value"] if one["operator"] == "gteq" else low
            high = one["value"] if one["operator"] == "lt" else high
        found = [id_ for id_ in ordered if low <= id_ < high]
        if params["sort"] == "-id":
            found.reverse()
        if delay is not None:
            time.sleep(delay.choice((0, 0, 0.001, 0.003)))
        return {"items": [{"id": id_} for id_ in found[: params["limit"]]], "has_more": len(found) > params["limit"]}

    pennylane = FakePennylane(answer)
    pennylane.pacer = _Wanting(wanted)
    if delay is not None:
        pennylane._lock = _NoLock()  # type: ignore[assignment]
    return pennylane


class _NoLock:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def list_all(
    pennylane: FakePennylane, ranges: list[Range], stop_after: int | None = None
) -> tuple[list[int], list[Range]]:
    """The ids that a listing brings, and what remains of the ranges."""
    reader = Reader(1, frozenset(), lambda: datetime(2026, 9, 15, tzinfo=UTC))
    tasks = [Task("accounts", ACCOUNT, (), one) for one in ranges]
    listed: list[int] = []
    remaining = list(ranges)
    with ThreadPoolExecutor(8) as executor:
        for number, page in enumerate(Listing(pennylane, reader, executor, tasks).pages(), 1):
            listed += [row["account_id"] for row in page.rows]
            remaining = subtract(remaining, page.covered)
            if number == stop_after:
                break
    return listed, remaining


@settings(max_examples=60, deadline=None)
@given(ids_of_a_company, st.randoms(use_true_random=False))
def test_every_id_is_listed_once_within_the_budget(ids: set[int], delay: random.Random) -> None:
    pennylane = serving(ids, delay)
    listed, remaining = list_all(pennylane, [ALL_IDS])
    assert sorted(listed) == sorted(ids)
    assert remaining == []
    assert len(pennylane.asked) <= len(ids) / 100 + 6


@contextmanager
def small_pages() -> Iterator[None]:
    """Lists of some hundred rows are long ones, which may be cut."""
    with pytest.MonkeyPatch.context() as small:
        small.setattr(listing, "PAGE", 5)
        small.setattr(listing, "_SPLIT_ABOVE_PAGES", 4)
        yield


@settings(max_examples=60, deadline=None)
@given(ids_of_a_company, st.integers(3, 12), st.randoms(use_true_random=False))
def test_a_list_that_is_cut_is_listed_once_too(ids: set[int], wanted: int, delay: random.Random) -> None:
    with small_pages():
        listed, remaining = list_all(serving(ids, delay, wanted), [ALL_IDS])
    assert sorted(listed) == sorted(ids)
    assert remaining == []


@settings(max_examples=40, deadline=None)
@given(ids_of_a_company, st.integers(3, 60), st.integers(3, 12), st.randoms(use_true_random=False))
def test_a_list_that_was_cut_goes_on_where_it_was(ids: set[int], pages: int, wanted: int, delay: random.Random) -> None:
    with small_pages():
        first, remaining = list_all(serving(ids, delay, wanted), [ALL_IDS], stop_after=pages)
        second, nothing = list_all(serving(ids, delay, wanted), remaining)
    assert sorted(first + second) == sorted(ids)
    assert nothing == []


@settings(max_examples=40, deadline=None)
@given(ids_of_a_company, st.integers(1, 8), st.randoms(use_true_random=False))
def test_a_listing_that_stopped_goes_on_where_it_was(ids: set[int], pages: int, delay: random.Random) -> None:
    first, remaining = list_all(serving(ids, delay), [ALL_IDS], stop_after=pages)
    second, nothing = list_all(serving(ids, delay), remaining)
    assert sorted(first + second) == sorted(ids)
    assert nothing == []


@pytest.mark.parametrize("wanted", [3, 4, 6, 8])
def test_a_long_listing_keeps_as_many_requests_under_way_as_use_the_limit(wanted: int) -> None:
    ids = set(range(1_450_000_000, 1_450_000_000 + 8000))
    under_way, most = 0, 0
    inner = serving(ids, random.Random(1))  # noqa: S311

    def answer(path: str, params: Mapping[str, Any]) -> Json:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(0.005)
        found = inner._answer(path, params)
        under_way -= 1
        return found

    pennylane = FakePennylane(answer)
    pennylane.pacer = _Wanting(wanted)
    pennylane._lock = _NoLock()  # type: ignore[assignment]
    listed, _ = list_all(pennylane, [ALL_IDS])
    assert sorted(listed) == sorted(ids)
    assert most >= wanted
    assert len(pennylane.asked) <= 8000 / 100 + wanted


def test_a_list_takes_exactly_a_request_per_hundred_where_answers_are_quick() -> None:
    for count in (0, 1, 100, 101, 8000, 8001, 20_050):
        pennylane = serving(set(range(1_450_000_000, 1_450_000_000 + count)), random.Random(1))  # noqa: S311
        list_all(pennylane, [ALL_IDS])
        assert len(pennylane.asked) == max(1, ceil(count / 100))


@pytest.mark.parametrize(
    "page",
    [
        {"items": [{"id": 2}, {"id": 1}], "has_more": False},
        {"items": [{"id": 1}, {"id": 1}], "has_more": False},
        {"items": [], "has_more": True},
        {"items": [{"id": 0}], "has_more": False},
        {"items": [{"name": "no id"}], "has_more": True},
        {"items": None, "has_more": False},
        {"items": [{"id": 1}]},
        {"has_more": False},
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_ends_the_listing(page: Json) -> None:
    with pytest.raises(BrokenAnswer, match="the next sync asks again"):
        list_all(FakePennylane(lambda *_: page), [Range(1, END)])


def test_only_ids_that_a_listing_covers_and_a_column_holds_are_taken_for_ids() -> None:
    ids = [0, 7, 2**63 - 2, -1, 2**63, "7", True, None]
    found, without = with_ids({"items": [{"id": one} for one in ids]}, "/customers")
    assert ([one["id"] for one in found], without) == ([0, 7, 2**63 - 2], 5)


def test_reading_ahead_keeps_the_order_and_hands_on_errors() -> None:
    with prefetched(iter(range(50)), 5) as items:
        assert list(items) == list(range(50))

    def broken() -> Any:
        yield 1
        raise ValueError("broken")

    with prefetched(broken(), 5) as items, pytest.raises(ValueError, match="broken"):
        list(items)


def test_a_reader_that_stops_early_is_not_waited_for() -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(2) as executor:
        work = completed(executor, lambda one: one, iter(range(10**9)), 4)
        with prefetched(work, 5) as items:
            assert next(items) in range(4)
    assert time.monotonic() - started < 2


def test_reading_ahead_stays_within_its_depth() -> None:
    made = 0

    def items() -> Any:
        nonlocal made
        for one in range(1000):
            made += 1
            yield one

    with prefetched(items(), 10) as ahead:
        next(ahead)
        time.sleep(0.05)
        assert made <= 13
