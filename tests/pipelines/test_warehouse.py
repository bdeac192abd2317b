"""How databases are opened, and what they say reaches people as one line."""

import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import psycopg2
import pytest

from pipelines.errors import WarehouseBusy, WarehouseUnusable
from pipelines.landing import Landing
from pipelines.records import Row, to_row
from pipelines.tables import ACCOUNTS, TABLES, Table
from pipelines.warehouse import DuckDBWarehouse, PostgresWarehouse, Warehouse, warehouse_at
from sandbox.changes import customers
from tests.pipelines.company import file_with_tables
from tests.pipelines.conftest import MakeCompany
from tests.postgres import Databases, PostgresServer


def test_an_error_of_the_database_is_one_line_that_says_what_to_expect_next(any_warehouse: Warehouse) -> None:
    with any_warehouse.session() as session, pytest.raises(WarehouseUnusable) as refused:
        session.rows("SELECT * FROM receivables.no_such_table")

    assert "\n" not in str(refused.value)
    assert "no_such_table" in str(refused.value)
    assert "the next sync goes on from here" in str(refused.value)


def test_companies_that_meet_an_empty_database_at_once_do_not_get_in_each_other_s_way(
    postgres_url: str, tmp_path: Path
) -> None:
    def open_and_close(company: int) -> None:
        with Landing.opened(warehouse_at(postgres_url), company, tmp_path):
            pass

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(open_and_close, range(1, 5)))
    with warehouse_at(postgres_url).session() as session:
        indexes = session.value(
            "SELECT count(*) FROM pg_indexes WHERE schemaname = 'receivables' AND indexdef ~ 'UNIQUE'"
        )
    assert indexes >= len(TABLES)


@pytest.mark.duckdb("a file that cannot be made")
def test_an_error_of_the_warehouse_names_the_company(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    warehouse = warehouse_at(f"duckdb:///{tmp_path}/a file/receivables.duckdb")
    with pytest.raises(WarehouseUnusable) as refused, Landing.opened(warehouse, 42, tmp_path / "dlt"):
        pass
    assert str(refused.value).startswith(f"Company 42: {tmp_path}/a file/receivables.duckdb cannot be opened")
    assert "WAREHOUSE_URL" in str(refused.value)


def test_what_dlt_notes_of_its_packages_does_not_pile_up(make_company: MakeCompany, any_warehouse: Warehouse) -> None:
    company = make_company(warehouse=any_warehouse)
    for _ in range(5):
        customers.create_customer(company.world)
        company.sync()
    with any_warehouse.session() as session:
        for table in ("_dlt_loads", "_dlt_pipeline_state"):
            assert session.value(f"SELECT count(*) FROM receivables.{table}") <= 5
        assert session.value("SELECT count(*) FROM receivables._dlt_version") == 1
    assert company.differences() == []


def test_a_value_that_does_not_fit_is_not_repeated_in_the_error(
    make_company: MakeCompany, any_warehouse: Warehouse, capfd: pytest.CaptureFixture[str]
) -> None:
    company = make_company(warehouse=any_warehouse)
    company.sync()
    with any_warehouse.session() as session:
        session.execute("DROP VIEW receivables.aged_balance")
        session.execute("DROP VIEW receivables.account_balances")
        session.execute("DROP VIEW receivables.open_invoices")
        session.execute("ALTER TABLE receivables.accounts DROP COLUMN name")
        session.execute("ALTER TABLE receivables.accounts ADD COLUMN name INTEGER")
    customers.create_customer(company.world, name="Jean Confidentiel")
    with pytest.raises(WarehouseUnusable) as failure:
        company.sync()
    told = "".join(traceback.format_exception(failure.value)) + "".join(capfd.readouterr())
    assert "Loading into the warehouse failed" in told
    assert "Confidentiel" not in told


@pytest.mark.duckdb("a file")
def test_a_file_that_another_process_makes_while_it_is_opened_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "receivables.duckdb"

    class Meanwhile:
        def execute(self, statement: str) -> None:
            if statement.startswith("ATTACH"):
                path.write_bytes(content)
                raise duckdb.IOException("too many open files")

        def cursor(self) -> "Meanwhile":
            return self

        def close(self) -> None:
            """Nothing is open."""

    content = file_with_tables()
    monkeypatch.setattr("pipelines.warehouse.duckdb_file.duckdb.connect", Meanwhile)
    with pytest.raises(WarehouseUnusable), warehouse_at(f"duckdb:///{path}").session():
        pass
    assert path.read_bytes() == content


@pytest.mark.duckdb("its file")
def test_a_file_that_is_used_twice_in_one_process_is_waited_for_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "receivables.duckdb"
    path.write_bytes(file_with_tables())
    one, another = (DuckDBWarehouse(path, lock_wait_seconds=0.2) for _ in range(2))
    with one.session(), pytest.raises(WarehouseBusy, match="is held open by another part of this process"):
        another.session().__enter__()
    with another.session() as session:
        assert session.has_table("invoices")


@pytest.mark.duckdb("its file")
def test_a_transaction_that_was_left_open_in_the_file_is_ended_by_the_next_session(tmp_path: Path) -> None:
    path = tmp_path / "receivables.duckdb"
    path.write_bytes(file_with_tables())
    warehouse = DuckDBWarehouse(path)
    with warehouse.session():
        assert warehouse._engine is not None
        left_open = warehouse._engine.cursor()
        left_open.execute("BEGIN")
        left_open.execute("FROM warehouse.receivables.accounts")
    with warehouse.session() as session:
        assert session.has_table("invoices")
    with warehouse_at(f"duckdb:///{path}").session() as session:
        assert session.has_table("invoices")


def test_a_row_that_is_there_twice_in_postgres_is_there_once_after_the_next_sync(
    make_company: MakeCompany, postgres_url: str
) -> None:
    """Its index was dropped by somebody, as for a restore."""
    company = make_company(4, 20, warehouse_at(postgres_url))
    company.sync()
    with company.warehouse.session() as session:
        session.execute("ALTER TABLE receivables.accounts DROP CONSTRAINT accounts_pkey")
        session.execute("INSERT INTO receivables.accounts SELECT * FROM receivables.accounts")
    company.sync()
    assert company.differences() == []
    with company.warehouse.session() as session:
        assert session.value("SELECT count(*) FROM receivables.accounts") == len(company.world.customers)


def _at_ease() -> None:
    """Nothing is in the way."""


def _account(company_id: int, name: str) -> dict[Table, list[Row]]:
    now = datetime(2026, 9, 15, tzinfo=UTC)
    record = {"id": 1, "name": name}
    return {ACCOUNTS: [to_row(ACCOUNTS, record, company_id=company_id, synced_at=now, source="pennylane")]}


def test_who_was_stopped_while_writing_to_postgres_is_waited_for_so_that_nothing_newer_is_written_over(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse, impatient = warehouse_at(postgres_url), PostgresWarehouse(postgres_url, lock_wait_seconds=1)
    with Landing.opened(warehouse, 7, tmp_path / "ours") as ours:
        ours.land(_account(7, "first"), {"n": 1})

        def another() -> None:
            """Takes over while we stand still, between our last look at the lease and our writing."""
            with (
                pytest.raises(WarehouseBusy, match=r"^Another process writes the rows of company 7; waited 1 s\."),
                Landing.opened(impatient, 7, tmp_path / "theirs"),
            ):
                pass
            refused.append(True)

        refused: list[bool] = []
        looks: Iterator[Callable[[], None]] = iter([_at_ease, another])

        def look() -> None:
            next(looks, _at_ease)()

        monkeypatch.setattr(ours, "_before_write", look)
        ours.land(_account(7, "older"), {"n": 2})
        assert refused
    with Landing.opened(impatient, 7, tmp_path / "theirs") as theirs:
        theirs.land(_account(7, "newer"), {"n": 3})
    with warehouse.session() as session:
        assert session.value("SELECT name FROM receivables.accounts") == "newer"


def test_another_sync_that_prepares_the_tables_is_waited_for_longer_than_a_lock_of_somebody_else(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = PostgresWarehouse(postgres_url, lock_wait_seconds=1)
    with ExitStack() as other:
        session = other.enter_context(impatient.session())
        other.enter_context(session.one_at_a_time())
        with monkeypatch.context() as soon:
            soon.setattr("pipelines.warehouse.session.TABLES_WAIT_SECONDS", 0.5)
            with (
                pytest.raises(WarehouseBusy, match=r"^Company 7: Another sync prepares the tables.*; waited"),
                Landing.opened(impatient, 7, tmp_path),
            ):
                pass
        ends = threading.Timer(2, other.pop_all().close)
        ends.start()
        with Landing.opened(impatient, 7, tmp_path) as ours:
            ours.land(_account(7, "first"), {"n": 1})
        ends.join()


def test_a_password_that_changes_during_a_sync_is_looked_up_again(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those that clouds hand out do every quarter of an hour."""
    passwords = tmp_path / "pgpass"
    monkeypatch.setenv("PGPASSFILE", str(passwords))

    def hand_out(password: str) -> None:
        postgres_server.run(f"ALTER ROLE syncer PASSWORD '{password}'")
        passwords.write_text(f"127.0.0.1:{postgres_server.port}:*:syncer:{password}\n")
        passwords.chmod(0o600)

    postgres_server.run("CREATE ROLE syncer SUPERUSER LOGIN")
    try:
        with Databases(postgres_server.url("postgres")).new() as url:
            hand_out("first")
            address = urlsplit(url)._replace(netloc=f"syncer@127.0.0.1:{postgres_server.port}").geturl()
            with Landing.opened(warehouse_at(address), 7, tmp_path / "dlt") as landing:
                landing.land(_account(7, "before"), {"n": 1})
                hand_out("second")
                landing.land(_account(7, "after"), {"n": 2})
            with warehouse_at(address).session() as session:
                assert session.rows("SELECT name FROM receivables.accounts") == [("after",)]
    finally:
        postgres_server.run("DROP ROLE syncer")


def test_a_pooler_that_ignores_the_options_of_a_connection_as_documented_will_do(
    make_company: MakeCompany, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = psycopg2.connect
    monkeypatch.setattr("psycopg2.connect", lambda **given: connect(**{**given, "options": ""}))
    company = make_company(2, 5, warehouse_at(postgres_url))
    company.sync()
    assert company.differences() == []


def test_a_table_that_somebody_keeps_locked_in_postgres_is_told_after_a_time(
    make_company: MakeCompany, postgres_url: str
) -> None:
    company = make_company(4, 20, PostgresWarehouse(postgres_url, lock_wait_seconds=1))
    company.sync()
    customers.update_customer(company.world)
    with warehouse_at(postgres_url).session() as session, session.transaction():
        session.execute("LOCK TABLE receivables.accounts IN SHARE MODE")
        with pytest.raises(WarehouseUnusable, match="another program keeps what is to be written locked"):
            company.sync()
    company.sync()
    assert company.differences() == []


def test_a_sync_that_lost_its_company_leaves_the_files_of_the_next_one_alone(
    any_warehouse: Warehouse, tmp_path: Path
) -> None:
    ours = Landing.opened(any_warehouse, 7, tmp_path)
    ours.__enter__().land(_account(7, "first"), {"n": 1})
    with Landing.opened(any_warehouse, 7, tmp_path) as theirs:
        theirs.land(_account(7, "second"), {"n": 2})
        ours.__exit__(None, None, None)
        theirs.land(_account(7, "third"), {"n": 3})
    with any_warehouse.session() as session:
        assert session.value("SELECT name FROM receivables.accounts") == "third"
