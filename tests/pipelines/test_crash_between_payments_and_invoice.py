"""A payment that changes without an event brings its invoice up to date, also across a crash in between."""

import pytest

from pipelines.details import DetailsSync
from pipelines.errors import PennylaneUnreachable
from pipelines.landing import Landing
from pipelines.tables import PAYMENTS
from sandbox.changes import receipts
from tests.pipelines.company import Company
from tests.pipelines.conftest import MakeSynced

pytestmark = pytest.mark.usefixtures("plain_loading")


def _unmatch_without_an_event(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    transaction = next(one for one in company.world.transactions if len(one.matches) == 1)
    with monkeypatch.context() as silenced:
        silenced.setattr(type(company.world), "invoice_changed", lambda *_, **__: None)
        receipts.unmatch_transaction(company.world, id=transaction.id)


@pytest.mark.parametrize("place", ["before the invoice is read", "before the payments land", "before they are marked"])
def test_an_invoice_whose_payment_went_without_an_event_is_made_good_after_a_crash(
    make_synced: MakeSynced, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    company = make_synced(15, 120)
    _unmatch_without_an_event(company, monkeypatch)
    assert company.differences()

    def crash(*_: object, **__: object) -> None:
        raise PennylaneUnreachable("the machine went down")

    landed = Landing.land

    def crash_at_payments(landing: Landing, rows: object, *given: object, **more: object) -> None:
        if PAYMENTS in rows:  # type: ignore[operator]
            if place == "before they are marked":
                landed(landing, rows, *given, **more)  # type: ignore[arg-type]
            crash()
        landed(landing, rows, *given, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as crashing:
        if place == "before the invoice is read":
            crashing.setattr(DetailsSync, "_refresh", crash)
        else:
            crashing.setattr(Landing, "land", crash_at_payments)
        with pytest.raises(PennylaneUnreachable):
            company.sync(after=120, rotation=1000)
    company.sync(after=120, rotation=1000)

    assert company.differences() == []
