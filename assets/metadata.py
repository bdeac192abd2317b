"""What Dagster shows of tables and runs: column schemas, and counts, never content."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from pipelines.client import Pennylane
from pipelines.committed import State
from pipelines.set_aside import said, set_aside
from pipelines.tables import DATASET, Table
from pipelines.tally import Tally
from pipelines.views import View

GROUP = "receivables"


def table_spec(table: Table, *, deps: list[str], kinds: set[str]) -> dg.AssetSpec:
    """The asset of a table, with its description and columns."""
    columns = [
        dg.TableColumn(
            column.name,
            column.type.value,
            column.description,
            dg.TableColumnConstraints(nullable=column.name not in table.key),
        )
        for column in table.columns
    ]
    return _spec(table.name, table.description, columns, deps, kinds)


def view_spec(view: View, *, deps: list[str]) -> dg.AssetSpec:
    """The asset of a view, with its description and columns."""
    columns = [dg.TableColumn(name, description=description) for name, description in view.columns.items()]
    return _spec(view.name, view.description, columns, deps, {"sql"})


def _spec(name: str, description: str, columns: list[dg.TableColumn], deps: list[str], kinds: set[str]) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=deps,
        description=description,
        group_name=GROUP,
        kinds=kinds,
        metadata={
            "dagster/column_schema": dg.TableSchema(columns),
            "dagster/table_name": f"{DATASET}.{name}",
        },
    )


def tally_metadata(tally: Tally) -> dict[str, Any]:
    """Rows of one table that a run read and changed."""
    return {
        "rows_in": tally.read,
        "rows_added": tally.added,
        "rows_changed": tally.changed,
        "rows_removed": tally.removed,
    }


_SHOWN = 20


def set_aside_metadata(table: Table, state: State) -> dict[str, Any]:
    """How many records of a table could not be read, and the first reasons, which hold no values."""
    found = [said(one) for one in set_aside(state) if one.table == table.name]
    reasons = {"set_aside_reasons": dg.MetadataValue.json(found[:_SHOWN])} if found else {}
    return {"set_aside": len(found), **reasons}


def traffic_metadata(pennylane: Pennylane) -> dict[str, Any]:
    """What a step asked of Pennylane; the assets of one step share its requests."""
    statistics = pennylane.pacer.statistics
    refused: Mapping[int, int] = pennylane.statuses
    return {
        "requests": statistics.requests,
        "requests_refused_by_limit": refused.get(429, 0),
        "seconds_waited_for_limit": round(statistics.waited_seconds, 1),
    }
