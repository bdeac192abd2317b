"""Everything is done with marked secrets, everything that was written or printed is searched: none is found.

Not searched are the environment of the processes, where the secrets are given, and the key file of an installation.
"""

import base64
import gzip
import json
import secrets
import sqlite3
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import duckdb
import psutil  # type: ignore[import-untyped]
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from cli.connect import Identified
from pipelines.client import OneToken, Pennylane
from pipelines.landing import Landing
from pipelines.warehouse import warehouse_at
from resources.callback import CallbackAnswer
from resources.connections import Connections
from resources.credential import Credential
from resources.installation import Company, Installation
from resources.oauth_session import PennylaneOAuth
from resources.settings import Settings
from resources.store import Store
from resources.tokens import TokenSource
from resources.vault import Vault
from sandbox import core
from sandbox.oauth.codes import Codes
from sandbox.server import SandboxServer
from sandbox.tokens import Pair, Tokens
from tests.assets.serving import started, unfinished, wait_until
from tests.cli.test_connect import authorize_in
from tests.logged import sitecustomize as logged
from tests.pipelines.conftest import MakeCompany
from tests.ports import free_port
from tests.postgres import PostgresServer
from tests.program import Program, control, small_sandbox
from tests.resources.browser import Browser
from tests.searching import LENGTH, Search, duckdb_rows, files, postgres_tables

_CHARACTERS = "é@/:%+ #"
"""Of a password, each of which has to be written otherwise in an address."""

_INSTANCE = "{ instance { info } version runsOrError { ... on Runs { results { runConfigYaml tags { key value } } } } }"


def marked(what: str) -> str:
    """A secret whose beginning tells what it is, and is found nowhere else."""
    return f"{secrets.token_hex(4)}-{what}-{secrets.token_urlsafe(16)}"


class Handed:
    """Remembers every secret that the sandbox hands out or is shown: tokens, codes, PKCE verifiers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.secrets: dict[str, str] = {}
        issue, redeem = Tokens.issue, Codes.redeem

        def issued(tokens: Tokens, company_id: int, scopes: tuple[str, ...]) -> Pair:
            pair = issue(tokens, company_id, scopes)
            number = len(self.secrets)
            self.secrets |= {f"access {number}": pair.access_token, f"refresh {number}": pair.refresh_token}
            return pair

        def redeemed(codes: Codes, code: str, address: str, verifier: str) -> tuple[int, tuple[str, ...]] | None:
            number = len(self.secrets)
            self.secrets |= {f"code {number}": code, f"verifier {number}": verifier}
            return redeem(codes, code, address, verifier)

        monkeypatch.setattr(Tokens, "issue", issued)
        monkeypatch.setattr(Codes, "redeem", redeemed)


class Arguments:
    """The arguments of all processes that the test starts, while the `with` block runs."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            for process in psutil.Process().children(recursive=True):
                try:
                    self.seen.add("\0".join(process.cmdline()))
                except psutil.Error:
                    continue

    def __enter__(self) -> Self:
        self._looking.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._ended.set()
        self._looking.join()


class Printed:
    """Runs commands and keeps what they print."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str]] = []

    def run(self, program: Program, *arguments: str, status: int = 0, stdin: str = "") -> str:
        ran = program.run(*arguments, stdin=stdin)
        assert ran.status == status, ran
        self.kept.append((" ".join(arguments), ran.out + ran.err))
        return ran.out + ran.err

    def start(self, program: Program, *arguments: str, status: int = 0, stdin: str = "") -> None:
        """The same as a process of its own, whose arguments can be seen."""
        process = program.start(*arguments, stdin=subprocess.PIPE)
        out, err = process.communicate(stdin, timeout=180)
        assert process.returncode == status, err
        self.kept.append((" ".join(arguments), out + err))

    def but(self, *personal: str) -> Iterator[tuple[str, bytes]]:
        """All of it, but from commands that are for showing personal data."""
        return ((f"printed by {what}", text.encode()) for what, text in self.kept if what not in personal)


def people(sandbox: SandboxServer) -> dict[str, str]:
    """Names, addresses, telephone numbers of customers and of their contacts."""
    texts: set[str] = set()
    for world in sandbox.worlds:
        state = control(sandbox, "GET", f"state?company={world.id}")
        for one in [*state["customers"], *(one for some in state["contacts"].values() for one in some)]:
            name = one.get("name") or f"{one['first_name']} {one['last_name']}"
            texts |= {name, str(one.get("phone") or ""), str(one.get("email") or ""), *(one.get("emails") or [])}
    return {f"person {text}": text for text in texts if len(text) >= LENGTH}


def debugged(program: Program, logs: Path, **settings: str) -> Program:
    """The same with every logger at level debug, into files in `logs`."""
    logs.mkdir(exist_ok=True)
    everything = {
        logged.FOLDER: str(logs),
        "PYTHONPATH": str(Path(logged.__file__).parent),
        "RUNTIME__LOG_LEVEL": "DEBUG",
        "PYTHONFAULTHANDLER": "1",
    }
    return program.with_settings(**everything, **settings)


def all_logs(logs: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in logs.iterdir())


def refuse_inserts(address: str) -> None:
    """The warehouse takes no more invoices."""
    with warehouse_at(address).session() as session:
        session.execute("REVOKE INSERT ON receivables.invoices FROM books")


@contextmanager
def database(server: PostgresServer, role: str, password: str) -> Iterator[str]:
    """A database of a role that needs this password; its address."""
    server.run(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    server.run(f"CREATE DATABASE {role} OWNER {role}")
    try:
        yield f"postgresql://{role}:{quote(password, safe='')}@127.0.0.1:{server.port}/{role}"
    finally:
        server.run(f"DROP DATABASE {role} WITH (FORCE)")
        server.run(f"DROP ROLE {role}")


def connected(program: Program, sandbox: SandboxServer, printed: Printed, given: Mapping[str, str]) -> None:
    """The first company by OAuth, the second by its API token; a token unknown to Pennylane connects nothing."""
    with program.start("connect", "--no-browser", "--no-activate") as process:
        authorize_in(process, Browser(sandbox.world.id))
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    printed.kept.append(("connect", out + err))
    printed.start(program, "connect", "--token-stdin", "--no-activate", stdin=given["API token"])
    printed.run(program, "connect", "--token-stdin", stdin=given["refused API token"], status=1)


def served(program: Program, sandbox: SandboxServer, printed: Printed) -> None:
    """Dagster's own servers launch both first syncs, a run that renews its token, and one whose token was revoked."""
    first, second = (world.id for world in sandbox.worlds)
    with started(program) as server:
        lines: list[str] = []
        assert server.process.stdout is not None
        reading = threading.Thread(target=lines.extend, args=(server.process.stdout,), daemon=True)
        reading.start()  # a pipe that nobody reads stops its writers when it is full
        for company in (first, second):
            server.launch(company, "initial_sync")
        wait_until(lambda: unfinished(server) == [])
        assert [status for _, status in server.runs()] == ["SUCCESS", "SUCCESS"], lines
        control(sandbox, "POST", f"tokens/revoke_all?company={second}")
        control(sandbox, "POST", "clock", advance_seconds=86_400)
        for company in (first, second):
            server.launch(company)
        wait_until(lambda: unfinished(server) == [])
        assert sorted(status for _, status in server.runs()[:2]) == ["FAILURE", "SUCCESS"], lines
        printed.kept.append(("GraphQL", json.dumps(server.ask(_INSTANCE))))
        server.process.terminate()
        reading.join(timeout=90)
        printed.kept.append(("start", "".join(lines)))


def commanded(program: Program, sandbox: SandboxServer, printed: Printed) -> None:
    """Every command that a person gives."""
    excluded = str(next(iter(sandbox.world.customers)).id)
    control(sandbox, "POST", "changes/update_customer")
    for command in (
        ("exclude", excluded),
        ("sync",),
        ("include", excluded),
        ("sync", "--full"),
        ("verify",),
        ("accounts",),
    ):
        printed.run(program, *command, "--company", str(sandbox.world.id), "--debug")
    printed.run(program, "status")
    printed.run(program, "status", "--json")


def failed(program: Program, sandbox: SandboxServer, printed: Printed, given: Mapping[str, str], books: str) -> None:
    """Whatever can be wrong, with tracebacks."""
    one = ("--company", str(sandbox.world.id), "--debug")
    right, wrong = (quote(given[f"{which} password"], safe="") for which in ("warehouse", "wrong"))
    refused = books.replace(right, wrong)
    nobody = f"{books.rpartition(':')[0]}:{free_port()}/books"
    control(sandbox, "POST", "clock", advance_seconds=86_400)
    failing: list[tuple[dict[str, str], str, str]] = [
        ({"PENNYLANE_CLIENT_SECRET": given["wrong client secret"]}, "sync", "does not know this app"),
        ({"WAREHOUSE_URL": nobody}, "sync", "Postgres cannot be reached"),
        ({"CONNECTIONS_URL": nobody}, "status", "cannot be used"),
        ({"WAREHOUSE_URL": refused}, "sync", "password authentication failed"),
        ({"WAREHOUSE_URL": books.replace("%40", "@")}, "status", "the password holds a character"),
        ({"PENNYLANE_SYNC_KEY": given["wrong key"]}, "sync", "another key than PENNYLANE_SYNC_KEY"),
    ]
    for settings, command, what in failing:
        options = one if command == "sync" else ("--debug",)
        assert what in printed.run(program.with_settings(**settings), command, *options, status=1)
    refuse_inserts(books)
    control(sandbox, "POST", "changes/create_invoice")
    assert "permission denied" in printed.run(program, "sync", *one, status=1)
    printed.run(program, "disconnect", "--yes", *one)


@pytest.mark.timeout(600)
def test_no_secret_and_no_person_is_found_after_all_was_done_with_postgres(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed, printed, logs = Handed(monkeypatch), Printed(), tmp_path / "logs"
    given = {
        "client secret": marked("client"),
        "wrong client secret": marked("wrong-client"),
        "API token": marked("api-token"),
        "refused API token": marked("refused"),
        "warehouse password": _CHARACTERS + marked("warehouse"),
        "connections password": _CHARACTERS[::-1] + marked("connections"),
        "wrong password": _CHARACTERS + marked("wrong-password"),
        "key": Fernet.generate_key().decode(),
        "wrong key": Fernet.generate_key().decode(),
    }
    rests = {f"rest of {name}": secret[len(_CHARACTERS) :] for name, secret in given.items()}
    with (
        small_sandbox(client_secret=given["client secret"]) as sandbox,
        database(postgres_server, "books", given["warehouse password"]) as books,
        database(postgres_server, "access", given["connections password"]) as access,
        Arguments() as arguments,
    ):
        sandbox.sandbox.tokens.add_company_token(sandbox.worlds[1].id, token=given["API token"])
        program = debugged(
            Program(tmp_path / "home", sandbox.url),
            logs,
            PENNYLANE_CLIENT_SECRET=given["client secret"],
            PENNYLANE_SYNC_KEY=given["key"],
            WAREHOUSE_URL=books,
            CONNECTIONS_URL=access,
        )
        connected(program, sandbox, printed, given)
        served(program, sandbox, printed)
        commanded(program, sandbox, printed)
        failed(program, sandbox, printed, given, books)

        connections = list(postgres_tables(postgres_server.url("access")))
        warehouse = list(postgres_tables(postgres_server.url("books")))
        written = [*files(tmp_path), *connections]
        started_with = [("arguments", one.encode()) for one in arguments.seen]
        persons = Search(people(sandbox))

    # There was something to search:
    assert {name.split()[0] for name in handed.secrets} == {"access", "refresh", "code", "verifier"}
    assert len([name for name in handed.secrets if name.startswith("refresh")]) >= 2
    said = all_logs(logs)
    for logger in ("DEBUG urllib3.connectionpool", "INFO sqlalchemy.engine", "DEBUG dlt", "DEBUG dagster"):
        assert f"{logger}" in said, logger
    for program_name in ("dagster\0dev", "connect\0--token-stdin", "dagster\0api\0grpc", "dagster._daemon"):
        assert any(program_name in one for one in arguments.seen), program_name
    assert any(place.startswith("rows of") and "dagster" in place for place, _ in written)
    assert "Traceback" in "".join(text for _, text in printed.kept)
    assert persons.among(warehouse) != []

    search = Search({**given, **rests, **handed.secrets})
    assert search.among([*printed.but(), *written, *warehouse, *started_with]) == []
    meant_to_show = f"accounts --company {sandbox.world.id} --debug"
    assert persons.among([*printed.but(meant_to_show), *written]) == []


@pytest.mark.duckdb("files; the test above searches Postgres")
def test_no_secret_and_no_person_is_found_in_an_installation_of_files(
    synced: Program, sandbox: SandboxServer, tmp_path: Path
) -> None:
    """DuckDB, SQLite and a key file: all is for its owner alone, and encrypted where it has to be."""
    printed, logs = Printed(), tmp_path / "logs"
    program = debugged(synced, logs)
    control(sandbox, "POST", "changes/create_customer")
    printed.run(program, "sync", "--full", "--debug")
    control(sandbox, "POST", "faults", path="/changelogs/", kind="status", status=422, times=None)
    printed.run(program, "sync", "--debug", status=1)
    control(sandbox, "DELETE", "faults")
    control(sandbox, "POST", "tokens/revoke_all")
    printed.run(program, "sync", "--debug", status=1)
    printed.run(program, "status")
    key = synced.home / "key"

    open_to_others = [path for path in synced.home.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o077]
    search = Search({"API token": sandbox.token(), "key": key.read_text(), "client secret": core.CLIENT_SECRET})
    everywhere = [*printed.but(), *files(tmp_path, "key")]
    persons = Search(people(sandbox))

    assert key.stat().st_mode & 0o777 == 0o600
    assert open_to_others == []
    assert any(place.startswith("rows of") and place.endswith(".duckdb") for place, _ in everywhere)
    assert any(place.startswith("rows of") and "connections.sqlite" in place for place, _ in everywhere)
    assert search.among(everywhere) == []
    assert persons.among([*printed.but(), *files(tmp_path, "receivables.duckdb")]) == []
    # The people are there, where they are meant to be:
    assert persons.within(duckdb_rows(synced.home / "receivables.duckdb"))


def test_a_lost_key_is_said_and_connecting_again_is_all_it_takes(synced: Program, sandbox: SandboxServer) -> None:
    key = synced.home / "key"
    lost = key.read_bytes()
    key.unlink()
    assert f"The stored tokens cannot be read: the key file {key} is gone" in synced.fails("sync")
    assert synced.status()[0]["state"] == "active"

    assert synced.run("connect", "--token-stdin", stdin=sandbox.token()).status == 0
    synced.done("sync")
    assert key.read_bytes() != lost
    assert key.stat().st_mode & 0o777 == 0o600


def test_dlt_s_working_files_hold_no_secret(
    make_company: MakeCompany, postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are gone after a sync; here they are kept, as a crash would leave them."""
    monkeypatch.setattr(Landing, "_clear", lambda _: None)
    password, token = marked("password"), marked("token")
    with database(postgres_server, "kept", password) as address:
        company = make_company(6, 20, warehouse=warehouse_at(address))
        company.server.sandbox.tokens.add_company_token(company.id, token=token)
        company.sync(pennylane=Pennylane(company.server.url, OneToken(token)))
        kept = list(files(company.work_dir))
        assert any(place.endswith("package_completed.json") for place, _ in kept)
        assert not any(
            "trace" in Path(place).name for place, _ in kept
        )  # it would hold each setting that dlt looked up
        assert Search({"password": password, "token": token}).among(kept) == []


def test_nothing_that_holds_a_secret_shows_it_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password, token, refresh, client = (marked(what) for what in ("password", "token", "refresh", "client"))
    address = f"postgresql://me:{password}@127.0.0.1:1/books"
    key = Fernet.generate_key().decode()
    for name, value in {
        "PENNYLANE_CLIENT_ID": "id",
        "PENNYLANE_CLIENT_SECRET": client,
        "PENNYLANE_SYNC_KEY": key,
        "WAREHOUSE_URL": address,
        "CONNECTIONS_URL": address,
        "PENNYLANE_SYNC_HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    settings, credential, vault = Settings(), Credential(token, refresh), Vault(tmp_path, SecretStr(key))
    connections, installation = Connections(address, vault), Installation()
    pennylane = Pennylane("https://app.pennylane.com", OneToken(token), "1")
    session = PennylaneOAuth(settings, token={"access_token": token, "refresh_token": refresh})
    landing = Landing(warehouse_at(address), 1, tmp_path)
    holders: list[Any] = [
        settings,
        credential,
        vault,
        vault._fernet(create=False),
        connections,
        installation,
        installation.connections,
        installation.warehouse,
        installation.settings.pennylane_client_secret,
        pennylane,
        vars(pennylane),
        OneToken(token),
        session,
        session.auth,
        landing,
        vars(landing),
        warehouse_at(address),
        Store(address),
        vars(Store(address)),
        TokenSource(connections, 1, settings),
        CallbackAnswer(token, None),
        Identified(1, "Company", "oauth", credential, []),
        Company(connection=None, pennylane=pennylane, landing=landing),  # type: ignore[arg-type]
    ]
    shown = [(type(one).__name__, f"{one!r} {one!s} {one}".encode()) for one in holders]
    look_for = {"password": password, "token": token, "refresh": refresh, "client": client, "key": key}
    assert Search(look_for).among(shown) == []


SECRET = marked("planted")
_PLANTED: Mapping[str, bytes] = {
    "as it is": SECRET.encode(),
    "its beginning": SECRET[:LENGTH].encode(),
    "in an address": quote(f"p@{SECRET}").encode(),
    "hexadecimal": SECRET.encode().hex().encode(),
    "HEXADECIMAL": SECRET.encode().hex().upper().encode(),
    **{f"Base64, after {n}": base64.b64encode(b"n" * n + SECRET.encode()) for n in range(7)},
    **{f"URL-safe Base64, after {n}": base64.urlsafe_b64encode(b"\xff" * n + SECRET.encode()) for n in range(3)},
    "client and secret, as in Basic authorization": base64.b64encode(f"sandbox-client:{SECRET}".encode()),
    "packed as dlt packs its state": base64.b64encode(zlib.compress(json.dumps({"a": SECRET}).encode())),
    "zipped": gzip.compress(f"x{SECRET}x".encode()),
}


@pytest.mark.parametrize("how", _PLANTED)
def test_a_planted_secret_is_found_in_whatever_form(how: str) -> None:
    search = Search({"secret": SECRET})
    before = b"" if how == "zipped" else b'DEBUG some.logger: {"a": "'
    assert search.within(before + _PLANTED[how] + b'"}\n') == {"secret"}
    assert search.within(SECRET[: LENGTH - 1].encode() + SECRET[LENGTH:].encode()) == set()


@pytest.mark.parametrize("secret", [_CHARACTERS + "password", "pass&word<é>\"'\\x", "s3cr3t~ / + ="])
def test_a_planted_password_with_special_characters_is_found_too(secret: str) -> None:
    search = Search({"secret": secret})
    for shown in (secret, quote(secret), quote(secret, safe=""), json.dumps(secret), secret.encode().hex()):
        assert search.within(f"({shown})".encode()) == {"secret"}, shown


def test_a_planted_secret_is_found_in_each_place_that_is_searched(tmp_path: Path, postgres_url: str) -> None:
    search = Search({"secret": SECRET})
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "run.err").write_text(f"Traceback: {SECRET}")
    with sqlite3.connect(tmp_path / "runs.db") as events:
        events.execute("CREATE TABLE event_logs (event TEXT)")
        events.execute("INSERT INTO event_logs VALUES (?)", ("x" * 10_000 + SECRET + "x" * 10_000,))
    events.close()
    with duckdb.connect(str(tmp_path / "books.duckdb")) as books:
        books.execute("CREATE SCHEMA receivables")
        books.execute("CREATE TABLE receivables.notes AS SELECT ? AS note FROM range(5000)", [SECRET])
    found = {place.rpartition(str(tmp_path))[2]: place for place in search.among(files(tmp_path))}
    assert found.keys() >= {"/a/b/run.err: secret", "/runs.db: secret", "/books.duckdb: secret"}
    assert [place for place in found.values() if place.startswith("rows of")] != []

    installation = Connections(postgres_url, Vault(tmp_path))
    installation.save(1, "Name", "api_token", Credential(SECRET), [])
    assert search.among(postgres_tables(postgres_url)) == []
    installation.record_failure(1, f"said {SECRET}")
    assert search.among(postgres_tables(postgres_url)) == ["pennylane_sync.connections: secret"]

    with Arguments() as arguments:
        with subprocess.Popen(["sleep", "30", "--", "0"], stderr=subprocess.DEVNULL) as fine:
            fine.kill()
        with subprocess.Popen(["python3", "-c", "import time; time.sleep(30)", SECRET]) as careless:
            until = time.monotonic() + 30
            while not search.within("".join(arguments.seen).encode()):
                assert time.monotonic() < until
                time.sleep(0.05)
            careless.kill()
