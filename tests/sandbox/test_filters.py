"""Filters: what is refused, what values may look like, and that every page agrees with a plain reading of the words."""

import operator
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.clock import Clock
from sandbox.core import Settings
from sandbox.filters import CUSTOMER_FIELDS, INVOICE_FIELDS, TRANSACTION_FIELDS, Field
from sandbox.generator.books import make_world
from sandbox.server import SandboxServer
from tests.sandbox.client import Caller, caller, described_parameter, described_paths
from tests.sandbox.conftest import NOW

FIELDS: dict[str, dict[str, Field[Any]]] = {
    "/customers": CUSTOMER_FIELDS,
    "/customer_invoices": INVOICE_FIELDS,
    "/transactions": TRANSACTION_FIELDS,
}
COMPARE = {"lt": operator.lt, "lteq": operator.le, "gt": operator.gt, "gteq": operator.ge}


@pytest.fixture(scope="module")
def shared() -> Iterator[SandboxServer]:
    world = make_world(Clock(NOW, frozen=True), customers=20, invoices=180, seed=5)
    with SandboxServer(world, settings=Settings(rate_limit=0, control=True)) as server:
        yield server


@pytest.fixture(scope="module")
def records(shared: SandboxServer) -> dict[str, list[dict[str, Any]]]:
    """Everything each list holds, as read from the API without any filter; credit notes as the control address says."""
    api = caller(shared)
    records = {path: api.items(path, limit=100, sort="id") for path in FIELDS}
    rows = shared.world.invoices
    for record in records["/customer_invoices"]:
        record["is_credit_note"] = rows[record["id"]].kind == "credit_note"
    return records


def _read(field: str, record: dict[str, Any]) -> Any:
    """A field's value in a record of the API; a plain reading, independent of the sandbox's own table."""
    if field == "credit_note":
        return record["is_credit_note"]
    if field == "flow_id":
        flow = (record["e_invoicing"] or {}).get("flow")
        return flow["id"] if flow else None
    if field.endswith("_id"):
        linked = record[field.removesuffix("_id")]
        return linked["id"] if linked else None
    return record.get(field)


def _agrees(record: dict[str, Any], condition: dict[str, Any]) -> bool:
    actual, name, value = _read(condition["field"], record), condition["operator"], condition["value"]
    if name in ("in", "not_in"):
        found: bool = any(each in value for each in actual) if isinstance(actual, list) else actual in value
        return found if name == "in" else not found
    if name in ("eq", "not_eq"):
        same: bool = actual == value
        return same if name == "eq" else not same
    if actual is None:
        return False
    return bool(actual.startswith(value)) if name == "start_with" else bool(COMPARE[name](actual, value))


def _values(path: str, field: str, records: dict[str, list[dict[str, Any]]]) -> list[Any]:
    found = [_read(field, record) for record in records[path]]
    flat = [each for value in found for each in (value if isinstance(value, list) else [value])]
    return sorted({value for value in flat if value is not None}) or [1]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_paging_equals_a_plain_reading_of_filter_sort_and_limit(
    shared: SandboxServer, records: dict[str, list[dict[str, Any]]], data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(["/customer_invoices", "/customer_invoices", "/customers", "/transactions"]))
    conditions = []
    for _ in range(data.draw(st.integers(0, 3))):
        field = data.draw(st.sampled_from(sorted(FIELDS[path].keys() - {"category_id"})))
        name = data.draw(st.sampled_from(FIELDS[path][field].operators))
        value = st.sampled_from(_values(path, field, records))
        drawn = data.draw(st.lists(value, max_size=6) if name in ("in", "not_in") else value)
        if name == "start_with":
            drawn = drawn[: data.draw(st.integers(1, 3))]
        conditions.append({"field": field, "operator": name, "value": drawn})
    sort = data.draw(st.sampled_from(["id", "-id"] + ["date", "-date"] * (path == "/customer_invoices")))
    limit = data.draw(st.integers(7, 100))
    expected = [record for record in records[path] if all(_agrees(record, condition) for condition in conditions)]
    if "date" in sort:
        expected.sort(key=lambda record: (record["date"] or "9999", record["id"]))
    if sort.startswith("-"):
        expected.reverse()
    ids = caller(shared).ids(path, filter=conditions, sort=sort, limit=limit)
    assert ids == [record["id"] for record in expected]


def test_the_tables_of_filters_are_those_of_the_description(shared: SandboxServer) -> None:
    assert set(FIELDS) < set(described_paths())
    for path, fields in FIELDS.items():
        text = described_parameter(path, "filter")["description"]
        described = {}
        for line in text.splitlines():
            if line.startswith("- "):
                names, _, operators = line[2:].partition(":")
                for name in names.split(","):
                    described[name.strip(" `")] = {each.split("`")[1] for each in operators.split(",")}
        assert {name: set(field.operators) for name, field in fields.items()} == described


@pytest.mark.parametrize(
    "filter_",
    [
        "[",
        "{}",
        "5",
        '"id"',
        "[5]",
        '[{"field":"id","operator":"eq"}]',
        '[{"field":"updated_at","operator":"gt","value":"2026-01-01"}]',
        '[{"field":"status","operator":"eq","value":"late"}]',
        '[{"field":["id"],"operator":"eq","value":1}]',
        '[{"field":"id","operator":"equals","value":1}]',
        '[{"field":"draft","operator":"not_eq","value":true}]',
        '[{"field":"invoice_number","operator":"start_with","value":"F"}]',
        '[{"field":"id","operator":"in","value":5}]',
        '[{"field":"id","operator":"in","value":["five"]}]',
        '[{"field":"id","operator":"eq","value":[5]}]',
        '[{"field":"id","operator":"eq","value":true}]',
        '[{"field":"id","operator":"eq","value":null}]',
        '[{"field":"id","operator":"eq","value":1.5}]',
        '[{"field":"date","operator":"gt","value":"01/02/2026"}]',
        '[{"field":"date","operator":"gt","value":"2026-02-30"}]',
        '[{"field":"date","operator":"gt","value":20260101}]',
        '[{"field":"draft","operator":"eq","value":"yes"}]',
        '[{"field":"draft","operator":"eq","value":1}]',
        '[{"field":"invoice_number","operator":"eq","value":5}]',
    ],
)
def test_a_filter_that_is_not_described_is_refused(shared: SandboxServer, filter_: str) -> None:
    assert caller(shared).get("/customer_invoices", filter=filter_).status_code == 400


def _both(api: Caller, field: str, name: str, *values: Any) -> None:
    answers = [
        api.ids("/customer_invoices", limit=100, filter=[{"field": field, "operator": name, "value": value}])
        for value in values
    ]
    assert answers[0]
    assert all(answer == answers[0] for answer in answers)


def test_numbers_and_booleans_may_be_written_as_text(shared: SandboxServer) -> None:
    api, invoice = caller(shared), next(row for row in shared.world.invoices if row.customer_id is not None)
    _both(api, "id", "gt", invoice.id, str(invoice.id))
    _both(api, "id", "in", [invoice.id], [str(invoice.id)])
    _both(api, "customer_id", "eq", invoice.customer_id, str(invoice.customer_id))
    _both(api, "draft", "eq", True, "true")
    _both(api, "credit_note", "eq", False, "false")


def test_an_invoice_without_customer_passes_only_the_negative_filters(shared: SandboxServer) -> None:
    api = caller(shared)
    orphans = {row.id for row in shared.world.invoices if row.customer_id is None}
    assert orphans
    some = next(iter(shared.world.customers)).id

    def passing(name: str, value: Any) -> set[int]:
        return set(
            api.ids(
                "/customer_invoices", limit=100, filter=[{"field": "customer_id", "operator": name, "value": value}]
            )
        )

    assert orphans <= passing("not_in", [some])
    assert orphans <= passing("not_eq", some)
    for name in ("lt", "lteq", "gt", "gteq", "eq"):
        assert not orphans & passing(name, some)
    assert not orphans & passing("in", [some])


def test_the_credit_note_filter_finds_draft_credit_notes_too(shared: SandboxServer) -> None:
    from sandbox.changes.invoices import create_credit_note

    draft = create_credit_note(shared.world, draft=True)["id"]
    filter_ = [{"field": "credit_note", "operator": "eq", "value": "true"}]
    found = {item["id"]: item for item in caller(shared).items("/customer_invoices", limit=100, filter=filter_)}
    assert found[draft]["status"] == "draft"
    shared.world.invoices.remove(draft)


def test_filtering_by_category_finds_only_invoices_of_that_category(shared: SandboxServer) -> None:
    by_category = [
        caller(shared).ids(
            "/customer_invoices", limit=100, filter=[{"field": "category_id", "operator": "in", "value": [id_]}]
        )
        for id_ in range(501, 508)
    ]
    assert all(by_category)
    assert len({id_ for ids in by_category for id_ in ids}) == sum(map(len, by_category)) < 180
