"""How far a sync is, for whoever watches it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

MEANING = {
    "lists": "Accounts, invoices, credit notes",
    "changes": "Changes",
    "details": "Contacts, payments",
    "rotation": "Contacts, payments again",
    "history": "History of payments",
    "verification": "Rows compared",
    "move": "Rows moved",
}
"""The steps of a sync, in their order, of a verification and of a move, as people are told of them."""


@dataclass(frozen=True)
class Progress:
    """A step's name, what is done of it, and the total where it is known: rows of lists and changes, else requests.

    The total of a listing is an estimate; that of history, and of reading again, is this run's share. `ready` once all
    that is needed for follow-up is in.
    """

    step: str
    done: int
    total: int | None = None
    ready: bool = False


class Pace:
    """How fast the steps go, as far as their progress tells."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: dict[str, tuple[float, int]] = {}

    def told(self, progress: Progress) -> str:
        """A line such as `1,200 of 5,013, 4.9 a second, 13 min left`; to be asked from the step's beginning on."""
        now = self._clock()
        began, done_then = self._began.setdefault(progress.step, (now, progress.done))
        of = f" of {progress.total:,}" if progress.total else ""
        line = f"{progress.done:,}{of}"
        if now <= began or progress.done <= done_then:
            return line
        pace = (progress.done - done_then) / (now - began)
        left = f", {_duration((progress.total - progress.done) / pace)} left" if progress.total else ""
        return f"{line}, {pace:,.1f} a second{left}"


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"


Watch = Callable[[Progress], None]
Clock = Callable[[], datetime]
