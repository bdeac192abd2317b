"""This project: lists, then contacts and payments, as the Dagster assets run them, in one process."""

import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.contenders import Job, compete
from pipelines.client import Pennylane
from pipelines.details import DetailsSync
from pipelines.due import pending
from pipelines.exclusions import publish, published
from pipelines.landing import Landing
from pipelines.lists import ListsSync
from pipelines.progress import Progress
from pipelines.warehouse import warehouse_at

COMPANY = 1
_ROTATION = 1500  # the default of PENNYLANE_SYNC_DETAIL_REQUESTS
_EXCLUDED_SINCE = datetime(2026, 1, 1, tzinfo=UTC)


class _Token:
    def __init__(self, token: str) -> None:
        self._token = token

    def access_token(self) -> str:
        return self._token

    def renewed(self, after: str) -> str:
        raise RuntimeError(f"the sandbox refused a token of {len(after)} characters")


class _Readiness:
    """Notes when everything that matters for follow-up is in the warehouse.

    Asked where details are watched, once after each landing and not at each request: it looks into the database.
    """

    def __init__(self, landing: Landing) -> None:
        self.at: float | None = None
        self._landing = landing
        self._land = landing.land
        self._landed = False
        landing.land = self._noting  # type: ignore[method-assign]

    def _noting(self, *args: object, **named: object) -> None:
        self._land(*args, **named)  # type: ignore[arg-type]
        self._landed = True

    def watch(self, progress: Progress) -> None:
        if self.at is not None or not self._landed or progress.step != "details":
            return
        self._landed = False
        seen = time.time()
        with self._landing.warehouse.session() as session:
            if pending(session, COMPANY, _now()).ready:
                self.at = seen


def synchronize(job: Job) -> float | None:
    database = Path(job.database)
    pennylane = Pennylane(job.url, _Token(job.token))
    warehouse = warehouse_at(f"duckdb:///{database}")
    with Landing.opened(warehouse, COMPANY, database.with_suffix(".dlt")) as landing:
        publish(landing, dict.fromkeys(job.excluded, _EXCLUDED_SINCE), _now)
        readiness = _Readiness(landing)
        ListsSync(pennylane, landing, published(landing), _now, readiness.watch).run()
        if not job.lists_only:
            DetailsSync(pennylane, landing, _now, readiness.watch).run(rotation_requests=_ROTATION)
    return readiness.at


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    compete(synchronize)
