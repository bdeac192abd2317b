"""Keeping to Pennylane's rate limit by what its headers say, and using all of it while there is work.

The limit is 25 requests in windows of 5 seconds per token (GUIDE: "Rate limit"), and other programs may share the
token, so the headers of the answers are the truth:

- What is left of a window is the least that any of its answers told, less what is under way. Answers may overtake each
  other; counting everything under way is right or too careful, never too bold.
- A new window begins when an answer says so, or at the latest moment at which the old one can end by the server's
  clock, of which `Date` and the times of sending and receiving leave only an interval open.
- What is left is spread evenly up to the earliest moment at which the window can end, less a round trip, so that
  all of it arrives in time.
- The last request of a window goes out when nothing else is under way and the answers tell that it is left: somebody
  may have begun to use the token meanwhile.
- Where the answers count more requests than ours, others use the token too: left to them is what they may have used
  since the last answer, and may use until the next request arrives. Two processes that leave something to each other
  would both leave it unused: so one with nothing under way, which has just heard that more is left than the others may
  ask in a round trip, takes one request of it.
- Who hears in its first window that others use the token waits for the next, as they have not heard of it; only where
  an answer takes longer than a request's part of the window does it go on, one at a time.
- Without these headers nothing is held back until a 429 comes; from then on the documented limit is kept to.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

WINDOW_SECONDS = 5.0
_DOCUMENTED_LIMIT = 25
REQUESTS_PER_SECOND = _DOCUMENTED_LIMIT / WINDOW_SECONDS
_LONGEST_WINDOW = 60.0
"""Seconds; what is said to end later (milliseconds, a clock gone wrong) says nothing."""
_SOONEST = 0.005
_CATCHES_UP = 1.5
"""Times what the limit's pace alone needs under way: so that a window that began slowly can be caught up with."""
_JUST_NOW = 0.05
"""Seconds for which what an answer told is taken to be so still, where others use the token, too."""
_UNHEARD = 1.2
"""What others ask while we do not hear of it, times this, is left to them: with less of it, more is refused."""
_SLOW = 1 / 4
"""Who uses less than this share of the limit is taken for a program that looks at nothing: ours, if busy, uses half."""
_SLOW_MAY_ASK = 2
"""Times what it asked in a round trip before: with less, ours are refused now and then; with more, less is used."""


class Stopped(Exception):
    """The sync that the waiting request belonged to has ended."""


@dataclass
class PacingStatistics:
    """What a pacer counted; seconds are those that requests waited for the limit, summed over threads."""

    requests: int = 0
    waited_seconds: float = 0.0
    refused: int = 0

    def since(self, earlier: "PacingStatistics") -> "PacingStatistics":
        """What was counted after `earlier`."""
        return PacingStatistics(
            self.requests - earlier.requests,
            self.waited_seconds - earlier.waited_seconds,
            self.refused - earlier.refused,
        )


class ServerClock:
    """The server's time, learned from `Date` headers, which are cut to whole seconds.

    Every answer narrows the interval in which (local time - server time) can lie; both ends come from real
    observations, so no wish about latency or rounding goes in.
    """

    def __init__(self, local: Callable[[], float]) -> None:
        self._local = local
        self._low = float("-inf")
        self._high = float("inf")

    def observe(self, date_header: str, sent: float, received: float) -> bool:
        """Learn from one answer; `sent` and `received` are local times. False if one of the clocks was set anew."""
        server = parsedate_to_datetime(date_header).timestamp()
        low, high = sent - server - 1, received - server
        if high < self._low or low > self._high:
            self._low, self._high = low, high
            return False
        self._low, self._high = max(low, self._low), min(high, self._high)
        return True

    @property
    def known(self) -> bool:
        return self._high != float("inf")

    def latest_local(self, server_time: float) -> float:
        """The latest local time at which the server's clock can show `server_time`."""
        return server_time + self._high

    def earliest_local(self, server_time: float) -> float:
        """The earliest local time at which the server's clock can show `server_time`."""
        return server_time + self._low

    def now(self) -> float:
        """The server's time, at the earliest."""
        return self._local() - self._high


@dataclass(frozen=True)
class Ticket:
    """One request that was let through at `sent` (local time, seconds)."""

    sent: float


class Pacer:
    """Lets requests through at the pace that the answers' headers allow; shared by all threads that use one token."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Condition, float], object] | None = None,
    ) -> None:
        self.statistics = PacingStatistics()
        self.server = ServerClock(clock)
        self._clock = clock
        self._changed = threading.Condition()
        self._wait = wait or (lambda condition, seconds: condition.wait(seconds))
        self._stopped = False
        self._limit: int | None = None
        self._window = _Window()
        self._windows = 0
        self._others_before = 0
        self._in_flight = 0
        self._round_trip = 0.0
        self._next = float("-inf")
        self._spacing = 0.0
        self._answered = False
        self._heard = float("-inf")
        self._blocked_until = float("-inf")

    def stop(self) -> None:
        """Wake and end everything that waits; no request is let through any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def is_current(self) -> bool:
        """Whether what it knows of the limit is of use to who asks next: it was not stopped, and heard of it lately."""
        return not self._stopped and self._clock() - self._heard < _LONGEST_WINDOW

    @property
    def wanted_in_flight(self) -> int:
        """How many requests have to be under way for the limit to be used, at the round trip measured lately."""
        with self._changed:
            a_second = (self._limit or _DOCUMENTED_LIMIT) / WINDOW_SECONDS
            return math.ceil(_CATCHES_UP * a_second * self._round_trip)

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
            return Ticket(sent)

    def release(self, ticket: Ticket, headers: Mapping[str, str] | None) -> None:
        """Take note of the answer to the ticket's request, when it has just come (headers None: there was none)."""
        with self._changed:
            if headers is not None:
                now = self._clock()
                took = now - ticket.sent
                self._round_trip = took if not self._round_trip else 0.8 * self._round_trip + 0.2 * took
                self._learn(headers, ticket.sent, now)
                self._answered = True
            if self._window.left and "ratelimit-remaining" not in (headers or {}):
                self._window.left -= 1  # it may have been counted
            self._in_flight -= 1
            self._changed.notify_all()

    def refused(self, retry_after: float) -> None:
        """The server answered 429: nothing goes out for `retry_after` seconds."""
        with self._changed:
            self.statistics.refused += 1
            self._blocked_until = max(self._blocked_until, self._clock() + retry_after)
            self._spacing = WINDOW_SECONDS / _DOCUMENTED_LIMIT

    def _learn(self, headers: Mapping[str, str], sent: float, now: float) -> None:
        try:
            same_clock = "date" not in headers or self.server.observe(headers["date"], sent, now)
            limit = int(headers["ratelimit-limit"])
            remaining = int(headers["ratelimit-remaining"])
            reset = float(headers["ratelimit-reset"])
        except (KeyError, ValueError):
            return
        ends = self.server.earliest_local(reset) if self.server.known else now
        if not math.isfinite(reset) or ends > now + _LONGEST_WINDOW:
            return
        if limit <= 0 or (reset < self._window.reset and same_clock):
            return
        if reset != self._window.reset:
            self._begin(_Window(reset, begun=now))
        window = self._window
        self._limit = limit
        window.left = remaining if window.left is None else min(window.left, remaining)
        window.answered += 1
        window.others = max(window.others, limit - remaining - window.answered - self._in_flight + 1)
        self._heard = now

    def _begin(self, window: "_Window") -> None:
        self._others_before = self._window.others
        self._window = window
        self._windows += 1
        self._next = float("-inf")

    def _latest_end(self) -> float:
        window = self._window
        return self.server.latest_local(window.reset) if self.server.known else window.begun + WINDOW_SECONDS

    def _pause(self) -> float:
        """Seconds to wait before asking again; 0 where a request may go out now (and is then counted)."""
        if self._stopped:
            raise Stopped
        now = self._clock()
        if now < self._blocked_until:
            return self._blocked_until - now
        if self._limit is None:
            return self._pause_untold(now)
        ends = self._latest_end()
        if now >= ends:
            passed = int((now - ends) // WINDOW_SECONDS) + 1
            self._begin(_Window(self._window.reset + passed * WINDOW_SECONDS, begun=now))
            ends = self._latest_end()
        left = self._limit if self._window.left is None else self._window.left
        usable = left - self._in_flight - min(self._left_to_others(now), self._limit - 1)
        if usable <= 0:
            return 0 if self._may_take_one_more(now) else max(ends - now, _SOONEST)
        if now < self._next:
            return self._next - now
        soonest = self.server.earliest_local(self._window.reset) if self.server.known else ends
        self._next = now + max(soonest - self._round_trip - now, 0.0) / usable
        return 0

    def _pause_untold(self, now: float) -> float:
        """As `_pause`, while no answer has told of a limit."""
        if self._in_flight and not self._answered:
            return 0.02  # the first answer tells
        if now < self._next:
            return self._next - now
        self._next = now + self._spacing
        return 0

    def _left_to_others(self, now: float) -> int:
        """What other programs may have used and may use before one of ours arrives, and we have not heard of.

        One where none was seen, as somebody may have begun; all in a first window, as they have not heard of us yet.
        """
        if self._others() and self._limit and self._windows == 1:
            return self._limit
        unheard = self._round_trip + (now - self._heard if self._window.left is not None else 0.0)
        return 1 + math.ceil(_UNHEARD * self._others_in(unheard))

    def _others_in(self, seconds: float) -> float:
        return self._others() * seconds / WINDOW_SECONDS

    def _others(self) -> int:
        return max(self._window.others, self._others_before)

    def _may_take_one_more(self, now: float) -> bool:
        """Whether an answer has told that there is enough for one of ours, and just now where others are seen, too.

        Others are taken for processes of ours, as many as they use times what we do: left to them is what they asked in
        a round trip, rounded, and one for each, as each may take one more by this rule, too. A slow program is left
        what it may ask, rounded up. In a first window nothing is asked where answers come faster than the window has
        requests: all would be gone before others heard of it.
        """
        if self._in_flight or self._window.left is None or self._limit is None:
            return False
        others = self._others()
        if not others:
            return self._window.left >= 1
        if now - self._heard >= _JUST_NOW or (self._windows == 1 and self._round_trip < WINDOW_SECONDS / self._limit):
            return False
        expected = self._others_in(self._round_trip)
        if others < _SLOW * self._limit:
            return self._window.left > math.ceil(_SLOW_MAY_ASK * expected)
        how_many = max(1, round(others / max(self._limit - others, 1)))
        return self._window.left > how_many + round(expected)


@dataclass
class _Window:
    """A window of the limit: its end in server time, and what its answers told of it."""

    reset: float = 0.0
    begun: float = 0.0
    left: int | None = None
    answered: int = 0
    others: int = 0
