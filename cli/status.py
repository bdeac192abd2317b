"""`pennylane-sync status`: how each connection is."""

from typing import Any

import click

from cli.output import json_option, print_json, print_table, stderr, stdout
from pipelines.due import pending
from resources.connections import Connection
from resources.installation import USER_ERRORS, Installation


@click.command()
@json_option
def status(*, as_json: bool) -> None:
    """Show each connection: its state, its last sync, what is still to be fetched, its last error."""
    installation = Installation()
    connections = installation.connections.all()
    documents = [describe(installation, connection) for connection in connections]
    if as_json:
        print_json(documents)
        return
    if not documents:
        stdout.print("No company is connected yet: pennylane-sync connect")
        return
    columns = ("company", "name", "state", "last sync", "ready", "to read: contacts", "payments", "excluded")
    keys = (
        "company_id", "company_name", "state", "last_sync_at", "ready", "pending_contacts", "pending_payments",
        "excluded_accounts",
    )  # fmt: skip
    rows = [[str(one["company_id"]), *(one[key] for key in keys[1:])] for one in documents]
    print_table(columns, rows)
    for connection, one in zip(connections, documents, strict=True):
        if one["last_error"]:
            stderr.print(f"{one['company_id']}: {one['last_error']}", style="red", markup=False, soft_wrap=True)
        elif connection.authorization_lost:
            stderr.print(
                f"{one['company_id']}: {connection.authorization_lost}", style="red", markup=False, soft_wrap=True
            )


def describe(installation: Installation, connection: Connection) -> dict[str, Any]:
    """A connection's status; what is pending is None where the warehouse cannot tell now."""
    contacts, payments, ready = _pending(installation, connection)
    return {
        "company_id": connection.company_id,
        "company_name": connection.company_name,
        "state": connection.state,
        "connected_at": connection.connected_at,
        "last_sync_at": connection.last_sync_at,
        "ready": ready,
        "pending_contacts": contacts,
        "pending_payments": payments,
        "excluded_accounts": len(installation.connections.excluded(connection.company_id)),
        "last_error": connection.last_error or connection.authorization_lost,
    }


def _pending(installation: Installation, connection: Connection) -> tuple[int | None, int | None, bool]:
    if connection.activated_at is None:
        return 0, 0, False
    try:
        with installation.warehouse.session() as session:
            if not session.has_table("invoices"):
                return 0, 0, False
            found = pending(session, connection.company_id, installation.clock())
    except USER_ERRORS:
        return None, None, connection.ready_at is not None
    return found.contacts, found.payments, connection.last_sync_at is not None and found.ready
