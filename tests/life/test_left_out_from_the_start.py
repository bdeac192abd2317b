"""An account excluded before its first sync: nothing of it is asked for, and nothing of it ever reaches the disk."""

from pathlib import Path

from sandbox.changes import customers, invoices, receipts
from sandbox.server import SandboxServer
from tests.program import Program

MARK = "Quetzalcoatlus"
PHONE = "+33698765432"
IBAN = "FR7612345987650123456789014"


def _mark(sandbox: SandboxServer) -> int:
    """An account with marks in all that can be told of it: name, address, contact, invoices, payments."""
    world = sandbox.world
    account = customers.create_customer(
        world,
        customer_type="company",
        name=f"{MARK} SARL",
        phone=PHONE,
        notes=f"{MARK} notes",
        reference=f"{MARK}-REF",
        emails=[f"compta@{MARK.lower()}.example"],
        billing_iban=IBAN,
        billing_address={"address": f"1 rue {MARK}", "postal_code": "75001", "city": MARK, "country_alpha2": "FR"},
    )["id"]
    customers.create_contact(world, customer_id=account, last_name=MARK, email=f"a@{MARK.lower()}.example")
    _change_something(sandbox, account)
    return int(account)


def _change_something(sandbox: SandboxServer, account: int) -> None:
    invoice = invoices.create_invoice(sandbox.world, customer_id=account, label=f"{MARK} facture")["id"]
    receipts.pay_invoice(sandbox.world, id=invoice, amount="1.00")
    receipts.create_payment(sandbox.world, invoice_id=invoice)
    invoices.create_credit_note(sandbox.world, invoice_id=invoice)
    customers.update_customer(sandbox.world, id=account, notes=f"{MARK} again")


def _files_that_hold(home: Path, *texts: str) -> list[str]:
    """Files below a folder in which one of the texts stands, in whatever case; tables are read as tables, too."""
    needles = [text.lower().encode() for text in texts]
    return [
        str(path.relative_to(home))
        for path in home.rglob("*")
        if path.is_file() and any(needle in path.read_bytes().lower() for needle in needles)
    ]


def _tables_that_hold(program: Program, *texts: str) -> list[str]:
    tables = program.rows(
        "SELECT table_catalog, table_schema, table_name FROM information_schema.tables "
        "WHERE table_schema LIKE 'receivables%'"
    )
    return [
        name
        for catalog, schema, name in tables
        for rows in [str(program.rows(f'SELECT one::TEXT FROM "{catalog}"."{schema}"."{name}" AS one')).lower()]
        if any(text.lower() in rows for text in texts)
    ]


def test_nothing_of_it_is_asked_for_nor_reaches_the_disk_through_first_hourly_and_full_sync(
    program: Program, sandbox: SandboxServer
) -> None:
    account = _mark(sandbox)
    invoice_ids = [str(one.id) for one in sandbox.world.invoices if one.customer_id == account]
    kept = next(one for one in sandbox.world.customers if one.id != account)

    assert program.run("connect", "--token-stdin", "--exclude", str(account), stdin=sandbox.token()).status == 0
    _change_something(sandbox, account)
    program.done("sync")
    program.done("sync", "--full")

    served = sandbox.sandbox.statistics.report()["served"]
    assert served
    assert str(account) not in {str(one) for one in served}
    assert _tables_that_hold(program, kept.name)
    assert _tables_that_hold(program, MARK, PHONE, IBAN) == []
    assert _files_that_hold(program.home, MARK, PHONE, IBAN, *invoice_ids) == []
    assert list((program.home / "dlt").rglob("*")) == []


def test_it_may_be_excluded_any_time_before_the_first_sync(program: Program, sandbox: SandboxServer) -> None:
    account = _mark(sandbox)

    program.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token())
    program.run("exclude", f"https://app.pennylane.com/companies/1/customers?id={account}")
    program.done("activate")

    assert account not in program.accounts(sandbox.world.id)
    assert _tables_that_hold(program, MARK, PHONE, IBAN) == []
