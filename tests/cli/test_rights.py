"""A role in Postgres that may do nothing yet: each command says what an administrator has to run, and no more."""

from pipelines.warehouse import warehouse_at
from sandbox.changes import invoices
from sandbox.server import SandboxServer
from tests.granting import Shared, to_be_run
from tests.pipelines.truth import differences, expected, held
from tests.postgres import PostgresServer
from tests.program import Program

ROLE, DATABASE = '"Œil"', "Books of 2026"
QUOTED = '"Books of 2026" TO """Œil"""'


def test_after_the_sql_that_the_error_shows_all_commands_work_with_a_role_that_may_do_nothing_else(
    program: Program, sandbox: SandboxServer, postgres_server: PostgresServer
) -> None:
    """Whatever the characters of their names."""
    shared = Shared.made(postgres_server, DATABASE)
    address = shared.role(ROLE)
    program = program.with_settings(WAREHOUSE_URL=address)

    said = program.fails("connect", "--token-stdin", "--no-activate", stdin=sandbox.token())
    assert f"GRANT CREATE ON DATABASE {QUOTED}; " in said
    shared.admin(to_be_run(said))

    program.done("connect", "--token-stdin", "--no-activate", stdin=sandbox.token())
    program.done("activate")
    invoices.create_invoice(sandbox.world)
    program.done("sync")
    truth = expected(sandbox.world, sandbox.url)
    assert differences(held(warehouse_at(address), sandbox.world.id), truth) == []
