import os
import socket
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from sqlalchemy import update

from resources.connections import Connections
from resources.leases import Lease, LeaseHeld, LeaseLost, Leases
from resources.store import Store, leases
from resources.vault import Vault
from tests.resources.fakes import FakeClock
from tests.resources.workers import enter, enter_and_die


def test_one_owner_at_a_time_and_the_other_learns_who_and_since_when(
    connections: Connections, clock: FakeClock
) -> None:
    with connections.lease(1, "run-1", "hourly sync"):
        clock.pass_(seconds=30)
        with pytest.raises(LeaseHeld) as caught, connections.lease(1, "run-2", "first sync"):
            pass
    holder = caught.value.holder
    assert (holder.owner, holder.purpose, holder.pid) == ("run-1", "hourly sync", os.getpid())
    assert "Company 1 is being worked on: hourly sync (run-1), since 2026-09-01 08:30:00 UTC" in str(caught.value)
    assert socket.gethostname() in str(caught.value)
    with connections.lease(1, "run-2", "first sync"):
        pass


def test_companies_do_not_wait_for_each_other(connections: Connections) -> None:
    with connections.lease(1, "run-1", "sync") as first, connections.lease(2, "run-2", "sync") as second:
        first.check()
        second.check()


def test_the_lease_ends_with_its_block_also_when_that_fails(connections: Connections) -> None:
    with pytest.raises(RuntimeError), connections.lease(1, "run-1", "sync"):
        raise RuntimeError
    with connections.lease(1, "run-2", "sync"):
        pass


def test_the_same_owner_may_enter_again_and_stays_in_until_the_last_entry_ends(connections: Connections) -> None:
    with ExitStack() as outer:
        outer.enter_context(connections.lease(1, "run-1", "sync"))
        with connections.lease(1, "run-1", "step"):
            outer.close()
            with pytest.raises(LeaseHeld), connections.lease(1, "run-2", "sync"):
                pass
    with connections.lease(1, "run-2", "sync"):
        pass


def test_a_lease_without_a_sign_of_life_for_a_minute_is_taken_over_and_its_holder_learns_it(
    connections: Connections, clock: FakeClock
) -> None:
    with connections.lease(1, "run-1", "sync") as first:
        clock.pass_(seconds=60)
        with pytest.raises(LeaseHeld), connections.lease(1, "run-2", "sync"):
            pass
        clock.pass_(seconds=1)
        with connections.lease(1, "run-2", "sync") as second:
            with pytest.raises(LeaseLost, match="company 1"):
                first.check()
            second.check()
        with pytest.raises(LeaseLost):
            first.check()


def test_leaving_a_lost_lease_does_not_end_that_of_the_new_holder(connections: Connections, clock: FakeClock) -> None:
    with ExitStack() as first:
        first.enter_context(connections.lease(1, "run-1", "sync"))
        clock.pass_(seconds=61)
        with connections.lease(1, "run-2", "sync") as second:
            first.close()
            second.check()


def test_a_check_is_a_sign_of_life(connections: Connections, clock: FakeClock) -> None:
    with connections.lease(1, "run-1", "sync") as lease:
        for _ in range(5):
            clock.pass_(seconds=50)
            lease.check()
            with pytest.raises(LeaseHeld), connections.lease(1, "run-2", "sync"):
                pass


def test_a_lease_is_renewed_by_itself_until_it_ends(
    connections: Connections, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = threading.Semaphore(0)
    check = Lease.check

    def check_and_tell(lease: Lease) -> None:
        check(lease)
        renewed.release()

    monkeypatch.setattr(Lease, "check", check_and_tell)
    monkeypatch.setattr("resources.leases.RENEWED_EVERY", timedelta(milliseconds=1))
    with connections.lease(1, "run-1", "sync"):
        for _ in range(3):
            clock.pass_(seconds=50)
            for _beat in range(2):  # the first may have begun before the clock was moved
                assert renewed.acquire(timeout=60)
            with pytest.raises(LeaseHeld), connections.lease(1, "run-2", "sync"):
                pass
    with connections.lease(1, "run-2", "sync"):
        pass


def test_a_killed_process_leaves_nothing_to_wait_for(connections: Connections, store_url: str, tmp_path: Path) -> None:
    process = get_context("spawn").Process(target=enter_and_die, args=(store_url, tmp_path / "home"))
    process.start()
    process.join()
    with connections.lease(1, "run-2", "sync"):
        pass


def test_another_process_is_kept_out_too_unless_it_belongs_to_the_same_owner(store_url: str, tmp_path: Path) -> None:
    connections = Connections(store_url, Vault(tmp_path / "home"))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        with connections.lease(1, "run-1", "sync") as lease:
            others = [processes.submit(enter, store_url, tmp_path / "home", owner) for owner in ("run-1", "run-2")]
            assert [other.result() for other in others] == [True, False]
            lease.check()
        assert processes.submit(enter, store_url, tmp_path / "home", "run-2").result()


def test_a_process_elsewhere_is_trusted_to_live_until_its_minute_is_over(
    connections: Connections, clock: FakeClock, store_url: str
) -> None:
    with connections.lease(1, "run-1", "sync"):
        with Store(store_url).writing() as transaction:
            transaction.execute(update(leases).values(host="elsewhere pid:[1]", pid=2**30))
        with pytest.raises(LeaseHeld, match="on elsewhere"), connections.lease(1, "run-2", "sync"):
            pass
        clock.pass_(seconds=61)
        with connections.lease(1, "run-2", "sync"):
            pass


@dataclass
class Entry:
    owner: str
    renewed_at: datetime
    context: ExitStack
    lease: Lease
    lost: bool = False


class LeaseLife(RuleBasedStateMachine):
    """Owners enter, check and leave, and time passes, in any order: compared with the rules written out plainly."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.leases = Leases(Store(f"sqlite:///{self.folder.name}/store.sqlite"), self.clock)
        self.inside: list[Entry] = []

    def teardown(self) -> None:
        for entry in self.inside:
            entry.context.close()
        self.folder.cleanup()

    def is_live(self, entry: Entry) -> bool:
        return not entry.lost and self.clock.now - entry.renewed_at <= timedelta(seconds=60)

    @rule(owner=st.sampled_from(["run-1", "run-2", "run-3"]))
    def enter(self, owner: str) -> None:
        held = any(self.is_live(entry) and entry.owner != owner for entry in self.inside)
        context = ExitStack()
        try:
            lease = context.enter_context(self.leases.hold(1, owner, "test"))
        except LeaseHeld:
            assert held
            return
        assert not held
        for entry in self.inside:
            entry.lost = not self.is_live(entry)
        self.inside.append(Entry(owner, self.clock.now, context, lease))

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def check(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.inside))
        try:
            entry.lease.check()
        except LeaseLost:
            assert entry.lost
        else:
            assert not entry.lost
            assert len({other.owner for other in self.inside if self.is_live(other)} | {entry.owner}) == 1
            entry.renewed_at = self.clock.now

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.inside))
        self.inside.remove(entry)
        entry.context.close()

    @rule(seconds=st.integers(1, 70))
    def time_passes(self, seconds: int) -> None:
        self.clock.pass_(seconds=seconds)


TestLeaseLife = LeaseLife.TestCase
TestLeaseLife.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
