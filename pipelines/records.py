"""From a record of the API to a row of a table: values typed, links turned into ids, amounts exact."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from pipelines.tables import AMOUNT_SCALE, RATE_SCALE, Table, Type

Record = dict[str, Any]
Row = dict[str, Any]

MAX_ID = 2**63 - 1
_EXACT = Context(prec=80)


class UnreadableRecord(ValueError):
    """A record's value cannot be stored as its column's type without loss."""


def to_row(table: Table, record: Record, **filled: Any) -> Row:
    """The row of `record` in `table`; `filled` gives the columns that the API's record does not hold.

    Raises UnreadableRecord, naming table, id and field, where a value does not fit its type.
    """
    row = dict(filled)
    for column in table.columns:
        if column.path is None:
            row.setdefault(column.name, None)
            continue
        try:
            row[column.name] = _READERS[column.type](_at(record, column.path))
        except (ValueError, TypeError, InvalidOperation) as error:
            raise UnreadableRecord(f"{table.name} {record.get('id')!r}: {column.path}: {error}") from error
    return row


def _at(record: Record, path: str) -> Any:
    value: Any = record
    for part in path.split("."):
        if value is None:
            return None
        value = value.get(part)
    return value


def _id(value: Any) -> int:
    number = int(value)
    if not 0 <= number <= MAX_ID:
        raise ValueError("id out of range")
    return number


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _decimal(scale: int) -> Callable[[Any], Decimal]:
    step = Decimal(1).scaleb(-scale)

    def read(value: Any) -> Decimal:
        number = Decimal(str(value))
        if not number.is_finite() or number != number.quantize(step, context=_EXACT) or number.adjusted() > 37 - scale:
            raise ValueError(f"not an amount of at most {38 - scale} digits before and {scale} after the point")
        return number

    return read


def _timestamp(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _optional(read: Callable[[Any], Any], *, empty_is_null: bool = True) -> Callable[[Any], Any]:
    def read_or_none(value: Any) -> Any:
        if value is None or (empty_is_null and value == ""):
            return None
        return read(value)

    return read_or_none


_READERS: dict[Type, Callable[[Any], Any]] = {
    Type.ID: _optional(_id),
    Type.TEXT: _optional(_text, empty_is_null=False),
    Type.BOOLEAN: _optional(_boolean),
    Type.DATE: _optional(date.fromisoformat),
    Type.TIMESTAMP: _optional(_timestamp),
    Type.AMOUNT: _optional(_decimal(AMOUNT_SCALE)),
    Type.RATE: _optional(_decimal(RATE_SCALE)),
    Type.JSON: _optional(lambda value: json.dumps(value, ensure_ascii=False), empty_is_null=False),
}
