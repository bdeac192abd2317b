import contextlib
import secrets
import socket

_LOWEST, _HANDED_OUT = 10_000, 32_768


def free_port() -> int:
    """One that no system hands out by itself, or a connection made meanwhile could have it before it is used."""
    while True:
        port = _LOWEST + secrets.randbelow(_HANDED_OUT - _LOWEST)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
