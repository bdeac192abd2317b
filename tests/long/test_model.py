"""Thousands of random lives of a company, in both databases; each part can be run alone, and is always the same."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from pipelines.landing import Landing
from pipelines.warehouse import warehouse_at
from tests.long.tried import tried
from tests.model.machine import CompanyLife, LifeThroughDlt
from tests.postgres import PostgresServer

PARTS = {"DuckDB": 40, "DuckDB, through dlt": 4, "Postgres, through dlt": 5}
LIVES = {"DuckDB": 50, "DuckDB, through dlt": 15, "Postgres, through dlt": 15}
"""In each part, and 20 steps in each of them."""

THOROUGHLY = settings(
    stateful_step_count=20,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


class LifeInPostgres(LifeThroughDlt):
    counted: ClassVar[Counter[str]] = Counter()
    server: ClassVar[PostgresServer]

    @contextmanager
    def new_warehouse(self, home: Path) -> Iterator[str]:
        name = home.name.replace("-", "_")
        self.server.run(f'CREATE DATABASE "{name}" TEMPLATE with_tables')
        yield self.server.url(name)
        self.server.run(f'DROP DATABASE "{name}" WITH (FORCE)')


KINDS = {"DuckDB": CompanyLife, "DuckDB, through dlt": LifeThroughDlt, "Postgres, through dlt": LifeInPostgres}


@pytest.fixture(scope="module")
def server_with_tables(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> PostgresServer:
    """A server with a database to copy, in which there was another company before."""
    postgres_server.run("CREATE DATABASE with_tables")
    with Landing.opened(warehouse_at(postgres_server.url("with_tables")), 1, tmp_path_factory.mktemp("dlt")):
        return postgres_server


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("where", "part"), [(one, part) for one, parts in PARTS.items() for part in range(parts)])
def test_whatever_happens_the_tables_are_those_that_the_rules_demand(
    server_with_tables: PostgresServer, where: str, part: int
) -> None:
    LifeInPostgres.server = server_with_tables
    life = KINDS[where]
    before = Counter(life.counted)
    try:
        run_state_machine_as_test(
            seed(part)(type(life.__name__, (life,), {})), settings=settings(THOROUGHLY, max_examples=LIVES[where])
        )
    finally:
        tried.update({f"model, {where}: {what}": times - before[what] for what, times in life.counted.items()})
