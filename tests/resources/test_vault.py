from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from resources.errors import PennylaneSyncError
from resources.vault import KeyMismatch, Vault
from tests.resources.workers import encrypt_in


def test_what_was_encrypted_can_be_read_by_the_next_process(tmp_path: Path) -> None:
    encrypted = Vault(tmp_path / "home").encrypt("SECRET é")
    assert "SECRET" not in encrypted
    assert Vault(tmp_path / "home").decrypt(encrypted) == "SECRET é"


def test_the_key_file_and_its_folder_are_for_their_owner_alone(tmp_path: Path) -> None:
    Vault(tmp_path / "home").encrypt("text")
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "home" / "key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in (tmp_path / "home").iterdir()] == ["key"]


def test_with_a_given_key_no_file_is_made(tmp_path: Path) -> None:
    key = SecretStr(Fernet.generate_key().decode())
    vault = Vault(tmp_path / "home", key)
    assert vault.decrypt(vault.encrypt("text")) == "text"
    assert not (tmp_path / "home").exists()


def test_processes_that_start_together_end_with_one_key(tmp_path: Path) -> None:
    with ProcessPoolExecutor(6, mp_context=get_context("spawn")) as processes:
        encrypted = list(processes.map(encrypt_in, [tmp_path / "home"] * 12))
    vault = Vault(tmp_path / "home")
    assert {vault.decrypt(text) for text in encrypted} == {"text"}


def test_another_key_is_said_clearly(tmp_path: Path) -> None:
    encrypted = Vault(tmp_path / "home").encrypt("SECRET")
    given = Vault(tmp_path / "home", SecretStr(Fernet.generate_key().decode()))
    with pytest.raises(KeyMismatch, match="another key than PENNYLANE_SYNC_KEY") as caught:
        given.decrypt(encrypted)
    assert isinstance(caught.value, PennylaneSyncError)
    assert "connect" in str(caught.value)
    assert caught.value.__context__ is None


def test_a_lost_key_file_is_said_and_not_replaced(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "home")
    encrypted = vault.encrypt("SECRET")
    (tmp_path / "home" / "key").unlink()
    with pytest.raises(KeyMismatch, match="is gone"):
        vault.decrypt(encrypted)
    assert not (tmp_path / "home" / "key").exists()


@pytest.mark.parametrize("content", [b"", b"not a key", b"\xff\xfe"])
def test_a_damaged_key_file_is_said(content: bytes, tmp_path: Path) -> None:
    vault = Vault(tmp_path / "home")
    encrypted = vault.encrypt("SECRET")
    (tmp_path / "home" / "key").write_bytes(content)
    with pytest.raises(KeyMismatch, match="is damaged"):
        vault.decrypt(encrypted)
    with pytest.raises(KeyMismatch, match="is damaged"):
        vault.encrypt("more")
