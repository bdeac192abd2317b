"""The tables: one per company, a column per contender, a line per measure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Table

from benchmarks.contenders import Measured
from benchmarks.stand_in import LATENCY_MS, LATENCY_WITHOUT_LIMIT_MS, LIMIT, WINDOW, Size
from benchmarks.trials import CONTENDERS, Run, Unlimited

NAMES = {"ours": "this project", "rest_api": "dlt `rest_api`", "sdk": "`pennylane-sdk`, pandas"}

Line = tuple[str, ...]


@dataclass(frozen=True)
class Projected:
    """What a first sync would take: requests, and the seconds until ready and until complete."""

    requests: int
    ready: float
    complete: float


@dataclass(frozen=True)
class Results:
    """Everything measured of one company; what was measured of a `smaller` one under the limit projects.

    `limited` is empty where hours would be needed.
    """

    size: Size
    unlimited: Mapping[str, Unlimited]
    smaller: Mapping[str, Run]
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
        projected = {one: self.projected(one) for one in CONTENDERS}
        return [
            ("requests", *(f"{projected[one].requests:,}" for one in CONTENDERS)),
            ("ready for follow-up after", *(f"≈ {_time(projected[one].ready)}" for one in CONTENDERS)),
            ("complete after", *(f"≈ {_time(projected[one].complete)}" for one in CONTENDERS)),
        ]

    def projected(self, one: str) -> Projected:
        """A first sync under the limit, by the requests counted without it, and by how the smaller company used it."""
        found = self.unlimited[one]
        listing = found.first.asked.listing
        complete = listing + found.needed.complete
        ready = listing + found.needed.ready if one == "ours" else complete
        a_second = LIMIT / WINDOW * (self.smaller[one].asked.share or 1.0)
        return Projected(complete, ready / a_second, complete / a_second)

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
        return f"## {str(self.size).capitalize()}\n\n{self._markdown(self.lines())}"

    def projection_and_measurement(self) -> str:
        """A table of what a projection tells of this company, and what was measured of it."""
        runs = [(self.projected(one), self.limited[one]) for one in CONTENDERS]
        return self._markdown(
            [
                ("requests: projected", *(f"{told.requests:,}" for told, _ in runs)),
                ("requests: made and not refused", *(f"{run.asked.requests - run.asked.refused:,}" for _, run in runs)),
                ("ready: projected", *(_time(told.ready) for told, _ in runs)),
                ("ready: measured", *(_time(run.measured.ready) for _, run in runs)),
                ("complete: projected", *(_time(told.complete) for told, _ in runs)),
                ("complete: measured", *(_time(run.measured.complete) for _, run in runs)),
            ]
        )

    def _markdown(self, lines: Sequence[Line]) -> str:
        heading = (f"{self.size.name} company", *(NAMES[one] for one in CONTENDERS))
        rows = [f"| {' | '.join(line)} |" for line in (heading, *lines)]
        return "\n".join([rows[0], "|---|---:|---:|---:|", *rows[1:]])


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if minutes < 120 else f"{hours:.1f} h"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _memory(measured: Measured) -> str:
    return f"{measured.peak_mb:,.0f} MB"
