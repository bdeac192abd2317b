"""The README says what is there: tables, commands, settings and error messages are compared with the code."""

import re
from pathlib import Path

import click
import pytest

from cli.main import cli
from pipelines.tables import TABLES, Table
from pipelines.views import VIEWS, View
from resources.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _section(heading: str) -> str:
    """The text under a heading, up to the next heading of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no section {heading!r}"
    return found[1]


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_each_table_is_listed_with_its_columns_types_and_meanings(table: Table) -> None:
    section = _section(f"`{table.name}`")

    assert table.description in section
    assert _rows(section) == [[f"`{one.name}`", one.type.value, one.description] for one in table.columns]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_each_view_is_listed_with_its_columns_and_meanings(view: View) -> None:
    section = _section(f"`{view.name}` (view)")

    assert view.description in section
    assert _rows(section) == [[f"`{name}`", meaning] for name, meaning in view.columns.items()]


def test_each_command_is_described() -> None:
    described = {name for row in _rows(_section("Commands")) for name in re.findall(r"`([a-z]+)`", row[0])}

    assert described == set(cli.list_commands(click.Context(cli)))


def test_each_option_of_connect_is_named() -> None:
    connect = cli.get_command(click.Context(cli), "connect")
    assert connect is not None

    options = {option for parameter in connect.params for option in parameter.opts}

    assert all(f"`{option}`" in README for option in options - {"--json", "--debug"})


def test_each_setting_is_described() -> None:
    described = {name for row in _rows(_section("Settings")) for name in re.findall(r"`([A-Z_]+)`", row[0])}

    fields = Settings.model_fields.items()
    assert described == {str(field.validation_alias or name).upper() for name, field in fields}


def test_each_error_in_the_list_is_one_that_the_code_says() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("cli", "pipelines", "resources")
        for path in (ROOT / folder).rglob("*.py")
    )
    for cells in _rows(_section("What errors mean")):
        phrase = cells[0].strip("`")
        for part in phrase.split(" ... "):
            assert part.removesuffix(" ...") in code, f"no error says {part!r}"


def test_the_layout_names_folders_that_exist() -> None:
    layout = _section("Where things are")

    for name in re.findall(r"^([a-z]+)/", layout, re.MULTILINE):
        assert (ROOT / name).is_dir()
    for path in ("workspace.yaml", "definitions.py"):
        assert path in layout
        assert (ROOT / path).is_file()
