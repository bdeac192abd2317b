"""From DuckDB to Postgres: everything comes along, and the next sync goes on where the last one ended."""

import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from pipelines import versions
from pipelines.errors import WarehouseUnusable
from pipelines.indexes import INDEXES
from pipelines.moving import AlreadyThere
from pipelines.warehouse import Session, Warehouse
from resources import moving
from resources.connections import AlreadyConnected, Connections
from resources.credential import Credential
from resources.installation import Installation, NotAuthorized
from resources.leases import Lease, LeaseHeld, LeaseLost
from resources.settings import Settings
from resources.vault import KeyMismatch
from sandbox.changes import customers, invoices, receipts
from sandbox.server import SandboxServer
from tests.model.office import Office
from tests.model.places import Place, at
from tests.pipelines.company import HOUR, PREFIX, make_sandbox
from tests.pipelines.truth import Key, Row, differences, expected, held
from tests.program import copied, forking

PLACES = {
    "between files of rows": Place(Session, "copy", "after"),
    "with all rows copied": Place(Lease, "check", "before"),
    "between rows and connections": Place(Connections, "take_over", "before"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with make_sandbox(customers=10, invoices=40) as server:
        yield server


@pytest.fixture(scope="module")
def synchronized(server: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Office:
    """Synchronized into DuckDB; an account was left out from the start, another one later, a third for a while."""
    home = tmp_path_factory.mktemp("moving")
    office = Office(server, home, f"duckdb:///{home}/receivables.duckdb", f"sqlite:///{home}/connections.sqlite")
    never, later, for_a_while = left_out(server)
    office.connections.exclude(office.company_id, [never, for_a_while], by="Ada")
    office.connect("oauth")
    office.sync("first", full=False)
    office.connections.exclude(office.company_id, [later], by="Bob")
    office.connections.include(office.company_id, [for_a_while], by="Bob")
    customers.update_customer(server.world, notes='with "quotes", a comma,\na line and é', reference="")
    server.world.clock.advance(HOUR)
    office.sync("second", full=False)
    with office.warehouse.session() as session:  # what no sandbox makes up, where no sync comes any more
        session.execute(
            f"UPDATE receivables.accounts SET notes = 'NULL', phone = '', recipient = %s, reference = %s, emails = %s "
            f"WHERE account_id = {later}",
            "\\N",
            'a\r\n\\.\n"b",\tc',
            '["\\"é\\"@example.org", null]',
        )
        session.execute(
            "UPDATE receivables.invoices SET amount = 99999999999999999999999999999999.999999, tax = -0.000001, "
            "exchange_rate = 12345678901234567890123456.123456789012, deadline = '0001-01-01', "
            f"updated_at = '2026-09-15 10:00:00.000001+02' WHERE account_id = {later}"
        )
    return office


@pytest.fixture
def office(synchronized: Office, tmp_path: Path) -> Office:
    """A copy of its own."""
    home = copied(synchronized.settings.home, tmp_path / "home")
    return Office(synchronized.server, home, f"duckdb:///{home}/receivables.duckdb")


@pytest.fixture
def moved_to(office: Office, postgres_url: str) -> Office:
    """The same installation with the new address in its settings; nothing is there yet."""
    return Office(office.server, office.settings.home, postgres_url, postgres_url)


def left_out(server: SandboxServer) -> list[int]:
    return sorted(one.id for one in server.world.customers)[:3]


def move(office: Office, to: Office) -> None:
    moving.move(to, office.settings.home / "receivables.duckdb", office.connections)


def everything(warehouse: Warehouse, company_id: int) -> dict[str, object]:
    """All that consumers see, with the times of reading; and that a company is left out, or disconnected."""
    tables: dict[str, object] = dict(held(warehouse, company_id, with_times=True))
    with warehouse.session() as session:
        for name in ("companies", "excluded_accounts"):
            tables[name] = session.rows(f"SELECT * FROM receivables.{name} ORDER BY 1, 2")
        tables["aged_balance"] = session.rows("SELECT * FROM receivables.aged_balance ORDER BY 1, 2")
        tables["comments"] = {
            where: comment.partition(" (made")[0] for where, comment in session.comments("receivables").items()
        }
    return tables


def test_all_is_there_as_it_was_and_the_next_sync_asks_for_what_changed_since_alone(
    office: Office, moved_to: Office, server: SandboxServer
) -> None:
    before = (office.settings.home / "receivables.duckdb").read_bytes()
    known = office.connections.get(office.company_id), office.connections.exclusion_history(office.company_id)

    move(office, moved_to)

    assert everything(moved_to.warehouse, office.company_id) == everything(office.warehouse, office.company_id)
    there = moved_to.connections
    assert (there.get(office.company_id), there.exclusion_history(office.company_id)) == known
    assert (office.settings.home / "receivables.duckdb").read_bytes() == before
    assert not (moved_to.work_dir / "move").exists()
    with moved_to.warehouse.session() as session:
        indexes = session.rows("SELECT indexname FROM pg_indexes WHERE schemaname = 'receivables'")
        assert {name for (name,) in indexes} >= set(INDEXES)

    server.world.clock.advance(HOUR)
    server.sandbox.statistics.reset()
    assert moved_to.sync("quiet", full=False).mode == "incremental"
    assert (
        not {f"{PREFIX}/customers", f"{PREFIX}/customer_invoices"}
        & server.sandbox.statistics.report()["by_path"].keys()
    )

    never, later, included = left_out(server)
    as_left = rows_of(later, office.warehouse, office.company_id)
    customers.update_customer(server.world, id=later, name="Changed while left out")
    customers.update_customer(server.world, id=included, name="Changed")
    receipts.pay_invoice(server.world, id=invoices.create_invoice(server.world, customer_id=included)["id"])
    invoices.delete_invoice(server.world)
    server.world.clock.advance(HOUR)
    assert moved_to.sync("changes", full=False).mode == "incremental"
    assert rows_of(later, moved_to.warehouse, office.company_id) == as_left
    moved_to.connections.include(office.company_id, [later], by="Ada")
    server.world.clock.advance(HOUR)
    moved_to.sync("included again", full=False)
    truth = expected(server.world, server.url, [never])
    assert differences(held(moved_to.warehouse, office.company_id), truth) == []


def rows_of(account: int, warehouse: Warehouse, company_id: int) -> dict[Key, Row]:
    tables = held(warehouse, company_id).items()
    return {
        (table, *key): row for table, rows in tables for key, row in rows.items() if row.get("account_id") == account
    }


@pytest.mark.parametrize("place", PLACES)
def test_killed_in_the_middle_nothing_runs_there_and_repeated_it_is_as_if_it_had_not_been(
    office: Office, moved_to: Office, place: str
) -> None:
    killed_moving(office, moved_to, PLACES[place])
    assert moved_to.connections.all() == []
    assert token(office) is not None
    move(office, moved_to)
    assert everything(moved_to.warehouse, office.company_id) == everything(office.warehouse, office.company_id)
    assert len(moved_to.connections.all()) == 1
    assert not (moved_to.work_dir / "move").exists()


def test_killed_before_the_connections_end_where_they_were_they_do_when_it_is_repeated_later(
    office: Office, moved_to: Office, server: SandboxServer
) -> None:
    killed_moving(office, moved_to, Place(Connections, "let_go", "before"))
    server.world.clock.advance(HOUR)
    moved_to.connections.exclude(office.company_id, left_out(server)[2:], by="Ada")
    assert moved_to.sync("already there", full=False).mode == "incremental"
    assert token(office) is not None
    there = everything(moved_to.warehouse, office.company_id), moved_to.connections.all()

    move(office, moved_to)

    assert (everything(moved_to.warehouse, office.company_id), moved_to.connections.all()) == there
    assert office.connections.get(office.company_id).state == "disconnected"
    assert token(office) is None


def killed_moving(office: Office, to: Office, place: Place) -> None:
    process = forking.Process(target=move_until, args=(office.settings.home, to.settings.warehouse_url, place))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def token(office: Office) -> str | None:
    """As it is stored, encrypted."""
    with closing(sqlite3.connect(office.settings.home / "connections.sqlite")) as store:
        stored: str | None = store.execute("SELECT token FROM connections").fetchone()[0]
    return stored


def move_until(home: Path, postgres_url: str, place: Place) -> None:
    """In a process of its own: move, and die on coming by the place."""
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - to the process's end
    installation = Installation()
    installation.settings = Settings(_env_file=None, pennylane_sync_home=home, WAREHOUSE_URL=postgres_url)
    connections = moving.store_at(installation, f"sqlite:///{home}/connections.sqlite")
    with at(place, 1, lambda: os.kill(os.getpid(), signal.SIGKILL)):
        moving.move(installation, home / "receivables.duckdb", connections)


def test_what_is_there_already_is_neither_overwritten_nor_mixed_with(office: Office, moved_to: Office) -> None:
    move(office, moved_to)
    with pytest.raises(AlreadyConnected, match="All of it was moved before"):
        move(office, moved_to)
    office.connect("oauth")
    with pytest.raises(AlreadyConnected, match=f"Company {office.company_id} is known in postgresql://"):
        move(office, moved_to)
    with moved_to.warehouse.session() as session:
        session.execute("DELETE FROM receivables.payments")
    elsewhere = Office(
        office.server, office.settings.home, moved_to.settings.warehouse_url, office.settings.connections_url
    )
    with pytest.raises(AlreadyThere, match=r"has other rows already .* Choose another database, an empty one"):
        move(office, elsewhere)
    with moved_to.warehouse.session() as session:
        assert session.value("SELECT count(*) FROM receivables.payments") == 0


def test_back_in_duckdb_a_company_is_connected_again_and_goes_on_from_its_file(
    office: Office, moved_to: Office, server: SandboxServer
) -> None:
    excluded = office.connections.excluded(office.company_id)
    move(office, moved_to)
    with pytest.raises(NotAuthorized, match=r"is disconnected\. Connect it again: pennylane-sync connect"):
        office.sync("by an old cron job", full=False)
    assert moved_to.sync("where it is now", full=False).mode == "incremental"

    office.connect("oauth")
    assert office.connections.excluded(office.company_id) == excluded
    server.world.clock.advance(HOUR)
    assert office.sync("back again", full=False).mode == "incremental"


def test_tokens_that_the_key_does_not_fit_stop_it_before_anything_is_moved(office: Office, moved_to: Office) -> None:
    (office.settings.home / "key").write_bytes(Fernet.generate_key())
    with pytest.raises(KeyMismatch, match=r"another key than the one in .*key\. Put the former key back.*Nothing was"):
        move(office, moved_to)
    with moved_to.warehouse.session() as session:
        assert not session.has_table("accounts")
    assert moved_to.connections.all() == []
    assert token(office) is not None


def test_rows_that_somebody_put_in_twice_are_told_with_the_sql_that_leaves_one_of_each(
    office: Office, moved_to: Office
) -> None:
    before = everything(office.warehouse, office.company_id)
    with office.warehouse.session() as session:
        session.execute(
            "INSERT INTO receivables.invoices SELECT * REPLACE (NULL AS synced_at) FROM receivables.invoices"
        )
    with pytest.raises(
        WarehouseUnusable, match=f"receivables.invoices .*has rows twice, of company {office.company_id}"
    ) as told:
        move(office, moved_to)
    assert moved_to.connections.all() == []
    with office.warehouse.session() as session:
        session.enter_schema()
        session.execute(str(told.value).rpartition(": ")[2])
    move(office, moved_to)
    assert everything(moved_to.warehouse, office.company_id) == before


def test_several_companies_of_which_one_was_disconnected_before_are_moved(office: Office, moved_to: Office) -> None:
    office.connections.save(1, "Another", "api_token", Credential("another's"), [])
    office.connections.disconnect(office.company_id)
    move(office, moved_to)
    assert [one.state for one in moved_to.connections.all()] == ["connected", "disconnected"]
    assert [one.state for one in office.connections.all()] == ["disconnected", "disconnected"]


def test_a_company_that_is_disconnected_meanwhile_stops_it_all(office: Office, moved_to: Office) -> None:
    def disconnect() -> None:
        with closing(sqlite3.connect(office.settings.home / "connections.sqlite")) as store, store:
            store.execute("DELETE FROM leases")

    with at(PLACES["between files of rows"], 1, disconnect), pytest.raises(LeaseLost):
        move(office, moved_to)
    with moved_to.warehouse.session() as session:
        assert session.value("SELECT count(*) FROM receivables.companies") == 0
    assert moved_to.connections.all() == []


def test_tables_of_an_older_version_are_to_be_synchronized_once_where_they_are(
    office: Office, moved_to: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "MIGRATIONS", (lambda _: None,))
    with pytest.raises(
        WarehouseUnusable, match=r"pennylane-sync sync \(with WAREHOUSE_URL as it was before the move\)"
    ):
        move(office, moved_to)


def test_while_a_company_is_synchronized_nothing_is_moved(office: Office, moved_to: Office) -> None:
    with (
        office.connections.lease(office.company_id, "a run", "hourly_sync"),
        pytest.raises(LeaseHeld, match="hourly_sync"),
    ):
        move(office, moved_to)
    with moved_to.warehouse.session() as session:
        assert not session.has_table("accounts")
