"""`verify`: whether the tables equal Pennylane, which rows do not, and what to do about it."""

from pathlib import Path
from typing import Any

import psycopg2

from sandbox.server import SandboxServer
from tests.program import Program, content, control, one_line

COUNTS = {"agree", "missing", "differing", "left_over"}
TABLES = ("accounts", "invoices", "credit_notes")


def sql(program: Program, statement: str) -> None:
    """What somebody with a SQL tool does to the tables."""
    with program.sql_tool() as tool:
        tool.execute(statement)


def tables(program: Program, status: int, *options: str) -> dict[str, dict[str, Any]]:
    """What `verify --json` says, table by table."""
    ran = program.run("verify", "--json", *options)
    assert (ran.status, ran.err) == (status, ""), ran
    found: dict[str, dict[str, Any]] = ran.document["tables"]
    return found


def wrong(found: dict[str, dict[str, Any]]) -> dict[str, int]:
    """The counts of all that does not agree, where there is any."""
    return {
        f"{table} {count}": counts[count]
        for table, counts in found.items()
        for count in COUNTS - {"agree"}
        if counts[count]
    }


def test_after_a_sync_everything_agrees_with_status_0_and_the_home_is_as_before(
    synced: Program, sandbox: SandboxServer
) -> None:
    synced.status()  # opens everything once
    before = content(synced.home)
    control(sandbox, "DELETE", "requests")

    ran = synced.done("verify")

    lines = ran.out.splitlines()
    assert lines[0].split() == ["table", "agree", "missing", "differing", "left", "over", "changed", "since"]
    for line, table in zip(lines[1:], TABLES, strict=False):
        ((rows,),) = synced.rows(f"SELECT count(*) FROM {table}")
        assert line.split() == [table, str(rows), "0", "0", "0", "0"]
    assert lines[4] == "Contacts and payments are in no list, and were not compared."
    assert lines[5] == "5 requests. The tables equal Pennylane, as of the last sync."
    assert all(len(line) <= 80 for line in lines)
    assert control(sandbox, "GET", "requests")["total"] == 5
    after = content(synced.home)
    lease_and_pace = {"connections.sqlite", f"pace/{sandbox.world.id}.json"}
    assert {name for name in before | after if before.get(name) != after.get(name)} <= lease_and_pace


def test_the_document_has_the_counts_that_other_programs_rely_on(synced: Program, sandbox: SandboxServer) -> None:
    document = synced.done("verify", "--json").document
    assert document["company_id"] == sandbox.world.id
    assert document["equal"] is True
    assert list(document["tables"]) == list(TABLES)
    for table, counts in document["tables"].items():
        assert counts.keys() >= COUNTS
        assert counts["agree"] == synced.rows(f"SELECT count(*) FROM {table}")[0][0]
        assert "rows" not in counts
    assert document["not_compared"] == ["contacts", "payments"]


def test_damage_is_found_with_status_1_shown_in_detail_when_asked_for_and_healed_by_a_full_sync(
    synced: Program, sandbox: SandboxServer
) -> None:
    deleted, changed = (one for (one,) in synced.rows("SELECT invoice_id FROM invoices ORDER BY 1 LIMIT 2"))
    ((account, name),) = synced.rows("SELECT account_id, name FROM accounts ORDER BY 1 LIMIT 1")
    ((amount,),) = synced.rows("SELECT amount FROM invoices WHERE invoice_id = ?", changed)
    sql(synced, f"DELETE FROM invoices WHERE invoice_id = {deleted}")
    sql(synced, f"UPDATE invoices SET amount = amount + 0.000001 WHERE invoice_id = {changed}")
    sql(synced, f"UPDATE accounts SET name = 'Nobody & Cie' WHERE account_id = {account}")
    sql(synced, "INSERT INTO credit_notes (company_id, credit_note_id) SELECT company_id, 1 FROM companies")

    ran = synced.run("verify")
    assert ran.status == 1
    assert ran.err == ""
    assert ran.out.splitlines()[-1] == (
        "6 requests. 4 rows to heal: pennylane-sync sync --full. Which ones: verify --details."
    )
    assert str(deleted) not in ran.out
    assert name not in ran.out

    detailed = synced.run("verify", "--details")
    assert detailed.status == 1
    lines = [line.split() for line in detailed.out.splitlines()]
    assert ["accounts", str(account), "differing", "name", "Nobody", "&", "Cie", *name.split()] in lines
    assert ["invoices", str(deleted), "missing", "–", "–"] in lines
    assert ["invoices", str(changed), "differing", "amount", f"{amount:f}"[:-1] + "1", f"{amount:f}"] in lines
    assert ["credit_notes", "1", "left", "over", "–", "–"] in lines

    found = tables(synced, 1, "--details")
    assert wrong(found) == {
        "accounts differing": 1,
        "invoices missing": 1,
        "invoices differing": 1,
        "credit_notes left_over": 1,
    }
    assert {"id": deleted, "found": "missing"} in found["invoices"]["rows"]
    assert {
        "id": changed,
        "found": "differing",
        "fields": {"amount": {"here": f"{amount:f}"[:-1] + "1", "pennylane": f"{amount:f}"}},
    } in found["invoices"]["rows"]
    assert found["credit_notes"]["rows"] == [{"id": 1, "found": "left_over"}]

    synced.done("sync", "--full")
    assert wrong(tables(synced, 0)) == {}


def test_what_changed_since_the_last_sync_ends_with_status_0_and_says_so(
    synced: Program, sandbox: SandboxServer
) -> None:
    control(sandbox, "POST", "clock", advance_seconds=60)
    control(sandbox, "POST", "changes/create_customer")
    found = tables(synced, 0)
    assert wrong(found) == {}
    assert found["accounts"]["changed_since"] == 1
    assert "Changed at Pennylane since the last sync: 1. The next one brings them." in synced.done("verify").out


def test_exclusions_before_and_after_the_first_sync_are_no_differences(
    synced: Program, sandbox: SandboxServer, left_out: list[int]
) -> None:
    assert wrong(tables(synced, 0)) == {}
    account = max(synced.accounts(sandbox.world.id))
    synced.done("exclude", str(account))
    control(sandbox, "POST", "changes/update_customer", id=account, name="Renamed while excluded")
    sql(synced, f"UPDATE invoices SET amount = 0 WHERE account_id = {account}")
    assert wrong(tables(synced, 0)) == {}
    synced.done("sync")
    assert wrong(tables(synced, 0)) == {}
    synced.done("include", str(left_out[0]))
    assert wrong(tables(synced, 0)) == {}


def test_in_postgres(synced: Program, sandbox: SandboxServer, postgres_url: str, tmp_path: Path) -> None:
    program = Program(tmp_path / "other", sandbox.url, WAREHOUSE_URL=postgres_url)
    assert program.run("connect", "--token-stdin", stdin=sandbox.token()).status == 0
    assert wrong(tables(program, 0)) == {}
    with psycopg2.connect(postgres_url) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE receivables.accounts SET emails = '[]' WHERE emails::text <> '[]'")
        changed = cursor.rowcount
    connection.close()
    assert changed > 0
    assert wrong(tables(program, 1)) == {"accounts differing": changed}
    program.done("sync", "--full")
    assert wrong(tables(program, 0)) == {}


def test_one_of_several_companies_is_named_and_the_other_s_rows_are_none_of_its_business(
    synced: Program, sandbox: SandboxServer
) -> None:
    first, second = sandbox.worlds
    synced.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token(second))
    assert "Several companies could be meant" in synced.fails("verify")
    said = synced.fails("verify", "--company", str(second.id))
    assert said == (
        f"Company {second.id} has nothing to verify: its first sync has not come to its end."
        " Run it: pennylane-sync activate"
    )
    assert synced.status()[1]["last_error"] is None
    synced.done("activate", "--company", str(second.id))
    sql(synced, f"DELETE FROM accounts WHERE company_id = {second.id}")
    assert wrong(tables(synced, 0, "--company", str(first.id))) == {}
    assert wrong(tables(synced, 1, "--company", str(second.id))) == {"accounts missing": len(second.customers)}


def test_errors_are_told_in_one_line_with_status_1_and_bad_usage_with_2(
    synced: Program, sandbox: SandboxServer
) -> None:
    control(sandbox, "POST", "faults", path="/customer_invoices", kind="status", status=400, times=None)
    assert "refused /customer_invoices" in synced.fails("verify", "--json")
    control(sandbox, "DELETE", "faults")
    assert "--everything" in synced.fails("verify", "--everything", status=2)
    control(sandbox, "POST", "tokens/revoke_all")
    assert "Connect it again" in synced.fails("verify")
    assert synced.status()[0]["state"] == "needs_authorization"


def test_a_company_that_is_being_synchronized_is_left_alone(synced: Program, sandbox: SandboxServer) -> None:
    control(sandbox, "POST", "faults", path="/changelogs/", kind="latency", seconds=5, times=None)
    with synced.start("sync") as process:
        while synced.status()[0]["state"] != "syncing":
            assert process.poll() is None
        said = one_line(synced.run("verify"))
        process.communicate(timeout=60)
    assert f"Company {sandbox.world.id} is being worked on: hourly_sync" in said
