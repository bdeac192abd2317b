"""`pennylane-sync disconnect`: end the access, keep the data."""

import sys

import click

from cli.output import company_option, json_option, print_json, stderr, stdout
from pipelines.companies import mark_disconnected
from resources.installation import USER_ERRORS, Installation
from resources.oauth import revoke


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask; without a terminal nothing is asked.")
@company_option
@json_option
def disconnect(*, yes: bool, company_id: int | None, as_json: bool) -> None:
    """Stop synchronizing a company: its token is revoked and forgotten, its data stays as it is."""
    installation = Installation()
    connection = installation.connections.find(company_id)
    if not (yes or as_json) and sys.stdin.isatty():
        click.confirm(f"Disconnect {connection.company_name} (company {connection.company_id})?", abort=True, err=True)
    credential = installation.connections.disconnect(connection.company_id)
    revoked = credential is not None and revoke(installation.settings, credential)
    try:
        mark_disconnected(installation.warehouse, connection.company_id, installation.clock())
    except USER_ERRORS as error:
        stderr.print(f"Its rows could not be marked as no longer updated: {error}", style="yellow", soft_wrap=True)
    if as_json:
        print_json({"company_id": connection.company_id, "state": "disconnected", "revoked": revoked})
        return
    name = f"{connection.company_name} (company {connection.company_id})"
    stdout.print(f"Disconnected: {name}. Its data stays, and is no longer updated.", markup=False)
    if not revoked:
        stderr.print(
            "The token is forgotten here, but was not revoked at Pennylane: delete it in the settings there.",
            style="yellow",
            soft_wrap=True,
        )
