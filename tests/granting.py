"""Roles in a Postgres, and the SQL that an administrator runs because an error says so."""

import re
import secrets
from dataclasses import dataclass
from urllib.parse import quote

from tests.postgres import Databases, PostgresServer


def to_be_run(error: str) -> str:
    """The SQL that an error asks an administrator to run."""
    found = re.search(r"An administrator has to run there: (.*; )", error)
    assert found, error
    return found[1]


@dataclass(frozen=True)
class Shared:
    """A database in which others may do nothing that they were not granted, and its administrator."""

    server: PostgresServer
    name: str

    @classmethod
    def made(cls, server: PostgresServer, name: str) -> "Shared":
        server.run(f'CREATE DATABASE "{name}"')
        server.run(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
        return cls(server, name)

    def admin(self, sql: str) -> None:
        """The administrator runs this, statement by statement."""
        for statement in sql.split(";"):
            if statement.strip():
                Databases(self.admin_url).run(statement)

    @property
    def admin_url(self) -> str:
        return self._url("postgres", self.server.password)

    def role(self, name: str) -> str:
        """The address for a new role, which may connect and nothing else."""
        password = secrets.token_hex(8)
        quoted = '"' + name.replace('"', '""') + '"'
        self.admin(f"CREATE ROLE {quoted} LOGIN PASSWORD '{password}'")
        self.admin(f'GRANT CONNECT ON DATABASE "{self.name}" TO {quoted}')
        return self._url(name, password)

    def _url(self, role: str, password: str) -> str:
        return f"postgresql://{quote(role)}:{password}@127.0.0.1:{self.server.port}/{quote(self.name)}"
