"""An invoice whose deadline has passed is read again, however Pennylane counts days and orders its statuses."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pipelines.lateness import late_by_now
from tests.pipelines.company import DAY, Company
from tests.pipelines.conftest import MakeSynced

pytestmark = pytest.mark.usefixtures("plain_loading")

PARIS = ZoneInfo("Europe/Paris")


def _asked_again(company: Company, now: datetime) -> set[int]:
    with company.warehouse.session() as session:
        return late_by_now(session, company.id, now)


def _unpaid_due_on(company: Company, day: date) -> set[int]:
    with company.warehouse.session() as session:
        rows = session.rows(
            "SELECT invoice_id FROM receivables.invoices WHERE deadline = %s AND NOT paid AND NOT draft "
            "AND status IN ('upcoming', 'partially_paid', 'partially_cancelled', 'incomplete')",
            day,
        )
    return {int(one) for (one,) in rows}


def _a_deadline_to_come(company: Company) -> date:
    with company.warehouse.session() as session:
        found: date = session.value("SELECT min(deadline) FROM receivables.invoices WHERE status = 'upcoming'")
    return found


def test_every_unpaid_invoice_is_read_again_when_its_deadline_has_passed_whatever_its_status(
    make_synced: MakeSynced,
) -> None:
    company = make_synced()
    deadline = _a_deadline_to_come(company)
    due = _unpaid_due_on(company, deadline)
    midnight = datetime.combine(deadline + timedelta(days=1), datetime.min.time(), PARIS)

    assert due
    assert _asked_again(company, midnight - timedelta(minutes=1)).isdisjoint(due)
    assert _asked_again(company, midnight + timedelta(minutes=1)) >= due


def test_one_read_in_the_night_is_read_once_more_after_midnight_utc_and_then_no_more(make_synced: MakeSynced) -> None:
    company = make_synced()
    deadline = _a_deadline_to_come(company)
    midnight_utc = datetime.combine(deadline + timedelta(days=1), datetime.min.time(), ZoneInfo("UTC"))
    due = _unpaid_due_on(company, deadline)

    with company.warehouse.session() as session:
        session.execute("UPDATE receivables.invoices SET synced_at = %s", midnight_utc - timedelta(minutes=30))
    assert _asked_again(company, midnight_utc + timedelta(hours=1)) >= due

    with company.warehouse.session() as session:
        session.execute("UPDATE receivables.invoices SET synced_at = %s", midnight_utc + timedelta(minutes=30))
    assert _asked_again(company, midnight_utc + timedelta(seconds=DAY)).isdisjoint(due)
