"""A store that an earlier version of the program made becomes one of this version, whole or not at all."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import Connection, inspect, text

from resources import migrations
from resources.connections import Connections
from resources.credential import Credential
from resources.migrations import Migration, version
from resources.store import SCHEMA, Store, StoreUnavailable, schema_version
from resources.vault import Vault
from tests.program import forking
from tests.resources.version_1 import make_store

Shape = dict[str, tuple[Any, ...]]


@pytest.fixture
def old_store(store_url: str, tmp_path: Path) -> str:
    """The address of a store of version 1, of either kind."""
    make_store(store_url, Vault(tmp_path / "home").encrypt(Credential("access", "refresh").to_json()))
    return store_url


def shape(url: str) -> Shape:
    """Each table with its columns, key and indexes."""
    with Store(url).reading() as transaction:
        found = inspect(transaction)
        schema = SCHEMA if url.startswith("postgresql") else None
        return {
            table: (
                sorted((one["name"], str(one["type"]), one["nullable"]) for one in found.get_columns(table, schema)),
                found.get_pk_constraint(table, schema)["constrained_columns"],
                sorted((one["name"], one["unique"]) for one in found.get_indexes(table, schema)),
            )
            for table in found.get_table_names(schema)
        }


def versions(url: str) -> list[int]:
    with Store(url).reading() as transaction:
        return list(transaction.scalars(schema_version.select()))


def test_a_store_of_the_first_version_is_used_with_all_that_was_in_it(old_store: str, tmp_path: Path) -> None:
    connections = Connections(old_store, Vault(tmp_path / "home"))
    first, second = connections.all()
    day = datetime(2026, 9, 1, 8, tzinfo=UTC)
    assert (first.company_name, first.state, first.scopes) == ("Ateliers Réunis", "connected", ("customers:readonly",))
    assert (second.company_name, second.state, second.activated_at) == ("Boulangerie", "disconnected", day)
    assert connections.excluded(7) == {71: day}
    assert [one.included_by for one in connections.exclusion_history(7)] == [None, "bob"]
    with connections.token_slot(7) as slot:
        assert slot.credential() == Credential("access", "refresh")
    assert connections.exclude(7, [71, 73], by="ada") == [73]
    connections.save(8, "Boulangerie", "api_token", Credential("again"), [])
    with connections.lease(8, "a run", "sync"):
        assert connections.get(8).state == "syncing"


def test_a_store_of_the_first_version_becomes_just_what_a_new_one_is(old_store: str) -> None:
    upgraded = shape(old_store)
    assert versions(old_store) == [version()]
    with Store(old_store).writing() as transaction:
        for table in upgraded:
            transaction.execute(text(f"DROP TABLE {SCHEMA + '.' if 'postgresql' in old_store else ''}{table}"))
    assert shape(old_store) == upgraded


def _rename(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE connections RENAME COLUMN company_name TO name"))


def _add(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE connections ADD COLUMN country TEXT NOT NULL DEFAULT 'FR'"))
    connection.execute(text("UPDATE connections SET country = 'BE' WHERE name = 'Boulangerie'"))


INVENTED = (_rename, _add)


def names(url: str) -> list[tuple[str, str]]:
    """As the invented version 3 has them."""
    with Store(url).reading() as transaction:
        schema = f"{SCHEMA}." if "postgresql" in url else ""
        rows = transaction.execute(text(f"SELECT name, country FROM {schema}connections ORDER BY company_id"))
        return [tuple(row) for row in rows]


NEWER = [("Ateliers Réunis", "FR"), ("Boulangerie", "BE")]


def test_migrations_are_made_in_their_order_and_once(old_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", INVENTED[:1])
    assert versions(old_store) == [2]
    monkeypatch.setattr(migrations, "MIGRATIONS", INVENTED)
    for _ in range(2):
        assert versions(old_store) == [3]
        assert names(old_store) == NEWER


def test_a_store_of_a_newer_version_is_refused_and_not_touched(old_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(migrations, "MIGRATIONS", INVENTED)
        assert versions(old_store) == [3]
    for use in (Store(old_store).reading, Store(old_store).writing):
        with pytest.raises(StoreUnavailable, match=r"newer pennylane-sync .*version 3, 1 here.*: update this"), use():
            pass
    monkeypatch.setattr(migrations, "MIGRATIONS", INVENTED)
    assert names(old_store) == NEWER


def open_newer(url: str, then: Callable[[], None] | None = None) -> list[int]:
    """In a process of its own: use the store with a program of version 3; `then` happens before it is committed."""

    def last(connection: Connection) -> None:
        _add(connection)
        if then:
            then()

    steps: tuple[Migration, ...] = (_rename, last)
    with mock.patch.object(migrations, "MIGRATIONS", steps):
        return versions(url)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_dies_in_a_migration_leaves_the_store_as_it_was(
    old_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = forking.Process(target=open_newer, args=(old_store, die))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert versions(old_store) == [1]
    monkeypatch.setattr(migrations, "MIGRATIONS", INVENTED)
    assert versions(old_store) == [3]
    assert names(old_store) == NEWER


def test_of_processes_that_come_at_once_one_migrates_and_the_others_wait(
    old_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("forkserver")) as processes:
        found = list(processes.map(open_newer, [old_store] * 8))
    assert found == [[3]] * 8
    monkeypatch.setattr(migrations, "MIGRATIONS", INVENTED)
    assert names(old_store) == NEWER
