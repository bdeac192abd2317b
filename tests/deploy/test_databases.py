"""`deploy/databases.sql`, as an administrator runs it: also for a second time, after it failed half-way."""

import subprocess
from contextlib import closing

import psycopg2
import pytest

from tests.deploy.production import PASSWORDS, make_databases
from tests.postgres import PostgresServer, running_postgres

_OWNERS = {"dagster": "dagster", "receivables": "pennylane_sync"}


def test_half_done_it_is_simply_run_again_and_each_role_reaches_its_own_database_alone() -> None:
    given = dict(zip(_OWNERS.values(), PASSWORDS.values(), strict=True))
    with running_postgres() as postgres:
        with pytest.raises(subprocess.CalledProcessError):
            make_databases(postgres, WAREHOUSE_PASSWORD=None)
        make_databases(postgres, DAGSTER_POSTGRES_PASSWORD="mistyped")
        make_databases(postgres)
        for database, owner in _OWNERS.items():
            assert current(postgres, database, owner, given[owner]) == (owner, owner)
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            current(postgres, "dagster", "pennylane_sync", given["pennylane_sync"])


def current(postgres: PostgresServer, database: str, user: str, password: str) -> tuple[str, str]:
    """Who a role is, and who owns the database that it reaches."""
    query = "SELECT current_user, pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    with closing(
        psycopg2.connect(host="127.0.0.1", port=postgres.port, dbname=database, user=user, password=password)
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(query)
        row: tuple[str, str] = cursor.fetchone()
        return row
