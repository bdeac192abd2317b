"""Disturbing the sandbox that a company is in."""

from typing import Any

from sandbox.faults import Fault
from tests.pipelines.company import Company


def disturb(company: Company, path: str, **fault: Any) -> Fault:
    """Adds a fault that stays unless it says how often; returned, it tells whether it struck."""
    added = Fault(**{"path": path, "times": None, **fault})
    company.server.sandbox.faults.add(added)
    return added


def undisturbed(company: Company) -> None:
    """All is well again."""
    company.server.sandbox.faults.clear()
