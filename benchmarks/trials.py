"""The trials: every contender synchronizes the same companies, under the real limit and without one."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from benchmarks.books import Books, Missed, books_of, truth
from benchmarks.contenders import Job, Measured, measured_from
from benchmarks.history import happen, prepare
from benchmarks.stand_in import UNLIMITED, Asked, Conditions, Size, StandIn, stand_in

CONTENDERS = ("ours", "rest_api", "sdk")
SMALL, MIDDLE, LARGE = Size("small", 50, 500), Size("middle", 300, 3_000), Size("large", 4_000, 40_000)

Say = Callable[[str], None]

_LISTED = {
    "ours": """
        SELECT COUNT(*) + (SELECT COUNT(*) FROM receivables.invoices) + (SELECT COUNT(*) FROM receivables.credit_notes)
        FROM receivables.accounts
    """,
    "rest_api": """
        SELECT COUNT(*) + (SELECT COUNT(*) FROM pennylane.customers) FROM pennylane.customer_invoices
        WHERE status <> 'proforma' AND status NOT LIKE '%order' AND status NOT LIKE 'estimate%'
    """,
    "sdk": """
        SELECT COUNT(*) + (SELECT COUNT(*) FROM customers) FROM customer_invoices
        WHERE status <> 'proforma' AND status NOT LIKE '%order' AND status NOT LIKE 'estimate%'
    """,
}
"""Rows of the lists, without the documents among them that are no invoices: ours leaves them out."""


@dataclass(frozen=True)
class Run:
    """One synchronization."""

    measured: Measured
    asked: Asked


@dataclass(frozen=True)
class Compared(Run):
    """A first synchronization of everything, and how far the tables are from the truth after it."""

    missed: Missed


@dataclass(frozen=True)
class Unlimited:
    """A contender's runs without the limit. Of a large company only the lists are read, and `second` is None.

    `never_rows` are those of an account left out from the start, `later_rows` those of one left out before the second
    run that did not stay as they were.
    """

    first: Run
    rows: int
    second: Run | None = None
    missed: Missed | None = None
    never_rows: int = 0
    later_rows: int = 0
    amounts: str = ""


def under_the_limit(sizes: Sequence[Size], conditions: Conditions, say: Say) -> dict[Size, dict[str, Compared]]:
    """All at the same time, each run with a sandbox of its own: they wait for the limit, not for each other."""
    say(f"{' and '.join(map(str, sizes))}: first sync, {conditions}, all contenders at once")

    def run(of: tuple[Size, str]) -> Compared:
        size, contender = of
        with stand_in(size, conditions) as company, _database() as database:
            prepare(company)
            done = _run(contender, company, database)
            missed = Missed.between(books_of(contender, database), truth(company.state()))
            return Compared(done.measured, done.asked, missed)

    every = list(product(sizes, CONTENDERS))
    with ThreadPoolExecutor(len(every)) as executor:
        found = dict(zip(every, executor.map(run, every), strict=True))
    return {size: {one: found[size, one] for one in CONTENDERS} for size in sizes}


def without_limit(size: Size, say: Say) -> dict[str, Unlimited]:
    """One contender after the other; then something happens at Pennylane, and each synchronizes again."""
    with stand_in(size, UNLIMITED) as company, ExitStack() as folders:
        cast = prepare(company)
        databases = {one: folders.enter_context(_database()) for one in CONTENDERS}
        first: dict[str, Run] = {}
        before: dict[str, Books] = {}
        for one in CONTENDERS:
            say(f"{size}: first sync without limit, {one}")
            first[one] = _run(one, company, databases[one], excluded=[cast.never])
            before[one] = books_of(one, databases[one])
        happen(company, cast)
        found = {}
        for one in CONTENDERS:
            say(f"{size}: second sync without limit, {one}")
            second = _run(one, company, databases[one], excluded=[cast.never, cast.later])
            held = books_of(one, databases[one])
            wanted = truth(company.state()).of({cast.never, cast.later}, others=True)
            found[one] = Unlimited(
                first=first[one],
                rows=sum(map(len, before[one].tables())),
                second=second,
                missed=Missed.between(held.of({cast.later}, others=True), wanted),
                never_rows=sum(map(len, held.of({cast.never}).tables())),
                later_rows=Missed.between(held.of({cast.later}), before[one].of({cast.later})).rows,
                amounts=_amounts(databases[one]),
            )
        return found


def lists_only(size: Size, say: Say) -> dict[str, Unlimited]:
    """The lists of a company that is too large to read all of it here."""
    found = {}
    with stand_in(size, UNLIMITED) as company:
        for one in CONTENDERS:
            say(f"{size}: lists without limit, {one}")
            with _database() as database:
                run = _run(one, company, database, lists=True)
                found[one] = Unlimited(run, _number(_LISTED[one], database))
    return found


@contextmanager
def _database() -> Iterator[Path]:
    with TemporaryDirectory(prefix="benchmark-") as folder:
        yield Path(folder) / "data.duckdb"


def _run(
    contender: str,
    company: StandIn,
    database: Path,
    *,
    lists: bool = False,
    excluded: list[int] | None = None,
) -> Run:
    token = company.token()
    company.asked()
    job = Job(company.url, token, str(database), time.time(), company.conditions.limit, lists, excluded or [])
    command = [sys.executable, "-m", f"benchmarks.contenders.{contender}"]
    done = subprocess.run(command, input=json.dumps(asdict(job)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{contender} failed:\n{done.stderr[-4000:]}")
    return Run(measured_from(done.stdout), company.asked())


def _number(query: str, database: Path) -> int:
    with duckdb.connect(str(database), read_only=True) as connection:
        (number,) = connection.execute(query).fetchone() or (0,)
        return int(number)


def _amounts(database: Path) -> str:
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(
            "SELECT DISTINCT data_type FROM information_schema.columns "
            "WHERE column_name = 'remaining_amount_with_tax' AND table_schema NOT LIKE '%staging%'"
        ).fetchall()
    return " or ".join("text" if kind == "VARCHAR" else str(kind).lower() for (kind,) in found)
