"""What our destinations of dlt have in common."""

from typing import Any

from dlt.common.configuration.specs.base_configuration import BaseConfiguration
from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.normalizers.naming import NamingConvention


class GivenWhole(Destination[Any, Any]):
    """A destination that is told all of its settings.

    dlt asks it some twenty times per load what it can do, and would look through environment and files each time for
    settings that say otherwise: a fifth of a small load.
    """

    def capabilities(
        self, config: BaseConfiguration | None = None, naming: NamingConvention | None = None
    ) -> DestinationCapabilitiesContext:
        return super().capabilities(config or self.spec(), naming)
