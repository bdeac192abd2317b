"""What a machine's processes know together of a token's limit: kept whole, and forgotten when it is of no more use."""

import errno
import fcntl
import resource
import stat
import time
from email.utils import formatdate
from io import FileIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.pace_file import PaceFile
from pipelines.pacing import Pacer
from tests.program import forking

PROCESSES, TIMES = 4, 200


class Machine:
    """A machine's two clocks, and pacers of its processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.up = 1000.0
        self.wall = 1_700_000_000.0

    def pass_(self, seconds: float) -> None:
        self.up += seconds
        self.wall += seconds

    def kept(self) -> PaceFile:
        return PaceFile(self.path, lambda: self.up, lambda: self.wall)

    def pacer(self) -> Pacer:
        """As of a process that has just begun."""
        return Pacer(self.kept(), lambda: self.up, lambda _, seconds: self.pass_(seconds))

    def told(self, remaining: int, limit: int = 25) -> dict[str, str]:
        """What Pennylane's answer says now."""
        return {
            "date": formatdate(self.wall, usegmt=True),
            "ratelimit-limit": str(limit),
            "ratelimit-remaining": str(remaining),
            "ratelimit-reset": str(int(self.wall) // 5 * 5 + 5),
        }

    def waits(self) -> float:
        """The seconds that a process that has just begun waits before it asks."""
        before = self.up
        self.pacer().acquire()
        return self.up - before


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "pace" / "1.json")


def test_a_process_that_begins_knows_what_is_left(machine: Machine) -> None:
    first = machine.pacer()
    first.release(first.acquire(), machine.told(remaining=0, limit=1))
    assert 4 < machine.waits() <= 6


def test_what_other_processes_asked_is_not_taken_for_that_of_another_program(machine: Machine) -> None:
    for remaining in (24, 23, 22):
        one = machine.pacer()
        one.release(one.acquire(), machine.told(remaining))
    with machine.kept().held() as pace:
        assert pace.others == 0
    assert machine.waits() < 0.3


def test_a_refusal_holds_all_of_them_up(machine: Machine) -> None:
    first = machine.pacer()
    first.release(first.acquire(), None, refused_for=30)
    assert machine.waits() == pytest.approx(30, abs=0.1)


def test_what_a_killed_process_had_under_way_is_left_to_it_for_two_windows_and_no_longer(machine: Machine) -> None:
    first = machine.pacer()
    first.release(first.acquire(), machine.told(remaining=24))
    with machine.kept().held() as pace:
        pace.under_way = [machine.up] * 24
    assert 9 < machine.waits() < 10.1
    assert machine.waits() < 0.3


@pytest.mark.parametrize(
    ("passed", "by_the_wall"),
    [(61.0, 61.0), (-900.0, 20.0), (20.0, 3600.0), (20.0, -3600.0)],
    ids=["long ago", "before the machine was started", "by another machine", "by another machine, later"],
)
def test_what_is_of_no_more_use_is_forgotten(machine: Machine, passed: float, by_the_wall: float) -> None:
    before = machine.pacer()
    before.release(before.acquire(), None, refused_for=10_000)
    machine.up += passed
    machine.wall += by_the_wall
    assert machine.waits() == 0


def test_a_clock_that_is_corrected_by_a_little_changes_nothing(machine: Machine) -> None:
    before = machine.pacer()
    before.release(before.acquire(), None, refused_for=10_000)
    machine.pass_(20)
    machine.wall += 0.4
    assert machine.waits() > 9000


@given(cut=st.integers(min_value=0), other=st.binary(max_size=200))
def test_a_file_that_makes_no_sense_is_as_good_as_none(
    tmp_path_factory: pytest.TempPathFactory, cut: int, other: bytes
) -> None:
    machine = Machine(tmp_path_factory.mktemp("pace") / "1.json")
    before = machine.pacer()
    before.release(before.acquire(), None, refused_for=10_000)
    whole = machine.path.read_bytes()
    for text in (whole[: cut % len(whole)], other, whole.replace(b'"limit"', b'"allowed"')):
        machine.path.write_bytes(text)
        assert machine.waits() == 0
        machine.path.write_bytes(whole)
        with machine.kept().held() as pace:
            assert pace.blocked_until > 10_000


def test_where_it_cannot_be_written_each_process_keeps_a_pace_of_its_own(machine: Machine) -> None:
    machine.path.parent.write_text("a file where the folder belongs")
    one = machine.pacer()
    one.release(one.acquire(), None, refused_for=30)
    assert machine.waits() == 0
    before = machine.up
    one.acquire()
    assert machine.up - before == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize("room", [0, 5])
def test_so_does_it_where_the_file_has_no_room(machine: Machine, room: int) -> None:
    one = machine.pacer()
    ticket = one.acquire()
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, usual[1]))
    try:
        one.release(ticket, None, refused_for=30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert machine.path.stat().st_size <= 5
    before = machine.up
    one.acquire()
    assert machine.up - before == pytest.approx(30, abs=0.1)


def test_a_suspended_process_that_holds_it_holds_nobody_up_for_long(machine: Machine) -> None:
    one = machine.pacer()
    one.release(one.acquire(), None)
    with machine.path.open("rb") as suspended:
        fcntl.flock(suspended, fcntl.LOCK_EX)
        begun = time.monotonic()
        assert machine.waits() == 0
        assert 0.9 < time.monotonic() - begun < 30
        begun = time.monotonic()
        for _ in range(5):
            one.release(one.acquire(), machine.told(remaining=20))
        assert time.monotonic() - begun < 5  # it has waited once, of ten times


def test_a_file_that_cannot_be_read_is_as_good_as_none(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Torn(FileIO):
        def read(self, _: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("pipelines.pace_file.FileIO", Torn)
    one = machine.pacer()
    one.release(one.acquire(), machine.told(remaining=0, limit=1))
    before = machine.up
    one.acquire()
    assert 4 < machine.up - before <= 6
    monkeypatch.undo()
    with machine.kept().held() as pace:
        assert pace.limit == 1


def test_what_a_pacer_knows_itself_it_does_not_forget(machine: Machine) -> None:
    one = machine.pacer()
    one.release(one.acquire(), machine.told(remaining=24))
    machine.pass_(3600)
    told = one.server_time()
    assert told is not None
    assert machine.wall - 1 <= told <= machine.wall


def test_it_is_for_its_owner_alone(machine: Machine) -> None:
    pacer = machine.pacer()
    pacer.release(pacer.acquire(), machine.told(remaining=24))
    assert stat.S_IMODE(machine.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(machine.path.parent.stat().st_mode) == 0o700


def count(path: Path) -> None:
    """In a process of its own: holds the pace again and again."""
    kept = PaceFile(path)
    for _ in range(TIMES):
        with kept.held() as pace:
            pace.windows += 1


def test_of_what_several_processes_note_at_once_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "1.json"
    processes = [forking.Process(target=count, args=(path,)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    with PaceFile(path).held() as pace:
        assert pace.windows == PROCESSES * TIMES
