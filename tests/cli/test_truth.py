"""After each command that syncs, the tables equal Pennylane: the whole way, from the command to the file."""

import pytest

from pipelines.warehouse import warehouse_at
from sandbox import core
from sandbox.changes import customers, invoices, receipts
from sandbox.clock import Clock
from sandbox.generator.books import make_worlds
from sandbox.server import SandboxServer
from sandbox.world import World
from tests.pipelines.truth import differences, expected, held
from tests.program import NOW, Program


def _differences(program: Program, sandbox: SandboxServer, world: World, excluded: list[int]) -> list[str]:
    warehouse = warehouse_at(program.warehouse_url)
    return differences(held(warehouse, world.id), expected(world, sandbox.url, excluded))


@pytest.mark.timeout(600)
def test_a_company_with_300_accounts_and_3000_invoices_is_equal_after_activate_an_hourly_and_a_full_sync(
    program: Program,
) -> None:
    worlds = make_worlds(Clock(NOW, frozen=True), customers=300, invoices=3000, companies=1)
    with SandboxServer(*worlds, settings=core.Settings(control=True, rate_limit=0)) as sandbox:
        world = sandbox.world
        excluded = [one.id for one in world.customers][:2]
        program = program.with_settings(PENNYLANE_URL=sandbox.url, PENNYLANE_SYNC_DETAIL_REQUESTS="500")
        program.done("connect", "--token-stdin", "--no-activate", "--exclude", f"{excluded[0]},{excluded[1]}",
                     stdin=sandbox.token())  # fmt: skip
        program.done("activate")
        assert _differences(program, sandbox, world, excluded) == []

        kept = next(one.id for one in world.customers if one.id not in excluded)
        made = invoices.create_invoice(world, customer_id=kept, amount="1234567.89")["id"]
        receipts.pay_invoice(world, id=made, amount="0.01")
        customers.create_customer(world, name="Œuvre & Cie")
        invoices.delete_draft(world)
        invoices.create_invoice(world, customer_id=excluded[0])
        program.done("sync")
        assert _differences(program, sandbox, world, excluded) == []

        program.done("sync", "--full")
        assert _differences(program, sandbox, world, excluded) == []
