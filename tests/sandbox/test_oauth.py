"""OAuth: the token calls, rotation, revocation, PKCE."""

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from requests_oauthlib import OAuth2Session

from sandbox.server import SandboxServer
from tests.sandbox.client import Caller, control
from tests.sandbox.conftest import Serve

BACK = "http://localhost:8765/callback"
SECRETS = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
ASKED = {
    "client_id": "sandbox-client",
    "redirect_uri": BACK,
    "response_type": "code",
    "scope": "customers:readonly customer_invoices:readonly",
    "state": "s t&te",
}


@pytest.fixture
def approving(serve: Serve) -> SandboxServer:
    """A sandbox whose consent page approves by itself."""
    return serve(auto_approve=True)


def _code(server: SandboxServer, **more: str) -> str:
    response = requests.get(f"{server.url}/oauth/authorize", params=ASKED | more, allow_redirects=False, timeout=30)
    assert response.status_code == 302
    answer = parse_qs(urlsplit(response.headers["location"]).query)
    assert answer["state"] == ["s t&te"]
    return answer["code"][0]


def _post(server: SandboxServer, path: str = "/oauth/token", **fields: str) -> requests.Response:
    return requests.post(server.url + path, data=SECRETS | fields, timeout=30)


def _exchange(server: SandboxServer, code: str, **more: str) -> requests.Response:
    return _post(server, **{"grant_type": "authorization_code", "code": code, "redirect_uri": BACK} | more)


def _connect(server: SandboxServer) -> dict[str, Any]:
    return dict(_exchange(server, _code(server)).json())


def _refresh(server: SandboxServer, token: str) -> requests.Response:
    return _post(server, grant_type="refresh_token", refresh_token=token)


def _reads(server: SandboxServer, token: str) -> bool:
    return Caller(server.url, token).get("/me").status_code == 200


def _is_refused(response: requests.Response, error: str, status: int = 400) -> bool:
    return response.status_code == status and response.json()["error"] == error


def test_a_code_is_exchanged_for_a_pair_that_reads_the_chosen_company(approving: SandboxServer) -> None:
    response = _exchange(approving, _code(approving))
    pair = response.json()
    assert response.headers["cache-control"] == "no-store"
    assert pair.keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (pair["token_type"], pair["expires_in"]) == ("Bearer", 86_400)
    me = Caller(approving.url, pair["access_token"]).json("/me")
    assert me["company"]["id"] == approving.world.id
    assert me["user"]["email"] == approving.world.user.email
    assert me["scopes"] == ["customers:readonly", "customer_invoices:readonly"]
    assert Caller(approving.url, pair["access_token"]).get("/transactions").status_code == 403


def test_the_address_of_the_published_description_works_too(approving: SandboxServer) -> None:
    fields = {"grant_type": "authorization_code", "code": _code(approving), "redirect_uri": BACK}
    assert _post(approving, "/oauth/oauth/token", **fields).status_code == 200


def test_client_credentials_may_come_as_basic_authorization(approving: SandboxServer) -> None:
    url, fields = f"{approving.url}/oauth/token", {"grant_type": "authorization_code", "redirect_uri": BACK}
    right, wrong = ("sandbox-client", "sandbox-secret"), ("sandbox-client", "wrong")
    code = _code(approving)
    assert _is_refused(requests.post(url, data=fields | {"code": code}, auth=wrong, timeout=30), "invalid_client", 401)
    assert requests.post(url, data=fields | {"code": code}, auth=right, timeout=30).status_code == 200


@pytest.mark.parametrize("wrong", [{"client_id": "other"}, {"client_secret": "wrong"}, {"client_secret": ""}])
def test_a_wrong_client_gets_no_token(approving: SandboxServer, wrong: dict[str, str]) -> None:
    assert _is_refused(_exchange(approving, _code(approving), **wrong), "invalid_client", 401)
    assert _is_refused(_post(approving, "/oauth/revoke", **{"token": "x"} | wrong), "invalid_client", 401)


def test_a_code_works_once(approving: SandboxServer) -> None:
    code = _code(approving)
    assert _exchange(approving, code).status_code == 200
    assert _is_refused(_exchange(approving, code), "invalid_grant")


def test_a_code_is_short_lived(approving: SandboxServer) -> None:
    code = _code(approving)
    approving.sandbox.clock.advance(600)
    assert _is_refused(_exchange(approving, code), "invalid_grant")


def test_the_redirect_address_has_to_be_the_one_that_was_asked_for(approving: SandboxServer) -> None:
    assert _is_refused(_exchange(approving, _code(approving), redirect_uri=BACK + "/"), "invalid_grant")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "authorization_code"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "unknown"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "unknown"}, "invalid_grant"),
    ],
)
def test_an_unusable_token_request_is_told_why(approving: SandboxServer, fields: dict[str, str], error: str) -> None:
    assert _is_refused(_post(approving, **fields), error)


def test_pkce_is_checked_when_a_challenge_was_sent(approving: SandboxServer) -> None:
    verifier = "a-verifier-of-at-least-forty-three-characters-length"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = {"code_challenge": challenge, "code_challenge_method": "S256"}
    assert _is_refused(_exchange(approving, _code(approving, **asked)), "invalid_grant")
    assert _is_refused(_exchange(approving, _code(approving, **asked), code_verifier=verifier + "x"), "invalid_grant")
    assert _exchange(approving, _code(approving, **asked), code_verifier=verifier).status_code == 200


def test_an_access_token_lives_a_day(approving: SandboxServer) -> None:
    token = _connect(approving)["access_token"]
    approving.sandbox.clock.advance(86_399)
    assert _reads(approving, token)
    approving.sandbox.clock.advance(1)
    assert not _reads(approving, token)


def test_a_refresh_kills_both_old_tokens_at_once(approving: SandboxServer) -> None:
    old = _connect(approving)
    new = _refresh(approving, old["refresh_token"]).json()
    assert not _reads(approving, old["access_token"])
    assert _reads(approving, new["access_token"])
    assert new["refresh_token"] != old["refresh_token"]
    assert Caller(approving.url, new["access_token"]).json("/me")["scopes"] == ASKED["scope"].split()


def test_the_second_use_of_a_refresh_token_is_refused_and_counted(approving: SandboxServer) -> None:
    old = _connect(approving)
    new = _refresh(approving, old["refresh_token"]).json()
    assert control(approving, "GET", "/requests")["reused_refresh_tokens"] == 0
    assert _is_refused(_refresh(approving, old["refresh_token"]), "invalid_grant")
    assert _is_refused(_refresh(approving, "never seen"), "invalid_grant")
    assert control(approving, "GET", "/requests")["reused_refresh_tokens"] == 1
    assert _reads(approving, new["access_token"])
    assert _refresh(approving, new["refresh_token"]).status_code == 200


def test_a_refresh_token_lives_ninety_days(approving: SandboxServer) -> None:
    first, second = _connect(approving), _connect(approving)
    approving.sandbox.clock.advance(90 * 86_400 - 1)
    assert _refresh(approving, first["refresh_token"]).status_code == 200
    approving.sandbox.clock.advance(1)
    assert _is_refused(_refresh(approving, second["refresh_token"]), "invalid_grant")
    assert control(approving, "GET", "/requests")["reused_refresh_tokens"] == 0


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_revoking_either_token_ends_the_connection(approving: SandboxServer, which: str) -> None:
    pair, other = _connect(approving), _connect(approving)
    response = _post(approving, "/oauth/revoke", token=pair[which])
    assert (response.status_code, response.content) == (200, b"")
    assert not _reads(approving, pair["access_token"])
    assert _is_refused(_refresh(approving, pair["refresh_token"]), "invalid_grant")
    assert _reads(approving, other["access_token"])


def test_revoking_an_unknown_token_is_fine(approving: SandboxServer) -> None:
    response = _post(approving, "/oauth/revoke", token="unknown")
    assert (response.status_code, response.content) == (200, b"")


def test_a_common_oauth_library_connects_and_refreshes(
    approving: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    session = OAuth2Session("sandbox-client", redirect_uri=BACK, scope=ASKED["scope"].split(), pkce="S256")
    address, _ = session.authorization_url(f"{approving.url}/oauth/authorize")
    back = requests.get(address, allow_redirects=False, timeout=30).headers["location"]
    url = f"{approving.url}/oauth/token"
    session.fetch_token(url, authorization_response=back, client_secret="sandbox-secret")
    assert session.get(f"{approving.url}/api/external/v2/customers").status_code == 200
    session.refresh_token(url, client_id="sandbox-client", client_secret="sandbox-secret")
    assert session.get(f"{approving.url}/api/external/v2/customers").status_code == 200
