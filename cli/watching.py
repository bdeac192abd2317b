"""Showing on standard error how far a sync or a verification is."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from cli.output import stderr
from pipelines.progress import MEANING, Pace, Progress, Watch


@contextmanager
def watching(*, quiet: bool) -> Iterator[Watch]:
    """Shows progress on standard error: bars on a terminal, else a line now and then."""
    if quiet:
        yield lambda _: None
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
        )
        with Bar(*columns, console=stderr, transient=True) as bar:
            yield _Bars(bar)


class _Lines:
    """Silent where a sync takes no longer than a few seconds."""

    _EVERY_SECONDS = 60.0

    def __init__(self) -> None:
        self._pace = Pace()
        self._told = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        line = self._pace.told(progress)
        if time.monotonic() - self._told >= self._EVERY_SECONDS:
            self._told = time.monotonic()
            ready = " (all that is needed for follow-up is in)" if progress.ready else ""
            stderr.print(f"{MEANING[progress.step]}: {line}{ready}", soft_wrap=True)


class _Bars:
    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._pace = Pace()
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.step not in self._tasks:
            if progress.step == "history" and progress.ready:
                self._bar.console.print("Ready: all that is needed for follow-up is in. History goes on.")
            self._tasks[progress.step] = self._bar.add_task(MEANING[progress.step], total=progress.total, pace="")
        line = self._pace.told(progress).partition(", ")[2]
        self._bar.update(self._tasks[progress.step], completed=progress.done, total=progress.total, pace=line)
