"""The real limit over real HTTP and in real time: never exceeded, and used while there is work."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.client import OneToken, Pennylane
from pipelines.pace import WINDOW_SECONDS
from pipelines.pace_file import PaceFile
from pipelines.pacing import Pacer
from pipelines.progress import Progress
from tests.pipelines.conftest import MakeCompany
from tests.program import forking

SECONDS = 27.0
"""How long a step is watched: at least three whole windows of the limit after what it takes to get going."""
GOING = 3.0
"""Seconds after which it is at its pace: a list has one request under way until it is known how far its ids go."""

DOCUMENTS = {"lists": 16_000, "details": 300}
"""By step, enough for it to last that long."""


class _Enough(Exception):
    pass


@pytest.mark.parametrize("latency", [0.05, 0.2, 0.4, 0.8])
@pytest.mark.parametrize("step", DOCUMENTS)
def test_a_first_sync_uses_the_limit_and_never_exceeds_it(
    make_company: MakeCompany, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, latency: float
) -> None:
    """As in an installation, where the pace is kept in a file."""
    monkeypatch.setattr("pipelines.pieces.PIECE_ROWS", 10**6)  # this process has the sandbox to serve, too
    company = make_company(60, DOCUMENTS[step], rate_limit=25, latency=latency, frozen=False)
    seen: list[float] = []

    def watch(progress: Progress) -> None:
        if progress.step == step:
            seen.append(company.clock().timestamp())
            if seen[-1] - seen[0] > SECONDS:
                raise _Enough

    company.watch = watch
    pacer = Pacer(PaceFile(tmp_path / "pace" / "1.json"))
    with pytest.raises(_Enough):
        company.sync(after=0, pennylane=Pennylane(company.server.url, OneToken(company.server.token()), pacer=pacer))
    counted = company.requests
    assert counted["by_status"].keys() == {"200"}
    whole = [
        window["count"]
        for window in counted["by_window"]
        if window["window"] >= seen[0] + GOING and window["window"] + WINDOW_SECONDS <= seen[-1]
    ]
    assert len(whole) >= 3, whole
    assert sum(whole) >= 0.95 * 25 * len(whole), whole


def ask_on_and_on(url: str, token: str, pace: Path, seconds: float) -> None:
    """What a process does that has a token and a lot to ask."""
    pennylane = Pennylane(url, OneToken(token), pacer=Pacer(PaceFile(pace)))
    until = time.monotonic() + seconds

    def ask() -> None:
        while time.monotonic() < until:
            pennylane.get("/me")

    with ThreadPoolExecutor(8) as executor:
        for asking in [executor.submit(ask) for _ in range(8)]:
            asking.result()


def test_processes_on_one_machine_share_the_limit_as_one(make_company: MakeCompany, tmp_path: Path) -> None:
    """One is killed, and leaves what it had under way; another begins when the first is at its pace."""
    company = make_company(5, 5, rate_limit=25, latency=0.8, frozen=False)
    given = (company.server.url, company.server.token(), tmp_path / "pace" / "1.json")
    first, second, killed = (
        forking.Process(target=ask_on_and_on, args=(*given, seconds)) for seconds in (SECONDS, SECONDS - 7, SECONDS)
    )
    first.start()
    killed.start()
    time.sleep(2)
    killed.kill()
    time.sleep(5)
    second.start()
    for process in (first, second, killed):
        process.join(2 * SECONDS)
    assert (first.exitcode, second.exitcode, killed.exitcode) == (0, 0, -9)
    assert company.requests["by_status"].keys() == {"200"}
    whole = [window["count"] for window in company.requests["by_window"]][3:-1]
    assert len(whole) >= 2, whole
    assert sum(whole) >= 0.95 * 25 * len(whole), whole
