"""The `filter` parameter: which fields and operators each list takes, and what they mean.

The tables are the descriptions of the parameter in openapi.json, list by list.
"""

import json
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Generic, Literal, TypeVar

from sandbox.answers.invoices import category_ids, external_reference, flow_id, is_credit_note, linked_id
from sandbox.errors import bad_request
from sandbox.records import Customer, Invoice, Transaction

RowT = TypeVar("RowT")
Kind = Literal["integer", "text", "boolean", "date"]

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}
EQUALITY = ("eq", "not_eq")
MEMBERSHIP = ("in", "not_in")
ALL = (*COMPARISONS, *EQUALITY, *MEMBERSHIP)


@dataclass(frozen=True)
class Field(Generic[RowT]):
    """A field that can be filtered by: its type, its operators, and how to read it from a row."""

    kind: Kind
    operators: tuple[str, ...]
    read: Callable[[RowT], Any]


@dataclass(frozen=True)
class Condition(Generic[RowT]):
    """One `{field, operator, value}`; `value` has the field's type, or is a set of such values."""

    field: str
    operator: str
    value: Any
    read: Callable[[RowT], Any]

    def holds(self, row: RowT) -> bool:
        return _holds(self.operator, self.read(row), self.value)


CUSTOMER_FIELDS: dict[str, Field[Customer]] = {
    "id": Field("integer", ALL, lambda row: row.id),
    "customer_type": Field("text", EQUALITY, lambda row: "individual" if row.individual else "company"),
    "ledger_account_id": Field("integer", EQUALITY, lambda row: row.ledger_account_id),
    "name": Field("text", ("start_with", "eq"), lambda row: row.name),
    "external_reference": Field("text", ("start_with", *EQUALITY, *MEMBERSHIP), lambda row: row.external_reference),
    "reg_no": Field("text", (*EQUALITY, *MEMBERSHIP), lambda row: None if row.individual else row.reg_no),
    "emails": Field("text", ("in",), lambda row: row.emails),
}

INVOICE_FIELDS: dict[str, Field[Invoice]] = {
    "id": Field("integer", ALL, lambda row: row.id),
    "date": Field("date", ALL, lambda row: row.date),
    "customer_id": Field("integer", ALL, lambda row: row.customer_id),
    "billing_subscription_id": Field("integer", ALL, lambda row: linked_id(row, "billing_subscription")),
    "quote_id": Field("integer", ALL, lambda row: linked_id(row, "quote")),
    "invoice_number": Field("text", (*EQUALITY, *MEMBERSHIP), lambda row: row.number),
    "draft": Field("boolean", ("eq",), lambda row: row.draft),
    "credit_note": Field("boolean", ("eq",), is_credit_note),
    "external_reference": Field("text", ("eq",), external_reference),
    "flow_id": Field("text", (*EQUALITY, *MEMBERSHIP), flow_id),
    "category_id": Field("integer", ("in",), category_ids),
}

TRANSACTION_FIELDS: dict[str, Field[Transaction]] = {
    "id": Field("integer", (*EQUALITY, *MEMBERSHIP), lambda row: row.id),
    "bank_account_id": Field("integer", (*EQUALITY, *MEMBERSHIP), lambda row: row.bank_account_id),
    "journal_id": Field("integer", (*EQUALITY, *MEMBERSHIP), lambda row: row.journal_id),
    "date": Field("date", (*EQUALITY, *COMPARISONS), lambda row: row.date),
}


def parse_filter(text: str | None, fields: dict[str, Field[RowT]]) -> list[Condition[RowT]]:
    """The conditions of a `filter` parameter, all of which must hold; anything not described is refused."""
    if not text:
        return []
    try:
        parsed = json.loads(text)
    except ValueError:
        raise bad_request("filter is not valid JSON") from None
    if not isinstance(parsed, list):
        raise bad_request("filter must be an array of conditions")
    return [_condition(item, fields) for item in parsed]


def _condition(item: Any, fields: dict[str, Field[RowT]]) -> Condition[RowT]:
    if not isinstance(item, dict) or not {"field", "operator", "value"} <= item.keys():
        raise bad_request("a filter condition needs field, operator and value")
    name, operator_name, value = item["field"], item["operator"], item["value"]
    field = fields.get(name) if isinstance(name, str) else None
    if field is None:
        raise bad_request(f"filter on field {name!r} is not available")
    if operator_name not in field.operators:
        raise bad_request(f"filter operator {operator_name!r} is not available for field {name!r}")
    if operator_name not in MEMBERSHIP:
        return Condition(name, operator_name, _value(value, field.kind, name), field.read)
    if not isinstance(value, list):
        raise bad_request(f"filter operator {operator_name!r} takes an array")
    values = frozenset(_value(entry, field.kind, name) for entry in value)
    return Condition(name, operator_name, values, field.read)


def _value(value: Any, kind: Kind, name: str) -> Any:
    """The value in the field's type; numbers and booleans may also come as text, as in Pennylane's own examples."""
    try:
        if kind == "integer" and isinstance(value, int | str) and not isinstance(value, bool):
            return int(value)
        if kind == "date" and isinstance(value, str) and len(value) == len("2024-01-01"):
            return date.fromisoformat(value).toordinal()
    except ValueError:
        pass
    if kind == "text" and isinstance(value, str):
        return value
    if kind == "boolean" and str(value).lower() in ("true", "false") and isinstance(value, bool | str):
        return str(value).lower() == "true"
    raise bad_request(f"wrong value for filter field {name!r}: {kind} expected")


def _holds(name: str, actual: Any, wanted: Any) -> bool:
    """Whether a condition holds. What a missing value means is not documented.

    Here as for someone reading the words: a row without a value is not equal to, and not in, anything, so that
    `not_eq` and `not_in` keep it while `eq`, `in`, `start_with` and the comparisons do not.
    """
    if name in EQUALITY:
        return bool(actual == wanted) == (name == "eq")
    if name in MEMBERSHIP:
        return _is_in(actual, wanted) == (name == "in")
    if actual is None:
        return False
    return bool(actual.startswith(wanted)) if name == "start_with" else COMPARISONS[name](actual, wanted)


def _is_in(actual: Any, wanted: frozenset[Any]) -> bool:
    """Membership; for a field that holds several values (emails, categories) one of them is enough."""
    several: Iterable[Any] = actual if isinstance(actual, list | tuple) else (actual,)
    return any(value in wanted for value in several)
