"""Loading with dlt: one pipeline per company, which takes its state and schema from the warehouse.

Imported where there is something to load, for the reason that `committed` gives.
"""

import copy
import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration.utils import get_resolved_traces
from dlt.common.schema import Schema
from dlt.common.storages.live_schema_storage import LiveSchemaStorage
from dlt.pipeline.exceptions import PipelineStepFailed

from pipelines.committed import SOURCE, State, pipeline_name
from pipelines.errors import WarehouseUnusable
from pipelines.records import Row
from pipelines.source import pennylane
from pipelines.tables import DATASET, Table
from pipelines.warehouse import Merge, Warehouse, what_went_wrong

_MANY_ROWS = 5_000
"""So many are not left to Python to look for: dlt leaves them in a cycle of objects (a setting that it did not find,
the exception that says so, and its frames, which hold them). With all of Dagster's objects beside them Python would
look when some 200 MB of them have come together. To look takes a tenth of a second, too long for each small load."""


class _SchemasAtHand(LiveSchemaStorage):
    """A pipeline's schemas, which dlt by itself reads from their files each time that it looks at one.

    That is a dozen times a load, a quarter of its time; nobody else writes into our folder meanwhile.
    """

    def __getitem__(self, name: str) -> Schema:
        return self.live_schemas.get(name) or super().__getitem__(name)


class _Pipeline(dlt.Pipeline):
    def _configure(self, *arguments: Any, **named: Any) -> None:
        super()._configure(*arguments, **named)
        self._schema_storage = _SchemasAtHand(self._schema_storage_config)


class Loader:
    """A company's pipeline, with its files in `work_dir`."""

    def __init__(self, warehouse: Warehouse, company_id: int, work_dir: Path) -> None:
        self._warehouse = warehouse
        self._folder = work_dir
        with warehouse.session() as session, _running_dlt():
            self._destination = warehouse.destination(company_id)
            warehouse.bind(self._destination, session)
            self._pipeline = dlt.pipeline(
                pipeline_name=pipeline_name(company_id),
                pipelines_dir=str(work_dir),
                destination=self._destination,
                dataset_name=DATASET,
                _impl_cls=_Pipeline,
            )
            self._pipeline.sync_destination()

    @property
    def state(self) -> State:
        """The source's state, as the warehouse has it."""
        return copy.deepcopy(dict(self._pipeline.state.get("sources", {}).get(SOURCE, {})))

    def load(
        self,
        rows: Mapping[Table, list[Row]],
        state: State,
        merge: Merge,
        writing: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        """Load the rows, merge them as `merge` says, and commit the state, in one package.

        `writing` is entered while the package is loaded, and may raise to prevent it.
        """
        with _running_dlt():
            schemas = self._pipeline.schemas
            described = schemas[SOURCE].tables if SOURCE in schemas else {}
            self._pipeline.extract(pennylane(rows, state, self._folder, described))
            self._pipeline.normalize()
            with self._warehouse.session() as session, writing():
                self._warehouse.bind(self._destination, session)
                self._destination.merge = merge
                loaded = self._pipeline.load(raise_on_failed_jobs=True)
        if not loaded.loads_ids:
            raise WarehouseUnusable(
                f"The package to be loaded has gone from {self._folder}: another program cleans up there, or another "
                "sync of the company took over. Nothing is lost; the next sync repeats what is missing."
            )
        if sum(map(len, rows.values())) >= _MANY_ROWS:
            gc.collect()


@contextmanager
def _running_dlt() -> Iterator[None]:
    """Around what dlt does: its errors become ours, and what it notes of each setting that it looks up is forgotten.

    The notes are for the trace that is turned off (`pipelines/__init__.py`), and would keep pipelines and databases.
    """
    try:
        yield
    except PipelineStepFailed as failure:
        raise WarehouseUnusable(
            f"Loading into the warehouse failed (dlt, {failure.step}): {what_went_wrong(_root_cause(failure))}. "
            "Nothing is lost: the cursors have not moved, and the next sync repeats what is missing."
        ) from None
    except OSError as failure:
        raise WarehouseUnusable(
            f"Loading into the warehouse failed: {failure.filename or 'a file'} cannot be used "
            f"({failure.strerror or type(failure).__name__}). Check PENNYLANE_SYNC_HOME, the rights on it and the room "
            "on its disk. Nothing is lost: the cursors have not moved, and the next sync repeats what is missing."
        ) from None
    finally:
        get_resolved_traces().clear()


def _root_cause(error: BaseException) -> BaseException:
    """What the database said, which dlt's exceptions wrap several times over."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
