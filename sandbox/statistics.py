"""What the sandbox was asked, for tests that prove what a client did and did not do."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

_NUMBER = re.compile(r"/\d+(?=/|$)")


def path_template(path: str) -> str:
    return _NUMBER.sub("/{id}", path)


class Statistics:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._paths: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._windows: Counter[tuple[int, str]] = Counter()
        self._served: Counter[int] = Counter()
        self._in_flight = 0
        self._max_in_flight = 0

    def begin(self, path: str, window: int, label: str) -> None:
        self._paths[path_template(path)] += 1
        self._windows[window, label] += 1
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)

    def end(self, status: int | None) -> None:
        """`status` is None for a connection that was cut before an answer."""
        self._in_flight -= 1
        if status is not None:
            self._statuses[status] += 1

    def serve(self, customer_ids: Iterable[int | None]) -> None:
        """Counts records handed out, by the customer they belong to."""
        self._served.update(id_ for id_ in customer_ids if id_ is not None)

    def report(self) -> dict[str, Any]:
        return {
            "total": sum(self._paths.values()),
            "by_path": dict(self._paths),
            "by_status": {str(status): count for status, count in sorted(self._statuses.items())},
            "by_window": [
                {"window": window, "token": label, "count": count}
                for (window, label), count in sorted(self._windows.items())
            ],
            "max_in_flight": self._max_in_flight,
            "served": {str(id_): count for id_, count in sorted(self._served.items())},
        }
