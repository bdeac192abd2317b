"""The tables: one per company, a column per contender, a line per measure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rich.table import Table

from benchmarks.contenders import Measured
from benchmarks.stand_in import LATENCY_MS, LATENCY_WITHOUT_LIMIT_MS, LIMIT, WINDOW, Size
from benchmarks.trials import CONTENDERS, Run, Unlimited

NAMES = {"ours": "this project", "rest_api": "dlt `rest_api`", "sdk": "`pennylane-sdk`, pandas"}

Line = tuple[str, ...]


@dataclass(frozen=True)
class Results:
    """Everything measured of one company. `limited` is empty where hours would be needed: `share` projects."""

    size: Size
    unlimited: Mapping[str, Unlimited]
    share: Mapping[str, float]
    limited: Mapping[str, Run] = field(default_factory=dict)

    def lines(self) -> list[Line]:
        return [
            (f"*{LIMIT} requests in {WINDOW:.0f} s, {LATENCY_MS} ms latency*", *("" for _ in CONTENDERS)),
            *(self._measured_under_limit() if self.limited else self._projected()),
            (f"*limit off, {LATENCY_WITHOUT_LIMIT_MS} ms latency*", *("" for _ in CONTENDERS)),
            *self._without_limit(),
            *self._second(),
        ]

    def _measured_under_limit(self) -> list[Line]:
        runs = self.limited

        def line(title: str, of: Callable[[Run], str]) -> Line:
            return title, *(of(runs[one]) for one in CONTENDERS)

        return [
            line("requests", lambda run: f"{run.asked.requests:,}"),
            line("of them refused (429)", lambda run: f"{run.asked.refused:,}"),
            line("share of the limit used", lambda run: _share(run.asked.share)),
            line("ready for follow-up after", lambda run: _time(run.measured.ready)),
            line("complete after", lambda run: _time(run.measured.complete)),
            line("peak memory", lambda run: _memory(run.measured)),
        ]

    def _projected(self) -> list[Line]:
        def requests(one: str) -> tuple[int, int]:
            found = self.unlimited[one]
            listing = found.first.asked.listing
            complete = found.first.asked.requests if found.second else listing + found.needed.complete
            return (listing + found.needed.ready if one == "ours" else complete), complete

        def seconds(one: str, count: int) -> str:
            return f"≈ {_time(count / (LIMIT / WINDOW * self.share[one]))}"

        return [
            ("requests", *(f"{requests(one)[1]:,}" for one in CONTENDERS)),
            ("ready for follow-up after", *(seconds(one, requests(one)[0]) for one in CONTENDERS)),
            ("complete after", *(seconds(one, requests(one)[1]) for one in CONTENDERS)),
        ]

    def _without_limit(self) -> list[Line]:
        what = "first sync" if self._whole else "lists"
        return [
            self._line(f"{what}: rows", lambda found: f"{found.rows:,}"),
            self._line(f"{what}: time", lambda found: _time(found.first.measured.complete)),
            self._line(f"{what}: rows per second", lambda found: f"{found.rows / found.first.measured.complete:,.0f}"),
            self._line(f"{what}: peak memory", lambda found: _memory(found.first.measured)),
        ]

    def _second(self) -> list[Line]:
        runs = {one: found.second for one, found in self.unlimited.items() if found.second}
        missed = {one: found.missed for one, found in self.unlimited.items() if found.missed}
        if not runs:
            return []
        return [
            ("sync after changes: requests", *(f"{runs[one].asked.requests:,}" for one in CONTENDERS)),
            ("sync after changes: time", *(_time(runs[one].measured.complete) for one in CONTENDERS)),
            ("*what is wrong after it*", *("" for _ in CONTENDERS)),
            ("rows missing", *(f"{missed[one].missing:,}" for one in CONTENDERS)),
            ("of them payments", *(f"{missed[one].payments_missing:,}" for one in CONTENDERS)),
            ("rows left over that Pennylane no longer has", *(f"{missed[one].left_over:,}" for one in CONTENDERS)),
            ("rows that are out of date", *(f"{missed[one].stale:,}" for one in CONTENDERS)),
            ("credit notes not told from invoices", *(f"{missed[one].confused:,}" for one in CONTENDERS)),
            self._line("rows of an account left out from the start", lambda found: f"{found.never_rows:,}"),
            self._line("rows lost of an account left out later", lambda found: f"{found.later_rows:,}"),
            self._line("amounts are stored as", lambda found: found.amounts),
        ]

    @property
    def _whole(self) -> bool:
        return all(found.second for found in self.unlimited.values())

    def _line(self, title: str, of: Callable[[Unlimited], str]) -> Line:
        return title, *(of(self.unlimited[one]) for one in CONTENDERS)

    def table(self) -> Table:
        table = Table(title=str(self.size), title_justify="left")
        table.add_column("")
        for one in CONTENDERS:
            table.add_column(NAMES[one].replace("`", ""), justify="right")
        for title, *values in self.lines():
            table.add_row(title.replace("*", ""), *values, style="bold" if title.startswith("*") else None)
        return table

    def markdown(self) -> str:
        heading = f"| {self.size.name} company | {' | '.join(NAMES[one] for one in CONTENDERS)} |"
        rows = [f"| {' | '.join(line)} |" for line in self.lines()]
        return "\n".join([f"## {str(self.size).capitalize()}", "", heading, "|---|---:|---:|---:|", *rows])


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if minutes < 120 else f"{hours:.1f} h"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _memory(measured: Measured) -> str:
    return f"{measured.peak_mb:,.0f} MB"
