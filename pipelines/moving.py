"""Moving from a DuckDB file to Postgres: all rows of the tables, and where each company stands, in one transaction.

Rows go as files of CSV, some at a time, which the one database writes and the other reads: no value passes through
Python, and memory does not grow with their number. Columns and tables that somebody added stay behind.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.collected import COLLECTED
from pipelines.committed import State, commit_as, committed
from pipelines.damage import refuse_damage
from pipelines.errors import PipelineError, WarehouseUnusable
from pipelines.landing import Landing
from pipelines.progress import Progress, Watch
from pipelines.tables import DATASET, TABLES, Table, Type
from pipelines.views import made
from pipelines.warehouse import Session, Warehouse, id_list

ROWS_AT_A_TIME = 50_000

Rows = Counter[tuple[int, str]]
"""How many rows there are, by company and table."""


class AlreadyThere(PipelineError):
    """The warehouse to be moved to holds other rows of a company."""


def companies_in(warehouse: Warehouse) -> set[int]:
    """The companies that have rows. Raises WarehouseUnusable where the tables are not as this program makes them."""
    with warehouse.session() as session:
        try:
            refuse_damage(session)
        except WarehouseUnusable as damage:
            raise WarehouseUnusable(f"{damage} (with WAREHOUSE_URL as it was before the move)") from None
        return {company_id for company_id, _ in _rows(session)}


def move_rows(
    source: Warehouse,
    target: Warehouse,
    companies: Collection[int],
    *,
    work_dir: Path,
    watch: Watch,
    before_commit: Callable[[], None],
) -> None:
    """Put all that a DuckDB file holds of companies into Postgres, all or nothing; the file stays as it is.

    A company that is there just as it is here was moved before, and is left alone. `before_commit` may raise to prevent
    it all. Raises AlreadyThere, WarehouseBusy, WarehouseUnusable.
    """
    if not companies:
        return
    _make_tables(target, min(companies), work_dir)
    with source.session() as here, target.session() as there, there.transaction(), _folder(work_dir / "move") as folder:
        move = _Move(here, there)
        to_move = {company_id for company_id in companies if not move.was_done(company_id)}
        move.rows_of(to_move, folder, watch)
        for company_id in to_move:
            commit_as(here, there, company_id, move.state_there)
        move.check(companies)
        before_commit()


def rows_of(warehouse: Warehouse, companies: Collection[int]) -> Rows:
    """What a warehouse that has the tables holds of companies."""
    with warehouse.session() as session:
        return _of(_rows(session), companies)


def _make_tables(target: Warehouse, company_id: int, work_dir: Path) -> None:
    """As any sync does before it lands something: tables, views, comments, keys."""
    with Landing.opened(target, company_id, work_dir):
        pass


class _Move:
    """From an open DuckDB file into an open transaction of Postgres."""

    def __init__(self, here: Session, there: Session) -> None:
        self._here = here
        self._there = there
        self._rows = _rows(here)
        self._rows_there = _rows(there)
        self._made_here = made(here)
        self._made_there = made(there)

    def was_done(self, company_id: int) -> bool:
        """Raises AlreadyThere where the company is there otherwise than here."""
        state = committed(self._there, company_id)
        rows = _of(self._rows_there, [company_id])
        if not rows and state == {}:
            return False
        moved = self.state_there(committed(self._here, company_id) or {})
        if rows == _of(self._rows, [company_id]) and state == moved:
            return True
        raise AlreadyThere(
            f"Company {company_id} has other rows already where it is to be moved to: it was synchronized there. "
            "Nothing was changed. Choose another database, an empty one, in WAREHOUSE_URL."
        )

    def state_there(self, state: State) -> State:
        """Where a company stands, of the tables that are there: the cursors cover these as they cover those here.

        A listing that was interrupted begins again: what it had collected beside the tables is not moved.
        """
        changed = {name: value for name, value in state.items() if name not in ("listing", COLLECTED)}
        if changed.get("tables", {}) == self._made_here:
            changed["tables"] = self._made_there
        return changed

    def rows_of(self, companies: Collection[int], folder: Path, watch: Watch) -> None:
        total = _of(self._rows, companies).total()
        moved = 0
        watch(Progress("move", moved, total))
        for table in TABLES:
            names = ", ".join(column.name for column in table.columns)
            statement = f"COPY {DATASET}.{table.name} ({names}) FROM STDIN WITH (FORMAT CSV, ENCODING 'utf-8')"
            for path in _files(self._here, table, companies, folder):
                try:
                    with path.open("rb") as file:
                        moved += self._there.copy(statement, file)
                except WarehouseUnusable:
                    self._refuse_doubles(table)
                    raise
                watch(Progress("move", moved, total))

    def _refuse_doubles(self, table: Table) -> None:
        """DuckDB has no keys that would keep somebody from putting a row in again; no sync heals all of them."""
        key = ", ".join(table.key)
        doubles = self._here.rows(f"SELECT {key} FROM {DATASET}.{table.name} GROUP BY {key} HAVING count(*) > 1")
        if doubles:
            raise WarehouseUnusable(
                f"{DATASET}.{table.name} in the DuckDB file has rows twice, of company {doubles[0][0]} for one, which "
                "were put in by hand. Nothing was moved. Leave the one of each that was read last, in any program that "
                f"opens the file (USE receivables.{DATASET} first), and move again: DELETE FROM {table.name} WHERE "
                f"rowid NOT IN (SELECT max_by(rowid, COALESCE(synced_at, '-infinity')) FROM {table.name} "
                f"GROUP BY {key})"
            )

    def check(self, companies: Collection[int]) -> None:
        if _of(_rows(self._there), companies) != _of(self._rows, companies):
            raise WarehouseUnusable(
                "Postgres would not have as many rows as the DuckDB file: another program writes there. Nothing was "
                "moved; run it again."
            )


def _rows(session: Session) -> Rows:
    return Rows(
        {
            (company_id, table.name): count
            for table in TABLES
            for company_id, count in session.rows(
                f"SELECT company_id, count(*) FROM {DATASET}.{table.name} GROUP BY company_id"
            )
        }
    )


def _of(rows: Rows, companies: Collection[int]) -> Rows:
    return Rows({key: count for key, count in rows.items() if key[0] in companies})


def _files(session: Session, table: Table, companies: Collection[int], folder: Path) -> Iterator[Path]:
    """The companies' rows of a table, a file after the other; an empty text stands in quotes, and none in nothing."""
    last = session.value(f"SELECT COALESCE(max(rowid), -1) FROM {DATASET}.{table.name}")
    names = ", ".join(column.name for column in table.columns)
    texts = ", ".join(column.name for column in table.columns if column.type in (Type.TEXT, Type.JSON))
    quoted = f", FORCE_QUOTE ({texts})" if texts else ""
    path = folder / f"{table.name}.csv"
    target = str(path).replace("'", "''")
    for first in range(0, last + 1, ROWS_AT_A_TIME):
        session.execute(
            f"COPY (SELECT {names} FROM {DATASET}.{table.name} WHERE rowid >= {first} AND "
            f"rowid < {first + ROWS_AT_A_TIME} AND company_id IN ({id_list(companies)})) "
            f"TO '{target}' (FORMAT csv, HEADER false, NULLSTR ''{quoted})"
        )
        yield path


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """An empty folder for our user alone, which is gone afterwards, and with it what a killed move left there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True, mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
