import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlencode, urlsplit

import pytest
import requests
from hypothesis import HealthCheck, given, settings

from resources.callback import Callback, listening
from resources.settings import SettingsError
from tests.ports import free_port
from tests.resources.callback_inputs import (
    STATE,
    check_parameters,
    check_request,
    hostile_texts,
    parameters,
    requests_as_bytes,
)


@pytest.fixture
def address() -> str:
    return f"http://127.0.0.1:{free_port()}/callback"


@pytest.fixture
def callback(address: str) -> Iterator[Callback]:
    with listening(address, STATE) as callback:
        yield callback


def visit(address: str, method: str = "GET", **parameters: str) -> requests.Response:
    return requests.request(method, address, params=parameters, timeout=30)


def test_the_code_arrives_and_the_person_is_sent_back_to_the_terminal(address: str, callback: Callback) -> None:
    page = visit(address, code="the-code", state=STATE)
    answer = callback.wait(30)
    assert answer is not None
    assert (answer.code, answer.error) == ("the-code", None)
    assert page.status_code == 200
    assert "Go back to the terminal" in page.text


def test_a_refusal_arrives_and_is_shown_as_one(address: str, callback: Callback) -> None:
    page = visit(address, error="access_denied", error_description="<b>no</b>", state=STATE)
    answer = callback.wait(30)
    assert answer is not None
    assert (answer.code, answer.error) == (None, "access_denied")
    assert "Access refused" in page.text
    assert "<b>no</b>" not in page.text


@pytest.mark.parametrize(
    "parameters",
    [
        {"code": "the-code"},
        {"code": "the-code", "state": ""},
        {"code": "the-code", "state": "another"},
        {"code": "the-code", "state": STATE.upper()},
        {"code": "the-code", "state": STATE + "é"},
        {"error": "access_denied", "state": "another"},
        {"error": "access_denied"},
        {"state": STATE},
        {"state": STATE, "code": ""},
    ],
)
def test_what_does_not_belong_to_this_authorization_is_refused_and_the_wait_goes_on(
    parameters: dict[str, str], address: str, callback: Callback
) -> None:
    assert visit(address, **parameters).status_code == 400
    assert callback.wait(0) is None
    assert visit(address, code="the-code", state=STATE).status_code == 200
    assert callback.wait(30) is not None


def test_a_parameter_given_twice_is_refused(address: str, callback: Callback) -> None:
    twice = ("state={0}&state={0}&code=a", "state={0}&code=a&code=b", "state={0}&code=a&error=b&error=c")
    for query in (one.format(STATE) for one in twice):
        assert requests.get(f"{address}?{query}", timeout=30).status_code == 400
    assert callback.wait(0) is None


def test_only_the_exact_path_answers(address: str, callback: Callback) -> None:
    base = address.removesuffix("/callback")
    for path in ("/", "/callback/", "/Callback", "/callbackx", "/favicon.ico", "/x/../callback/x"):
        answer = visit(base + path, code="the-code", state=STATE)
        assert answer.status_code == 404, path
    assert callback.wait(0) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW"])
def test_only_get_answers(method: str, address: str, callback: Callback) -> None:
    answer = visit(address, method, code="the-code", state=STATE)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET"
    assert method not in answer.text or method == "HEAD"
    assert callback.wait(0) is None


def test_it_is_used_once(address: str, callback: Callback) -> None:
    visit(address, code="first", state=STATE)
    again = visit(address, code="second", state=STATE)
    assert again.status_code == 400
    assert "used before" in again.text
    answer = callback.wait(30)
    assert answer is not None
    assert answer.code == "first"


def test_hostile_parameters_are_not_echoed(address: str, callback: Callback) -> None:
    hostile = "<script>alert('owned')</script>"
    pages = [
        visit(address, code=hostile, state=hostile, error=hostile),
        visit(f"{address}/{hostile}"),
        visit(address, error=hostile, state=STATE),
    ]
    for page in pages:
        assert "owned" not in page.text
        assert "owned" not in str(page.headers)
    answer = callback.wait(30)
    assert answer is not None
    assert answer.error == "unknown"


def test_a_malformed_request_is_not_echoed_either(address: str, callback: Callback) -> None:
    port = urlsplit(address).port
    for line in (b"GET /owned\r\n\r\n", b"owned\r\n\r\n", b"GET /" + b"owned" * 20_000 + b" HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(line)
            answer = b""
            with suppress(ConnectionResetError):  # it does not read the longest one to its end
                while chunk := connection.recv(65536):
                    answer += chunk
        assert b"owned" not in answer
    assert callback.wait(0) is None


@settings(max_examples=300)
@given(given=parameters)
def test_whatever_the_parameters_they_are_the_answer_or_change_nothing(given: list[tuple[str, str]]) -> None:
    check_parameters(given)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=requests_as_bytes())
def test_whatever_the_request_it_is_answered_by_our_pages_alone_and_the_wait_goes_on(
    request: bytes, address: str, callback: Callback
) -> None:
    check_request(urlsplit(address).port or 0, request)
    assert callback.wait(0) is None


@settings(max_examples=30)
@given(text=hostile_texts)
def test_an_error_code_that_is_none_is_not_repeated_to_the_person(text: str) -> None:
    callback = Callback(STATE)
    callback.take(urlencode({"state": STATE, "error": text}, errors="surrogatepass"))
    callback.shown()
    answer = callback.wait(0)
    assert answer is not None
    assert answer.error == "unknown"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "10.0.0.1", "[", ""])
def test_a_name_that_was_made_to_lead_here_gets_no_answer_and_gives_none(
    host: str, address: str, callback: Callback
) -> None:
    """DNS rebinding: the attacker's page reaches us under its own name, which the browser tells."""
    answer = requests.get(address, params={"state": STATE, "code": "c"}, headers={"Host": host}, timeout=30)
    assert answer.status_code == 400
    assert callback.wait(0) is None


@pytest.mark.parametrize("headers", ["", "Host: localhost\r\nHost: evil.example\r\n"])
def test_a_request_that_does_not_say_or_says_twice_whom_it_is_for_is_refused(
    headers: str, address: str, callback: Callback
) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(address).port), timeout=30) as connection:
        connection.sendall(f"GET /callback?state={STATE}&code=c HTTP/1.1\r\n{headers}\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.0 400 ")
    assert callback.wait(0) is None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:80", "[::1]:8765"])
def test_a_port_that_is_forwarded_to_this_one_works_too(host: str, address: str, callback: Callback) -> None:
    answer = requests.get(address, params={"state": STATE, "code": "c"}, headers={"Host": host}, timeout=30)
    assert answer.status_code == 200


def test_two_answers_at_the_same_moment_are_one_taken_and_one_refused(address: str, callback: Callback) -> None:
    with ThreadPoolExecutor(8) as browsers:
        pages = list(browsers.map(lambda at: visit(address, code=f"code-{at}", state=STATE), range(8)))
    assert sorted(page.status_code for page in pages) == [200, *[400] * 7]
    (taken,) = (at for at, page in enumerate(pages) if page.status_code == 200)
    answer = callback.wait(30)
    assert answer is not None
    assert answer.code == f"code-{taken}"


def test_a_browser_that_connects_and_says_nothing_keeps_nobody_waiting(address: str, callback: Callback) -> None:
    port = urlsplit(address).port
    with socket.create_connection(("127.0.0.1", port)):
        assert visit(address, code="the-code", state=STATE).status_code == 200


def test_every_page_forbids_scripts_referrers_and_caches(address: str, callback: Callback) -> None:
    for page in (visit(address), visit(address + "x"), visit(address, "POST"), visit(address, code="c", state=STATE)):
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert "Python" not in page.headers["Server"]


def test_nothing_is_printed_or_logged_that_holds_the_code(
    address: str, callback: Callback, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    visit(address, code="SECRET-code", state=STATE)
    assert "SECRET" not in repr(callback.wait(30))
    printed = capfd.readouterr()
    assert "SECRET" not in printed.out + printed.err
    ours = [record for record in caplog.records if not record.name.startswith("urllib3")]
    assert "SECRET" not in "".join(record.getMessage() for record in ours)


def test_ctrl_c_ends_the_wait_even_where_it_interrupts_no_system_call(callback: Callback) -> None:
    """As one does that arrives right before the wait: it is as good as noticed by another thread."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    try:
        pressing = threading.Timer(0.2, interrupt)
        pressing.start()
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            callback.wait(30)
        assert time.monotonic() - begun < 15
    finally:
        pressing.join()
        signal.signal(signal.SIGINT, usual)


def test_the_port_is_free_again_when_the_wait_is_over(address: str) -> None:
    for _ in range(3):
        with listening(address, STATE) as callback:
            assert callback.wait(0) is None
    with pytest.raises(requests.ConnectionError):
        visit(address)


def test_a_port_in_use_is_named_with_its_setting(address: str, callback: Callback) -> None:
    port = urlsplit(address).port
    with pytest.raises(SettingsError, match=f"port {port}.*PENNYLANE_REDIRECT_URI"), listening(address, STATE):
        pass


@pytest.mark.parametrize(
    "redirect_uri",
    ["https://localhost:8765/callback", "http://0.0.0.0:8765/callback", "http://app.example:8765/callback"],
)
def test_it_listens_on_this_machine_only(redirect_uri: str) -> None:
    with pytest.raises(SettingsError, match="PENNYLANE_REDIRECT_URI"), listening(redirect_uri, STATE):
        pass


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_every_name_of_this_machine_is_listened_to(host: str) -> None:
    address = f"http://{host}:{free_port()}/back"
    with listening(address, STATE) as callback:
        assert visit(f"{address}?{urlencode({'state': STATE, 'code': 'c'})}").status_code == 200
        assert callback.wait(30) is not None
