"""From a record of the API to a row of a table: values typed, links turned into ids, amounts exact."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal
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
        except (ValueError, TypeError, ArithmeticError):
            # Not the value itself: it may be personal data, and this text is logged.
            raise UnreadableRecord(f"{table.name} {record['id']}: {column.path} is no {column.type.value}") from None
    return row


def _at(record: Record, path: str) -> Any:
    value: Any = record
    for part in path.split("."):
        if value is None:
            return None
        if not isinstance(value, dict):
            raise TypeError("not an object")
        value = value.get(part)
    return value


def _id(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError("neither a whole number nor its digits")
    number = int(value)
    if not 0 <= number <= MAX_ID:
        raise ValueError("id out of range")
    return number


def _text(value: Any) -> str:
    return _storable(value) if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(_storable(value), ensure_ascii=False, default=str)


def _storable(value: Any) -> Any:
    """Without what no database stores as text, which JSON can carry: NUL (Postgres) and half surrogate pairs (all)."""
    if isinstance(value, str):
        if "\0" in value:
            value = value.replace("\0", "\ufffd")
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value
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
        number = Decimal(str(value))
        if not number.is_finite() or number != number.quantize(step, context=_EXACT) or number.adjusted() > 37 - scale:
            raise ValueError(f"not an amount of at most {38 - scale} digits before and {scale} after the point")
        return number

    return read


def _timestamp(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


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
    Type.JSON: _optional(_json, empty_is_null=False),
}
