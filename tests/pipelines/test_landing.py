"""A run that may no longer write: whatever it was about to do, nothing of it is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.details import DetailsSync, Share
from pipelines.errors import PipelineError
from pipelines.exclusions import publish
from pipelines.landing import Landing
from pipelines.lists import ListsSync
from pipelines.loading import Loader
from pipelines.warehouse import DuckDBWarehouse, Session
from sandbox.changes import customers, invoices
from tests.pipelines.company import NOW, Company
from tests.pipelines.conftest import MakeSynced


class Lost(PipelineError):
    """Somebody else has the company now."""


class Lease:
    """Held for so many more checks."""

    def __init__(self, checks: int) -> None:
        self.checks = checks

    def check(self) -> None:
        if self.checks == 0:
            raise Lost
        self.checks -= 1


def sync(company: Company, lease: Lease) -> None:
    """A sync whose lease is lost after the checks that opening takes."""
    company.world.clock.advance(3600)
    with Landing.opened(company.warehouse, company.id, company.work_dir, lease.check) as landing:
        lease.checks = 0
        ListsSync(company.pennylane(), landing, frozenset(company.excluded), company.clock, lambda _: None).run()
        DetailsSync(company.pennylane(), landing, company.clock, lambda _: None).run(Share(10_000, 0))


def test_what_is_gone_at_pennylane_is_not_removed_by_a_run_that_lost_its_company(
    make_synced: MakeSynced,
) -> None:
    company = make_synced()
    gone = next(one.id for one in company.world.invoices if one.settles)
    invoices.delete_invoice(company.world, id=gone)
    before = company.held()

    with pytest.raises(Lost):
        sync(company, Lease(5))

    assert (company.id, gone) in company.held()["invoices"]
    assert company.held() == before
    company.sync(rotation=10_000)
    assert company.differences() == []


def test_what_was_read_is_not_marked_as_read_by_a_run_that_lost_its_company(make_synced: MakeSynced) -> None:
    company = make_synced()
    account = next(one.id for one in company.world.customers if not one.contacts)
    mark = f"SELECT contacts_synced_at FROM receivables.accounts WHERE account_id = {account}"
    with company.warehouse.session() as session:
        session.execute(f"UPDATE receivables.accounts SET contacts_synced_at = NULL WHERE account_id = {account}")

    with (
        pytest.raises(Lost),
        Landing.opened(company.warehouse, company.id, company.work_dir, (lease := Lease(5)).check) as landing,
    ):
        lease.checks = 1  # for landing the contacts, of which there are none
        DetailsSync(company.pennylane(), landing, company.clock, lambda _: None).run(Share(1000))

    with company.warehouse.session() as session:
        assert session.value(mark) is None
    company.sync()
    with company.warehouse.session() as session:
        assert session.value(mark) is not None


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written, and whether it was asked before, in the same session, if that is still allowed."""
    told: list[str] = []
    asked: set[int] = set()
    execute, load, writing = Session.execute, Loader.load, Landing.writing

    def spied_execute(session: Session, sql: str, *parameters: Any) -> None:
        kind = sql.split(maxsplit=1)[0].upper()
        if kind in ("INSERT", "UPDATE", "DELETE", "TRUNCATE"):
            told.append(f"{'asked' if id(session) in asked else 'UNASKED'}: {' '.join(sql.split())[:60]}")
        execute(session, sql, *parameters)

    def spied_load(loader: Loader, *what: Any) -> None:
        told.append("load")
        load(loader, *what)

    @contextmanager
    def spied_writing(landing: Landing) -> Iterator[Session]:
        with writing(landing) as session:
            asked.add(id(session))
            yield session
            asked.remove(id(session))

    monkeypatch.setattr(Session, "execute", spied_execute)
    monkeypatch.setattr(Loader, "load", spied_load)
    monkeypatch.setattr(Landing, "writing", spied_writing)
    return told


def test_each_write_of_a_sync_asks_first_in_its_own_session(company: Company, writes: list[str]) -> None:
    excluded, deleted, emptied = (one.id for one in list(company.world.customers)[:3])
    company.excluded = {excluded}
    for customer in (excluded, deleted):
        invoice = invoices.create_invoice(company.world, customer_id=customer)["id"]
        invoices.create_credit_note(company.world, invoice_id=invoice)
    company.sync(rotation=10_000)
    for contact in list(next(one for one in company.world.customers if one.id == emptied).contacts):
        customers.delete_contact(company.world, id=contact.id)
    for one in [one.id for one in company.world.invoices if one.customer_id == deleted and one.settles]:
        invoices.delete_invoice(company.world, id=one)
    customers.delete_customer(company.world, id=deleted)
    company.sync(rotation=10_000)
    customers.delete_customer(company.world, id=emptied)
    company.sync(full=True, rotation=10_000)

    statements = {one.partition(": ")[2].partition(" WHERE")[0] for one in writes}
    assert any("UPDATE receivables.invoices SET payments_synced_at" in one for one in statements)
    assert "load" in writes
    assert [one for one in writes if one.startswith("UNASKED")] == []


@pytest.mark.duckdb("its file is waited for")
def test_a_load_asks_once_more_when_the_file_is_open_since_that_may_take_time(
    warehouse: DuckDBWarehouse, tmp_path: Path
) -> None:
    lease, opened = Lease(5), list[bool]()

    def check() -> None:
        opened.append(warehouse._sessions > 0)
        lease.check()

    with pytest.raises(Lost), Landing.opened(warehouse, 1, tmp_path / "dlt", check) as landing:
        lease.checks = 1
        publish(landing, {7: NOW}, lambda: NOW)
    assert len(opened) >= 2
    assert all(opened)
    with warehouse.session() as session:
        assert session.rows("SELECT * FROM receivables.excluded_accounts") == []
