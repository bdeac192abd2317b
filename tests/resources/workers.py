"""What tests run in other processes."""

import os
import signal
from pathlib import Path

from resources.connections import Connections
from resources.credential import Credential
from resources.leases import LeaseHeld
from resources.settings import Settings
from resources.tokens import TokenSource
from resources.vault import Vault


def encrypt_in(home: Path) -> str:
    return Vault(home).encrypt("text")


def save_company(url: str, home: Path, company_id: int) -> None:
    Connections(url, Vault(home)).save(company_id, "Name", "api_token", Credential("token"), [])


def refresh(url: str, home: Path, settings: Settings, company_id: int, refused: str) -> str:
    """The token to use after a refused one."""
    return TokenSource(Connections(url, Vault(home)), company_id, settings).renewed(refused)


def enter(url: str, home: Path, owner: str) -> bool:
    """Whether the lease on company 1 could be had; it is let go at once."""
    try:
        with Connections(url, Vault(home)).lease(1, owner, "test"):
            return True
    except LeaseHeld:
        return False


def enter_and_die(url: str, home: Path) -> None:
    """Ends as a process does that runs out of memory: no clean-up of any kind."""
    with Connections(url, Vault(home)).lease(1, "dead run", "hourly sync"):
        os.kill(os.getpid(), signal.SIGKILL)
