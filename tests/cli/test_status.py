"""`status`, and which of several companies a command is about."""

import pytest

from sandbox.server import SandboxServer
from tests.program import Program

KEYS = {
    "company_id", "company_name", "state", "last_sync_at", "ready", "pending_contacts", "pending_payments",
    "excluded_accounts", "last_error",
}  # fmt: skip


def test_status_says_that_nothing_is_connected_and_what_to_do(program: Program) -> None:
    assert program.done("status").out == "No company is connected yet: pennylane-sync connect\n"
    assert program.status() == []


@pytest.mark.parametrize(
    "command",
    [("sync",), ("activate",), ("accounts",), ("exclude", "1"), ("include", "1"), ("verify",), ("disconnect", "--yes")],
)
def test_commands_about_a_company_say_that_there_is_none(program: Program, command: tuple[str, ...]) -> None:
    assert program.fails(*command) == "No company is connected yet: pennylane-sync connect"


def test_status_has_the_keys_that_other_programs_rely_on_and_fits_a_terminal(
    synced: Program, sandbox: SandboxServer
) -> None:
    (document,) = synced.status()
    assert document.keys() >= KEYS
    assert document["company_id"] == sandbox.world.id
    assert (document["state"], document["ready"], document["excluded_accounts"]) == ("active", True, 2)
    lines = synced.done("status").out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].split()[0] == str(sandbox.world.id)


def test_with_several_companies_a_command_asks_for_one_and_touches_no_other(
    synced: Program, sandbox: SandboxServer
) -> None:
    first, second = sandbox.worlds
    synced.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token(second))
    said = synced.fails("exclude", "5")
    assert said == (
        f"Several companies could be meant. Choose one with --company: {first.id} ({first.name}),"
        f" {second.id} ({second.name})"
    )
    synced.done("exclude", "5", "--company", str(second.id))
    assert [one["excluded_accounts"] for one in synced.status()] == [2, 1]
    assert [one["state"] for one in synced.status()] == ["active", "connected"]
    assert f"Company 7 is not connected. Choose one with --company: {first.id}" in synced.fails(
        "sync", "--company", "7"
    )
