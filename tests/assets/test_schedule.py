"""The hourly schedule: a run for each active company, and reasons for the others."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg
import pytest

from resources.credential import Credential
from tests.assets.dagster import DagsterSide, dagster_side
from tests.program import NOW, Program

A, B, C = 101, 102, 103


class Moment:
    """A clock that is moved by hand, for the store; Dagster's own events carry the real time."""

    def __init__(self) -> None:
        self.now = datetime.now(NOW.tzinfo)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Moment:
    return Moment()


@pytest.fixture
def side(program: Program, clock: Moment) -> Iterator[DagsterSide]:
    with dagster_side(program, clock) as side:
        yield side


def connect(side: DagsterSide, *company_ids: int, active: bool = True) -> None:
    for company_id in company_ids:
        side.installation.connections.save(company_id, f"Company {company_id}", "api_token", Credential("token"), [])
        side.instance.add_dynamic_partitions("connections", [str(company_id)])
        if active:
            side.installation.connections.activate(company_id)


def unfinished_run(side: DagsterSide, company_id: int, status: dg.DagsterRunStatus, job: str = "initial_sync") -> str:
    run = side.instance.create_run_for_job(
        side.definitions.resolve_job_def(job), tags={"dagster/partition": str(company_id)}, status=status
    )
    return run.run_id


def test_without_a_company_it_says_how_to_connect_one(side: DagsterSide) -> None:
    assert side.tick() == ({}, "No company is connected yet: pennylane-sync connect")


def test_each_active_company_gets_one_run_per_hour(side: DagsterSide) -> None:
    connect(side, A, B)
    requests, reason = side.tick(NOW)
    assert requests.keys() == {str(A), str(B)}
    assert reason is None
    assert side.tick(NOW)[0] == requests
    assert set(side.tick(NOW + timedelta(hours=1))[0].values()).isdisjoint(requests.values())


def test_each_company_that_is_not_synchronized_is_named_with_its_reason(side: DagsterSide) -> None:
    connect(side, A, active=False)
    connect(side, B, C)
    side.installation.connections.disconnect(B)
    side.installation.connections.record_authorization_lost(C, "Revoked there.")
    assert side.tick() == (
        {},
        f"{A}: not activated yet: pennylane-sync activate; {B}: disconnected; "
        f"{C}: must be authorized again: pennylane-sync connect (Revoked there.)",
    )


def test_a_company_that_is_skipped_keeps_no_other_from_running_and_the_tick_s_log_says_why(
    side: DagsterSide, capfd: pytest.CaptureFixture[str]
) -> None:
    connect(side, A, B)
    side.installation.connections.disconnect(A)
    requests, reason = side.tick()
    assert requests.keys() == {str(B)}
    assert reason is None
    assert f"Skipped: {A}: disconnected" in capfd.readouterr().err


def test_a_company_that_somebody_works_on_is_skipped(side: DagsterSide, clock: Moment) -> None:
    connect(side, A, B)
    with side.installation.connections.lease(A, "the command line", "full_sync"):
        assert side.tick()[0].keys() == {str(B)}
        side.installation.connections.disconnect(B)
        assert f"{A}: a run still goes on (full_sync, since {clock.now:%H:%M} UTC)" in str(side.tick()[1])
    assert side.tick()[0].keys() == {str(A)}


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING])
def test_a_company_whose_run_was_launched_or_goes_on_is_skipped(side: DagsterSide, status: dg.DagsterRunStatus) -> None:
    connect(side, A, B)
    unfinished_run(side, A, status)
    assert side.tick()[0].keys() == {str(B)}
    side.installation.connections.disconnect(B)
    assert f"{A}: a run still goes on (initial_sync)" in str(side.tick()[1])


def test_a_run_whose_process_ended_without_a_word_blocks_its_company_for_minutes_only(
    side: DagsterSide, clock: Moment
) -> None:
    connect(side, A)
    run_id = unfinished_run(side, A, dg.DagsterRunStatus.STARTED)
    side.instance.report_engine_event("Executing steps", run_id=run_id, job_name="initial_sync")
    assert side.tick()[0] == {}
    clock.now += timedelta(minutes=6)
    assert side.tick()[0].keys() == {str(A)}
    run = side.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert "process ended without a word" in str(side.instance.all_logs(run_id)[-1])


def test_a_run_that_is_silent_while_it_holds_the_lease_goes_on(side: DagsterSide, clock: Moment) -> None:
    connect(side, A)
    run_id = unfinished_run(side, A, dg.DagsterRunStatus.STARTED)
    side.instance.report_engine_event("Executing steps", run_id=run_id, job_name="initial_sync")
    clock.now += timedelta(hours=1)
    with side.installation.connections.lease(A, f"run {run_id}", "initial_sync"):
        assert "a run still goes on" in str(side.tick()[1])
    run = side.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.STARTED


def test_a_company_connected_on_another_machine_becomes_a_partition_by_itself(side: DagsterSide) -> None:
    connect(side, A)
    side.installation.connections.save(B, "Company B", "api_token", Credential("token"), [])
    side.installation.connections.activate(B)
    assert not side.instance.has_dynamic_partition("connections", str(B))

    requests, _ = side.tick()

    assert requests.keys() == {str(A), str(B)}
    assert side.instance.has_dynamic_partition("connections", str(B))
