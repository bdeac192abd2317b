"""On a terminal a sync shows how far it is: the total, the pace and the time left, and when the company is ready."""

import os
import pty
import re
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.clock import Clock
from sandbox.core import Settings
from sandbox.generator.books import make_worlds
from sandbox.server import SandboxServer
from tests.program import NOW, Program

LIMIT = 60
"""Requests in 5 seconds: more than Pennylane's, but slow enough for each bar to be drawn often on a busy machine."""


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[Program]:
    (world,) = make_worlds(Clock(NOW), customers=20, invoices=100, companies=1)
    with SandboxServer(world, settings=Settings(rate_limit=LIMIT)) as sandbox:
        program = Program(tmp_path / "home", sandbox.url)
        program.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token())
        yield program


def on_a_terminal(program: Program, *arguments: str) -> list[str]:
    """What is drawn on a terminal of 120 columns, line by line, without colours and movements of the cursor."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (40, 120))
    program = program.with_settings(TERM="xterm", COLUMNS="120")
    with program.start(*arguments, stdout=subprocess.DEVNULL, stderr=its) as process:
        os.close(its)
        drawn = b"".join(iter(lambda: _read(ours), b""))
        assert process.wait(60) == 0
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def _read(terminal: int) -> bytes:
    """What came; nothing once the program has closed its end, which Linux tells by an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def bars(lines: list[str], what: str) -> list[tuple[int, int, float, int]]:
    """What the bars of a step said: done, total, a second, seconds left."""
    found = re.compile(rf"{what} +\S+(?: \S+)? +(\d+)/(\d+) +([\d.]+) a second, (\d+) s left")
    said = [match.groups() for line in lines if (match := found.fullmatch(line))]
    return [(int(done), int(total), float(pace), int(left)) for done, total, pace, left in said]


def test_a_first_sync_shows_the_total_the_pace_and_the_time_left_and_says_when_it_is_ready(connected: Program) -> None:
    lines = on_a_terminal(connected, "activate")
    for what in ("Contacts, payments", "History of payments"):
        shown = bars(lines, what)
        assert len({done for done, *_ in shown}) >= 10, lines
        assert [done for done, *_ in shown] == sorted(done for done, *_ in shown)
        assert len({total for _, total, *_ in shown}) == 1
        under_way = [one for one in shown if 0 < one[0] < one[1]]
        assert under_way, lines
        done, total, pace, left = under_way[-1]
        assert abs(left - (total - done) / pace) <= 2
    ready = lines.index("Ready: all that is needed for follow-up is in. History goes on.")
    assert bars(lines[:ready], "Contacts, payments")
    assert not bars(lines[:ready], "History of payments")
