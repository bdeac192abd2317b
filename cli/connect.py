"""`pennylane-sync connect`: authorize a company, leave accounts out, and run the first sync."""

import getpass
import sys
import webbrowser
from dataclasses import dataclass

import click

from cli.output import company_option, counted, json_option, print_json, stderr, stdout
from cli.user import user_name
from pipelines.client import OneToken, Pennylane
from resources.connections import Connection, Kind
from resources.credential import Credential
from resources.errors import PennylaneSyncError
from resources.exclusion_ids import MalformedIds, parse_account_ids
from resources.installation import Installation
from resources.oauth import SCOPES, authorize, revoke


class WrongCompany(PennylaneSyncError):
    """Another company was authorized than the one asked for."""


class NotEnoughScopes(PennylaneSyncError):
    """The token does not allow reading all that is needed."""


_REFUSED = "Pennylane does not accept this token; nothing was connected. Check it and try again."


@click.command()
@click.option("--token-stdin", is_flag=True, help="Read a company API token from standard input instead of OAuth.")
@click.option("--exclude", metavar="IDS", help="Accounts to leave out: ids or pasted addresses, separated by commas.")
@click.option("--no-browser", is_flag=True, help="Print the authorization address instead of opening it.")
@click.option("--no-activate", is_flag=True, help="Do not run the first sync yet.")
@company_option
@json_option
def connect(
    *,
    token_stdin: bool,
    exclude: str | None,
    no_browser: bool,
    no_activate: bool,
    company_id: int | None,
    as_json: bool,
) -> None:
    """Connect a Pennylane company: authorize, choose accounts to leave out, run the first sync.

    Connecting a company again resumes it, with its exclusions. --company makes sure that it is that company.
    """
    excluded = _given_ids(exclude)
    installation = Installation()
    if token_stdin:
        identified = identify(installation, "api_token", _from_stdin(), company_id)
    else:
        open_address = _print_address if no_browser else _open_browser
        identified = identify(installation, "oauth", authorize(installation.settings, SCOPES, open_address), company_id)
    if excluded is None and sys.stdin.isatty() and not as_json:
        excluded = _ask_for_exclusions()
    connection = store(installation, identified, excluded or [])
    company, name = connection.company_id, connection.company_name
    left_out = len(installation.connections.excluded(company))
    if not as_json:
        stdout.print(f"Connected: {name} (company {company}), {counted(left_out, 'account')} left out.", markup=False)
    if not (no_activate or connection.activated_at):
        from cli.sync import run_first_sync  # noqa: PLC0415 - Dagster takes seconds to import, only needed here

        run_first_sync(company, quiet=as_json)
    elif not as_json:
        following = "sync" if connection.activated_at else "activate"
        stdout.print(f"Next: pennylane-sync {following}{_which(company, installation)}")
    if as_json:
        state = installation.connections.get(company).state
        print_json({"company_id": company, "company_name": name, "state": state, "excluded_accounts": left_out})


def _which(company: int, installation: Installation) -> str:
    """The option that a further command needs where others are connected, too."""
    others = any(not one.disconnected_at for one in installation.connections.all() if one.company_id != company)
    return f" --company {company}" if others else ""


@dataclass(frozen=True)
class Identified:
    """A credential and, by Pennylane's own word, whose it is and what it allows."""

    company_id: int
    company_name: str
    kind: Kind
    credential: Credential
    scopes: list[str]


def identify(installation: Installation, kind: Kind, credential: Credential, wanted: int | None) -> Identified:
    """Ask Pennylane whose credential this is. One that is of no use is revoked again; nothing is stored yet.

    Raises WrongCompany where it is not `wanted`, NotEnoughScopes, and what the client raises.
    """
    try:
        company_id, name, scopes = _who_is_it(installation, credential, wanted)
    except Exception:
        revoke(installation.settings, credential)
        raise
    return Identified(company_id, name, kind, credential, scopes)


def store(installation: Installation, identified: Identified, excluded: list[int]) -> Connection:
    """Store the connection with its token encrypted, and its exclusions; Dagster learns of the company."""
    from cli.instance import register  # noqa: PLC0415 - Dagster takes seconds to import; errors above come at once

    company_id = identified.company_id
    if excluded:  # first: a connection without its exclusions could be synced
        installation.connections.exclude(company_id, excluded, user_name())
    connection = installation.connections.save(
        company_id, identified.company_name, identified.kind, identified.credential, identified.scopes
    )
    register(installation.settings, company_id)
    return connection


def _given_ids(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return parse_account_ids(text)
    except MalformedIds as error:
        raise click.UsageError(str(error)) from None


def _from_stdin() -> Credential:
    if sys.stdin.isatty():
        token = getpass.getpass("Company API token (not shown): ").strip()
    else:
        token = sys.stdin.readline().strip()
    if not token or not token.isascii() or any(character.isspace() for character in token):
        raise click.UsageError(
            "Standard input held no token. Example: pennylane-sync connect --token-stdin < token.txt"
        )
    return Credential(access_token=token)


def _open_browser(address: str) -> None:
    if webbrowser.open(address):
        stderr.print("Your browser shows Pennylane's page: choose the company and click Authorize.")
    else:
        _print_address(address)


def _print_address(address: str) -> None:
    stderr.print("Open this address in a browser to authorize:")
    stderr.print(address, markup=False, soft_wrap=True)


def _who_is_it(installation: Installation, credential: Credential, wanted: int | None) -> tuple[int, str, list[str]]:
    """The company's id and name and the token's scopes, by Pennylane's own word."""
    me = Pennylane(installation.settings.pennylane_url, OneToken(credential.access_token, _REFUSED)).get("/me")
    company_id, name = int(me["company"]["id"]), str(me["company"]["name"])
    if wanted is not None and company_id != wanted:
        raise WrongCompany(
            f"This authorizes company {company_id} ({name}), not {wanted}; nothing was connected. Choose the other "
            "company on Pennylane's page, or leave --company out."
        )
    scopes = [str(scope) for scope in me.get("scopes") or []]
    missing = [scope for scope in SCOPES if scope not in scopes and scope.replace(":readonly", ":all") not in scopes]
    if missing:
        raise NotEnoughScopes(
            f"The token of company {company_id} lacks the scope {' and '.join(missing)}; nothing was connected. "
            "Make a token with these scopes and connect again."
        )
    return company_id, name, scopes


def _ask_for_exclusions() -> list[int]:
    stdout.print(
        "Accounts to leave out? Paste ids or addresses of customer pages, separated by commas; Enter for none."
    )
    while True:
        try:
            return parse_account_ids(click.prompt("Leave out", default="", show_default=False))
        except MalformedIds as error:
            stderr.print(str(error), markup=False, soft_wrap=True)
