"""An older copy of the connections is put back: it says what to do, and harms nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from resources.tokens import AuthorizationLost
from sandbox.changes import customers
from tests.model.office import Office
from tests.pipelines.company import DAY, make_sandbox
from tests.pipelines.truth import differences, expected, held


def test_tokens_renewed_since_have_to_be_authorized_again_and_the_exclusions_are_those_of_the_copy(
    tmp_path: Path,
) -> None:
    with make_sandbox(customers=5, invoices=15) as server:
        office = Office(server, tmp_path, f"duckdb:///{tmp_path}/receivables.duckdb")
        then, since, *_ = sorted(one.id for one in server.world.customers)
        office.connections.exclude(office.company_id, [then], by="Ada")
        office.connect("oauth")
        office.sync("first", full=False)
        copy(tmp_path / "connections.sqlite", tmp_path / "backup.sqlite")

        office.connections.exclude(office.company_id, [since], by="Ada")
        office.time.pass_(DAY)  # the access token is renewed
        office.sync("second", full=False)
        copy(tmp_path / "backup.sqlite", tmp_path / "connections.sqlite")
        customers.update_customer(server.world, id=since, name="Changed")
        office.time.pass_(DAY)
        rows = held(office.warehouse, office.company_id, with_times=True)

        restored = Office(server, tmp_path, f"duckdb:///{tmp_path}/receivables.duckdb")
        with pytest.raises(AuthorizationLost, match=f"Company {office.company_id}: .*pennylane-sync connect"):
            restored.sync("third", full=False)
        assert restored.connections.get(office.company_id).state == "needs_authorization"
        assert held(restored.warehouse, office.company_id, with_times=True) == rows

        restored.connect("oauth")
        assert restored.sync("fourth", full=False).mode == "incremental"
        assert set(restored.connections.excluded(office.company_id)) == {then}
        truth = expected(server.world, server.url, [then])
        assert differences(held(restored.warehouse, office.company_id), truth) == []


def copy(source: Path, target: Path) -> None:
    """As `sqlite3 SOURCE ".backup TARGET"` does."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)
