"""Whether lists that cannot be read have trouble of their own, or all of their kind have: then the sync has failed."""

from collections import Counter
from datetime import datetime

from pipelines.short_lists import Details, Failure

_IN_A_ROW = 10
"""So many lists of one kind that cannot be read, one after the other, are no coincidence."""


class Failures:
    """What one run has met so far."""

    def __init__(self) -> None:
        self._in_a_row: Counter[str] = Counter()
        self._readable: dict[str, datetime] = {}
        self._last: dict[str, Failure] = {}

    def note(self, details: Details, *, known: bool) -> Failure | None:
        """The failure that is one too many in a row, if this is it; those `known` from earlier runs do not count.

        Nor do those that were asked for before another of their kind that could be read: they are slower to fail.
        """
        failure = details.failure
        if failure is None:
            for one in details.lists:
                self._in_a_row[one] = 0
                self._readable[one] = max(details.read_at, self._readable.get(one, details.read_at))
            return None
        if known:
            return None
        self._last[failure.list] = failure
        if details.read_at >= self._readable.get(failure.list, details.read_at):
            self._in_a_row[failure.list] += 1
        return failure if self._in_a_row[failure.list] >= _IN_A_ROW else None

    def conclude(self) -> None:
        """Raises a failure where no list of its kind could be read."""
        for one, failure in self._last.items():
            if one not in self._readable:
                raise failure.error
