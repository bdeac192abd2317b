"""`move`: from DuckDB to Postgres, as a person does it."""

import shutil
from pathlib import Path

import psycopg2
import pytest

from pipelines.warehouse import warehouse_at
from sandbox.server import SandboxServer
from tests.pipelines.truth import differences, expected, held
from tests.postgres import PostgresServer
from tests.program import Program, control

pytestmark = pytest.mark.duckdb("from its file to Postgres")


def test_one_command_after_a_new_address_in_the_settings_and_all_goes_on(
    synced: Program, sandbox: SandboxServer, left_out: list[int], postgres_url: str
) -> None:
    accounts = len(synced.accounts(sandbox.world.id))
    moved = synced.with_settings(WAREHOUSE_URL=postgres_url)

    document = moved.done("move", "--json").document

    (company,) = document["companies"]
    assert company["company_id"] == sandbox.world.id
    assert company["tables"]["accounts"] == accounts
    assert company["tables"]["excluded_accounts"] == len(left_out)
    (status,) = moved.status()
    assert (status["state"], status["excluded_accounts"]) == ("active", len(left_out))
    assert "All of it was moved before" in moved.fails("move")
    assert "is disconnected. Connect it again" in synced.fails("sync")  # such as a cron job with the old settings

    control(sandbox, "POST", "clock", advance_seconds=3600)
    control(sandbox, "POST", "changes/create_customer")
    tables = moved.done("sync", "--json").document["tables"]
    assert tables["accounts"]["mode"] == "incremental"
    assert tables["accounts"]["rows_added"] == 1
    truth = expected(sandbox.world, sandbox.url, left_out)
    assert differences(held(warehouse_at(postgres_url), sandbox.world.id), truth) == []


def test_people_are_told_how_many_rows_came_and_never_the_password(
    synced: Program, postgres_url: str, postgres_server: PostgresServer
) -> None:
    elsewhere = synced.home / "elsewhere"
    elsewhere.mkdir()
    for name in ("receivables.duckdb", "connections.sqlite"):
        (synced.home / name).rename(elsewhere / name)
    moved = synced.with_settings(WAREHOUSE_URL=postgres_url)
    assert moved.fails("move", status=2).startswith(f"There is no file {synced.home}/connections.sqlite; name the one")
    connections = ("--connections", str(elsewhere / "connections.sqlite"))
    said = moved.fails("move", *connections, status=2)
    assert said.startswith(f"There is no file {synced.home}/receivables.duckdb; name the one")
    options = ("--from", str(elsewhere / "receivables.duckdb"), *connections)
    wrong = synced.with_settings(WAREHOUSE_URL=postgres_url.replace(postgres_server.password, "SECRET"))
    assert "SECRET" not in wrong.fails("move", *options)
    ran = moved.run("move", *options)
    assert (ran.status, ran.err) == (0, "")
    told = ran.out.splitlines()[-1]
    assert told.startswith("Moved: ")
    assert "They are no longer where they were; to go back there, connect each company again." in told
    assert f"{elsewhere}/receivables.duckdb is as it was" in told
    with psycopg2.connect(postgres_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM receivables.invoices")
        assert f"invoices {cursor.fetchone()[0]}" in " ".join(ran.out.split())
    connection.close()


def test_connections_whose_address_is_in_the_settings_stay_there_whatever_old_file_is_in_the_home(
    synced: Program, postgres_url: str
) -> None:
    elsewhere = synced.home / "elsewhere.sqlite"
    shutil.copy(synced.home / "connections.sqlite", elsewhere)
    moved = synced.with_settings(WAREHOUSE_URL=postgres_url, CONNECTIONS_URL=f"sqlite:///{elsewhere}")
    assert "The connections are where CONNECTIONS_URL says, as before." in moved.done("move").out
    assert moved.status()[0]["state"] == "active"
    assert synced.status()[0]["state"] == "active"
    moved.done("verify")


def test_connections_go_to_an_address_of_their_own_where_there_are_none_yet(
    synced: Program, postgres_url: str, tmp_path: Path
) -> None:
    own = synced.with_settings(WAREHOUSE_URL=postgres_url, CONNECTIONS_URL=f"sqlite:///{tmp_path}/own.sqlite")
    own.done("move")
    assert own.status()[0]["state"] == "active"
    assert synced.status()[0]["state"] == "disconnected"


def test_connections_that_are_reached_by_a_symbolic_link_stay_where_they_are(
    synced: Program, postgres_url: str
) -> None:
    link = synced.home.with_name("link")
    link.symlink_to(synced.home)
    url = f"sqlite:///{link}/connections.sqlite"
    moved = synced.with_settings(WAREHOUSE_URL=postgres_url, CONNECTIONS_URL=url)
    assert "as before" in moved.done("move", "--connections", str(synced.home / "connections.sqlite")).out
    assert moved.status()[0]["state"] == "active"


def test_a_company_that_was_connected_and_never_synchronized_is_moved_without_any_file_of_rows(
    program: Program, sandbox: SandboxServer, postgres_url: str
) -> None:
    in_duckdb = program.with_settings(WAREHOUSE_URL="")
    customer = next(iter(sandbox.world.customers)).id
    in_duckdb.done("connect", "--token-stdin", "--no-activate", "--exclude", str(customer), stdin=sandbox.token())
    moved = program.with_settings(WAREHOUSE_URL=postgres_url)
    assert moved.done("move").out.splitlines()[-1].startswith("Moved: 0 rows, and the connections.")
    (status,) = moved.status()
    assert (status["state"], status["excluded_accounts"]) == ("connected", 1)
    assert in_duckdb.status()[0]["state"] == "disconnected"
    assert not (program.home / "receivables.duckdb").exists()


def test_with_the_key_of_another_home_nothing_is_moved_and_the_key_is_named(synced: Program, postgres_url: str) -> None:
    old = synced.home.rename(synced.home.with_name("old"))
    moved = synced.with_settings(WAREHOUSE_URL=postgres_url)
    files = ("--from", str(old / "receivables.duckdb"), "--connections", str(old / "connections.sqlite"))
    said = moved.fails("move", *files)
    assert f"the key file {synced.home}/key is gone. Put the former key back (PENNYLANE_SYNC_KEY" in said
    assert "Nothing was moved" in said
    synced.home.mkdir(exist_ok=True)
    shutil.copy(old / "key", synced.home / "key")
    moved.done("move", *files)
    assert moved.status()[0]["state"] == "active"


def test_where_to_move_to_stands_in_the_settings_or_nothing_happens(tmp_path: Path) -> None:
    program = Program(tmp_path / "home", "http://127.0.0.1:1")
    said = program.fails("move", status=2)
    assert "WAREHOUSE_URL=postgresql://" in said
    assert not program.home.exists()
