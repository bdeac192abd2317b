"""`sync`: the tables follow, one sync at a time, and an interruption costs nothing."""

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from sandbox.server import SandboxServer
from tests.program import Program, control


def change(sandbox: SandboxServer, kind: str, **arguments: object) -> int:
    changed: int = control(sandbox, "POST", f"changes/{kind}", **arguments)["id"]
    return changed


def slow_down(sandbox: SandboxServer) -> None:
    """Each invoice's payments take a second: a sync goes on until this is cleared."""
    control(sandbox, "POST", "faults", path="customer_invoices/", kind="latency", seconds=1, times=None)


def syncing(program: Program, sandbox: SandboxServer) -> "subprocess.Popen[str]":
    """A sync that is reading payments."""
    slow_down(sandbox)
    before = control(sandbox, "GET", "requests")["total"]
    process = program.start("sync", start_new_session=True)
    while control(sandbox, "GET", "requests")["total"] < before + 5:
        assert process.poll() is None
        time.sleep(0.1)
    return process


def test_a_sync_brings_what_changed_and_tells_the_counts(synced: Program, sandbox: SandboxServer) -> None:
    new = change(sandbox, "create_customer")
    control(sandbox, "POST", "clock", advance_seconds=60)
    tables = synced.done("sync", "--json").document["tables"]
    assert tables["accounts"]["mode"] == "incremental"
    assert (tables["accounts"]["rows_in"], tables["accounts"]["rows_added"]) == (1, 1)
    assert new in synced.accounts(sandbox.world.id)
    lines = [line.split() for line in synced.done("sync").out.splitlines()]
    assert lines[0] == ["table", "read", "new", "changed", "removed"]
    assert lines[1] == ["accounts", "0", "0", "0", "0"]
    assert lines[-1][1] == "requests."


def test_a_full_sync_removes_what_pennylane_no_longer_has(synced: Program, sandbox: SandboxServer) -> None:
    gone = list(sandbox.world.customers)[5].id
    change(sandbox, "delete_customer", id=gone)
    tables = synced.done("sync", "--full", "--json").document["tables"]
    assert tables["accounts"]["mode"] == "full"
    assert tables["accounts"]["rows_removed"] == 1
    assert gone not in synced.accounts(sandbox.world.id)


def test_a_second_sync_is_told_who_syncs_since_when_and_breaks_nothing(synced: Program, sandbox: SandboxServer) -> None:
    with syncing(synced, sandbox) as first:
        said = synced.fails("sync")
        (status,) = synced.status()
        control(sandbox, "DELETE", "faults")
        assert first.wait(timeout=120) == 0
    assert f"Company {sandbox.world.id} is being worked on: hourly_sync (run " in said
    assert f"by process {first.pid} on " in said
    assert " since 20" in said
    assert status["state"] == "syncing"
    assert synced.status()[0]["last_error"] is None


def ctrl_c(process: "subprocess.Popen[str]") -> None:
    """As a terminal does: every process of the command gets the signal."""
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.parametrize("how", [ctrl_c, subprocess.Popen.terminate])
def test_an_interrupted_sync_ends_at_once_with_one_line_and_lets_the_next_one_in(
    synced: Program, sandbox: SandboxServer, how: "Callable[[subprocess.Popen[str]], None]"
) -> None:
    new = change(sandbox, "create_invoice")
    with syncing(synced, sandbox) as process:
        how(process)
        began = time.monotonic()
        out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert (process.returncode, out) == (1, "")
    assert err == "Stopped. Nothing is lost: the next sync goes on from here.\n"
    control(sandbox, "DELETE", "faults")
    assert synced.status()[0]["state"] == "active"
    synced.done("sync")
    assert synced.rows("SELECT count(*) FROM invoices WHERE invoice_id = ?", new) == [(1,)]


def test_a_sync_that_was_killed_keeps_nobody_from_syncing(synced: Program, sandbox: SandboxServer) -> None:
    with syncing(synced, sandbox) as process:
        process.kill()
    control(sandbox, "DELETE", "faults")
    assert synced.status()[0]["state"] == "active"
    synced.done("sync")


def test_pennylane_out_of_reach_fails_with_one_line_that_status_repeats_until_a_sync_succeeds(
    synced: Program, sandbox: SandboxServer
) -> None:
    control(sandbox, "POST", "faults", path="/changelogs/", kind="status", status=400, times=None)
    said = synced.fails("sync")
    assert "refused /changelogs/" in said
    assert synced.status()[0]["last_error"] == said
    control(sandbox, "DELETE", "faults")
    synced.done("sync")
    assert synced.status()[0]["last_error"] is None
