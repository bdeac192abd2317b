"""A pace that all processes of a machine keep together, in a file: none takes what another asked for a stranger's."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from pipelines.pace import LONGEST_WINDOW, Pace

_LOOKED_AT_EVERY = 0.05
_HELD_FOR = 1.0
"""Seconds after which whoever holds the lock does not go on; it takes less than a thousandth of that."""
_CLOCKS_APART = 1.0
"""Seconds that this machine's two clocks may drift apart within a minute; if by more, the file is another machine's."""


@with_config(ConfigDict(extra="forbid", ser_json_inf_nan="constants"))
@dataclass
class _Noted:
    """The pace, and when it was written by a clock that begins anew with the machine, and by one that does not."""

    pace: Pace
    at: float
    wall: float


_NOTED = TypeAdapter(_Noted)


class PaceFile:
    """A pace in a file, for whoever holds its lock. What is older than a minute, or makes no sense, counts for nothing.

    It holds numbers and times alone, nothing of what was asked, or by whom. Where it cannot be had (another user's, no
    room on the disk, its lock held by a suspended process), each pacer goes by what it knows itself.
    """

    looked_at_every = _LOOKED_AT_EVERY

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._clock = clock
        self._wall = wall
        self._last = Pace()
        self._patience = _HELD_FOR

    @contextmanager
    def held(self) -> Iterator[Pace]:
        """The pace, for whoever holds it alone; what is changed meanwhile is kept, unless it ends in an error."""
        try:
            file = self._locked()
        except OSError:
            yield self._last
            return
        with file:
            try:
                pace = self._last = self._read(file)
                yield pace
                self._write(file, _NOTED.dump_json(_Noted(pace, self._clock(), self._wall())))
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # a process forked meanwhile has the file open, too

    def _locked(self) -> FileIO:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = FileIO(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        try:
            self._lock(file)
        except OSError:
            file.close()
            raise
        return file

    def _lock(self, file: FileIO) -> None:
        until = time.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    self._patience = 0.0  # until it can be had again
                    raise
                time.sleep(0.001)
            else:
                self._patience = _HELD_FOR
                return

    def _write(self, file: FileIO, text: bytes) -> None:
        try:
            file.seek(0)
            file.write(text)
            file.truncate()
        except OSError:
            with suppress(OSError):
                file.truncate(0)  # without room the text before would be taken for what is so now

    def _read(self, file: FileIO) -> Pace:
        try:
            noted = _NOTED.validate_json(file.read())
        except (OSError, ValidationError):
            return self._last  # of another version, cut by a kill or by a full disk, or new
        passed, by_the_wall = self._clock() - noted.at, self._wall() - noted.wall
        lately = 0 <= passed < LONGEST_WINDOW and abs(passed - by_the_wall) < _CLOCKS_APART
        return noted.pace if lately else self._last
