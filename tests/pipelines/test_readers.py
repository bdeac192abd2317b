"""Consumers read while syncs write: every table and view is there at any time, whole, and nobody waits for a sync."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest

from pipelines.companies import publish_company
from pipelines.errors import WarehouseUnusable
from pipelines.filters import batches
from pipelines.landing import Landing
from pipelines.tables import LISTED, TABLES, Table
from pipelines.views import VIEWS
from pipelines.warehouse import PostgresWarehouse, Warehouse, warehouse_at
from sandbox.changes import customers, invoices, receipts
from tests.documents import documented
from tests.pipelines.company import Company
from tests.pipelines.conftest import MakeCompany

READ = [one.name for one in (*TABLES, *VIEWS)]
DUCKDB = "Reading a DuckDB file while a sync writes"
NOBODY = 999_999_999
"""An id that no account has."""
PATIENCE = "1500ms"
"""What a reader waits for a lock: far less than a sync takes, or somebody's report."""


class Readers:
    """Threads that read all tables and views, again and again, each by a connection of its own."""

    def __init__(self, url: str, lasting: list[int]) -> None:
        self._url = url
        self._lasting = lasting
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._read_on) for _ in range(3)]
        self.rounds = 0
        self.complaints: set[str] = set()

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _read_on(self) -> None:
        paid = 0
        with closing(psycopg2.connect(self._url)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(f"SET lock_timeout = '{PATIENCE}'")
            while not self._ended.is_set():
                try:
                    paid = self._read_once(cursor, paid)
                except psycopg2.Error as error:
                    self.complaints.add(str(error).strip())
                self.rounds += 1
                time.sleep(0.02)

    def _read_once(self, cursor: Any, paid_before: int) -> int:
        for name in READ:
            cursor.execute(f"SELECT count(*) FROM receivables.{name}")
            if cursor.fetchone() == (0,):
                self.complaints.add(f"{name} is empty")
        cursor.execute(
            "SELECT count(*), count(DISTINCT invoice_id), count(*) FILTER (WHERE invoice_id = ANY (%s)) "
            "FROM receivables.invoices",
            [self._lasting],
        )
        rows, different, lasting = cursor.fetchone()
        if rows != different or lasting != len(self._lasting):
            self.complaints.add(f"{rows} invoices, {different} different ones, {lasting} of {len(self._lasting)}")
        cursor.execute("SELECT count(*) FROM receivables.payments WHERE invoice_id = ANY (%s)", [self._lasting])
        (paid,) = cursor.fetchone()
        if paid < paid_before:
            self.complaints.add(f"{paid_before} payments of these, then {paid}: receipts are only added")
        return int(paid)


@pytest.fixture
def company(make_company: MakeCompany, postgres_url: str) -> Company:
    """A synchronized company in Postgres."""
    return synchronized(make_company(8, 60, warehouse_at(postgres_url)))


def synchronized(company: Company) -> Company:
    """With a name, and an account that is left out."""
    company.excluded = {next(iter(company.world.customers)).id}
    company.sync()
    say_name(company)
    return company


def say_name(company: Company) -> None:
    with Landing.opened(company.warehouse, company.id, company.work_dir) as landing:
        publish_company(landing, f"Named at {company.clock()}", None, company.clock)


def lasting(company: Company) -> list[int]:
    """Invoices with money still to come in; none is deleted here."""
    return [one.id for one in company.world.invoices if one.settles and one.customer_id not in company.excluded]


def change(company: Company) -> None:
    """Invoices change, come, and are paid; an account changes; another is left out, and the company renamed."""
    for one in lasting(company)[::3]:
        invoices.update_invoice(company.world, id=one, label=f"changed at {company.clock()}")
    receipts.pay_invoice(company.world, id=invoices.create_invoice(company.world)["id"])
    customers.update_customer(company.world)
    company.excluded ^= {NOBODY}
    say_name(company)


@contextmanager
def report(url: str, seconds: float) -> Iterator[None]:
    """Somebody reads an invoice and a view, and thinks about them for a while in the same transaction."""
    with closing(psycopg2.connect(url)) as connection:
        connection.cursor().execute("SELECT * FROM receivables.aged_balance, receivables.credit_notes LIMIT 1")
        ending = threading.Timer(seconds, connection.rollback)
        ending.start()
        yield
        ending.join()


def by_hand(company: Company, *statements: str) -> None:
    with company.warehouse.session() as session:
        for statement in statements:
            session.between_readers(lambda statement=statement: session.execute(statement))  # type: ignore[misc]


def older_view(company: Company) -> None:
    """Somebody has a view of their own on it."""
    by_hand(company, "CREATE VIEW public.mine AS SELECT * FROM receivables.aged_balance")
    by_hand(company, "COMMENT ON VIEW receivables.aged_balance IS 'as an older version made it'")


def missing_column(company: Company) -> None:
    by_hand(company, "ALTER TABLE receivables.credit_notes DROP COLUMN label")


def missing_indexes(company: Company) -> None:
    by_hand(
        company,
        "ALTER TABLE receivables.credit_notes DROP CONSTRAINT credit_notes_pkey",
        "DROP INDEX receivables.invoices_account_id_index",
    )


def nothing(_: Company) -> None:
    """All is as the last sync left it."""


def test_who_reads_during_syncs_finds_all_tables_whole_and_waits_for_none(company: Company, postgres_url: str) -> None:
    with Readers(postgres_url, lasting(company)) as readers:
        for done_to_it in (nothing, older_view, missing_column, missing_indexes):
            change(company)
            done_to_it(company)
            with report(postgres_url, 3):
                company.sync(full=done_to_it in (nothing, missing_column))
    assert readers.complaints == set()
    assert readers.rounds > 10
    company.sync(rotation=1000)
    assert company.differences() == []
    with company.warehouse.session() as session:
        assert "older" not in session.comments("receivables")["aged_balance", None]
        assert session.value("SELECT count(*) FROM public.mine") > 0


def test_who_left_a_transaction_open_keeps_no_rows_out_and_gets_new_views_and_keys_afterwards(
    company: Company, postgres_url: str
) -> None:
    change(company)
    older_view(company)
    by_hand(
        company,
        "ALTER TABLE receivables.credit_notes DROP CONSTRAINT credit_notes_pkey",
        "CREATE UNIQUE INDEX credit_notes_credit_note_id_key ON receivables.credit_notes (company_id, credit_note_id)",
    )
    with closing(psycopg2.connect(postgres_url)) as connection:
        connection.cursor().execute("SELECT * FROM receivables.aged_balance, receivables.credit_notes LIMIT 1")
        before = time.monotonic()
        company.sync(rotation=1000)
        assert time.monotonic() - before < 30
        assert company.differences() == []
    with company.warehouse.session() as session:
        assert "older" in session.comments("receivables")["aged_balance", None]
    company.sync()
    with company.warehouse.session() as session:
        assert "older" not in session.comments("receivables")["aged_balance", None]
        assert session.value("SELECT count(*) FROM pg_constraint WHERE conname = 'credit_notes_pkey'") == 1


def test_where_something_is_missing_that_somebody_s_open_transaction_keeps_from_being_made_it_is_told_in_time(
    company: Company, postgres_url: str
) -> None:
    impatient = Company(company.server, PostgresWarehouse(postgres_url, lock_wait_seconds=1), company.work_dir)
    missing_column(company)
    with closing(psycopg2.connect(postgres_url)) as connection:
        connection.cursor().execute("SELECT * FROM receivables.credit_notes LIMIT 1")
        before = time.monotonic()
        with pytest.raises(WarehouseUnusable, match="another program keeps what is to be written locked"):
            impatient.lists_only()
        assert time.monotonic() - before < 30
    impatient.lists_only()
    assert "label" in next(iter(company.held()["credit_notes"].values()))


_READ_ON = """
import json, select, sys
file, names, found = sys.argv[1], sys.argv[2].split(","), []
print("reading", flush=True)
counts = ", ".join(f"(SELECT count(*) FROM {name})" for name in names)
while not select.select([sys.stdin], [], [], 0.5)[0]:
    found += read(file, f"SELECT {counts}, (SELECT count(DISTINCT invoice_id) FROM invoices)")
print(json.dumps(found))
"""


@pytest.mark.duckdb("one process at a time")
def test_who_reads_the_duckdb_file_as_documented_finds_all_tables_whole_and_holds_up_no_sync(
    make_company: MakeCompany, tmp_path: Path
) -> None:
    file = tmp_path / "receivables.duckdb"
    company = synchronized(make_company(8, 60, warehouse_at(f"duckdb:///{file}")))
    before = len(company.held()["invoices"])
    with subprocess.Popen(
        [sys.executable, "-c", documented(DUCKDB, "python") + _READ_ON, str(file), ",".join(READ)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as reader:  # fmt: skip
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        for full in (False, True, True):
            change(company)
            company.sync(full=full)
        said, _ = reader.communicate()
    found = [dict(zip([*READ, "different"], counts, strict=True)) for counts in json.loads(said)]
    assert len(found) >= 2
    for counts in found:
        assert min(counts.values()) > 0
        assert counts["invoices"] == counts["different"] >= before
    company.sync(rotation=1000)
    assert company.differences() == []


@pytest.mark.duckdb("a copy of its file")
def test_a_copy_of_the_duckdb_file_made_as_documented_has_all_tables_and_views(
    make_company: MakeCompany, tmp_path: Path
) -> None:
    file, copy = tmp_path / "receivables.duckdb", tmp_path / "copy.duckdb"
    company = synchronized(make_company(4, 20, warehouse_at(f"duckdb:///{file}")))
    sql = documented(DUCKDB, "sql").replace("data/receivables.duckdb", str(file)).replace("copy.duckdb", str(copy))
    with duckdb.connect() as tool:
        tool.execute(sql)
        change(company)
        company.sync()
    with duckdb.connect(str(copy)) as connection:
        connection.execute("USE receivables")
        for name in READ:
            assert connection.execute(f"SELECT count(*) FROM {name}").fetchone() != (0,)


@pytest.mark.parametrize("how", ["first", "hourly", "full"])
def test_of_each_list_a_reader_sees_all_that_a_sync_brings_or_nothing_of_it(
    make_company: MakeCompany, any_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    company = make_company(10, 90, any_warehouse)
    if how != "first":
        company.lists_only()
        company.world.clock.advance(60)
        change_everything(company)
    else:
        say_name(company)
    monkeypatch.setattr("pipelines.listing.PAGE", 20)
    monkeypatch.setattr("pipelines.changes.batches", partial(batches, size=20))
    monkeypatch.setattr("pipelines.pieces.PIECE_ROWS", 5)
    collect, collected = Landing.collect, [0]

    def counted(landing: Landing, *what: Any) -> None:
        collected[0] += 1
        collect(landing, *what)

    monkeypatch.setattr(Landing, "collect", counted)
    seen: dict[str, list[list[Any]]] = {one.name: [rows_of(company, one)] for one in LISTED}
    ended = threading.Event()

    def read_on() -> int:
        rounds = 0
        while not ended.is_set():
            for one in LISTED:
                rows = rows_of(company, one)
                if rows != seen[one.name][-1]:
                    seen[one.name].append(rows)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(1) as executor:
        reading = executor.submit(read_on)
        company.lists_only(full=how == "full")
        time.sleep(0.5)
        ended.set()
        assert reading.result() > 10
    assert collected[0] >= 3
    for one in LISTED:
        before, after = seen[one.name]
        assert before != after == rows_of(company, one)
    assert [line for line in company.differences() if not line.startswith(("contacts", "payments"))] == []


def change_everything(company: Company) -> None:
    """Each account and document, and some of each are deleted."""
    world = company.world
    for customer in list(world.customers):
        customers.update_customer(world, id=customer.id)
    for one in [one.id for one in world.invoices]:
        invoices.update_invoice(world, id=one, label=f"changed at {company.clock()}")
    for one in [one.id for one in world.invoices if one.settles][::5]:
        invoices.delete_invoice(world, id=one)
    invoices.create_invoice(world)


def rows_of(company: Company, table: Table) -> list[Any]:
    """A list as a reader finds it: ids, and when each record was changed."""
    with company.warehouse.session() as session:
        return session.rows(f"SELECT {table.id_column}, updated_at FROM receivables.{table.name} ORDER BY 1")
