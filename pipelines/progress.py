"""How far a sync is, for whoever watches it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Progress:
    """A step's name, what is done of it, and the total where it is known (rows while listing, requests for details)."""

    step: str
    done: int
    total: int | None = None


Watch = Callable[[Progress], None]
Clock = Callable[[], datetime]
