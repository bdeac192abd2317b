"""What an hour asks of large tables, Postgres answers without looking through them: history costs nothing."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from pipelines.due import Due, never_read, never_read_history, requests_to_read, rotation
from pipelines.indexes import index
from pipelines.tables import DATASET
from pipelines.warehouse import Session, warehouse_at
from tests.postgres import Databases

COMPANY, ACCOUNTS, INVOICES = 2, 6_000, 60_000
UNPAID, PAID_LATELY = "mod(number, 30) = 0", "mod(number, 30) = 7"
FEW = INVOICES // 2
"""What matters is a fifteenth."""

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
LISTED, LONG_AGO = NOW - timedelta(days=1), NOW - timedelta(days=900)

ASKED: dict[str, Callable[[Session], list[Due] | int]] = {
    "what matters and was not read": lambda session: never_read(session, COMPANY, NOW, 5_000, but_history_until=LISTED),
    "what history takes": lambda session: requests_to_read(session, COMPANY, NOW, at_most=25),
    "history's next": lambda session: never_read_history(session, COMPANY, NOW, 25),
    "what is to be read again": lambda session: rotation(session, COMPANY, NOW, 50),
}


@contextmanager
def large(databases: Databases, template: str, read: str) -> Iterator[Session]:
    """A database with a company that has much history, of which was read what the condition says, and long ago."""
    with databases.new(template=template) as url, opened(url) as session:
        fill(session, read)
        index(session)
        session.execute("VACUUM ANALYZE")
        yield session


@contextmanager
def opened(url: str) -> Iterator[Session]:
    with warehouse_at(url).session() as session:
        session.execute("SET max_parallel_workers_per_gather = 0")  # what other processes read would not be counted
        yield session


def fill(
    session: Session, read: str, company: int = COMPANY, accounts: int = ACCOUNTS, invoices: int = INVOICES
) -> None:
    """What matters was read in the last hours."""
    session.execute(
        f"""
        INSERT INTO {DATASET}.accounts (company_id, account_id, source, updated_at, contacts_synced_at, synced_at)
        SELECT
            {company}, number, 'pennylane', %s,
            CASE WHEN {UNPAID} OR {PAID_LATELY} THEN %s WHEN {read} THEN %s END - number * INTERVAL '1 s', %s
        FROM generate_series(0, {accounts - 1}) AS number
        """,
        *(LONG_AGO, NOW, LONG_AGO, LISTED),
    )
    session.execute(
        f"""
        INSERT INTO {DATASET}.invoices (
            company_id, invoice_id, account_id, label, date, currency, amount,
            paid, status, remaining_amount_with_tax, updated_at, payments_synced_at, synced_at
        )
        SELECT
            {company}, number, mod(number, {accounts}), repeat('label ', 20), DATE '2010-01-01' + number, 'EUR', 10,
            NOT {UNPAID}, CASE WHEN {UNPAID} THEN 'late' ELSE 'paid' END, CASE WHEN {UNPAID} THEN 10 ELSE 0 END,
            CASE WHEN {PAID_LATELY} THEN %s ELSE %s END,
            CASE WHEN {UNPAID} OR {PAID_LATELY} THEN %s WHEN {read} THEN %s END - number * INTERVAL '1 s', %s
        FROM generate_series(0, {invoices - 1}) AS number
        """,
        *(NOW, LONG_AGO, NOW, LONG_AGO, LISTED),
    )


@pytest.fixture(scope="module")
def listed(databases: Databases, postgres_with_tables: str) -> Iterator[Session]:
    """Its history waits to be read."""
    with large(databases, postgres_with_tables, read="FALSE") as session:
        yield session


@pytest.fixture(scope="module")
def all_read(databases: Databases, postgres_with_tables: str) -> Iterator[Session]:
    """All was read, history longest ago: it comes first in the order of reading."""
    with large(databases, postgres_with_tables, read="TRUE") as session:
        yield session


def _looked_at(session: Session, asked: str) -> int:
    """How many rows of invoices the database fetched for an answer."""
    with session.transaction():
        before = _fetched(session)
        ASKED[asked](session)
        return _fetched(session) - before


def _fetched(session: Session) -> int:
    return int(
        session.value(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables "
            "WHERE schemaname = %s AND relname = 'invoices'",
            DATASET,
        )
    )


@pytest.mark.parametrize("asked", ASKED)
def test_history_that_waits_is_not_looked_through(listed: Session, asked: str) -> None:
    assert _looked_at(listed, asked) < FEW


@pytest.mark.parametrize("asked", ASKED)
def test_history_that_was_read_is_not_looked_through(all_read: Session, asked: str) -> None:
    assert _looked_at(all_read, asked) < FEW


def test_nor_is_what_matters_to_see_that_all_of_it_was_read(listed: Session) -> None:
    assert _looked_at(listed, "what matters and was not read") < INVOICES // 15


@pytest.fixture(scope="module")
def beside_another(databases: Databases, postgres_with_tables: str) -> Iterator[Session]:
    """A small company was there before, so that there are indexes; Postgres has looked at its rows alone."""
    with databases.new(template=postgres_with_tables) as url:
        with opened(url) as before:
            fill(before, "TRUE", company=1, accounts=20, invoices=200)
            index(before)
            before.execute("VACUUM ANALYZE")
            before.execute(f"ALTER TABLE {DATASET}.invoices SET (autovacuum_enabled = off)")
            before.execute(f"ALTER TABLE {DATASET}.accounts SET (autovacuum_enabled = off)")
        with opened(url) as listing:
            fill(listing, "FALSE")
        with opened(url) as session:
            session.execute("SET statement_timeout = '30s'")
            index(session)
            yield session


@pytest.mark.parametrize("asked", ASKED)
def test_nor_is_that_of_a_company_that_was_just_listed_beside_another(beside_another: Session, asked: str) -> None:
    """Which Postgres, by what it knows, would look through once for each account: hours."""
    assert _looked_at(beside_another, asked) < FEW


def test_what_it_finds_is_history_that_waits_and_what_was_read_longest_ago(listed: Session, all_read: Session) -> None:
    assert len(never_read_history(listed, COMPANY, NOW, 25)) == 25
    assert requests_to_read(listed, COMPANY, NOW, at_most=25) >= 25
    assert not never_read_history(all_read, COMPANY, NOW, 25)
    for session in (listed, all_read):
        assert sum(due.requests for due in rotation(session, COMPANY, NOW, 50)) in (49, 50)


def test_no_time_goes_into_compiling_a_query(listed: Session, postgres_with_tables: str) -> None:
    """Which a server may do where the compiler is installed: seconds, for what takes half a second. Nor dlt's."""
    warehouse = warehouse_at(postgres_with_tables)
    destination: Any = warehouse.destination(COMPANY)
    warehouse.bind(destination, listed)
    options = destination.config_params["credentials"].get_query()["options"]
    with closing(psycopg2.connect(postgres_with_tables, options=options)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW jit")
        assert cursor.fetchone() == ("off",)
    assert listed.value("SHOW jit") == "off"
