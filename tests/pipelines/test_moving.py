"""What is moved while it is not finished goes on where it was."""

import pytest

from pipelines.errors import PennylaneUnreachable
from pipelines.moving import move_rows
from pipelines.warehouse import warehouse_at
from tests.pipelines.company import PREFIX, Company
from tests.pipelines.conftest import MakeCompany
from tests.pipelines.test_interruptions import failing_after


@pytest.mark.duckdb("from its file to Postgres")
def test_a_first_listing_that_was_interrupted_begins_again_in_postgres(
    make_company: MakeCompany, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.pieces.PIECE_ROWS", 50)
    company = make_company(20, 900)
    with pytest.raises(PennylaneUnreachable):
        company.lists_only(pennylane=failing_after(company, 9))
    target = warehouse_at(postgres_url)
    move_rows(
        company.warehouse,
        target,
        {company.id},
        work_dir=company.work_dir,
        watch=company.progress.append,
        before_commit=lambda: None,
    )
    company.forget_requests()
    there = Company(company.server, target, company.work_dir)
    assert there.lists_only().mode == "first"
    assert company.requests["by_path"][f"{PREFIX}/customers"] == 1
    assert company.requests["by_path"][f"{PREFIX}/customer_invoices"] >= 9
    assert [line for line in there.differences() if not line.startswith(("contacts", "payments"))] == []
