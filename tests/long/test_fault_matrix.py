"""Each fault that stays, at each address, in a first and in an hourly sync: told, and nothing is lost."""

import pytest

from tests.long.tried import tried
from tests.pipelines.conftest import MakeCompany
from tests.pipelines.disturbing import ADDRESSES, LASTING, PASSING, TIMEOUT, Unhurried, disturb, sync_that_fails
from tests.pipelines.test_faults import let_things_happen

ENOUGH = 1000


@pytest.mark.long
@pytest.mark.parametrize("kind", LASTING)
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_fault_that_stays_is_told_and_the_next_sync_is_whole(
    make_company: MakeCompany, monkeypatch: pytest.MonkeyPatch, address: str, kind: str
) -> None:
    monkeypatch.setattr("pipelines.client._TIMEOUT", TIMEOUT)
    company = make_company(4, 25)
    for sync in ("first", "hourly"):
        sync_that_fails(company, address, kind)
        company.sync(after=60, rotation=ENOUGH)
        differences = company.differences()
        tried[f"lasting faults, {sync} sync: {kind}"] += 1
        tried["lasting faults: differences after the next sync"] += len(differences)
        assert differences == [], (address, kind, sync)
        let_things_happen(company)


@pytest.mark.long
@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize("skip", range(12))
def test_a_fault_that_passes_is_overcome_wherever_it_strikes(
    make_company: MakeCompany, monkeypatch: pytest.MonkeyPatch, kind: str, skip: int
) -> None:
    monkeypatch.setattr("pipelines.client._TIMEOUT", TIMEOUT)
    company = make_company(8, 250)
    for sync in ("first", "hourly"):
        faults = [disturb(company, path, times=3, skip=skip, **PASSING[kind]) for path in ADDRESSES.values()]
        company.sync(after=60, rotation=ENOUGH, pennylane=company.pennylane(Unhurried))
        company.server.sandbox.faults.clear()
        differences = company.differences()
        tried[f"passing faults, {sync} sync: {kind}"] += sum(3 - (fault.times or 0) for fault in faults)
        tried["passing faults: differences"] += len(differences)
        assert differences == [], (kind, skip, sync)
        let_things_happen(company)
