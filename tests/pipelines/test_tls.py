"""The server's certificate is verified, for the API and for OAuth, and nothing in the environment quietly ends that."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from pipelines.client import OneToken, Pennylane
from pipelines.errors import PennylaneUnreachable
from resources.credential import Credential
from resources.oauth import revoke
from resources.oauth_session import PennylaneOAuth
from resources.oauth_session import PennylaneUnreachable as OAuthUnreachable
from resources.settings import Settings
from tests.certificates import self_signed
from tests.resources.elsewhere import Elsewhere

TOKEN = "a-token-that-nobody-may-see"


def _server(certificate: Path) -> Elsewhere:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Elsewhere(context)
    server.answer = (200, {}, b'{"items": []}')
    return server


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed(tmp_path, x509.IPAddress(ip_address("127.0.0.1")))


@pytest.fixture
def stranger(certificate: Path) -> Iterator[Elsewhere]:
    """Says that it is 127.0.0.1, on nobody's word but its own."""
    with _server(certificate) as server:
        yield server


def _reads(server: Elsewhere) -> None:
    Pennylane(server.url, OneToken(TOKEN), sleep=lambda _: None).get("/customers")


def _renews(server: Elsewhere) -> None:
    settings = Settings(pennylane_url=server.url, pennylane_client_id="id", pennylane_client_secret="SECRET")
    PennylaneOAuth(settings).renew(Credential(TOKEN, "refresh"), datetime.now(UTC))


def _assert_refused(server: Elsewhere) -> None:
    with pytest.raises(PennylaneUnreachable, match="SSLError"):
        _reads(server)
    with pytest.raises(OAuthUnreachable):
        _renews(server)
    settings = Settings(pennylane_url=server.url, pennylane_client_id="id", pennylane_client_secret="SECRET")
    assert not revoke(settings, Credential(TOKEN, "refresh"))
    assert server.hits == 0


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"PYTHONHTTPSVERIFY": "0"},
        {"CURL_CA_BUNDLE": ""},
        {"REQUESTS_CA_BUNDLE": "", "SSL_CERT_FILE": ""},
        {"OAUTHLIB_INSECURE_TRANSPORT": "1", "NODE_TLS_REJECT_UNAUTHORIZED": "0"},
        {"PENNYLANE_VERIFY": "0", "SSL_VERIFY": "false"},
    ],
    ids=lambda switches: ",".join(switches) or "none",
)
def test_a_certificate_on_nobody_s_word_is_refused_whatever_the_environment_says(
    stranger: Elsewhere, switches: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in switches.items():
        monkeypatch.setenv(name, value)
    _assert_refused(stranger)


def test_a_certificate_that_the_user_names_as_trusted_is_accepted(
    stranger: Elsewhere, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    _reads(stranger)
    assert stranger.tokens == {TOKEN}
    stranger.answer = (200, {}, b'{"access_token": "next", "refresh_token": "one", "token_type": "Bearer"}')
    _renews(stranger)
    assert stranger.hits == 2


@pytest.mark.parametrize(
    ("name", "days"),
    [(x509.DNSName("app.pennylane.com"), 1.0), (x509.IPAddress(ip_address("127.0.0.1")), -1.0)],
    ids=["of another host", "expired"],
)
def test_a_trusted_certificate_of_another_host_or_that_expired_is_refused(
    name: x509.GeneralName, days: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path, name, days)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with _server(certificate) as server:
        _assert_refused(server)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_https_is_not_left_for_http(
    stranger: Elsewhere, certificate: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with Elsewhere() as plain:
        stranger.answer = (status, {"Location": plain.url}, b"")
        with pytest.raises(Exception, match="redirects /customers elsewhere"):
            _reads(stranger)
        with pytest.raises(Exception, match=f"status {status}"):
            _renews(stranger)
        assert plain.hits == 0


def test_over_a_proxy_the_certificate_is_still_pennylane_s_to_show(
    stranger: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that answers in the server's place, instead of leading to it, learns nothing."""
    with Elsewhere() as proxy:
        proxy.answer = (200, {}, b"")
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(PennylaneUnreachable):
            _reads(stranger)
        assert proxy.hits > 0
        assert TOKEN not in "".join(proxy.tokens)
    assert stranger.hits == 0
