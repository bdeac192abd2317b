"""Counting what a landing changes, by comparing the new rows with those that stand in the warehouse."""

import json
from collections.abc import Collection
from dataclasses import dataclass
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
    keys = [columns.index(column) for name in table.key for column in columns if column.name == name]
    column, ids = (table.parent_column, parents) if parents is not None else (table.id_column, _ids(table, rows))
    held = {
        tuple(values[at] for at in keys): _comparable(columns, values)
        for values in session.rows(
            f"SELECT {', '.join(one.name for one in columns)} FROM {DATASET}.{table.name} "
            f"WHERE company_id = {company_id} AND {column} IN ({id_list(ids)})"
        )
    }
    coming = {table.key_of(row): _comparable(columns, [row[one.name] for one in columns]) for row in rows}
    added = coming.keys() - held.keys()
    return Tally(
        read=len(rows),
        added=len(added),
        changed=sum(1 for key in coming.keys() & held.keys() if coming[key] != held[key]),
        removed=len(held.keys() - coming.keys()) if parents is not None else 0,
    )


def _ids(table: Table, rows: list[Row]) -> list[int]:
    return [row[table.id_column] for row in rows]


def _comparable(columns: list[Column], values: Collection[Any]) -> list[Any]:
    return [
        json.loads(value) if column.type is Type.JSON and isinstance(value, str) else value
        for column, value in zip(columns, values, strict=True)
    ]
