"""Letting requests through at the pace that Pennylane's rate limit allows (`pipelines/pace.py`): threads, processes."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from pipelines.pace import Pace


class Stopped(Exception):
    """The sync that the waiting request belonged to has ended."""


@dataclass
class PacingStatistics:
    """What a pacer counted; seconds are those in which the limit kept the next request waiting."""

    requests: int = 0
    waited_seconds: float = 0.0


class KeptPace(Protocol):
    """Where a pace is kept."""

    looked_at_every: float
    """Seconds after which somebody else may have changed it."""

    def held(self) -> AbstractContextManager[Pace]:
        """The pace, for whoever holds it alone; what is changed meanwhile is kept."""


class OwnPace:
    """The pace of one pacer, which nobody else knows."""

    looked_at_every = float("inf")

    def __init__(self) -> None:
        self._pace = Pace()

    @contextmanager
    def held(self) -> Iterator[Pace]:
        yield self._pace


@dataclass(frozen=True)
class Ticket:
    """One request that was let through at `sent` (local time, seconds)."""

    sent: float


class Pacer:
    """Lets requests through at the pace that the answers' headers allow; shared by all threads of a client.

    Pacers that are given the same pace, here or in other processes, go by it together, as one.
    """

    def __init__(
        self,
        kept: KeptPace | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Condition, float], object] = threading.Condition.wait,
    ) -> None:
        self.statistics = PacingStatistics()
        self._kept = kept or OwnPace()
        self._clock = clock
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._wait = wait
        self._stopped = False

    def stop(self) -> None:
        """Wake and end everything that waits; no request is let through any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def wanted_in_flight(self) -> int:
        """How many requests have to be under way for the limit to be used, at the round trip measured lately."""
        with self._changed, self._kept.held() as pace:
            return pace.wanted_in_flight

    def server_time(self) -> float | None:
        """The server's clock as the answers tell it, at the earliest, in seconds since 1970; None before the first."""
        with self._changed, self._kept.held() as pace:
            return pace.server.at(self._clock()) if pace.server.known else None

    def acquire(self) -> Ticket:
        """Wait until one more request may go out. Raises Stopped once `stop` was called."""
        with self._turn, self._changed:  # who is next looks after the pace, all others wait for their turn
            started = self._clock()
            while True:
                pause, now = self._ask()
                if pause <= 0:
                    break
                self._wait(self._changed, min(pause, self._kept.looked_at_every))
            self.statistics.waited_seconds += now - started
            self.statistics.requests += 1
            return Ticket(now)

    def _ask(self) -> tuple[float, float]:
        """Seconds to wait before asking again, as `Pace.ask` says, and when that was."""
        if self._stopped:
            raise Stopped
        with self._kept.held() as pace:
            now = self._clock()
            return pace.ask(now), now

    def release(self, ticket: Ticket, headers: Mapping[str, str] | None, refused_for: float | None = None) -> None:
        """Take note of the answer to the ticket's request, when it has just come (headers None: there was none).

        One that was answered 429 took none of the limit, and nothing goes out for `refused_for` seconds.
        """
        with self._changed:
            with self._kept.held() as pace:
                pace.answer(ticket.sent, headers, self._clock(), refused_for)
            self._changed.notify_all()
