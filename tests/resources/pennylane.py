"""A sandbox to connect to, and what a person with an app registered there would have in their settings."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from resources.connections import Connections
from resources.credential import Credential
from resources.oauth import SCOPES, authorize
from resources.settings import Settings
from sandbox import core
from sandbox.clock import Clock
from sandbox.generator.books import make_worlds
from sandbox.server import SandboxServer
from tests.ports import free_port
from tests.resources.browser import Browser
from tests.resources.fakes import FakeClock


class Pennylane:
    """The sandbox, its settings, and a shared passing of time."""

    def __init__(self, server: SandboxServer, clock: FakeClock) -> None:
        self.server = server
        self.clock = clock
        self.company_id = server.world.id
        self.settings = self.settings_with()

    def settings_with(self, **changes: object) -> Settings:
        given = {
            "pennylane_url": self.server.url,
            "pennylane_client_id": core.CLIENT_ID,
            "pennylane_client_secret": core.CLIENT_SECRET,
            "pennylane_redirect_uri": f"http://localhost:{free_port()}/callback",
        }
        return Settings(**{**given, **changes})

    def authorize(self) -> Credential:
        return authorize(self.settings, SCOPES, Browser(self.company_id).open, clock=self.clock)

    def connect(self, connections: Connections) -> Credential:
        credential = self.authorize()
        connections.save(self.company_id, "Company", "oauth", credential, SCOPES)
        return credential

    def accepts(self, token: str) -> bool:
        """Whether an API call with this token is answered."""
        address = f"{self.server.url}/api/external/v2/me"
        answer = requests.get(address, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        assert answer.status_code in (200, 401)
        return answer.status_code == 200

    def days_pass(self, days: float) -> None:
        """For them and for us."""
        self.control("POST", "clock", advance_seconds=days * 86_400)
        self.clock.pass_(days=days)

    def disturb_token_calls(self, **fault: object) -> None:
        self.control("POST", "faults", path="^/oauth/token", **fault)

    def token_calls(self) -> int:
        calls: int = self.control("GET", "requests")["by_path"].get("/oauth/token", 0)
        return calls

    def reused_refresh_tokens(self) -> int:
        reused: int = self.control("GET", "requests")["reused_refresh_tokens"]
        return reused

    def control(self, method: str, action: str, **body: object) -> dict[str, Any]:
        answer = requests.request(method, f"{self.server.url}/control/{action}", json=body, timeout=30)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content


@pytest.fixture
def pennylane(clock: FakeClock) -> Iterator[Pennylane]:
    worlds = make_worlds(Clock(datetime(2026, 9, 1, tzinfo=UTC), frozen=True), customers=3, invoices=5)
    with SandboxServer(*worlds, settings=core.Settings(control=True, rate_limit=0)) as server:
        yield Pennylane(server, clock)
