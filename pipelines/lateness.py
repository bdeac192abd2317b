"""Invoices that became late since they were read, which raises no event (GUIDE: "The records").

The views work lateness out for themselves; this keeps the stored status equal to Pennylane's as well.
"""

from datetime import datetime, time
from zoneinfo import ZoneInfo

from pipelines.tables import DATASET
from pipelines.warehouse import Session

PARIS = ZoneInfo("Europe/Paris")
"""French accounting: the day changes at midnight there (GUIDE: "Not documented")."""


def late_by_now(session: Session, company_id: int, now: datetime) -> set[int]:
    """Invoices held as upcoming whose deadline is behind us and that were not read since this day began."""
    today = now.astimezone(PARIS).date()
    rows = session.rows(
        f"""
        SELECT invoice_id FROM {DATASET}.invoices
        WHERE company_id = {company_id} AND status = 'upcoming' AND deadline < %s AND synced_at < %s
            AND (account_id IS NULL OR account_id NOT IN (
                SELECT account_id FROM {DATASET}.excluded_accounts WHERE company_id = {company_id}
            ))
        """,
        today,
        datetime.combine(today, time(), PARIS),
    )
    return {int(one) for (one,) in rows}
