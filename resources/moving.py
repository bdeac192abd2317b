"""Moving an installation from a DuckDB file, and a store of connections, to where its settings say."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

from pipelines.moving import Rows, companies_in, move_rows
from pipelines.warehouse import DuckDBWarehouse
from resources.connections import Connections
from resources.installation import Installation
from resources.leases import Lease
from resources.vault import Vault


def move(installation: Installation, file: Path, connections_url: str) -> Rows:
    """Put a DuckDB file's rows into the installation's warehouse, then the connections into its store.

    Nobody works on any of the companies meanwhile. All rows come or none, and then all connections or none: before
    these are there, nothing runs there. Interrupted, it is simply to be repeated. Both sources stay as they are.
    Raises LeaseHeld, LeaseLost, AlreadyConnected, and what `move_rows` raises.
    """
    settings = installation.settings
    source = DuckDBWarehouse(file)
    connections = Connections(connections_url, Vault.from_settings(settings), installation.clock)
    stay = connections_url == settings.connections_url
    if not stay:
        installation.connections.refuse_known(connections)
    companies = {one.company_id for one in connections.all()} | companies_in(source)
    with ExitStack() as held:
        leases = [held.enter_context(connections.lease(one, f"move {uuid4()}", "move")) for one in sorted(companies)]
        rows = move_rows(
            source,
            installation.warehouse,
            companies,
            work_dir=installation.work_dir,
            watch=installation.watch,
            before_commit=lambda: _check(leases),
        )
        if not stay:
            installation.connections.take_over(connections)
    return rows


def _check(leases: Iterable[Lease]) -> None:
    for lease in leases:
        lease.check()
