"""The sandbox's own time, which a test can move forward instead of waiting."""

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970, the form in which rows keep their times."""
    return (moment - _EPOCH) // _MICROSECOND


def to_datetime(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def rfc3339(microseconds: int) -> str:
    """A time as Pennylane writes it: `2023-08-30T10:08:08.146343Z`."""
    return to_datetime(microseconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Clock:
    """Starts at a chosen moment, runs with real time unless frozen, and can be advanced."""

    def __init__(self, start: datetime | None = None, *, frozen: bool = False) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError("the clock's start needs a time zone")
        self._start = to_microseconds(start or datetime.now(UTC))
        self._frozen = frozen
        self._began = time.monotonic_ns()
        self._advanced = 0

    def microseconds(self) -> int:
        elapsed = 0 if self._frozen else (time.monotonic_ns() - self._began) // 1000
        return self._start + self._advanced + elapsed

    def now(self) -> datetime:
        return to_datetime(self.microseconds())

    def today(self) -> date:
        """The day in Paris: French books change day at midnight there. Pennylane does not say which zone it uses."""
        return self.now().astimezone(PARIS).date()

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("the clock only goes forward")
        self._advanced += round(seconds * 1_000_000)
