"""Tables that an earlier version of the program made become those of this one, whole or not at all."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from unittest import mock

import psycopg2
import pytest

from pipelines import versions
from pipelines.companies import mark_disconnected
from pipelines.damage import read_again
from pipelines.errors import WarehouseUnusable
from pipelines.landing import Landing
from pipelines.tables import CONTACTS, CREDIT_NOTES, Table, Type
from pipelines.verification import Verification
from pipelines.warehouse import DuckDBWarehouse, Session, Warehouse, warehouse_at
from sandbox.changes.invoices import create_credit_note
from tests.pipelines.company import NOW, Company
from tests.pipelines.conftest import MakeCompany
from tests.pipelines.truth import Row, everything_stored
from tests.pipelines.version_1 import make_tables
from tests.program import forking

MADE_BY_HAND = {"accounts": 1, "contacts": 1, "invoices": 1, "credit_notes": 1, "payments": 1}
"""How many rows there are of the account that is left out."""


@pytest.fixture
def company(make_company: MakeCompany, any_warehouse: Warehouse) -> Company:
    """Its tables are of version 1; an account was left out, and is since."""
    company = make_company(4, 12, any_warehouse)
    company.excluded = {min(one.id for one in company.world.customers)}
    make_tables(any_warehouse, company.id, min(company.excluded), NOW)
    return company


def of_excluded(company: Company) -> dict[tuple[object, ...], Row]:
    """What stands there of the account that is left out, and of its invoice."""
    return {
        (table, *key): row
        for table, rows in company.held().items()
        for key, row in rows.items()
        if row.get("account_id") in company.excluded or (table == "payments" and row["invoice_id"] == 1)
    }


def others_differ(company: Company) -> list[str]:
    """How all but these rows differ from the truth."""
    by_hand = {str((company.id, *key[2:])) for key in of_excluded(company)}
    return [line for line in company.differences() if not any(line.endswith(f"left over {key}") for key in by_hand)]


def version_there(company: Company) -> int | None:
    with company.warehouse.session() as session:
        return versions.found_version(session)


def test_tables_of_the_first_version_go_on_where_they_were(company: Company) -> None:
    left_out = of_excluded(company)
    assert len(left_out) == sum(MADE_BY_HAND.values())
    assert company.sync().lists.mode == "incremental"
    assert company.sync(full=True).lists.mode == "full"
    assert others_differ(company) == []
    assert of_excluded(company) == left_out
    assert version_there(company) == versions.version()


@pytest.fixture
def older(company: Company) -> Company:
    """Its tables are of an invented version 1, of which today's are version 3."""
    as_version_1(company)
    return company


@pytest.fixture
def older_in_postgres(make_company: MakeCompany, postgres_url: str) -> Company:
    """The same, small, and where somebody may read meanwhile."""
    company = make_company(2, 5, warehouse_at(postgres_url))
    make_tables(company.warehouse, company.id, 3, NOW)
    as_version_1(company)
    return company


def as_version_1(company: Company) -> None:
    with company.warehouse.session() as session:
        session.execute("ALTER TABLE receivables.accounts RENAME COLUMN name TO customer_name")
        session.execute("ALTER TABLE receivables.credit_notes ALTER COLUMN amount TYPE VARCHAR")


def _rename(session: Session) -> None:
    session.execute("ALTER TABLE receivables.accounts RENAME COLUMN customer_name TO name")
    read_again(session, CONTACTS)


def _to_decimal(session: Session) -> None:
    session.execute(
        "ALTER TABLE receivables.credit_notes ALTER COLUMN amount TYPE DECIMAL(38,6) USING amount::DECIMAL(38,6)"
    )
    read_again(session, CREDIT_NOTES)


@contextmanager
def of_version_3(last: versions.Migration = _to_decimal) -> Iterator[None]:
    """The program as it is, with the invented migrations."""
    with mock.patch.object(versions, "MIGRATIONS", (_rename, last)):
        yield


def assert_migrated(company: Company, left_out: dict[tuple[object, ...], Row]) -> None:
    assert version_there(company) == 3
    assert of_excluded(company) == left_out
    with company.warehouse.session() as session:
        assert session.value("SELECT count(*) FROM receivables.open_invoices") > 0


def as_migrated(company: Company) -> dict[tuple[object, ...], Row]:
    """What is to stand there of the account that is left out: all that did, under the new names."""
    rows = of_excluded(company)
    for row in rows.values():
        if "customer_name" in row:
            row["name"] = row.pop("customer_name")
        if "credit_note_id" in row:
            row["amount"] = Decimal(row["amount"])
    return rows


def test_older_tables_are_migrated_by_the_next_sync_which_reads_again_what_it_has_to(older: Company) -> None:
    left_out = as_migrated(older)
    with of_version_3():
        assert older.sync().lists.mode == "full"
        assert others_differ(older) == []
        assert_migrated(older, left_out)
        assert older.lists_only().mode == "incremental"


def test_what_was_migrated_is_filled_though_a_sync_of_the_older_version_ends_after_it(
    make_company: MakeCompany, any_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """dlt stores the older schema once more then, as the newest."""
    company = make_company(4, 12, any_warehouse)
    with ExitStack() as ending:
        with monkeypatch.context() as older:
            amounts_of_credit_notes_are_texts(older)
            company.sync()
            for number in (2, 3):
                with Landing.opened(any_warehouse, number, tmp_path / "before") as before:
                    before.land(credit_note_of(number), {"stands": "here"})
            still = ending.enter_context(Landing.opened(any_warehouse, 2, tmp_path / "still"))
            still.land(credit_note_of(2), {"stands": "here, too"})
        with mock.patch.object(versions, "MIGRATIONS", (_to_decimal,)):
            company.sync()
            with suppress(WarehouseUnusable), monkeypatch.context() as older:
                amounts_of_credit_notes_are_texts(older)
                still.land({}, {"stands": "there"})
            create_credit_note(company.world)
            company.sync()
            with Landing.opened(any_warehouse, 3, tmp_path / "after") as after:
                after.land(credit_note_of(3, amount=Decimal("12.50")), {"stands": "there"})
    assert company.differences() == []


def amounts_of_credit_notes_are_texts(patch: pytest.MonkeyPatch) -> None:
    columns = (replace(one, type=Type.TEXT) if one.name == "amount" else one for one in CREDIT_NOTES.columns)
    patch.setattr(type(CREDIT_NOTES), "__setattr__", object.__setattr__)
    patch.setattr(CREDIT_NOTES, "columns", tuple(columns))


def credit_note_of(company: int, amount: object = "12.50") -> dict[Table, list[Row]]:
    nothing: Row = dict.fromkeys(column.name for column in CREDIT_NOTES.columns)
    return {CREDIT_NOTES: [nothing | {"company_id": company, "credit_note_id": 1, "account_id": 1, "amount": amount}]}


def test_who_reads_while_tables_are_migrated_waits_for_nobody_else_s_long_report(
    older_in_postgres: Company, postgres_url: str
) -> None:
    complaints, ended = [], threading.Event()

    def read_on() -> None:
        with closing(psycopg2.connect(postgres_url, options="-c lock_timeout=1500ms")) as connection:
            connection.autocommit = True
            while not ended.wait(0.05):
                try:
                    connection.cursor().execute("SELECT count(*) FROM receivables.accounts")
                except psycopg2.Error as error:
                    complaints.append(str(error))

    reader = threading.Thread(target=read_on)
    with closing(psycopg2.connect(postgres_url)) as report, of_version_3():
        report.cursor().execute("SELECT * FROM receivables.accounts")
        ending = threading.Timer(4, report.rollback)
        for thread in (reader, ending):
            thread.start()
        with Landing.opened(older_in_postgres.warehouse, older_in_postgres.id, older_in_postgres.work_dir):
            ended.set()
        for thread in (reader, ending):
            thread.join()
    assert version_there(older_in_postgres) == 3
    assert complaints == []


def test_a_view_of_somebody_s_own_in_the_way_of_a_migration_is_told_with_what_to_do(older_in_postgres: Company) -> None:
    with older_in_postgres.warehouse.session() as session:
        session.execute("CREATE VIEW public.mine AS SELECT amount FROM receivables.credit_notes")
    before = everything_stored(older_in_postgres.warehouse)
    with of_version_3():
        with pytest.raises(WarehouseUnusable, match=r"view mine depends on .*\)\. Drop that, sync, and make it again"):
            older_in_postgres.sync()
        assert everything_stored(older_in_postgres.warehouse) == before
        with older_in_postgres.warehouse.session() as session:
            session.execute("DROP VIEW public.mine")
        older_in_postgres.lists_only()
        assert version_there(older_in_postgres) == 3


def test_schemas_of_somebody_s_own_are_left_alone_whatever_their_names_begin_with(older: Company) -> None:
    with older.warehouse.session() as session:
        for schema in ("receivables_staging_archive", "receivables_staging_2025_kept", "receivablesXstagingX9"):
            session.execute(f'CREATE SCHEMA "{schema}"')
            session.execute(f'CREATE TABLE "{schema}".kept AS SELECT 1 AS one')
    with of_version_3(), Landing.opened(older.warehouse, older.id, older.work_dir):
        pass
    with older.warehouse.session() as session:
        for schema in ("receivables_staging_archive", "receivables_staging_2025_kept", "receivablesXstagingX9"):
            assert session.has_table("kept", schema), schema


def test_what_only_reads_says_that_older_tables_need_a_sync(company: Company) -> None:
    with of_version_3(), pytest.raises(WarehouseUnusable, match=r"of version 1, 3 here.*pennylane-sync sync"):
        verify(company)


def test_newer_tables_are_refused_and_not_touched(company: Company) -> None:
    with company.warehouse.session() as session:
        session.execute("CREATE TABLE receivables._version AS SELECT 3 AS version")
    before = everything_stored(company.warehouse)
    for use in (company.sync, lambda: verify(company), lambda: mark_disconnected(company.warehouse, company.id, NOW)):
        with pytest.raises(WarehouseUnusable, match=r"newer pennylane-sync \(version 3, 1 here\).*update this"):
            use()
    assert everything_stored(company.warehouse) == before


def verify(company: Company) -> None:
    Verification(
        company.pennylane(),
        company.warehouse,
        company.id,
        excluded=company.excluded,
        clock=company.clock,
        watch=lambda _: None,
    )


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_last(session: Session) -> None:
    _to_decimal(session)
    die()


def upgrade_in_a_process(url: str, company_id: int, work_dir: Path, where: str) -> None:
    """With a program of version 3 that may die within the last migration, or when it is done."""
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - to the process's end
    with of_version_3(_die_last if where == "within" else _to_decimal), ExitStack() as dying:
        if where == "after":
            dying.enter_context(mock.patch.object(Landing, "_load", lambda *_: die()))
        with Landing.opened(warehouse_at(url), company_id, work_dir):
            pass


def address(warehouse: Warehouse) -> str:
    return f"duckdb:///{warehouse.path}" if isinstance(warehouse, DuckDBWarehouse) else vars(warehouse)["_url"]


@pytest.mark.parametrize(
    ("any_warehouse", "where", "left"),
    [("duckdb", "within", 1), ("postgres", "within", 1), ("postgres", "after", 3)],
    indirect=["any_warehouse"],
)
def test_a_process_that_dies_in_a_migration_leaves_the_rest_to_the_next_sync(
    older: Company, where: str, left: int
) -> None:
    left_out = as_migrated(older)
    assert upgraded_by(older, older.id, where=where) == [-signal.SIGKILL]
    assert version_there(older) == left
    with of_version_3():
        assert older.lists_only().mode == "full"
        assert_migrated(older, left_out)


def test_of_processes_that_come_at_once_one_migrates_and_the_other_waits(older: Company) -> None:
    left_out = as_migrated(older)
    assert upgraded_by(older, older.id, 8) == [0, 0]
    assert_migrated(older, left_out)


def upgraded_by(company: Company, *companies: int, where: str = "") -> list[int | None]:
    """How processes ended that opened the warehouse for these companies at once."""
    url = address(company.warehouse)
    processes = [
        forking.Process(target=upgrade_in_a_process, args=(url, one, company.work_dir, where)) for one in companies
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]
