"""`pennylane-sync activate` and `sync`: run a sync now, in this process, as a run that Dagster records."""

import math

import click

from cli.output import company_option, counted, json_option, print_json, print_table, stdout
from cli.running import Metadata, run_job
from cli.status import describe
from resources.installation import Installation

_TABLES = ("accounts", "contacts", "invoices", "credit_notes", "payments")


@click.command()
@company_option
@json_option
def activate(*, company_id: int | None, as_json: bool) -> None:
    """Run the first sync; from then on the hourly schedule keeps the tables up to date.

    Interrupted, it goes on where it was.
    """
    installation = Installation()
    found = installation.connections.find(company_id).company_id
    metadata = run_first_sync(found, quiet=as_json)
    if as_json:
        print_json(_document(installation, found, metadata))


@click.command()
@click.option("--full", is_flag=True, help="List everything anew and remove what Pennylane no longer has.")
@company_option
@json_option
def sync(*, full: bool, company_id: int | None, as_json: bool) -> None:
    """Bring the tables up to date now, as the hourly schedule does."""
    installation = Installation()
    connection = installation.connections.find(company_id)
    job = "full_sync" if full else "hourly_sync" if connection.activated_at else "initial_sync"
    metadata = run_job(job, connection.company_id, quiet=as_json)
    if as_json:
        print_json(_document(installation, connection.company_id, metadata))
    else:
        print_changes(metadata)


def run_first_sync(company_id: int, *, quiet: bool) -> Metadata:
    """Run the first sync and say what came in."""
    metadata = run_job("initial_sync", company_id, quiet=quiet)
    if not quiet:
        print_changes(metadata)
        stdout.print("Active: the hourly schedule keeps it up to date while `pennylane-sync start` runs.")
    return metadata


def print_changes(metadata: Metadata) -> None:
    """Print what a run read and changed, by table."""
    counts = ("rows_in", "rows_added", "rows_changed", "rows_removed")
    rows = [(table, *(metadata[table][count] for count in counts)) for table in _TABLES]
    print_table(("table", "read", "new", "changed", "removed"), rows)
    lists, details = metadata["accounts"], metadata["payments"]
    requests = int(lists["requests"]) + int(details["requests"])
    stdout.print(f"{counted(requests, 'request')}. {_how_complete(metadata)}")
    if aside := sum(int(metadata[table]["set_aside"]) for table in _TABLES):
        stdout.print(f"{counted(aside, 'record')} set aside that cannot be read: pennylane-sync status tells which.")


def _how_complete(metadata: Metadata) -> str:
    """Whether all is in, or what is not yet, and when it will be."""
    details = metadata["payments"]
    pending = int(metadata["contacts"]["accounts_still_to_be_read"]) + int(details["invoices_still_to_be_read"])
    if not pending:
        return "Everything is in."
    if not details["ready"]:
        return f"Contacts or payments of {pending:,} accounts and invoices are still to be read."
    said = f"Ready: all that is needed for follow-up is in. The history of {pending:,} accounts and invoices"
    a_sync = Installation().settings.pennylane_sync_detail_requests
    if not a_sync:
        return f"{said} waits: PENNYLANE_SYNC_DETAIL_REQUESTS is 0."
    syncs = math.ceil(2 * int(details["requests_still_to_be_made"]) / a_sync)  # half is for what is read again
    return f"{said} follows in about {counted(syncs, 'hourly sync')}."


def _document(installation: Installation, company_id: int, metadata: Metadata) -> dict[str, object]:
    return {
        "connection": describe(installation, [installation.connections.get(company_id)])[0],
        "tables": {table: metadata[table] for table in _TABLES},
    }
