"""A sandbox in a process of its own, and what it tells of the requests that it was asked."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

WINDOW = 5.0


@dataclass(frozen=True)
class Size:
    name: str
    customers: int
    invoices: int

    def __str__(self) -> str:
        return f"{self.name} ({self.customers:,} accounts, {self.invoices:,} invoices)"


@dataclass(frozen=True)
class Conditions:
    """`limit` requests in five seconds (0 for as many as one likes), each answered after `latency_ms`.

    What takes an hour as Pennylane is takes an hour divided by `faster` here.
    """

    limit: int
    latency_ms: int
    faster: int = 1

    def __str__(self) -> str:
        limit = f"{self.limit} requests in {WINDOW:.0f} s" if self.limit else "limit off"
        return f"{limit}, {self.latency_ms} ms latency"


REAL = Conditions(limit=25, latency_ms=200)
TENFOLD = Conditions(limit=250, latency_ms=15, faster=10)
"""Hours become minutes. The latency is a little less than a tenth, since what a script computes between two requests
takes as long as ever, which would be held against one that asks them in turn."""
UNLIMITED = Conditions(limit=0, latency_ms=25)


@dataclass(frozen=True)
class Asked:
    """Requests of one run; `share` is what was used of the limit, None where the run was too short to say."""

    requests: int
    refused: int
    share: float | None

    @classmethod
    def from_report(cls, report: Mapping[str, Any], limit: int) -> "Asked":
        return cls(
            requests=report["total"],
            refused=report["by_status"].get("429", 0),
            share=_share(report["by_window"], limit),
        )


def _share(windows: list[dict[str, Any]], limit: int) -> float | None:
    """Granted requests of those that the windows between a run's first and its last would have granted.

    The first and the last window are left out: the run did not have them for itself. One in which nothing was asked,
    since the contender was busy otherwise, counts as unused.
    """
    counted = {int(one["window"]): min(int(one["count"]), limit) for one in windows}
    if len(counted) < 3 or not limit:
        return None
    first, last = min(counted), max(counted)
    whole = int((last - first) / WINDOW) - 1
    return sum(count for window, count in counted.items() if first < window < last) / (whole * limit)


class StandIn:
    """What the benchmark asks of a running sandbox: by its control address, which it does not count."""

    def __init__(self, url: str, conditions: Conditions) -> None:
        self.url = url
        self.conditions = conditions

    def token(self, company: int | None = None) -> str:
        """An API token of a company, the first one unless it is told."""
        return str(self._call("POST", f"tokens?company={company}" if company else "tokens", {})["token"])

    def state(self) -> dict[str, Any]:
        return self._call("GET", "state")

    def asked(self) -> Asked:
        """What was asked since the last time."""
        asked = Asked.from_report(self._call("GET", "requests"), self.conditions.limit)
        self._call("DELETE", "requests")
        return asked

    def change(self, kind: str, **arguments: object) -> None:
        self._call("POST", f"changes/{kind}", arguments)

    def an_hour_later(self) -> None:
        """Its clock is moved on by an hour."""
        self._call("POST", "clock", {"advance_seconds": 3600})

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        response = requests.request(method, f"{self.url}/control/{path}", json=body, timeout=300)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer


@contextmanager
def stand_in(size: Size, conditions: Conditions, *, companies: int = 1) -> Iterator[StandIn]:
    """A sandbox whose first company is of this size, the others small."""
    command = [sys.executable, "-u", "-m", "sandbox", "--port", "0", "--control", "--companies", str(companies)]
    command += ["--customers", str(size.customers), "--invoices", str(size.invoices)]
    command += ["--rate-limit", str(conditions.limit), "--latency-ms", str(conditions.latency_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield StandIn(process.stdout.readline().split()[-1] if process.stdout else "", conditions)
        finally:
            process.terminate()
