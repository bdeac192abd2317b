"""What docs/postgres.md has people run, to be run by tests."""

import re
from pathlib import Path

_TEXT = (Path(__file__).parent.parent / "docs" / "postgres.md").read_text(encoding="utf-8")


def documented(heading: str, language: str, number: int = 0) -> str:
    """The code under a heading; where there are several pieces in that language, the one of this number."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", _TEXT, re.MULTILINE | re.DOTALL)
    assert section, f"docs/postgres.md has no section {heading!r}"
    pieces: list[str] = re.findall(rf"```{language}\n(.*?)```", section[1], re.DOTALL)
    return pieces[number]
