import os
import traceback
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import requests

from resources.credential import Credential
from resources.oauth import SCOPES, ConsentRefused, ConsentTimedOut, authorize, revoke
from resources.oauth_session import GrantRefused, OAuthRefused, PennylaneOAuth, PennylaneUnreachable
from resources.settings import Settings, SettingsError
from tests.ports import free_port
from tests.resources.browser import Browser
from tests.resources.elsewhere import Elsewhere
from tests.resources.fakes import FakeClock
from tests.resources.pennylane import Pennylane


def test_a_person_who_says_yes_gives_access_to_the_company_chosen(pennylane: Pennylane, clock: FakeClock) -> None:
    other = pennylane.server.worlds[1]
    browser = Browser(other.id)
    credential = authorize(pennylane.settings, SCOPES, browser.open, clock=clock)
    assert pennylane.accepts(credential.access_token)
    assert credential.refresh_token
    assert credential.expires_at == clock.now + timedelta(days=1)
    assert browser.shown is not None
    assert "Pennylane said yes" in browser.shown.text
    grant = pennylane.server.sandbox.tokens.find(credential.access_token)
    assert grant is not None
    assert (grant.company_id, grant.scopes) == (other.id, SCOPES)


def test_the_address_asks_for_a_code_with_state_and_pkce(pennylane: Pennylane) -> None:
    opened = []
    for _ in range(2):
        browser = Browser(pennylane.company_id)
        authorize(pennylane.settings, SCOPES, browser.open)
        opened += browser.opened
    first, second = ({name: values[0] for name, values in parse_qs(urlsplit(each).query).items()} for each in opened)
    assert opened[0].startswith(f"{pennylane.server.url}/oauth/authorize?")
    assert first["response_type"] == "code"
    assert first["client_id"] == pennylane.settings.pennylane_client_id
    assert first["redirect_uri"] == pennylane.settings.pennylane_redirect_uri
    assert first["scope"] == "customers:readonly customer_invoices:readonly"
    assert first["code_challenge_method"] == "S256"
    assert len(first["state"]) >= 20
    assert first["state"] != second["state"]
    assert first["code_challenge"] != second["code_challenge"]
    assert "secret" not in opened[0]


def _consented(pennylane: Pennylane, address: str) -> str:
    """The code that Pennylane would send the browser back with."""
    asked = dict(parse_qsl(urlsplit(address).query)) | {"company": str(pennylane.company_id), "decision": "authorize"}
    answer = requests.post(address.partition("?")[0], data=asked, allow_redirects=False, timeout=30)
    return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]


def test_a_code_that_somebody_else_saw_is_of_no_use_without_the_verifier(pennylane: Pennylane) -> None:
    """PKCE: also for one who has the app's secret, such as another user of the same app."""
    session = PennylaneOAuth(
        pennylane.settings, scope=list(SCOPES), redirect_uri=pennylane.settings.pennylane_redirect_uri, pkce="S256"
    )
    code = _consented(pennylane, session.authorize_address()[0])
    thief = PennylaneOAuth(pennylane.settings, redirect_uri=pennylane.settings.pennylane_redirect_uri)
    with pytest.raises(GrantRefused):
        thief.exchange(code, pennylane.clock())
    with pytest.raises(GrantRefused):  # nor to anybody, after that
        session.exchange(code, pennylane.clock())


def test_a_code_is_exchanged_once(pennylane: Pennylane) -> None:
    session = PennylaneOAuth(
        pennylane.settings, scope=list(SCOPES), redirect_uri=pennylane.settings.pennylane_redirect_uri, pkce="S256"
    )
    code = _consented(pennylane, session.authorize_address()[0])
    assert pennylane.accepts(session.exchange(code, pennylane.clock()).access_token)
    with pytest.raises(GrantRefused):
        session.exchange(code, pennylane.clock())


def test_an_answer_that_an_attacker_sends_first_connects_nobody_to_the_attacker_s_company(
    pennylane: Pennylane,
) -> None:
    """Forged answers (another's code, a refusal) are turned away, and the person's own is still waited for."""
    callback = pennylane.settings.pennylane_redirect_uri
    other = pennylane.server.worlds[1]
    refused: list[int] = []

    def attack_then_open(address: str) -> None:
        theirs = Browser(other.id)
        session = PennylaneOAuth(pennylane.settings, scope=list(SCOPES), redirect_uri=callback, pkce="S256")
        theirs.open(session.authorize_address()[0])
        assert theirs.shown is not None
        refused.append(theirs.shown.status_code)
        refused.append(requests.get(callback, params={"error": "access_denied"}, timeout=30).status_code)
        Browser(pennylane.company_id).open(address)

    credential = authorize(pennylane.settings, SCOPES, attack_then_open, clock=pennylane.clock)
    assert refused == [400, 400]
    grant = pennylane.server.sandbox.tokens.find(credential.access_token)
    assert grant is not None
    assert grant.company_id == pennylane.company_id


def test_a_person_who_says_no_is_understood(pennylane: Pennylane) -> None:
    browser = Browser(pennylane.company_id, decision="cancel")
    with pytest.raises(ConsentRefused, match="refused at Pennylane"):
        authorize(pennylane.settings, SCOPES, browser.open)
    assert browser.shown is not None
    assert "Access refused" in browser.shown.text
    assert pennylane.token_calls() == 0


def test_nobody_answers_for_ever(pennylane: Pennylane) -> None:
    with pytest.raises(ConsentTimedOut, match="within 0 s"):
        authorize(pennylane.settings, SCOPES, lambda _address: None, timeout_seconds=0)


def test_what_pennylane_finds_wrong_with_the_request_is_named(pennylane: Pennylane) -> None:
    with pytest.raises(OAuthRefused, match="invalid_scope"):
        authorize(pennylane.settings, ["everything"], Browser(pennylane.company_id).open)


@pytest.mark.parametrize("missing", ["pennylane_client_id", "pennylane_client_secret"])
def test_without_an_app_the_variables_and_the_other_way_are_named(missing: str, pennylane: Pennylane) -> None:
    settings = pennylane.settings_with(**{missing: None})
    with pytest.raises(
        SettingsError, match=r"PENNYLANE_CLIENT_ID and PENNYLANE_CLIENT_SECRET are not set.*--token-stdin"
    ):
        authorize(settings, SCOPES, pytest.fail)


def test_a_redirect_address_elsewhere_is_refused_before_the_browser_opens(pennylane: Pennylane) -> None:
    settings = pennylane.settings_with(pennylane_redirect_uri="https://app.example/callback")
    with pytest.raises(SettingsError, match="PENNYLANE_REDIRECT_URI"):
        authorize(settings, SCOPES, pytest.fail)


def test_a_wrong_client_secret_is_said_without_it(pennylane: Pennylane) -> None:
    settings = pennylane.settings_with(pennylane_client_secret="wrong-SECRET")
    with pytest.raises(OAuthRefused, match="check PENNYLANE_CLIENT_ID and PENNYLANE_CLIENT_SECRET") as caught:
        authorize(settings, SCOPES, Browser(pennylane.company_id).open)
    assert "SECRET-" not in "".join(traceback.format_exception(caught.value)).replace("CLIENT_SECRET", "")
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "status", "status": 503}, PennylaneUnreachable),
        ({"kind": "html"}, PennylaneUnreachable),
        ({"kind": "plain", "status": 429}, PennylaneUnreachable),
        ({"kind": "cut"}, PennylaneUnreachable),
        ({"kind": "truncated_json"}, PennylaneUnreachable),
        ({"kind": "status", "status": 404}, OAuthRefused),
    ],
)
def test_a_token_answer_that_is_none_is_one_clear_error(
    fault: dict[str, object], error: type[Exception], pennylane: Pennylane
) -> None:
    pennylane.disturb_token_calls(**fault)
    with pytest.raises(error) as caught:
        pennylane.authorize()
    assert caught.value.__context__ is None


def test_a_company_that_allowed_it_can_take_it_back_from_here(pennylane: Pennylane) -> None:
    credential = pennylane.authorize()
    assert revoke(pennylane.settings, credential)
    assert not pennylane.accepts(credential.access_token)
    assert revoke(pennylane.settings, credential)


def test_a_revocation_that_is_not_sure_is_not_claimed(pennylane: Pennylane) -> None:
    credential = pennylane.authorize()
    assert not revoke(pennylane.settings_with(pennylane_url=f"http://localhost:{free_port()}"), credential)
    assert not revoke(pennylane.settings_with(pennylane_client_secret="wrong"), credential)
    assert not revoke(pennylane.settings_with(pennylane_client_id=None), credential)
    assert not revoke(pennylane.settings, Credential("api-token"))
    assert pennylane.accepts(credential.access_token)


def test_neither_code_nor_secret_follows_a_redirect(pennylane: Pennylane, clock: FakeClock) -> None:
    with Elsewhere() as elsewhere, Elsewhere() as pennylane_gone:
        pennylane_gone.answer = (307, {"Location": f"{elsewhere.url}/oauth/token"}, b"")
        settings = pennylane.settings_with(pennylane_url=pennylane_gone.url)
        with pytest.raises(OAuthRefused, match="status 307"):
            PennylaneOAuth(settings).exchange("SECRET-code", clock())
        assert not revoke(settings, Credential("SECRET-access", "SECRET-refresh"))
        assert pennylane_gone.hits == 2
        assert elsewhere.hits == 0


def test_neither_a_proxy_nor_netrc_comes_between_us_and_a_stand_in_on_this_machine(
    pennylane: Pennylane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Elsewhere() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            for variable in (name, name.lower()):
                monkeypatch.setenv(variable, "" if name == "NO_PROXY" else proxy.url)
        with pytest.raises(GrantRefused):
            PennylaneOAuth(pennylane.settings).exchange("SECRET-code", pennylane.clock())
        assert revoke(pennylane.settings, Credential("SECRET-access", "SECRET-refresh"))
        assert proxy.hits == 0


def test_plain_http_stays_an_exception_for_one_address(pennylane: Pennylane) -> None:
    pennylane.authorize()
    assert "OAUTHLIB_INSECURE_TRANSPORT" not in os.environ
    here = PennylaneOAuth(pennylane.settings)
    real = PennylaneOAuth(Settings(pennylane_client_id="id", pennylane_client_secret="SECRET"))
    assert type(real.get_adapter("https://app.pennylane.com/oauth/token")).__name__ == "HTTPAdapter"
    assert type(here.get_adapter("https://app.pennylane.com/oauth/token")).__name__ == "HTTPAdapter"
    assert real.verify is True
    assert real.authorize_address()[0].startswith("https://app.pennylane.com/oauth/authorize?")


def test_no_token_code_or_secret_is_logged(pennylane: Pennylane, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    credential = pennylane.authorize()
    renewed = PennylaneOAuth(pennylane.settings).renew(credential, pennylane.clock())
    revoke(pennylane.settings, renewed)
    ours = [record for record in caplog.records if not record.name.startswith("urllib3")]
    logged = "".join(record.getMessage() for record in caplog.records)
    for secret in (credential, renewed):
        assert secret.access_token not in logged
        assert str(secret.refresh_token) not in logged
    assert "sandbox-secret" not in logged
    assert "code_verifier" not in logged
    assert not any("code=" in record.getMessage() for record in ours)
