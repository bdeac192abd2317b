"""What docs/ has people run, to be run by tests."""

import re
from pathlib import Path

_DOCS = Path(__file__).parent.parent / "docs"


def documented(heading: str, language: str, number: int = 0, page: str = "postgres.md") -> str:
    """The code under a heading; where there are several pieces in that language, the one of this number."""
    text = (_DOCS / page).read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"{page} has no section {heading!r}"
    pieces: list[str] = re.findall(rf"```{language}\n(.*?)```", section[1], re.DOTALL)
    return pieces[number]
