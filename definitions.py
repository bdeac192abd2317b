"""What Dagster's servers load; touches neither network nor settings."""

from assets import definitions
from assets.forked_runs import fork_runs
from resources.installation import Installation

fork_runs()
defs = definitions(Installation())
