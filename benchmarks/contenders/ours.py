"""This project: lists, then contacts and payments, as the Dagster assets run them, in one process."""

import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.contenders import Job, compete
from pipelines.client import OneToken, Pennylane
from pipelines.details import DetailsSync, Share
from pipelines.exclusions import publish, published
from pipelines.landing import Landing
from pipelines.lists import ListsSync
from pipelines.progress import Progress
from pipelines.warehouse import warehouse_at

COMPANY = 1
_EVERYTHING = Share(requests=10**9, seconds=86_400.0)  # as the others do; an hourly run has a share of this
_EXCLUDED_SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def synchronize(job: Job) -> float | None:
    database = Path(job.database)
    pennylane = Pennylane(job.url, OneToken(job.token))
    warehouse = warehouse_at(f"duckdb:///{database}")
    with Landing.opened(warehouse, COMPANY, database.with_suffix(".dlt")) as landing:
        publish(landing, dict.fromkeys(job.excluded, _EXCLUDED_SINCE), _now)
        ListsSync(pennylane, landing, published(landing), _now, _unwatched).run()
        ready_at: list[float] = []
        if not job.lists_only:
            DetailsSync(pennylane, landing, _now, _unwatched).run(_EVERYTHING, lambda: ready_at.append(time.time()))
    return ready_at[0] if ready_at else None


def _unwatched(_: Progress) -> None:
    """Nobody looks."""


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    compete(synchronize)
