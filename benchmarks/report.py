"""The tables: one per company, a column per contender, a line per measure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.books import Missed
from benchmarks.contenders import Measured
from benchmarks.stand_in import UNLIMITED, Conditions, Size
from benchmarks.trials import CONTENDERS, Compared, Unlimited

NAMES = {"ours": "this project", "rest_api": "dlt `rest_api`", "sdk": "`pennylane-sdk`, pandas"}

Line = tuple[str, ...]


@dataclass(frozen=True)
class Limited:
    """First syncs of a company under the limit, per contender. Times are told as they are where nothing is faster."""

    conditions: Conditions
    runs: Mapping[str, Compared]

    def lines(self) -> list[Line]:
        faster = self.conditions.faster
        times = f"; times are {faster} times those measured" if faster > 1 else ""
        return [
            (f"*{self.conditions}{times}*", *("" for _ in CONTENDERS)),
            self._line("requests", lambda run: f"{run.asked.requests:,}"),
            self._line("of them refused (429)", lambda run: f"{run.asked.refused:,}"),
            self._line("share of the limit used", lambda run: _share(run.asked.share)),
            self._line("ready for follow-up after", lambda run: _time(run.measured.ready * faster)),
            self._line("complete after", lambda run: _time(run.measured.complete * faster)),
            self._line("peak memory", lambda run: _memory(run.measured)),
        ]

    def missed(self) -> list[Line]:
        return _missed({one: run.missed for one, run in self.runs.items()})

    def _line(self, title: str, of: Callable[[Compared], str]) -> Line:
        return title, *(of(self.runs[one]) for one in CONTENDERS)


@dataclass(frozen=True)
class Results:
    """Everything measured of one company."""

    size: Size
    limited: Limited
    unlimited: Mapping[str, Unlimited]

    def lines(self) -> list[Line]:
        return [
            *self.limited.lines(),
            *([] if self._whole else self.limited.missed()),
            (f"*{UNLIMITED}*", *("" for _ in CONTENDERS)),
            *self._without_limit(),
            *self._second(),
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
            *_missed(missed),
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
        return f"## {str(self.size).capitalize()}\n\n{in_markdown(f'{self.size.name} company', self.lines())}"


def in_markdown(title: str, lines: Sequence[Line]) -> str:
    """A table with a column per contender."""
    heading = (title, *(NAMES[one] for one in CONTENDERS))
    rows = [f"| {' | '.join(line)} |" for line in (heading, *lines)]
    return "\n".join([rows[0], "|---|---:|---:|---:|", *rows[1:]])


def _missed(missed: Mapping[str, Missed]) -> list[Line]:
    def line(title: str, of: Callable[[Missed], int]) -> Line:
        return title, *(f"{of(missed[one]):,}" for one in CONTENDERS)

    return [
        ("*what is wrong after it*", *("" for _ in CONTENDERS)),
        line("rows missing", lambda one: one.missing),
        line("of them payments", lambda one: one.payments_missing),
        line("rows left over that Pennylane no longer has", lambda one: one.left_over),
        line("rows that are out of date", lambda one: one.stale),
        line("credit notes not told from invoices", lambda one: one.confused),
    ]


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if minutes < 120 else f"{hours:.1f} h"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _memory(measured: Measured) -> str:
    return f"{measured.peak_mb:,.0f} MB"
