"""`pennylane-sync verify`: compare the tables with Pennylane."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import click

from cli.output import company_option, counted, json_option, print_json, print_table, stdout
from cli.watching import watching
from pipelines.due import Pending, pending
from pipelines.verification import Comparison, Verified
from resources.connections import Connection
from resources.installation import Installation

_COUNTS = ("agree", "missing", "differing", "left_over", "changed_since")


@click.command()
@click.option("--details", is_flag=True, help="Show which rows, which fields, and both values (personal data).")
@company_option
@json_option
@click.pass_context
def verify(ctx: click.Context, *, details: bool, company_id: int | None, as_json: bool) -> None:
    """Compare the tables with Pennylane's lists, row by row; nothing is written.

    Exit status 1 where a row is missing, differs or is left over; `sync --full` heals that. What changed at Pennylane
    since the last sync is counted apart.
    """
    with watching(quiet=as_json) as watch:
        installation = Installation(watch)
        connection = installation.connections.find(company_id)
        owner = f"verification {uuid4()}"
        found, pennylane = installation.verify(connection.company_id, owner, "verify", details=details)
        requests = pennylane.statuses.total()
    unread = _pending(installation, connection.company_id)
    if as_json:
        print_json(_document(connection, found, unread, requests, details=details))
    else:
        _print(found, unread, requests, details=details)
    ctx.exit(0 if found.equal else 1)


def _pending(installation: Installation, company_id: int) -> Pending:
    with installation.warehouse.session() as session:
        return pending(session, company_id, installation.clock())


def _document(
    connection: Connection, found: Verified, unread: Pending, requests: int, *, details: bool
) -> dict[str, Any]:
    tables: dict[str, dict[str, Any]] = {table.name: dict(one.counts) for table, one in found.tables.items()}
    if details:
        for table, comparison in found.tables.items():
            tables[table.name]["rows"] = list(_rows(comparison))
    return {
        "company_id": connection.company_id,
        "company_name": connection.company_name,
        "equal": found.equal,
        "last_sync_at": found.as_of,
        "tables": tables,
        "not_compared": ["contacts", "payments"],
        "pending_contacts": unread.contacts,
        "pending_payments": unread.payments,
        "requests": requests,
    }


def _rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """What was found of single rows; the fields and both values of those that differ."""
    kinds = ("missing", "differing", "left_over", "changed_since", "left_out", "unreadable")
    for what in kinds:
        for one in sorted(getattr(comparison, what)):
            row = {"id": one, "found": what}
            if what == "differing":
                row["fields"] = {
                    name: {"here": here, "pennylane": there}
                    for name, (here, there) in comparison.differing[one].items()
                }
            yield row


def _print(found: Verified, unread: Pending, requests: int, *, details: bool) -> None:
    headings = ("table", *(name.replace("_", " ") for name in _COUNTS))
    rows = [(table.name, *(one.counts[name] for name in _COUNTS)) for table, one in found.tables.items()]
    print_table(headings, rows)
    if details:
        _print_details(found)
    for line in _remarks(found, unread):
        stdout.print(line, soft_wrap=True)
    stdout.print(f"{counted(requests, 'request')}. {_verdict(found, details=details)}", soft_wrap=True)


def _print_details(found: Verified) -> None:
    lines = [
        (table.name, str(row["id"]), row["found"].replace("_", " "), *field)
        for table, comparison in found.tables.items()
        for row in _rows(comparison)
        for field in _fields(row)
    ]
    if lines:
        stdout.print()
        print_table(("table", "id", "found", "field", "here", "at Pennylane"), lines)
        stdout.print()


def _fields(row: dict[str, Any]) -> list[tuple[str, str | None, str | None]]:
    """A line for each field that differs, its values to the last digit; one without any for other rows."""
    fields = row.get("fields", {})
    return [(name, _exact(both["here"]), _exact(both["pennylane"])) for name, both in fields.items()] or [
        ("", None, None)
    ]


def _exact(value: Any) -> str | None:
    return None if value is None else str(value)


def _remarks(found: Verified, unread: Pending) -> Iterator[str]:
    """What else is to be known of the counts."""
    comparisons = found.tables.values()
    changed = sum(len(one.changed_since) for one in comparisons)
    left_out = sum(len(one.left_out) for one in comparisons)
    unreadable = sum(len(one.unreadable) for one in comparisons)
    if changed:
        yield f"Changed at Pennylane since the last sync: {changed:,}. The next one brings them."
    if not found.feeds_reach_back:
        yield "The last sync is over four weeks ago: what changed since cannot be told from damage. Sync first."
    if left_out:
        yield f"Without an account, and left out since they may be of an excluded one: {counted(left_out, 'document')}."
    if unreadable:
        yield f"Not compared, since they cannot be read: {counted(unreadable, 'record')}. The next sync tries again."
    still = unread.contacts + unread.payments
    to_read = f" Those of {still:,} accounts and invoices are still to be read." if still else ""
    yield f"Contacts and payments are in no list, and were not compared.{to_read}"


def _verdict(found: Verified, *, details: bool) -> str:
    if found.equal:
        unread = any(comparison.unreadable for comparison in found.tables.values())
        return f"The tables equal {'what could be read of ' if unread else ''}Pennylane, as of the last sync."
    which = "" if details else " Which ones: verify --details."
    return f"{counted(found.differences, 'row')} to heal: pennylane-sync sync --full.{which}"
