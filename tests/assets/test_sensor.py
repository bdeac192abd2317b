"""The sensor: a run within the minute for a company of which Pennylane tells something new, where it is switched on."""

from collections.abc import Iterator

import dagster as dg
import pytest

from sandbox.server import SandboxServer
from tests.assets.dagster import DagsterSide, dagster_side
from tests.program import Program, control

CHANGELOGS = ["/api/external/v2/changelogs/customer_invoices", "/api/external/v2/changelogs/customers"]


@pytest.fixture
def side(synced: Program) -> Iterator[DagsterSide]:
    with dagster_side(synced) as side:
        yield side


def test_a_change_makes_a_run_that_reads_it_and_nothing_else(side: DagsterSide, sandbox: SandboxServer) -> None:
    company = str(sandbox.world.id)
    control(sandbox, "DELETE", "requests")
    assert side.look() == ({}, f"{company}: nothing new")
    asked = control(sandbox, "GET", "requests")["by_path"]
    assert asked == dict.fromkeys(CHANGELOGS, 1)

    invoice = control(sandbox, "POST", "changes/create_invoice")["id"]
    requests, _ = side.look()
    assert requests.keys() == {company}
    control(sandbox, "POST", "clock", advance_seconds=2)
    control(sandbox, "DELETE", "requests")
    assert side.run("hourly_sync", int(company), run_config=requests[company]).success

    with side.installation.warehouse.session() as session:
        assert session.rows(f"SELECT count(*) FROM receivables.invoices WHERE invoice_id = {invoice}") == [(1,)]
    asked = control(sandbox, "GET", "requests")
    details = [path for path in asked["by_path"] if path.endswith(("/payments", "/contacts", "/matched_transactions"))]
    assert 1 <= len(details) <= 4
    assert side.look() == ({}, f"{company}: nothing new")


def test_whoever_is_not_to_be_synchronized_now_is_not_even_asked_about(
    side: DagsterSide, sandbox: SandboxServer
) -> None:
    company, connections = sandbox.world.id, side.installation.connections
    control(sandbox, "POST", "changes/create_invoice")
    control(sandbox, "DELETE", "requests")
    with connections.lease(company, "the command line", "full_sync"):
        assert "a run still goes on (full_sync" in str(side.look()[1])
    connections.record_failure(company, "The disk is full.")
    assert side.look() == ({}, f"{company}: the last sync failed, and the next hourly one tries again")
    connections.disconnect(company)
    assert side.look() == ({}, f"{company}: disconnected")
    assert control(sandbox, "GET", "requests")["total"] == 0


def test_what_goes_wrong_with_asking_is_said_and_the_hourly_runs_go_on(
    side: DagsterSide, sandbox: SandboxServer
) -> None:
    company = sandbox.world.id
    control(sandbox, "POST", "tokens/revoke_all")
    requests, said = side.look()
    assert requests == {}
    assert "pennylane-sync connect" in str(said)
    assert side.installation.connections.get(company).state == "needs_authorization"


def test_it_is_off_until_somebody_switches_it_on(side: DagsterSide) -> None:
    sensor = side.definitions.get_repository_def().get_sensor_def("changes")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert sensor.minimum_interval_seconds == 60


def test_without_a_company_it_says_how_to_connect_one(program: Program) -> None:
    with dagster_side(program) as side:
        assert side.look() == ({}, "No company is connected yet: pennylane-sync connect")
