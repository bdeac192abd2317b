"""Records that cannot be read: set aside with the reason, shown, and tried again with each sync.

They stand in the state that is committed with what could be read: those of the lists by table and id, those of the
details by table and parent (the account or invoice whose contacts or payments they are). Reasons name fields, never
values, which may be personal data.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.tables import CONTACTS, Table

UNREADABLE = "unreadable"
UNREADABLE_DETAILS = "unreadable_details"
"""Where they stand in the state."""

NAMELESS = -1
"""In the place of the id of a record that has no usable one."""

_NO_REASON_KEPT = "could not be read"
"""Of those that an older version set aside: it kept their ids only."""


@dataclass(frozen=True)
class SetAside:
    """A record (or, without `id`, one that has none, or all those of the parent) and why it cannot be read."""

    table: str
    id: int | None
    parent_id: int | None
    reason: str


def unreadable_of(kept: Mapping[str, Any], table: Table) -> dict[int, str]:
    """Of one list, the reasons by id; `kept` is what stands under UNREADABLE."""
    found = kept.get(table.name, {})
    if not isinstance(found, Mapping):
        return {int(one): _NO_REASON_KEPT for one in found}
    return {int(one): str(reason) for one, reason in found.items()}


def set_aside(state: Mapping[str, Any]) -> Iterator[SetAside]:
    """Everything that a committed state says is set aside."""
    for table, found in state.get(UNREADABLE, {}).items():
        by_id = found if isinstance(found, Mapping) else dict.fromkeys(found, _NO_REASON_KEPT)
        for one, reason in by_id.items():
            yield SetAside(table, _named(int(one)), None, reason)
    for table, parents in state.get(UNREADABLE_DETAILS, {}).items():
        for parent, details in parents.items():
            for one, reason in details:
                yield SetAside(table, _named(one), int(parent), reason)


def said(one: SetAside) -> str:
    """In words: `invoices 12: amount is no decimal(38, 6)`."""
    of = "account" if one.table == CONTACTS.name else "invoice"
    named = "" if one.id is None else f" {one.id}"
    parent = "" if one.parent_id is None else f" of {of} {one.parent_id}"
    return f"{one.table}{named}{parent}: {one.reason}"


def _named(one: int) -> int | None:
    return None if one == NAMELESS else one
