"""The same companies synchronized by this project and by what people would use instead, side by side.

No network but the sandbox. Some 70 minutes: the small and the middle company under the real limit and without it, the
large one ten times as fast as it would be, and of it the lists without the limit.
"""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
from rich.console import Console

from benchmarks.document import document
from benchmarks.report import Limited, Results
from benchmarks.stand_in import REAL, TENFOLD
from benchmarks.trials import LARGE, MIDDLE, SMALL, lists_only, under_the_limit, without_limit


@click.command(help=__doc__)
@click.option("--large/--no-large", default=True, show_default=True, help="The large company, too.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the page for the documentation there.")
def main(*, large: bool, markdown: Path | None) -> None:
    console = Console(stderr=True)

    def say(text: str) -> None:
        console.print(f"[dim]{datetime.now().astimezone():%H:%M:%S}[/dim] {text}")

    limited = under_the_limit((SMALL, MIDDLE), REAL, say)
    results = [Results(size, Limited(REAL, limited[size]), without_limit(size, say)) for size in (SMALL, MIDDLE)]
    shortened = Limited(TENFOLD, under_the_limit((MIDDLE,), TENFOLD, say)[MIDDLE])
    if large:
        first = Limited(TENFOLD, under_the_limit((LARGE,), TENFOLD, say)[LARGE])
        results.append(Results(LARGE, first, lists_only(LARGE, say)))
    for one in results:
        Console(width=120).print(one.table())
    if markdown:
        markdown.write_text(document(results, shortened, machine=_machine()), encoding="utf-8")


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("dlt", "duckdb", "pandas", "pennylane-sdk"))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {packages}"
    )


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
