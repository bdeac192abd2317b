"""A connections store as the first version of the program made it, written out by hand: never to be changed."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psycopg2
from sqlalchemy import make_url

_TABLES = (
    "CREATE TABLE {schema}schema_version (version INTEGER NOT NULL, PRIMARY KEY (version))",
    """
    CREATE TABLE {schema}connections (
        company_id BIGINT NOT NULL, company_name TEXT NOT NULL, kind TEXT NOT NULL, token TEXT, scopes TEXT NOT NULL,
        connected_at {time} NOT NULL, activated_at {time}, last_sync_at {time}, ready_at {time}, last_error TEXT,
        authorization_lost TEXT, disconnected_at {time}, PRIMARY KEY (company_id)
    )
    """,
    """
    CREATE TABLE {schema}exclusions (
        id {number}, company_id BIGINT NOT NULL, account_id BIGINT NOT NULL, excluded_at {time} NOT NULL,
        excluded_by TEXT NOT NULL, included_at {time}, included_by TEXT, PRIMARY KEY (id)
    )
    """,
    """
    CREATE UNIQUE INDEX one_open_exclusion_per_account ON {schema}exclusions (company_id, account_id)
    WHERE included_at IS NULL
    """,
    """
    CREATE TABLE {schema}leases (
        company_id BIGINT NOT NULL, holder TEXT NOT NULL, owner TEXT NOT NULL, purpose TEXT NOT NULL,
        host TEXT NOT NULL, pid INTEGER NOT NULL, acquired_at {time} NOT NULL, renewed_at {time} NOT NULL,
        PRIMARY KEY (company_id, holder)
    )
    """,
    "INSERT INTO {schema}schema_version VALUES (1)",
    """
    INSERT INTO {schema}connections VALUES
    (7, 'Ateliers Réunis', 'oauth', '{token}', 'customers:readonly', '2026-09-01 08:00:00.000000{zone}', NULL, NULL,
     NULL, NULL, NULL, NULL),
    (8, 'Boulangerie', 'api_token', NULL, '', '2026-09-01 08:00:00.000000{zone}', '2026-09-01 08:00:00.000000{zone}',
     '2026-09-02 08:00:00.000000{zone}', '2026-09-01 09:00:00.000000{zone}', 'gave no usable answer', NULL,
     '2026-09-03 08:00:00.000000{zone}')
    """,
    """
    INSERT INTO {schema}exclusions (company_id, account_id, excluded_at, excluded_by, included_at, included_by) VALUES
    (7, 71, '2026-09-01 08:00:00.000000{zone}', 'ada', NULL, NULL),
    (7, 72, '2026-09-01 08:00:00.000000{zone}', 'ada', '2026-09-02 08:00:00.000000{zone}', 'bob')
    """,
)


def make_store(url: str, token: str) -> None:
    """Make it at an address of either kind; company 7 has the (encrypted) token, 8 was disconnected."""
    if url.startswith("sqlite:"):
        file = Path(make_url(url).database or "")
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file)) as connection, connection:
            words = {"schema": "", "time": "DATETIME", "number": "INTEGER NOT NULL", "zone": "", "token": token}
            for statement in _statements(words):
                connection.execute(statement)
        return
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        words = {
            "schema": "pennylane_sync.",
            "time": "TIMESTAMP WITH TIME ZONE",
            "number": "BIGSERIAL NOT NULL",
            "zone": "+00",
            "token": token,
        }
        for statement in ("CREATE SCHEMA pennylane_sync", *_statements(words)):
            cursor.execute(statement)


def _statements(words: dict[str, str]) -> Sequence[str]:
    return [statement.format(**words) for statement in _TABLES]
