"""`python -m sandbox`: what it prints, that it serves, and that it ends when told to."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from sandbox.command import sandbox
from tests.sandbox.client import Caller

ROOT = Path(__file__).parents[2]
SMALL = ("--port", "0", "--customers", "5", "--invoices", "30")


@contextmanager
def _running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program and what it printed until it served."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", *SMALL, *arguments],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as program:  # fmt: skip
        try:
            assert program.stdout is not None
            printed = ""
            for line in program.stdout:
                printed += line
                if "Ctrl-C" in line:
                    break
            yield program, printed
        finally:
            program.kill()


def _address(printed: str) -> str:
    found = re.search(r"PENNYLANE_URL=(\S+)", printed)
    assert found, printed
    return found[1]


def _tokens(printed: str) -> list[str]:
    return re.findall(r"^ +(sandbox-[0-9a-f]{40}) ", printed, re.MULTILINE)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_what_a_user_needs_serves_and_ends_cleanly(how: signal.Signals) -> None:
    with _running("--companies", "3") as (program, printed):
        for text in ("PENNYLANE_CLIENT_ID=sandbox-client", "PENNYLANE_CLIENT_SECRET=sandbox-secret"):
            assert text in printed
        assert "/control" not in printed
        url, tokens = _address(printed), _tokens(printed)
        assert len(tokens) == 3
        companies = {Caller(url, token).json("/me")["company"]["id"] for token in tokens}
        assert len(companies) == 3
        assert requests.get(f"{url}/control/state", timeout=30).status_code == 404
        program.send_signal(how)
        rest, _ = program.communicate(timeout=20)
        assert "Traceback" not in rest
        assert program.returncode == 0


def test_settings_reach_the_server_and_tokens_stay_the_same_for_a_seed() -> None:
    arguments = ("--control", "--rate-limit", "7", "--seed", "3", "--now", "2026-01-02T03:04:05Z", "--auto-approve")
    with _running(*arguments) as (_, printed), _running("--seed", "3") as (_, again):
        url, tokens = _address(printed), _tokens(printed)
        assert f"{url}/control" in printed
        assert tokens == _tokens(again)
        answer = Caller(url, tokens[0]).get("/me")
        assert answer.headers["ratelimit-limit"] == "7"
        assert answer.headers["date"].startswith("Fri, 02 Jan 2026 03:04:")


def test_a_living_company_changes_by_itself() -> None:
    with _running("--live", "0.05", "--control", "--rate-limit", "0") as (_, printed):
        api = Caller(_address(printed), _tokens(printed)[0])
        before = api.json("/changelogs/customer_invoices", limit=1000)["items"]
        for _ in range(2000):
            if api.json("/changelogs/customer_invoices", limit=1000)["items"] != before:
                return
        pytest.fail("nothing happened")


def test_a_port_in_use_is_told_without_a_traceback() -> None:
    with _running() as (_, printed):
        port = _address(printed).rpartition(":")[2]
        result = CliRunner().invoke(sandbox, ["--port", port])
        assert result.exit_code == 1
        assert "cannot listen" in result.output


@pytest.mark.parametrize("arguments", [["--now", "soon"], ["--port", "99999"], ["--live", "0"], ["--companies", "0"]])
def test_unusable_options_are_bad_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(sandbox, arguments).exit_code == 2
