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
from benchmarks.stand_in import Asked, Size, StandIn, stand_in
from pipelines.due import LATELY
from pipelines.unpaid import UNPAID

CONTENDERS = ("ours", "rest_api", "sdk")
SMALL, MIDDLE, LARGE = Size("small", 50, 500), Size("middle", 300, 3_000), Size("large", 10_000, 100_000)

Say = Callable[[str], None]

_NEEDED = {
    "ours": f"""
        WITH lately AS (SELECT now() - INTERVAL {LATELY.days} DAY AS since),
        invoice AS (
            SELECT
                account_id,
                {UNPAID} OR updated_at >= since AS matters,
                CASE WHEN NOT paid AND currency = 'EUR' AND remaining_amount_with_tax = amount THEN 1 ELSE 2 END
                    AS requests
            FROM receivables.invoices, lately WHERE NOT draft
        ),
        account AS (
            SELECT updated_at >= since
                OR EXISTS (SELECT 1 FROM invoice WHERE matters AND invoice.account_id = accounts.account_id) AS matters
            FROM receivables.accounts, lately
        )
        SELECT
            (SELECT COUNT(*) FILTER (WHERE matters) FROM account) + SUM(requests) FILTER (WHERE matters),
            (SELECT COUNT(*) FROM account) + SUM(requests)
        FROM invoice
    """,  # noqa: S608
    "rest_api": """
        WITH needed AS (SELECT COUNT(*) AS one FROM pennylane.customers
            UNION ALL SELECT 2 * COUNT(*) FROM pennylane.customer_invoices)
        SELECT SUM(one), SUM(one) FROM needed
    """,
    "sdk": """
        WITH needed AS (SELECT COUNT(*) AS one FROM customers UNION ALL SELECT 2 * COUNT(*) FROM customer_invoices)
        SELECT SUM(one), SUM(one) FROM needed
    """,
}
"""Requests for contacts and payments, until ready and in all: ours as `pipelines/due.py` decides; the others ask for
everything of everything, and load at the end."""

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
class Needed:
    """Requests for contacts and payments, counted from the lists: until ready, and in all."""

    ready: int
    complete: int


@dataclass(frozen=True)
class Unlimited:
    """A contender's runs without the limit. Of a large company only the lists are read, and `second` is None.

    `never_rows` are those of an account left out from the start, `later_rows` those of one left out before the second
    run that did not stay as they were.
    """

    first: Run
    rows: int
    needed: Needed
    second: Run | None = None
    missed: Missed | None = None
    never_rows: int = 0
    later_rows: int = 0
    amounts: str = ""


def under_the_limit(sizes: Sequence[Size], say: Say) -> dict[Size, dict[str, Run]]:
    """All at the same time, each run with a sandbox of its own: they wait for the limit, not for each other."""
    say(f"{' and '.join(map(str, sizes))}: first sync under the real limit, all contenders at once")

    def run(of: tuple[Size, str]) -> Run:
        size, contender = of
        with stand_in(size, limited=True) as company, _database() as database:
            prepare(company)
            return _run(contender, company, database, limited=True)

    every = list(product(sizes, CONTENDERS))
    with ThreadPoolExecutor(len(every)) as executor:
        found = dict(zip(every, executor.map(run, every), strict=True))
    return {size: {one: found[size, one] for one in CONTENDERS} for size in sizes}


def without_limit(size: Size, say: Say) -> dict[str, Unlimited]:
    """One contender after the other; then something happens at Pennylane, and each synchronizes again."""
    with stand_in(size, limited=False) as company, ExitStack() as folders:
        cast = prepare(company)
        databases = {one: folders.enter_context(_database()) for one in CONTENDERS}
        first: dict[str, Run] = {}
        before: dict[str, Books] = {}
        needed: dict[str, Needed] = {}
        for one in CONTENDERS:
            say(f"{size}: first sync without limit, {one}")
            first[one] = _run(one, company, databases[one], excluded=[cast.never])
            before[one] = books_of(one, databases[one])
            needed[one] = Needed(*_numbers(_NEEDED[one], databases[one]))
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
                needed=needed[one],
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
    with stand_in(size, limited=False) as company:
        for one in CONTENDERS:
            say(f"{size}: lists without limit, {one}")
            with _database() as database:
                run = _run(one, company, database, lists=True)
                (rows,) = _numbers(_LISTED[one], database)
                found[one] = Unlimited(run, rows, Needed(*_numbers(_NEEDED[one], database)))
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
    limited: bool = False,
    lists: bool = False,
    excluded: list[int] | None = None,
) -> Run:
    token = company.token()
    company.asked()
    job = Job(company.url, token, str(database), time.time(), limited, lists, excluded or [])
    command = [sys.executable, "-m", f"benchmarks.contenders.{contender}"]
    done = subprocess.run(command, input=json.dumps(asdict(job)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{contender} failed:\n{done.stderr[-4000:]}")
    return Run(measured_from(done.stdout), company.asked())


def _numbers(query: str, database: Path) -> list[int]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return [int(number) for number in connection.execute(query).fetchone() or ()]


def _amounts(database: Path) -> str:
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(
            "SELECT DISTINCT data_type FROM information_schema.columns "
            "WHERE column_name = 'remaining_amount_with_tax' AND table_schema NOT LIKE '%staging%'"
        ).fetchall()
    return " or ".join("text" if kind == "VARCHAR" else str(kind).lower() for (kind,) in found)
