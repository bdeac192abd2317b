"""Counting what a landing changes, by comparing the new rows with those that stand in the warehouse."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from pipelines.records import Row
from pipelines.tables import DATASET, Column, Table, Type
from pipelines.warehouse import Session, id_list


@dataclass(frozen=True)
class Tally:
    """Rows read, and of these new to us and different from what we held; rows removed."""

    read: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.read + other.read,
            self.added + other.added,
            self.changed + other.changed,
            self.removed + other.removed,
        )


def compare(session: Session, company_id: int, table: Table, rows: list[Row], parents: Collection[int] | None) -> Tally:
    """What landing `rows` will change; `parents`, where given, are those whose rows will be replaced as a whole."""
    columns = [column for column in table.columns if not column.name.endswith("synced_at")]
    key_of, values_of = itemgetter(*table.key), itemgetter(*(column.name for column in columns))
    column, ids = (table.parent_column, parents) if parents is not None else (table.id_column, _ids(table, rows))
    those = f"FROM {DATASET}.{table.name} WHERE company_id = {company_id} AND {column} IN ({id_list(ids)})"
    if not session.value(f"SELECT count(*) {those}"):  # as in most of a first sync
        return Tally(read=len(rows), added=len(rows))
    held = session.rows(f"SELECT {', '.join(one.name for one in columns)} {those}")
    coming = {key_of(row): values_of(row) for row in rows}
    key_at = itemgetter(*(at for name in table.key for at, one in enumerate(columns) if one.name == name))
    kept = [(values, coming[key]) for values in held if (key := key_at(values)) in coming]
    return Tally(
        read=len(rows),
        added=len(coming) - len(kept),
        changed=sum(1 for old, new in kept if old != new and _comparable(columns, old) != _comparable(columns, new)),
        removed=len(held) - len(kept) if parents is not None else 0,
    )


def _ids(table: Table, rows: list[Row]) -> list[int]:
    return [row[table.id_column] for row in rows]


def comparable(column: Column, value: Any) -> Any:
    """A value that equals those that mean the same: JSON is text in one database, and taken apart by the other."""
    return json.loads(value) if column.type is Type.JSON and isinstance(value, str) else value


def _comparable(columns: list[Column], values: Collection[Any]) -> list[Any]:
    return [comparable(column, value) for column, value in zip(columns, values, strict=True)]
