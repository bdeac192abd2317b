"""`pennylane-sync` as a person has it: a process of its own, a home of its own, and a sandbox in Pennylane's place."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import requests

from cli.main import main
from sandbox import core
from sandbox.clock import Clock
from sandbox.generator.books import make_worlds
from sandbox.server import SandboxServer
from tests.logged import sitecustomize as logged
from tests.ports import free_port

NOW = datetime(2026, 9, 15, 8, 0, tzinfo=UTC)
PROGRAM = Path(sys.executable).with_name("pennylane-sync")
SECONDS = 120
FOREIGN = ("PENNYLANE_", "DAGSTER_", "WAREHOUSE_URL", "CONNECTIONS_URL")
"""Settings of whoever runs the tests, which are none of theirs."""


forking = multiprocessing.get_context("forkserver")
forking.set_forkserver_preload(
    ["cli.main", "cli.connect", "cli.running", "cli.disconnect", "tests.life.dying", __name__]
)


def _main(arguments: Sequence[str], environment: dict[str, str], folder: Path, streams: Sequence[Path]) -> None:
    """The program's entry point, with everything of a process that it could look at in its place."""
    for number, (stream, flags) in enumerate(zip(streams, (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT] * 2), strict=True)):
        os.dup2(os.open(stream, flags, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, encoding="utf-8") for number, mode in enumerate("rww"))
    for name in os.environ.keys() - environment.keys():
        if name.startswith(FOREIGN):
            del os.environ[name]
    os.environ.update(environment)
    if os.environ.get(logged.FOLDER):
        logged.log_everything(Path(os.environ[logged.FOLDER]))
    os.chdir(folder)
    sys.argv = ["pennylane-sync", *arguments]
    main()


@contextmanager
def small_sandbox(**settings: Any) -> Iterator[SandboxServer]:
    """Two small companies, always the same ones: a home that was filled from one such sandbox fits any other."""
    worlds = make_worlds(Clock(NOW, frozen=True), customers=20, invoices=100, companies=2)
    with SandboxServer(*worlds, settings=core.Settings(**{"control": True, "rate_limit": 0, **settings})) as server:
        yield server


def control(server: SandboxServer, method: str, action: str, **body: object) -> dict[str, Any]:
    answer = requests.request(method, f"{server.url}/control/{action}", json=body, timeout=30)
    answer.raise_for_status()
    content: dict[str, Any] = answer.json()
    return content


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document that standard output holds."""
        return json.loads(self.out)


class Program:
    """The installed program with a home and settings."""

    def __init__(self, home: Path, url: str, **settings: str) -> None:
        self.home = home
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)} | {
            "PENNYLANE_URL": url,
            "PENNYLANE_SYNC_HOME": str(home),
            "PENNYLANE_CLIENT_ID": core.CLIENT_ID,
            "PENNYLANE_CLIENT_SECRET": core.CLIENT_SECRET,
            "PENNYLANE_REDIRECT_URI": f"http://127.0.0.1:{free_port()}/callback",
            "NO_PROXY": "127.0.0.1,localhost",
            **settings,
        }

    def with_settings(self, **settings: str) -> "Program":
        changed = Program(self.home, "")
        changed.environment = self.environment | settings
        return changed

    def run(self, *arguments: str, stdin: str = "") -> Ran:
        """Runs a command to its end, in a process that has imported the program already."""
        with tempfile.TemporaryDirectory() as folder:
            streams = [Path(folder, name) for name in ("in", "out", "err")]
            streams[0].write_text(stdin, encoding="utf-8")
            process = forking.Process(target=_main, args=(arguments, self.environment, self.home.parent, streams))
            process.start()
            process.join(SECONDS)
            assert process.exitcode is not None, f"{arguments} does not end"
            return Ran(process.exitcode, *(stream.read_text(encoding="utf-8") for stream in streams[1:]))

    def done(self, *arguments: str, stdin: str = "") -> Ran:
        """Runs a command that has to succeed, without a word on standard error."""
        ran = self.run(*arguments, stdin=stdin)
        assert (ran.status, ran.err) == (0, ""), ran
        return ran

    def fails(self, *arguments: str, stdin: str = "", status: int = 1) -> str:
        """The one line on standard error of a command that has to fail; standard output stays empty."""
        ran = self.run(*arguments, stdin=stdin)
        assert ran.status == status, ran
        return one_line(ran)

    def start(self, *arguments: str, in_background: bool = False, **options: Any) -> "subprocess.Popen[str]":
        """A running command, whose output can be read; as a script starts it `in_background`, it ignores Ctrl-C."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(
            [PROGRAM, *arguments],
            env=self.environment,
            cwd=self.home.parent,
            text=True,
            encoding="utf-8",
            preexec_fn=ignore_ctrl_c if in_background else ctrl_c_as_usual,  # noqa: PLW1509 - only set a handler
            **streams,
        )

    def status(self) -> list[dict[str, Any]]:
        """What `status --json` prints."""
        documents: list[dict[str, Any]] = self.done("status", "--json").document
        return documents

    @property
    def warehouse_url(self) -> str:
        """Where its tables are."""
        return self.environment.get("WAREHOUSE_URL") or f"duckdb:///{self.home / 'receivables.duckdb'}"

    @contextmanager
    def sql_tool(self, *, read_only: bool = False) -> Iterator[Any]:
        """The database as a person has it in front of them, with names looked up among the tables."""
        if self.warehouse_url.startswith("postgresql:"):
            with closing(psycopg2.connect(self.warehouse_url, options="-c search_path=receivables")) as connection:
                connection.autocommit = True
                yield connection.cursor()
        else:
            with duckdb.connect(self.warehouse_url.removeprefix("duckdb:///"), read_only=read_only) as file:
                file.execute("USE receivables.receivables")
                yield file

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What the database says."""
        with self.sql_tool(read_only=True) as tool:
            if self.warehouse_url.startswith("postgresql:"):
                sql = sql.replace("?", "%s")
            tool.execute(sql, parameters or None)
            return [tuple(row) for row in tool.fetchall()]

    def accounts(self, company_id: int) -> set[int]:
        found = self.rows("SELECT account_id FROM accounts WHERE company_id = ?", company_id)
        return {account for (account,) in found}


def ctrl_c_as_usual() -> None:
    """For a process that begins: tests in a shell's background would hand on that Ctrl-C is ignored.

    With it Dagster ignores SIGTERM, too.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ignore_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def one_line(ran: Ran) -> str:
    """What a failed command says: one line, no traceback, nothing on standard output."""
    assert ran.out == "", ran
    lines = ran.err.splitlines()
    assert len(lines) == 1, ran.err
    assert "Traceback" not in ran.err
    assert core.CLIENT_SECRET not in ran.err
    return lines[0]


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, to tell whether anything was written."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def copied(home: Path, to: Path) -> Path:
    """A home of one's own with the same content."""
    return Path(shutil.copytree(home, to, symlinks=True))
