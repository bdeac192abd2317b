"""What a warehouse is, whichever database it is in."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.tables import DATASET
from pipelines.warehouse.session import Session

if TYPE_CHECKING:  # dlt is imported where something is loaded
    from dlt.common.destination import TDestinationReferenceArg


class Warehouse(ABC):
    """Where rows land."""

    @abstractmethod
    def destination(self, company_id: int) -> "TDestinationReferenceArg":
        """dlt's destination, for use within a session.

        Each company has a staging schema of its own (dlt#4297: else they truncate each other's rows).
        """

    @abstractmethod
    @contextmanager
    def session(self) -> Iterator[Session]:
        """An open connection. Raises WarehouseBusy or WarehouseUnusable."""


STAGING = re.compile(rf"{DATASET}_staging_\d+")
"""The names of all companies' staging schemas."""


def staging_layout(company_id: int) -> str:
    return f"%s_staging_{company_id}"
