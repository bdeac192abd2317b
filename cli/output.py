"""Printing: tables for people, one JSON document with --json, errors on standard error."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Not cut to 80 columns where the output goes into a file or another program.
stdout = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
stderr = Console(stderr=True, highlight=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
company_option = click.option(
    "--company", "company_id", type=int, metavar="ID", help="The company, where several are connected."
)


def print_error(message: str) -> None:
    stderr.print(message, style="red", markup=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """The command's one JSON document; amounts as strings, times in ISO 8601."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2, default=_plain))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
    """Rows under headings; numbers and amounts to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for at, column in enumerate(columns):
        numeric = any(isinstance(row[at], int | Decimal) and not isinstance(row[at], bool) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(shown(value) for value in row))
    stdout.print(table)


def shown(value: Any) -> str:
    """A value as people read it: amounts with two decimals, local times without seconds."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M}"
    return escape(str(value))


def counted(number: int, what: str) -> str:
    """A number of things: 1 account, 2 accounts."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
