"""After a sync nothing of the company's lies about outside the tables."""

import gc
import subprocess
import sys
import weakref
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import PennylaneUnreachable, WarehouseBusy, WarehouseUnusable
from pipelines.landing import Landing
from pipelines.records import Row
from pipelines.tables import ACCOUNTS, DATASET
from pipelines.warehouse import DuckDBWarehouse, PostgresWarehouse, Session, Warehouse, staging_layout, warehouse_at
from tests.pipelines.company import Company
from tests.pipelines.conftest import MakeCompany
from tests.pipelines.test_interruptions import failing_after
from tests.postgres import PostgresServer


def test_no_working_files_stay_behind(company: Company, tmp_path: Path) -> None:
    with pytest.raises(PennylaneUnreachable):
        company.sync(pennylane=failing_after(company, 20))  # when the lists have landed
    assert company.held()["invoices"]
    assert not list(company.work_dir.rglob("*"))
    company.sync()
    assert not list(company.work_dir.rglob("*"))
    assert {path.name for path in tmp_path.iterdir()} <= {"receivables.duckdb", "dlt"}


def test_what_is_put_aside_to_be_merged_is_empty_afterwards_and_holds_no_names(
    make_company: MakeCompany, any_warehouse: Warehouse
) -> None:
    company = make_company(warehouse=any_warehouse)
    company.sync()
    company.sync(full=True)
    with company.warehouse.session() as session:
        counts = _staging(session, company)
    assert {table for table in counts if not table.startswith("_dlt")} >= {"accounts", "invoices", "payments"}
    assert {count for table, count in counts.items() if not table.startswith("_dlt")} == {0}


@pytest.mark.duckdb("opened with all its tables")
def test_in_a_file_of_many_companies_not_even_the_tables_for_it_are_left(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.landing.FEW_COMPANIES", 0)
    company.sync()
    with company.warehouse.session() as session:
        assert _staging(session, company) == {}
    company.sync(full=True)
    assert company.differences() == []


def _staging(session: Session, company: Company) -> dict[str, int]:
    """The tables of a company's staging schema, with their rows."""
    schema = staging_layout(company.id) % DATASET
    assert schema in session.schemas()
    return {table: session.value(f'SELECT count(*) FROM "{schema}"."{table}"') for table in session.relations(schema)}


@pytest.mark.duckdb("a file; tests/life/test_secrets.py searches Postgres")
def test_the_token_is_nowhere_in_the_warehouse(company: Company) -> None:
    company.sync()
    token = company.server.token().encode()
    assert isinstance(company.warehouse, DuckDBWarehouse)
    assert token not in company.warehouse.path.read_bytes()


def test_a_password_is_in_no_repr_and_no_error(postgres_server: PostgresServer) -> None:
    url = postgres_server.url("no_such_database")
    warehouse = warehouse_at(url)
    assert postgres_server.password not in repr(warehouse)
    assert isinstance(warehouse, PostgresWarehouse)
    with pytest.raises(WarehouseUnusable, match="Postgres cannot be reached") as error, warehouse.session():
        pass
    assert postgres_server.password not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.duckdb("one process at a time")
def test_a_duckdb_file_held_by_another_process_is_named(tmp_path: Path) -> None:
    path = tmp_path / "held.duckdb"
    program = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(WarehouseBusy, match=rf"process {holder.pid}"),
            DuckDBWarehouse(path, lock_wait_seconds=0.3).session(),
        ):
            pass
        holder.terminate()


def test_a_process_that_syncs_again_and_again_keeps_nothing_of_it_in_memory(tmp_path: Path) -> None:
    def warehouse_after_a_load(number: int) -> "weakref.ref[DuckDBWarehouse]":
        warehouse = DuckDBWarehouse(tmp_path / f"{number}.duckdb")
        with Landing.opened(warehouse, 1, tmp_path / "dlt"):
            pass  # the tables are made, by a load
        return weakref.ref(warehouse)

    warehouses = [warehouse_after_a_load(number) for number in range(3)]
    gc.collect()
    # dlt has one pipeline active, the last one.
    assert [warehouse() for warehouse in warehouses[:-1]] == [None, None]


class _Row(dict[str, Any]):
    """A row that can be asked after."""


def test_of_a_long_list_the_rows_that_were_put_into_the_warehouse_are_not_kept_in_memory(
    any_warehouse: Warehouse, tmp_path: Path
) -> None:
    def collected(landing: Landing, first: int) -> "list[weakref.ref[_Row]]":
        nothing = dict.fromkeys(column.name for column in ACCOUNTS.columns)
        now = datetime.now(UTC)
        ids = range(first, first + 5_000)
        rows: list[Row] = [_Row(nothing, company_id=1, account_id=one, synced_at=now) for one in ids]
        landing.collect({ACCOUNTS: rows}, landing.state)
        return [weakref.ref(row) for row in rows if isinstance(row, _Row)]

    with Landing.opened(any_warehouse, 1, tmp_path / "dlt") as landing:
        gc.collect()
        gc.disable()  # as with so many objects beside them that Python seldom looks
        try:
            kept = [sum(row() is not None for row in collected(landing, first)) for first in (1, 10_001, 20_001)]
        finally:
            gc.enable()
    assert kept == [0, 0, 0]
