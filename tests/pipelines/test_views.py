"""What is late and owed is worked out when it is read; what the declarations say has arrived in the database."""

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from pipelines.errors import WarehouseUnusable
from pipelines.lateness import late_by_now
from pipelines.tables import LISTED, TABLES, Type
from pipelines.views import VIEWS, summary
from pipelines.warehouse import Warehouse, warehouse_at
from sandbox.changes import invoices
from tests.conftest import DATABASES
from tests.pipelines.company import DAY, Company
from tests.pipelines.conftest import MakeCompany, MakeSynced

TYPES = {
    "duckdb": {
        Type.ID: "BIGINT",
        Type.TEXT: "VARCHAR",
        Type.BOOLEAN: "BOOLEAN",
        Type.DATE: "DATE",
        Type.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
        Type.AMOUNT: "DECIMAL(38,6)",
        Type.RATE: "DECIMAL(38,12)",
        Type.JSON: "JSON",
    },
    "postgres": {
        Type.ID: "bigint",
        Type.TEXT: "character varying",
        Type.BOOLEAN: "boolean",
        Type.DATE: "date",
        Type.TIMESTAMP: "timestamp with time zone",
        Type.AMOUNT: "numeric",
        Type.RATE: "numeric",
        Type.JSON: "jsonb",
    },
}


@pytest.fixture
def company_in(make_company: MakeCompany, any_warehouse: Warehouse) -> Company:
    """A company with invoices due around today, in either database."""
    company = make_company(8, 60, any_warehouse)
    today = datetime.now(ZoneInfo("Europe/Paris")).date()
    account = company.world.customers.at(0).id
    for days in (-100, -91, -90, -61, -60, -31, -30, -1, 0, 1, 30):
        invoices.create_invoice(
            company.world, customer_id=account, amount="100.10", currency="EUR",
            deadline=(today + timedelta(days=days)).isoformat(),
        )  # fmt: skip
    invoices.create_invoice(company.world, customer_id=account, amount="100.10", currency="EUR", deadline=None)
    company.sync()
    return company


def test_an_invoice_is_late_from_the_day_after_its_deadline(company_in: Company) -> None:
    today = datetime.now(ZoneInfo("Europe/Paris")).date()
    with company_in.warehouse.session() as session:
        rows = session.rows("SELECT deadline, late, days_late FROM receivables.open_invoices")
    assert len(rows) > 12
    for deadline, late, days_late in rows:
        expected = (today - deadline).days if deadline and deadline < today else 0
        assert (late, days_late) == (expected > 0, expected)


def test_balances_add_up_to_the_open_invoices(company_in: Company) -> None:
    with company_in.warehouse.session() as session:
        invoices_of = {
            account: (count, owed)
            for account, count, owed in session.rows(
                "SELECT account_id, count(*), SUM(COALESCE(remaining_amount_with_tax, amount)) "
                "FROM receivables.open_invoices GROUP BY account_id"
            )
        }
        balances = {
            account: (count, owed)
            for account, count, owed in session.rows(
                "SELECT account_id, open_invoices, outstanding FROM receivables.account_balances"
            )
        }
        aged = session.rows(
            "SELECT account_id, outstanding, not_due, late_1_to_30, late_31_to_60, late_61_to_90, late_over_90 "
            "FROM receivables.aged_balance"
        )
        totals = {view.name: summary(session, view, company_in.id) for view in VIEWS}
    assert balances.keys() == {one.id for one in company_in.world.customers}
    for account, balance in balances.items():
        assert balance == invoices_of.get(account, (0, Decimal(0)))
    assert {account: owed for account, owed, *_ in aged} == {one: owed for one, (_, owed) in invoices_of.items()}
    assert all(owed == sum(buckets) for _, owed, *buckets in aged)
    first = next(row for row in aged if row[0] == company_in.world.customers.at(0).id)
    assert first[2] >= 4 * Decimal("100.10")  # today, tomorrow, in a month, no deadline
    assert all(bucket >= 2 * Decimal("100.10") for bucket in first[3:6])
    assert totals["open_invoices"]["outstanding_euros"] == totals["aged_balance"]["outstanding_euros"]


def test_an_excluded_account_is_shown_as_not_synchronized(company_in: Company) -> None:
    account = company_in.world.customers.at(0).id
    company_in.excluded = {account}
    company_in.sync()
    with company_in.warehouse.session() as session:
        session.execute(f"INSERT INTO receivables.companies (company_id) VALUES ({company_in.id})")
        shown = dict(session.rows("SELECT account_id, synchronized FROM receivables.account_balances"))
        since = session.rows("SELECT account_id FROM receivables.account_balances WHERE excluded_at IS NOT NULL")
        open_ones = set(session.rows("SELECT account_id, synchronized FROM receivables.open_invoices"))
    assert {one for one, synchronized in shown.items() if not synchronized} == {account}
    assert since == [(account,)]
    assert (account, False) in open_ones
    assert (account, True) not in open_ones


@pytest.mark.usefixtures("plain_loading")
def test_an_invoice_without_paid_draft_or_status_counts_as_open(company: Company) -> None:
    one = next(one for one in company.world.invoices if one.settles and one.cents > 0 and not one.matches)
    one.extra = {"paid": None, "draft": None, "status": None}
    company.sync()
    with company.warehouse.session() as session:
        assert session.rows(f"SELECT 1 FROM receivables.open_invoices WHERE invoice_id = {one.id}")
        assert session.value(
            f"SELECT payments_synced_at IS NOT NULL FROM receivables.invoices WHERE invoice_id = {one.id}"
        )


def test_comments_arrive_and_equal_the_declarations(any_warehouse: Warehouse, make_company: MakeCompany) -> None:
    company = make_company(2, 3, any_warehouse)
    company.sync()
    with company.warehouse.session() as session:
        comments = session.comments("receivables")
    for table in TABLES:
        described = comments[table.name, None]
        assert described.startswith(table.description) if table in LISTED else described == table.description
        for column in table.columns:
            assert comments[table.name, column.name] == column.description
    for view in VIEWS:
        assert comments[view.name, None].startswith(view.description)


def test_views_of_an_older_version_with_other_columns_are_made_anew(
    make_company: MakeCompany, any_warehouse: Warehouse
) -> None:
    company = make_company(2, 10, any_warehouse)
    company.lists_only()
    with company.warehouse.session() as session:
        session.execute("DROP VIEW receivables.aged_balance")
        session.execute("DROP VIEW receivables.account_balances")
        session.execute("DROP VIEW receivables.open_invoices")
        session.execute("CREATE VIEW receivables.open_invoices AS SELECT 'older' AS version")
    company.lists_only()
    with company.warehouse.session() as session:
        for view in VIEWS:
            assert session.value(f"SELECT count(company_id) FROM receivables.{view.name}") > 0


def test_a_view_of_somebody_s_own_in_the_way_of_other_columns_is_told_with_what_to_do(
    make_company: MakeCompany, postgres_url: str
) -> None:
    company = make_company(2, 10, warehouse_at(postgres_url))
    company.lists_only()
    with company.warehouse.session() as session:
        session.execute("DROP VIEW receivables.aged_balance")
        session.execute("CREATE VIEW receivables.aged_balance AS SELECT 'older' AS version")
        session.execute("CREATE VIEW public.mine AS SELECT * FROM receivables.aged_balance")
    with pytest.raises(WarehouseUnusable, match=r"view public\.mine .* aged_balance\)\. Drop that, sync, and make it"):
        company.lists_only()
    with company.warehouse.session() as session:
        assert session.rows("SELECT * FROM public.mine") == [("older",)]
        session.execute("DROP VIEW public.mine")
    company.lists_only()
    with company.warehouse.session() as session:
        assert session.value("SELECT count(company_id) FROM receivables.aged_balance") > 0


@pytest.mark.parametrize("database", DATABASES)
def test_every_declared_column_exists_with_its_type_and_no_other(
    make_company: MakeCompany, database: str, request: pytest.FixtureRequest
) -> None:
    company = make_company(0, 0, request.getfixturevalue("warehouse_of")(database))
    company.sync()
    for table in TABLES:
        with company.warehouse.session() as session:
            found = {
                name: (kind, precision, scale)
                for name, kind, precision, scale in session.rows(
                    "SELECT column_name, data_type, numeric_precision, numeric_scale FROM information_schema.columns "
                    "WHERE table_schema = 'receivables' AND table_name = %s",
                    table.name,
                )
            }
        assert {name: kind for name, (kind, _, _) in found.items()} == {
            column.name: TYPES[database][column.type] for column in table.columns
        }
        for column in table.columns:
            if column.type in (Type.AMOUNT, Type.RATE):
                assert found[column.name][1:] == (38, 6 if column.type is Type.AMOUNT else 12)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_has_the_columns_that_it_describes(make_synced: MakeSynced, view: object) -> None:
    company = make_synced()
    with company.warehouse.session() as session:
        names = [
            name
            for (name,) in session.rows(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_schema = 'receivables' AND table_name = %s ORDER BY ordinal_position",
                view.name,  # type: ignore[attr-defined]
            )
        ]
    assert names == list(view.columns)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("plain_loading")
def test_the_stored_status_follows_when_deadlines_pass(make_synced: MakeSynced) -> None:
    company = make_synced(10, 150)
    assert company.sync(after=10 * DAY).list_requests == 3
    assert company.differences() == []
    with company.warehouse.session() as session:
        assert late_by_now(session, company.id, company.clock()) == set()
    company.forget_requests()
    company.sync()
    assert company.requests["total"] == 2
