"""How much of the rate limit is used, and how often it is exceeded: `python -m benchmarks.pacing`.

On a simulated clock, with the server and the workers of the tests (`tests/pipelines/pacing_simulation.py`) and the
pacer of the program.
"""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.pipelines.pacing_simulation import Outcome, Simulation

LATENCIES = (0.05, 0.1, 0.2, 0.4, 0.8)
RUNS = 40
BEGINNING, WINDOWS = 4, 14
"""From which window on the share is counted, and how many windows each run lasts."""

CASES: dict[str, dict[str, Any]] = {
    "alone": {},
    "alone, answers take 0.2 to 1.8 times as long": {"jitter": 0.8},
    "alone, on a slow machine": {"dawdle": 0.06},
    "two processes on one machine": {"processes": 2, "together": True},
    "beside a program that asks every two seconds": {"others_per_second": 0.5},
    "beside one that asks once a second": {"others_per_second": 1},
    "beside one that asks twice a second": {"others_per_second": 2},
    "beside one that asks four times a second": {"others_per_second": 4},
    "beside one that asks eight times a second": {"others_per_second": 8},
    "beside one that asks twice a second on average, at random": {"others_per_second": 2, "others_at_random": True},
    "beside one that asks 5 at once as a window begins": {"others_at_once": 5},
    "beside one that asks 12 at once": {"others_at_once": 12},
    "beside one that asks 12 at once, half-way through it": {"others_at_once": 12, "others_at": 2.5},
    "beside one that asks 12 at once, later": {"others_at_once": 12, "others_at": 3.5},
    "two installations": {"processes": 2},
    "three installations": {"processes": 3},
}


def main() -> None:
    """Print one row per case and latency."""
    table = Table(title=f"{RUNS} runs of {WINDOWS} windows each")
    table.add_column("case")
    for heading in (
        "latency",
        "used, least",
        "used, mean",
        "refused",
        "of requests",
        "at its pace",
        "other's",
        "of these refused",
    ):
        table.add_column(heading, justify="right")
    for case, settings in CASES.items():
        for latency in LATENCIES:
            runs = [
                Simulation(latency=latency, offset=1234.567 + number * 0.127, seed=number, **settings).run(WINDOWS)
                for number in range(RUNS)
            ]
            table.add_row(case, f"{1000 * latency:.0f} ms", *_row(runs))
    Console(width=150).print(table)


def _row(runs: list[Outcome]) -> list[str]:
    used = [outcome.use(BEGINNING, WINDOWS) for outcome in runs]
    refused = sum(sum(outcome.refused.values()) for outcome in runs)
    later = _in_whole_windows([outcome.refused for outcome in runs])
    granted = _in_whole_windows([outcome.others for outcome in runs])
    others_refused = _in_whole_windows([outcome.others_refused for outcome in runs])
    return [
        f"{min(used):.1%}",
        f"{sum(used) / len(used):.1%}",
        f"{refused}",
        f"{sum(sum(outcome.ours.values()) for outcome in runs) + refused:,}",
        f"{later}",
        f"{granted + others_refused:,}",
        f"{others_refused}",
    ]


def _in_whole_windows(counted: list[Counter[int]]) -> int:
    """What was counted once all are at their pace."""
    return sum(windows[window] for windows in counted for window in range(BEGINNING, WINDOWS))


if __name__ == "__main__":
    main()
