"""`status`, and which of several companies a command is about."""

import pytest

from sandbox.changes.invoices import update_invoice
from sandbox.server import SandboxServer
from tests.program import Program

KEYS = {
    "company_id", "company_name", "state", "last_sync_at", "ready", "pending_contacts", "pending_payments",
    "set_aside", "excluded_accounts", "last_error",
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
    connected = synced.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token(second))
    assert connected.out.endswith(f"Next: pennylane-sync activate --company {second.id}\n")
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


def test_what_cannot_be_read_is_shown_with_its_reason_and_goes_once_it_can_be(
    synced: Program, sandbox: SandboxServer, left_out: list[int]
) -> None:
    world = sandbox.world
    broken = next(one for one in world.invoices if one.settles and one.customer_id not in left_out)
    broken.extra = {"amount": "31 francs"}
    update_invoice(world, id=broken.id)
    assert "1 record set aside that cannot be read: pennylane-sync status tells which." in synced.done("sync").out
    (document,) = synced.status()
    reason = "amount is no decimal(38, 6)"
    assert document["set_aside"] == [{"table": "invoices", "id": broken.id, "parent_id": None, "reason": reason}]
    assert document["last_error"] is None
    told = synced.done("status").out
    assert told.endswith(
        f"{world.id}: 1 record set aside, tried again with each sync:\n  invoices {broken.id}: {reason}\n"
    )
    assert "francs" not in told
    broken.extra = None
    synced.done("sync")
    assert synced.status()[0]["set_aside"] == []
