"""Random lives of a company: what happens at Pennylane, what a user does, what goes wrong, in any order.

After every sync that succeeds the tables are those that the rules demand; after one that fails nothing of an account
left out has moved, and the next one that succeeds makes all of it good.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pipelines import details, pieces
from pipelines.set_aside import SetAside, said
from pipelines.tables import DATASET
from resources.installation import USER_ERRORS, NotAuthorized
from resources.leases import LeaseHeld
from sandbox.changes import customers, invoices, receipts
from sandbox.changes.picking import ImpossibleError
from sandbox.changes.randomly import CHANGES
from sandbox.faults import Fault
from tests.model.demands import (
    DOCUMENTS,
    Fate,
    Tables,
    demanded,
    except_,
    is_nameless,
    touched_though_left_out,
    without_times,
)
from tests.model.faults import Distortion, distortions, faults, impatient, may_lose_authorization
from tests.model.office import Killed, Office
from tests.model.places import COSTS_THE_TOKEN, PLACES
from tests.model.plain_loading import without_dlt
from tests.pipelines.company import DAY, HOUR, WEEK, file_with_tables, make_sandbox
from tests.pipelines.truth import KEYS, differences, expected, held

Outcome = Literal["succeeded", "failed", "killed"]

NOBODY = 999_999_999
"""An id that no account has."""

GAPS = {"an hour": HOUR, "a day": DAY, "a week": WEEK, "three weeks": 3 * WEEK, "five weeks": 5 * WEEK,
        "a hundred days": 100 * DAY}  # fmt: skip
FEEDS_REACH_BACK = 27 * DAY

MOSTLY_HOURLY = st.sampled_from([False, False, True])


class CompanyLife(RuleBasedStateMachine):
    """One company, in a DuckDB file. `counted` is told what was tried.

    dlt takes most of a sync's time, and does the same in any order of events: something simpler loads in its place.
    """

    counted: ClassVar[Counter[str]] = Counter()
    piece_rows: ClassVar[tuple[int, ...]] = (10_000, 15)

    def loading(self) -> AbstractContextManager[None]:
        return without_dlt()

    def new_warehouse(self, home: Path) -> AbstractContextManager[str]:
        """The address of a warehouse that knows nothing of the company, for as long as the block runs."""
        file = home / "receivables.duckdb"
        file.write_bytes(file_with_tables())
        return nullcontext(f"duckdb:///{file}")

    def __init__(self) -> None:
        super().__init__()
        self.until_the_end = ExitStack()
        self.wrong = False

    # The beginning and the end

    @initialize(
        seed=st.integers(0, 5),
        kind=st.sampled_from(["oauth", "api_token"]),
        left_out=st.sets(st.integers(0, 5), max_size=2),
        in_pieces=st.booleans(),
    )
    def connect_a_company(self, seed: int, kind: str, left_out: set[int], in_pieces: bool) -> None:
        self.counted["sequences"] += 1
        home = Path(tempfile.mkdtemp(prefix="life-"))
        self.until_the_end.callback(shutil.rmtree, home)
        for module in (pieces, details):
            self.until_the_end.enter_context(mock.patch.object(module, "PIECE_ROWS", self.piece_rows[in_pieces]))
        server = self.until_the_end.enter_context(make_sandbox(customers=6, invoices=18, seed=seed))
        url = self.until_the_end.enter_context(self.new_warehouse(home))
        self.office = Office(server, home, url)
        self.until_the_end.enter_context(self.loading())
        # Kept open, as a file that is opened for each of the many moments takes as long as all the rest.
        self.until_the_end.enter_context(self.office.warehouse.session())
        self.world = server.world
        self.company = self.world.id
        self.kind = kind
        self.left_out: set[int] = set()
        self.ever_left_out: set[int] = set()
        self.connected = True
        self.authorized = True
        self.may_lose_authorization = False
        self.listed_once = False
        self.runs = 0
        self.aside: list[SetAside] = []
        """What the last sync that succeeded has set aside."""
        self.tables: Tables = {table: {} for table in KEYS}
        self.in_step_since: float | None = None
        """When the last sync began, if it succeeded."""
        self.left_behind: dict[int, int] = {}
        """Documents that were never let in, by the excluded account that left them behind when it was deleted."""
        self.one_left_behind = False
        self.office.connect(kind)
        for one in left_out:
            self.exclude(one)

    def teardown(self) -> None:
        """Every life ends with a sync that succeeds, and leaves nothing set aside."""
        try:
            if hasattr(self, "office") and not self.wrong:
                self._ready_to_sync()
                if self._sync(full=False) != "succeeded":  # the access was revoked meanwhile
                    self._ready_to_sync()
                    assert self._sync(full=False) == "succeeded"
                if self.aside:
                    assert self._sync(full=True) == "succeeded"
        finally:
            self.until_the_end.close()

    # What happens at Pennylane

    @rule(change=st.sampled_from(sorted(CHANGES)), times=st.integers(1, 3))
    def something_changes(self, change: str, times: int) -> None:
        for _ in range(times):
            self._change(lambda: CHANGES[change](self.world))

    @rule(
        what=st.sampled_from(
            ["invoice", "draft", "moves in", "moves out", "moves to nobody", "paid", "credited", "edited", "contact",
             "deleted invoice", "deleted"]
        ),
        which=st.integers(0, 5),
    )  # fmt: skip
    def something_of_an_account_left_out_changes(self, what: str, which: int) -> None:
        theirs = self._accounts_left_out()
        if not theirs:
            return
        account = theirs[which % len(theirs)]
        invoice = next((one.id for one in self.world.invoices if one.customer_id == account and one.settles), None)
        changes: dict[str, Callable[[], Any]] = {
            "invoice": lambda: invoices.create_invoice(self.world, customer_id=account),
            "draft": lambda: invoices.create_draft(self.world, customer_id=account),
            "moves in": lambda: invoices.move_invoice(self.world, customer_id=account),
            "edited": lambda: customers.update_customer(self.world, id=account),
            "contact": lambda: customers.create_contact(self.world, customer_id=account),
            "deleted": lambda: self._delete_account(account),
        }
        if invoice is not None:
            changes |= {
                "moves out": lambda: invoices.move_invoice(self.world, id=invoice),
                "moves to nobody": lambda: invoices.move_invoice(self.world, id=invoice, customer_id=None),
                "paid": lambda: receipts.pay_invoice(self.world, id=invoice),
                "credited": lambda: invoices.create_credit_note(self.world, invoice_id=invoice),
                "deleted invoice": lambda: invoices.delete_invoice(self.world, id=invoice),
            }
        if what in changes:
            self._change(changes[what])

    @rule(kept=st.booleans())
    def an_invoice_has_no_account(self, kept: bool) -> None:
        if kept:
            self._change(lambda: invoices.create_invoice(self.world, customer_id=None))
        else:
            self._change(lambda: invoices.move_invoice(self.world, customer_id=None))

    @rule(gap=st.sampled_from(sorted(GAPS)))
    def time_passes(self, gap: str) -> None:
        self.counted["step: time passes"] += 1
        self.office.time.pass_(GAPS[gap])

    # What a user does

    @rule(which=st.integers(0, 7))
    def exclude(self, which: int) -> None:
        self.counted["step: exclude"] += 1
        accounts = [*(one.id for one in self.world.customers), NOBODY]
        self.office.connections.exclude(self.company, [accounts[which % len(accounts)]], "somebody")
        self.left_out.add(accounts[which % len(accounts)])
        self.ever_left_out |= self.left_out

    @rule(which=st.integers(0, 3))
    def include(self, which: int) -> None:
        if not self.left_out:
            return
        self.counted["step: include"] += 1
        account = sorted(self.left_out)[which % len(self.left_out)]
        self.office.connections.include(self.company, [account], "somebody")
        self.left_out.remove(account)
        self.left_behind = {one: of for one, of in self.left_behind.items() if of != account}

    @rule(how=st.sampled_from(["disconnected", "revoked at Pennylane", "oauth", "api_token"]))
    def access_ends_or_begins(self, how: str) -> None:
        self.counted[f"step: {how if ' ' in how or how == 'disconnected' else 'connected again'}"] += 1
        if how == "disconnected":
            self._disconnect()
        elif how == "revoked at Pennylane":
            self.office.server.sandbox.tokens.revoke_all(self.company)
            self.may_lose_authorization = True
        else:
            self._connect(how)

    def _disconnect(self) -> None:
        credential = self.office.disconnect()
        self.connected = False
        if self.kind == "oauth" and credential:
            self._expect(self.office.server.sandbox.tokens.find(credential.access_token) is None, "it is revoked")
        self._expect(self._held() == self.tables, "disconnecting keeps the data")

    def _connect(self, kind: str) -> None:
        self.kind = kind
        self.office.connect(kind)
        self.connected = self.authorized = True
        self.may_lose_authorization = False
        self._expect(set(self.office.connections.excluded(self.company)) == self.left_out, "exclusions stay")

    # Syncs, and what goes wrong in them

    @rule(full=MOSTLY_HOURLY)
    def sync(self, full: bool) -> None:
        self._ready_to_sync()
        self._sync(full=full)

    @rule(named=faults(), full=MOSTLY_HOURLY)
    def sync_with_a_fault(self, named: tuple[str, Fault], full: bool) -> None:
        name, fault = named
        self._ready_to_sync()
        self.may_lose_authorization |= may_lose_authorization(name, fault)
        self.counted[f"fault: {name}"] += 1
        with self._disturbed(fault), impatient(name):
            self._sync(full=full, faulty=True)

    @rule(distortion=distortions(), which=st.integers(0, 40), full=MOSTLY_HOURLY)
    def sync_with_a_record_told_wrongly(self, distortion: Distortion, which: int, full: bool) -> None:
        """Pennylane changes a record, tells it wrongly, and puts that right by another change."""
        self._ready_to_sync()
        there = expected(self.world, self.office.server.url)[distortion.table]
        if not there:
            return
        key = sorted(there)[which % len(there)]
        self.counted[f"told wrongly, in {distortion.table}: {distortion.name}"] += 1
        self._touch(distortion.table, key[-1])
        with self._disturbed(distortion.fault(key[-1])):
            told_wrongly = [distortion.record(key, there[key])] if distortion.believed else []
            self._sync(full=full, faulty=True, told_wrongly=told_wrongly)
        self._touch(distortion.table, key[-1])

    @rule(place=st.sampled_from(sorted(PLACES)), time=st.sampled_from([1, 2, 3, 5, 9, 20]), full=MOSTLY_HOURLY)
    def sync_that_is_killed(self, place: str, time: int, full: bool) -> None:
        self._ready_to_sync()
        if "token" in place or "refresh" in place:
            self.office.time.pass_(DAY)
            time = 1
        if place in COSTS_THE_TOKEN:
            self.may_lose_authorization = True
        if self._sync(full=full, within=self.office.dying_at(PLACES[place], time)) == "killed":
            self.counted[f"killed (within the process): {place}"] += 1

    @rule(change=st.sampled_from(sorted(CHANGES)), request=st.sampled_from([1, 2, 3, 4, 6, 10, 25]), full=MOSTLY_HOURLY)
    def sync_while_something_changes(self, change: str, request: int, full: bool) -> None:
        def change_then(number: int) -> None:
            if number == request:
                self._change(lambda: CHANGES[change](self.world))

        self._ready_to_sync()
        self.counted["syncs while something changes"] += 1
        self._sync(full=full, within=self._at_request(change_then), compared=False)
        self.in_step_since = None

    @rule(full=MOSTLY_HOURLY)
    def two_syncs_at_once(self, full: bool) -> None:
        """The one that comes first works; the other is refused, and says so."""
        refused: list[str] = []

        def start_another(number: int) -> None:
            if number == 1:
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(another).result()

        def another() -> None:
            try:
                self.office.sync("another run", full=False)
            except LeaseHeld as refusal:
                refused.append(str(refusal))

        self._ready_to_sync()
        self.counted["two syncs at once"] += 1
        self._sync(full=full, within=self._at_request(start_another))
        self._expect(not self.authorized or "is being worked on" in "".join(refused), "the second one is refused")

    # How it is judged

    def _sync(
        self,
        *,
        full: bool,
        within: AbstractContextManager[None] | None = None,
        compared: bool = True,
        faulty: bool = False,
        told_wrongly: Collection[SetAside] = (),
    ) -> Outcome:
        self.runs += 1
        self.office.time.pass_(120)
        day, began = self.world.clock.today(), self.office.time.seconds()
        before = self.tables
        gap = None if self.in_step_since is None else began - self.in_step_since
        mode = ""
        aside: list[SetAside] = []
        outcome: Outcome
        self.wrong = True  # until it is known to be right
        try:
            with within or nullcontext():
                mode, aside = self.office.sync(f"run {self.runs}", full=full)
            outcome = "succeeded"
        except Killed:
            outcome = "killed"
        except USER_ERRORS as error:
            outcome = "failed"
            self._judge_failure(error)
        self.counted[f"syncs {outcome}{', with something set aside' if aside else ''}"] += 1
        after = self.tables = self._held()
        truth = expected(self.world, self.office.server.url)
        found = touched_though_left_out(before, truth, self.left_out, after)
        let_in = [one for table in DOCUMENTS for _, one in after[table] if one in self.left_behind]
        found += [f"{one} came in, which an excluded account left behind" for one in let_in]
        if not faulty:
            goes_on = mode == "incremental" or self.in_step_since is None  # maybe with a listing that was interrupted
            readable = [one for one in aside if not (goes_on and is_nameless(one))]
            found += [f"{said(one)}: set aside, though it can be read" for one in readable]
        if outcome == "succeeded" and compared and self.world.clock.today() == day:
            now, was = without_times(after), without_times(before)
            wanted = demanded(was, truth, self.left_out, now, self._fate(mode, gap))
            found += differences(now, except_(wanted, was, now, aside, told_wrongly))
            found += self._said()
            self.counted["syncs compared with what the rules demand"] += 1
        self.counted["differences"] += len(found)
        assert found == [], "\n".join(found)
        if outcome == "succeeded":
            self.listed_once = True
            self.aside = aside
        self.in_step_since = began if outcome == "succeeded" else None
        self.wrong = False
        return outcome

    def _judge_failure(self, error: Exception) -> None:
        connection = self.office.connections.get(self.company)
        if connection.state == "needs_authorization":
            lapsed = self.kind == "oauth" and self._refresh_token_is_dead()
            assert self.may_lose_authorization or lapsed, f"the authorization was lost: {error}"
            self.counted["authorizations lost, and said so"] += 1
            self.authorized = False
        else:
            assert connection.last_error, "a failure is shown in the status"

    def _refresh_token_is_dead(self) -> bool:
        """After 90 days without a use; Pennylane then has none of this company's that is still good."""
        return not any(
            one.expires_at > self.world.clock.microseconds()
            for one in self.office.server.sandbox.tokens._refreshes.values()
        )

    def _refused_sync(self, says: str) -> None:
        try:
            self.office.sync("nobody", full=False)
        except NotAuthorized as refusal:
            assert says in str(refusal)
            return
        raise AssertionError("a sync ran that must not")

    def _said(self) -> list[str]:
        """What is wrong with what is said beside the rows, after a sync that succeeded."""
        connection = self.office.connections.get(self.company)
        with self.office.warehouse.session() as session:
            published = {one for (one,) in session.rows(f"SELECT account_id FROM {DATASET}.excluded_accounts")}
            companies = session.rows(f"SELECT company_id, disconnected_at FROM {DATASET}.companies")
        return [
            what
            for what, right in {
                f"state is {connection.state}": connection.state == "active",
                f"last error is {connection.last_error}": connection.last_error is None,
                f"excluded_accounts holds {published}, not {self.left_out}": published == self.left_out,
                f"companies holds {companies}": companies == [(self.company, None)],
            }.items()
            if not right
        ]

    def _fate(self, mode: str, gap: float | None) -> Callable[[int], Fate]:
        """What becomes of documents without an account that were not here, after a sync of this mode and gap.

        Only some of it is promised: see "an invoice has no account at all" in the README.
        """

        def fate(document: int) -> Fate:
            invoice = self.world.invoices.get(document)
            if invoice is None or document in self.left_behind:
                return "out"
            if not self.ever_left_out or (not self.left_out and mode in ("first", "full")):
                return "in"
            new = self.in_step_since is not None and invoice.created_at / 1e6 > self.in_step_since
            told_of = mode == "first" or (new and gap is not None and gap < FEEDS_REACH_BACK)
            if told_of and invoice.former_customer_id not in self.ever_left_out and not self.one_left_behind:
                return "in"
            return "either"

        return fate

    # Small things

    def _expect(self, right: bool, what: str) -> None:
        self.wrong = self.wrong or not right
        assert right, what

    def _change(self, change: Callable[[], Any]) -> None:
        """What happens at Pennylane; an account that is left out leaves its documents behind when it is deleted."""
        self.counted["step: something changes at Pennylane"] += 1
        with self.world.lock:
            owners = {one.id: one.customer_id for one in self.world.invoices}
            accounts = {one.id for one in self.world.customers}
            try:
                change()
            except ImpossibleError:
                return
            gone = accounts - {one.id for one in self.world.customers}
        if gone & self.left_out:
            self.one_left_behind = True
            if self.listed_once:
                known = {one for table in DOCUMENTS for _, one in self.tables[table]}
                self.left_behind |= {
                    one: of for one, of in owners.items() if of in gone & self.left_out and one not in known
                }

    def _touch(self, table: str, id_: int) -> None:
        """A change of which the feeds tell; contacts and payments are read by each sync."""
        if table == "accounts":
            customers.update_customer(self.world, id=id_)
        elif table in DOCUMENTS:
            invoices.update_invoice(self.world, id=id_)

    @contextmanager
    def _disturbed(self, fault: Fault) -> Iterator[None]:
        faults = self.office.server.sandbox.faults
        faults.add(replace(fault))
        try:
            yield
        finally:
            faults.clear()

    def _delete_account(self, account: int) -> None:
        customers.delete_customer(self.world, id=account)

    def _accounts_left_out(self) -> list[int]:
        return [one for one in sorted(self.left_out) if one in self.world.customers]

    def _ready_to_sync(self) -> None:
        if not (self.connected and self.authorized):
            self._refused_sync("authorized again" if self.connected else "disconnected")
            self._connect(self.kind)

    @contextmanager
    def _at_request(self, does: Callable[[int], None]) -> Iterator[None]:
        self.office.at_request = does
        try:
            yield
        finally:
            self.office.at_request = lambda _: None

    def _held(self) -> Tables:
        return held(self.office.warehouse, self.company, with_times=True)


class LifeThroughDlt(CompanyLife):
    """The same, loaded as it is loaded everywhere else."""

    counted: ClassVar[Counter[str]] = Counter()
    piece_rows = (10_000, 50)

    def loading(self) -> AbstractContextManager[None]:
        return nullcontext()
