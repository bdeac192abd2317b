"""Rows as files: CSV, which DuckDB and Postgres both copy into a table by its columns' own types.

dlt imports such a file into its load package as it is. Arrow tables would be a third faster to write, but they bring
pyarrow and with it pandas into every process that loads: 80 MB, and a second of start-up.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipelines.records import LONGEST_TEXT, Row
from pipelines.tables import Table

LONGEST_LINE = 8 * LONGEST_TEXT + 2**20
"""Bytes that a row may take; a reader has to be told."""


def write_rows(path: Path, table: Table, rows: Iterable[Row]) -> None:
    """Write the rows, under the names of the table's columns."""
    names = [column.name for column in table.columns]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(names) + "\n")
        file.writelines(",".join([_field(row[name]) for name in names]) + "\n" for row in rows)


def _field(value: Any) -> str:
    """What is text stands in quotes, so that an empty one is not taken for none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return str(value)
