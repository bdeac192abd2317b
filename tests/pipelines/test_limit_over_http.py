"""The real limit over real HTTP and in real time: never exceeded, and used while there is work."""

import pytest

from pipelines.pacing import WINDOW_SECONDS
from pipelines.progress import Progress
from tests.pipelines.conftest import MakeCompany

SECONDS = 27.0
"""How long a step is watched: at least three whole windows of the limit after what it takes to get going."""
GOING = 3.0
"""Seconds after which it is at its pace: a list has one request under way until it is known how far its ids go."""


class _Enough(Exception):
    pass


@pytest.mark.parametrize("latency", [0.05, 0.2, 0.4, 0.8])
@pytest.mark.parametrize(("step", "documents"), [("lists", 16_000), ("details", 300)])
def test_a_first_sync_uses_the_limit_and_never_exceeds_it(
    make_company: MakeCompany, monkeypatch: pytest.MonkeyPatch, step: str, documents: int, latency: float
) -> None:
    monkeypatch.setattr("pipelines.pieces.PIECE_ROWS", 10**6)  # this process has the sandbox to serve, too
    company = make_company(60, documents, rate_limit=25, latency=latency, frozen=False)
    seen: list[float] = []

    def watch(progress: Progress) -> None:
        if progress.step == step:
            seen.append(company.clock().timestamp())
            if seen[-1] - seen[0] > SECONDS:
                raise _Enough

    company.watch = watch
    with pytest.raises(_Enough):
        company.sync(after=0)
    counted = company.requests
    assert counted["by_status"].keys() == {"200"}
    whole = [
        window["count"]
        for window in counted["by_window"]
        if window["window"] >= seen[0] + GOING and window["window"] + WINDOW_SECONDS <= seen[-1]
    ]
    assert len(whole) >= 3, whole
    assert sum(whole) >= 0.95 * 25 * len(whole), whole
