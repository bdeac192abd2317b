"""`pennylane-sync status`: how each connection is."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from cli.output import counted, json_option, print_error, print_json, print_table, shown, stdout
from pipelines.committed import committed
from pipelines.due import Pending, pending
from pipelines.set_aside import SetAside, said, set_aside
from resources.connections import Connection
from resources.installation import USER_ERRORS, Installation

_SHOWN = 20


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
        for line in _set_aside_lines(one):
            stdout.print(line, soft_wrap=True, markup=False)
    for one in documents:
        if one["last_error"]:
            print_error(f"{one['company_id']}: {one['last_error']}")


def _ready(document: dict[str, Any]) -> str:
    """Whether what matters is in, and of how many accounts and invoices contacts or payments are still to be read."""
    ready, contacts, payments = (document[key] for key in ("ready", "pending_contacts", "pending_payments"))
    still = f", {contacts + payments:,} to read" if contacts or payments else ""
    return shown(ready) + still


def _set_aside_lines(document: dict[str, Any]) -> Iterator[str]:
    """What cannot be read, with the reasons; the first ones, where there are many."""
    found = document["set_aside"] or []
    if not found:
        return
    yield f"{document['company_id']}: {counted(len(found), 'record')} set aside, tried again with each sync:"
    for one in found[:_SHOWN]:
        yield f"  {said(SetAside(**one))}"
    if len(found) > _SHOWN:
        yield f"  and {len(found) - _SHOWN:,} more: pennylane-sync status --json"


def describe(installation: Installation, connections: Sequence[Connection]) -> list[dict[str, Any]]:
    """The status of each connection; what the warehouse cannot tell now is None."""
    held = _held(installation, connections)
    return [_described(installation, connection, held[connection.company_id]) for connection in connections]


@dataclass(frozen=True)
class _Held:
    """What the warehouse tells of a company."""

    pending: Pending
    set_aside: list[SetAside]


def _described(installation: Installation, connection: Connection, held: _Held | None) -> dict[str, Any]:
    found = held.pending if held else None
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
        "set_aside": [asdict(one) for one in held.set_aside] if held else None,
        "excluded_accounts": len(installation.connections.excluded(connection.company_id)),
        "last_error": connection.last_error or connection.authorization_lost,
    }


_NOTHING = _Held(Pending(contacts=0, payments=0, requests=0, ready=False), [])


def _held(installation: Installation, connections: Sequence[Connection]) -> dict[int, _Held | None]:
    """By company, in one session for all: each one may have to wait for a locked file."""
    found: dict[int, _Held | None] = {one.company_id: _NOTHING for one in connections}
    activated = [one.company_id for one in connections if one.activated_at]
    if not activated:
        return found
    try:
        with installation.warehouse.session() as session:
            if session.has_table("invoices"):
                now = installation.clock()
                for one in activated:
                    state = committed(session, one) or {}
                    found[one] = _Held(pending(session, one, now), list(set_aside(state)))
    except USER_ERRORS:
        found |= dict.fromkeys(activated)
    return found
