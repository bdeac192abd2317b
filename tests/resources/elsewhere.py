"""A server that is not Pennylane: it answers what a test wants, and remembers which tokens it was shown."""

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Self

Answer = tuple[int, Mapping[str, str], bytes]


class Elsewhere:
    """Serves on loopback while the `with` block runs; with `tls` over https."""

    def __init__(self, tls: SSLContext | None = None) -> None:
        self.answer: Answer = (200, {}, b"{}")
        self.hits = 0
        self.tokens: set[str] = set()
        elsewhere = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                elsewhere.hits += 1
                elsewhere.tokens.add(self.headers.get("Authorization", "").removeprefix("Bearer "))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, body = elsewhere.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_CONNECT = do_GET  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A client that turns away is nothing to report."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
