"""A server with the rate limit of GUIDE, and workers that use a Pacer, on a clock that jumps from event to event."""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from threading import Condition

from pipelines.client import WORKERS
from pipelines.pace import WINDOW_SECONDS
from pipelines.pace_file import PaceFile
from pipelines.pacing import OwnPace, Pacer, Ticket


class _MustWait(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def _wait(_: Condition, seconds: float) -> None:
    """Instead of blocking: ends `Pacer.acquire`, which the worker tries again later."""
    raise _MustWait(seconds)


class _Together(OwnPace):
    looked_at_every = PaceFile.looked_at_every


@dataclass
class Outcome:
    """Requests by window (the server's own time): granted to us, to the other program, refused to us, and to it."""

    ours: Counter[int]
    others: Counter[int]
    refused: Counter[int]
    others_refused: Counter[int]
    limits: Callable[[int], int]

    def use(self, first: int, last: int) -> float:
        """The share of what was allowed that was used in the windows from `first` to before `last`."""
        used = sum(self.ours[window] + self.others[window] for window in range(first, last))
        return used / sum(self.limits(window) for window in range(first, last))


class Simulation:
    """`latency` is a round trip, of which `outward` is spent on the way to the server; `jitter` varies each way.

    Of several `processes`, each with a pacer of its own, the later ones begin when the first is at its pace, and may
    have a latency of their own; where they keep a pace `together`, they look at it as often as those that keep a file.
    The other program keeps to nothing: it asks so often for `others_for` seconds, evenly more or less or at random, or
    so much at once `others_at` seconds after a window's beginning. A worker goes on `dawdle` seconds after an answer or
    what it waited for.
    """

    def __init__(
        self,
        *,
        latency: float,
        jitter: float = 0.2,
        outward: float = 0.5,
        workers: int = WORKERS,
        offset: float = 1234.567,
        limit: Callable[[int], int] = lambda _: 25,
        processes: int = 1,
        later_latency: float | None = None,
        together: bool = False,
        others_per_second: float = 0.0,
        others_at_random: bool = False,
        others_at_once: int = 0,
        others_at: float = 0.01,
        others_for: float = float("inf"),
        dawdle: float = 0.0,
        headers: tuple[str, ...] = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "date"),
        seed: int = 1,
    ) -> None:
        self.now = 1000.0
        one = _Together()
        self.pacers = [
            Pacer(one if together else OwnPace(), clock=lambda: self.now, wait=_wait) for _ in range(processes)
        ]
        self._latency, self._later_latency = latency, later_latency or latency
        self._jitter, self._outward = jitter, outward
        self._workers, self._offset, self._dawdle = workers, offset, dawdle
        self._limit, self._headers = limit, headers
        self._others_per_second, self._others_until = others_per_second, self.now + others_for
        self._others_at_random = others_at_random
        self._others_at_once, self._others_at = others_at_once, others_at
        self._random = random.Random(seed)  # noqa: S311
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order: Iterator[int] = itertools.count()
        self._wanting = Counter[Pacer]()
        self._waiting: dict[Pacer, float] = {}
        self.outcome = Outcome(Counter(), Counter(), Counter(), Counter(), limit)
        self.in_flight_before_first_answer = 0
        self._answered = False

    def run(self, windows: int) -> Outcome:
        """Keep all workers busy for some windows; windows of the outcome are numbered from 0, the first is partial."""
        self._first_window = int((self.now + self._offset) // WINDOW_SECONDS)
        until = (self._first_window + windows) * WINDOW_SECONDS - self._offset
        for number, pacer in enumerate(self.pacers):
            for _ in range(self._workers):
                self._at(self.now + 1.4 * WINDOW_SECONDS * number, partial(self._want, pacer))
        if self._others_per_second:
            self._at(self.now, self._others_go_on)
        for window in range(1, windows):
            for _ in range(self._others_at_once):
                self._at((self._first_window + window) * WINDOW_SECONDS - self._offset + self._others_at, self._other)
        while self._events and self._events[0][0] < until:
            self.now, _, action = heapq.heappop(self._events)
            action()
        return self.outcome

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), action))

    def _want(self, pacer: Pacer) -> None:
        """A worker wants a ticket; one at a time looks after the pace, the others wait for their turn."""
        self._wanting[pacer] += 1
        if self._wanting[pacer] == 1:
            self._try(pacer)

    def _try(self, pacer: Pacer) -> None:
        try:
            ticket = pacer.acquire()
        except _MustWait as must:
            until = self._waiting[pacer] = self.now + must.seconds
            self._at(until, partial(self._wake, pacer, until))
            return
        self.in_flight_before_first_answer += not self._answered
        self._at(self.now + self._way(pacer, self._outward), lambda: self._arrive(pacer, ticket))
        self._wanting[pacer] -= 1
        if self._wanting[pacer]:
            self._at(self.now + self._dawdle, partial(self._try, pacer))

    def _wake(self, pacer: Pacer, until: float | None = None) -> None:
        """Whose turn it is looks again: after an answer, or at the time until which it waits."""
        if pacer in self._waiting and until in (None, self._waiting[pacer]):
            del self._waiting[pacer]
            self._at(self.now + self._dawdle, partial(self._try, pacer))

    def _arrive(self, pacer: Pacer, ticket: Ticket) -> None:
        server_time = self.now + self._offset
        window = int(server_time // WINDOW_SECONDS) - self._first_window
        limit = self._limit(window)
        taken = self.outcome.ours[window] + self.outcome.others[window]
        granted = taken < limit
        (self.outcome.ours if granted else self.outcome.refused)[window] += 1
        end = (self._first_window + window + 1) * WINDOW_SECONDS
        told = {
            "ratelimit-limit": str(limit),
            "ratelimit-remaining": str(max(0, limit - taken - 1)),
            "ratelimit-reset": str(int(end)),
            "date": formatdate(int(server_time), usegmt=True),
        }
        headers = {name: value for name, value in told.items() if name in self._headers}
        retry_after = None if granted else max(1.0, end - server_time)
        way_back = self._way(pacer, 1 - self._outward)
        self._at(self.now + way_back, lambda: self._answer(pacer, ticket, headers, retry_after))

    def _answer(self, pacer: Pacer, ticket: Ticket, headers: dict[str, str], retry_after: float | None) -> None:
        self._answered = True
        pacer.release(ticket, headers, retry_after)
        self._wake(pacer)
        self._at(self.now + self._dawdle, partial(self._want, pacer))

    def _other(self) -> None:
        window = int((self.now + self._offset) // WINDOW_SECONDS) - self._first_window
        granted = self.outcome.ours[window] + self.outcome.others[window] < self._limit(window)
        (self.outcome.others if granted else self.outcome.others_refused)[window] += 1

    def _others_go_on(self) -> None:
        self._other()
        some = self._random.expovariate(1) if self._others_at_random else self._random.uniform(0.5, 1.5)
        following = self.now + some / self._others_per_second
        if following < self._others_until:
            self._at(following, self._others_go_on)

    def _way(self, pacer: Pacer, share: float) -> float:
        latency = self._latency if pacer is self.pacers[0] else self._later_latency
        return latency * share * (1 + self._random.uniform(-self._jitter, self._jitter))
