"""Tables that somebody changed by hand, or that an older version made: they mend themselves, or say what to do."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pipelines.errors import WarehouseUnusable
from pipelines.landing import Landing
from pipelines.tables import TABLES
from pipelines.warehouse import Warehouse
from sandbox.changes import customers, invoices
from tests.conftest import DATABASES
from tests.pipelines.company import HOUR, Company
from tests.pipelines.conftest import MakeCompany, MakeSynced

NO_DETAILS = 0


@pytest.fixture(params=DATABASES)
def synced(make_synced: MakeSynced, request: pytest.FixtureRequest) -> Company:
    return make_synced(5, 25, database=request.param)


def by_hand(company: Company, *statements: str) -> None:
    """What a person with a SQL tool does; Postgres wants to hear that views may go with what they show."""
    with company.warehouse.session() as session:
        for statement in statements:
            session.execute(f"{statement} CASCADE" if session.is_postgres and "DROP" in statement else statement)


def assert_views_can_be_read(company: Company) -> None:
    with company.warehouse.session() as session:
        for view in ("open_invoices", "account_balances", "aged_balance"):
            assert session.value(f"SELECT count(*) FROM receivables.{view}") > 0


def test_columns_that_were_dropped_come_back_filled_with_the_next_sync(synced: Company) -> None:
    by_hand(
        synced,
        "ALTER TABLE receivables.invoices DROP COLUMN amount",
        "ALTER TABLE receivables.credit_notes DROP COLUMN label",
        "ALTER TABLE receivables.accounts DROP COLUMN name",
        "ALTER TABLE receivables.accounts DROP COLUMN synced_at",
        "ALTER TABLE receivables.contacts DROP COLUMN email",
        "ALTER TABLE receivables.payments DROP COLUMN currency",
        "ALTER TABLE receivables.companies DROP COLUMN company_name",
    )
    assert synced.sync(rotation=NO_DETAILS).lists.mode == "incremental"
    assert synced.differences() == []
    assert_views_can_be_read(synced)
    quiet = synced.sync(rotation=NO_DETAILS)
    assert (quiet.list_requests, quiet.detail_requests) == (2, 0)


def test_what_a_dropped_column_held_of_an_excluded_account_is_not_asked_for(synced: Company) -> None:
    account = next(one.customer_id for one in synced.world.invoices if one.settles and one.customer_id)
    synced.excluded = {account}
    synced.sync()
    before = synced.held()
    by_hand(synced, "ALTER TABLE receivables.accounts DROP COLUMN phone")
    synced.forget_requests()
    synced.sync()
    assert synced.requests["served"].get(str(account), 0) == 0
    expected = {**before["accounts"][synced.id, account], "phone": None}
    assert synced.held()["accounts"][synced.id, account] == expected
    others = {key: row for key, row in before["accounts"].items() if key[1] != account}
    assert {key: row for key, row in synced.held()["accounts"].items() if key[1] != account} == others


@contextmanager
def an_older_version(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of the program, in which each of these columns was not declared yet."""
    later = {"accounts": "recipient", "invoices": "pdf_description", "contacts": "role", "payments": "label"}
    with monkeypatch.context() as older:
        for table in TABLES:
            kept = tuple(column for column in table.columns if column.name != later.get(table.name))
            older.setattr(type(table), "__setattr__", object.__setattr__)
            older.setattr(table, "columns", kept)
        older.setattr("pipelines.records._plan", _plan_anew())
        yield


def test_tables_of_an_older_version_get_the_columns_declared_since_and_are_filled(
    make_company: MakeCompany, any_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = make_company(5, 25, any_warehouse)
    with an_older_version(monkeypatch):
        company.sync()
    assert company.differences() != []
    invoices.create_invoice(company.world)
    customers.create_customer(company.world)
    company.sync(rotation=NO_DETAILS)
    assert company.differences() == []


def test_columns_declared_since_are_filled_though_a_sync_of_the_older_version_ends_after_the_update(
    make_company: MakeCompany, any_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    company, another = make_company(5, 25, any_warehouse), make_company(2, 3, any_warehouse)
    pennylane = another.pennylane()
    another.world.id = 2
    with ExitStack() as ending:
        with an_older_version(monkeypatch):
            company.sync()
            another.sync(pennylane=pennylane)
            older = ending.enter_context(Landing.opened(any_warehouse, another.id, tmp_path / "elsewhere"))
            older.land({}, {**older.state, "more": 1})
        company.sync(rotation=NO_DETAILS)
        with an_older_version(monkeypatch):
            older.land({}, {**older.state, "more": 2})
    changed = next(one.id for one in company.world.invoices if one.settles)
    invoices.update_invoice(company.world, id=changed, pdf_description="changed")
    customers.create_customer(company.world)
    company.sync(rotation=NO_DETAILS)
    assert company.differences() == []


def _plan_anew() -> Callable[..., object]:
    from pipelines import records

    plan: Callable[..., object] = records._plan.__wrapped__
    return plan


@pytest.mark.parametrize("name", ["follow_up", "day", "rank", "received"])
def test_a_column_of_somebody_s_own_stays_and_is_left_alone(synced: Company, name: str) -> None:
    by_hand(synced, f"ALTER TABLE receivables.invoices ADD COLUMN {name} TEXT")
    by_hand(synced, f"UPDATE receivables.invoices SET {name} = 'called'")
    changed = next(one.id for one in synced.world.invoices if one.settles)
    invoices.update_invoice(synced.world, id=changed, label="changed")
    synced.sync()
    assert {line.split(": ")[1].split(" ")[0] for line in synced.differences()} == {name}
    rows = synced.held()["invoices"]
    assert rows[synced.id, changed]["label"] == "changed"
    assert {row[name] for key, row in rows.items() if key[1] != changed} == {"called"}


@pytest.mark.parametrize(
    "tables", [["invoices"], ["accounts", "credit_notes", "contacts", "payments", "excluded_accounts"]], ids=" ".join
)
def test_tables_that_were_dropped_are_made_and_filled_again(synced: Company, tables: list[str]) -> None:
    by_hand(synced, *(f"DROP TABLE receivables.{table}" for table in tables))
    synced.sync(rotation=NO_DETAILS)
    assert synced.differences() == []
    assert_views_can_be_read(synced)


def test_a_view_in_the_way_of_a_table_is_told_with_what_to_do_and_what_it_hid_comes_back(synced: Company) -> None:
    by_hand(
        synced,
        "DROP TABLE receivables.credit_notes",
        "CREATE VIEW receivables.credit_notes AS SELECT 1 AS company_id, 2 AS credit_note_id",
    )
    with pytest.raises(WarehouseUnusable) as refused:
        synced.sync()
    said = str(refused.value)
    assert said.startswith(f"Company {synced.id}: receivables.credit_notes is a view")
    assert "DROP VIEW receivables.credit_notes" in said
    by_hand(synced, "DROP VIEW receivables.credit_notes")
    synced.sync(rotation=NO_DETAILS)
    assert synced.differences() == []


def test_a_table_in_the_way_of_a_view_is_told_with_what_to_do(synced: Company) -> None:
    by_hand(synced, "DROP VIEW receivables.aged_balance")
    by_hand(synced, "CREATE TABLE receivables.aged_balance AS SELECT 1 AS company_id")
    with pytest.raises(WarehouseUnusable, match=r"receivables\.aged_balance is a table"):
        synced.sync()
    by_hand(synced, "ALTER TABLE receivables.aged_balance RENAME TO mine")
    synced.sync(after=HOUR)
    assert synced.differences() == []
    assert_views_can_be_read(synced)


def test_a_table_without_a_column_of_its_key_is_told_with_what_to_do(synced: Company) -> None:
    by_hand(synced, "ALTER TABLE receivables.payments DROP COLUMN payment_id")
    with pytest.raises(WarehouseUnusable, match=r"receivables\.payments lacks payment_id.*DROP TABLE receivables"):
        synced.sync()
    by_hand(synced, "DROP TABLE receivables.payments")
    synced.sync(rotation=NO_DETAILS)
    assert synced.differences() == []


def test_a_crash_while_a_table_is_mended_leaves_the_mending_to_the_next_sync(
    synced: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand(synced, "ALTER TABLE receivables.invoices DROP COLUMN label", "DROP TABLE receivables.contacts")
    with monkeypatch.context() as crashing:

        def crash(*_: object) -> None:
            raise RuntimeError("the power is cut")

        crashing.setattr("pipelines.landing.Landing._load", crash)
        with pytest.raises(RuntimeError):
            synced.sync()
    synced.sync(rotation=NO_DETAILS)
    assert synced.differences() == []


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE receivables_staging_{}.invoices",
        "DROP TABLE receivables._dlt_loads",
        "DROP TABLE receivables._dlt_pipeline_state",
    ],
)
def test_tables_of_the_loading_itself_that_were_dropped_come_back(make_company: MakeCompany, statement: str) -> None:
    company = make_company(2, 5)
    company.lists_only()
    by_hand(company, statement.format(company.id))
    invoices.create_invoice(company.world)
    company.world.clock.advance(HOUR)
    company.lists_only()
    held, created = company.held()["invoices"], [one for one in company.world.invoices if one.kind == "invoice"]
    assert {key[1] for key in held} == {one.id for one in created}
