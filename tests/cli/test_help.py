"""What the program says of itself, and what DESIGN names of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import _COMMANDS, cli
from tests.program import Program

COMMANDS = {
    "connect": {"--token-stdin", "--exclude", "--no-browser", "--no-activate", "--company", "--json"},
    "activate": {"--company", "--json"},
    "sync": {"--full", "--company", "--json"},
    "exclude": {"--company", "--json"},
    "include": {"--company", "--json"},
    "accounts": {"--search", "--company", "--json"},
    "status": {"--json"},
    "verify": {"--details", "--company", "--json"},
    "disconnect": {"--yes", "--company", "--json"},
    "move": {"--from", "--connections", "--json"},
    "sandbox": {"--port", "--customers", "--invoices", "--seed", "--latency-ms", "--rate-limit", "--live"},
    "demo": set(),
    "start": {"--port", "--host"},
}

_LIST_COMMANDS = """
import json, sys
import cli.main
sys.argv = ["pennylane-sync", "--help"]
try:
    cli.main.main()
except SystemExit as end:
    loaded = {name.partition(".")[0] for name in sys.modules}
    print(json.dumps([end.code, sorted(loaded & {"assets", "dagster", "dlt", "pipelines", "requests", "sqlalchemy"})]))
"""


def test_there_are_the_commands_that_the_design_names_and_no_others() -> None:
    assert set(_COMMANDS) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_tells_what_it_does_and_has_the_options_of_the_design(name: str) -> None:
    command = cli.get_command(cli.make_context("pennylane-sync", [name], resilient_parsing=True), name)
    assert command is not None
    assert command.help
    options = {option for parameter in command.params for option in parameter.opts}
    assert options >= COMMANDS[name] | {"--debug"}
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert all(len(line) <= 80 for line in result.output.splitlines())


def test_the_list_of_commands_imports_none_of_them_and_fits_a_terminal() -> None:
    ran = subprocess.run([sys.executable, "-c", _LIST_COMMANDS], capture_output=True, text=True, check=True)
    *listed, last = ran.stdout.splitlines()
    assert json.loads(last) == [0, []]
    assert all(len(line) <= 80 for line in listed)
    for name in COMMANDS:
        (line,) = (line for line in listed if line.split()[:1] == [name])
        assert line.endswith(".")
        assert not line.endswith("...")


def test_bad_usage_is_told_in_one_line_with_status_2_and_where_to_look(tmp_path: Path) -> None:
    program = Program(tmp_path / "home", "http://127.0.0.1:1")
    assert program.fails("verfy", status=2) == "No such command 'verfy'. (see: pennylane-sync --help)"
    assert "--fall" in program.fails("sync", "--fall", status=2)
    assert program.fails("exclude", status=2).endswith("(see: pennylane-sync exclude --help)")
    assert "--company" in program.fails("sync", "--company", "one", status=2)
    assert not program.home.exists()


@pytest.mark.parametrize("arguments", [("--debug", "sync"), ("sync", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(tmp_path: Path, arguments: tuple[str, str]) -> None:
    program = Program(tmp_path / "home", "http://127.0.0.1:1")
    ran = program.run(*arguments)
    assert ran.status == 1
    assert "Traceback" in ran.err
    assert "UnknownConnection" in ran.err
