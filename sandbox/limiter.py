"""The rate limit: so many requests per token in each window of five seconds."""

from dataclasses import dataclass

from sandbox.clock import Clock

WINDOW_SECONDS = 5
DEFAULT_LIMIT = 25
_WINDOW = WINDOW_SECONDS * 1_000_000


@dataclass(frozen=True)
class Allowance:
    """What the headers of one answer say."""

    limit: int
    remaining: int
    reset: int
    granted: bool
    retry_after: int

    def headers(self) -> dict[str, str]:
        headers = {
            "ratelimit-limit": str(self.limit),
            "ratelimit-remaining": str(self.remaining),
            "ratelimit-reset": str(self.reset),
        }
        return headers if self.granted else headers | {"retry-after": str(self.retry_after)}


class Limiter:
    """Fixed windows, aligned to the epoch. Pennylane tells the window's length, not how it is aligned."""

    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._window = 0
        self._counts: dict[str, int] = {}

    def take(self, label: str) -> Allowance | None:
        """Counts a request; None if there is no limit."""
        if self._limit == 0:
            return None
        now = self._clock.microseconds()
        window = now // _WINDOW
        if window != self._window:
            self._window = window
            self._counts.clear()
        count = self._counts.get(label, 0) + 1
        self._counts[label] = count
        end = (window + 1) * _WINDOW
        return Allowance(
            limit=self._limit,
            remaining=max(0, self._limit - count),
            reset=end // 1_000_000,
            granted=count <= self._limit,
            retry_after=max(1, -((now - end) // 1_000_000)),
        )
