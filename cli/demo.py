"""`pennylane-sync demo`: the whole main job once, against the sandbox, in less than a minute."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import requests

from cli.connect import identify, store
from cli.output import print_table, stdout
from cli.running import run_job
from cli.sync import print_changes
from pipelines.tables import DATASET, TABLES
from pipelines.views import VIEWS
from resources.installation import Installation
from resources.oauth import SCOPES, authorize
from resources.settings import Settings
from sandbox.core import CLIENT_ID, CLIENT_SECRET

_CUSTOMERS, _INVOICES = 100, 600

Change = tuple[str, str]
"""What happened at Pennylane, and the SQL that shows what the database says of it now."""


@click.command()
def demo() -> None:
    """Show the main job against a Pennylane sandbox: connect, first sync, changes, hourly sync."""
    began = time.monotonic()
    home = Settings().home / "demo"
    shutil.rmtree(home, ignore_errors=True)
    with _sandbox() as url:
        _point_settings_at(url, home)
        installation = Installation()
        company = _connect(installation, url)
        _say("First sync, a Dagster run")
        print_changes(run_job("initial_sync", company, quiet=False))
        _say("Meanwhile, at Pennylane")
        changes = _change_things(installation, url, company)
        for what, _ in changes:
            stdout.print(f"  {what}", markup=False)
        _say("Hourly sync: the run that the schedule asks for")
        print_changes(run_job("hourly_sync", company, quiet=False))
    _show(installation, changes)
    _say(f"Done in {time.monotonic() - began:.0f} s. To look around")
    stdout.print(_WHAT_NEXT.format(home=home, file=home / "receivables.duckdb"), markup=False, soft_wrap=True)


_WHAT_NEXT = """\
  PENNYLANE_SYNC_HOME={home} \\
      .venv/bin/pennylane-sync start
      Dagster's UI: runs, lineage, schedule and partitions of this demo
      (the sandbox has ended: a further sync says that it cannot be reached)
  {file}
      the DuckDB file; in it: USE receivables.receivables; FROM open_invoices;

To connect a real company, with a company API token or by OAuth (README):
  .venv/bin/pennylane-sync connect --token-stdin
"""


def _say(heading: str) -> None:
    stdout.print()
    stdout.print(heading, style="bold", markup=False)


@contextmanager
def _sandbox() -> Iterator[str]:
    """A sandbox in a process of its own; its address."""
    size = ["--customers", str(_CUSTOMERS), "--invoices", str(_INVOICES)]
    options = ["--port", "0", "--rate-limit", "0", "--control", "--auto-approve"]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "sandbox", *size, *options], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            first_line = process.stdout.readline() if process.stdout else ""
            url = first_line.strip().rpartition(" ")[2]
            if not url.startswith("http"):
                raise click.ClickException("The sandbox did not start; try: pennylane-sync sandbox")
            _say(f"A Pennylane sandbox at {url}")
            stdout.print(f"  {_CUSTOMERS} customers, {_INVOICES} invoices and other documents; its rate limit is off,")
            stdout.print("  to be quick (Pennylane's is 25 requests in 5 seconds).")
            yield url
        finally:
            process.terminate()


def _point_settings_at(url: str, home: Path) -> None:
    for variable in ("WAREHOUSE_URL", "CONNECTIONS_URL", "PENNYLANE_SYNC_KEY", "PENNYLANE_TOKEN_PATH"):
        os.environ[variable] = ""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {
        "PENNYLANE_URL": url,
        "PENNYLANE_CLIENT_ID": CLIENT_ID,
        "PENNYLANE_CLIENT_SECRET": CLIENT_SECRET,
        "PENNYLANE_REDIRECT_URI": f"http://127.0.0.1:{port}/callback",
        "PENNYLANE_SYNC_HOME": str(home),
    }


def _connect(installation: Installation, url: str) -> int:
    """The whole OAuth flow; in the browser's place, a request that follows the redirects of a consent page."""
    _say("Connect by OAuth, and leave two accounts out")
    credential = authorize(
        installation.settings, SCOPES, lambda address: requests.get(address, timeout=30).raise_for_status()
    )
    identified = identify(installation, "oauth", credential, None)
    excluded = [customer["id"] for customer in _control(url, "state")["customers"][:2]]
    connection = store(installation, identified, excluded)
    stdout.print(
        f"  {connection.company_name} (company {connection.company_id}); left out: {excluded[0]}, {excluded[1]}",
        markup=False,
    )
    return connection.company_id


def _change_things(installation: Installation, url: str, company: int) -> list[Change]:
    with installation.warehouse.session() as session:
        unpaid, number = session.rows(
            f"SELECT invoice_id, invoice_number FROM {DATASET}.open_invoices WHERE late ORDER BY invoice_id LIMIT 1"
        )[0]
        draft = session.value(f"SELECT min(invoice_id) FROM {DATASET}.invoices WHERE draft")
        (edited,), (removed,) = session.rows(f"SELECT contact_id FROM {DATASET}.contacts ORDER BY contact_id LIMIT 2")
        account = session.value(f"SELECT min(account_id) FROM {DATASET}.accounts")
    made = _change(url, "create_invoice", customer_id=account)["id"]
    _change(url, "pay_invoice", id=unpaid)
    _change(url, "update_contact", id=edited, role="Directrice financière")
    _change(url, "delete_contact", id=removed)
    _change(url, "delete_draft", id=draft)
    customer = _change(url, "create_customer", name="Crêperie du Port SARL")["id"]
    of = f"WHERE company_id = {company} AND"
    return [
        (
            f"a new invoice, {made}",
            f"SELECT invoice_number || ': ' || status || ', ' || CAST(CAST(currency_amount AS DECIMAL(18, 2)) AS TEXT) "
            f"|| ' ' || currency FROM {DATASET}.invoices {of} invoice_id = {made}",
        ),
        (
            f"late invoice {number} paid",
            f"SELECT status || ', left to be paid ' || CAST(CAST(remaining_amount_with_tax AS DECIMAL(18, 2)) AS TEXT) "
            f"FROM {DATASET}.invoices {of} invoice_id = {unpaid}",
        ),
        (
            f"contact {edited} edited",
            f"SELECT 'role: ' || role FROM {DATASET}.contacts {of} contact_id = {edited}",
        ),
        (f"contact {removed} removed", f"SELECT 'still here' FROM {DATASET}.contacts {of} contact_id = {removed}"),
        (f"draft {draft} deleted", f"SELECT 'still here' FROM {DATASET}.invoices {of} invoice_id = {draft}"),
        (f"a new customer, {customer}", f"SELECT name FROM {DATASET}.accounts {of} account_id = {customer}"),
    ]


def _show(installation: Installation, changes: list[Change]) -> None:
    with installation.warehouse.session() as session:
        rows = [(what, session.rows(query)) for what, query in changes]
        names = [table.name for table in TABLES] + [view.name for view in VIEWS]
        counts = [(name, int(session.value(f"SELECT count(*) FROM {DATASET}.{name}"))) for name in names]
        owing = session.rows(
            f"SELECT account_name, outstanding, late_amount, open_invoices, late_invoices "
            f"FROM {DATASET}.account_balances ORDER BY outstanding DESC LIMIT 10"
        )
    _say("What the database says now")
    print_table(("at Pennylane", "in the database"), [(what, found[0][0] if found else "gone") for what, found in rows])
    stdout.print()
    print_table(("table", "rows"), counts)
    _say("The ten accounts that owe most, in euros")
    print_table(("account", "outstanding", "of that late", "open", "late"), owing)


def _control(url: str, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = requests.get(f"{url}/control/{path}", timeout=60).json()
    return answer


def _change(url: str, kind: str, **arguments: object) -> dict[str, Any]:
    response = requests.post(f"{url}/control/changes/{kind}", json=arguments, timeout=60)
    response.raise_for_status()
    changed: dict[str, Any] = response.json()
    return changed
