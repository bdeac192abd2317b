"""Time as something that is passed in."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Tells the present time, with a zone."""


def utc_now() -> datetime:
    """The present time in UTC."""
    return datetime.now(UTC)
