"""What Dagster's servers load; touches neither network nor settings."""

from assets import definitions
from resources.installation import Installation

defs = definitions(Installation())
