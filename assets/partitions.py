"""One partition per connected Pennylane company: a run, a backfill, an asset's state belong to one company."""

import dagster as dg

connections = dg.DynamicPartitionsDefinition(name="connections")


def company_of(context: dg.AssetExecutionContext) -> int:
    """The company that a run is about."""
    return int(context.partition_key)
