"""Moving an installation from a DuckDB file, and a store of connections, to where its settings say."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

from pipelines.indexes import index_what_was_filled
from pipelines.moving import Rows, companies_in, move_rows, rows_of
from pipelines.warehouse import DuckDBWarehouse
from resources.connections import AlreadyConnected, Connections
from resources.installation import Installation
from resources.leases import Lease
from resources.vault import KeyMismatch, Vault


def store_at(installation: Installation, connections_url: str) -> Connections:
    """A store of connections whose tokens are encrypted with the installation's key."""
    return Connections(connections_url, Vault.from_settings(installation.settings), installation.clock)


def move(installation: Installation, file: Path | None, connections: Connections) -> Rows:
    """Put the rows of a DuckDB file, if there is one, and then connections where the installation's settings say.

    Nobody works on any of the companies meanwhile. All rows come or none, and then all connections or none: before
    these are there, nothing runs there. Last, the connections end where they were: two programs that renew the same
    tokens take them from each other. The file stays as it is. Interrupted, it is simply to be repeated. Returns what is
    there of these companies. Raises KeyMismatch, LeaseHeld, LeaseLost, AlreadyConnected, and what `move_rows` raises.
    """
    there = installation.connections
    stay = there.is_kept_with(connections)
    known = connections.all()
    source = file and DuckDBWarehouse(file)
    companies = {one.company_id for one in known} | (companies_in(source) if source else set())
    before = set() if stay else there.taken_over(connections)
    if companies and companies <= before and all(one.disconnected_at for one in known):
        raise AlreadyConnected("All of it was moved before, and is where it was to be moved to. Nothing was changed.")
    if not stay:
        _refuse_unreadable(connections)
    with ExitStack() as held:
        leases = [held.enter_context(connections.lease(one, f"move {uuid4()}", "move")) for one in sorted(companies)]
        if source:
            move_rows(
                source,
                installation.warehouse,
                companies - before,
                work_dir=installation.work_dir,
                watch=installation.watch,
                before_commit=lambda: _check(leases),
            )
        if not stay:
            there.take_over(connections)
            connections.let_go(there.taken_over(connections))
    if not source or not companies:
        return Rows()
    index_what_was_filled(installation.warehouse)
    return rows_of(installation.warehouse, companies)


def never_synchronized(connections: Connections) -> bool:
    """Whether companies are connected, but none of them has any rows yet."""
    known = connections.all()
    return bool(known) and not any(one.activated_at for one in known)


def _refuse_unreadable(connections: Connections) -> None:
    """Raises KeyMismatch, before anything is moved that could then not be synchronized."""
    try:
        connections.refuse_unreadable()
    except KeyMismatch as error:
        raise KeyMismatch(
            f"{error} (with WAREHOUSE_URL as it was before the move). Nothing was moved: tokens go with their key."
        ) from None


def _check(leases: Iterable[Lease]) -> None:
    for lease in leases:
        lease.check()
