"""`pennylane-sync start`: Dagster's UI and daemon over this installation."""

import os
import signal
import subprocess
import sys

import click

from cli.instance import ROOT, dagster_home
from cli.output import stdout
from resources.settings import Settings


@click.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="Port of Dagster's UI.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the UI; it has no login of its own.")
def start(*, port: int, host: str) -> None:
    """Serve Dagster's UI and run the schedules, until Ctrl-C."""
    settings = Settings()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(dagster_home(settings)),
        "PENNYLANE_SYNC_HOME": str(settings.home),
    }
    stdout.print(f"Dagster's UI: http://{host}:{port}  (data in {settings.home}; Ctrl-C ends it)", markup=False)
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(ROOT / "workspace.yaml"), "-h", host, "-p", str(port)]
    with subprocess.Popen([*command, "--log-level", "warning"], env=environment) as server:
        signal.signal(signal.SIGTERM, lambda *_: server.send_signal(signal.SIGINT))
        while True:
            try:
                status = server.wait()
                break
            except KeyboardInterrupt:
                continue  # Dagster got it too and is ending
    sys.exit(0 if status in (0, -signal.SIGINT, 130) else 1)
