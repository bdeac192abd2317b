from concurrent.futures import ThreadPoolExecutor

from resources.connections import Connections
from resources.exclusions import Exclusion
from tests.resources.fakes import FakeClock


def test_excluding_tells_which_are_new_and_since_when_each_is_out(connections: Connections, clock: FakeClock) -> None:
    first = clock.now
    assert connections.exclude(1, [30, 10, 30], by="anne") == [30, 10]
    clock.pass_(days=1)
    assert connections.exclude(1, [20, 10], by="paul") == [20]
    assert connections.excluded(1) == {10: first, 20: clock.now, 30: first}


def test_including_tells_which_were_out(connections: Connections) -> None:
    connections.exclude(1, [10, 20], by="anne")
    assert connections.include(1, [20, 99], by="paul") == [20]
    assert list(connections.excluded(1)) == [10]


def test_who_excluded_and_included_what_and_when_is_kept(connections: Connections, clock: FakeClock) -> None:
    monday = clock.now
    connections.exclude(1, [10], by="anne")
    clock.pass_(days=1)
    tuesday = clock.now
    connections.include(1, [10], by="paul")
    clock.pass_(days=1)
    connections.exclude(1, [10], by="paul")
    assert connections.exclusion_history(1) == [
        Exclusion(10, monday, "anne", tuesday, "paul"),
        Exclusion(10, clock.now, "paul", None, None),
    ]


def test_companies_do_not_mix(connections: Connections) -> None:
    connections.exclude(1, [10], by="anne")
    connections.exclude(2, [10, 20], by="anne")
    connections.include(2, [10], by="anne")
    assert list(connections.excluded(1)) == [10]
    assert list(connections.excluded(2)) == [20]


def test_ten_thousand_accounts_can_be_left_out_and_taken_back(connections: Connections) -> None:
    many = list(range(10**15, 10**15 + 10_000))
    assert connections.exclude(1, many, by="anne") == many
    assert list(connections.excluded(1)) == many
    assert connections.include(1, many, by="anne") == many
    assert connections.excluded(1) == {}


def test_several_who_exclude_the_same_at_once_leave_one_open_row(connections: Connections) -> None:
    with ThreadPoolExecutor(8) as threads:
        new = list(threads.map(lambda _: connections.exclude(1, [10, 20], by="anne"), range(16)))
    assert sorted(new) == [[]] * 15 + [[10, 20]]
    assert len(connections.exclusion_history(1)) == 2
