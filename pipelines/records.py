"""From a record of the API to a row of a table: values typed, links turned into ids, amounts exact."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import cache
from typing import Any, NamedTuple

from pipelines.tables import AMOUNT_SCALE, DIGITS, RATE_SCALE, Column, Table, Type

Record = dict[str, Any]
Row = dict[str, Any]

MAX_ID = 2**63 - 1
LONGEST_TEXT = 2_000_000
"""Characters that the texts of a row may have together: written down they take up to eight bytes each."""
_EXACT = Context(prec=DIGITS, traps=[Inexact, InvalidOperation])
"""Refuses what it would have to round, and more digits than the tables hold."""


class UnreadableRecord(ValueError):
    """A record's value cannot be stored as its column's type without loss; `reason` names the field, not the value."""

    def __init__(self, table: Table, record: Record, reason: str) -> None:
        super().__init__(f"{table.name} {record['id']}: {reason}")
        self.reason = reason


def to_row(table: Table, record: Record, **filled: Any) -> Row:
    """The row of `record` in `table`; `filled` gives the columns that the API's record does not hold.

    Raises UnreadableRecord, naming table, id and field, where a value does not fit its type.
    """
    plan = _plan(table)
    row = {**plan.unfilled, **filled}
    for column, field, inside, read in plan.steps:
        try:
            value = record.get(field)
            if inside:
                value = _at(value, inside)
            row[column.name] = None if value is None else read(value)
        except (ValueError, TypeError, ArithmeticError):
            # Not the value itself: it may be personal data, and this text is logged.
            raise UnreadableRecord(table, record, f"{column.path} is no {column.type.value}") from None
    if sum(len(value) for value in row.values() if isinstance(value, str)) > LONGEST_TEXT:
        raise UnreadableRecord(table, record, f"its texts have over {LONGEST_TEXT:,} characters")
    return row


class _Plan(NamedTuple):
    """How a table's rows are made: the columns that are filled by us, and what is read from where for the others."""

    unfilled: dict[str, None]
    steps: list[tuple[Column, str, tuple[str, ...], Callable[[Any], Any]]]


@cache
def _plan(table: Table) -> _Plan:
    paths = [(column, column.path.split(".")) for column in table.columns if column.path is not None]
    return _Plan(
        {column.name: None for column in table.columns if column.path is None},
        [(column, field, tuple(inside), _READERS[column.type]) for column, (field, *inside) in paths],
    )


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise TypeError("not an object")
        value = value.get(part)
    return value


def _id(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError("neither a whole number nor its digits")
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("not a number's digits")
    number = int(value)
    if not 0 <= number <= MAX_ID:
        raise ValueError("id out of range")
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return _json(value)
    return value if value.isascii() and "\0" not in value else _storable_text(value)


def _json(value: Any) -> str:
    return json.dumps(_storable(value), ensure_ascii=False, default=str)


def _storable_text(text: str) -> str:
    """Without what no database stores as text, which JSON can carry: NUL (Postgres) and half surrogate pairs (all)."""
    text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return _storable_text(value)
    if isinstance(value, list):
        return [_storable(one) for one in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(one) for name, one in value.items()}
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _decimal(scale: int) -> Callable[[Any], Decimal]:
    step = Decimal(1).scaleb(-scale)

    def read(value: Any) -> Decimal:
        text = str(value)
        if "_" in text or not text.isascii():  # Python's own ways to write numbers
            raise ValueError("not a number")
        number = Decimal(text).quantize(step, context=_EXACT)
        if number.is_nan():
            raise ValueError("not a number")
        return number

    return read


def _timestamp(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is UTC:
        return moment
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _unless_empty(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Empty text says nothing where no text is expected."""
    return lambda value: None if value == "" else read(value)


_READERS: dict[Type, Callable[[Any], Any]] = {
    Type.ID: _unless_empty(_id),
    Type.TEXT: _text,
    Type.BOOLEAN: _unless_empty(_boolean),
    Type.DATE: _unless_empty(date.fromisoformat),
    Type.TIMESTAMP: _unless_empty(_timestamp),
    Type.AMOUNT: _unless_empty(_decimal(AMOUNT_SCALE)),
    Type.RATE: _unless_empty(_decimal(RATE_SCALE)),
    Type.JSON: _json,
}
"""How a value that is there is read."""
