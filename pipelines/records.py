"""From a record of the API to a row of a table: values typed, links turned into ids, amounts exact."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import cache, lru_cache
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
    row = {**plan.nulls, **filled}
    characters = 0
    try:
        for name, field, inside, is_text, read in plan.steps:
            value = record.get(field)
            for part in inside:
                if value is None:
                    break
                value = value.get(part)
            if value is None or (value == "" and not is_text):  # which says nothing where no text is expected
                continue
            row[name] = kept = read(value)
            if is_text:
                characters += len(kept)
    except (ValueError, TypeError, AttributeError, ArithmeticError):
        # Not the value itself: it may be personal data, and this text is logged.
        column = next(one for one in table.columns if one.name == name)
        raise UnreadableRecord(table, record, f"{column.path} is no {column.type.value}") from None
    if characters > LONGEST_TEXT:
        raise UnreadableRecord(table, record, f"its texts have over {LONGEST_TEXT:,} characters")
    return row


_Step = tuple[str, str, tuple[str, ...], bool, Callable[[Any], Any]]
"""How a column is filled: its name; the record's field, and where inside that; whether it is text; what reads it.

A plain tuple, as Python takes a named one apart in twice the time, for each value that comes.
"""


class _Plan(NamedTuple):
    """How a table's rows are made: each column null, and then what the record says."""

    nulls: dict[str, None]
    steps: list[_Step]


@cache
def _plan(table: Table) -> _Plan:
    return _Plan(
        {column.name: None for column in table.columns},
        [_step(column, *column.path.split(".")) for column in table.columns if column.path is not None],
    )


def _step(column: Column, field: str, *inside: str) -> _Step:
    return column.name, field, inside, column.type in (Type.TEXT, Type.JSON), _READERS[column.type]


def _id(value: Any) -> int:
    if type(value) is not int and not (isinstance(value, str) and value.isascii() and value.isdigit()):
        raise TypeError("neither a whole number nor its digits")
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

    @lru_cache(2**12, typed=True)
    def exactly(value: Any) -> Decimal:
        text = str(value)
        if "_" in text or not text.isascii():  # Python's own ways to write numbers
            raise ValueError("not a number")
        number = Decimal(text).quantize(step, context=_EXACT)
        if number.is_nan():
            raise ValueError("not a number")
        return number

    return exactly


def _timestamp(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is UTC:
        return moment
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


_READERS: dict[Type, Callable[[Any], Any]] = {
    Type.ID: _id,
    Type.TEXT: _text,
    Type.BOOLEAN: _boolean,
    Type.DATE: date.fromisoformat,
    Type.TIMESTAMP: _timestamp,
    Type.AMOUNT: _decimal(AMOUNT_SCALE),
    Type.RATE: _decimal(RATE_SCALE),
    Type.JSON: _json,
}
"""How a value that is there is read."""
