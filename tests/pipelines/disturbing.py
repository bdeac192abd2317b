"""Disturbing the sandbox that a company is in, at each address that a sync asks, in each way that a network knows."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.client import Json, Pennylane
from pipelines.errors import (
    AuthorizationFailed,
    BrokenAnswer,
    MissingScope,
    PennylaneRefused,
    PennylaneUnreachable,
    PipelineError,
)
from pipelines.pacing import Pacer
from sandbox.faults import Fault
from tests.pipelines.company import Company
from tests.resources.fakes import JumpingClock

Faulty = dict[str, Any]

TIMEOUT = (5, 1.5)
"""Seconds to wait in place of a minute: enough for a busy machine, which else would fail as time-outs do."""

ADDRESSES = {
    "customers": "v2/customers$",
    "customer_invoices": "v2/customer_invoices$",
    "changelogs/customers": "/changelogs/customers$",
    "changelogs/customer_invoices": "/changelogs/customer_invoices$",
    "contacts": r"/customers/\d+/contacts$",
    "payments": "/payments$",
    "matched_transactions": "/matched_transactions$",
}

PASSING: dict[str, Faulty] = {
    "429 with retry-after": {"kind": "plain", "status": 429, "headers": {"retry-after": "2"}},
    "429": {"kind": "plain", "status": 429},
    "500": {"kind": "status", "status": 500},
    "502": {"kind": "plain", "status": 502},
    "503": {"kind": "status", "status": 503},
    "504": {"kind": "plain", "status": 504},
    "timeout": {"kind": "latency", "seconds": 3.0},
    "cut": {"kind": "cut"},
    "reset": {"kind": "reset"},
    "cut JSON": {"kind": "truncated_json"},
    "HTML with status 200": {"kind": "html"},
}
"""Faults that may pass: they are tried again."""

_MORE_FOR_EVER = {"has_more": True, "next_cursor": "again"}

LASTING: dict[str, tuple[Faulty, type[PipelineError]]] = {
    "403": ({"kind": "status", "status": 403}, MissingScope),
    "503": (PASSING["503"], PennylaneUnreachable),
    "400": ({"kind": "status", "status": 400}, PennylaneRefused),
    "404": ({"kind": "plain", "status": 404}, PennylaneRefused),
    "403 of a gateway": ({"kind": "plain", "status": 403}, PennylaneRefused),
    "no list": ({"kind": "changed", "body": {"items": None}}, BrokenAnswer),
    "HTML with status 200": (PASSING["HTML with status 200"], PennylaneUnreachable),
    "reset": (PASSING["reset"], PennylaneUnreachable),
    "has_more without end": ({"kind": "changed", "body": _MORE_FOR_EVER}, PipelineError),
    "has_more missing": ({"kind": "changed", "body_without": ["has_more", "next_cursor"]}, BrokenAnswer),
    "401": ({"kind": "status", "status": 401}, AuthorizationFailed),
    **{
        kind: (PASSING[kind], PennylaneUnreachable)
        for kind in PASSING
        if kind not in ("503", "HTML with status 200", "reset")
    },
}
"""Faults that stay, with the error that they come to."""


class Unhurried(Pennylane):
    """Waits for nothing, the limit included: for a sandbox without one, whose 429 are made up."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pacer = Pacer(clock=JumpingClock(), wait=lambda condition, _: condition.wait(0.001))
        super().__init__(*arguments, **{"pacer": pacer, "sleep": lambda _: None, **options})


def slow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> type[Pennylane]:
    """A client each of whose answers takes so many seconds of the time that a sync goes by."""
    passed = [0.0]
    passing = threading.Lock()
    for module in ("details", "pieces"):
        monkeypatch.setattr(f"pipelines.{module}.time", SimpleNamespace(monotonic=lambda: passed[0]))

    class Slow(Pennylane):
        def get(self, path: str, params: Any = None) -> Json:
            with passing:
                passed[0] += seconds
            return super().get(path, params)

    return Slow


def disturb(company: Company, path: str, **fault: Any) -> Fault:
    """Adds a fault that stays unless it says how often; returned, it tells whether it struck."""
    added = Fault(**{"path": path, "times": None, **fault})
    company.server.sandbox.faults.add(added)
    return added


def undisturbed(company: Company) -> None:
    """All is well again."""
    company.server.sandbox.faults.clear()


def sync_that_fails(company: Company, address: str, kind: str) -> None:
    """A sync under a fault that stays at an address: one line that names the company, of the right family."""
    fault, expected = LASTING[kind]
    disturb(company, ADDRESSES[address], **fault)
    with pytest.raises(expected) as told:
        company.sync(after=60, rotation=1000, pennylane=company.pennylane(Unhurried))
    assert f"ompany {company.id}" in str(told.value), (address, kind)
    assert "\n" not in str(told.value)
    assert "next sync" in str(told.value) or not isinstance(told.value, PennylaneUnreachable | BrokenAnswer)
    undisturbed(company)
