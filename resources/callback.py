"""The address on this machine to which Pennylane sends the browser back: listens until the answer has come, once."""

import hmac
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from typing import Any
from urllib.parse import parse_qs, urlsplit

from resources.callback_page import Page, page
from resources.settings import SettingsError, is_loopback

_CLIENT_SECONDS = 10
_NAP_SECONDS = 0.1
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, repr=False)
class CallbackAnswer:
    """What Pennylane sent the browser back with: a code, or an error code (`access_denied`, RFC 6749 4.1.2.1)."""

    code: str | None
    error: str | None


class Callback:
    """The one answer that is waited for."""

    def __init__(self, state: str) -> None:
        self._state = state
        self._answer: CallbackAnswer | None = None
        self._taking = threading.Lock()
        self._arrived = threading.Event()

    def wait(self, seconds: float) -> CallbackAnswer | None:
        """The answer; None when it has not come within `seconds`."""
        until = time.monotonic() + seconds
        # Not on the event itself: a Ctrl-C that comes just before such a wait begins is noticed when it is over.
        while not self._arrived.is_set() and time.monotonic() < until:
            time.sleep(_NAP_SECONDS)
        return self._answer

    def take(self, query: str) -> Page:
        """Accepts the parameters of the first request that proves to come from this authorization, and says which page
        to show for them. Any other request changes nothing."""
        parameters = parse_qs(query, keep_blank_values=True)
        if any(len(parameters.get(name, ())) > 1 for name in ("state", "code", "error")):
            return Page.NOT_OURS
        state, code, error = (parameters.get(name, [""])[0] for name in ("state", "code", "error"))
        if not hmac.compare_digest(state.encode(), self._state.encode()):
            return Page.NOT_OURS
        if not code and not error:
            return Page.NOT_OURS
        with self._taking:
            if self._answer:
                return Page.USED
            self._answer = CallbackAnswer(None, _error_code(error)) if error else CallbackAnswer(code, None)
        if not error:
            return Page.ALLOWED
        return Page.REFUSED if error == "access_denied" else Page.FAILED

    def shown(self) -> None:
        """The person has been answered: whoever waits may go on."""
        if self._answer:
            self._arrived.set()


@contextmanager
def listening(redirect_uri: str, state: str) -> Iterator[Callback]:
    """Listens on the redirect address until the block ends.

    Raises `SettingsError` when the address is not plain http on this machine, or when its port cannot be had.
    """
    address = urlsplit(redirect_uri)
    if address.scheme != "http" or not is_loopback(address.hostname):
        raise SettingsError(
            "PENNYLANE_REDIRECT_URI must be an http:// address of this machine, such as http://localhost:8765/callback,"
            " and the same as registered for the app at Pennylane."
        )
    callback = Callback(state)
    server = _server(address.hostname or "", address.port or 80, address.path or "/", callback)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    try:
        yield callback
    finally:
        server.shutdown()
        server.server_close()


def _server(host: str, port: int, path: str, callback: Callback) -> ThreadingHTTPServer:
    class Handler(_Handler):
        awaited_path = path
        awaited = callback

    class Server(ThreadingHTTPServer):
        address_family = AF_INET6 if ":" in host else AF_INET
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            """A browser that went away is nothing to report."""

    failure: OSError
    try:
        return Server(("127.0.0.1" if host == "localhost" else host, port), Handler)
    except OSError as error:
        failure = error
    raise SettingsError(
        f"Cannot listen on port {port} for the answer from Pennylane ({failure.strerror}). End the program that"
        " uses it, or choose another port in PENNYLANE_REDIRECT_URI and in the app's registration at Pennylane."
    )


class _Handler(BaseHTTPRequestHandler):
    """Repeats nothing of a request: not in a page, not in a log."""

    awaited_path: str
    awaited: Callback
    timeout = _CLIENT_SECONDS

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if not _names_this_machine(self.headers.get_all("Host", [])):
            self._show(Page.NOT_OURS)
        elif path != self.awaited_path:
            self._show(Page.NOT_FOUND)
        else:
            self._show(self.awaited.take(query))
            self.awaited.shown()

    def send_error(
        self,
        code: int,
        message: str | None = None,  # noqa: ARG002  the base class's
        explain: str | None = None,  # noqa: ARG002
    ) -> None:
        """Called by the base class for what it cannot handle; 501 is how it calls a method that has no handler."""
        self._show(Page.NOT_ALLOWED if code == 501 else Page.NOT_OURS)

    def version_string(self) -> str:
        return "pennylane-sync"

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the request line holds the code."""

    def _show(self, shown: Page) -> None:
        body = page(shown).encode()
        self.send_response(shown.status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if shown is Page.NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _names_this_machine(hosts: list[str]) -> bool:
    """Whether the one Host header is a name of this machine, with whatever port leads here: a page elsewhere whose own
    name was made to lead here (DNS rebinding) carries that name."""
    try:
        return len(hosts) == 1 and is_loopback(urlsplit(f"//{hosts[0]}").hostname)
    except ValueError:
        return False


def _error_code(error: str) -> str:
    return error if _ERROR_CODE.fullmatch(error) else "unknown"
