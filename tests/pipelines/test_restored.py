"""A warehouse that was put back from a backup catches up with its next sync: nobody has to tell it."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.warehouse import DuckDBWarehouse, Warehouse
from sandbox.changes import customers, invoices, receipts
from tests.pipelines.company import DAY, WEEK, Company
from tests.pipelines.conftest import MakeCompany
from tests.pipelines.truth import Row, differences, expected
from tests.postgres import PostgresServer

Restore = Callable[[], object]
Rows = dict[tuple[object, ...], Row]

EVERYTHING = 1_000
"""Requests for reading contacts and payments again, also of what raised no event."""


def back_up(warehouse: Warehouse, folder: Path, request: pytest.FixtureRequest) -> Restore:
    """As docs/operations.md says; what is returned puts back what there was."""
    if isinstance(warehouse, DuckDBWarehouse):
        copy = Path(shutil.copy(warehouse.path, folder / "backup.duckdb"))
        path = warehouse.path
        return lambda: shutil.copy(copy, path)
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url: str = request.getfixturevalue("postgres_url")
    dump = folder / "receivables.dump"
    subprocess.run(
        [server.programs / "pg_dump", "--format=custom", "--schema=receivables", f"--file={dump}", url], check=True
    )

    def restore() -> None:
        with warehouse.session() as session:
            session.execute("DROP SCHEMA receivables CASCADE")
        subprocess.run([server.programs / "pg_restore", f"--dbname={url}", dump], check=True)

    return restore


def test_an_older_copy_catches_up_by_the_change_feeds_or_after_four_weeks_by_listing_everything(
    make_company: MakeCompany, any_warehouse: Warehouse, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    company = make_company(6, 24, any_warehouse)
    never, later, for_a_while, *_ = sorted(one.id for one in company.world.customers)
    company.excluded = {never, for_a_while}
    company.sync()
    restore = back_up(any_warehouse, tmp_path, request)
    then = rows_of(company, never, later)

    company.excluded = {never, later}
    customers.update_customer(company.world, id=later, name="Changed while left out")
    something_happens(company)
    company.sync(after=DAY)
    something_happens(company)
    restore()
    assert company.sync(rotation=EVERYTHING).lists.mode == "incremental"
    assert_as_at_pennylane_but_for_those_left_out(company, then)

    something_happens(company)
    restore()
    assert company.sync(rotation=EVERYTHING, after=5 * WEEK).lists.mode == "full"
    assert_as_at_pennylane_but_for_those_left_out(company, then)


def something_happens(company: Company) -> None:
    """Something new, changed, paid, unmatched and deleted, of every kind."""
    world = company.world
    account = customers.create_customer(world)["id"]
    customers.create_contact(world, customer_id=account)
    customers.update_customer(world)
    customers.update_contact(world)
    customers.delete_contact(world)
    new, paid = [invoices.create_invoice(world, customer_id=account)["id"] for _ in range(2)]
    invoices.create_credit_note(world, invoice_id=new)
    receipts.unmatch_transaction(world, id=receipts.pay_invoice(world, id=paid)["id"])
    receipts.pay_invoices(world)
    invoices.update_invoice(world, label="Changed")
    invoices.delete_invoice(world)


def rows_of(company: Company, *accounts: int) -> Rows:
    """Accounts, contacts, documents and payments of these, as they stand in the warehouse."""
    tables = company.held()
    theirs = {
        invoice for _, invoice in (key for key, row in tables["invoices"].items() if row["account_id"] in accounts)
    }
    return {
        (table, *key): row
        for table, rows in tables.items()
        for key, row in rows.items()
        if (row["invoice_id"] in theirs if table == "payments" else row["account_id"] in accounts)
    }


def assert_as_at_pennylane_but_for_those_left_out(company: Company, then: Rows) -> None:
    """Of the account that was left out after the backup, and of none else, stands what stood there then."""
    assert rows_of(company, *company.excluded) == then
    others = {
        table: {key: row for key, row in rows.items() if (table, *key) not in then}
        for table, rows in company.held().items()
    }
    assert differences(others, expected(company.world, company.server.url, company.excluded)) == []
