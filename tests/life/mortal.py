"""A company whose syncs are killed, at places or at moments, and made good by the next one."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from resources.credential import Credential
from resources.installation import Installation
from resources.oauth import SCOPES
from sandbox.changes import customers, invoices, receipts
from sandbox.changes.randomly import change_randomly
from sandbox.server import SandboxServer
from tests.life.dying import installation_of, sync_until
from tests.model.office import sync
from tests.pipelines.truth import differences, expected, held
from tests.program import forking

SECONDS = 120
KILLED = -9


@dataclass(frozen=True)
class Mortal:
    """A company, its sandbox, and where its installation lives."""

    server: SandboxServer
    home: Path
    warehouse_url: str

    @property
    def id(self) -> int:
        return self.server.world.id

    def installation(self) -> Installation:
        return installation_of(self.home, self.server.url, self.warehouse_url)

    def connect(self, *, token_lasts: timedelta = timedelta(days=1)) -> None:
        pair = self.server.sandbox.tokens.issue(self.id, SCOPES)
        credential = Credential(pair.access_token, pair.refresh_token, datetime.now(UTC) + token_lasts)
        self.installation().connections.save(self.id, self.server.world.name, "oauth", credential, SCOPES)

    def sync_killed_at(self, place: str, count: int, *, full: bool) -> bool:
        """Whether the sync came by that place so often, and so was killed; else it has ended well."""
        return self._sync(full, place, count, None)

    def sync_killed_after(self, seconds: float, *, full: bool) -> bool:
        """Whether it was killed by then; else it has ended well."""
        return self._sync(full, "", 0, seconds)

    def _sync(self, full: bool, place: str, count: int, seconds: float | None) -> bool:
        where = (self.home, self.server.url, self.warehouse_url)
        how = {"company_id": self.id, "full": full, "place": place, "time": count}
        process = forking.Process(target=sync_until, args=where, kwargs=how)
        process.start()
        if seconds is not None:
            time.sleep(seconds)
            process.kill()
        process.join(SECONDS)
        assert process.exitcode in (0, KILLED), process.exitcode
        return process.exitcode == KILLED

    def sync(self, *, full: bool = False) -> None:
        sync(self.installation(), self.id, "the next run", full=full)

    def differences(self) -> list[str]:
        truth = expected(self.server.world, self.server.url)
        return differences(held(self.installation().warehouse, self.id), truth)

    def change(self) -> None:
        """Some of everything, so that a sync has rows to merge, to delete and to mark in every table."""
        world = self.server.world
        change_randomly(world, count=5)
        account = customers.create_customer(world)["id"]
        removed, edited, _ = [customers.create_contact(world, customer_id=account)["id"] for _ in range(3)]
        customers.delete_contact(world, id=removed)
        customers.update_contact(world, id=edited)
        invoice, paid, gone = [invoices.create_invoice(world, customer_id=account)["id"] for _ in range(3)]
        receipts.pay_invoice(world, id=invoice, amount="1.00")
        receipts.unmatch_transaction(world, id=receipts.pay_invoice(world, id=paid)["id"])
        invoices.create_credit_note(world, invoice_id=gone)
        invoices.delete_invoice(world)
