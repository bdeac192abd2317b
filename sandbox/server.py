"""The sandbox on a port: in the foreground for the command, in a thread for tests."""

import socket
import threading
from types import TracebackType
from typing import Self

import uvicorn

from sandbox.app import create_app
from sandbox.core import Sandbox, Settings
from sandbox.world import World


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(2048)
    return listening


def address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(sandbox: Sandbox) -> uvicorn.Server:
    """Quiet, and without a Date header of its own: the sandbox's clock provides that."""
    config = uvicorn.Config(
        create_app(sandbox),
        access_log=False,
        date_header=False,
        server_header=False,
        log_level="critical",
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


class SandboxServer:
    """A sandbox that serves from a background thread while the `with` block runs.

    Without settings it behaves as the real thing (25 requests per 5 seconds) and has a control address. Changes can
    also be made in process, with the functions of `sandbox.changes`: they and the answers take the company's lock.
    """

    def __init__(
        self, *worlds: World, port: int = 0, host: str = "127.0.0.1", settings: Settings | None = None
    ) -> None:
        clocks = {id(world.clock): world.clock for world in worlds}
        if len(clocks) != 1:
            raise ValueError("the companies of a sandbox share one clock")
        self.sandbox = Sandbox(worlds, worlds[0].clock, settings or Settings(control=True))
        self._host, self._port = host, port
        self._server = make_server(self.sandbox)
        self._thread: threading.Thread | None = None
        self.url = ""

    @property
    def world(self) -> World:
        """The first company."""
        return self.sandbox.world

    @property
    def worlds(self) -> list[World]:
        return list(self.sandbox.worlds.values())

    def token(self, world: World | None = None) -> str:
        """The company API token of a company (the first unless told), with all scopes."""
        return self.sandbox.company_tokens[(world or self.world).id]

    def headers(self, world: World | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(world)}"}

    def __enter__(self) -> Self:
        listening = bind(self._host, self._port)
        self.url = address(listening)
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="sandbox", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nobody is waiting for an answer any more: connections that are kept alive are not waited for."""
        self._server.should_exit = self._server.force_exit = True
        if self._thread is not None:
            self._thread.join(timeout=10)
