"""Progress in a run's log."""

import time

import dagster as dg

from pipelines.progress import MEANING, Pace, Progress, Watch


class RunLog:
    """Passes progress on to whoever watches the installation, and to the run's log now and then."""

    _EVERY_SECONDS = 30.0

    def __init__(self, log: dg.DagsterLogManager, watch: Watch) -> None:
        self._log = log
        self._watch = watch
        self._pace = Pace()
        self._told = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        self._watch(progress)
        line = self._pace.told(progress)
        if time.monotonic() - self._told >= self._EVERY_SECONDS:
            self._told = time.monotonic()
            self._log.info(f"{MEANING[progress.step]}: {line}")
