"""Filters of the API's lists: written once, and kept short enough for an address.

GUIDE ("Lists"): a filter is a JSON array of conditions that all hold, it must be sent with every page, and proxies
refuse addresses over about 8 KB.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any

from pipelines.ranges import ALL_IDS, END, Range

Condition = dict[str, Any]

BATCH = 100
"""Ids asked for in one request; a page holds no more."""

_EXCLUDED_CHARACTERS = 5_000
"""What excluded ids may take of an address, where a batch of ids with 19 digits each must fit beside them."""

_ENCODED_COMMA = len("%2C")


def condition(field: str, operator: str, value: Any) -> Condition:
    return {"field": field, "operator": operator, "value": value}


def encoded(conditions: Sequence[Condition]) -> dict[str, str]:
    """The query parameter for `conditions`; none where there are none."""
    return {"filter": json.dumps(list(conditions), separators=(",", ":"))} if conditions else {}


def within(field: str, ids: Range) -> list[Condition]:
    """Conditions that keep `field` inside a range."""
    conditions = []
    if ids.low > 0:
        conditions.append(condition(field, "gteq", ids.low))
    if ids.high < END:
        conditions.append(condition(field, "lt", ids.high))
    return conditions


def without(field: str, excluded: Iterable[int]) -> list[tuple[Range, list[Condition]]]:
    """Leaves `excluded` out: pairs of a range of `field` and the conditions that hold in it, covering all ids.

    One pair with at most one condition as long as the exclusions fit in an address (some 400 ids of Pennylane's usual
    length); else the ids are cut into ranges that hold few enough of them each.
    """
    chunks = list(_fitting(excluded))
    if not chunks:
        return [(ALL_IDS, [])]
    bounds = [0, *(chunk[0] for chunk in chunks[1:]), END]
    return [
        (Range(low, high), [condition(field, "not_in", chunk)])
        for (low, high), chunk in zip(pairwise(bounds), chunks, strict=True)
    ]


def _fitting(ids: Iterable[int]) -> Iterator[list[int]]:
    """`ids`, sorted, in lists that fit in an address."""
    chunk: list[int] = []
    room = _EXCLUDED_CHARACTERS
    for one in sorted(ids):
        room -= len(str(one)) + _ENCODED_COMMA
        if room < 0:
            yield chunk
            chunk, room = [], _EXCLUDED_CHARACTERS - len(str(one)) - _ENCODED_COMMA
        chunk.append(one)
    if chunk:
        yield chunk


def batches(ids: Iterable[int], size: int = BATCH) -> Iterator[list[int]]:
    """`ids`, sorted, in lists of at most `size`."""
    ordered = iter(sorted(ids))
    while batch := list(islice(ordered, size)):
        yield batch
