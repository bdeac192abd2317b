"""What is shown of a sync that is watched."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console

from cli import watching
from pipelines.progress import Progress, Watch

READY = "all that is needed for follow-up is in"


@contextmanager
def _shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> Iterator[tuple[Watch, io.StringIO]]:
    written = io.StringIO()
    monkeypatch.setattr(watching, "stderr", Console(file=written, force_terminal=terminal, width=120))
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    monkeypatch.setattr(watching._Lines, "_EVERY_SECONDS", 0.0)
    with watching.watching(quiet=False) as watch:
        yield watch, written


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("ready", [False, True])
def test_history_is_shown_and_the_company_called_ready_only_if_it_is(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, ready: bool
) -> None:
    with _shown(monkeypatch, terminal=terminal) as (watch, written):
        watch(Progress("details", 5, 5))
        assert READY not in written.getvalue()
        watch(Progress("history", 3, 40, ready=ready))
    assert "History of payments" in written.getvalue()
    assert (READY in written.getvalue()) == ready
