"""`accounts`, `exclude`, `include`."""

from decimal import Decimal

import pytest

from sandbox.server import SandboxServer
from tests.program import Program, control


def test_accounts_tells_of_each_what_it_owes_and_whether_it_is_synchronized(
    synced: Program, sandbox: SandboxServer, left_out: list[int]
) -> None:
    documents = {one["account_id"]: one for one in synced.done("accounts", "--json").document}
    assert documents.keys() == {customer.id for customer in sandbox.world.customers}
    assert {one["account_id"] for one in documents.values() if one["state"] == "excluded"} == set(left_out)
    owed = synced.rows("SELECT account_id, outstanding, late_invoices FROM account_balances")
    assert len(owed) == len(documents) - len(left_out)
    for account_id, outstanding, late in owed:
        assert Decimal(documents[account_id]["outstanding"]) == outstanding
        assert documents[account_id]["late_invoices"] == late
    assert all(documents[one]["account_name"] is None and documents[one]["excluded_at"] for one in left_out)
    lines = synced.done("accounts").out.splitlines()
    assert lines[0].split() == ["account", "name", "outstanding", "open", "late", "state"]
    assert len(lines) == 1 + len(documents)


def test_accounts_are_found_by_any_part_of_their_name_taken_literally(synced: Program, sandbox: SandboxServer) -> None:
    named = control(sandbox, "POST", "changes/create_customer", name="Crêperie 100% Bretonne")["id"]
    synced.done("sync")
    for text in ("crêperie 100% b", "CRÊPERIE"):
        assert [one["account_id"] for one in synced.done("accounts", "--search", text, "--json").document] == [named]
    assert synced.done("accounts", "--search", "c%e", "--json").document == []


def test_an_account_excluded_later_stays_as_it_is_and_one_included_again_is_caught_up(
    synced: Program, sandbox: SandboxServer, left_out: list[int]
) -> None:
    later = next(one for one in sandbox.world.customers if one.id not in left_out).id
    before = synced.rows("SELECT * FROM accounts WHERE account_id = ?", later)
    address = f"https://app.pennylane.com/companies/1/customers?id={later}"
    assert synced.done("exclude", address, "--json").document == {
        "company_id": sandbox.world.id,
        "excluded": [later],
        "unknown": [],
    }
    assert synced.done("include", f"{left_out[0]},{later + 1}", "--json").document["included"] == [left_out[0]]
    control(sandbox, "POST", "changes/update_customer", id=later, phone="+33600000000")
    synced.done("sync")
    assert synced.rows("SELECT * FROM accounts WHERE account_id = ?", later) == before
    assert left_out[0] in synced.accounts(sandbox.world.id)
    assert synced.status()[0]["excluded_accounts"] == 2


def test_an_id_that_is_not_among_the_accounts_is_left_out_all_the_same_with_a_warning(synced: Program) -> None:
    ran = synced.run("exclude", "12345")
    assert ran.status == 0
    assert ran.out.startswith("Left out from the next sync on: 1 account of company")
    assert ran.err.startswith("Not among the accounts synchronized so far: 12345.")
    assert 12345 in {one["account_id"] for one in synced.done("accounts", "--json").document}


def test_an_id_of_another_company_is_said_to_be_one(synced: Program, sandbox: SandboxServer) -> None:
    first, second = sandbox.worlds
    synced.done("connect", "--token-stdin", stdin=sandbox.token(second))
    theirs = next(one for one in second.customers).id
    ran = synced.run("exclude", str(theirs), "--company", str(first.id))
    assert ran.status == 0
    assert f"{theirs} (of company {second.id})" in ran.err
    synced.done("sync", "--company", str(second.id))
    assert theirs in synced.accounts(second.id)


def test_who_excluded_an_account_is_shown_and_including_one_that_is_not_excluded_is_said(synced: Program) -> None:
    synced.environment["LOGNAME"] = "odile"
    synced.run("exclude", "12345")
    (excluded,) = [one for one in synced.done("accounts", "--json").document if one["account_id"] == 12345]
    assert excluded["excluded_by"] == "odile"
    assert " by odile" in next(line for line in synced.done("accounts").out.splitlines() if line.startswith("12345"))
    ran = synced.run("include", "12345,77")
    assert ran.out.startswith("Synchronized again from the next sync on: 1 account of company")
    assert ran.err.strip() == "Not excluded before: 77."


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_output_may_be_cut_short_by_who_reads_it(synced: Program, options: tuple[str, ...]) -> None:
    with synced.start("accounts", *options) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        assert process.communicate(timeout=60)[1] == ""


def test_malformed_ids_are_bad_usage_and_change_nothing(synced: Program) -> None:
    for command in ("exclude", "include"):
        assert "Not a Pennylane account id: 'x'" in synced.fails(command, "5,x", status=2)
    assert synced.status()[0]["excluded_accounts"] == 2
