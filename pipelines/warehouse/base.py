"""What a warehouse is, whichever database it is in."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.tables import DATASET
from pipelines.warehouse.session import Session

if TYPE_CHECKING:  # dlt is imported where something is loaded
    from pipelines.merging import MergingDestination


@dataclass(frozen=True)
class Merge:
    """What a load does with rows once dlt has copied them into the staging schema.

    By default they take the place there of those before, and are merged into their table. Those of tables (names) that
    are `waiting` are added to what is there, and not merged yet; those of tables that go `together` are added, and
    merged with it, each key's last row. `afterwards` are statements by table, a line each, which belong to the
    transaction that merges it.
    """

    waiting: frozenset[str] = frozenset()
    together: frozenset[str] = frozenset()
    afterwards: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Warehouse(ABC):
    """Where rows land."""

    @abstractmethod
    def destination(self, company_id: int) -> "MergingDestination":
        """dlt's destination, of use within the session to which `bind` has bound it.

        Each company has a staging schema of its own (dlt#4297: else they truncate each other's rows).
        """

    @abstractmethod
    def bind(self, destination: "MergingDestination", session: Session) -> None:
        """Have a destination work where this session does: addresses may lead to another server at another time."""

    @abstractmethod
    @contextmanager
    def session(self) -> Iterator[Session]:
        """An open connection. Raises WarehouseBusy or WarehouseUnusable."""


STAGING = re.compile(rf"{DATASET}_staging_\d+")
"""The names of all companies' staging schemas."""


def staging_layout(company_id: int) -> str:
    return f"%s_staging_{company_id}"
