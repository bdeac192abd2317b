"""What every request passes first: counting, the rate limit, faults, latency, and the clock in the Date header."""

import asyncio
import json
import logging
import socket
import struct
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.api.routes import bearer_token
from sandbox.core import Sandbox
from sandbox.faults import Fault
from sandbox.limiter import WINDOW_SECONDS

_log = logging.getLogger(__name__)

MAXIMUM_ADDRESS = 8192
"""Proxies refuse longer addresses (path and query, in bytes)."""

_MAINTENANCE = "<!doctype html><title>Maintenance</title><h1>Nous revenons bientôt</h1><p>Maintenance en cours.</p>"


class _Headers:
    """Adds headers to whatever answer goes out, and remembers its status."""

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send = send
        self._headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            ours = {name for name, _ in self._headers}
            kept = [(name, value) for name, value in message["headers"] if name.lower() not in ours]
            message = {**message, "headers": [*kept, *self._headers]}
        await self._send(message)

    def reset(self) -> None:
        """Reset the connection, as a load balancer that fails does: the other side sees an error, not an end.

        ASGI knows no such thing; the server's own object behind `send` has the connection.
        """
        transport = self._send.__self__.transport  # type: ignore[attr-defined]
        no_lingering = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_lingering)
        transport.abort()


class Front:
    """ASGI middleware around the whole application. The control address is neither counted nor disturbed."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sandbox, path = self._sandbox, scope["path"]
        headers = {"date": format_datetime(sandbox.clock.now(), usegmt=True)}
        if path.startswith("/control"):
            await self._app(scope, receive, _Headers(send, headers))
            return
        is_api = path.startswith("/api/")
        label = self._label(scope) if is_api else "none"
        window = sandbox.clock.microseconds() // 1_000_000 // WINDOW_SECONDS * WINDOW_SECONDS
        sandbox.statistics.begin(path, window, label)
        allowance = sandbox.limiter.take(label) if is_api else None
        if allowance is not None:
            headers |= allowance.headers()
        answer = _Headers(send, headers)
        try:
            if sandbox.settings.latency:
                await asyncio.sleep(sandbox.settings.latency)
            if allowance is not None and not allowance.granted:
                await PlainTextResponse("Retry later\n", 429)(scope, receive, answer)
            elif _address_length(scope) > MAXIMUM_ADDRESS:
                await HTMLResponse("<h1>414 Request-URI Too Large</h1>", 414)(scope, receive, answer)
            else:
                await self._answer(scope, receive, answer, sandbox.faults.strike(path))
        except Exception:
            _log.exception("%s %s failed: this is a fault of the sandbox", scope["method"], path)
            raise
        finally:
            sandbox.statistics.end(answer.status)

    def _label(self, scope: Scope) -> str:
        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        grant = self._sandbox.tokens.find(bearer_token(header))
        return grant.label if grant is not None else "unknown"

    async def _answer(self, scope: Scope, receive: Receive, send: _Headers, fault: Fault | None) -> None:
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind == "latency":
            await asyncio.sleep(fault.seconds)
            await self._app(scope, receive, send)
        elif fault.kind in ("cut", "reset", "truncated_json"):
            start, body = await _collect(self._app, scope, receive)
            half = body[: len(body) // 2]
            if fault.kind == "truncated_json":
                _set_length(start, half)
            await send(start)
            await send({"type": "http.response.body", "body": half, "more_body": fault.kind != "truncated_json"})
            if fault.kind == "reset":
                send.reset()
        elif fault.kind == "changed":
            start, body = await _collect(self._app, scope, receive)
            if start["status"] == 200:
                body = json.dumps(fault.changed(json.loads(body)), ensure_ascii=False).encode()
                _set_length(start, body)
            await send(start)
            await send({"type": "http.response.body", "body": body})
        else:
            await _instead(fault)(scope, receive, send)


def _instead(fault: Fault) -> Response:
    """The answer that takes the place of the true one."""
    if fault.kind == "html":
        return HTMLResponse(_MAINTENANCE, 200, fault.headers)
    if fault.kind == "plain":
        return PlainTextResponse(
            "upstream connect error or disconnect/reset before headers", fault.status, fault.headers
        )
    said = 'Access to this resource requires scope "any".' if fault.status == 403 else "Service disturbed"
    return JSONResponse({"error": said, "status": fault.status}, fault.status, fault.headers)


async def _collect(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[dict[str, Any], bytes]:
    """The application's whole answer, held back."""
    start: dict[str, Any] = {}
    body = bytearray()

    async def hold(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            body.extend(message.get("body", b""))

    await app(scope, receive, hold)
    return start, bytes(body)


def _set_length(start: dict[str, Any], body: bytes) -> None:
    headers = [header for header in start["headers"] if header[0] != b"content-length"]
    start["headers"] = [*headers, (b"content-length", str(len(body)).encode())]


def _address_length(scope: Scope) -> int:
    query = scope["query_string"]
    return len(scope["raw_path"]) + (len(query) + 1 if query else 0)
