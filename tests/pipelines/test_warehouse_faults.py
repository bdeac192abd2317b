"""The warehouse fails in the middle of a sync: one clear line, nothing lost, and the next sync is whole."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient

from pipelines.errors import PipelineError, WarehouseBusy, WarehouseUnusable
from pipelines.warehouse import DuckDBWarehouse, Session, warehouse_at
from sandbox.changes.randomly import change_randomly
from tests.pipelines.company import Company
from tests.pipelines.conftest import MakeCompany
from tests.postgres import PostgresServer, running_postgres

ROOT = Path(__file__).parents[2]
LARGEST_FILE = 16 * 2**20
"""Bytes; Postgres makes the files of its log as large from the start."""


class Disturbed:
    """Counts what is asked of Postgres, by us and by dlt, and lets something happen before one of the statements."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements = 0
        self._at = -1
        self._happens: Callable[[], None] = lambda: None
        for owner, name in ((Session, "execute"), (Psycopg2SqlClient, "execute_query")):
            monkeypatch.setattr(owner, name, self._counting(getattr(owner, name)))

    def before(self, statement: int, happens: Callable[[], None]) -> None:
        self.statements, self._at, self._happens = 0, statement, happens

    def _counting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.statements += 1
            if self.statements == self._at:
                self._happens()
            return call(*arguments, **options)

        return counted


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that may be stopped: no other test's."""
    with running_postgres() as server:
        yield server


def _sync_disturbed(company: Company) -> str:
    """What a sync said that may have failed, or have come to its end all the same."""
    try:
        company.sync(after=60)
    except PipelineError as error:
        assert isinstance(error, WarehouseUnusable)
        assert f"ompany {company.id}" in str(error)
        assert "\n" not in str(error)
        return str(error)
    return ""


@pytest.mark.parametrize("fault", ["restarts", "ends the connection"])
def test_a_postgres_that_fails_anywhere_in_a_sync_loses_nothing(
    make_company: MakeCompany, own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    database = fault.split(maxsplit=1)[0]
    own_server.run(f"CREATE DATABASE {database}")
    disturbed = Disturbed(monkeypatch)
    company = make_company(4, 20, warehouse_at(own_server.url(database)))

    def restart() -> None:
        own_server.stop()
        own_server.start()

    def end_connections() -> None:
        own_server.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        )

    happens = restart if fault == "restarts" else end_connections
    said = []
    for place in (3, 12, 25, 40, 60, 80):
        disturbed.before(place, happens)
        said.append(_sync_disturbed(company))
        assert disturbed.statements >= place
        change_randomly(company.world, count=3)
    assert sum(map(bool, said)) >= 3, said
    company.sync(after=60, rotation=1000)
    assert company.differences() == []


def test_a_postgres_that_is_down_is_told_and_the_next_sync_goes_on(
    make_company: MakeCompany, own_server: PostgresServer
) -> None:
    own_server.run("CREATE DATABASE down")
    company = make_company(4, 20, warehouse_at(own_server.url("down")))
    company.sync()
    change_randomly(company.world, count=5)
    own_server.stop()
    with pytest.raises(WarehouseUnusable, match=f"Company {company.id}: Postgres cannot be reached: .*refused") as told:
        company.sync(after=60)
    assert own_server.password not in str(told.value)
    own_server.start()
    company.sync(after=60, rotation=1000)
    assert company.differences() == []


def test_a_postgres_whose_disk_is_full_loses_nothing_and_once_there_is_room_the_next_sync_is_whole(
    make_company: MakeCompany, own_server: PostgresServer
) -> None:
    """A limit on the size of files, at which a table has arrived, does as a full disk does."""
    own_server.run("CREATE DATABASE full_disk")
    company = make_company(4, 20, warehouse_at(own_server.url("full_disk")))
    company.sync()
    with company.warehouse.session() as session:
        session.execute(
            "INSERT INTO receivables.invoices SELECT filled.* FROM "
            "(SELECT to_jsonb(one) AS row FROM receivables.invoices AS one LIMIT 1), generate_series(1, 30000) AS id, "
            "jsonb_populate_record(NULL::receivables.invoices, row || jsonb_build_object("
            "'company_id', 999, 'invoice_id', id, 'label', repeat('x', 500))) AS filled"
        )
        assert session.value("SELECT pg_relation_size('receivables.invoices')") > LARGEST_FILE
    change_randomly(company.world, count=40)
    own_server.run("CHECKPOINT")  # what it would else write as it starts
    own_server.stop()
    own_server.start(largest_file=LARGEST_FILE)
    said = _sync_disturbed(company)
    own_server.stop()
    own_server.start()
    assert "File too large" in said
    assert "Nothing is lost" in said
    company.sync(after=60, rotation=1000)
    assert company.differences() == []


def test_a_password_that_changed_is_told_without_it(make_company: MakeCompany, own_server: PostgresServer) -> None:
    company = make_company(1, 1, warehouse_at(own_server.url("postgres").replace(own_server.password, "hunter2")))
    with pytest.raises(WarehouseUnusable, match="password authentication failed") as told:
        company.sync()
    assert "hunter2" not in str(told.value)
    with pytest.raises(psycopg2.Error):
        psycopg2.connect(own_server.url("postgres").replace(own_server.password, "hunter2"))


_HOLD = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


@pytest.mark.duckdb("one process at a time")
def test_a_duckdb_file_taken_by_another_program_in_mid_sync_costs_no_progress(
    make_company: MakeCompany, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before stays: its cursor lies in the file, committed with the rows."""
    monkeypatch.setattr("pipelines.pieces.PIECE_ROWS", 100)
    file = tmp_path / "receivables.duckdb"
    company = make_company(10, 600, DuckDBWarehouse(file, lock_wait_seconds=0.3))
    holders: list[subprocess.Popen[str]] = []

    def hold(progress: Any) -> None:
        if progress.done > 350 and not holders:
            holder = subprocess.Popen(
                [sys.executable, "-c", _HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            holders.append(holder)
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"

    with pytest.raises(WarehouseBusy) as told:
        company.lists_only(watch=hold)
    (holder,) = holders
    assert str(told.value).startswith(f"Company {company.id}: {file} is held open by python")
    assert f"process {holder.pid}" in str(told.value)
    assert holder.stdin is not None
    holder.stdin.close()
    holder.wait()
    company.forget_requests()
    assert company.lists_only().mode == "first"
    assert company.requests["total"] < 9  # of seven pages or more and two feeds, with nothing read before
    company.sync()
    assert company.differences() == []


_SYNC = """
import os, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from pipelines.client import OneToken, Pennylane
from pipelines.details import DetailsSync, Share
from pipelines.errors import PipelineError
from pipelines.landing import Landing
from pipelines.lists import ListsSync
from pipelines.warehouse import warehouse_at
import dlt, dlt.destinations.impl.duckdb.configuration, pipelines.loading, pipelines.merging

url, token, company, file, work_dir, limit = sys.argv[1:]
if limit.isdigit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
elif os.geteuid() == 0:  # whom rights on files do not bind; what is to be imported may lie where only root reads
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
pennylane = Pennylane(url, OneToken(token))
now = lambda: datetime.fromisoformat("2026-09-15T09:00:00+00:00")
try:
    with Landing.opened(warehouse_at(f"duckdb:///{file}"), int(company), Path(work_dir)) as landing:
        ListsSync(pennylane, landing, frozenset(), now, lambda _: None).run()
        DetailsSync(pennylane, landing, now, lambda _: None).run(Share(0, 3600.0))
except PipelineError as error:
    print(error)
"""


def _sync_apart(company: Company, file: Path, work_dir: Path, limit: str) -> str:
    """What a sync says in a process of its own, with so many bytes to a file, or as a user who is not root."""
    arguments = [company.server.url, company.server.token(), str(company.id), str(file), str(work_dir), limit]
    ran = subprocess.run(
        [sys.executable, "-c", _SYNC, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    return ran.stdout.strip()


@pytest.mark.duckdb("the disk of its file")
@pytest.mark.parametrize("room", [1_000, 200_000], ids="{:,} bytes".format)
def test_a_disk_without_room_is_told_and_once_there_is_some_the_next_sync_is_whole(
    make_company: MakeCompany, tmp_path: Path, room: int
) -> None:
    """A limit on the size of files does as a full disk does, on any machine."""
    company = make_company(5, 200)
    said = _sync_apart(company, tmp_path / "receivables.duckdb", company.work_dir, str(room))
    assert said.startswith(f"Company {company.id}: ")
    assert "File too large" in said
    assert "Nothing is lost" in said
    assert "\n" not in said
    company.sync()
    assert company.differences() == []


@pytest.mark.duckdb("the rights on its file")
@pytest.mark.parametrize("what", ["the folder of the file", "the file", "the working folder"])
def test_a_folder_that_cannot_be_written_is_named(make_company: MakeCompany, warehouse_folder: Path, what: str) -> None:
    open_to_all, read_only = warehouse_folder / "open", warehouse_folder / "read_only"
    for folder, mode in ((open_to_all, 0o777), (read_only, 0o755)):
        folder.mkdir()
        folder.chmod(mode)
    file = (read_only if what == "the folder of the file" else open_to_all) / "receivables.duckdb"
    company = make_company(3, 5, warehouse_at(f"duckdb:///{file}"))
    if what == "the file":
        company.sync()
        file.chmod(0o444)
    work_dir = (read_only if what == "the working folder" else open_to_all) / "dlt"
    read_only.chmod(0o555)
    said = _sync_apart(company, file, work_dir, "not root")
    assert said.startswith(f"Company {company.id}: ")
    assert str(work_dir if what == "the working folder" else file) in said
    assert "Permission denied" in said
    assert "\n" not in said
    read_only.chmod(0o755)
    if file.exists():
        file.chmod(0o644)
    company.sync()
    assert company.differences() == []


@pytest.fixture
def warehouse_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that another user can reach: pytest's own are closed to all others."""
    folder = Path(tempfile.mkdtemp(prefix="warehouse-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
