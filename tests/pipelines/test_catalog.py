"""What Postgres's catalog says of keys and indexes, beside the declarations (`test_views` has columns and comments)."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tenacity import Retrying, stop_after_delay, wait_fixed

from pipelines.indexes import INDEXES
from pipelines.tables import LISTED, TABLES
from pipelines.warehouse import warehouse_at
from sandbox.changes import invoices
from tests.pipelines.company import Company
from tests.pipelines.conftest import MakeCompany
from tests.postgres import Databases, PostgresServer

LINKS = [
    ("contacts", "account_id"), ("invoices", "account_id"), ("credit_notes", "account_id"),
    ("credit_notes", "credited_invoice_id"), ("payments", "invoice_id"), ("excluded_accounts", "account_id"),
]  # fmt: skip
"""By which a row of one table is looked up from another."""
LONG = f"accounts_{'x' * 54}"
"""As long as Postgres lets a name be."""


@pytest.fixture
def company(make_company: MakeCompany, databases: Databases, postgres_with_tables: str) -> Iterator[Company]:
    with databases.new(postgres_with_tables) as url:
        company = make_company(2, 5, warehouse_at(url))
        invoices.create_credit_note(company.world)
        company.sync()
        company.sync()  # which makes the indexes of what the first has filled
        yield company


def keys(company: Company) -> dict[str, tuple[str, ...]]:
    """The columns of each table's primary key."""
    with company.warehouse.session() as session:
        found = session.rows(
            """
            SELECT conrelid::regclass::text, array_agg(attname::text ORDER BY array_position(conkey, attnum))
            FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
            WHERE contype = 'p' AND connamespace = 'receivables'::regnamespace GROUP BY 1
            """
        )
    return {name.removeprefix("receivables."): tuple(columns) for name, columns in found}


def indexed(company: Company) -> list[tuple[str, list[str]]]:
    """Each index of all rows: its table and columns."""
    with company.warehouse.session() as session:
        return session.rows(
            """
            SELECT t.relname, array_agg(attname::text ORDER BY a.attnum)
            FROM pg_index JOIN pg_class t ON t.oid = indrelid JOIN pg_attribute a ON a.attrelid = indexrelid
            WHERE relnamespace = 'receivables'::regnamespace AND indpred IS NULL AND indisvalid GROUP BY indexrelid, 1
            """
        )


def missing_indexes(company: Company) -> set[str]:
    """The names of those beside the keys that are not there."""
    with company.warehouse.session() as session:
        found = session.rows("SELECT indexname FROM pg_indexes WHERE schemaname = 'receivables'")
    return INDEXES.keys() - {name for (name,) in found}


def test_each_table_has_its_primary_key_and_each_link_its_index(company: Company) -> None:
    assert keys(company) == {table.name: table.key for table in TABLES}
    indexes = indexed(company)
    for table, column in LINKS:
        assert any(name == table and columns[:2] == ["company_id", column] for name, columns in indexes), (
            table,
            column,
        )


def with_keys_of_an_earlier_version(company: Company) -> None:
    with company.warehouse.session() as session:
        session.execute("ALTER TABLE receivables.accounts DROP CONSTRAINT accounts_pkey")
        session.execute("CREATE UNIQUE INDEX accounts_account_id_key ON receivables.accounts (company_id, account_id)")


def test_a_database_of_before_there_were_primary_keys_gets_them_from_its_indexes(company: Company) -> None:
    with_keys_of_an_earlier_version(company)
    company.sync()
    assert keys(company) == {table.name: table.key for table in TABLES}
    of_accounts = [columns for name, columns in indexed(company) if name == "accounts"]
    assert of_accounts.count(["company_id", "account_id"]) == 1


def test_a_primary_key_that_somebody_made_is_left_alone(company: Company) -> None:
    with company.warehouse.session() as session:
        session.execute("ALTER TABLE receivables.companies DROP CONSTRAINT companies_pkey")
        session.execute("ALTER TABLE receivables.companies ADD CONSTRAINT my_own PRIMARY KEY (company_id)")
    company.sync()
    assert company.differences() == []


def test_a_table_that_somebody_renamed_leaves_its_successor_the_names_of_keys_and_indexes(company: Company) -> None:
    with company.warehouse.session() as session:
        session.execute("ALTER TABLE receivables.payments RENAME TO mine")
        session.execute("ALTER TABLE receivables.credit_notes RENAME TO kept")
    before = len(indexed(company))
    company.sync(rotation=1000)
    assert keys(company).items() >= {table.name: table.key for table in TABLES}.items()
    company.sync()
    assert len(indexed(company)) == before + 4  # a key of each, and the two links of credit notes
    assert company.differences() == []


def test_a_table_may_be_renamed_again_and_again_to_names_of_any_length_and_with_the_keys_of_an_earlier_version(
    company: Company,
) -> None:
    for new_name, next_name in (("accounts_old", "older"), (LONG, "still_there"), ("accounts_old", "older still")):
        with_keys_of_an_earlier_version(company)
        with company.warehouse.session() as session:
            session.execute(f"ALTER TABLE receivables.accounts RENAME TO {new_name}")
        company.lists_only()
        assert keys(company)["accounts"] == ("company_id", "account_id")
        with company.warehouse.session() as session:
            session.execute(f'ALTER TABLE receivables.{new_name} RENAME TO "{next_name}"')
    company.sync(rotation=1000)
    assert company.differences() == []


def test_an_index_that_is_missing_is_made_once_nobody_writes_to_its_table_and_no_sync_fails_for_it(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does one wait for each of several."""
    caplog.set_level("INFO")
    by_reading = ("invoices", ["company_id", "payments_synced_at"])
    with company.warehouse.session() as session:
        for name in ("payments_synced_at", "account_id"):
            session.execute(f"DROP INDEX receivables.invoices_{name}_index")
        with session.transaction():
            session.execute("LOCK TABLE receivables.invoices IN ROW EXCLUSIVE MODE")  # as a sync of another company
            company.sync(full=True)
            assert by_reading not in indexed(company)
            assert caplog.text.count("left to the next sync") == 1
            assert company.differences() == []
    company.sync()
    assert by_reading in indexed(company)
    assert missing_indexes(company) == set()


def test_an_empty_table_of_a_list_is_filled_first_and_indexed_then(
    make_company: MakeCompany, databases: Databases, postgres_with_tables: str
) -> None:
    """By whoever opens the tables next: of a first run, that is the step after the lists."""
    of_lists = {name for name, (table, _) in INDEXES.items() if table in LISTED}
    with databases.new(postgres_with_tables) as url:
        company = make_company(12, 80, warehouse_at(url))
        company.sync()
        assert missing_indexes(company) == of_lists
        company.sync()
        assert missing_indexes(company) == set()


def test_indexes_that_were_replaced_go_once_nobody_reads_the_table(company: Company) -> None:
    made = "CREATE INDEX invoices_updated_at_index ON receivables.invoices (company_id, updated_at)"
    before = ("invoices", ["company_id", "updated_at"])
    with company.warehouse.session() as session:
        session.execute(made)
        with session.transaction():
            session.execute("LOCK TABLE receivables.invoices IN ACCESS SHARE MODE")  # as somebody's report
            company.sync()
            assert before in indexed(company)
    company.sync()
    assert before not in indexed(company)
    assert missing_indexes(company) == set()


def test_an_autovacuum_of_what_was_filled_gives_way_to_its_indexes(
    make_company: MakeCompany, postgres_server: PostgresServer
) -> None:
    """It begins right after a first listing, and takes minutes where there is much."""
    with Databases(postgres_server.url("postgres")).new() as url:
        company = make_company(2, 5, warehouse_at(url))
        company.sync()
        with autovacuum_of_invoices(postgres_server, company):
            company.sync()
        assert missing_indexes(company) == set()


def test_a_vacuum_of_what_was_filled_keeps_no_sync(
    make_company: MakeCompany, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does a limit of the server's to how long a statement may wait for it."""
    caplog.set_level("INFO")
    with Databases(postgres_server.url("postgres")).new() as url:
        company = make_company(2, 5, warehouse_at(f"{url}?options=-c%20statement_timeout%3D1s"))
        company.sync()
        another_has_many_invoices(company)
        with warehouse_at(url).session() as session, session.transaction():
            session.execute("LOCK TABLE receivables.invoices IN SHARE UPDATE EXCLUSIVE MODE")
            company.sync()
        assert "invoices, and to index it, is left to the next sync" in caplog.text
        assert ("invoices", ["company_id", "payments_synced_at"]) not in indexed(company)
        assert company.differences() == []
        company.sync()
        assert missing_indexes(company) == set()


def another_has_many_invoices(company: Company) -> None:
    """Another company in the same tables. What came is counted when who brought it is done."""
    with company.warehouse.session() as session:
        session.execute(
            """
            INSERT INTO receivables.invoices SELECT theirs.*
            FROM generate_series(1, 6000) AS number, (SELECT * FROM receivables.invoices LIMIT 1) AS ours,
                jsonb_build_object('company_id', 2, 'invoice_id', number) AS other,
                jsonb_populate_record(CAST(NULL AS receivables.invoices), to_jsonb(ours) || other) AS theirs
            """
        )


@contextmanager
def autovacuum_of_invoices(server: PostgresServer, company: Company) -> Iterator[None]:
    """One that is under way, and so slow that it does not end by itself; none begins after it."""
    slow = "insert_threshold = 1, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"
    another_has_many_invoices(company)
    with company.warehouse.session() as session:
        session.execute(f"ALTER TABLE receivables.invoices SET (autovacuum_vacuum_{slow})")
        server.run("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        server.run("SELECT pg_reload_conf()")
        under_way = "SELECT 1 FROM pg_stat_activity WHERE query ~ '^autovacuum: VACUUM.*invoices'"
        try:
            for attempt in Retrying(wait=wait_fixed(0.1), stop=stop_after_delay(60)):
                with attempt:
                    assert session.rows(under_way)
        finally:
            server.run("ALTER SYSTEM RESET autovacuum_naptime")
            server.run("SELECT pg_reload_conf()")
        yield
