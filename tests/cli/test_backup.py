"""The backup of a DuckDB installation, made with the commands of docs/operations.md."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documents import documented
from tests.program import Program


@pytest.mark.duckdb("its file")
def test_a_backup_holds_all_but_the_key_and_put_back_the_program_goes_on(synced: Program, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(synced.home)
    before = synced.status()
    subprocess.run(["/bin/sh", "-ec", documented("What to save", "", page="operations.md")], cwd=tmp_path, check=True)
    (backup,) = (tmp_path / "backups").iterdir()
    assert {path.name for path in backup.iterdir()} == {"receivables.duckdb", "connections.sqlite"}
    assert backup.stat().st_mode & 0o777 == 0o700

    for path in backup.iterdir():
        (synced.home / path.name).unlink()
    for path in backup.iterdir():
        shutil.copy(path, synced.home)
    assert synced.status() == before
    synced.done("sync")
