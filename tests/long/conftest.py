import pytest

from tests.long.tried import tried
from tests.pipelines.conftest import make_company, warehouse_with_tables

__all__ = ["make_company", "warehouse_with_tables"]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands over what it counted."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tried"] = dict(tried)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """What one of the workers counted; one that crashed has nothing to tell."""
    tried.update(getattr(node, "workeroutput", {}).get("tried", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if tried:
        terminalreporter.section("what was tried")
        for what, times in sorted(tried.items()):
            terminalreporter.write_line(f"{times:>9,}  {what}")
