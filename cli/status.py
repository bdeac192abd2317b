"""`pennylane-sync status`: how each connection is."""

from collections.abc import Sequence
from typing import Any

import click

from cli.output import json_option, print_error, print_json, print_table, shown, stdout
from pipelines.due import Pending, pending
from resources.connections import Connection
from resources.installation import USER_ERRORS, Installation


@click.command()
@json_option
def status(*, as_json: bool) -> None:
    """Show each connection: its state, its last sync, what is still to be fetched, its last error."""
    installation = Installation()
    connections = installation.connections.all()
    documents = describe(installation, connections)
    if as_json:
        print_json(documents)
        return
    if not documents:
        stdout.print("No company is connected yet: pennylane-sync connect")
        return
    rows = [
        (
            str(one["company_id"]),
            one["company_name"],
            one["state"],
            one["last_sync_at"],
            _ready(one),
            one["excluded_accounts"],
        )
        for one in documents
    ]
    print_table(("company", "name", "state", "last sync", "ready", "left out"), rows)
    for one in documents:
        if one["last_error"]:
            print_error(f"{one['company_id']}: {one['last_error']}")


def _ready(document: dict[str, Any]) -> str:
    """Whether what matters is in, and of how many accounts and invoices contacts or payments are still to be read."""
    ready, contacts, payments = (document[key] for key in ("ready", "pending_contacts", "pending_payments"))
    still = f", {contacts + payments:,} to read" if contacts or payments else ""
    return shown(ready) + still


def describe(installation: Installation, connections: Sequence[Connection]) -> list[dict[str, Any]]:
    """The status of each connection; what is pending is None where the warehouse cannot tell now."""
    found = _pending(installation, connections)
    return [_described(installation, connection, found[connection.company_id]) for connection in connections]


def _described(installation: Installation, connection: Connection, found: Pending | None) -> dict[str, Any]:
    ready = found.ready if found else connection.ready_at is not None
    return {
        "company_id": connection.company_id,
        "company_name": connection.company_name,
        "state": connection.state,
        "connected_at": connection.connected_at,
        "last_sync_at": connection.last_sync_at,
        "ready": connection.ready_at is not None and ready,
        "pending_contacts": found.contacts if found else None,
        "pending_payments": found.payments if found else None,
        "excluded_accounts": len(installation.connections.excluded(connection.company_id)),
        "last_error": connection.last_error or connection.authorization_lost,
    }


_NOTHING = Pending(contacts=0, payments=0, requests=0, ready=False)


def _pending(installation: Installation, connections: Sequence[Connection]) -> dict[int, Pending | None]:
    """By company, in one session for all: each one may have to wait for a locked file."""
    found: dict[int, Pending | None] = {one.company_id: _NOTHING for one in connections}
    activated = [one.company_id for one in connections if one.activated_at]
    if not activated:
        return found
    try:
        with installation.warehouse.session() as session:
            if session.has_table("invoices"):
                now = installation.clock()
                found |= {company_id: pending(session, company_id, now) for company_id in activated}
    except USER_ERRORS:
        found |= dict.fromkeys(activated)
    return found
