import pytest

from tests.long.tried import tried
from tests.pipelines.conftest import make_company

__all__ = ["make_company"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if tried:
        terminalreporter.section("what was tried")
        for what, times in sorted(tried.items()):
            terminalreporter.write_line(f"{times:>9,}  {what}")
