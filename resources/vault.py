"""Encryption of what must not lie on disk in clear."""

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr

from resources.errors import PennylaneSyncError
from resources.settings import Settings


class KeyMismatch(PennylaneSyncError):
    """The key at hand is not the one that the stored tokens were encrypted with."""


def make_private_folder(folder: Path) -> None:
    """Makes `folder`, readable by its owner alone, unless it exists."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


class Vault:
    """Encrypts with a given key, else with a key file that is made at the first encryption, mode 0600."""

    def __init__(self, home: Path, key: SecretStr | None = None) -> None:
        self._given = key
        self._file = home / "key"

    @classmethod
    def from_settings(cls, settings: Settings) -> "Vault":
        """The vault whose key is PENNYLANE_SYNC_KEY or lies in PENNYLANE_SYNC_HOME."""
        return cls(settings.home, settings.pennylane_sync_key)

    def encrypt(self, text: str) -> str:
        """The encrypted form of `text`, ASCII."""
        return self._fernet(create=True).encrypt(text.encode()).decode()

    def decrypt(self, encrypted: str) -> str:
        """The text that was encrypted; raises `KeyMismatch` with any other key than the one used then."""
        try:
            return self._fernet(create=False).decrypt(encrypted.encode()).decode()
        except InvalidToken:
            pass
        raise self._mismatch(f"they were encrypted with another key than {self._name()}")

    def _fernet(self, *, create: bool) -> Fernet:
        if self._given:
            return Fernet(self._given.get_secret_value())
        if create and not self._file.exists():
            self._make_key_file()
        try:
            return Fernet(self._file.read_bytes().strip())
        except FileNotFoundError:
            reason = f"the key file {self._file} is gone"
        except PermissionError:
            reason = f"the key file {self._file} may not be read by this user"
        except ValueError:
            reason = f"the key file {self._file} is damaged"
        raise self._mismatch(reason)

    def _make_key_file(self) -> None:
        """Whole or not at all, and never over another one: of two processes at once, one links its key first and both
        then read that."""
        make_private_folder(self._file.parent)
        draft = self._file.with_name(f".key.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(Fernet.generate_key() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            self._file.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()

    def _name(self) -> str:
        return "PENNYLANE_SYNC_KEY" if self._given else f"the one in {self._file}"

    @staticmethod
    def _mismatch(reason: str) -> KeyMismatch:
        return KeyMismatch(
            f"The stored tokens cannot be read: {reason}. Put the former key back"
            " (PENNYLANE_SYNC_KEY, or the key file), or connect each company again with: pennylane-sync connect"
        )
