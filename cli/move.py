"""`pennylane-sync move`: from DuckDB to Postgres."""

from collections import Counter
from pathlib import Path
from typing import Any

import click

from cli.output import counted, json_option, print_json, print_table, stdout
from cli.watching import watching
from pipelines.moving import Rows
from pipelines.tables import TABLES
from resources.connections import Connections
from resources.installation import Installation
from resources.moving import move as move_all
from resources.moving import never_synchronized, store_at
from resources.settings import Settings

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--from", "file", type=_FILE, metavar="FILE", help="The DuckDB file, if not the one in the home.")
@click.option("--connections", type=_FILE, metavar="FILE", help="The SQLite file, if not the one in the home.")
@json_option
def move(*, file: Path | None, connections: Path | None, as_json: bool) -> None:
    """Move everything from DuckDB to the Postgres that WAREHOUSE_URL names.

    The rows, where each company's syncs stand, the connections with their tokens, and what is left out. Stop
    `pennylane-sync start` first. The DuckDB file stays as it is; the connections end where they were, because tokens
    are good for one place only. Those that are at CONNECTIONS_URL already stay there. Interrupted, run it again.
    """
    with watching(quiet=as_json) as watch:
        installation = Installation(watch)
        settings = installation.settings
        _refuse_other_than_postgres(settings)
        store = _store(installation, connections)
        rows_file = _rows_file(settings, file, store)
        rows = move_all(installation, rows_file, store)
    if as_json:
        print_json(_document(rows))
    else:
        _print(rows, rows_file, stay=store.is_kept_with(installation.connections))


def _refuse_other_than_postgres(settings: Settings) -> None:
    if not settings.warehouse_url.startswith("postgresql://"):
        raise click.UsageError(
            "Say where to move to: WAREHOUSE_URL=postgresql://user:password@host/database, in .env or the environment."
        )


def _store(installation: Installation, file: Path | None) -> Connections:
    """Where the connections are now; where they are to be, if CONNECTIONS_URL says so and there are some."""
    settings = installation.settings
    usual = settings.home / "connections.sqlite"
    if file is None and settings.connections and (not usual.is_file() or installation.connections.all()):
        return installation.connections
    return store_at(installation, f"sqlite:///{_existing(file or usual, '--connections')}")


def _rows_file(settings: Settings, file: Path | None, store: Connections) -> Path | None:
    """None where companies are connected, and nothing was synchronized yet."""
    usual = settings.home / "receivables.duckdb"
    if file is None and not usual.is_file() and never_synchronized(store):
        return None
    return _existing(file or usual, "--from")


def _existing(path: Path, option: str) -> Path:
    if not path.is_file():
        raise click.UsageError(f"There is no file {path}; name the one to move from with {option}.")
    return path.absolute()


def _document(rows: Rows) -> dict[str, Any]:
    companies: dict[int, dict[str, int]] = {}
    for (company_id, table), count in sorted(rows.items()):
        companies.setdefault(company_id, dict.fromkeys((one.name for one in TABLES), 0))[table] = count
    return {"companies": [{"company_id": one, "tables": tables} for one, tables in companies.items()]}


def _print(rows: Rows, file: Path | None, *, stay: bool) -> None:
    by_table: Counter[str] = Counter()
    for (_, table), count in rows.items():
        by_table[table] += count
    print_table(("table", "rows"), [(table.name, by_table[table.name]) for table in TABLES])
    moved = [f"Moved: {counted(rows.total(), 'row')}" + ("." if stay else ", and the connections.")]
    if stay:
        moved.append("The connections are where CONNECTIONS_URL says, as before.")
    else:
        moved.append("They are no longer where they were; to go back there, connect each company again.")
    if file:
        moved.append(
            f"{file} is as it was, and from now on nothing updates it: delete it when you have seen that all is well."
        )
    stdout.print(" ".join(moved), soft_wrap=True, markup=False)
