"""The settings, all from the environment; a `.env` file in the working directory is read too."""

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from cryptography.fernet import Fernet
from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from resources.errors import PennylaneSyncError


class SettingsError(PennylaneSyncError):
    """A setting is missing or malformed; the text names the variable."""


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address is this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _web_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  a malformed port is only noticed when it is read
    except ValueError:
        raise ValueError("not a web address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address such as https://app.pennylane.com")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user name or password")
    if parts.query or parts.fragment:
        raise ValueError("must hold no '?' or '#'")
    return value


def _encrypted_unless_local(value: str) -> str:
    parts = urlsplit(_web_address(value))
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("must begin with https:// (plain http only for this machine, such as http://localhost:8100)")
    return value.rstrip("/")


def _path(value: str) -> str:
    if not value.startswith("/") or value.startswith("//"):
        raise ValueError("must begin with one slash, such as /oauth/token")
    return value


def _is_read_alike(postgres_url: str) -> bool:
    """Whether all who will read this address take the same part of it for the password.

    libpq, SQLAlchemy and Python end a password at different characters (`@`, `/`, `#`, `?`, `[`); to whoever ends it
    too early the rest is a host, a port or an option, to be repeated in an error.
    """
    address = postgres_url.lower()  # Python's does so with the host
    try:
        libpq, alchemy, python = parse_dsn(address), make_url(address), urlsplit(address)
        parts = [alchemy.username or "", alchemy.password or "", unquote(alchemy.host or "")]
        alike = parts == [unquote(part or "") for part in (python.username, python.password, python.hostname)]
    except (ProgrammingError, ArgumentError, ValueError):
        return False
    named = zip(("user", "password", "host"), parts, strict=True)
    options = all(libpq.get(name, "") == alchemy.query.get(name, part) for name, part in named)
    return alike and options and "@" not in parts[2]


def _database_url(file_scheme: str) -> AfterValidator:
    """Accepts a file of `file_scheme` (its path made absolute) or a Postgres; never repeats the value, it may hold a
    password."""

    def check(secret: SecretStr) -> SecretStr:
        value = secret.get_secret_value()
        scheme, separator, rest = value.partition("://")
        if separator and scheme in ("postgresql", "postgres"):
            if not _is_read_alike(value):
                raise ValueError(
                    "the port is not a number, an option is unknown, or the password holds a character that must be"
                    " written in % form, such as %40 for @"
                )
            return SecretStr(f"postgresql://{rest}")
        if scheme == file_scheme and rest.startswith("/") and rest.strip("/") not in ("", ":memory:"):
            return SecretStr(f"{file_scheme}:///{Path(rest[1:]).absolute()}")
        raise ValueError(f"must be {file_scheme}:///path/of/the.file or postgresql://user:password@host/database")

    return AfterValidator(check)


def _fernet_key(secret: SecretStr) -> SecretStr:
    try:
        Fernet(secret.get_secret_value())
    except ValueError:
        raise ValueError(
            "must be 32 random bytes in URL-safe base64; make one with: openssl rand -base64 32 | tr '+/' '-_'"
        ) from None
    return secret


class Settings(BaseSettings):
    """What an installation is told. Each field carries the name of its variable.

    Raises `SettingsError` when a value is malformed. Its repr shows no secret.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    pennylane_url: Annotated[str, AfterValidator(_encrypted_unless_local)] = "https://app.pennylane.com"
    """API and OAuth live under it; without a slash at its end."""
    pennylane_token_path: Annotated[str, AfterValidator(_path)] = "/oauth/token"  # noqa: S105
    """Pennylane's guide says `/oauth/token`, its published API description `/oauth/oauth/token`."""
    pennylane_client_id: str | None = None
    pennylane_client_secret: SecretStr | None = None
    pennylane_redirect_uri: Annotated[str, AfterValidator(_web_address)] = "http://localhost:8765/callback"
    pennylane_sync_home: Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())] = Field(
        default=Path("data"), validate_default=True
    )
    pennylane_sync_key: Annotated[SecretStr | None, AfterValidator(lambda key: key and _fernet_key(key))] = None
    pennylane_sync_detail_requests: Annotated[int, Field(ge=0)] = 1500
    """What an incremental run may spend on details that no event asked for, in requests."""
    pennylane_sync_keep_runs_days: Annotated[int, Field(ge=1)] = 30
    """For how long Dagster remembers a run, with its event log, in days."""
    warehouse: Annotated[SecretStr, _database_url("duckdb")] | None = Field(None, validation_alias="WAREHOUSE_URL")
    connections: Annotated[SecretStr, _database_url("sqlite")] | None = Field(None, validation_alias="CONNECTIONS_URL")

    def __init__(self, **values: object) -> None:
        problems = None
        try:
            super().__init__(**values)  # type: ignore[arg-type]  # they are validated right there
        except ValidationError as error:
            problems = [
                f"{str(problem['loc'][0]).upper()}: {problem['msg'].removeprefix('Value error, ')}"
                for problem in error.errors(include_input=False, include_context=False)
            ]
        if problems:
            raise SettingsError("; ".join(problems))

    @property
    def home(self) -> Path:
        """The folder of everything local (DuckDB file, connections, key, Dagster's own storage); absolute."""
        return self.pennylane_sync_home

    @property
    def warehouse_url(self) -> str:
        """`duckdb:////absolute/path` or `postgresql://...`. May hold a password: not for logs."""
        if self.warehouse:
            return self.warehouse.get_secret_value()
        return f"duckdb:///{self.home / 'receivables.duckdb'}"

    @property
    def connections_url(self) -> str:
        """`sqlite:////absolute/path` or `postgresql://...`. May hold a password: not for logs."""
        if self.connections:
            return self.connections.get_secret_value()
        if self.warehouse_url.startswith("postgresql://"):
            return self.warehouse_url
        return f"sqlite:///{self.home / 'connections.sqlite'}"
