"""The tables equal Pennylane, row by row and to the last digit, whatever happened there."""

from collections.abc import Callable

import pytest

from sandbox.changes import customers, invoices, receipts
from sandbox.changes.randomly import change_randomly
from sandbox.records import Invoice
from sandbox.world import World
from tests.pipelines.company import Company
from tests.pipelines.conftest import MakeCompany, MakeSynced, MakeWarehouse
from tests.pipelines.truth import everything_stored, held

SHORTLY = 120.0
"""Between two syncs here: the day does not end meanwhile, which would make invoices late without an event."""

SECRET_NAME = "Exclusivité Zürcher"

Change = Callable[[World, set[int]], object]


def _invoice_of(world: World, accounts: set[int], **wanted: object) -> Invoice:
    """An open invoice with a number, whose account is (or is not) among some accounts, with nothing shared about it."""
    inside = bool(wanted.get("inside", False))
    return next(
        one
        for one in reversed(list(world.invoices))
        if one.settles
        and one.archived_at is None
        and not one.cancelled
        and one.cents > 0
        and bool(one.matches) == bool(wanted.get("paid", False))
        and all(len(world.transactions[id_].matches) == 1 for id_, _ in one.matches)
        and one.customer_id is not None
        and (one.customer_id in accounts) == inside
    )


def _included_account(world: World, excluded: set[int]) -> int:
    return next(one.id for one in world.customers if one.id not in excluded and one.contacts)


WITH_EVENTS: dict[str, Change] = {
    "a new invoice": lambda world, excluded: invoices.create_invoice(
        world, customer_id=_included_account(world, excluded), amount="1234567890.12", currency="USD"
    ),
    "an invoice without account": lambda world, _: invoices.create_invoice(world, customer_id=None),
    "an invoice of an excluded account": lambda world, excluded: invoices.create_invoice(
        world, customer_id=min(excluded)
    ),
    "a payment": lambda world, excluded: receipts.pay_invoice(world, id=_invoice_of(world, excluded).id),
    "a part payment": lambda world, excluded: receipts.pay_invoice(
        world, id=_invoice_of(world, excluded).id, amount="0.01"
    ),
    "one transaction for several invoices": lambda world, _: receipts.pay_invoices(world),
    "the last payment unmatched": lambda world, excluded: receipts.unmatch_transaction(
        world, id=_invoice_of(world, excluded, paid=True).matches[0][0]
    ),
    "a payment that Pennylane handles": lambda world, excluded: receipts.create_payment(
        world, invoice_id=_invoice_of(world, excluded).id
    ),
    "a new customer": lambda world, _: customers.create_customer(world, name="Œuvres d'Été « Ñandú »", notes=""),
    "a new individual": lambda world, _: customers.create_customer(world, customer_type="individual"),
    "an edited customer": lambda world, excluded: customers.update_customer(
        world, id=_included_account(world, excluded), emails=['a"b@example.org', "ç@example.org"], phone=""
    ),
    "a deleted customer": lambda world, excluded: customers.delete_customer(
        world, id=_included_account(world, excluded)
    ),
    "an edited invoice": lambda world, excluded: invoices.update_invoice(
        world, id=_invoice_of(world, excluded).id, label='a "quoted", label\nof two lines', deadline=None
    ),
    "an invoice moved to another account": lambda world, excluded: invoices.move_invoice(
        world, id=_invoice_of(world, excluded).id, customer_id=_included_account(world, excluded)
    ),
    "an invoice moved to no account": lambda world, excluded: invoices.move_invoice(
        world, id=_invoice_of(world, excluded).id, customer_id=None
    ),
    "an invoice moved to an excluded account": lambda world, excluded: invoices.move_invoice(
        world, id=_invoice_of(world, excluded).id, customer_id=min(excluded)
    ),
    "an invoice moved from an excluded account": lambda world, excluded: invoices.move_invoice(
        world, id=_invoice_of(world, excluded, inside=True).id, customer_id=_included_account(world, excluded)
    ),
    "a credit note": lambda world, excluded: invoices.create_credit_note(
        world, invoice_id=_invoice_of(world, excluded).id
    ),
    "a credit note for a part": lambda world, excluded: invoices.create_credit_note(
        world, invoice_id=_invoice_of(world, excluded).id, percent=30
    ),
    "a draft of a credit note": lambda world, excluded: invoices.create_credit_note(
        world, invoice_id=_invoice_of(world, excluded).id, draft=True
    ),
    "a cancelled invoice": lambda world, excluded: invoices.cancel_invoice(world, id=_invoice_of(world, excluded).id),
    "an archived invoice": lambda world, excluded: invoices.archive_invoice(
        world, id=_invoice_of(world, excluded, paid=True).id
    ),
    "an invoice marked paid by hand": lambda world, excluded: invoices.mark_paid(
        world, id=_invoice_of(world, excluded).id
    ),
    "an estimate": lambda world, _: invoices.create_estimate(world),
    "a new draft": lambda world, _: invoices.create_draft(world),
    "a deleted draft": lambda world, _: invoices.delete_draft(world),
    "a finalized draft": lambda world, _: invoices.finalize_invoice(world),
    "a deleted invoice": lambda world, excluded: invoices.delete_invoice(
        world, id=_invoice_of(world, excluded, paid=True).id
    ),
}

WITHOUT_EVENTS: dict[str, Change] = {
    "a new contact": lambda world, excluded: customers.create_contact(
        world, customer_id=_included_account(world, excluded)
    ),
    "an edited contact": lambda world, _: customers.update_contact(world),
    "a removed contact": lambda world, _: customers.delete_contact(world),
    "the last contact removed": lambda world, excluded: [
        customers.delete_contact(world, id=contact.id)
        for contact in next(
            one for one in world.customers if len(one.contacts) == 1 and one.id not in excluded
        ).contacts
    ],
    "a handled payment that fails": lambda world, _: receipts.update_payment_status(world, status="failed"),
    "a handled payment that arrives": lambda world, _: receipts.update_payment_status(
        world,
        id=next(
            payment.id
            for one in world.invoices
            for payment in one.payments
            if payment.status == "failed" and one.archived_at is None
        ),
        status="confirmed",
    ),
    "one of a transaction's invoices unmatched": lambda world, _: receipts.unmatch_transaction(
        world,
        **next({"id": one.id, "invoice_id": one.matches[0][0]} for one in world.transactions if len(one.matches) > 1),
    ),
}


def _hide(company: Company, count: int) -> None:
    """Exclude some accounts with many invoices, and mark all that must never be seen of them."""
    world = company.world
    owners = [one.customer_id for one in world.invoices if one.customer_id is not None]
    busy = sorted({one for one in owners if world.customers[one].contacts}, key=owners.count)[-count:]
    company.excluded = set(busy)
    for one in busy:
        customers.update_customer(world, id=one, name=SECRET_NAME, notes=SECRET_NAME)
        for contact in world.customers[one].contacts:
            customers.update_contact(world, id=contact.id, email=SECRET_NAME)


def _assert_excluded_unseen(company: Company) -> None:
    served = company.requests["served"]
    # The invoice that moved to one of them is asked for by its id: it might have lost its account only.
    assert sum(served.get(str(one), 0) for one in company.excluded) <= 1
    stored = everything_stored(company.warehouse)
    assert SECRET_NAME not in stored
    tables = held(company.warehouse, company.id)
    for table in ("accounts", "contacts", "invoices", "credit_notes"):
        assert not {row["account_id"] for row in tables[table].values()} & company.excluded


@pytest.mark.parametrize(("database", "changes_per_sync"), [("duckdb", 3), ("postgres", 7)])
def test_tables_equal_pennylane_after_the_first_sync_each_kind_of_change_and_a_full_sync(
    make_company: MakeCompany, warehouse_of: MakeWarehouse, database: str, changes_per_sync: int
) -> None:
    company = make_company(40, 300, warehouse_of(database))
    _hide(company, 2)
    first = company.sync()
    assert first.lists.mode == "first"
    assert company.differences() == []
    assert first.details.pending.ready
    _assert_excluded_unseen(company)

    kinds = list(WITH_EVENTS)
    for at in range(0, len(kinds), changes_per_sync):
        for kind in kinds[at : at + changes_per_sync]:
            WITH_EVENTS[kind](company.world, company.excluded)
        synced = company.sync(after=SHORTLY)
        assert synced.lists.mode == "incremental"
        assert company.differences() == [], f"after {kinds[at : at + changes_per_sync]}"
    _assert_excluded_unseen(company)

    for change in WITHOUT_EVENTS.values():
        change(company.world, company.excluded)
    full = company.sync(after=SHORTLY, full=True)
    assert full.lists.mode == "full"
    assert company.differences() == []
    _assert_excluded_unseen(company)


@pytest.mark.usefixtures("plain_loading")
def test_the_rotation_finds_each_change_that_raises_no_event(make_company: MakeCompany) -> None:
    company = make_company(20, 120)
    receipts.create_payment(company.world)
    receipts.pay_invoices(company.world)
    company.sync()
    for kind, change in WITHOUT_EVENTS.items():
        change(company.world, set())
        assert company.differences() != [], kind
        report = company.sync(after=SHORTLY, rotation=1000, history_seconds=0).details
        assert company.differences() == [], kind
        assert (report.pending.ready, report.pending.requests) == (True, 0), kind


@pytest.mark.usefixtures("plain_loading")
def test_a_full_sync_finds_each_change_that_raises_no_event(make_company: MakeCompany) -> None:
    company = make_company(20, 120)
    receipts.create_payment(company.world)
    receipts.pay_invoices(company.world)
    company.sync()
    for kind, change in WITHOUT_EVENTS.items():
        change(company.world, set())
        assert company.differences() != [], kind
        company.sync(after=SHORTLY, full=True)
        assert company.differences() == [], kind


def test_a_difference_is_noticed(make_synced: MakeSynced) -> None:
    company = make_synced()
    for statement in (
        "UPDATE receivables.invoices SET amount = amount + 0.000001 WHERE invoice_id = (SELECT MIN(invoice_id) FROM "
        "receivables.invoices)",
        "DELETE FROM receivables.payments WHERE payment_id = (SELECT MIN(payment_id) FROM receivables.payments)",
        "UPDATE receivables.accounts SET phone = NULL WHERE phone = ''",
    ):
        with company.warehouse.session() as session:
            session.execute(statement)
    assert {line.split(" ")[0].rstrip(":") for line in company.differences()} == {"invoices", "payments", "accounts"}
    company.sync(full=True)
    assert company.differences() == []


def test_random_changes_in_any_order_end_equal_to_the_truth(make_synced: MakeSynced) -> None:
    company = make_synced()
    for _ in range(6):
        change_randomly(company.world, count=15)
        company.sync(after=SHORTLY, rotation=1000)
        assert company.differences() == []
