"""Rows reach both databases through files: to the last digit and the last odd character."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.landing import Landing
from pipelines.records import LONGEST_TEXT, MAX_ID, Row, to_row
from pipelines.tables import INVOICES, Type
from pipelines.warehouse import Warehouse

COMPANY = 1
SYNCED_AT = datetime(2026, 9, 15, tzinfo=UTC)
_JSON = st.recursive(st.none() | st.text(), st.lists, max_leaves=3)
_API_VALUES: dict[Type, st.SearchStrategy[Any]] = {
    Type.ID: st.integers(0, MAX_ID),
    Type.TEXT: st.text() | st.sampled_from(["", "NULL", "\\N", "\r", "\n", '"', ",", "\\", " x ", "#", "\\.", "'"]),
    Type.BOOLEAN: st.booleans(),
    Type.DATE: st.dates().map(date.isoformat),
    Type.TIMESTAMP: st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)).map(  # noqa: DTZ001
        datetime.isoformat
    ),
    Type.AMOUNT: st.decimals(Decimal("-1e31"), Decimal("1e31"), places=6).map(str),
    Type.RATE: st.decimals(Decimal("-1e25"), Decimal("1e25"), places=12).map(str),
    Type.JSON: _JSON,
}


def _record(**fields: Any) -> Row:
    return to_row(INVOICES, fields, company_id=COMPANY, synced_at=SYNCED_AT)


def _records() -> st.SearchStrategy[dict[str, Any]]:
    """Fields of a record of the API, without its id; those inside others are left out."""
    fields = {
        column.path: st.none() | _API_VALUES[column.type]
        for column in INVOICES.columns
        if column.path and "." not in column.path and column.path != "id"
    }
    return st.fixed_dictionaries(fields)


def _held(warehouse: Warehouse) -> list[Row]:
    names = [column.name for column in INVOICES.columns]
    with warehouse.session() as session:
        rows = session.rows(f"SELECT {', '.join(names)} FROM receivables.invoices ORDER BY invoice_id")
    return [dict(zip(names, row, strict=True)) for row in rows]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_records(), min_size=20, max_size=40))
def test_whatever_a_row_holds_is_in_the_table(
    any_warehouse: Warehouse, tmp_path: Path, records: list[dict[str, Any]]
) -> None:
    rows = [_record(id=number, **fields) for number, fields in enumerate(records)]
    with Landing.opened(any_warehouse, COMPANY, tmp_path / "dlt") as landing:
        with any_warehouse.session() as session:
            session.execute("DELETE FROM receivables.invoices")
        landing.land({INVOICES: rows})
    assert _held(any_warehouse) == rows


@pytest.mark.parametrize(
    "label", [one * (LONGEST_TEXT - 100) for one in 'x"😀'], ids=["ascii", "quotes", "of four bytes"]
)
def test_a_text_of_millions_of_characters_is_a_text(any_warehouse: Warehouse, tmp_path: Path, label: str) -> None:
    with Landing.opened(any_warehouse, COMPANY, tmp_path / "dlt") as landing:
        landing.land({INVOICES: [_record(id=1, label=label), _record(id=2, label="short")]})
    assert [row["label"] for row in _held(any_warehouse)] == [label, "short"]
