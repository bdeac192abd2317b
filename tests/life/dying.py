"""A sync in a process of its own that dies as by `kill -9`: nothing is closed, finished or given back."""

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

from pipelines import details, pieces
from resources.installation import Installation
from resources.settings import Settings
from sandbox import core
from tests.model.office import sync
from tests.model.places import PLACES, PLACES_IN_DLT, at


def installation_of(home: Path, pennylane_url: str, warehouse_url: str) -> Installation:
    """An installation with these settings. The connections are kept where its users have them by default: in a SQLite
    file of its home, or, beside tables in Postgres, in a schema of their own there."""
    installation = Installation()
    installation.settings = Settings(
        _env_file=None,
        pennylane_url=pennylane_url,
        pennylane_client_id=core.CLIENT_ID,
        pennylane_client_secret=core.CLIENT_SECRET,
        pennylane_sync_home=home,
        WAREHOUSE_URL=warehouse_url,
        CONNECTIONS_URL=None,
    )
    return installation


def sync_until(
    home: Path, pennylane_url: str, warehouse_url: str, *, company_id: int, full: bool, place: str, time: int
) -> None:
    """Sync, and die on coming by the place for this time; `place` may be empty."""
    for module in (pieces, details):
        vars(module)["PIECE_ROWS"] = 20
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - to the process's end
    installation = installation_of(home, pennylane_url, warehouse_url)
    with at({**PLACES, **PLACES_IN_DLT}[place], time, _die) if place else nullcontext():
        sync(installation, company_id, f"run {os.getpid()}", full=full)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
