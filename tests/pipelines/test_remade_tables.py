"""A table that is made again concerns all companies, those too that are not just being synchronized."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest

from pipelines.errors import WarehouseUnusable
from pipelines.landing import Landing
from pipelines.lateness import became_late_since
from pipelines.receipts import invoices_outdated_by
from pipelines.verification import Verification
from pipelines.views import VIEWS
from sandbox.changes import customers, invoices
from sandbox.clock import Clock
from sandbox.core import Settings
from sandbox.generator.books import make_world
from sandbox.server import SandboxServer
from tests.pipelines.company import HOUR, NOW, Company
from tests.pipelines.conftest import MakeCompany
from tests.pipelines.test_damage import by_hand

pytestmark = pytest.mark.usefixtures("plain_loading")

LISTS = {"accounts", "invoices", "credit_notes"}


@pytest.fixture
def company(make_company: MakeCompany) -> Company:
    company = make_company(4, 15)
    company.lists_only()
    return company


@pytest.fixture
def neighbour(company: Company) -> Iterator[Company]:
    """Another company in the same database."""
    world = make_world(Clock(NOW, frozen=True), customers=2, invoices=6, number=1)
    with SandboxServer(world, settings=Settings(control=True, rate_limit=0)) as server:
        neighbour = Company(server, company.warehouse, company.work_dir)
        neighbour.lists_only()
        yield neighbour


def make_again(company: Company, *tables: str) -> None:
    """What comes of a table that was dropped once dlt has made it: an empty one, without a comment."""
    with company.warehouse.session() as session:
        for table in tables:
            session.execute(f"CREATE TABLE receivables.made AS SELECT * FROM receivables.{table} LIMIT 0")
            session.execute(f"DROP TABLE receivables.{table} CASCADE")
            session.execute(f"ALTER TABLE receivables.made RENAME TO {table}")


def lists_differ(company: Company) -> list[str]:
    return [line for line in company.differences() if line.split(":")[0].split(" ")[0] in LISTS]


def count(company: Company, table: str) -> int:
    with company.warehouse.session() as session:
        return int(session.value(f"SELECT count(*) FROM receivables.{table} WHERE company_id = {company.id}"))


@contextmanager
def in_progress(company: Company) -> Iterator[Landing]:
    with Landing.opened(company.warehouse, company.id, company.work_dir) as landing:
        yield landing


def test_each_company_gets_a_dropped_table_back_with_its_own_next_sync_and_once(
    company: Company, neighbour: Company
) -> None:
    make_again(company, "invoices")
    assert company.lists_only().mode == "full"
    assert lists_differ(company) == []
    assert company.lists_only().mode == "incremental"
    assert neighbour.lists_only().mode == "full"
    assert lists_differ(neighbour) == []
    assert neighbour.lists_only().mode == "incremental"


def test_a_run_in_progress_does_not_hide_that_another_one_made_a_table_again(
    company: Company, neighbour: Company
) -> None:
    with ExitStack() as running:
        landing = running.enter_context(in_progress(neighbour))
        make_again(company, "credit_notes")
        company.lists_only()
        landing.land({}, {**landing.state, "listed_until": NOW.isoformat()})
    neighbour.lists_only()
    assert lists_differ(neighbour) == []


def test_what_was_kept_out_of_an_account_that_is_gone_stays_out_when_a_table_is_made_again(
    make_company: MakeCompany,
) -> None:
    company = make_company(4, 15)
    account = next(one.customer_id for one in company.world.invoices if one.settles and one.customer_id)
    company.excluded = {account}
    company.lists_only()
    customers.delete_customer(company.world, id=account)
    company.world.clock.advance(HOUR)
    company.lists_only()
    make_again(company, "invoices", "credit_notes")
    company.world.clock.advance(HOUR)
    company.lists_only()
    assert lists_differ(company) == []


def test_a_crash_after_a_table_was_made_again_leaves_the_filling_to_the_next_sync(company: Company) -> None:
    make_again(company, "accounts")
    with in_progress(company):
        pass
    company.lists_only()
    assert lists_differ(company) == []


def test_tables_and_cursors_of_an_older_version_that_tell_no_times_need_no_listing(company: Company) -> None:
    with in_progress(company) as landing, company.warehouse.session() as session:
        landing.land({}, {name: value for name, value in landing.state.items() if name != "tables"})
        for table in LISTS:
            session.execute(f"COMMENT ON TABLE receivables.{table} IS 'as an older version described it'")
    assert company.lists_only().mode == "incremental"
    make_again(company, "credit_notes")
    assert company.lists_only().mode == "full"
    assert lists_differ(company) == []


def test_an_invoice_deleted_while_its_table_was_gone_leaves_no_payments(company: Company) -> None:
    company.sync()
    kept = count(company, "payments")
    invoice = next(one.id for one in company.world.invoices if one.settles and one.kind == "invoice")
    make_again(company, "invoices")
    invoices.delete_invoice(company.world, id=invoice)
    company.lists_only()
    assert 0 < count(company, "payments") < kept
    assert [line for line in company.differences() if "left over" in line] == []


def test_contacts_of_an_excluded_account_stay_when_the_accounts_were_dropped(company: Company) -> None:
    company.sync()
    accounts = [key[1] for key in company.held()["accounts"]]
    contacts = company.held()["contacts"]
    owners = {row["account_id"] for row in contacts.values()}
    excluded, deleted = [one for one in accounts if one in owners][:2]
    company.excluded = {excluded}
    company.lists_only()
    make_again(company, "accounts")
    customers.delete_customer(company.world, id=deleted)
    company.lists_only()
    stay = {key for key, row in contacts.items() if row["account_id"] != deleted}
    assert company.held()["contacts"].keys() == stay


def test_the_views_do_not_call_a_company_synchronized_of_which_nobody_knows_whether_it_is(company: Company) -> None:
    with company.warehouse.session() as session:
        for view in VIEWS:
            assert session.rows(f"SELECT DISTINCT synchronized FROM receivables.{view.name}") == [(False,)]
        session.execute(f"INSERT INTO receivables.companies (company_id) VALUES ({company.id})")
        for view in VIEWS:
            assert session.rows(f"SELECT DISTINCT synchronized FROM receivables.{view.name}") == [(True,)]


def test_an_invoice_of_which_nobody_knows_when_it_was_read_is_older_than_any_payment(company: Company) -> None:
    ids = [key[1] for key in company.held()["invoices"]][:2]
    with company.warehouse.session() as session:
        session.execute(f"UPDATE receivables.invoices SET synced_at = NULL WHERE invoice_id = {ids[0]}")
        receipts = {one: [{"updated_at": NOW - timedelta(weeks=1)}] for one in ids}
        assert invoices_outdated_by(session, company.id, receipts, again=False) == {ids[0]}
    assert not became_late_since(None, NOW.date())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("ALTER TABLE receivables.invoices DROP COLUMN label", r"Missing: invoices\.label in receivables"),
        ("DROP TABLE receivables.excluded_accounts", r"Missing: excluded_accounts in receivables"),
        ("DROP TABLE receivables._dlt_version", r"Missing: _dlt_version in receivables"),
    ],
)
def test_verify_says_at_once_what_is_missing_and_that_a_sync_mends_it(company: Company, damage: str, said: str) -> None:
    by_hand(company, damage)
    company.forget_requests()
    with pytest.raises(WarehouseUnusable, match=f"{said}.*pennylane-sync sync"):
        Verification(
            company.pennylane(), company.warehouse, company.id, excluded=(), clock=company.clock, watch=lambda _: None
        )
    assert company.requests["total"] == 0


@pytest.mark.parametrize("table", ["accounts", "contacts", "invoices", "credit_notes"])
def test_a_table_that_does_not_tell_whose_its_rows_are_is_told_with_what_to_do(company: Company, table: str) -> None:
    by_hand(company, f"ALTER TABLE receivables.{table} DROP COLUMN account_id")
    with pytest.raises(WarehouseUnusable, match=rf"receivables\.{table} lacks account_id.*DROP TABLE"):
        company.lists_only()
