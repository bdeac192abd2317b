"""Rows as files: CSV, which DuckDB and Postgres both copy into a table by its columns' own types.

dlt imports such a file into its load package as it is. Arrow tables would be a third faster to write, but they bring
pyarrow and with it pandas into every process that loads: 80 MB, and a second of start-up.
"""

from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path
from typing import Any

from pipelines.records import LONGEST_TEXT, Row
from pipelines.tables import Table

LONGEST_LINE = 8 * LONGEST_TEXT + 2**20
"""Bytes that a row may take; a reader has to be told."""


def write_rows(path: Path, table: Table, rows: Iterable[Row]) -> None:
    """Write the rows, under the names of the table's columns."""
    names = [column.name for column in table.columns]
    values_of = itemgetter(*names)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(names) + "\n")
        file.writelines(_line(values_of(row)) for row in rows)


def _line(values: Iterable[Any]) -> str:
    """What is text stands in quotes, so that an empty one is not taken for none."""
    fields = [
        "" if value is None else '"' + value.replace('"', '""') + '"' if isinstance(value, str) else str(value)
        for value in values
    ]
    return ",".join(fields) + "\n"
