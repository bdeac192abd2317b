"""Invoices that became late since they were read, which raises no event (GUIDE: "The records").

The views work lateness out for themselves; this keeps the stored status equal to Pennylane's as well.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pipelines.tables import DATASET
from pipelines.unpaid import NOT_YET_LATE
from pipelines.warehouse import Session

PARIS = ZoneInfo("Europe/Paris")
"""French accounting: the day changes at midnight there (GUIDE: "Not documented")."""


_OVER = "(deadline + INTERVAL '1 day' + INTERVAL '5 minutes') AT TIME ZONE 'UTC'"
"""When the day of the deadline has ended by everyone's clock, Pennylane's in whole UTC days included."""


def late_by_now(session: Session, company_id: int, now: datetime) -> set[int]:
    """Unpaid invoices whose deadline is behind us and that were not read since then, whatever their status was."""
    rows = session.rows(
        f"""
        SELECT invoice_id FROM {DATASET}.invoices
        WHERE company_id = {company_id} AND deadline < %s AND synced_at < {_OVER}
            AND {NOT_YET_LATE}
            AND (account_id IS NULL OR account_id NOT IN (
                SELECT account_id FROM {DATASET}.excluded_accounts WHERE company_id = {company_id}
            ))
        """,
        now.astimezone(PARIS).date(),
    )
    return {int(one) for (one,) in rows}


def became_late_since(read_at: datetime | None, deadline: date | None) -> bool:
    """Whether an invoice that is late may not have been when it was read, by anyone's clock, if we know when."""
    if read_at is None or deadline is None:
        return False
    return read_at < datetime.combine(deadline + timedelta(days=1), time(0, 5), UTC)
