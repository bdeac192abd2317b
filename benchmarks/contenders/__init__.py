"""What is compared: each contender is a small program in a process of its own, which measures itself.

A contender reads a job from standard input, synchronizes the company into a DuckDB file, and prints what it measured.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.memory import peak_mb


@dataclass(frozen=True)
class Job:
    """What to synchronize, and where to.

    `began` (unix time) is when the process was started: imports count. `limit` is what Pennylane grants in five
    seconds, 0 where it grants all.
    """

    url: str
    token: str
    database: str
    began: float
    limit: int
    lists_only: bool
    excluded: list[int]


@dataclass(frozen=True)
class Measured:
    """`ready` is when everything needed to follow up unpaid invoices had landed, `complete` when everything had."""

    ready: float
    complete: float
    peak_mb: float


def compete(synchronize: Callable[[Job], float | None]) -> None:
    """Carry out the job on standard input; `synchronize` returns when it was ready, None if only at its end."""
    job = Job(**json.load(sys.stdin))
    ready = synchronize(job)
    ended = time.time()
    measured = Measured(
        ready=(ready or ended) - job.began,
        complete=ended - job.began,
        peak_mb=peak_mb(),
    )
    sys.stdout.write("\n" + json.dumps(asdict(measured)) + "\n")


def measured_from(output: str) -> Measured:
    """What a contender printed: its last line, whatever its libraries printed before."""
    figures: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return Measured(**figures)
