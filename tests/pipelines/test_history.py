"""What matters for follow-up is read first; the history of a first or full listing follows in shares."""

from collections.abc import Iterable
from typing import Any

import pytest

from pipelines import details
from pipelines.client import WORKERS, Pennylane
from pipelines.details import DetailsSync, Share
from pipelines.due import pending
from pipelines.errors import NotListed
from pipelines.landing import Landing
from pipelines.pace import REQUESTS_PER_SECOND
from pipelines.progress import Pace, Progress
from sandbox.changes import customers, invoices, receipts
from sandbox.world import World
from tests.pipelines.company import DAY, HOUR, NOW, Company
from tests.pipelines.conftest import MakeCompany, MakeSynced
from tests.pipelines.disturbing import disturb, slow
from tests.pipelines.truth import Row, expected

pytestmark = pytest.mark.usefixtures("plain_loading")

LATELY = 35 * DAY
FEEDS = 2


class Listening(Pennylane):
    """Notes which details were asked for, in their order."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.asked: list[tuple[str, int]] = []

    def get(self, path: str, params: Any = None) -> dict[str, Any]:
        _, resource, *rest = path.split("/")
        if len(rest) == 2:
            self.asked.append((resource, int(rest[0])))
        return super().get(path, params)


Asked = set[tuple[str, int]]


def _unpaid(world: World, url: str) -> Asked:
    """What a receivables team needs first: what is unpaid, and the contacts of who owes it."""
    return _invoices_and_accounts(
        row
        for row in expected(world, url)["invoices"].values()
        if not row["draft"] and not row["paid"] and row["status"] not in ("cancelled", "archived", "paid")
    )


def _matters(world: World, url: str) -> Asked:
    """That, and what was touched lately."""
    truth = expected(world, url)
    since = NOW.timestamp() - LATELY
    lately = {table: [row for row in truth[table].values() if row["updated_at"].timestamp() >= since] for table in truth
              if table in ("accounts", "invoices")}  # fmt: skip
    touched = {("customers", row["account_id"]) for row in lately["accounts"]}
    return _unpaid(world, url) | touched | _invoices_and_accounts(row for row in lately["invoices"] if not row["draft"])


def _invoices_and_accounts(invoices: Iterable[Row]) -> Asked:
    found = {
        one for row in invoices for one in (("customer_invoices", row["invoice_id"]), ("customers", row["account_id"]))
    }
    return {one for one in found if one[1] is not None}


def _pending(company: Company) -> Any:
    with company.warehouse.session() as session:
        return pending(session, company.id, company.clock())


def test_what_matters_is_read_first_and_makes_the_company_ready_then_history_newest_first(
    make_company: MakeCompany,
) -> None:
    company = make_company(20, 200)
    for _ in range(15):
        receipts.pay_invoice(company.world)
    pennylane = company.pennylane(Listening)
    assert isinstance(pennylane, Listening)
    report = company.sync(pennylane=pennylane).details
    unpaid, matters = (of(company.world, company.server.url) for of in (_unpaid, _matters))
    order = list(dict.fromkeys(pennylane.asked))
    assert WORKERS + 10 < len(unpaid) < len(matters) - 10 < len(order) / 2
    assert set(order[: len(unpaid) - WORKERS]) <= unpaid <= set(order[: len(unpaid) + WORKERS])
    assert matters <= set(order[: len(matters) + WORKERS])
    assert report.pending.ready
    assert company.differences() == []
    truth = expected(company.world, company.server.url)
    day_of = {("customer_invoices", one): row["date"] for (_, one), row in truth["invoices"].items()}
    day_of |= {("customers", one): row["updated_at"].date() for (_, one), row in truth["accounts"].items()}
    days = [day_of[one] for one in order if one not in matters]
    assert len(days) > 3 * WORKERS
    assert {what for what, _ in set(order) - matters} == {"customers", "customer_invoices"}
    assert all(newer >= older for newer, older in zip(days, days[2 * WORKERS :], strict=False))


def test_without_a_share_for_history_a_first_sync_ends_when_the_company_is_ready(make_company: MakeCompany) -> None:
    company = make_company(20, 200)
    pennylane = company.pennylane(Listening)
    assert isinstance(pennylane, Listening)
    report = company.sync(rotation=0, history_seconds=0, pennylane=pennylane).details
    assert set(pennylane.asked) == _matters(company.world, company.server.url)
    assert report.pending.ready
    assert report.pending.payments > 100
    assert {line.split(":")[0] for line in company.differences()} == {"payments", "contacts"}
    assert all(" missing " in line for line in company.differences())


def test_history_goes_on_hour_by_hour_within_the_share_and_delays_no_change(
    make_company: MakeCompany,
) -> None:
    company = make_company(20, 200)
    company.sync(rotation=0, history_seconds=0)
    hours = 0
    while left := _pending(company).requests:
        receipts.pay_invoice(company.world, id=invoices.create_invoice(company.world)["id"])
        pennylane = company.pennylane(Listening)
        assert isinstance(pennylane, Listening)
        synced = company.sync(rotation=120, history_seconds=0, pennylane=pennylane)
        assert synced.details.pending.ready
        assert synced.detail_requests <= 120 + 2 + 2  # the new invoice, and its account's contacts
        assert synced.details.pending.requests <= max(left - 55, 0)
        hours += 1
    assert 1 < hours < 30
    assert company.differences() == []


@pytest.mark.parametrize(
    ("read_before", "seconds"), [(False, {"rotation": 300, "history": 300}), (True, {"rotation": 600})]
)
def test_history_and_reading_again_end_before_the_next_hourly_sync_however_slow_pennylane_is(
    make_company: MakeCompany, monkeypatch: pytest.MonkeyPatch, read_before: bool, seconds: dict[str, int]
) -> None:
    """And history is left half of the time, at least."""
    company = make_company(40, 800)
    company.sync(rotation=0, history_seconds=HOUR if read_before else 0)
    paid = invoices.create_invoice(company.world)["id"]
    receipts.pay_invoice(company.world, id=paid)
    company.progress.clear()
    synced = company.sync(rotation=10_000, longest=lambda: 600, pennylane=company.pennylane(slow(monkeypatch, 2.0)))
    assert synced.details.pending.ready
    assert company.held()["invoices"][company.id, paid]["paid"]
    under_way = 2 * WORKERS
    assert 300 <= synced.detail_requests <= 300 + under_way + 10
    for step, its in seconds.items():
        done, totals = zip(*((one.done, one.total) for one in company.progress if one.step == step), strict=True)
        assert its / 2 - under_way <= max(done) <= its / 2 + under_way
        assert set(totals) == {totals[0]}
        assert max(done) <= (totals[0] or 0) <= its * REQUESTS_PER_SECOND
    company.sync(rotation=10_000)
    assert company.differences() == []


def test_how_long_history_may_go_on_is_asked_when_all_that_matters_is_in(make_company: MakeCompany) -> None:
    """A first sync may take beyond the full hour before that."""
    company = make_company(20, 200)
    asked: list[tuple[set[str], bool]] = []

    def longest() -> float:
        asked.append(({one.step for one in company.progress} - {"lists"}, _pending(company).ready))
        return HOUR

    company.sync(rotation=10_000, longest=longest)
    assert asked == [({"details"}, True)]
    assert company.differences() == []


@pytest.mark.parametrize("step", ["details", "history"])
def test_what_is_taken_from_the_database_in_rounds_is_all_read_and_the_total_known_from_the_first(
    make_company: MakeCompany, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(details, "_ROUND", 20)
    company = make_company(20, 200)
    company.sync()
    assert company.differences() == []
    told = [one for one in company.progress if one.step == step]
    assert told[-1].done > 3 * 20
    assert {one.total for one in told} == {told[-1].done}


def test_a_share_of_a_few_requests_reads_history_too(make_company: MakeCompany) -> None:
    company = make_company(20, 200)
    company.sync(rotation=0, history_seconds=0)
    before = _pending(company).requests
    for _ in range(3):
        company.sync(rotation=2, history_seconds=0)
    assert _pending(company).requests <= before - 3


def test_what_is_told_of_history_is_what_this_sync_reads_of_it(make_company: MakeCompany) -> None:
    company = make_company(20, 200)
    company.sync(rotation=0, history_seconds=0)
    company.progress.clear()
    company.sync(rotation=120, history_seconds=0)  # half of it, as long as there is anything to read again
    (*_, last) = [one for one in company.progress if one.step == "history"]
    assert {one.total for one in company.progress if one.step == "history"} == {60}
    assert 59 <= last.done <= 60


@pytest.mark.parametrize("fails", [False, True])
def test_a_company_is_said_to_be_ready_when_it_is_and_not_while_a_list_that_matters_cannot_be_read(
    make_company: MakeCompany, fails: bool
) -> None:
    company = make_company(20, 200)
    unpaid = max(one for what, one in _unpaid(company.world, company.server.url) if what == "customer_invoices")
    if fails:
        disturb(company, f"/{unpaid}/payments$", kind="status", status=400)
    report = company.sync().details
    assert report.pending.ready is not fails
    said = [(one.step, one.ready) for one in company.progress if one.step in ("details", "history")]
    assert set(said) == {("details", False), ("history", not fails)}


def test_an_account_included_again_is_caught_up_at_once_whatever_the_share(make_company: MakeCompany) -> None:
    company = make_company(10, 200)
    account = next(one.id for one in company.world.customers if one.contacts)
    company.excluded = {account}
    company.sync()
    company.excluded = set()
    report = company.sync(rotation=0, history_seconds=0).details
    assert report.pending.requests == 0
    assert company.differences() == []


@pytest.mark.parametrize(
    ("gap", "another"),
    [(HOUR, False), (40 * DAY, True)],
    ids=["full sync", "after 40 days, another left out"],
)
def test_so_is_one_whose_next_sync_lists_everything(make_company: MakeCompany, gap: float, another: bool) -> None:
    company = make_company(10, 200, frozen=False)
    owners = [one.customer_id for one in company.world.invoices if one.settles and one.matches and one.customer_id]
    account = max(set(owners), key=owners.count)
    company.excluded = {account, *([min(set(owners) - {account})] if another else [])}
    company.sync()
    company.excluded -= {account}
    company.sync(full=gap == HOUR, rotation=0, history_seconds=0, after=gap)
    theirs = {one.id for one in company.world.invoices if one.customer_id == account}
    rows = company.held()["invoices"]
    assert theirs
    with company.warehouse.session() as session:
        unread = session.rows(
            "SELECT invoice_id FROM receivables.invoices WHERE payments_synced_at IS NULL AND NOT draft "
            f"AND account_id = {account}"
        )
    assert unread == []
    assert theirs >= {key[1] for key, row in rows.items() if row["account_id"] == account} != set()


def test_details_alone_wait_for_a_listing_that_is_whole(make_company: MakeCompany) -> None:
    company = make_company(20, 400)
    ready: list[bool] = []
    with (
        Landing.opened(company.warehouse, company.id, company.work_dir) as landing,
        pytest.raises(NotListed, match="not all listed yet"),
    ):
        sync = DetailsSync(company.pennylane(), landing, company.clock, lambda _: None)
        sync.run(Share(100), lambda: ready.append(True))
    assert ready == []


def test_a_change_of_old_history_is_read_in_the_same_hour(make_company: MakeCompany) -> None:
    company = make_company(10, 200)
    company.sync(rotation=0, history_seconds=0)
    waiting = _pending(company).payments
    paid = next(one for one in company.world.invoices if one.settles and one.matches)
    invoices.update_invoice(company.world, id=paid.id)
    customers.update_customer(company.world, id=next(one.id for one in company.world.customers))
    report = company.sync(rotation=0, history_seconds=0).details
    assert report.pending.ready
    assert report.pending.payments <= waiting
    assert not [line for line in company.differences() if str(paid.id) in line]


def test_a_full_sync_reads_what_matters_again_and_the_rest_in_shares(make_synced: MakeSynced) -> None:
    company = make_synced(20, 200)
    report = company.sync(full=True, rotation=0, history_seconds=0).details
    assert report.pending.ready
    assert report.pending.payments > 50
    for _ in range(6):
        report = company.sync(rotation=200, history_seconds=0).details
    assert report.pending.requests == 0
    assert company.differences() == []


@pytest.mark.through_dlt
@pytest.mark.parametrize("full", [False, True], ids=["first", "full"])
def test_a_listing_that_was_interrupted_leaves_its_history_to_the_shares(
    make_company: MakeCompany, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    company = make_company(20, 400)
    if full:
        company.sync()
    monkeypatch.setattr("pipelines.pieces.PIECE_ROWS", 100)

    class Failing(Pennylane):
        left = 4

        def get(self, path: str, params: Any = None) -> dict[str, Any]:
            Failing.left -= path == "/customer_invoices"
            if Failing.left < 0:
                raise RuntimeError("the power is cut")
            return super().get(path, params)

    with pytest.raises(RuntimeError):
        company.lists_only(full=full, pennylane=company.pennylane(Failing))
    report = company.sync(rotation=0, history_seconds=0, full=full).details
    assert report.pending.ready
    assert report.pending.payments > 50
    company.sync()
    assert company.differences() == []


def test_the_pace_and_the_time_left_are_told() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert pace.told(Progress("details", 0, 3000)) == "0 of 3,000"
    now[0] = 100.0
    assert pace.told(Progress("details", 500, 3000)) == "500 of 3,000, 5.0 a second, 9 min left"
    assert pace.told(Progress("lists", 100)) == "100"
    now[0] = 110.0
    assert pace.told(Progress("lists", 1100)) == "1,100, 100.0 a second"
    now[0] = 700.0
    assert pace.told(Progress("details", 2999, 3000)) == "2,999 of 3,000, 4.3 a second, 1 s left"
