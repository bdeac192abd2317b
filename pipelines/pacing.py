"""Keeping to Pennylane's rate limit by what its headers say, and using all of it while there is work.

The limit is 25 requests in windows of 5 seconds per token (GUIDE: "Rate limit"), and other programs may share the
token, so the headers of the answers are the truth. What is left of a window is spread evenly over the time left in it:
so requests keep coming at the pace the server allows, a burst is never followed by a pause, and a few requests more by
another program slow us down instead of running into a refusal.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

WINDOW_SECONDS = 5.0
_RESERVE = 1  # one request of each window stays unspent until the server confirms that a new one has begun
_SOONEST = 0.005


class Stopped(Exception):
    """The sync that the waiting request belonged to has ended."""


@dataclass
class PacingStatistics:
    """Counted over the life of a pacer; seconds are those that requests waited for the limit, summed over threads."""

    requests: int = 0
    waited_seconds: float = 0.0
    refused: int = 0


class ServerClock:
    """The server's time, learned from `Date` headers, which are cut to whole seconds.

    Every answer narrows the interval in which (local time - server time) can lie; both ends come from real
    observations, so no wish about latency or rounding goes in.
    """

    def __init__(self, local: Callable[[], float]) -> None:
        self._local = local
        self._low = float("-inf")
        self._high = float("inf")

    def observe(self, date_header: str, sent: float, received: float) -> None:
        """Learn from one answer; `sent` and `received` are local times in seconds."""
        server = parsedate_to_datetime(date_header).timestamp()
        low, high = sent - server - 1, received - server
        if high < self._low or low > self._high:  # one of the clocks was set anew
            self._low, self._high = low, high
        else:
            self._low, self._high = max(low, self._low), min(high, self._high)

    @property
    def known(self) -> bool:
        return self._high != float("inf")

    def latest_local(self, server_time: float) -> float:
        """The latest local time at which the server's clock can show `server_time`."""
        return server_time + self._high

    def now(self) -> float:
        """The server's time, at the earliest."""
        return self._local() - self._high


@dataclass(frozen=True)
class Ticket:
    """One request that was let through: its place in the order of sending, and when (local time, seconds)."""

    number: int
    sent: float


class Pacer:
    """Lets requests through at the pace that the answers' headers allow; shared by all threads that use one token."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        wait: Callable[[threading.Condition, float], object] | None = None,
    ) -> None:
        self.statistics = PacingStatistics()
        self.server = ServerClock(clock)
        self._clock = clock
        self._changed = threading.Condition()
        self._wait = wait or (lambda condition, seconds: condition.wait(seconds))
        self._stopped = False
        self._limit: int | None = None
        self._remaining = 0
        self._reset = 0.0  # server time at which the window that `remaining` speaks of ends
        self._told_by = 0  # number of the newest request whose answer `remaining` rests on
        self._in_flight = 0
        self._next = 0.0
        self._blocked_until = 0.0

    def stop(self) -> None:
        """Wake and end everything that waits; no request is let through any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def acquire(self) -> Ticket:
        """Wait until one more request may go out. Raises Stopped once `stop` was called."""
        with self._changed:
            started = self._clock()
            while (pause := self._pause()) > 0:
                self._wait(self._changed, pause)
            sent = self._clock()
            self.statistics.waited_seconds += sent - started
            self.statistics.requests += 1
            self._in_flight += 1
            return Ticket(self.statistics.requests, sent)

    def release(self, ticket: Ticket, headers: Mapping[str, str] | None) -> None:
        """Take note of the answer to the ticket's request, when it has just come (headers None: there was none)."""
        with self._changed:
            self._in_flight -= 1
            if headers is not None:
                if "date" in headers:
                    self.server.observe(headers["date"], ticket.sent, self._clock())
                self._learn(ticket, headers)
            self._changed.notify_all()

    def refused(self, retry_after: float) -> None:
        """The server answered 429: nothing goes out for `retry_after` seconds."""
        with self._changed:
            self.statistics.refused += 1
            self._blocked_until = max(self._blocked_until, self._clock() + retry_after)

    def _learn(self, ticket: Ticket, headers: Mapping[str, str]) -> None:
        """What is left: what the newest answer says, less what went out after its request."""
        try:
            limit = int(headers["ratelimit-limit"])
            remaining = int(headers["ratelimit-remaining"])
            reset = float(headers["ratelimit-reset"])
        except (KeyError, ValueError):
            return
        if limit <= 0 or reset < self._reset or (reset == self._reset and ticket.number < self._told_by):
            return
        self._limit = limit
        self._reset = reset
        self._told_by = ticket.number
        self._remaining = remaining - (self.statistics.requests - ticket.number)

    def _pause(self) -> float:
        """Seconds to wait before asking again; 0 where a request may go out now (and is then counted)."""
        if self._stopped:
            raise Stopped
        now = self._clock()
        if now < self._blocked_until:
            return self._blocked_until - now
        if self._limit is None:
            return 0.02 if self._in_flight and not self.server.known else 0  # the first answer tells
        ends = self.server.latest_local(self._reset)
        if now >= ends:
            self._reset += (int((now - ends) // WINDOW_SECONDS) + 1) * WINDOW_SECONDS
            self._told_by = 0
            self._remaining = self._limit - self._in_flight
            ends = self.server.latest_local(self._reset)
        usable = self._remaining - _RESERVE
        if usable <= 0:
            return max(ends - now, _SOONEST)
        if now < self._next:
            return self._next - now
        self._remaining -= 1
        self._next = now + (ends - now) / (usable + 1)
        return 0
