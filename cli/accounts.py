"""`pennylane-sync accounts`, `exclude`, `include`: see the accounts, leave some out, take them in again."""

from typing import Any

import click

from cli.output import company_option, json_option, print_json, print_table, shown, stderr, stdout
from cli.user import user_name
from pipelines.tables import DATASET
from resources.connections import Connection
from resources.exclusion_ids import MalformedIds, parse_account_ids
from resources.installation import USER_ERRORS, Installation


class _AccountIds(click.ParamType[list[int]]):
    """Ids or pasted addresses, separated by commas."""

    name = "ID[,ID...]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        try:
            return parse_account_ids(value)
        except MalformedIds as error:
            self.fail(str(error), param, ctx)


_BALANCES = (
    "account_id",
    "account_name",
    "outstanding",
    "open_invoices",
    "late_invoices",
    "late_amount",
    "synced_at",
)


@click.command()
@click.option("--search", metavar="TEXT", default="", help="Only accounts whose name holds this text.")
@company_option
@json_option
def accounts(*, search: str, company_id: int | None, as_json: bool) -> None:
    """List the accounts: whether they are synchronized, what they owe, when they were last read."""
    installation = Installation()
    company = installation.connections.find(company_id).company_id
    excluded = installation.connections.excluded(company)
    documents = [dict(zip(_BALANCES, row, strict=True)) for row in _balances(installation, company, search)]
    if not search:
        listed = {one["account_id"] for one in documents}
        documents += [dict.fromkeys(_BALANCES) | {"account_id": one} for one in excluded if one not in listed]
    for one in documents:
        one["excluded_at"] = excluded.get(one["account_id"])
        one["state"] = "excluded" if one["excluded_at"] else "synchronized"
    if as_json:
        print_json(documents)
    else:
        _print_accounts(documents)


def _balances(installation: Installation, company_id: int, search: str) -> list[tuple[Any, ...]]:
    with installation.warehouse.session() as session:
        if not session.has_table("account_balances"):
            return []
        return session.rows(
            f"SELECT {', '.join(_BALANCES)} FROM {DATASET}.account_balances "
            "WHERE company_id = %s AND strpos(lower(COALESCE(account_name, '')), %s) > 0 "
            "ORDER BY outstanding DESC, account_name",
            company_id,
            search.lower(),
        )


def _print_accounts(documents: list[dict[str, Any]]) -> None:
    rows = [
        (
            str(one["account_id"]),
            one["account_name"],
            one["outstanding"],
            one["open_invoices"],
            one["late_invoices"],
            f"excluded {one['excluded_at']:%Y-%m-%d}" if one["excluded_at"] else f"read {shown(one['synced_at'])}",
        )
        for one in documents
    ]
    print_table(("account", "name", "outstanding", "open", "late", "state"), rows)


@click.command()
@click.argument("account_ids", type=_AccountIds())
@company_option
@json_option
def exclude(*, account_ids: list[int], company_id: int | None, as_json: bool) -> None:
    """Leave accounts out from the next sync on; what is there of them stays as it is."""
    installation = Installation()
    connection = installation.connections.find(company_id)
    company = connection.company_id
    new = installation.connections.exclude(company, account_ids, user_name())
    known = _known(installation, connection)
    unknown = sorted(set(account_ids) - known) if known else []
    if as_json:
        print_json({"company_id": company, "excluded": new, "unknown": unknown})
        return
    stdout.print(f"Left out from the next sync on: {len(new)} accounts of company {company}.")
    if unknown:
        stderr.print(
            f"Not among the accounts synchronized so far: {', '.join(map(str, unknown))}. They are left out all the "
            "same, should they appear; check them for typing errors.",
            style="yellow",
            soft_wrap=True,
        )


@click.command()
@click.argument("account_ids", type=_AccountIds())
@company_option
@json_option
def include(*, account_ids: list[int], company_id: int | None, as_json: bool) -> None:
    """Synchronize excluded accounts again; the next sync catches up with all that happened meanwhile."""
    installation = Installation()
    company = installation.connections.find(company_id).company_id
    ended = installation.connections.include(company, account_ids, user_name())
    if as_json:
        print_json({"company_id": company, "included": ended})
        return
    stdout.print(f"Synchronized again from the next sync on: {len(ended)} accounts of company {company}.")


def _known(installation: Installation, connection: Connection) -> set[int]:
    """The accounts in the tables; none where there are none yet, or where the warehouse cannot tell now."""
    if connection.activated_at is None:
        return set()
    try:
        with installation.warehouse.session() as session:
            if not session.has_table("accounts"):
                return set()
            rows = session.rows(
                f"SELECT account_id FROM {DATASET}.accounts WHERE company_id = %s", connection.company_id
            )
    except USER_ERRORS:
        return set()
    return {int(account_id) for (account_id,) in rows}
