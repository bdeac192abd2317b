"""The limit is kept to and used up, on a simulated clock: no request is refused, and hardly any is left unused."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest

from pipelines.pace import WINDOW_SECONDS, Pace
from pipelines.pacing import Pacer, Stopped
from tests.pipelines.pacing_simulation import Outcome, Simulation

FIRST, LAST = 2, 12
"""The windows that are looked at: work begins in window 0, somewhere in its middle."""

LATENCIES = [0.05, 0.1, 0.2, 0.4, 0.8]
OFFSETS = [0.0, 1234.567]


def _refused(outcome: Outcome) -> int:
    return sum(outcome.refused.values())


def _refused_later(outcome: Outcome) -> tuple[int, int]:
    """Of ours and of the other program's, once ours are at their pace."""
    later = range(2 * FIRST, LAST)
    return sum(outcome.refused[window] for window in later), sum(outcome.others_refused[window] for window in later)


def _worst(outcome: Outcome) -> float:
    return min(outcome.use(window, window + 1) for window in range(FIRST, LAST))


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("outward", [0.0, 0.5, 1.0])
def test_no_request_is_refused_and_every_window_is_used(latency: float, offset: float, outward: float) -> None:
    outcome = Simulation(latency=latency, offset=offset, outward=outward).run(LAST)
    assert _refused(outcome) == 0
    assert _worst(outcome) >= 0.95


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("seed", range(8))
def test_answers_that_overtake_each_other_do_not_matter(latency: float, seed: int) -> None:
    """Answers of 0.16 to 1.44 s may come too late for the last one or two requests of a window, but not of many."""
    outcome = Simulation(latency=latency, jitter=0.8, seed=seed).run(LAST)
    assert _refused(outcome) == 0
    assert (outcome.use(FIRST, LAST) if latency == 0.8 else _worst(outcome)) >= 0.95


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("limit", [5, 10, 25])
def test_a_slow_machine_uses_the_limit_too(latency: float, limit: int) -> None:
    """One of ten is more than a twentieth: once in a while the last one is late."""
    outcome = Simulation(latency=latency, limit=lambda _: limit, dawdle=0.06).run(LAST)
    assert _refused(outcome) == 0
    assert (outcome.use(FIRST, LAST) if (latency, limit) == (0.8, 10) else _worst(outcome)) >= 0.95


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("per_second", [0.5, 1, 2, 4])
def test_another_program_gets_what_it_asks_for_and_we_use_what_is_left(latency: float, per_second: float) -> None:
    """It looks at nothing, and asks when it likes: now and then more in a window than was to be expected.

    Before we have heard of it, it may cost us one; afterwards, one in twelve runs where it asks twice a second or more.
    """
    outcomes = [Simulation(latency=latency, others_per_second=per_second, seed=seed).run(LAST) for seed in range(12)]
    assert sum(outcome.refused[window] for outcome in outcomes for window in range(FIRST, LAST)) <= (per_second > 1)
    for outcome in outcomes:
        assert _refused(outcome) <= (per_second > 1)
        assert outcome.use(FIRST, LAST) >= 0.95
    granted, refused = (
        sum(counted[window] for counted in counts for window in range(2 * FIRST, LAST))
        for counts in ([outcome.others for outcome in outcomes], [outcome.others_refused for outcome in outcomes])
    )
    assert granted >= 0.93 * per_second * WINDOW_SECONDS * (LAST - 2 * FIRST) * len(outcomes)
    assert refused <= (0 if per_second < 1 else 0.09 * granted)


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("per_second", [5, 8])
def test_beside_a_program_that_asks_for_all_there_is_and_more_ours_goes_on(latency: float, per_second: float) -> None:
    outcome = Simulation(latency=latency, others_per_second=per_second).run(LAST)
    assert sum(outcome.refused[window] for window in range(2 * FIRST, LAST)) == 0
    assert sum(outcome.ours[window] for window in range(2 * FIRST, LAST)) >= 1.5 * (LAST - 2 * FIRST)


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("per_second", [1, 2, 4])
def test_beside_a_program_that_asks_at_random_the_limit_is_used_and_hardly_any_of_ours_is_refused(
    latency: float, per_second: float
) -> None:
    outcomes = [
        Simulation(latency=latency, others_per_second=per_second, others_at_random=True, seed=seed).run(24)
        for seed in range(12)
    ]
    assert sum(outcome.use(2 * FIRST, 24) for outcome in outcomes) >= 0.96 * len(outcomes)
    assert sum(map(_refused, outcomes)) <= 0.03 * sum(sum(outcome.ours.values()) for outcome in outcomes)


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("at_once", [2, 5, 8, 12])
def test_a_program_that_asks_all_at_once_when_a_window_begins_leaves_us_the_rest(latency: float, at_once: int) -> None:
    """Also when ours have just begun, late in a window, and might come too late for it."""
    for offset in (1234.567, 1234.8):
        outcome = Simulation(latency=latency, others_at_once=at_once, offset=offset).run(LAST)
        assert _refused(outcome) == sum(outcome.others_refused.values()) == 0
        assert outcome.use(2 * FIRST, LAST) >= 0.95


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize(("at_once", "at"), [(12, 0.7), (12, 1.0), (14, 1.0), (5, 2.5)])
def test_so_does_one_that_asks_all_at_once_a_little_later(latency: float, at_once: int, at: float) -> None:
    outcome = Simulation(latency=latency, others_at_once=at_once, others_at=at).run(LAST)
    assert _refused_later(outcome) == (0, 0)
    assert outcome.use(2 * FIRST, LAST) >= (0.95 if latency < 0.8 else 0.92)


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize(("at", "use"), [(2.5, 0.9), (3.0, 0.78), (3.5, 0.85)])
def test_one_that_asks_all_at_once_late_in_each_window_is_left_it(latency: float, at: float, use: float) -> None:
    for seed in range(8):
        outcome = Simulation(latency=latency, others_at_once=12, others_at=at, seed=seed).run(LAST)
        assert _refused_later(outcome) == (0, 0)
        assert outcome.use(2 * FIRST, LAST) >= use


def test_what_others_asked_is_forgotten_when_nothing_was_heard_for_two_windows() -> None:
    for later, others in ((6.0, 19), (3600.0, 0)):
        pace = Pace()
        pace.ask(1000.0)
        told = {"ratelimit-limit": "25", "ratelimit-remaining": "5", "ratelimit-reset": "1005"}
        pace.answer(1000.0, {**told, "date": formatdate(1000, usegmt=True)}, 1000.1)
        pace.ask(1000.0 + later)
        assert pace.others == others


def test_a_window_in_which_nothing_was_heard_tells_nothing_of_others() -> None:
    pace = Pace()
    told = {"ratelimit-limit": "25", "ratelimit-remaining": "5", "ratelimit-reset": "1005"}
    pace.answer(1004.0, {**told, "date": formatdate(1004, usegmt=True)}, 1004.1)
    for now, others in ((1006.0, 19), (1011.0, 19), (1016.0, 0)):
        pace.ask(now)
        assert pace.others == others


@pytest.mark.parametrize(
    "broken",
    [None, {"content-type": "text/html"}, {"ratelimit-limit": "0"}, {"ratelimit-reset": "1e300"}],
    ids=["no answer", "of a gateway", "a limit of none", "a window for ever"],
)
def test_requests_whose_answers_tell_nothing_are_counted_in_each_window(broken: dict[str, str] | None) -> None:
    now = 1000.0
    pace = Pace()
    told = {"ratelimit-limit": "25", "ratelimit-remaining": "24", "ratelimit-reset": "1005"}
    pace.answer(now, {**told, "date": formatdate(1000, usegmt=True)}, now + 0.1)
    sent: Counter[int] = Counter()
    while now < 1030:
        now += 0.05
        if pace.ask(now) == 0:
            sent[int(now // WINDOW_SECONDS)] += 1
            pace.answer(now, {**told, **broken} if broken and "content-type" not in broken else broken, now)
    assert max(sent.values()) <= 25
    assert sum(sent.values()) >= 5 * 20


@pytest.mark.parametrize("date", ["yesterday", "Wed, 18 May 2033 03:33:20 +99999999999999"])
def test_a_date_that_makes_no_sense_costs_nothing_of_what_else_is_told(date: str) -> None:
    pace = Pace()
    told = {"ratelimit-limit": "25", "ratelimit-remaining": "0", "ratelimit-reset": "1005"}
    pace.answer(1000.0, {**told, "date": date}, 1000.1)
    assert pace.limit == 25
    assert pace.ask(1000.2) > 0


def test_a_clock_that_is_set_anew_within_a_window_does_not_make_our_own_requests_those_of_others() -> None:
    pace = Pace()
    told = {"ratelimit-limit": "25", "ratelimit-reset": "1005"}
    for number in range(15):
        date = formatdate(1001 if number < 10 else 1004, usegmt=True)
        headers = {**told, "date": date, "ratelimit-remaining": str(24 - number)}
        pace.answer(1000 + number / 10, headers, 1000.05 + number / 10)
    assert pace.others == 0
    assert pace.window.left == 10


def test_a_request_given_up_long_ago_is_not_counted_in_the_window_in_which_it_fails() -> None:
    pace = Pace()
    pace.ask(1000.0)
    told = {"ratelimit-limit": "25", "ratelimit-remaining": "24", "ratelimit-reset": "1061"}
    pace.ask(1060.0)
    pace.answer(1060.0, {**told, "date": formatdate(1060, usegmt=True)}, 1060.1)
    pace.answer(1000.0, None, 1060.2)
    assert pace.window.left == 24


def test_what_tells_nothing_is_not_taken_for_another_program() -> None:
    pace = Pace()
    told = {"date": formatdate(1000, usegmt=True), "ratelimit-limit": "25", "ratelimit-reset": "1005"}
    pace.answer(1000.0, {**told, "ratelimit-remaining": "24"}, 1000.1)
    pace.under_way = [1000.2] * 3
    for _ in range(3):
        pace.answer(1000.2, None, 1000.3)
    pace.answer(1000.4, {**told, "ratelimit-remaining": "20"}, 1000.5)
    assert pace.others == 0
    assert pace.window.left == 20


@pytest.mark.parametrize("back", [True, False])
def test_a_clock_that_is_set_anew_by_an_answer_without_limit_makes_nobody_wait(back: bool) -> None:
    pace = Pace()
    told = {"ratelimit-limit": "25", "ratelimit-remaining": "0"}
    pace.answer(1000.0, {**told, "date": formatdate(9000, usegmt=True), "ratelimit-reset": "9005"}, 1000.1)
    server = 2000 if back else 90_000
    pace.answer(1000.2, {"date": formatdate(server, usegmt=True)}, 1000.3)
    now = 1000.4
    while pace.ask(now) > 0:
        now += 0.1
    assert now < 1006
    pace.answer(
        now, {**told, "date": formatdate(server + now - 1000, usegmt=True), "ratelimit-reset": str(server + 10)}, now
    )
    assert pace.window.left == 0


@pytest.mark.parametrize(("remaining", "others"), [(0, 20), (7, 17)])
def test_a_refusal_while_some_is_left_is_of_another_limit_and_may_have_taken_one(remaining: int, others: int) -> None:
    pace = Pace()
    told = {"ratelimit-limit": "25", "ratelimit-remaining": str(remaining), "ratelimit-reset": "1005"}
    for now in (1000.0, 1000.2):
        pace.answer(now, {**told, "date": formatdate(1000, usegmt=True)}, now + 0.1, refused_for=1.0)
    assert (pace.others, pace.surprised) == (others, remaining == 0)


@pytest.mark.parametrize("latency", LATENCIES)
def test_what_another_program_no_longer_uses_is_used_by_us(latency: float) -> None:
    outcome = Simulation(latency=latency, others_per_second=3, others_for=4 * WINDOW_SECONDS).run(LAST)
    assert _refused(outcome) == 0
    assert outcome.use(8, LAST) >= 0.95


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_that_keep_a_pace_together_use_the_limit_as_one(latency: float, processes: int) -> None:
    outcome = Simulation(latency=latency, processes=processes, together=True).run(LAST)
    assert _refused(outcome) == 0
    assert _worst(outcome) >= 0.95


@pytest.mark.parametrize("latency", LATENCIES)
def test_two_installations_share_the_limit_and_leave_each_other_little(latency: float) -> None:
    """The second asks once before it has heard anything, which may be once too often.

    At 0.8 s each hears what the other does when a sixth of the window is over.
    """
    outcomes = [
        Simulation(latency=latency, processes=2, offset=1234.567 + seed * 0.635, seed=seed).run(FIRST + LAST)
        for seed in range(12)
    ]
    for outcome in outcomes:
        assert sum(outcome.refused[window] for window in range(2 * FIRST, FIRST + LAST)) == 0
        assert _refused(outcome) <= 1
        assert outcome.use(2 * FIRST, FIRST + LAST) >= (0.93 if latency < 0.8 else 0.91)
    used = sum(outcome.use(2 * FIRST, FIRST + LAST) for outcome in outcomes)
    assert used >= (0.95 if latency < 0.8 else 0.91) * len(outcomes)


@pytest.mark.parametrize(("latency", "later_latency"), [(0.8, 0.05), (0.8, 0.1), (0.4, 0.05), (0.05, 0.8)])
def test_a_second_installation_costs_at_most_a_request_though_it_hears_sooner_or_later(
    latency: float, later_latency: float
) -> None:
    for seed in range(8):
        simulation = Simulation(
            latency=latency, later_latency=later_latency, processes=2, offset=1234.567 + seed * 0.635, seed=seed
        )
        assert _refused(simulation.run(FIRST + LAST)) <= 1


@pytest.mark.parametrize("tells_of_the_limit", [True, False])
def test_of_what_is_left_to_others_one_more_is_taken_only_by_who_has_just_heard_how_much_that_is(
    tells_of_the_limit: bool,
) -> None:
    now = [1000.0]
    pacer = Pacer(clock=lambda: now[0])
    first = pacer.acquire()
    now[0] += 0.001
    pacer.release(first, {})
    *tickets, last = [pacer.acquire() for _ in range(11)]
    told = {"date": formatdate(1_000_004, usegmt=True), "ratelimit-limit": "25", "ratelimit-reset": "1000005"}
    now[0] += 0.4
    for number, ticket in enumerate(tickets):
        pacer.release(ticket, {**told, "ratelimit-remaining": str(12 - number)})
    now[0] += 0.06
    pacer.release(last, {**told, "ratelimit-remaining": "3"} if tells_of_the_limit else {"content-type": "text/html"})
    assert (pacer._ask()[0] == 0) == tells_of_the_limit


@pytest.mark.parametrize("answer", [None, {"content-type": "text/html"}], ids=["none", "of a gateway"])
def test_a_request_whose_answer_tells_nothing_may_have_been_counted(answer: dict[str, str] | None) -> None:
    pacer = Pacer(clock=lambda: 1000.0)
    told = {"date": formatdate(1_000_001, usegmt=True), "ratelimit-limit": "2", "ratelimit-reset": "1000005"}
    pacer.release(pacer.acquire(), {**told, "ratelimit-remaining": "1"})
    pacer.release(pacer.acquire(), answer)
    assert pacer._ask()[0] > 0


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_small_limit_is_used_though_others_use_it_too(limit: int) -> None:
    outcome = Simulation(latency=0.2, limit=lambda _: limit, others_per_second=0.1).run(LAST)
    assert sum(outcome.ours[window] for window in range(FIRST, LAST)) >= (LAST - FIRST) / 2


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("limit", [5, 10, 60, 100])
def test_another_limit_is_followed(latency: float, limit: int) -> None:
    outcome = Simulation(latency=latency, limit=lambda _: limit).run(LAST)
    assert _refused(outcome) == 0
    assert outcome.use(FIRST, LAST) >= 0.95


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("later", [10, 100])
def test_a_limit_that_changes_is_followed(latency: float, later: int) -> None:
    outcome = Simulation(latency=latency, limit=lambda window: 25 if window < 6 else later).run(LAST)
    assert _refused(outcome) == 0
    assert outcome.use(FIRST, LAST) >= 0.95


def test_without_a_date_the_window_is_taken_to_end_five_seconds_after_it_was_first_heard_of() -> None:
    outcome = Simulation(latency=0.2, headers=("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")).run(LAST)
    assert _refused(outcome) == 0
    assert outcome.use(FIRST, LAST) >= 0.9


def test_without_any_headers_refusals_end_once_the_first_has_come() -> None:
    outcome = Simulation(latency=0.2, headers=()).run(LAST)
    early = sum(outcome.refused[window] for window in range(FIRST))
    assert early > 0
    assert _refused(outcome) - early <= 2 * (LAST - FIRST)
    assert outcome.use(FIRST, LAST) >= 0.75


def test_a_refusal_stops_all_requests_for_as_long_as_it_says() -> None:
    now = [100.0]
    waits: list[float] = []

    def wait(_: object, seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    pacer = Pacer(clock=lambda: now[0], wait=wait)
    pacer.release(pacer.acquire(), None, refused_for=3.5)
    assert pacer.acquire().sent == pytest.approx(103.5)
    assert sum(waits) == pytest.approx(3.5)
    assert pacer.statistics.waited_seconds == pytest.approx(3.5)


def test_seconds_waited_for_the_limit_are_counted_once_however_many_requests_wait() -> None:
    pacer = Pacer()
    pacer.release(pacer.acquire(), None, refused_for=0.5)
    started = time.monotonic()
    with ThreadPoolExecutor(5) as executor:
        for ticket in executor.map(lambda _: pacer.acquire(), range(5)):
            pacer.release(ticket, None)
    assert 0.5 <= pacer.statistics.waited_seconds <= time.monotonic() - started


def test_before_the_first_answer_only_one_request_is_under_way() -> None:
    simulation = Simulation(latency=0.8)
    simulation.run(1)
    assert simulation.in_flight_before_first_answer == 1


def test_a_clock_that_is_set_anew_is_believed() -> None:
    now = [1000.0]

    def wait(_: object, seconds: float) -> None:
        now[0] += seconds

    pacer = Pacer(clock=lambda: now[0], wait=wait)
    headers = {"ratelimit-limit": "25", "ratelimit-remaining": "0"}
    pacer.release(
        pacer.acquire(), {**headers, "ratelimit-reset": "2000000005", "date": "Wed, 18 May 2033 03:33:20 GMT"}
    )
    pacer.release(
        pacer.acquire(), {**headers, "ratelimit-reset": "1000000005", "date": "Sun, 09 Sep 2001 01:46:40 GMT"}
    )
    before = now[0]
    pacer.acquire()
    assert 0 < now[0] - before <= 6.0


def test_a_stopped_pacer_lets_nothing_through() -> None:
    pacer = Pacer()
    pacer.stop()
    with pytest.raises(Stopped):
        pacer.acquire()


@pytest.mark.parametrize("broken", ["", "many", "-1", "0"])
def test_headers_that_make_no_sense_are_ignored(broken: str) -> None:
    pacer = Pacer(clock=lambda: 1.0)
    for _ in range(30):
        pacer.release(
            pacer.acquire(),
            {"ratelimit-limit": broken, "ratelimit-remaining": broken, "ratelimit-reset": broken, "date": "yesterday"},
        )
    assert pacer.statistics.requests == 30


@pytest.mark.parametrize("ends_in", [86_400.0, 1e12, float("nan"), float("inf")])
def test_a_window_that_ends_nobody_knows_when_is_not_waited_for(ends_in: float) -> None:
    pacer = Pacer(clock=lambda: 100.0)
    headers = {"date": formatdate(1_000_000, usegmt=True), "ratelimit-limit": "25", "ratelimit-remaining": "0"}
    pacer.release(pacer.acquire(), {**headers, "ratelimit-reset": str(1_000_000 + ends_in)})
    assert pacer._ask()[0] == 0


@pytest.mark.parametrize(
    ("latency", "limit", "wanted"), [(0.05, 25, 1), (0.25, 25, 2), (0.4, 25, 3), (0.8, 25, 6), (0.4, 100, 12)]
)
def test_the_slower_the_answers_and_the_higher_the_limit_the_more_requests_have_to_be_under_way(
    latency: float, limit: int, wanted: int
) -> None:
    now = [1000.0]
    pacer = Pacer(clock=lambda: now[0])
    assert pacer.wanted_in_flight == 0
    ticket = pacer.acquire()
    now[0] += latency
    pacer.release(
        ticket,
        {
            "ratelimit-limit": str(limit),
            "ratelimit-remaining": str(limit - 1),
            "ratelimit-reset": str(now[0] + 3),
            "date": formatdate(now[0], usegmt=True),
        },
    )
    assert pacer.wanted_in_flight == wanted
