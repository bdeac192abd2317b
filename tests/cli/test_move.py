"""`move`: from DuckDB to Postgres, as a person does it."""

from pathlib import Path

import psycopg2

from pipelines.warehouse import warehouse_at
from sandbox.server import SandboxServer
from tests.pipelines.truth import differences, expected, held
from tests.postgres import PostgresServer
from tests.program import Program, control


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
    assert "was moved, or connected there" in moved.fails("move")

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
    assert moved.fails("move", status=2).startswith(f"There is no file {synced.home}/receivables.duckdb; name the one")
    options = ("--from", str(elsewhere / "receivables.duckdb"), "--connections", str(elsewhere / "connections.sqlite"))
    wrong = synced.with_settings(WAREHOUSE_URL=postgres_url.replace(postgres_server.password, "SECRET"))
    assert "SECRET" not in wrong.fails("move", *options)
    ran = moved.run("move", *options)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[-1].startswith("Moved: ")
    with psycopg2.connect(postgres_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM receivables.invoices")
        assert f"invoices {cursor.fetchone()[0]}" in " ".join(ran.out.split())
    connection.close()


def test_connections_that_are_kept_elsewhere_stay_there(synced: Program, postgres_url: str) -> None:
    elsewhere = synced.home / "elsewhere.sqlite"
    (synced.home / "connections.sqlite").rename(elsewhere)
    moved = synced.with_settings(WAREHOUSE_URL=postgres_url, CONNECTIONS_URL=f"sqlite:///{elsewhere}")
    moved.done("move")
    assert moved.status()[0]["state"] == "active"
    moved.done("verify")


def test_where_to_move_to_stands_in_the_settings_or_nothing_happens(tmp_path: Path) -> None:
    program = Program(tmp_path / "home", "http://127.0.0.1:1")
    said = program.fails("move", status=2)
    assert "WAREHOUSE_URL=postgresql://" in said
    assert not program.home.exists()
