"""Rows of a long listing, put beside the tables until all of them are there: readers see none or all of them.

dlt copies each piece into the company's staging schema and commits with it how far the listing is, so that a crash
costs at most a piece. Merging all of them is one transaction per table (`merging`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pipelines.records import Row
from pipelines.tables import DATASET, LISTED, Table
from pipelines.warehouse import Session

COLLECTED = "collected"
"""Where it stands in the state: how many rows of each table, and until when they were read."""


def noted(state: Mapping[str, Any], rows: Mapping[Table, list[Row]]) -> dict[str, Any]:
    """What stands in the state once these rows are collected, too."""
    before = state.get(COLLECTED, {"rows": {}, "until": None})
    counts = Counter(before["rows"]) + Counter({table.name: len(some) for table, some in rows.items()})
    until = max((row["synced_at"] for some in rows.values() for row in some), default=None)
    return {"rows": dict(counts), "until": max(before["until"] or "", until.isoformat() if until else "")}


def tables_of(state: Mapping[str, Any]) -> list[Table]:
    """The tables of which rows are collected."""
    return [table for table in LISTED if state.get(COLLECTED, {}).get("rows", {}).get(table.name)]


def is_there(session: Session, staging: str, state: Mapping[str, Any]) -> bool:
    """Whether the staging schema holds what the state says.

    It does not where rows went elsewhere without it, such as into a backup or another database.
    """
    if COLLECTED not in state:
        return False
    found = session.relations(staging)
    return all(
        name in found
        and count
        <= session.value(f"SELECT count(*) FROM {staging}.{name} WHERE synced_at <= %s", _until(state[COLLECTED]))
        for name, count in state[COLLECTED]["rows"].items()
    )


def _until(collected: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(collected["until"])


def clear(session: Session, staging: str) -> None:
    """Forget what is collected, or what a crash has left."""
    for name in {table.name for table in LISTED} & session.relations(staging).keys():
        session.execute(f"TRUNCATE TABLE {staging}.{name}")


def as_merged(table: Table, staging: str, collected: Iterable[Table]) -> str:
    """SQL to select from, by the table's own name: the rows that it will have once what is collected is merged."""
    held = f"{DATASET}.{table.name}"
    if table not in collected:
        return held
    coming = f"{staging}.{table.name}"
    columns = ", ".join(dict.fromkeys(("company_id", table.id_column, "account_id", "synced_at")))
    same = " AND ".join(f"here.{name} = coming.{name}" for name in table.key)
    return (
        f"(SELECT {columns} FROM {coming} UNION ALL SELECT {columns} FROM {held} AS here "
        f"WHERE NOT EXISTS (SELECT 1 FROM {coming} AS coming WHERE {same})) AS {table.name}"
    )
