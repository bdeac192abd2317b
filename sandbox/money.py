"""Amounts are whole cents inside the sandbox and exact decimal strings outside."""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

_CENT = Decimal("0.01")


def to_text(cents: int) -> str:
    sign = "-" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 100)
    return f"{sign}{whole}.{rest:02d}"


def to_cents(amount: str | int | Decimal) -> int:
    """Cents of an amount given as text or number; binary floats are refused because they are not exact."""
    if isinstance(amount, float | bool):
        raise ValueError("write amounts as text, such as '230.32'")
    try:
        value = Decimal(amount)
        cents = value.quantize(_CENT)
    except InvalidOperation as error:
        raise ValueError(f"not an amount: {amount!r}") from error
    if cents != value:
        raise ValueError(f"more than two decimals: {amount!r}")
    return int(cents * 100)


def share(cents: int, part: int, whole: int) -> int:
    """`cents` times `part` / `whole`, rounded to the cent."""
    if whole == 0:
        return 0
    return int((Decimal(cents) * part / whole).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def convert(cents: int, rate: str) -> int:
    """Euros for an amount in another currency, `rate` being the euros for one unit of it.

    Pennylane documents that the rate converts to euros, not whether one multiplies or divides; the sandbox multiplies.
    """
    return int((Decimal(cents) * Decimal(rate)).quantize(Decimal(1), rounding=ROUND_HALF_UP))
