"""A sandbox per test, small and with a clock that stands still until it is advanced."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox.clock import Clock
from sandbox.core import Settings
from sandbox.generator.books import make_worlds
from sandbox.server import SandboxServer

NOW = datetime(2026, 9, 15, 8, 0, tzinfo=UTC)

Serve = Callable[..., SandboxServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts sandboxes; no rate limit unless asked for."""
    with ExitStack() as running:

        def start(customers: int = 12, invoices: int = 150, seed: int = 1, **settings: Any) -> SandboxServer:
            clock = Clock(NOW, frozen=True)
            worlds = make_worlds(clock, customers=customers, invoices=invoices, seed=seed)
            chosen = Settings(**{"control": True, "rate_limit": 0, "seed": seed, **settings})
            return running.enter_context(SandboxServer(*worlds, settings=chosen))

        yield start


@pytest.fixture
def server(serve: Serve) -> SandboxServer:
    return serve()
