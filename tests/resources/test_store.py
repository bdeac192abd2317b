from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from sqlalchemy import update

from resources.connections import Connections
from resources.migrations import version
from resources.store import Store, StoreUnavailable, schema_version
from resources.vault import Vault
from tests.postgres import Databases, PostgresServer
from tests.resources.workers import save_company


def test_processes_that_use_a_new_store_together_make_it_once_and_lose_nothing(store_url: str, tmp_path: Path) -> None:
    companies = range(1, 13)
    with ProcessPoolExecutor(6, mp_context=get_context("spawn")) as processes:
        results = [processes.submit(save_company, store_url, tmp_path / "home", company) for company in companies]
        for result in results:
            result.result()
    known = Connections(store_url, Vault(tmp_path / "home")).all()
    assert [connection.company_id for connection in known] == list(companies)


def test_nothing_is_opened_before_the_first_use(tmp_path: Path) -> None:
    Connections(f"sqlite:///{tmp_path}/home/connections.sqlite", Vault(tmp_path / "home"))
    Connections("postgresql://nobody.invalid/books", Vault(tmp_path / "home"))
    assert list(tmp_path.iterdir()) == []


def test_a_reader_does_not_wait_for_a_writer(store_url: str) -> None:
    store = Store(store_url)
    with store.writing(1) as writer, store.reading() as reader:
        assert writer.scalar(schema_version.select()) == reader.scalar(schema_version.select()) == version()


def test_in_postgres_everything_lies_in_a_schema_of_its_own(postgres_url: str) -> None:
    with Store(postgres_url).reading() as transaction:
        tables = transaction.exec_driver_sql(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables"
            " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
        )
        assert [name for (name,) in tables] == [
            f"pennylane_sync.{table}" for table in ("connections", "exclusions", "leases", "schema_version")
        ]


def test_a_postgres_without_a_password_is_reached_through_its_socket(postgres_server: PostgresServer) -> None:
    with Store(postgres_server.url_without_password("postgres")).reading() as transaction:
        assert transaction.scalar(schema_version.select()) == version()


def test_a_user_who_may_use_the_schema_need_not_be_allowed_to_make_one(postgres_server: PostgresServer) -> None:
    postgres_server.run("CREATE DATABASE shared")
    url = postgres_server.url_without_password("shared")
    for statement in (
        "CREATE ROLE modest LOGIN",
        "CREATE SCHEMA pennylane_sync",
        "GRANT ALL ON SCHEMA pennylane_sync TO modest",
    ):
        Databases(url).run(statement)
    with Store(url.replace("postgres@", "modest@")).reading() as transaction:
        assert transaction.scalar(schema_version.select()) == version()


def test_a_store_made_by_a_newer_version_is_left_alone(store_url: str) -> None:
    with Store(store_url).writing() as transaction:
        transaction.execute(update(schema_version).values(version=version() + 1))
    with pytest.raises(StoreUnavailable, match="newer pennylane-sync"), Store(store_url).reading():
        pass


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:SECRET@127.0.0.1:1/books",
        "postgresql://me:SECRET@nobody.invalid/books",
        "postgresql://127.0.0.1:1/books?user=me&password=SECRET",
        "postgresql://me:pass@127.0.0.1:1/books?sslpassword=SECRET",
        "sqlite:////proc/nowhere/connections.sqlite",
    ],
)
def test_a_store_that_cannot_be_reached_is_said_in_one_line_without_the_password(url: str) -> None:
    with pytest.raises(StoreUnavailable, match="CONNECTIONS_URL") as caught, Store(url).reading():
        pass
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_password_is_said_without_it(postgres_server: PostgresServer) -> None:
    url = postgres_server.url("postgres").replace(postgres_server.password, "SECRET")
    with pytest.raises(StoreUnavailable, match="password authentication failed") as caught, Store(url).reading():
        pass
    assert "SECRET" not in str(caught.value)


def test_a_store_kept_locked_by_another_process_is_said(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(store_url).writing(1):
        monkeypatch.setattr("resources.store.LOCK_WAIT_SECONDS", 0.01)
        with pytest.raises(StoreUnavailable, match="kept it locked"), Store(store_url).writing(1):
            pass
        with Store(store_url).reading() as reader:
            assert reader.scalar(schema_version.select()) == version()


def test_a_file_may_be_called_anything(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path}/100 % à moi #1.sqlite").reading() as reader:
        assert reader.scalar(schema_version.select()) == version()
    assert (tmp_path / "100 % à moi #1.sqlite").exists()


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "connections.sqlite").write_text("something else entirely, long enough to have a header of its own")
    with (
        pytest.raises(StoreUnavailable, match="not a database"),
        Store(f"sqlite:///{tmp_path}/connections.sqlite").reading(),
    ):
        pass
