"""Sets of ids still to be listed, kept as half-open ranges; what a listing's checkpoint consists of."""

from dataclasses import dataclass

END = 2**63 - 1


@dataclass(frozen=True, order=True)
class Range:
    """The ids from `low` (included) to `high` (not included)."""

    low: int
    high: int

    @property
    def empty(self) -> bool:
        return self.low >= self.high

    def without(self, other: "Range") -> "list[Range]":
        parts = (Range(self.low, min(self.high, other.low)), Range(max(self.low, other.high), self.high))
        return [part for part in parts if not part.empty]


ALL_IDS = Range(0, END)


def subtract(ranges: list[Range], covered: Range) -> list[Range]:
    """What remains of `ranges` once `covered` has been listed."""
    if covered.empty:
        return ranges
    return [part for one in ranges for part in one.without(covered)]
