"""What follow-up waits for comes first, whatever is empty in the books."""

import itertools
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from pipelines.due import LATELY, Due, due_of, never_read, never_read_history, pending, requests_to_read, rotation
from pipelines.landing import Landing
from pipelines.tables import DATASET
from pipelines.warehouse import Session, Warehouse

COMPANY = 1
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
EXCLUDED = 999
ENOUGH = 10_000


class Invoice(NamedTuple):
    id: int
    account: int | None
    draft: bool | None
    paid: bool | None
    status: str | None
    updated_at: datetime | None

    @property
    def is_ours(self) -> bool:
        return not self.draft and self.account != EXCLUDED

    @property
    def rank(self) -> int:
        """Unpaid, touched lately, history."""
        if not self.paid and self.status not in ("cancelled", "archived", "paid"):
            return 0
        return 1 if self.updated_at and self.updated_at >= NOW - LATELY else 2


def _books() -> list[Invoice]:
    """An invoice, with an account of its own, none or one that is left out, of each kind that there may be."""
    kinds = itertools.product(
        ["own", None, EXCLUDED],
        [None, False, True],
        [None, False, True],
        [None, "late", "paid", "cancelled", "archived"],
        [None, NOW - LATELY, NOW - LATELY - timedelta(seconds=1)],
    )
    return [
        Invoice(number, number if account == "own" else account, draft, paid, status, updated_at)  # type: ignore[arg-type]
        for number, (account, draft, paid, status, updated_at) in enumerate(kinds, start=1)
    ]


def _hold(session: Session, books: list[Invoice]) -> None:
    for one in books:
        session.execute(
            f"""
            INSERT INTO {DATASET}.invoices (company_id, invoice_id, account_id, draft, paid, status, updated_at, date)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            *(COMPANY, *one, date(2026, 1, 1)),
        )
    for account in {one.account for one in books} - {None}:
        session.execute(f"INSERT INTO {DATASET}.accounts (company_id, account_id) VALUES (%s, %s)", COMPANY, account)
    session.execute(
        f"INSERT INTO {DATASET}.excluded_accounts (company_id, account_id) VALUES (%s, %s)", COMPANY, EXCLUDED
    )


def _ids(dues: list[Due], what: str) -> list[int]:
    return [due.parent_id for due in dues if due.what == what]


def test_each_invoice_and_account_has_the_rank_that_is_documented(any_warehouse: Warehouse, tmp_path: Path) -> None:
    books = _books()
    ours = [one for one in books if one.is_ours]
    rank_of = {one.id: one.rank for one in ours}
    with_account = {one.account: 2 for one in books if one.account not in (None, EXCLUDED)}
    rank_of_account = with_account | {one.account: one.rank for one in ours if one.account is not None}
    assert {*rank_of.values()} == {*rank_of_account.values()} == {0, 1, 2}
    with ExitStack() as stack:
        stack.enter_context(Landing.opened(any_warehouse, COMPANY, tmp_path / "dlt"))
        session = stack.enter_context(any_warehouse.session())
        _hold(session, books)
        found = never_read(session, COMPANY, NOW, ENOUGH)
        assert _ids(found, "payments") == sorted(rank_of, key=lambda one: (rank_of[one], -one))
        assert _ids(found, "contacts") == sorted(rank_of_account, key=lambda one: (rank_of_account[one], -one))
        ranks = [(rank_of if due.what == "payments" else rank_of_account)[due.parent_id] for due in found]
        assert ranks == sorted(ranks)
        history = never_read_history(session, COMPANY, NOW, ENOUGH)
        assert {*history} == {due for due, rank in zip(found, ranks, strict=True) if rank == 2}
        assert {*due_of(session, COMPANY, NOW, "payments", [one.id for one in books])} == {
            due for due in found if due.what == "payments"
        }
        told = pending(session, COMPANY, NOW)
        assert (told.contacts, told.payments, told.ready) == (len(rank_of_account), len(rank_of), False)
        assert told.requests == requests_to_read(session, COMPANY, NOW) == sum(due.requests for due in found)


def test_what_is_read_again_is_for_four_fifths_what_matters_and_else_what_was_read_longest_ago(
    any_warehouse: Warehouse, tmp_path: Path
) -> None:
    unpaid = [Invoice(number, None, False, False, "late", None) for number in range(1, 41)]
    history = [Invoice(number, None, False, True, "paid", None) for number in range(101, 141)]
    with ExitStack() as stack:
        stack.enter_context(Landing.opened(any_warehouse, COMPANY, tmp_path / "dlt"))
        session = stack.enter_context(any_warehouse.session())
        _hold(session, unpaid + history)
        read = f"UPDATE {DATASET}.invoices SET payments_synced_at = %s - invoice_id * INTERVAL '1 hour' WHERE "
        session.execute(f"{read} paid", NOW)
        session.execute(f"{read} NOT paid", NOW)
        chosen = rotation(session, COMPANY, NOW, 20)  # each takes two
        assert [due.parent_id for due in chosen] == [*range(40, 32, -1), 140, 139]
        session.execute(f"{read} NOT paid", NOW - timedelta(days=100))
        chosen = rotation(session, COMPANY, NOW, 20)
        assert [due.parent_id for due in chosen] == [*range(40, 30, -1)]
        session.execute(f"DELETE FROM {DATASET}.invoices WHERE NOT paid AND invoice_id > 2")
        chosen = rotation(session, COMPANY, NOW, 20)
        assert [due.parent_id for due in chosen] == [2, 1, *range(140, 132, -1)]
        session.execute(f"{read} paid", NOW + timedelta(days=100))
        assert [due.parent_id for due in rotation(session, COMPANY, NOW, 20)] == [2, 1]
