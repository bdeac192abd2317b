"""What a person would expect where an excluded account meets the rest (README, "At the edges")."""

from datetime import timedelta
from typing import Any

import pytest

from pipelines.exclusions import publish
from pipelines.landing import Landing
from pipelines.lists import ListsSync
from sandbox.changes import customers, invoices, receipts
from sandbox.faults import Fault
from tests.pipelines.company import WEEK, Company
from tests.pipelines.truth import held

pytestmark = pytest.mark.usefixtures("plain_loading")

DOCUMENTS = ("invoices", "credit_notes")


def _rows(company: Company, account: int) -> dict[str, list[Any]]:
    """All that is held of an account, whole rows."""
    with company.warehouse.session() as session:
        own = f"WHERE company_id = {company.id} AND account_id = {account}"
        rows = {
            table: session.rows(f"SELECT * FROM receivables.{table} {own} ORDER BY 1, 2")
            for table in ("accounts", "contacts", *DOCUMENTS)
        }
        rows["payments"] = session.rows(
            f"SELECT * FROM receivables.payments WHERE company_id = {company.id} AND invoice_id IN "
            f"(SELECT invoice_id FROM receivables.invoices {own}) ORDER BY 1, 2, 3, 4"
        )
    return rows


def _two_accounts(company: Company) -> tuple[int, int]:
    """Two accounts with an open invoice each."""
    first, second = [one.id for one in company.world.customers][:2]
    for account in (first, second):
        invoices.create_invoice(company.world, customer_id=account)
    return first, second


@pytest.mark.parametrize("full", [False, True], ids=["hourly", "full"])
def test_an_excluded_account_that_pennylane_deletes_stays_as_it_was_left(company: Company, full: bool) -> None:
    gone, _ = _two_accounts(company)
    company.sync()
    before = _rows(company, gone)
    company.excluded = {gone}
    company.sync()

    for invoice in [one.id for one in company.world.invoices if one.customer_id == gone][:2]:
        invoices.delete_invoice(company.world, id=invoice)
    customers.delete_customer(company.world, id=gone)
    company.sync(full=full, rotation=10_000)

    assert before["accounts"]
    assert _rows(company, gone)["accounts"] == before["accounts"]
    assert _rows(company, gone)["contacts"] == before["contacts"]


@pytest.mark.parametrize(
    "told",
    [{}, {"item_without": ["operation"]}, {"item": {"operation": "removed"}}],
    ids=["as a deletion", "without a word", "in a new word"],
)
def test_what_a_deleted_excluded_account_leaves_behind_stays_out_however_its_end_is_told(
    company: Company, told: dict[str, Any]
) -> None:
    gone, _ = _two_accounts(company)
    company.excluded = {gone}
    company.sync()
    left_behind = invoices.create_invoice(company.world, customer_id=gone)["id"]
    customers.delete_customer(company.world, id=gone)

    company.server.sandbox.faults.add(Fault("/changelogs/customers", "changed", times=None, **told))
    company.sync()
    company.server.sandbox.faults.clear()
    invoices.update_invoice(company.world, id=left_behind, label="edited")
    company.sync()

    assert (company.id, left_behind) not in held(company.warehouse, company.id)["invoices"]


def test_new_invoices_credit_notes_and_payments_of_an_excluded_account_change_nothing(company: Company) -> None:
    excluded, _ = _two_accounts(company)
    company.sync()
    before = _rows(company, excluded)
    company.excluded = {excluded}

    made = invoices.create_invoice(company.world, customer_id=excluded)["id"]
    receipts.pay_invoice(company.world, id=made, amount="1.00")
    invoices.create_credit_note(company.world, invoice_id=made)
    paid = next(row[1] for row in before["invoices"])
    invoices.update_invoice(company.world, id=paid, label="edited")
    customers.create_contact(company.world, customer_id=excluded)
    company.sync(rotation=10_000)
    company.sync(full=True, rotation=10_000)

    assert _rows(company, excluded) == before


def test_an_invoice_that_moves_to_an_excluded_account_is_no_longer_owed_by_the_other(company: Company) -> None:
    included, excluded = _two_accounts(company)
    company.sync()
    company.excluded = {excluded}
    moved = next(one.id for one in company.world.invoices if one.customer_id == included and one.settles)

    invoices.move_invoice(company.world, id=moved, customer_id=excluded)
    company.sync()

    assert (company.id, moved) not in held(company.warehouse, company.id)["invoices"]


def test_a_credit_note_of_an_included_account_stays_though_its_invoice_is_an_excluded_ones(company: Company) -> None:
    included, excluded = _two_accounts(company)
    invoice = next(one.id for one in company.world.invoices if one.customer_id == included and one.settles)
    note = invoices.create_credit_note(company.world, invoice_id=invoice, percent=50)["id"]
    invoices.move_invoice(company.world, id=invoice, customer_id=excluded)
    company.excluded = {excluded}

    company.sync()

    with company.warehouse.session() as session:
        found = session.rows(
            f"SELECT account_id, credited_invoice_id FROM receivables.credit_notes WHERE credit_note_id = {note}"
        )
    assert found == [(included, invoice)]


def test_an_exclusion_set_while_a_sync_runs_holds_from_the_next_one_on(company: Company) -> None:
    account, _ = _two_accounts(company)
    pennylane = company.pennylane()
    with Landing.opened(company.warehouse, company.id, company.work_dir) as landing:
        publish(landing, {}, company.clock)
        excluded_at_start: frozenset[int] = frozenset()
        company.excluded = {account}
        ListsSync(pennylane, landing, excluded_at_start, company.clock, lambda _: None).run()
    landed = _rows(company, account)
    assert landed["accounts"]

    customers.update_customer(company.world, id=account, notes="later")
    company.sync(after=timedelta(hours=1).total_seconds())

    assert _rows(company, account)["accounts"] == landed["accounts"]


def test_included_again_after_more_than_four_weeks_an_account_is_caught_up_wholly(company: Company) -> None:
    account, _ = _two_accounts(company)
    company.sync()
    company.excluded = {account}
    made = invoices.create_invoice(company.world, customer_id=account)["id"]
    receipts.pay_invoice(company.world, id=made)
    contact = customers.create_contact(company.world, customer_id=account)["id"]
    deleted = next(one.id for one in company.world.invoices if one.customer_id == account and one.id != made)
    invoices.delete_invoice(company.world, id=deleted)
    for _ in range(5):
        company.sync(after=WEEK)

    company.excluded = set()
    company.sync(rotation=0)

    assert made in {row[1] for row in _rows(company, account)["invoices"]}
    assert deleted not in {row[1] for row in _rows(company, account)["invoices"]}
    assert contact in {row[1] for row in _rows(company, account)["contacts"]}
    assert company.differences() == []
