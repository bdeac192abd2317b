"""The dlt source: rows of the tables with their hints, and the cursors that cover them.

What is read when is planned in `listing`, `changes` and `details`; here it becomes resources that merge by key.

dlt's own incremental cursors move with a column of the rows. Pennylane's lists have no such column (GUIDE: "There is no
`updated_at` filter"): the cursors are positions in its change feeds, so they are kept in the source's state, which
dlt stores in the warehouse in the load package of the rows that they cover.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dlt
from dlt.common.schema.typing import TColumnSchema, TSchemaTables, TWriteDispositionConfig
from dlt.sources import DltResource

from pipelines.committed import SOURCE
from pipelines.records import Row
from pipelines.row_files import write_rows
from pipelines.tables import Table

# The rows of a batch are unique by key already: each record is landed once, in its newest shape.
_MERGE: TWriteDispositionConfig = {"disposition": "merge", "strategy": "delete-insert", "deduplicated": True}


# No table is nested, so that there is none for dlt to pass a root's key on to; it would look at each load.
@dlt.source(name=SOURCE, max_table_nesting=0, root_key=False)
def pennylane(
    rows: Mapping[Table, list[Row]], state: Mapping[str, Any], folder: Path, described: TSchemaTables
) -> Iterator[DltResource]:
    """One resource per table in `rows`; the source's state becomes `state` when the package is loaded.

    The rows' files are written to `folder`, from where dlt takes a copy. What is `described` in the pipeline's schema
    is not described again, which takes dlt a while.
    """
    for table, table_rows in rows.items():
        yield dlt.resource(
            _file(table, table_rows, folder),
            name=table.name,
            write_disposition=_MERGE,
            primary_key=table.key,
            merge_key=table.replaced_by,
            columns=_to_be_described(table, described),
        )
    yield dlt.resource(_cursors(state), name="cursors")


def _to_be_described(table: Table, described: TSchemaTables) -> dict[str, TColumnSchema]:
    """The columns that a schema does not have as they are declared.

    It may be that of an older version's sync, which was under way during an update. Of columns by which rows are
    replaced dlt makes hints of its own where it is told none.
    """
    columns = described[table.name]["columns"] if table.name in described else {}
    return {
        name: hints
        for name, hints in table.dlt_columns().items()
        if name in table.replaced_by or not hints.items() <= columns.get(name, {}).items()
    }


def _file(table: Table, rows: list[Row], folder: Path) -> Iterator[Any]:
    path = folder / f"{table.name}.csv"
    write_rows(path, table, rows)
    yield dlt.mark.with_file_import(str(path), "csv", len(rows))
    path.unlink()


def _cursors(state: Mapping[str, Any]) -> Iterator[Any]:
    current = dlt.current.source_state()
    current.clear()
    current.update(state)
    yield from ()
