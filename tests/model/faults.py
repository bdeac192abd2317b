"""What goes wrong between a company and Pennylane, in every way that the sandbox knows, by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from pipelines.set_aside import SetAside
from pipelines.tables import TABLES
from sandbox.clock import to_microseconds
from sandbox.cursors import ListPosition, write_feed_cursor, write_list_cursor
from sandbox.faults import Fault
from sandbox.feed import Position
from tests.pipelines.company import NOW
from tests.pipelines.truth import Key, Row

Changes = dict[str, Any]
"""Some of a fault's fields."""

PATHS = (
    "/api/", "/changelogs/", "/customers$", "/customer_invoices$", "/contacts$", "/payments$",
    "/matched_transactions$", "^/oauth/token",
)  # fmt: skip

_PATIENCE = (5, 0.15)
"""Seconds to wait for a connection and for an answer where time-outs are tried."""

_STATUSES: dict[str, Changes] = {
    "429 with retry-after": {"status": 429, "headers": {"retry-after": "1"}},
    "429": {"status": 429},
    "500": {"status": 500},
    "502": {"status": 502},
    "503 with retry-after": {"status": 503, "headers": {"retry-after": "2"}},
    "504": {"status": 504},
}
_REFUSALS: dict[str, Changes] = {str(status): {"status": status} for status in (400, 401, 403, 404, 422)}

_NEW: Changes = {"a_field_of_the_future": {"nested": [1, None, "é"]}}

FAULTS: dict[str, Changes] = {
    **{name: {"kind": "status", **status} for name, status in (_STATUSES | _REFUSALS).items()},
    **{f"{name} as plain text": {"kind": "plain", **status} for name, status in _STATUSES.items()},
    **{kind: {"kind": kind} for kind in ("cut", "reset", "truncated_json", "html")},
    "slow": {"kind": "latency", "seconds": 0.05},
    "time-out": {"kind": "latency", "seconds": 2 * _PATIENCE[1]},
    "has_more without end": {"kind": "changed", "body": {"has_more": True}},
    "has_more missing": {"kind": "changed", "body_without": ["has_more", "next_cursor"]},
    "a cursor that repeats": {"kind": "changed"},
    "no list": {"kind": "changed", "body": {"items": None}},
    "new fields": {"kind": "changed", "body": _NEW, "item": _NEW},
    "records that cannot be read": {"kind": "changed", "item": {"created_at": "yesterday"}},
    "events that do not say what and when": {"kind": "changed", "item_without": ["operation", "processed_at"]},
    "records without an id": {"kind": "changed", "item_without": ["id"]},
}
"""What may befall any request. No record is told wrongly in a way that can be believed."""

_NO_TIME = 10**17
"""Microseconds: cursors made then do not expire."""

_LOSES_AN_ANSWER = ("cut", "reset", "truncated_json", "time-out")


def faults() -> st.SearchStrategy[tuple[str, Fault]]:
    return st.builds(
        _fault,
        st.sampled_from(sorted(FAULTS)),
        path=st.sampled_from(PATHS),
        times=st.sampled_from([1, 2, 5, None]),
        skip=st.integers(0, 12),
    )


def _fault(name: str, **where: Any) -> tuple[str, Fault]:
    fault = Fault(**where, **FAULTS[name])
    if name == "a cursor that repeats":
        back = Position(to_microseconds(NOW))
        at = write_feed_cursor(back) if "changelogs" in fault.path else write_list_cursor(ListPosition(1), _NO_TIME)
        fault.body = {"has_more": True, "next_cursor": at}
    return name, fault


def may_lose_authorization(name: str, fault: Fault) -> bool:
    """A renewed token may not arrive, or what is good be refused."""
    return name in ("401", "403") or ("oauth" in fault.path and name in _LOSES_AN_ANSWER)


@contextmanager
def impatient(name: str) -> Iterator[None]:
    """Time-outs come soon, where they are tried; elsewhere a busy machine would meet them."""
    if name != "time-out":
        yield
        return
    with (
        mock.patch("pipelines.client._TIMEOUT", _PATIENCE),
        mock.patch("resources.oauth_session.TIMEOUT_SECONDS", _PATIENCE),
    ):
        yield


# Of single records

LISTS = {
    "accounts": "v2/customers$",
    "contacts": "/contacts$",
    "invoices": "v2/customer_invoices$",
    "credit_notes": "v2/customer_invoices$",
    "payments": "/(payments|matched_transactions)$",
}
"""Where the records of each table are listed."""

_FIELDS = {
    table.name: sorted({(column.path or "").split(".")[0] for column in table.columns} - {"", "id"}) for table in TABLES
}


@dataclass(frozen=True)
class Distortion:
    """One record of a table is told wrongly, as often as it is asked for, until Pennylane has put that right.

    `believed`: nobody can know it from a record that is as it should be.
    """

    name: str
    table: str
    item: Changes = field(default_factory=dict)
    item_without: tuple[str, ...] = ()
    believed: bool = False

    def fault(self, id_: int) -> Fault:
        return Fault(
            LISTS[self.table],
            "changed",
            times=None,
            item=self.item,
            item_without=[*self.item_without],
            only_ids=[id_],
        )

    def record(self, key: Key, row: Row) -> SetAside:
        """The record as it is named where it is set aside."""
        parent = {"contacts": row.get("account_id"), "payments": row.get("invoice_id")}.get(self.table)
        return SetAside(self.table, key[-1], parent, self.name)


def distortions() -> st.SearchStrategy[Distortion]:
    return st.sampled_from([one for table in sorted(LISTS) for one in _distortions_of(table)]).flatmap(lambda one: one)


def _distortions_of(table: str) -> list[st.SearchStrategy[Distortion]]:
    fields = st.sampled_from(_FIELDS[table])
    unknown = {"status", "currency", "customer_type"} & {*_FIELDS[table]}
    told = [
        *(
            Distortion(f"an unknown {name}", table, {name: "nobody knows it yet"}, believed=True)
            for name in sorted(unknown)
        ),
        Distortion("a new field", table, _NEW),
        Distortion("a value that cannot be read", table, {"created_at": "yesterday"}),
        Distortion("an id beyond 2^63", table, {"id": 2**63}),
        Distortion("no id", table, item_without=("id",)),
    ]
    return [
        fields.map(lambda name: Distortion("a missing field", table, item_without=(name,), believed=True)),
        fields.map(lambda name: Distortion("a null where none was promised", table, {name: None}, believed=True)),
        *map(st.just, told),
    ]
