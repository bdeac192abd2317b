"""`pennylane-sync move`: from DuckDB to Postgres."""

from collections import Counter
from pathlib import Path
from typing import Any

import click

from cli.output import counted, json_option, print_json, print_table, stdout
from cli.watching import watching
from pipelines.moving import Rows
from pipelines.tables import TABLES
from resources.installation import Installation
from resources.moving import move as move_all
from resources.settings import Settings

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--from", "file", type=_FILE, metavar="FILE", help="The DuckDB file, if not the one in the home.")
@click.option("--connections", type=_FILE, metavar="FILE", help="The SQLite file, if not the one in the home.")
@json_option
def move(*, file: Path | None, connections: Path | None, as_json: bool) -> None:
    """Move everything from DuckDB to the Postgres that WAREHOUSE_URL names.

    The rows, where each company's syncs stand, the connections with their tokens, and what is left out. Stop
    `pennylane-sync start` first. The files stay as they are. Interrupted, nothing was moved: run it again.
    """
    with watching(quiet=as_json) as watch:
        installation = Installation(watch)
        _refuse_other_than_postgres(installation.settings)
        file = _existing(file or installation.settings.home / "receivables.duckdb", "--from")
        rows = move_all(installation, file, _connections_url(installation.settings, connections))
    if as_json:
        print_json(_document(rows))
    else:
        _print(rows, file)


def _refuse_other_than_postgres(settings: Settings) -> None:
    if not settings.warehouse_url.startswith("postgresql://"):
        raise click.UsageError(
            "Say where to move to: WAREHOUSE_URL=postgresql://user:password@host/database, in .env or the environment."
        )


def _connections_url(settings: Settings, file: Path | None) -> str:
    """Where the connections are now; where they are to be, if they were never in the home."""
    usual = settings.home / "connections.sqlite"
    if file is None and settings.connections and not usual.is_file():
        return settings.connections_url
    return f"sqlite:///{_existing(file or usual, '--connections')}"


def _existing(path: Path, option: str) -> Path:
    if not path.is_file():
        raise click.UsageError(f"There is no file {path}; name the one to move from with {option}.")
    return path.absolute()


def _document(rows: Rows) -> dict[str, Any]:
    companies: dict[int, dict[str, int]] = {}
    for (company_id, table), count in sorted(rows.items()):
        companies.setdefault(company_id, dict.fromkeys((one.name for one in TABLES), 0))[table] = count
    return {"companies": [{"company_id": one, "tables": tables} for one, tables in companies.items()]}


def _print(rows: Rows, file: Path) -> None:
    by_table: Counter[str] = Counter()
    for (_, table), count in rows.items():
        by_table[table] += count
    print_table(("table", "rows"), [(table.name, by_table[table.name]) for table in TABLES])
    stdout.print(
        f"Moved: {counted(rows.total(), 'row')}, and the connections. {file} is as it was, and from now on nothing "
        "updates it: delete it when you have seen that all is well.",
        soft_wrap=True,
        markup=False,
    )
