"""Least rights in Postgres: what docs/postgres.md has an administrator grant is enough, and what is lacking is said."""

import subprocess
from pathlib import Path

import psycopg2
import pytest

from pipelines.errors import WarehouseUnusable
from pipelines.tables import TABLES
from pipelines.views import VIEWS
from pipelines.warehouse import warehouse_at
from resources.exclusions import Exclusions
from resources.store import Store, StoreUnavailable, schema_version
from sandbox.changes import invoices
from tests.documents import documented
from tests.granting import Shared, to_be_run
from tests.pipelines.company import NOW, Company
from tests.pipelines.conftest import MakeCompany
from tests.postgres import PostgresServer

READ = [one.name for one in (*TABLES, *VIEWS)]


def use_store(url: str) -> None:
    with Store(url).reading() as transaction:
        assert transaction.scalar(schema_version.select())
    left_out = Exclusions(Store(url), lambda: NOW)
    assert left_out.exclude(1, [2], "me") == left_out.include(1, [2], "me") == [2]


def test_schemas_that_an_administrator_made_do_in_place_of_the_right_to_make_them(
    postgres_server: PostgresServer, make_company: MakeCompany
) -> None:
    shared = Shared.made(postgres_server, "prepared")
    url = shared.role("sync")
    company = make_company(3, 8, warehouse_at(url))
    with pytest.raises(WarehouseUnusable, match=f"^Company {company.id}: .*GRANT CREATE ON DATABASE prepared TO sync;"):
        company.sync()
    shared.admin(documented("What the role may do", "sql", 1).replace("<company>", str(company.id)))
    use_store(url)
    company.sync()
    invoices.create_invoice(company.world)
    company.sync(full=True)
    assert company.differences() == []


def test_what_an_administrator_puts_back_the_role_goes_on_with_and_what_others_lose_is_listed_first(
    postgres_server: PostgresServer, make_company: MakeCompany, tmp_path: Path
) -> None:
    shared = Shared.made(postgres_server, "put back")
    company = make_company(3, 8, warehouse_at(shared.role("restricted")))
    made = documented("What the role may do", "sql", 1).replace(" sync", " restricted")
    shared.admin(made.replace("<company>", str(company.id)))
    company.sync()
    shared.admin("CREATE SCHEMA theirs; CREATE VIEW theirs.owing AS SELECT account_id FROM receivables.invoices")

    def run(commands: str) -> str:
        """As an administrator; also what is only noticed."""
        environment = {"ADMINISTRATOR_URL": shared.admin_url, "PATH": f"{postgres_server.programs}:/usr/bin:/bin"}
        ran = subprocess.run(
            ["/bin/sh", "-ec", commands], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return ran.stdout + ran.stderr

    run('pg_dump --format=custom --schema=receivables --file=receivables.dump "$ADMINISTRATOR_URL"')
    listed = run(documented("Putting it back", "", 1, page="operations.md"))
    assert "drop cascades to view theirs.owing" in listed
    with pytest.raises(WarehouseUnusable, match="permission denied"), company.warehouse.session() as session:
        session.execute("CREATE SCHEMA another")
    invoices.create_invoice(company.world)
    company.sync()
    run(documented("Putting it back", "", 0, page="operations.md"))
    company.sync()
    assert company.differences() == []


def test_tables_of_a_former_role_are_taken_over_with_the_sql_that_the_error_shows(
    postgres_server: PostgresServer, make_company: MakeCompany
) -> None:
    shared = Shared.made(postgres_server, "inherited")
    company = make_company(3, 8, warehouse_at(shared.role("former")))
    shared.admin("GRANT CREATE ON DATABASE inherited TO former")
    company.sync()
    theirs = Company(company.server, warehouse_at(shared.role("successor")), company.work_dir)
    with pytest.raises(WarehouseUnusable) as told:
        theirs.sync()
    assert "\n" not in str(told.value)
    wanted = to_be_run(str(told.value))
    assert "GRANT USAGE, CREATE ON SCHEMA receivables TO successor" in wanted
    assert "ALTER TABLE receivables.invoices OWNER TO successor" in wanted
    shared.admin(wanted)
    invoices.create_invoice(company.world)
    theirs.sync()
    theirs.sync(full=True)
    assert theirs.differences() == []


def test_a_store_of_a_former_role_is_taken_over_with_the_sql_that_the_error_shows(
    postgres_server: PostgresServer,
) -> None:
    shared = Shared.made(postgres_server, "handed over")
    first, second = shared.role("first"), shared.role("second")
    shared.admin('GRANT CREATE ON DATABASE "handed over" TO first, second')
    use_store(first)
    shared.admin("GRANT USAGE ON SCHEMA pennylane_sync TO second")
    shared.admin("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pennylane_sync TO second")
    with pytest.raises(StoreUnavailable) as refused:
        use_store(second)
    shared.admin(to_be_run(str(refused.value)))
    use_store(second)


def test_a_schema_that_belongs_to_somebody_else_is_used_once_that_is_granted(
    postgres_server: PostgresServer, make_company: MakeCompany
) -> None:
    shared = Shared.made(postgres_server, "theirs")
    company = make_company(2, 5, warehouse_at(shared.role("guest")))
    shared.admin(f"CREATE SCHEMA receivables; CREATE SCHEMA receivables_staging_{company.id}")
    with pytest.raises(WarehouseUnusable) as refused:
        company.sync()
    wanted = to_be_run(str(refused.value))
    assert "DATABASE" not in wanted
    shared.admin(wanted)
    company.sync()
    assert company.differences() == []


def test_a_role_that_reads_sees_what_was_made_before_and_after_it_and_nothing_else(
    postgres_server: PostgresServer, make_company: MakeCompany, tmp_path: Path
) -> None:
    shared = Shared.made(postgres_server, "books_to_read")
    url = shared.role("keeper")
    shared.admin("GRANT CREATE ON DATABASE books_to_read TO keeper")
    company = make_company(4, 12, warehouse_at(url))
    use_store(url)
    company.lists_only()
    sql = documented("A role that reads", "sql").replace("books", "books_to_read").replace("ROLE sync", "ROLE keeper")
    shared.admin(sql)
    reader = url.replace("keeper", "reader").replace(url.split(":")[2].split("@")[0], "choose another")

    company.sync()
    company.sync(full=True)
    assert_reads_and_nothing_else(reader, company)

    with company.warehouse.session() as session:
        session.execute("DROP TABLE receivables.payments")
        session.execute("DROP TABLE receivables.credit_notes")
        session.execute("DROP VIEW receivables.aged_balance")
        session.execute("COMMENT ON VIEW receivables.open_invoices IS 'as an older version made it'")
    company.sync(rotation=1000)
    assert company.differences() == []
    assert_reads_and_nothing_else(reader, company)


def assert_reads_and_nothing_else(reader: str, company: Company) -> None:
    with psycopg2.connect(reader) as connection:
        connection.autocommit = True
    cursor = connection.cursor()
    for name in READ:
        cursor.execute(f"SELECT count(*) FROM receivables.{name}")
    cursor.execute("SELECT count(*) FROM receivables.invoices")
    assert cursor.fetchone() == (len(company.held()["invoices"]),)
    for refused in (
        "DELETE FROM receivables.invoices",
        "UPDATE receivables.accounts SET name = 'x'",
        "INSERT INTO receivables.companies (company_id) VALUES (1)",
        "TRUNCATE receivables.payments",
        "DROP VIEW receivables.aged_balance",
        "CREATE TABLE receivables.mine (id int)",
        "SELECT * FROM pennylane_sync.connections",
        f"SELECT * FROM receivables_staging_{company.id}.invoices",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(refused)
    cursor.execute("SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_schema !~ '^(pg_|inf)'")
    assert cursor.fetchall() == [("receivables",)]
    connection.close()
