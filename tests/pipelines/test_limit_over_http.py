"""The real limit over real HTTP and in real time: never exceeded, and used while there is work."""

import pytest

from pipelines.pacing import WINDOW_SECONDS
from pipelines.progress import Progress
from tests.pipelines.conftest import MakeCompany

SECONDS = 12.0
"""How long each step is watched: at least one whole window of the limit, and some of the ones before and after."""


class _Enough(Exception):
    pass


@pytest.mark.parametrize("latency", [0.1, 0.4])
def test_a_first_sync_uses_the_limit_and_never_exceeds_it(make_company: MakeCompany, latency: float) -> None:
    company = make_company(60, 5500, rate_limit=25, latency=latency, frozen=False)
    seen: dict[str, list[float]] = {"lists": [], "details": []}

    def watch(progress: Progress) -> None:
        seen[progress.step].append(company.clock().timestamp())
        if seen["details"] and seen["details"][-1] - seen["details"][0] > SECONDS:
            raise _Enough

    company.watch = watch
    with pytest.raises(_Enough):
        company.sync(after=0)
    counted = company.requests
    assert counted["by_status"].keys() == {"200"}
    for step, times in seen.items():
        whole = [
            window["count"]
            for window in counted["by_window"]
            if window["window"] >= times[0] and window["window"] + WINDOW_SECONDS <= times[-1]
        ]
        assert whole, f"no whole window of {step}"
        assert max(whole) <= 25
        assert sum(whole) >= 0.9 * 25 * len(whole), f"{step}: {whole}"
