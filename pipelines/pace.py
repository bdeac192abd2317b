"""What is known of a token's rate limit, and when the next request may go out.

The limit is 25 requests in windows of 5 seconds per token (GUIDE: "Rate limit"), and other programs may share the
token, so the headers of the answers are the truth:

- What is left of a window is the least that any of its answers told, less what is under way. Answers may overtake each
  other; counting everything under way is right or too careful, never too bold.
- A new window begins when an answer says so, or at the latest moment at which the old one can end by the server's
  clock, of which `Date` and the times of sending and receiving leave only an interval open.
- What is left is spread evenly up to the earliest moment at which the window can end, less a round trip, so that
  all of it arrives in time. What may be late goes out at the limit's own pace: others may have begun to use the next
  window.
- The last request of a window goes out when nothing else is under way and the answers tell that it is left: somebody
  may have begun to use the token meanwhile.
- Where the answers count more requests than ours, others use the token too. What they ask in a window is left to them,
  up to four fifths of it: what they may have asked since the last answer, and may until the window ends. Had they more
  to ask than was left, nobody would tell: so they are taken to have gone on as they did while we heard of them.
- Others that have been silent for a while are taken to ask once in as long at most until ours arrives, however much
  they asked before: who asks all at once has then had what it wants.
- Others in whose way more than one request of ours was refused in a window are left all that they asked in the window
  before until they begin, however soon the window ends: they ask it all at once, and late.
- Two that leave something to each other would both leave it unused: so one with nothing under way, which has just heard
  that more is left than the others may ask, takes one request of it. So does one that has heard nothing for a while, if
  enough is left for all that others may have asked meanwhile: had they ended, nobody else would tell.
- Who hears in its first window that others use the token waits for the next, as they have not heard of it; only where
  an answer takes longer than a request's part of the window does it go on, one at a time.
- Without these headers nothing is held back until a 429 comes; from then on the documented limit is kept to.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

WINDOW_SECONDS = 5.0
_DOCUMENTED_LIMIT = 25
REQUESTS_PER_SECOND = _DOCUMENTED_LIMIT / WINDOW_SECONDS
LONGEST_WINDOW = 60.0
"""Seconds; what is said to end later (milliseconds, a clock gone wrong) says nothing."""
_COUNTED_AFTER = 2 * WINDOW_SECONDS
"""Seconds after which a request without an answer was counted, if ever: its process was killed, or Pennylane hangs."""
_SOONEST = 0.005
_CATCHES_UP = 1.5
"""Times what the limit's pace alone needs under way: so that a window that began slowly can be caught up with."""
_JUST_NOW = 0.05
"""Seconds for which what an answer told is taken to be so still, where others use the token, too."""
_SILENT = 0.5
"""Seconds without an answer after which one more is asked where it is safe, to hear what others did not use."""
_UNHEARD = 1.2
"""What others may ask while we do not hear of it, times this, is left to them: with less of it, more is refused."""
_OURS = 1 / 5
"""The share of the limit that is not left to others, however much they ask: what has changed has to come in."""


@dataclass
class ServerClock:
    """The server's time, learned from `Date` headers, which are cut to whole seconds.

    Every answer narrows the interval in which (local time - server time) can lie, from `low` to `high`; both ends come
    from real observations, so no wish about latency or rounding goes in.
    """

    low: float = float("-inf")
    high: float = float("inf")

    def observe(self, date_header: str, sent: float, received: float) -> bool:
        """Learn from one answer; `sent` and `received` are local times. False if one of the clocks was set anew."""
        server = parsedate_to_datetime(date_header).timestamp()
        low, high = sent - server - 1, received - server
        if high < self.low or low > self.high:
            self.low, self.high = low, high
            return False
        self.low, self.high = max(low, self.low), min(high, self.high)
        return True

    @property
    def known(self) -> bool:
        return self.high != float("inf")

    def latest_local(self, server_time: float) -> float:
        """The latest local time at which the server's clock can show `server_time`."""
        return server_time + self.high

    def earliest_local(self, server_time: float) -> float:
        """The earliest local time at which the server's clock can show `server_time`."""
        return server_time + self.low

    def at(self, local_time: float) -> float:
        """The server's time at a local one, at the earliest."""
        return local_time - self.high


@dataclass
class Window:
    """A window of the limit: its end in server time, and what its answers told of it, and the first of them.

    `begun` is the local time at which we came to know of it. `answered` are those of ours that took one of it,
    `refused` those that did not, `untold` those whose answer told nothing, so that they may have. `others` is the least
    that others have asked; `others_likely`, what they have if requests arrive in the order in which they were sent, was
    last more than before at `others_grew`.
    """

    reset: float = 0.0
    begun: float = 0.0
    left: int | None = None
    answered: int = 0
    refused: int = 0
    untold: int = 0
    others: int = 0
    others_likely: int = 0
    others_grew: float = 0.0
    first_heard: float = 0.0
    first_others: int = 0


@dataclass
class Pace:
    """What the answers told of one token's limit, and which requests are under way. Times are local, in seconds."""

    server: ServerClock = field(default_factory=ServerClock)
    limit: int | None = None
    window: Window = field(default_factory=Window)
    windows: int = 0
    others_before: float = 0
    surprised: bool = False
    """Whether more than one request of ours was refused in a window since others began."""
    under_way: list[float] = field(default_factory=list)
    """When each request that has no answer yet was sent."""
    round_trip: float = 0.0
    """Lately, on average; 0 before the first answer."""
    next_at: float = float("-inf")
    heard: float = float("-inf")
    blocked_until: float = float("-inf")

    @property
    def wanted_in_flight(self) -> int:
        """How many requests have to be under way for the limit to be used, at the round trip measured lately."""
        return math.ceil(_CATCHES_UP * self._limit / WINDOW_SECONDS * self.round_trip)

    def ask(self, now: float) -> float:
        """Seconds to wait before asking again; 0 where a request may go out now, and is taken to be sent."""
        self.under_way = [sent for sent in self.under_way if now - sent < _COUNTED_AFTER]
        pause = self._pause(now)
        if pause <= 0:
            self.under_way.append(now)
        return pause

    def answer(
        self, sent: float, headers: Mapping[str, str] | None, now: float, refused_for: float | None = None
    ) -> None:
        """Take note of the answer to the request that was sent then, when it has just come (None: there was none).

        One that was answered 429 took none of the limit, and nothing goes out for `refused_for` seconds.
        """
        may_be_counted = sent in self.under_way and refused_for is None
        if sent in self.under_way:
            self.under_way.remove(sent)
        if refused_for is not None:
            self.blocked_until = max(self.blocked_until, now + refused_for)
        if headers is not None:
            took = now - sent
            self.round_trip = took if not self.round_trip else 0.8 * self.round_trip + 0.2 * took
        told = headers is not None and self._learn(headers, sent, now, granted=refused_for is None)
        if not told and may_be_counted:
            self.window.untold += 1
            if self.window.left:
                self.window.left -= 1

    @property
    def others(self) -> float:
        """What others ask in a window, as far as seen lately and as far as it is left to them."""
        return min(self._seen_of_others, (1 - _OURS) * self._limit)

    @property
    def _limit(self) -> int:
        return self.limit or _DOCUMENTED_LIMIT

    @property
    def _seen_of_others(self) -> float:
        return max(self.window.others, self.others_before)

    def _learn(self, headers: Mapping[str, str], sent: float, now: float, *, granted: bool) -> bool:
        """Take note of what an answer's headers tell. False if that is nothing that makes sense."""
        same_clock = self._same_clock(headers.get("date", ""), sent, now)
        told = self._learn_limit(headers, sent, now, granted=granted, same_clock=same_clock)
        if not told and not same_clock:
            self.window.reset = 0.0  # was told by another clock
        return told

    def _same_clock(self, date_header: str, sent: float, now: float) -> bool:
        try:
            return self.server.observe(date_header, sent, now)
        except (ValueError, OverflowError):
            return True

    def _learn_limit(
        self, headers: Mapping[str, str], sent: float, now: float, *, granted: bool, same_clock: bool
    ) -> bool:
        try:
            limit = int(headers["ratelimit-limit"])
            remaining = int(headers["ratelimit-remaining"])
            reset = float(headers["ratelimit-reset"])
        except (KeyError, ValueError):
            return False
        ends = self.server.earliest_local(reset) if self.server.known else now
        if limit <= 0 or not math.isfinite(reset) or ends > now + LONGEST_WINDOW:
            return False
        if reset < self.window.reset and same_clock:
            return True
        if reset != self.window.reset:
            self._begin(Window(reset, begun=now))
        window = self.window
        self.limit = limit
        first = window.left is None
        window.left = remaining if window.left is None else min(window.left, remaining)
        refused = not granted and remaining == 0
        window.answered += not refused
        window.refused += refused
        self.surprised |= window.refused > 1
        by_others = limit - remaining - window.answered - window.untold
        window.others = max(window.others, by_others - len(self.under_way))
        likely = by_others - sum(earlier < sent for earlier in self.under_way)
        if likely > window.others_likely:
            window.others_likely, window.others_grew = likely, now
        self.heard = now
        if first:
            window.first_heard, window.first_others = now, window.others
        return True

    def _begin(self, window: Window) -> None:
        if window.begun - self.heard >= 2 * WINDOW_SECONDS:
            self.others_before = 0.0
        elif self.window.left is not None:
            self.others_before = self._asked_by_others()
        self.surprised &= self.others_before > 0
        self.window = window
        self.windows += 1
        self.next_at = float("-inf")

    def _asked_by_others(self) -> float:
        """What others would have asked in the window that ends, had they gone on as they did while we heard of them."""
        window = self.window
        heard_for = self.heard - window.first_heard
        if heard_for < _SOONEST:
            return window.others
        a_second = min((window.others - window.first_others) / heard_for, self._rate_of_the_silent())
        return window.others + _UNHEARD * a_second * max(self._latest_end() - self.heard, 0.0)

    def _rate_of_the_silent(self) -> float:
        """Others' requests a second, had they asked once in as long as they were silent at the last answer."""
        return 1 / max(self.heard - max(self.window.others_grew, self.window.begun), _SOONEST)

    def _latest_end(self) -> float:
        window = self.window
        return self.server.latest_local(window.reset) if self.server.known else window.begun + WINDOW_SECONDS

    def _earliest_end(self) -> float:
        return self.server.earliest_local(self.window.reset) if self.server.known else self._latest_end()

    def _pause(self, now: float) -> float:
        if now < self.blocked_until:
            return self.blocked_until - now
        if self.limit is None:
            return self._pause_untold(now)
        self._pass_windows(now)
        window = self.window
        unused = (self._limit - window.untold if window.left is None else window.left) - len(self.under_way)
        usable = unused - min(self._left_to_others(now), self._limit - 1)
        if usable <= 0:
            if self._may_take_one_more(now):
                return 0
            silent_at, ends = self.heard + _SILENT, self._latest_end()
            return max((silent_at if now < silent_at < ends else ends) - now, _SOONEST)
        if now < self.next_at:
            return self.next_at - now
        soonest = self._earliest_end()
        evenly = (soonest - self.round_trip - now) / self._ours_until_it_ends(unused, now)
        late = now + self.round_trip / 2 > soonest
        self.next_at = now + max(evenly, WINDOW_SECONDS / self._limit if late else 0.0)
        return 0

    def _pass_windows(self, now: float) -> None:
        """Begin the window that now is in, if the one that was told of has ended."""
        ended = now - self._latest_end()
        if ended >= 0:
            passed = int(ended // WINDOW_SECONDS) + 1
            self._begin(Window(self.window.reset + passed * WINDOW_SECONDS, begun=now))

    def _pause_untold(self, now: float) -> float:
        """As `_pause`, while no answer has told of a limit."""
        if self.under_way and not self.round_trip:
            return WINDOW_SECONDS  # the first answer tells
        if now < self.next_at:
            return self.next_at - now
        was_refused = math.isfinite(self.blocked_until)
        self.next_at = now + (WINDOW_SECONDS / _DOCUMENTED_LIMIT if was_refused else 0.0)
        return 0

    def _left_to_others(self, now: float) -> int:
        """What other programs may have used that we have not heard of, and may use until the window ends.

        One where none was seen, as somebody may have begun; all in a first window, as they have not heard of us yet.
        """
        if self.others and self.windows == 1:
            return self._limit
        return max(self._others_until_one_arrives(now, self.others), math.floor(self._others_until_it_ends(now)))

    def _ours_until_it_ends(self, unused: int, now: float) -> int:
        return unused - min(max(math.floor(self._others_until_it_ends(now)), 1), self._limit - 1)

    def _others_until_one_arrives(self, now: float, others: float) -> int:
        """What others who ask so much in a window may have until a request of ours arrives, and one more."""
        return 1 + math.ceil(_UNHEARD * self._others_in(self._unheard(now) + self.round_trip, others))

    def _unheard(self, now: float) -> float:
        """Seconds since the last answer of this window."""
        return now - self.heard if self.window.left is not None else 0.0

    def _others_in(self, seconds: float, others: float) -> float:
        """What others who ask so much in a window may ask in so many seconds: as on average, or as seldom as lately."""
        return min(others / WINDOW_SECONDS, self._rate_of_the_silent()) * seconds

    def _others_until_it_ends(self, now: float) -> float:
        """What others may ask from the last answer on, if there was one, until the window ends.

        What they have asked in it already counts. Who was in our way may ask all of it when they like.
        """
        if self.surprised and not self.window.others:
            return self.others
        seconds = self._unheard(now) + self._latest_end() - now
        all_of_it = min(self._seen_of_others, self._limit)
        return min(self.others * seconds / WINDOW_SECONDS, all_of_it - self.window.others)

    def _may_take_one_more(self, now: float) -> bool:
        """Whether an answer has told that there is enough for one of ours, and just now where others are seen, too.

        Left to others is what they may ask until the window ends, and, as they may take one by this rule, too, one more
        than in a round trip. Where nothing was heard for long, they may have ended: left to them is what they may have
        asked meanwhile, by all that was seen of them, or as seldom as lately. In a first window nothing is asked where
        answers come faster than the window has requests: all would be gone before others heard of it.
        """
        if self.under_way or self.window.left is None:
            return False
        if not self.others:
            return self.window.left >= 1
        if now - self.heard >= _SILENT and self.windows > 1:
            return self.window.left > self._others_until_one_arrives(now, self._seen_of_others)
        if now - self.heard >= _JUST_NOW or (self.windows == 1 and self.round_trip < WINDOW_SECONDS / self._limit):
            return False
        in_a_round_trip = round(self._others_in(self.round_trip, self.others))
        return self.window.left > max(self._others_until_it_ends(now), 1 + in_a_round_trip)
