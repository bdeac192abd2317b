"""A pace that all processes of a machine keep together, in a file: as one they are never refused, and waste nothing."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from pipelines.pace import LONGEST_WINDOW, Pace

_LOOKED_AT_EVERY = 0.05
_CLOCKS_APART = 1.0
"""Seconds that this machine's two clocks may drift apart within a minute; if by more, the file is another machine's."""


@with_config(ConfigDict(extra="forbid", ser_json_inf_nan="constants"))
@dataclass
class _Noted:
    """The pace, and when it was written by a clock that begins anew with the machine, and by one that does not."""

    pace: Pace = field(default_factory=Pace)
    at: float = 0.0
    wall: float = 0.0


_NOTED = TypeAdapter(_Noted)


class PaceFile:
    """A pace in a file, for whoever holds its lock. What is older than a minute, or makes no sense, is forgotten.

    It holds numbers and times alone, nothing of what was asked, or by whom. Where it cannot be had (another user's, no
    room on the disk), each process goes by a pace of its own, as with other programs.
    """

    looked_at_every = _LOOKED_AT_EVERY

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._clock = clock
        self._wall = wall
        self._last = Pace()

    @contextmanager
    def held(self) -> Iterator[Pace]:
        """The pace, for whoever holds it alone; what is changed meanwhile is kept, unless it ends in an error."""
        try:
            file = self._locked()
        except OSError:
            yield self._last
            return
        with file:
            pace = self._last = self._read(file.read())
            yield pace
            written = _NOTED.dump_json(_Noted(pace, self._clock(), self._wall()))
            with suppress(OSError):
                file.seek(0)
                file.write(written)
                file.truncate()

    def _locked(self) -> FileIO:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = FileIO(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def _read(self, text: bytes) -> Pace:
        try:
            noted = _NOTED.validate_json(text)
        except ValidationError:
            return self._last  # of another version, cut by a kill or by a full disk, or new
        passed, by_the_wall = self._clock() - noted.at, self._wall() - noted.wall
        lately = 0 <= passed < LONGEST_WINDOW and abs(passed - by_the_wall) < _CLOCKS_APART
        return noted.pace if lately else Pace()
