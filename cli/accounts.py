"""`pennylane-sync accounts`, `exclude`, `include`: see the accounts, leave some out, take them in again."""

import getpass
from decimal import Decimal

import click

from cli.output import company_option, json_option, print_json, print_table, stderr, stdout
from pipelines.tables import DATASET
from resources.exclusion_ids import MalformedIds, parse_account_ids
from resources.installation import Installation


class _AccountIds(click.ParamType[list[int]]):
    """Ids or pasted addresses, separated by commas."""

    name = "ID[,ID...]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        try:
            return parse_account_ids(value)
        except MalformedIds as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option("--search", metavar="TEXT", help="Only accounts whose name holds this text.")
@company_option
@json_option
def accounts(*, search: str | None, company_id: int | None, as_json: bool) -> None:
    """List the accounts: whether they are synchronized, what they owe, when they were last read."""
    installation = Installation()
    company = installation.connections.find(company_id).company_id
    excluded = installation.connections.excluded(company)
    columns = "account_id, account_name, open_invoices, late_invoices, outstanding, late_amount, synced_at"
    with installation.warehouse.session() as session:
        rows = (
            session.rows(
                f"SELECT {columns} FROM {DATASET}.account_balances WHERE company_id = %s "
                "AND lower(account_name) LIKE %s ORDER BY outstanding DESC, account_name",
                company,
                f"%{(search or '').lower()}%",
            )
            if session.has_table("account_balances")
            else []
        )
    documents = [
        dict(zip(columns.split(", "), row, strict=True)) | {"excluded_at": excluded.get(int(row[0]))} for row in rows
    ]
    if not search:
        documents += [
            {**dict.fromkeys(columns.split(", ")), "account_id": account_id, "excluded_at": since}
            for account_id, since in excluded.items()
            if account_id not in {one["account_id"] for one in documents}
        ]
    if as_json:
        print_json(documents)
        return
    print_table(
        ("account", "name", "state", "outstanding", "open", "late", "last read"),
        [
            (
                str(one["account_id"]),
                one["account_name"],
                f"excluded {one['excluded_at']:%Y-%m-%d}" if one["excluded_at"] else "synchronized",
                Decimal(one["outstanding"]) if one["outstanding"] is not None else None,
                one["open_invoices"],
                one["late_invoices"],
                one["synced_at"],
            )
            for one in documents
        ],
    )


@click.command()
@click.argument("account_ids", type=_AccountIds())
@company_option
@json_option
def exclude(*, account_ids: list[int], company_id: int | None, as_json: bool) -> None:
    """Leave accounts out from the next sync on; what is there of them stays as it is."""
    installation = Installation()
    company = installation.connections.find(company_id).company_id
    new = installation.connections.exclude(company, account_ids, getpass.getuser())
    unknown = sorted(set(account_ids) - _known(installation, company))
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
    ended = installation.connections.include(company, account_ids, getpass.getuser())
    if as_json:
        print_json({"company_id": company, "included": ended})
        return
    stdout.print(f"Synchronized again from the next sync on: {len(ended)} accounts of company {company}.")


def _known(installation: Installation, company_id: int) -> set[int]:
    with installation.warehouse.session() as session:
        if not session.has_table("accounts"):
            return set()
        rows = session.rows(f"SELECT account_id FROM {DATASET}.accounts WHERE company_id = %s", company_id)
    return {int(account_id) for (account_id,) in rows}
