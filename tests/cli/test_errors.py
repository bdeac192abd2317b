"""What goes wrong outside of Pennylane is told in one line too, and leaves everything as it was."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

import cli.connect
import cli.main
import resources.installation
from pipelines.warehouse import DuckDBWarehouse
from resources.credential import Credential
from resources.oauth import authorize
from sandbox.server import SandboxServer
from tests.program import Program, content

_HOLD = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


@contextmanager
def held_open(file: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another program that has the DuckDB file open."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def run_here(program: Program, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Runs a command in this process, for what has to be put in its place; its exit status."""
    for name, value in program.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setattr(sys, "argv", ["pennylane-sync", *arguments])
    monkeypatch.setattr("os.umask", lambda _: 0)  # it would hold for the tests that follow
    try:
        cli.main.main()
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"WAREHOUSE_URL": "mysql://root:hunter2@localhost/db"}, "WAREHOUSE_URL: must be duckdb:///"),
        ({"CONNECTIONS_URL": "mysql://root:hunter2@localhost/db"}, "CONNECTIONS_URL: must be sqlite:///"),
        ({"PENNYLANE_URL": "http://pennylane.example"}, "PENNYLANE_URL: must begin with https://"),
        ({"PENNYLANE_SYNC_KEY": "hunter2"}, "PENNYLANE_SYNC_KEY: must be 32 random bytes"),
        ({"PENNYLANE_SYNC_DETAIL_REQUESTS": "many"}, "PENNYLANE_SYNC_DETAIL_REQUESTS: "),
        ({"WAREHOUSE_URL": "postgresql://me:hunter2@127.0.0.1:9/db"}, "cannot be used"),
    ],
)
def test_an_unusable_setting_is_named_without_its_value(program: Program, settings: dict[str, str], said: str) -> None:
    line = program.with_settings(**settings).fails("status")
    assert said in line
    assert "hunter2" not in line
    assert not program.home.exists()


@pytest.mark.duckdb("with Postgres nothing of this is in the home")
def test_a_home_that_is_no_folder_is_named(program: Program) -> None:
    program.home.write_text("")
    assert str(program.home) in program.fails("status")


def test_tokens_encrypted_with_another_key_are_told_as_such(synced: Program) -> None:
    other_key = synced.with_settings(PENNYLANE_SYNC_KEY=Fernet.generate_key().decode())
    tables = synced.rows("SELECT count(*) FROM accounts")
    said = other_key.fails("sync")
    assert "The stored tokens cannot be read: they were encrypted with another key than PENNYLANE_SYNC_KEY" in said
    assert synced.rows("SELECT count(*) FROM accounts") == tables
    synced.done("sync")


def test_a_pennylane_that_cannot_be_reached_is_told_with_what_to_check(
    program: Program, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.client.Pennylane._backoff", lambda *_: 0)
    monkeypatch.setattr("cli.connect._from_stdin", lambda: Credential("secret-token"))
    nobody_there = program.with_settings(PENNYLANE_URL="http://127.0.0.1:9")
    assert run_here(nobody_there, monkeypatch, "connect", "--token-stdin") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("Pennylane gave no usable answer to /me")
    assert "check the network and PENNYLANE_URL" in err
    assert not program.home.exists()


def test_no_answer_from_the_browser_is_told_when_the_time_is_up(
    program: Program, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.connect, "authorize", partial(authorize, timeout_seconds=0.1))
    assert run_here(program, monkeypatch, "connect", "--no-browser") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("No answer from Pennylane within 0 s; nothing was connected.")
    assert not program.home.exists()


@pytest.mark.duckdb("one process at a time")
def test_a_duckdb_file_that_another_program_has_open_is_told_with_its_process(
    synced: Program, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = synced.home / "receivables.duckdb"
    monkeypatch.setattr(resources.installation, "warehouse_at", lambda _: DuckDBWarehouse(file, lock_wait_seconds=0.2))
    before = file.read_bytes()
    with held_open(file) as other:
        for command in ("sync", "accounts"):
            assert run_here(synced, monkeypatch, command) == 1
            out, err = capfd.readouterr()
            assert out == ""
            assert err.startswith(f"Company {sandbox.world.id}: {file} is held open by python")
            assert f"process {other.pid}" in err
            assert err.count("\n") == 1
        assert run_here(synced, monkeypatch, "status", "--json") == 0
        assert run_here(synced, monkeypatch, "exclude", "5") == 0
    assert file.read_bytes() == before
    (status,) = synced.status()
    assert "is held open by" in status["last_error"]
    assert status["excluded_accounts"] == 3
    synced.done("sync")


def test_a_table_that_was_replaced_by_a_view_is_told_with_the_company_and_what_to_do(
    synced: Program, sandbox: SandboxServer
) -> None:
    def by_hand(*statements: str) -> None:
        with synced.sql_tool() as tool:
            for statement in statements:
                tool.execute(statement)

    by_hand(
        "ALTER TABLE payments RENAME TO mine",
        "CREATE VIEW payments AS SELECT * FROM mine",
    )
    said = synced.fails("sync")
    assert said.startswith(f"Company {sandbox.world.id}: receivables.payments is a view")
    assert "DROP VIEW receivables.payments" in said
    assert synced.status()[0]["last_error"] == said
    by_hand("DROP VIEW payments")
    synced.done("sync")
    assert synced.rows("SELECT count(*) FROM payments") == synced.rows("SELECT count(*) FROM mine")


def test_nothing_is_written_by_a_command_that_only_looks(synced: Program) -> None:
    before = content(synced.home)
    for command in ("status", "accounts"):
        synced.done(command)
    assert content(synced.home).keys() == before.keys()
    assert content(synced.home).get("receivables.duckdb") == before.get("receivables.duckdb")
