"""Small stand-ins for the API's client, for what a sandbox cannot be made to do."""

import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.client import OneToken, Pennylane
from pipelines.errors import PennylaneRefused

Json = dict[str, Any]
Answer = Callable[[str, Mapping[str, Any]], Json]


class FakePennylane(Pennylane):
    """Answers by a function of path and parameters, and remembers what was asked."""

    def __init__(self, answer: Answer, server_time: datetime = datetime(2026, 9, 15, 8, tzinfo=UTC)) -> None:
        super().__init__("http://localhost", OneToken("token"))
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self._answer = answer
        self._server_time = server_time
        self._lock = threading.Lock()

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Json:
        with self._lock:
            self.asked.append((path, dict(params or {})))
            return self._answer(path, params or {})

    def server_time(self) -> datetime:
        return self._server_time


def refused(status: int) -> PennylaneRefused:
    return PennylaneRefused(f"status {status}", status)


def conditions(params: Mapping[str, Any]) -> list[Json]:
    parsed: list[Json] = json.loads(params.get("filter", "[]"))
    return parsed
