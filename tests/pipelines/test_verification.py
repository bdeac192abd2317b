"""`verify` finds what is wrong in the tables, and nothing else; a full sync heals what it finds."""

from decimal import Decimal
from math import ceil

import pytest

from pipelines.errors import BrokenAnswer, PennylaneUnreachable
from pipelines.progress import Progress
from pipelines.tables import ACCOUNTS, CREDIT_NOTES, INVOICES, Column, Table
from pipelines.verification import NeverSynchronized, Verification, Verified
from pipelines.warehouse import DuckDBWarehouse
from sandbox import filters
from sandbox.changes import customers, invoices, receipts
from tests.conftest import DATABASES, ON_POSTGRES
from tests.pipelines.company import DAY, HOUR, WEEK, Company
from tests.pipelines.conftest import MakeCompany, MakeSynced
from tests.pipelines.disturbing import disturb
from tests.pipelines.test_interruptions import failing_after
from tests.pipelines.truth import held

pytestmark = pytest.mark.usefixtures("plain_loading")

TABLES = (ACCOUNTS, INVOICES, CREDIT_NOTES)


def verified(company: Company, **options: bool) -> Verified:
    return Verification(
        company.pennylane(),
        company.warehouse,
        company.id,
        excluded=company.excluded,
        clock=company.clock,
        watch=company.progress.append,
        **options,
    ).run()


def findings(company: Company) -> dict[str, object]:
    """What is not in order, by table and kind of finding; empty where all is well."""
    found = verified(company)
    told: dict[str, object] = {}
    for table, comparison in found.tables.items():
        for what in ("missing", "differing", "left_over", "changed_since", "left_out", "unreadable"):
            if ids := set(getattr(comparison, what)):
                told[f"{table.name} {what}"] = ids
    assert found.equal == (not any(key.split()[1] in ("missing", "differing", "left_over") for key in told))
    return told


def sql(company: Company, statement: str, *parameters: object) -> None:
    """What somebody with a SQL tool does to the tables."""
    with company.warehouse.session() as session:
        session.execute(statement, *parameters)


def some_id(company: Company, table: Table, condition: str = "TRUE") -> int:
    with company.warehouse.session() as session:
        found: int = session.value(
            f"SELECT min({table.id_column}) FROM receivables.{table.name} WHERE account_id IS NOT NULL AND {condition}"
        )
    assert found is not None
    return found


def counted(company: Company) -> dict[str, int]:
    return {name: len(rows) for name, rows in company.held().items() if name in {table.name for table in TABLES}}


@pytest.fixture
def synced(make_synced: MakeSynced) -> Company:
    """A company that is synchronized."""
    return make_synced()


@pytest.fixture(params=DATABASES)
def synced_in_either(make_synced: MakeSynced, request: pytest.FixtureRequest) -> Company:
    """A company that is synchronized, in either database."""
    return make_synced(database=request.param)


def test_after_a_sync_every_row_agrees_and_nothing_is_written(synced: Company) -> None:
    before = held(synced.warehouse, synced.id, with_times=True)
    path = synced.warehouse.path if isinstance(synced.warehouse, DuckDBWarehouse) else None
    content = path.read_bytes() if path else b""

    found = verified(synced)

    assert found.equal
    assert found.differences == 0
    assert {table.name: comparison.agree for table, comparison in found.tables.items()} == counted(synced)
    assert all(sum(comparison.counts.values()) == comparison.agree for comparison in found.tables.values())
    assert synced.progress[-1] == Progress("verification", sum(counted(synced).values()))
    assert held(synced.warehouse, synced.id, with_times=True) == before
    assert (path.read_bytes() if path else b"") == content


def test_a_deleted_row_is_missing_until_a_full_sync(synced: Company) -> None:
    gone = {table: some_id(synced, table) for table in TABLES}
    for table, one in gone.items():
        sql(synced, f"DELETE FROM receivables.{table.name} WHERE {table.id_column} = {one}")
    missing = {f"{table.name} missing": {one} for table, one in gone.items()}
    assert findings(synced) == missing
    synced.sync()
    assert findings(synced) == missing
    synced.sync(full=True)
    assert findings(synced) == {}
    assert synced.differences() == []


def test_an_emptied_table_is_missing_wholly_until_a_full_sync(synced_in_either: Company) -> None:
    company = synced_in_either
    missing = {}
    for table in TABLES:
        missing[f"{table.name} missing"] = {key[1] for key in company.held()[table.name]}
        sql(company, f"DELETE FROM receivables.{table.name}")
        assert findings(company) == missing
    company.lists_only(full=True)
    assert findings(company) == {}


@pytest.mark.through_dlt
def test_every_changed_field_is_found_with_both_values(synced_in_either: Company) -> None:
    """Whatever the column's type, to the last digit; the columns that we fill ourselves are none of Pennylane's."""
    company = synced_in_either
    rows = {table: company.held()[table.name][company.id, some_id(company, table)] for table in TABLES}
    for table, row in rows.items():
        for column in _compared(table):
            value = "42" if column.type.value == "json" else _another(row[column.name], column.type.value)
            where = f"{table.id_column} = {row[table.id_column]}"
            sql(company, f"UPDATE receivables.{table.name} SET {column.name} = %s WHERE {where}", value)
    sql(company, "UPDATE receivables.invoices SET payments_synced_at = NULL")

    found = verified(company, details=True).tables

    for table, row in rows.items():
        there = {name: value for name, (_, value) in found[table].differing.pop(row[table.id_column]).items()}
        assert there == {column.name: row[column.name] for column in _compared(table)}
        assert not found[table].differing
    company.lists_only(full=True)
    assert findings(company) == {}


def _compared(table: Table) -> list[Column]:
    return [column for column in table.columns if column.path and column.name != table.id_column]


def _another(value: object, type_: str) -> object:
    if type_.startswith("decimal"):
        return (value if isinstance(value, Decimal) else Decimal(0)) + Decimal("0.000001")
    others: dict[str, object] = {
        "bigint": 7,
        "text": "changed by hand",
        "boolean": not value,
        "date": "2001-02-03",
        "timestamp with time zone": "2001-02-03T04:05:06+00:00",
    }
    return others[type_]


def test_values_are_kept_only_when_they_are_asked_for(synced: Company) -> None:
    one = some_id(synced, INVOICES)
    sql(synced, f"UPDATE receivables.invoices SET amount = 1 WHERE invoice_id = {one}")
    assert verified(synced).tables[INVOICES].differing == {one: {}}


def test_a_row_that_pennylane_does_not_have_is_left_over_until_a_full_sync(synced: Company) -> None:
    """Whenever it says that it was read."""
    strays: dict[str, set[int]] = {}
    for table in TABLES:
        columns = ", ".join(one.name for one in table.columns if one.name not in (table.id_column, "synced_at"))
        one = some_id(synced, table)
        for stray, synced_at in enumerate(("synced_at", "NULL", "TIMESTAMPTZ '2999-01-01 00:00+00'"), one + 1):
            assert (synced.id, stray) not in synced.held()[table.name]
            sql(
                synced,
                f"INSERT INTO receivables.{table.name} ({table.id_column}, synced_at, {columns}) "
                f"SELECT {stray}, {synced_at}, {columns} FROM receivables.{table.name} WHERE {table.id_column} = {one}",
            )
            strays.setdefault(f"{table.name} left_over", set()).add(stray)
    assert findings(synced) == strays
    synced.sync(full=True)
    assert findings(synced) == {}


@pytest.mark.through_dlt
def test_a_row_that_is_there_twice_is_left_over_until_a_full_sync(make_synced: MakeSynced) -> None:
    company = make_synced()
    one = some_id(company, INVOICES)
    if ON_POSTGRES:
        sql(company, "ALTER TABLE receivables.invoices DROP CONSTRAINT invoices_pkey")
    sql(company, f"INSERT INTO receivables.invoices SELECT * FROM receivables.invoices WHERE invoice_id = {one}")
    assert findings(company) == {"invoices left_over": {one}}
    company.sync(full=True)
    assert findings(company) == {}
    assert company.differences() == []


def test_what_changed_since_the_last_sync_is_told_apart_and_the_next_sync_brings_it(synced: Company) -> None:
    world = synced.world
    new = customers.create_customer(world)["id"]
    renamed = customers.update_customer(world, name="Renamed SARL")["id"]
    made = invoices.create_invoice(world, customer_id=new)["id"]
    gone = next(one.id for one in world.invoices if one.settles and not one.matches and one.id != made)
    gone_kind = "invoices" if (synced.id, gone) in synced.held()["invoices"] else "credit_notes"
    invoices.delete_invoice(world, id=gone)
    damaged = next(key[1] for key in synced.held()["invoices"] if key[1] not in (made, gone))
    sql(synced, f"DELETE FROM receivables.invoices WHERE invoice_id = {damaged}")

    told = findings(synced)

    assert told["invoices missing"] == {damaged}
    assert told["accounts changed_since"] == {new, renamed}
    changed = {one for key in told if key.endswith("s changed_since") for one in told[key]}  # type: ignore[attr-defined]
    assert changed >= {made, gone}
    assert gone in told[f"{gone_kind} changed_since"]  # type: ignore[operator]
    assert not any(key.endswith(("differing", "left_over")) for key in told)
    synced.sync()
    assert findings(synced) == {"invoices missing": {damaged}}


def test_a_change_whose_event_has_not_come_yet_is_no_difference_but_one_that_never_comes_is(
    make_synced: MakeSynced,
) -> None:
    """The record's own time tells the first; after the next sync, which it does not reach, it is stale."""
    company = make_synced()
    company.world.clock.advance(60)
    made = invoices.create_invoice(company.world)["id"]
    _forget_events_of(company, made)
    assert findings(company) == {"invoices changed_since": {made}}
    company.sync()
    assert findings(company) == {"invoices missing": {made}}
    company.sync(full=True)
    assert findings(company) == {}


def _forget_events_of(company: Company, one: int) -> None:
    """As if Pennylane had raised none."""
    feed = company.world.invoice_feed
    kept = [event for event in feed._events if event.id != one]
    feed._moments[:] = [moment for moment, event in zip(feed._moments, feed._events, strict=True) if event in kept]
    feed._events[:] = kept


def test_an_invoice_that_only_became_late_is_no_difference(make_synced: MakeSynced) -> None:
    company = make_synced()
    with company.warehouse.session() as session:
        deadline = session.value("SELECT min(deadline) FROM receivables.invoices WHERE status = 'upcoming'")
    days = (deadline - company.clock().date()).days + 2
    company.world.clock.advance(days * DAY)
    late = {
        one.id for one in company.world.invoices if (company.id, one.id) in company.held()["invoices"]
    } & _turned_late(company)
    assert late
    assert findings(company) == {"invoices changed_since": late}
    company.sync()
    assert findings(company) == {}

    one = min(late)
    sql(company, f"UPDATE receivables.invoices SET status = 'upcoming' WHERE invoice_id = {one}")
    assert findings(company) == {"invoices differing": {one}}


def _turned_late(company: Company) -> set[int]:
    """Those whose status is not the one that we hold."""
    return {int(line.split(",")[1].split(")")[0]) for line in company.differences() if ": status is" in line}


def test_after_more_than_four_weeks_it_is_said_that_changes_cannot_be_told_from_damage(
    make_synced: MakeSynced,
) -> None:
    company = make_synced()
    company.world.clock.advance(60)
    made = invoices.create_invoice(company.world)["id"]
    company.world.clock.advance(5 * WEEK)
    found = verified(company)
    assert not found.feeds_reach_back
    assert made in found.tables[INVOICES].changed_since  # its own time tells
    company.sync()
    assert verified(company).feeds_reach_back
    assert findings(company) == {}


def test_excluded_accounts_are_not_asked_for_and_none_of_theirs_is_missing(company: Company) -> None:
    ids = [one.id for one in company.world.customers]
    company.excluded = set(ids[:3])
    company.sync()
    company.forget_requests()
    assert findings(company) == {}
    assert not company.requests["served"].keys() & {str(one) for one in company.excluded}


def test_what_is_kept_of_an_account_excluded_later_is_not_judged(synced: Company) -> None:
    account = _owner(synced)
    synced.excluded = {account}
    customers.update_customer(synced.world, id=account, name="Renamed while excluded")
    assert findings(synced) == {}, "from the moment of the exclusion on"
    synced.sync()
    invoices.create_invoice(synced.world, customer_id=account)
    sql(synced, f"UPDATE receivables.invoices SET amount = 0 WHERE account_id = {account}")
    assert findings(synced) == {}


def test_an_account_that_is_included_again_is_judged_from_the_next_sync_on(synced: Company) -> None:
    account = _owner(synced)
    synced.excluded = {account}
    synced.sync()
    invoices.create_invoice(synced.world, customer_id=account)
    synced.excluded = set()
    assert findings(synced) == {}
    synced.sync()
    assert findings(synced) == {}
    one = some_id(synced, INVOICES, f"account_id = {account}")
    sql(synced, f"DELETE FROM receivables.invoices WHERE invoice_id = {one}")
    assert findings(synced) == {"invoices missing": {one}}


@pytest.mark.parametrize("when", ["before", "later"])
def test_documents_of_an_excluded_account_that_was_deleted_are_never_reported(company: Company, when: str) -> None:
    """They have no account any more, and stay as they are, or out, for ever."""
    account = _owner(company)
    if when == "later":
        company.sync()
    company.excluded = {account}
    company.sync()
    theirs = {one.id for one in company.world.invoices if one.customer_id == account}
    customers.delete_customer(company.world, id=account)
    for full in (False, True):
        company.sync(full=full)
        found = verified(company)
        assert found.equal
        left_out = found.tables[INVOICES].left_out | found.tables[CREDIT_NOTES].left_out
        assert left_out
        assert left_out <= theirs


@pytest.mark.parametrize("filter_loses_them", [False, True])
def test_a_document_without_an_account_is_judged_though_accounts_are_left_out(
    company: Company, filter_loses_them: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if filter_loses_them:
        _filters_lose_documents_without_an_account(monkeypatch)
    orphan = invoices.create_invoice(company.world, customer_id=None)["id"]
    company.sync()
    company.excluded = {_owner(company)}
    company.sync()
    assert orphan in {key[1] for key in company.held()["invoices"]}
    assert "invoices left_over" not in findings(company)
    sql(company, f"UPDATE receivables.invoices SET amount = 0 WHERE invoice_id = {orphan}")
    assert verified(company).tables[INVOICES].differing.keys() == {orphan}
    company.sync(full=True)
    assert "invoices differing" not in findings(company)
    sql(company, f"UPDATE receivables.invoices SET invoice_id = 1 WHERE invoice_id = {orphan}")
    assert verified(company).tables[INVOICES].left_over == {1}


def _filters_lose_documents_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    holds = filters._holds
    monkeypatch.setattr(
        filters,
        "_holds",
        lambda name, actual, wanted: (actual is not None or name != "not_in") and holds(name, actual, wanted),
    )


def _owner(company: Company) -> int:
    """An account with several documents."""
    owners = [one.customer_id for one in company.world.invoices if one.customer_id and one.settles]
    return max(owners, key=lambda one: (owners.count(one), one))


def test_where_most_cannot_be_read_nothing_is_said_to_be_equal(make_synced: MakeSynced) -> None:
    company = make_synced()
    for invoice in company.world.invoices:
        invoice.extra = {"amount": "unreadable"}
    with pytest.raises(BrokenAnswer, match="invoices cannot be read"):
        verified(company)


def test_a_record_that_cannot_be_read_is_said_to_be_so_and_not_to_be_missing(company: Company) -> None:
    held_before = next(one for one in company.world.invoices if one.settles)
    company.sync()
    never_held = company.world.invoices[invoices.create_invoice(company.world)["id"]]
    for broken in (held_before, never_held):
        broken.extra = {"amount": "unreadable"}
        company.world.invoice_changed(broken, "update", company.world.clock.microseconds())
    company.sync()
    assert findings(company) == {"invoices unreadable": {held_before.id, never_held.id}}

    for one in (held_before, never_held):
        one.extra = {}
    assert findings(company) == {"invoices changed_since": {held_before.id, never_held.id}}
    company.sync()
    assert findings(company) == {}


def test_payments_that_came_in_meanwhile_are_changes_and_no_differences(make_synced: MakeSynced) -> None:
    company = make_synced()
    paid = receipts.pay_invoice(company.world)
    told = findings(company)
    assert set(told) == {"invoices changed_since"}
    assert paid
    company.sync()
    assert findings(company) == {}


@pytest.mark.parametrize(("accounts", "documents"), [(0, 0), (20, 100), (250, 2500)])
def test_it_takes_a_request_per_hundred_rows(make_company: MakeCompany, accounts: int, documents: int) -> None:
    company = make_company(accounts, documents)
    company.lists_only()
    company.forget_requests()
    verified(company)
    notes = sum(one.kind == "credit_note" for one in company.world.invoices)
    pages = [ceil(number / 100) for number in (accounts, documents - notes, notes)]
    assert company.requests["total"] <= sum(max(1, one) for one in pages) + 2 + 2


def test_a_company_without_a_finished_first_sync_has_nothing_to_verify(company: Company) -> None:
    with pytest.raises(NeverSynchronized, match="pennylane-sync activate"):
        verified(company)


def test_an_error_in_the_middle_ends_it_and_finds_nothing(make_synced: MakeSynced) -> None:
    company = make_synced()
    with pytest.raises(PennylaneUnreachable):
        Verification(
            failing_after(company, 1),
            company.warehouse,
            company.id,
            excluded=(),
            clock=company.clock,
            watch=lambda _: None,
        ).run()


def test_more_exclusions_than_fit_in_an_address_make_no_difference(make_company: MakeCompany) -> None:
    company = make_company(1300, 700)
    ids = [one.id for one in company.world.customers]
    company.lists_only()
    company.excluded = set(ids[50:1250])
    company.lists_only()
    assert findings(company) == {}
    one, other = [row["invoice_id"] for row in company.held()["invoices"].values() if row["account_id"] in ids[:50]][:2]
    sql(company, f"DELETE FROM receivables.invoices WHERE invoice_id = {one}")
    sql(company, f"UPDATE receivables.invoices SET account_id = {ids[-1]} WHERE invoice_id = {other}")
    assert findings(company) == {"invoices missing": {one}, "invoices differing": {other}}


@pytest.mark.parametrize("size", [1, 7])
def test_how_much_is_compared_at_once_makes_no_difference(
    company: Company, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    company.sync(after=HOUR)
    monkeypatch.setattr("pipelines.verification._ROWS_AT_ONCE", size)
    monkeypatch.setattr("pipelines.verification._IDS_AT_ONCE", size)
    assert findings(company) == {}
    one = some_id(company, INVOICES)
    sql(company, f"UPDATE receivables.invoices SET invoice_id = {one + 1} WHERE invoice_id = {one}")
    assert findings(company) == {"invoices missing": {one}, "invoices left_over": {one + 1}}


def test_a_row_whose_record_comes_without_its_id_is_not_judged(synced: Company) -> None:
    hidden = synced.world.customers.at(2).id
    disturb(synced, "v2/customers$", kind="changed", item={"id": None}, only_ids=[hidden])
    synced.sync(full=True)
    found = verified(synced)
    assert found.equal
    assert found.tables[ACCOUNTS].counts["unreadable"] == 1
