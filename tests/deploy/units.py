"""The systemd units, read as systemd reads them, with this checkout and a folder of the test in place of theirs."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.instance import ROOT
from tests.program import PROGRAM

DEPLOY = ROOT / "deploy"
UNITS = DEPLOY / "systemd"
SERVICES = sorted(path.name.removeprefix("pennylane-sync-") for path in UNITS.glob("pennylane-sync-*.service"))


def settings(service: str) -> dict[str, list[str]]:
    """What the unit and the common drop-in say, by name, the drop-in's last."""
    found: dict[str, list[str]] = {}
    for path in (UNITS / f"pennylane-sync-{service}", UNITS / "pennylane-sync-.service.d" / "common.conf"):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, given, value = line.partition("=")
            if given and not line.startswith("#"):
                found.setdefault(name, []).append(value)
    return found


@dataclass(frozen=True)
class Installed:
    """Where the units' folders are here, and what their environment files hold."""

    state: Path
    files: Mapping[str, Mapping[str, str]]
    deploy: Path = DEPLOY

    def environment(self, service: str, own: Mapping[str, str]) -> dict[str, str]:
        """A service's environment, which has nothing of ours but PATH; `own` overrules it."""
        given = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        for line in settings(service).get("Environment", []):
            given |= dict(shlex.split(one)[0].split("=", 1) for one in self._here(line).split())
        for path in settings(service)["EnvironmentFile"]:
            given |= self.files[Path(path).name]
        return {**given, **own}

    def command(self, line: str, environment: Mapping[str, str]) -> list[str]:
        """A line of ExecStart and its like as arguments."""
        here = self._here(line)
        return [re.sub(r"\$\{(\w+)\}", lambda name: environment[name[1]], one) for one in shlex.split(here)]

    def _here(self, value: str) -> str:
        return (
            value.replace("/opt/pennylane-sync/.venv/bin", str(PROGRAM.parent))
            .replace("/opt/pennylane-sync/deploy", str(self.deploy))
            .replace("/opt/pennylane-sync", str(ROOT))
            .replace("/var/lib/pennylane-sync", str(self.state))
        )


def example(path: Path) -> dict[str, str]:
    """The names, and values, of an example of an environment file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    filled = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in filled}
