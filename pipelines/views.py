"""Views for follow-up, worked out when they are read, and the comments that carry our descriptions into the database.

Time passes: an invoice whose deadline is behind us is late in the views, whatever was stored.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from pipelines.errors import OtherColumns
from pipelines.tables import DATASET, LISTED, TABLES, Table
from pipelines.unpaid import UNPAID
from pipelines.warehouse import Session

# French accounting: the day changes at midnight in Paris (GUIDE: "Not documented").
_TODAY = "CAST(now() AT TIME ZONE 'Europe/Paris' AS DATE)"


@dataclass(frozen=True)
class View:
    """A view of the schema `receivables`; `columns` gives each column's meaning in the view's order.

    The query names tables without their schema: DuckDB looks them up beside the view, under whatever name the file is
    attached (a file opened directly gives its catalog the schema's name, and `receivables.x` is then ambiguous).
    """

    name: str
    description: str
    columns: dict[str, str]
    query: str

    @property
    def comment(self) -> str:
        """The description and a digest of the definition, which tells whether the database holds this one."""
        digest = sha256((self.query + repr(self.columns)).encode()).hexdigest()[:12]
        return f"{self.description} (definition {digest})"


OPEN_INVOICES = View(
    "open_invoices",
    "Invoices still to be paid, late or not, as of now",
    {
        "company_id": "The Pennylane company",
        "account_id": "The account that is billed; null while none is set",
        "account_name": "Name of the account",
        "synchronized": "False where the account is excluded or the company disconnected: then as it was left",
        "invoice_id": "Pennylane's invoice id",
        "invoice_number": "Number printed on the invoice",
        "date": "Date of issue",
        "deadline": "Date on which payment is due",
        "late": "Whether the deadline is behind us, today in Paris",
        "days_late": "Days since the deadline; 0 where it is not passed or not set",
        "currency": "Currency, three letters",
        "currency_amount": "Total with tax, in the invoice's currency",
        "amount": "Total with tax, in euros",
        "remaining_amount_with_tax": "What is left to be paid, with tax",
        "pennylane_status": "Status as Pennylane worked it out when the row was last read",
        "synced_at": "When the invoice was last read from Pennylane",
    },
    f"""
    SELECT
        i.company_id, i.account_id, a.name AS account_name,
        x.account_id IS NULL AND c.company_id IS NOT NULL AND c.disconnected_at IS NULL AS synchronized,
        i.invoice_id, i.invoice_number, i.date, i.deadline,
        COALESCE(i.deadline < {_TODAY}, FALSE) AS late,
        CAST(COALESCE(GREATEST({_TODAY} - i.deadline, 0), 0) AS INTEGER) AS days_late,
        i.currency, i.currency_amount, i.amount, i.remaining_amount_with_tax,
        i.status AS pennylane_status, i.synced_at
    FROM invoices i
    LEFT JOIN accounts a ON a.company_id = i.company_id AND a.account_id = i.account_id
    LEFT JOIN excluded_accounts x ON x.company_id = i.company_id AND x.account_id = i.account_id
    LEFT JOIN companies c ON c.company_id = i.company_id
    WHERE {UNPAID} AND COALESCE(i.remaining_amount_with_tax, i.amount) > 0
    """,
)

ACCOUNT_BALANCES = View(
    "account_balances",
    "Each account with what it owes, as of now",
    {
        "company_id": "The Pennylane company",
        "account_id": "The account",
        "account_name": "Name of the account",
        "synchronized": "False where the account is excluded or the company disconnected: then as it was left",
        "excluded_at": "When the account was excluded; null where it is not",
        "open_invoices": "Number of invoices still to be paid",
        "late_invoices": "Number of those whose deadline is behind us",
        "outstanding": "Left to be paid, in euros",
        "late_amount": "Of that, past its deadline",
        "oldest_deadline": "The earliest deadline among open invoices",
        "synced_at": "When the account was last read from Pennylane",
    },
    """
    SELECT
        a.company_id, a.account_id, a.name AS account_name,
        x.account_id IS NULL AND c.company_id IS NOT NULL AND c.disconnected_at IS NULL AS synchronized, x.excluded_at,
        COUNT(o.invoice_id) AS open_invoices,
        COUNT(CASE WHEN o.late THEN 1 END) AS late_invoices,
        COALESCE(SUM(COALESCE(o.remaining_amount_with_tax, o.amount)), 0) AS outstanding,
        COALESCE(SUM(CASE WHEN o.late THEN COALESCE(o.remaining_amount_with_tax, o.amount) END), 0) AS late_amount,
        MIN(o.deadline) AS oldest_deadline, a.synced_at
    FROM accounts a
    LEFT JOIN open_invoices o ON o.company_id = a.company_id AND o.account_id = a.account_id
    LEFT JOIN excluded_accounts x ON x.company_id = a.company_id AND x.account_id = a.account_id
    LEFT JOIN companies c ON c.company_id = a.company_id
    GROUP BY
        a.company_id, a.account_id, a.name, x.account_id, x.excluded_at, c.company_id, c.disconnected_at, a.synced_at
    """,
)


def _bucket(name: str, when: str) -> str:
    return f"COALESCE(SUM(CASE WHEN {when} THEN COALESCE(remaining_amount_with_tax, amount) END), 0) AS {name}"


AGED_BALANCE = View(
    "aged_balance",
    "What is owed by age: one row per account with open invoices, in euros, as of now",
    {
        "company_id": "The Pennylane company",
        "account_id": "The account; null for invoices without one",
        "account_name": "Name of the account",
        "synchronized": "False where the account is excluded or the company disconnected",
        "not_due": "Deadline not passed, or none",
        "late_1_to_30": "1 to 30 days late",
        "late_31_to_60": "31 to 60 days late",
        "late_61_to_90": "61 to 90 days late",
        "late_over_90": "More than 90 days late",
        "outstanding": "All of it",
    },
    f"""
    SELECT
        company_id, account_id, account_name, synchronized,
        {_bucket("not_due", "days_late = 0")},
        {_bucket("late_1_to_30", "days_late BETWEEN 1 AND 30")},
        {_bucket("late_31_to_60", "days_late BETWEEN 31 AND 60")},
        {_bucket("late_61_to_90", "days_late BETWEEN 61 AND 90")},
        {_bucket("late_over_90", "days_late > 90")},
        SUM(COALESCE(remaining_amount_with_tax, amount)) AS outstanding
    FROM open_invoices
    GROUP BY company_id, account_id, account_name, synchronized
    """,
)

VIEWS = (OPEN_INVOICES, ACCOUNT_BALANCES, AGED_BALANCE)


def summary(session: Session, view: View, company_id: int) -> dict[str, int | float]:
    """A company's totals in a view: how many rows, and what they say is outstanding, in euros."""
    amount = "outstanding" if "outstanding" in view.columns else "COALESCE(remaining_amount_with_tax, amount)"
    rows, outstanding = session.rows(
        f"SELECT count(*), COALESCE(SUM({amount}), 0) FROM {DATASET}.{view.name} WHERE company_id = {company_id}"
    )[0]
    return {"rows": int(rows), "outstanding_euros": float(outstanding)}


_MADE = re.compile(r" \(made (\S+)\)$")


def made(session: Session) -> dict[str, str]:
    """When each table that lists fill was made, by name, as its comment tells; nothing is known of older ones."""
    known = session.comments(DATASET)
    told = {table.name: _MADE.search(known.get((table.name, None), "")) for table in LISTED}
    return {name: found[1] for name, found in told.items() if found}


def describe(session: Session) -> dict[str, str]:
    """Bring views and comments to what is declared; touches only what differs. Returns what `made` tells then."""
    times: dict[str, str] = {}
    known = session.comments(DATASET)
    if any(known.get((view.name, None)) != view.comment for view in VIEWS):
        _create_views(session)
    for table in TABLES:
        comment = _comment(table, known.get((table.name, None)))
        if known.get((table.name, None)) != comment:
            session.execute(f"COMMENT ON TABLE {DATASET}.{table.name} IS {_quoted(comment)}")
        if found := _MADE.search(comment):
            times[table.name] = found[1]
        for column in table.columns:
            if known.get((table.name, column.name)) != column.description:
                target = f"{DATASET}.{table.name}.{column.name}"
                session.execute(f"COMMENT ON COLUMN {target} IS {_quoted(column.description)}")
    return times


def _comment(table: Table, known: str | None) -> str:
    """The description, and when the table was made: a comment goes with its table, and tells it from the next one.

    A table without any comment was just made. One whose comment does not tell is from before they did, and stays so.
    """
    if table not in LISTED:
        return table.description
    if known is None:
        return f"{table.description} (made {datetime.now(UTC).isoformat()})"
    found = _MADE.search(known)
    return table.description + (found[0] if found else "")


def _create_views(session: Session) -> None:
    """Replaced where that can be done, so that what others have made of them or granted on them stays.

    Rows do not wait for that: while somebody reads on, those that are there will do.
    """
    session.enter_schema()
    all_there = session.relations(DATASET).keys() >= {view.name for view in VIEWS}
    in_turn = session.unless_in_use if all_there else session.between_readers
    try:
        in_turn(lambda: _replace_views(session))
    except OtherColumns:
        in_turn(lambda: _remake_views(session))


def _remake_views(session: Session) -> None:
    for view in reversed(VIEWS):
        session.execute(f"DROP VIEW IF EXISTS {DATASET}.{view.name}")
    _replace_views(session)


def _replace_views(session: Session) -> None:
    for view in VIEWS:
        session.execute(f"CREATE OR REPLACE VIEW {DATASET}.{view.name} AS {view.query}")
        session.execute(f"COMMENT ON VIEW {DATASET}.{view.name} IS {_quoted(view.comment)}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
