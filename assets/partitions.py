"""One partition per connected Pennylane company: a run, a backfill, an asset's state belong to one company."""

from collections.abc import Iterable

import dagster as dg

from resources.connections import Connection

connections = dg.DynamicPartitionsDefinition(name="connections")


def register(instance: dg.DagsterInstance, known: Iterable[Connection]) -> None:
    """They are registered when they are connected, but on that machine; the connections may be shared."""
    partitions = [str(connection.company_id) for connection in known if not connection.disconnected_at]
    instance.add_dynamic_partitions(str(connections.name), partitions)


def company_of(context: dg.AssetExecutionContext) -> int:
    """The company that a run is about."""
    return int(context.partition_key)
