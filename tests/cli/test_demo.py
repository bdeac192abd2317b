"""`demo`: the first thing that a newcomer runs."""

from pathlib import Path

from tests.program import Program


def test_the_demo_shows_counts_what_changed_and_who_owes_most_and_can_be_run_again(tmp_path: Path) -> None:
    program = Program(tmp_path / "home", "https://nobody.invalid", PENNYLANE_CLIENT_ID="", WAREHOUSE_URL="mysql://no")
    for lines in (program.with_settings(WAREHOUSE_URL="").done("demo").out.splitlines() for _ in range(2)):
        assert all(len(line.rstrip()) <= 80 for line in lines if str(tmp_path) not in line)
        text = "\n".join(lines)
        for heading in ("First sync", "Meanwhile, at Pennylane", "Hourly sync", "What the database says now"):
            assert heading in text
        owing = lines[next(at for at, line in enumerate(lines) if line.startswith("The ten accounts")) + 2 :][:10]
        assert all(line.split() for line in owing)
        for table in ("excluded_accounts", "accounts", "contacts", "invoices", "credit_notes", "payments"):
            assert any(line.split()[:1] == [table] for line in lines)
        for change in ("a new invoice, ", " edited", "a new customer, "):
            assert sum(change in line for line in lines) == 2, change
        assert sum(line.rstrip().endswith(" gone") for line in lines) == 2
        assert "pennylane-sync start" in text
        assert "connect --token-stdin" in text
    assert (tmp_path / "home" / "demo" / "receivables.duckdb").exists()
