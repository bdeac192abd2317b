"""`pennylane-sync accounts`, `exclude`, `include`: see the accounts, leave some out, take them in again."""

from collections.abc import Collection
from typing import Any

import click

from cli.output import company_option, counted, json_option, print_json, print_table, shown, stderr, stdout
from cli.user import user_name
from pipelines.errors import naming
from pipelines.tables import DATASET
from pipelines.warehouse import id_list
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
    excluded = {
        one.account_id: one for one in installation.connections.exclusion_history(company) if one.included_at is None
    }
    documents = [dict(zip(_BALANCES, row, strict=True)) for row in _balances(installation, company, search)]
    if not search:
        listed = {one["account_id"] for one in documents}
        documents += [dict.fromkeys(_BALANCES) | {"account_id": one} for one in excluded if one not in listed]
    for one in documents:
        exclusion = excluded.get(one["account_id"])
        one["state"] = "excluded" if exclusion else "synchronized"
        one["excluded_at"] = exclusion and exclusion.excluded_at
        one["excluded_by"] = exclusion and exclusion.excluded_by
    if as_json:
        print_json(documents)
    else:
        _print_accounts(documents)


def _balances(installation: Installation, company_id: int, search: str) -> list[tuple[Any, ...]]:
    with naming(company_id), installation.warehouse.session() as session:
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
            _state(one),
        )
        for one in documents
    ]
    print_table(("account", "name", "outstanding", "open", "late", "state"), rows)


def _state(document: dict[str, Any]) -> str:
    if document["state"] == "excluded":
        return f"excluded {document['excluded_at']:%Y-%m-%d} by {document['excluded_by']}"
    return f"read {shown(document['synced_at'])}"


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
    unknown = _unknown(installation, connection, new)
    if as_json:
        print_json({"company_id": company, "excluded": new, "unknown": sorted(unknown)})
        return
    stdout.print(f"Left out from the next sync on: {counted(len(new), 'account')} of company {company}.")
    if unknown:
        named = ", ".join(f"{one} (of company {owner})" if owner else str(one) for one, owner in unknown.items())
        _warn(
            f"Not among the accounts synchronized so far: {named}. They are left out all the same, should they appear; "
            "check them for typing errors."
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
    stdout.print(f"Synchronized again from the next sync on: {counted(len(ended), 'account')} of company {company}.")
    if len(ended) < len(account_ids):
        _warn(f"Not excluded before: {', '.join(str(one) for one in account_ids if one not in ended)}.")


def _warn(message: str) -> None:
    stderr.print(message, style="yellow", markup=False, soft_wrap=True)


def _unknown(installation: Installation, connection: Connection, ids: Collection[int]) -> dict[int, int | None]:
    """The ids that are none of the company's accounts, each with the company of ours that has it as one, if any does.

    None are told before the first sync, nor where the warehouse cannot be read now: nothing is known then.
    """
    if connection.activated_at is None:
        return {}
    try:
        with installation.warehouse.session() as session:
            if not session.has_table("accounts"):
                return {}
            rows = session.rows(
                f"SELECT account_id, company_id FROM {DATASET}.accounts WHERE account_id IN ({id_list(ids)})"
            )
    except USER_ERRORS:
        return {}
    known = {account_id for account_id, company_id in rows if company_id == connection.company_id}
    elsewhere = dict(rows)
    return {one: elsewhere.get(one) for one in ids if one not in known}
