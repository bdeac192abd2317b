"""`pennylane-sync start`: Dagster's UI and daemon over this installation."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
import requests
from dotenv import dotenv_values

from cli.instance import ROOT, dagster_home
from cli.output import stdout
from resources.settings import Settings

_END_SECONDS = 20


@click.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="Port of Dagster's UI.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the UI; it has no login of its own.")
def start(*, port: int, host: str) -> None:
    """Serve Dagster's UI and run the schedules, until Ctrl-C."""
    _refuse_in_deployment()
    settings = Settings()
    _check_free(host, port)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    stdout.print("Dagster starts; this takes about 15 seconds.")
    with _dagster(settings, host, port) as server:
        try:
            while not _serves(url):
                _check_alive(server)
                time.sleep(0.3)
            stdout.print(
                f"Dagster's UI: {url}  (data in {settings.home}; Ctrl-C ends it)", markup=False, soft_wrap=True
            )
            server.wait()
        except KeyboardInterrupt:
            stdout.print("Ending; a run that goes on is stopped, the next one goes on from there.")
            return
        _check_alive(server)


def _refuse_in_deployment() -> None:
    """A daemon of ours would ask for each hour's runs, and take them from the queue, beside the deployment's own."""
    if home := os.environ.get("DAGSTER_HOME"):
        raise click.ClickException(
            f"DAGSTER_HOME is {home}: a deployment's Dagster, whose own services run the schedules (systemctl start "
            "pennylane-sync.target, docker compose up; docs/deployment.md), and one daemon only may do so. Without "
            "DAGSTER_HOME, `start` runs one of this installation's own."
        )


@contextmanager
def _dagster(settings: Settings, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`dagster dev` with all its processes in a group of their own, of which none is left afterwards."""
    home = dagster_home(settings)
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(ROOT / "workspace.yaml"), "-h", host, "-p", str(port)]
    environment = _environment(settings) | {"DAGSTER_HOME": str(home)}
    # What a script starts in the background ignores Ctrl-C, and so would Dagster, which ends by nothing else.
    as_given = signal.signal(signal.SIGINT, signal.default_int_handler)
    # In Dagster's own folder: in one with another dagster.yaml, such as the checkout, it would warn of that.
    with subprocess.Popen(
        [*command, "--log-level", "warning"], cwd=home, env=environment, start_new_session=True
    ) as server:
        signal.signal(signal.SIGINT, as_given)
        try:
            yield server
        finally:
            _end(server)


def _environment(settings: Settings) -> dict[str, str]:
    """This process's settings for those that work in another folder: `.env` included, paths absolute."""
    given = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return (
        given
        | os.environ
        | {
            "PENNYLANE_SYNC_HOME": str(settings.home),
            "WAREHOUSE_URL": settings.warehouse_url,
            "CONNECTIONS_URL": settings.connections_url,
            # `dagster dev` recommends another program at every start.
            "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded",
        }
    )


def _end(server: subprocess.Popen[bytes]) -> None:
    """Dagster ends its servers when asked to; its code server would wait for runs, however long they take."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # asked again, it ends no faster
    server.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(_END_SECONDS)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        until = time.monotonic() + _END_SECONDS
        while time.monotonic() < until:
            server.poll()
            if not _group_lives(server.pid):
                return
            time.sleep(0.1)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _check_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise click.ClickException(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another with --port."
            ) from None


def _check_alive(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is not None:
        raise click.ClickException("Dagster ended by itself; what it printed above tells why.")


def _serves(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False  # this machine is not reached through a proxy
        try:
            return session.get(f"{url}/server_info", timeout=2).ok
        except requests.RequestException:
            return False
