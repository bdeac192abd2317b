"""An older copy of the connections is put back: it says what to do, and harms nothing."""

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from resources.tokens import AuthorizationLost
from sandbox.changes import customers
from tests.model.office import Office
from tests.pipelines.company import DAY, make_sandbox
from tests.pipelines.truth import differences, expected, held
from tests.postgres import PostgresServer


@dataclass(frozen=True)
class Kept:
    """Where the connections are kept, and how a copy of them is made and put back."""

    url: str
    back_up: Callable[[], None]
    put_back: Callable[[], None]


@pytest.fixture(params=["SQLite", "Postgres"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "SQLite":
        file, backup = tmp_path / "connections.sqlite", tmp_path / "backup.sqlite"
        return Kept(f"sqlite:///{file}", lambda: copy(file, backup), lambda: copy(backup, file))
    server: PostgresServer = request.getfixturevalue("postgres_server")
    server.run("CREATE DATABASE restored")
    url, dump = server.url("restored"), tmp_path / "connections.dump"

    def run(program: str, *arguments: str | Path) -> None:
        subprocess.run([server.programs / program, *arguments], check=True)

    def put_back() -> None:
        run("psql", "--quiet", "--command=DROP SCHEMA pennylane_sync CASCADE", url)
        run("pg_restore", f"--dbname={url}", dump)

    schema = "--schema=pennylane_sync"
    return Kept(url, lambda: run("pg_dump", "--format=custom", schema, f"--file={dump}", url), put_back)


def test_tokens_renewed_since_have_to_be_authorized_again_and_the_exclusions_are_those_of_the_copy(
    tmp_path: Path, kept: Kept
) -> None:
    with make_sandbox(customers=5, invoices=15) as server:
        office = Office(server, tmp_path, f"duckdb:///{tmp_path}/receivables.duckdb", kept.url)
        then, since, *_ = sorted(one.id for one in server.world.customers)
        office.connections.exclude(office.company_id, [then], by="Ada")
        office.connect("oauth")
        office.sync("first", full=False)
        kept.back_up()

        office.connections.exclude(office.company_id, [since], by="Ada")
        office.time.pass_(DAY)  # the access token is renewed
        office.sync("second", full=False)
        kept.put_back()
        customers.update_customer(server.world, id=since, name="Changed")
        office.time.pass_(DAY)
        rows = held(office.warehouse, office.company_id, with_times=True)

        restored = Office(server, tmp_path, f"duckdb:///{tmp_path}/receivables.duckdb", kept.url)
        with pytest.raises(AuthorizationLost, match=f"Company {office.company_id}: .*pennylane-sync connect"):
            restored.sync("third", full=False)
        assert restored.connections.get(office.company_id).state == "needs_authorization"
        assert held(restored.warehouse, office.company_id, with_times=True) == rows

        restored.connect("oauth")
        assert restored.sync("fourth", full=False).mode == "incremental"
        assert set(restored.connections.excluded(office.company_id)) == {then}
        restored.connections.exclude(office.company_id, [since], by="Ada")  # the sequence of its numbers came back, too
        truth = expected(server.world, server.url, [then])
        assert differences(held(restored.warehouse, office.company_id), truth) == []


def copy(source: Path, target: Path) -> None:
    """As `sqlite3 SOURCE ".backup TARGET"` does."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)
