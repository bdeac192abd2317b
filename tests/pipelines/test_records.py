"""From a record to a row: exact, tolerant of what is new, and strict about what cannot be kept."""

from datetime import UTC, date, datetime
from decimal import Decimal
from types import NoneType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kinds import INVOICE, Reader
from pipelines.records import UnreadableRecord, to_row
from pipelines.tables import ACCOUNTS, CONTACTS, CREDIT_NOTES, INVOICES, PAYMENTS, Table, Type
from pipelines.warehouse import Warehouse
from sandbox.changes import customers, invoices, receipts
from tests.pipelines.company import Company
from tests.pipelines.conftest import MakeCompany, MakeSynced

FILLED = {"company_id": 1, "synced_at": datetime(2026, 9, 15, tzinfo=UTC)}
STRANGE: dict[str, Any] = {
    "amount": "1234567890123.123456",
    "date": "0001-01-01",
    "deadline": "9999-12-31",
    "status": "a_status_of_the_future",
    "currency": "XBT",
    "exchange_rate": "0.000000000001",
    "created_at": "0001-01-01T00:00:00Z",
    "customer": {"id": 2**53 + 1},
    "label": 'NUL \x00, whole 😀, "quotes", \\ and a\r\nnew line',
    "a_field_of_the_future": {"nested": [1, 2]},
    "paid": None,
    "draft": None,
}


def _invoice(**fields: Any) -> dict[str, Any]:
    return to_row(INVOICES, {"id": 1, **fields}, **FILLED)


_KEPT_AS: dict[Type, tuple[type, ...]] = {
    Type.ID: (int, NoneType),
    Type.TEXT: (str, NoneType),
    Type.BOOLEAN: (bool, NoneType),
    Type.DATE: (date, NoneType),
    Type.TIMESTAMP: (datetime, NoneType),
    Type.AMOUNT: (Decimal, NoneType),
    Type.RATE: (Decimal, NoneType),
    Type.JSON: (str, NoneType),
}

amounts = st.decimals(
    min_value=Decimal("-1e31"), max_value=Decimal("1e31"), places=6, allow_nan=False, allow_infinity=False
)


@given(amounts)
def test_amounts_are_exact_to_six_places(amount: Decimal) -> None:
    for written in (str(amount), f"{amount:f}", amount):
        assert _invoice(amount=written)["amount"] == amount


@given(st.integers(0, 2**63 - 1))
def test_ids_are_exact(one: int) -> None:
    assert _invoice(customer={"id": one})["account_id"] == one
    assert _invoice(customer={"id": str(one)})["account_id"] == one


@given(st.dates())
def test_dates_are_kept(day: date) -> None:
    assert _invoice(date=day.isoformat())["date"] == day


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.timezones()))  # noqa: DTZ001
def test_times_are_kept_in_utc(moment: datetime) -> None:
    kept = _invoice(created_at=moment.isoformat())["created_at"]
    assert kept == datetime.fromisoformat(moment.isoformat())
    assert kept.tzinfo is UTC


@given(st.text())
def test_text_can_be_stored_and_is_kept_where_it_can_be(text: str) -> None:
    kept = _invoice(label=text)["label"]
    assert kept.encode().decode() == kept
    assert "\x00" not in kept
    if "\x00" not in text:
        assert kept == text


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.decimals(), st.lists, max_leaves=5))
def test_no_value_does_worse_than_being_unreadable(value: Any) -> None:
    for table in (ACCOUNTS, CONTACTS, INVOICES, CREDIT_NOTES, PAYMENTS):
        names = {(column.path or "").split(".")[0] for column in table.columns} - {"", "id"}
        for name in names:
            try:
                row = to_row(table, {"id": 1, name: value}, **FILLED, account_id=1, invoice_id=1, kind="payment")
            except UnreadableRecord:
                continue
            for column in table.columns:
                assert isinstance(row[column.name], _KEPT_AS[column.type])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "12,50"),
        ("amount", "0.0000001"),
        ("amount", "1e40"),
        ("amount", "NaN"),
        ("amount", "Infinity"),
        ("amount", "1_000.5"),
        ("amount", "١٢"),
        ("amount", {"value": "1"}),
        ("amount", [1]),
        ("date", "31/12/2026"),
        ("date", "2026-02-30"),
        ("date", 20260101),
        ("created_at", "yesterday"),
        ("created_at", "0001-01-01T00:00:00+14:00"),
        ("draft", "false"),
        ("paid", 1),
        ("customer", 12),
        ("customer", {"id": 1.5}),
        ("customer", {"id": True}),
        ("customer", {"id": 2**63}),
        ("customer", {"id": -1}),
        ("customer", {"id": "1_0"}),
        ("customer", {"id": "١٢"}),
        ("discount", "10 %"),
    ],
)
def test_what_cannot_be_kept_without_loss_is_unreadable_and_not_shown(field: str, value: Any) -> None:
    with pytest.raises(UnreadableRecord) as error:
        _invoice(**{field: value})
    assert str(error.value).startswith(f"invoices 1: {field}")
    assert str(value) not in str(error.value).removeprefix("invoices 1: ")


def test_empty_text_says_nothing_where_no_text_is_expected_and_is_a_text_elsewhere() -> None:
    empty = {"amount": "", "exchange_rate": "", "date": "", "created_at": "", "paid": "", "customer": {"id": ""}}
    row = _invoice(**empty, label="", discount={"type": "", "value": ""})
    assert {row[name] for name in ("amount", "exchange_rate", "date", "created_at", "paid", "account_id")} == {None}
    assert (row["label"], row["discount_type"], row["discount_value"]) == ("", "", None)


@pytest.mark.parametrize("table", [ACCOUNTS, CONTACTS, INVOICES, CREDIT_NOTES, PAYMENTS], ids=lambda table: table.name)
def test_null_everywhere_makes_a_row_of_nulls(table: Table) -> None:
    names = {(column.path or "").split(".")[0] for column in table.columns} - {"", "id"}
    row = to_row(table, {"id": 1, **dict.fromkeys(names)}, **FILLED, account_id=1, invoice_id=1, kind="payment")
    assert row.keys() >= {column.name for column in table.columns}
    assert {name for name, value in row.items() if value is not None} <= {
        *FILLED,
        *table.key,
        "account_id",
        "invoice_id",
        "kind",
    }


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert _invoice(label="half \ud83d, whole 😀")["label"] == "half \ufffd, whole 😀"


def test_an_excluded_account_is_dropped_unread() -> None:
    reader = Reader(1, frozenset({7}), lambda: FILLED["synced_at"])  # type: ignore[arg-type, return-value]
    assert reader.rows(INVOICE, [{"id": 1, "customer": {"id": 7}, "amount": "unreadable"}]) == []
    assert reader.unreadable == {}


def test_strange_but_readable_records_reach_the_tables(make_company: MakeCompany, any_warehouse: Warehouse) -> None:
    company = make_company(5, 20, any_warehouse)
    invoice = next(one for one in company.world.invoices if one.settles)
    invoice.extra = {**(invoice.extra or {}), **STRANGE}
    customers.update_customer(company.world, id=company.world.customers.at(0).id, emails=["nul\x00@example.org"])
    company.sync()
    row = company.held()["invoices"][company.id, invoice.id]
    assert row["amount"] == Decimal("1234567890123.123456")
    assert row["date"] == date(1, 1, 1)
    assert row["deadline"] == date(9999, 12, 31)
    assert row["created_at"] == datetime(1, 1, 1, tzinfo=UTC)
    assert row["account_id"] == 2**53 + 1
    assert (row["status"], row["currency"]) == ("a_status_of_the_future", "XBT")
    assert row["exchange_rate"] == Decimal("0.000000000001")
    assert row["label"] == 'NUL \ufffd, whole 😀, "quotes", \\ and a\r\nnew line'
    assert row["paid"] is None
    assert company.sync(full=True).tally["invoices"].changed == 0


@pytest.mark.usefixtures("plain_loading")
def test_an_unreadable_record_stops_nothing_but_itself_and_what_we_hold_of_it_stays(make_synced: MakeSynced) -> None:
    company = make_synced()
    world = company.world
    broken = next(one for one in world.invoices if one.settles and not one.extra)
    before = company.held()["invoices"][company.id, broken.id]
    broken.extra = {"amount": "unreadable"}
    invoices.update_invoice(world, id=broken.id, label="changed")
    invoices.create_invoice(world)
    for full in (False, False, True):
        synced = company.sync(after=60, full=full)
        assert synced.lists.unreadable == [f"invoices {broken.id}: amount is no decimal(38, 6)"]
        assert company.held()["invoices"][company.id, broken.id] == before
    broken.extra = None
    assert {line.split(":")[0] for line in company.differences()} == {f"invoices ({company.id}, {broken.id})"}
    synced = company.sync(after=60)
    assert synced.lists.unreadable == []
    assert company.differences() == []


def test_an_unreadable_record_that_is_deleted_goes(make_synced: MakeSynced) -> None:
    company = make_synced()
    broken = next(one for one in company.world.invoices if one.settles and not one.extra)
    broken.extra = {"amount": "unreadable"}
    invoices.update_invoice(company.world, id=broken.id)
    company.sync(after=60)
    invoices.delete_invoice(company.world, id=broken.id)
    company.sync(after=60)
    assert company.differences() == []


@pytest.mark.usefixtures("plain_loading")
def test_an_unreadable_payment_keeps_the_one_we_hold_and_lets_the_others_through(company: Company) -> None:
    invoice_id = next(one.id for one in company.world.invoices if one.settles and not one.matches and one.cents > 1000)
    first = receipts.create_payment(company.world, invoice_id=invoice_id, amount="1.00")["id"]
    company.sync()
    invoice = company.world.invoices[invoice_id]
    payment = next(one for one in invoice.payments if one.id == first)
    payment.currency_cents = 10**45
    second = receipts.create_payment(company.world, invoice_id=invoice_id, amount="2.00")["id"]
    synced = company.sync(after=60)
    said = f"payments {first} of invoice {invoice_id}: currency_amount is no decimal(38, 6)"
    assert synced.details.unreadable == [said]
    held = {key[3] for key in company.held()["payments"] if key[1] == invoice_id and key[2] == "payment"}
    assert held >= {first, second}
    tried_again = company.sync(after=60)
    assert (tried_again.details.unreadable, tried_again.list_requests) == ([said], 2)
    assert tried_again.detail_requests == 1  # its invoice, which did not change, is not asked for
    payment.currency_cents = 200
    assert company.sync(after=60).details.unreadable == []
    assert company.differences() == []


def test_an_excluded_account_is_known_whatever_way_its_id_is_written() -> None:
    reader = Reader(1, frozenset({5}), lambda: datetime(2026, 9, 15, tzinfo=UTC))
    assert reader.rows(INVOICE, [{"id": 1, "customer": {"id": "5"}}, {"id": 2, "customer": {"id": 5}}]) == []
    assert len(reader.rows(INVOICE, [{"id": 3, "customer": {"id": "6"}}])) == 1


def test_texts_that_no_database_would_take_in_make_a_record_unreadable_and_long_ones_reach_the_tables(
    company: Company, any_warehouse: Warehouse
) -> None:
    with pytest.raises(UnreadableRecord, match="2,000,000 characters"):
        _invoice(label="é" * 1_000_001, special_mention='"' * 1_000_000)
    company.warehouse = any_warehouse
    company.world.invoices.at(0).label = '"é' * 300_000
    company.sync()
    assert company.differences() == []
