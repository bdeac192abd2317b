"""The consent page: what it shows, what its buttons do, and whom it sends nowhere."""

import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from sandbox.server import SandboxServer
from tests.sandbox.client import Caller
from tests.sandbox.test_oauth import ASKED, BACK, SECRETS


class _Form(HTMLParser):
    """The fields and buttons of the page's form, as a browser would send them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.hidden: dict[str, str] = {}
        self.companies: list[str] = []
        self.buttons: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "input":
            self.hidden[attributes["name"]] = attributes["value"]
        elif tag == "option":
            self.companies.append(attributes["value"])
        elif tag == "button":
            self.buttons[attributes["value"]] = attributes["name"]


def _page(server: SandboxServer, **more: str) -> requests.Response:
    return requests.get(f"{server.url}/oauth/authorize", params=ASKED | more, allow_redirects=False, timeout=30)


def _press(server: SandboxServer, form: _Form, button: str, company: str) -> requests.Response:
    fields = form.hidden | {"company": company, form.buttons[button]: button}
    return requests.post(f"{server.url}/oauth/authorize", data=fields, allow_redirects=False, timeout=30)


def test_the_page_shows_companies_scopes_and_both_buttons(server: SandboxServer) -> None:
    response = _page(server)
    form = _Form(response.text)
    assert response.headers["content-type"].startswith("text/html")
    assert form.companies == [str(world.id) for world in server.worlds]
    assert form.buttons == {"authorize": "decision", "cancel": "decision"}
    for scope in ASKED["scope"].split():
        assert scope in response.text
    assert "sandbox-client" in response.text


def test_authorizing_gives_a_code_for_the_company_that_was_picked(server: SandboxServer) -> None:
    second = server.worlds[1]
    response = _press(server, _Form(_page(server).text), "authorize", str(second.id))
    assert response.status_code == 302
    location = response.headers["location"]
    assert location.startswith(f"{BACK}?")
    answer = parse_qs(urlsplit(location).query)
    assert answer.keys() == {"code", "state"}
    assert answer["state"] == [ASKED["state"]]
    fields = SECRETS | {"grant_type": "authorization_code", "code": answer["code"][0], "redirect_uri": BACK}
    token = requests.post(f"{server.url}/oauth/token", data=fields, timeout=30).json()["access_token"]
    assert Caller(server.url, token).json("/me")["company"]["id"] == second.id


def test_cancelling_goes_back_with_access_denied_and_the_state(server: SandboxServer) -> None:
    response = _press(server, _Form(_page(server).text), "cancel", str(server.world.id))
    assert response.status_code == 302
    answer = parse_qs(urlsplit(response.headers["location"]).query)
    assert answer == {"error": ["access_denied"], "state": [ASKED["state"]]}


def test_parameters_of_the_redirect_address_are_kept(server: SandboxServer) -> None:
    form = _Form(_page(server, redirect_uri=f"{BACK}?tenant=7").text)
    response = _press(server, form, "cancel", str(server.world.id))
    assert response.headers["location"].startswith(f"{BACK}?tenant=7&error=access_denied")


def test_a_company_that_is_not_on_the_list_is_refused(server: SandboxServer) -> None:
    for company in ("999", "", "x"):
        assert _press(server, _Form(_page(server).text), "authorize", company).status_code == 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "stranger"},
        {"client_id": ""},
        {"redirect_uri": ""},
        {"redirect_uri": "/callback"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "https://"},
        {"redirect_uri": "https://example.org/#fragment"},
        {"redirect_uri": "http://[broken"},
    ],
)
def test_an_untrustworthy_request_gets_a_page_and_no_redirect(server: SandboxServer, wrong: dict[str, str]) -> None:
    asked = _page(server, **wrong)
    posted = requests.post(
        f"{server.url}/oauth/authorize", data=ASKED | wrong | {"decision": "cancel"}, allow_redirects=False, timeout=30
    )
    for response in (asked, posted):
        assert response.status_code == 400
        assert "location" not in response.headers
        assert "cannot be authorized" in response.text


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"code_challenge": "x", "code_challenge_method": "plain"}, "invalid_request"),
    ],
)
def test_a_known_app_is_told_by_redirect_what_is_wrong(
    server: SandboxServer, wrong: dict[str, str], error: str
) -> None:
    response = _page(server, **wrong)
    assert response.status_code == 302
    answer = parse_qs(urlsplit(response.headers["location"]).query)
    assert answer == {"error": [error], "state": [ASKED["state"]]}


def test_nothing_that_was_sent_becomes_markup(server: SandboxServer) -> None:
    evil = "\"><script>alert('x')</script>"
    page = _page(server, state=evil, redirect_uri=f"https://example.org/<b>?q={evil}").text
    assert "<script" not in page
    assert "<b>" not in page
    form = _Form(page)
    assert form.hidden["state"] == evil
    server.world.name = "<i>Café</i> & Fils"
    assert "&lt;i&gt;Café&lt;/i&gt; &amp; Fils" in _page(server).text


def test_the_page_loads_nothing_from_elsewhere(server: SandboxServer) -> None:
    response = _page(server)
    assert not re.findall(r"(?:src|href)=", response.text)
    assert "default-src 'none'" in response.headers["content-security-policy"]
