"""`connect` and `activate`: from nothing to a company whose tables are filled."""

import json
import os
import pty
import signal
import subprocess
from types import SimpleNamespace

import pytest

from cli.connect import Identified, store
from cli.user import user_name
from resources.credential import Credential
from resources.oauth import SCOPES
from sandbox.server import SandboxServer
from tests.program import Program, content, control
from tests.resources.browser import Browser


def authorize_in(process: "subprocess.Popen[str]", browser: Browser) -> None:
    """Does in a browser what the command asks for on standard error."""
    assert process.stderr is not None
    assert process.stderr.readline() == "Open this address in a browser to authorize:\n"
    browser.open(process.stderr.readline().strip())


def refused(program: Program, *, token: str) -> str:
    """What connecting with a token of no use says; nothing is stored by it."""
    said = program.fails("connect", "--token-stdin", stdin=token)
    assert program.status() == []
    assert token not in said
    assert token.encode() not in b"".join(content(program.home).values())
    assert not (program.home / "receivables.duckdb").exists()
    return said


def test_a_person_connects_in_the_browser_and_the_first_sync_runs(program: Program, sandbox: SandboxServer) -> None:
    excluded, pasted = (customer.id for customer in list(sandbox.world.customers)[:2])
    exclusions = f"{excluded}, https://app.pennylane.com/companies/1/customers?id={pasted}"
    with program.start("connect", "--no-browser", "--exclude", exclusions, "--json") as process:
        authorize_in(process, Browser(sandbox.world.id))
        out, rest = process.communicate(timeout=120)
    assert (process.returncode, rest) == (0, "")
    assert json.loads(out) == {
        "company_id": sandbox.world.id,
        "company_name": sandbox.world.name,
        "state": "active",
        "excluded_accounts": 2,
    }
    (status,) = program.status()
    assert (status["state"], status["ready"], status["last_error"]) == ("active", True, None)
    assert (status["pending_contacts"], status["pending_payments"]) == (0, 0)
    assert program.accounts(sandbox.world.id) == {one.id for one in sandbox.world.customers} - {excluded, pasted}


def test_cancelling_on_the_consent_page_is_said_in_one_line_and_stores_nothing(
    program: Program, sandbox: SandboxServer
) -> None:
    with program.start("connect", "--no-browser") as process:
        authorize_in(process, Browser(sandbox.world.id, "cancel"))
        out, rest = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert rest == "The access was refused at Pennylane; nothing was connected. Run the command again to retry.\n"
    assert program.status() == []


def test_ctrl_c_while_the_browser_is_waited_for_ends_it_with_a_word(program: Program) -> None:
    with program.start("connect", "--no-browser") as process:
        assert process.stderr is not None
        assert [process.stderr.readline() for _ in range(2)][1].startswith("http")
        process.send_signal(signal.SIGINT)
        out, rest = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert rest.endswith("Stopped.\n")
    assert "Traceback" not in rest
    assert program.status() == []


def test_at_a_terminal_the_accounts_to_leave_out_are_asked_for_until_they_are_understood(
    program: Program, sandbox: SandboxServer
) -> None:
    ours, theirs = pty.openpty()
    with program.start("connect", "--no-browser", "--no-activate", stdin=theirs) as process:
        authorize_in(process, Browser(sandbox.world.id))
        os.write(ours, b"my best client\n")
        assert process.stderr is not None
        assert "Not a Pennylane account id: 'my best client'" in process.stderr.readline()
        os.write(ours, b"11, https://app.pennylane.com/companies/1/customers?id=12\n")
        out, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0
    assert "Accounts to leave out?" in out
    assert "Next: pennylane-sync activate" in out
    assert {one["account_id"] for one in program.done("accounts", "--json").document} == {11, 12}


def test_exclusions_made_between_connect_and_activate_hold_for_the_first_sync(
    program: Program, sandbox: SandboxServer
) -> None:
    kept_out = next(iter(sandbox.world.customers)).id
    connected = program.done("connect", "--token-stdin", "--no-activate", "--json", stdin=sandbox.token())
    assert connected.document["state"] == "connected"
    assert program.done("exclude", str(kept_out)).out == (
        f"Left out from the next sync on: 1 account of company {sandbox.world.id}.\n"
    )
    activated = program.done("activate", "--json").document
    assert activated["connection"] == program.status()[0]
    assert activated["connection"]["state"] == "active"
    assert activated["tables"]["accounts"]["rows_added"] == len(sandbox.world.customers) - 1
    assert kept_out not in program.accounts(sandbox.world.id)


def test_a_token_that_pennylane_does_not_know_connects_nothing(program: Program) -> None:
    said = refused(program, token="sandbox-no-such-token")
    assert said == "Pennylane does not accept this token; nothing was connected. Check it and try again."


def test_a_token_that_may_not_read_invoices_is_refused_by_the_name_of_the_scope(
    program: Program, sandbox: SandboxServer
) -> None:
    token = control(sandbox, "POST", "tokens", scopes=[SCOPES[0]])["token"]
    assert f"company {sandbox.world.id} lacks the scope {SCOPES[1]}" in refused(program, token=token)


def test_another_company_than_the_one_asked_for_is_not_connected(program: Program, sandbox: SandboxServer) -> None:
    said = program.fails("connect", "--token-stdin", "--company", "7", stdin=sandbox.token())
    assert f"This authorizes company {sandbox.world.id} ({sandbox.world.name}), not 7" in said
    assert program.status() == []


def test_authorizing_another_company_than_the_one_asked_for_revokes_the_access_again(
    program: Program, sandbox: SandboxServer
) -> None:
    with program.start("connect", "--no-browser", "--company", "7") as process:
        authorize_in(process, Browser(sandbox.world.id))
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "nothing was connected" in said
    assert control(sandbox, "GET", "requests")["by_path"]["/oauth/revoke"] == 2


@pytest.mark.parametrize("stdin", ["", "\n", "two tokens\n", "jeton-accentué\n"])
def test_standard_input_without_a_token_is_bad_usage(program: Program, stdin: str) -> None:
    assert "Standard input held no token" in program.fails("connect", "--token-stdin", stdin=stdin, status=2)


def test_malformed_exclusions_are_bad_usage_before_anything_is_asked_of_pennylane(
    program: Program, sandbox: SandboxServer
) -> None:
    said = program.fails("connect", "--token-stdin", "--exclude", "12,abc", stdin=sandbox.token(), status=2)
    assert "Not a Pennylane account id: 'abc'. Nothing was changed." in said
    assert control(sandbox, "GET", "requests")["total"] == 0
    assert not program.home.exists()


def test_without_an_app_registered_at_pennylane_connect_says_what_to_do_instead(program: Program) -> None:
    said = program.with_settings(PENNYLANE_CLIENT_SECRET="").fails("connect")
    assert "PENNYLANE_CLIENT_ID and PENNYLANE_CLIENT_SECRET are not set." in said
    assert "pennylane-sync connect --token-stdin" in said


def test_who_excludes_is_recorded_also_where_the_system_has_no_name_for_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert user_name() == f"user {os.getuid()}"


def test_exclusions_are_stored_before_the_connection_that_could_be_synced_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    store_of_connections = SimpleNamespace(
        exclude=lambda *_: done.append("exclusions"), save=lambda *_: done.append("connection")
    )
    monkeypatch.setattr("cli.instance.register", lambda *_: done.append("partition"))
    installation = SimpleNamespace(connections=store_of_connections, settings=None)
    store(installation, Identified(1, "A", "api_token", Credential("token"), []), [5])  # type: ignore[arg-type]
    assert done == ["exclusions", "connection", "partition"]
