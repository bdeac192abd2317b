from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from resources.settings import Settings, SettingsError


def test_everything_has_the_documented_default(tmp_path: Path) -> None:
    settings = Settings()
    assert settings.pennylane_url == "https://app.pennylane.com"
    assert settings.pennylane_token_path == "/oauth/token"
    assert settings.pennylane_client_id is None
    assert settings.pennylane_client_secret is None
    assert settings.pennylane_redirect_uri == "http://localhost:8765/callback"
    assert settings.pennylane_sync_key is None
    assert settings.pennylane_sync_detail_requests == 1500
    assert settings.home == tmp_path / "data"
    assert settings.warehouse_url == f"duckdb:///{tmp_path}/data/receivables.duckdb"
    assert settings.connections_url == f"sqlite:///{tmp_path}/data/connections.sqlite"


def test_a_dotenv_file_is_read_and_the_environment_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PENNYLANE_CLIENT_ID=from-file\nPENNYLANE_SYNC_HOME=elsewhere\nOTHER=1\n")
    monkeypatch.setenv("PENNYLANE_CLIENT_ID", "from-environment")
    settings = Settings()
    assert settings.pennylane_client_id == "from-environment"
    assert settings.home == tmp_path / "elsewhere"


def test_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENNYLANE_CLIENT_SECRET", "")
    monkeypatch.setenv("WAREHOUSE_URL", "")
    settings = Settings()
    assert settings.pennylane_client_secret is None
    assert settings.warehouse_url.startswith("duckdb:")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_connections_live_in_the_same_postgres_as_the_warehouse(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", f"{scheme}://me:pass@db.example/books?sslmode=require")
    settings = Settings()
    assert settings.warehouse_url == "postgresql://me:pass@db.example/books?sslmode=require"
    assert settings.connections_url == settings.warehouse_url


def test_connections_can_live_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", "postgresql://db.example/books")
    monkeypatch.setenv("CONNECTIONS_URL", "sqlite:///own/connections.sqlite")
    assert Settings().connections_url == f"sqlite:///{tmp_path}/own/connections.sqlite"


def test_relative_files_become_absolute_so_that_every_process_means_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", "duckdb:///books.duckdb")
    settings = Settings()
    monkeypatch.chdir("/")
    assert settings.warehouse_url == f"duckdb:///{tmp_path}/books.duckdb"
    assert settings.home == tmp_path / "data"


def test_no_secret_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    key = Fernet.generate_key().decode()
    monkeypatch.setenv("PENNYLANE_CLIENT_SECRET", "SECRET-client")
    monkeypatch.setenv("PENNYLANE_SYNC_KEY", key)
    monkeypatch.setenv("WAREHOUSE_URL", "postgresql://me:SECRET-password@db.example/books")
    monkeypatch.setenv("CONNECTIONS_URL", "postgresql://me:SECRET-password@db.example/books")
    settings = Settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "SECRET" not in shown
        assert key not in shown


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WAREHOUSE_URL", "mysql://me:SECRET@db/books"),
        ("WAREHOUSE_URL", "me:SECRET"),
        ("WAREHOUSE_URL", "duckdb:///"),
        ("WAREHOUSE_URL", "duckdb://:memory:"),
        ("WAREHOUSE_URL", "duckdb:///:memory:"),
        ("WAREHOUSE_URL", "sqlite:////books.sqlite"),
        ("WAREHOUSE_URL", "postgresql://me:SECRET@db:port/books"),
        ("WAREHOUSE_URL", "postgresql://me:pass%SECRET@db/books"),
        ("WAREHOUSE_URL", "postgresql://me:pass@SECRET@db/books"),
        ("WAREHOUSE_URL", "postgresql://me:pass/SECRET@db/books"),
        ("WAREHOUSE_URL", "postgresql://me:123/SECRET@db/books"),
        ("WAREHOUSE_URL", "postgresql://me:pass#SECRET@db/books"),
        ("WAREHOUSE_URL", "postgresql://me:pass?SECRET@db/books"),
        ("WAREHOUSE_URL", "postgresql://me:123?SECRET@db/books"),
        ("WAREHOUSE_URL", "postgresql://me:pass[SECRET]@db/books"),
        ("WAREHOUSE_URL", "postgresql://me:pass@db/books?passwrd=SECRET"),
        ("CONNECTIONS_URL", "postgresql://me:pass@SECRET@db/books"),
        ("CONNECTIONS_URL", "duckdb:////books.duckdb"),
        ("PENNYLANE_SYNC_DETAIL_REQUESTS", "-1"),
        ("PENNYLANE_SYNC_DETAIL_REQUESTS", "many"),
        ("PENNYLANE_SYNC_KEY", "SECRET"),
        ("PENNYLANE_TOKEN_PATH", "oauth/token"),
        ("PENNYLANE_TOKEN_PATH", "//elsewhere.example/token"),
        ("PENNYLANE_URL", "app.pennylane.com"),
        ("PENNYLANE_URL", "ftp://app.pennylane.com"),
        ("PENNYLANE_URL", "https://me:SECRET@app.pennylane.com"),
        ("PENNYLANE_URL", "https://app.pennylane.com?token=SECRET"),
        ("PENNYLANE_URL", "https://app.pennylane.com:none"),
        ("PENNYLANE_URL", "http://app.pennylane.com"),
        ("PENNYLANE_URL", "http://localhost.example"),
        ("PENNYLANE_URL", "http://192.168.1.10:8100"),
        ("PENNYLANE_REDIRECT_URI", "callback"),
    ],
)
def test_a_malformed_value_is_named_by_its_variable_and_not_repeated(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable) as caught:
        Settings()
    assert "SECRET" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:p%40s%2Fs%25%23%3F%5B@db.example:5433/books?sslmode=require",
        "postgresql://me:p:a%s$s!&*()+,;='~^w@db.example/books".replace("%s", "%25s"),
        "postgresql://me@db.example/books",
        "postgresql://db.example/books?user=me&password=pass",
        "postgresql://me@/books?host=/var/run/postgresql&port=5433",
        "postgresql:///books",
        "postgresql://me:pass@[::1]:5433/books",
        "postgresql://me:pass@Main.Example/books",
        "postgresql://me:pass@one.example,two.example/books?target_session_attrs=read-write",
        "postgresql://me:pass@/books?host=one.example,two.example&port=5432,5433",
    ],
)
def test_the_usual_ways_of_writing_a_postgres_address_are_accepted(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", address)
    assert Settings().warehouse_url == address


@pytest.mark.parametrize("address", ["http://localhost:8100", "http://127.0.0.1:8100/", "http://[::1]:8100"])
def test_plain_http_is_accepted_on_this_machine(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENNYLANE_URL", address)
    assert Settings().pennylane_url == address.rstrip("/")
