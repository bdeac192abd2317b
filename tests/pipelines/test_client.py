"""What the client makes of everything that can come back over HTTP."""

import json
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pipelines.client import OneToken, Pennylane
from pipelines.errors import (
    AuthorizationFailed,
    BrokenAnswer,
    MissingScope,
    PennylaneRefused,
    PennylaneUnreachable,
    PipelineError,
)
from pipelines.pacing import OwnPace, Pacer, Stopped
from sandbox.faults import Fault
from tests.pipelines.company import Company, make_sandbox
from tests.pipelines.conftest import MakeCompany
from tests.resources.elsewhere import Elsewhere
from tests.resources.fakes import JumpingClock

TOKEN = "a-token-that-nobody-may-see"
QUERY: dict[str, str | int] = {"limit": 100, "sort": "id"}


class RenewedToken:
    """Has a newer token once the first was refused."""

    def __init__(self, first: str, second: str) -> None:
        self.asked_after: list[str] = []
        self._current, self._second = first, second

    def access_token(self) -> str:
        return self._current

    def renewed(self, after: str) -> str:
        self.asked_after.append(after)
        self._current = self._second
        return self._second


def _no_wait(_: float) -> None:
    return None


@pytest.fixture
def client(company: Company) -> Pennylane:
    return company.pennylane()


@pytest.fixture
def gateway() -> Iterator[Elsewhere]:
    with Elsewhere() as server:
        yield server


def _fault(company: Company, **fault: Any) -> None:
    company.server.sandbox.faults.add(Fault(**{"path": "/customers$", **fault}))


FAULTS: dict[str, dict[str, Any]] = {
    "429 with retry-after": {"kind": "plain", "status": 429, "headers": {"retry-after": "1"}},
    "429 without retry-after": {"kind": "plain", "status": 429},
    "429 with a date to retry after": {
        "kind": "plain",
        "status": 429,
        "headers": {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"},
    },
    "500": {"kind": "status", "status": 500},
    "502": {"kind": "plain", "status": 502},
    "503": {"kind": "status", "status": 503, "headers": {"retry-after": "nan"}},
    "504": {"kind": "plain", "status": 504},
    "a cut connection": {"kind": "cut"},
    "cut JSON": {"kind": "truncated_json"},
    "a web page": {"kind": "html"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_retried_and_ends_in_the_right_answer(
    company: Company, client: Pennylane, fault: str
) -> None:
    client.pacer._wait = lambda _condition, _seconds: None
    client.pacer._clock = JumpingClock()
    _fault(company, times=3, **FAULTS[fault])
    answer = client.get("/customers", QUERY)
    assert [one["id"] for one in answer["items"]] == [one.id for one in company.world.customers]
    assert company.requests["total"] == 4


def test_a_fault_that_stays_ends_in_one_line_that_says_what_to_do(company: Company, client: Pennylane) -> None:
    _fault(company, kind="status", status=503, times=None)
    with pytest.raises(PennylaneUnreachable, match="/customers in 8 attempts: status 503") as failure:
        client.get("/customers", QUERY)
    _assert_one_line(failure.value)
    assert str(company.id) in str(failure.value)
    assert company.requests["total"] == 8


def test_waits_between_attempts_grow() -> None:
    waits: list[float] = []
    with make_sandbox(customers=1, invoices=0) as server:
        server.sandbox.faults.add(Fault("/customers$", "status", status=500, times=None))
        client = Pennylane(server.url, OneToken(server.token()), sleep=waits.append)
        with pytest.raises(PennylaneUnreachable):
            client.get("/customers")
    assert len(waits) == 7
    assert all(wait <= 0.5 * 2**at for at, wait in enumerate(waits))
    assert sum(waits) <= 64


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_of_more_than_ten_minutes_is_left_to_the_next_sync(
    company: Company, client: Pennylane, status: int
) -> None:
    _fault(company, kind="status", status=status, headers={"retry-after": "86400"})
    with pytest.raises(PennylaneUnreachable, match="left alone for 1,440 minutes"):
        client.get("/customers", QUERY)
    assert company.requests["total"] == 1


@pytest.mark.parametrize(("status", "by_others"), [(200, 24), (429, 25)])
def test_a_refused_request_took_none_of_the_limit(gateway: Elsewhere, status: int, by_others: int) -> None:
    told = {
        "ratelimit-limit": "25",
        "ratelimit-remaining": "0",
        "ratelimit-reset": str(time.time() + 5),
    }
    gateway.answer = (status, {**told, "retry-after": "86400"}, b'{"items": []}')
    kept = OwnPace()
    client = Pennylane(gateway.url, OneToken(TOKEN), pacer=Pacer(kept))
    with suppress(PennylaneUnreachable):
        client.get("/customers", QUERY)
    with kept.held() as pace:
        assert pace.window.others == by_others


def test_retry_after_is_the_least_wait(company: Company) -> None:
    waits: list[float] = []
    client = Pennylane(company.server.url, OneToken(company.server.token()), sleep=waits.append)
    _fault(company, kind="status", status=503, headers={"retry-after": "17"})
    client.get("/customers", QUERY)
    assert waits == [17.0]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/customers", {"limit": 101}, 400),
        ("/customers", {"filter": "no json"}, 400),
        ("/customers/1/contacts", {}, 404),
        ("/changelogs/customers", {"start_date": "2020-01-01T00:00:00Z"}, 422),
        ("/customers", {"filter": "x" * 9000}, 414),
    ],
)
def test_a_refusal_is_never_retried(
    company: Company, client: Pennylane, path: str, query: dict[str, Any], status: int
) -> None:
    with pytest.raises(PennylaneRefused, match=f"{path} with status {status}") as refusal:
        client.get(path, query)
    assert refusal.value.status == status
    assert company.requests["total"] == 1
    _assert_one_line(refusal.value)


def test_a_token_that_expired_is_renewed_once_and_the_call_goes_on(company: Company) -> None:
    tokens = RenewedToken("expired", company.server.token())
    client = Pennylane(company.server.url, tokens, sleep=_no_wait)
    assert len(client.get("/customers", QUERY)["items"]) == 12
    assert tokens.asked_after == ["expired"]
    assert company.requests["by_status"] == {"200": 1, "401": 1}


def test_a_renewed_token_that_is_refused_too_ends_the_call(company: Company) -> None:
    client = Pennylane(company.server.url, RenewedToken("expired", TOKEN), sleep=_no_wait)
    with pytest.raises(AuthorizationFailed, match="pennylane-sync connect") as failure:
        client.get("/customers", QUERY)
    assert company.requests["by_status"] == {"401": 2}
    _assert_one_line(failure.value)


def test_a_missing_scope_is_named(company: Company) -> None:
    token = company.server.sandbox.tokens.add_company_token(company.id, ("customers:readonly",))
    client = Pennylane(company.server.url, OneToken(token), str(company.id), sleep=_no_wait)
    with pytest.raises(MissingScope, match="customer_invoices:readonly") as failure:
        client.get("/customer_invoices", QUERY)
    assert company.requests["total"] == 1
    _assert_one_line(failure.value)


def test_an_address_where_nobody_answers_is_said_to_be_unreachable() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    started = time.monotonic()
    client = Pennylane(address, OneToken(TOKEN), "1", sleep=_no_wait)
    with pytest.raises(PennylaneUnreachable, match="PENNYLANE_URL") as failure:
        client.get("/customers", QUERY)
    assert time.monotonic() - started < 5
    _assert_one_line(failure.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(company: Company, client: Pennylane, status: int) -> None:
    with make_sandbox(customers=1, invoices=0) as elsewhere:
        _fault(
            company,
            kind="status",
            status=status,
            headers={"location": f"{elsewhere.url}/api/external/v2/customers"},
            times=None,
        )
        with pytest.raises(BrokenAnswer, match="redirects /customers"):
            client.get("/customers", QUERY)
        assert elsewhere.sandbox.statistics.report()["total"] == 0


FAILURES: dict[str, dict[str, Any]] = {
    **FAULTS,
    "400": {"kind": "status", "status": 400},
    "401": {"kind": "status", "status": 401},
    "403": {"kind": "status", "status": 403},
    "404": {"kind": "plain", "status": 404},
    "418": {"kind": "html", "status": 418},
}


@pytest.mark.parametrize("kind", [name for name in FAILURES if name != "429 with retry-after"])
def test_no_error_shows_the_token(company: Company, kind: str) -> None:
    token = company.server.sandbox.tokens.add_company_token(company.id, token=TOKEN)
    client = Pennylane(company.server.url, RenewedToken(token, token), sleep=_no_wait)
    client.pacer._wait = lambda _condition, _seconds: None
    client.pacer._clock = JumpingClock()
    _fault(company, times=None, **FAILURES[kind])
    with pytest.raises(PipelineError) as failure:
        client.get("/customers", QUERY)
    told: list[str] = []
    error: BaseException | None = failure.value
    while error is not None:
        told += [str(error), repr(error), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    assert TOKEN not in "".join(told)
    assert TOKEN not in repr(client)
    assert TOKEN not in repr(vars(client))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
@pytest.mark.parametrize("told", [TOKEN, f"Authorization: Bearer {TOKEN}", quote(TOKEN, safe="").replace("-", "%2D")])
def test_a_gateway_that_repeats_what_it_was_sent_is_not_repeated_by_us(
    gateway: Elsewhere, told: str, status: int
) -> None:
    gateway.answer = (status, {}, json.dumps({"message": f"bad request: {told}"}).encode())
    client = Pennylane(gateway.url, RenewedToken(TOKEN, TOKEN), sleep=_no_wait)
    with pytest.raises(PipelineError, match="repeats the token") as failure:
        client.get("/customers", QUERY)
    assert gateway.tokens == {TOKEN}
    assert TOKEN[:12] not in str(failure.value)
    _assert_one_line(failure.value)


def test_what_an_error_says_cannot_command_the_terminal_nor_fill_it(gateway: Elsewhere) -> None:
    message = "no\r\n\x1b[2J\x1b]0;owned\x07 " + "so long " * 500
    gateway.answer = (422, {}, json.dumps({"message": message}).encode())
    with pytest.raises(PennylaneRefused, match="no ") as failure:
        Pennylane(gateway.url, OneToken(TOKEN), sleep=_no_wait).get("/customers", QUERY)
    assert str(failure.value).isprintable()
    _assert_one_line(failure.value)


@pytest.mark.parametrize("to", ["https://127.0.0.1:1", "http://127.0.0.1:1", "//127.0.0.1:1", "ftp://127.0.0.1"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_takes_the_token_anywhere(gateway: Elsewhere, to: str, status: int) -> None:
    with Elsewhere() as other:
        gateway.answer = (status, {"Location": to.replace("127.0.0.1:1", other.url.removeprefix("http://"))}, b"")
        with pytest.raises(BrokenAnswer, match="redirects /customers elsewhere; check PENNYLANE_URL"):
            Pennylane(gateway.url, OneToken(TOKEN), sleep=_no_wait).get("/customers", QUERY)
        assert gateway.hits == 1
        assert other.hits == 0


def test_neither_netrc_nor_a_proxy_comes_between_us_and_a_stand_in_on_this_machine(
    gateway: Elsewhere, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without encryption a proxy would read the token; `NO_PROXY` is easily forgotten."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    gateway.answer = (200, {}, b'{"items": []}')
    with Elsewhere() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        Pennylane(gateway.url, OneToken(TOKEN), sleep=_no_wait).get("/customers", QUERY)
        assert proxy.hits == 0
    assert gateway.tokens == {TOKEN}


def test_a_stopped_client_ends_its_waits(make_company: MakeCompany) -> None:
    company = make_company(2, 2)
    client = Pennylane(company.server.url, OneToken(company.server.token()))
    company.server.sandbox.faults.add(Fault("/customers", "status", status=429, headers={"retry-after": "60"}))
    stopping = threading.Timer(0.5, client.stop)
    started = time.monotonic()
    stopping.start()
    with pytest.raises(Stopped):
        client.get("/customers", QUERY)
    assert 0.5 <= time.monotonic() - started < 20


def test_numbers_keep_all_their_digits(company: Company, client: Pennylane) -> None:
    assert all(isinstance(one["id"], int) for one in client.get("/customers", QUERY)["items"])


def _assert_one_line(error: PipelineError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 400


def test_a_403_that_names_no_scope_is_no_lost_authorization(company: Company, client: Pennylane) -> None:
    """A firewall's, for example: the token is as good as before."""
    _fault(company, kind="plain", status=403)
    with pytest.raises(PennylaneRefused, match="403"):
        client.get("/customers", QUERY)


@pytest.mark.parametrize("status", [429, 502])
def test_a_gateway_s_clock_is_not_taken_for_pennylane_s(gateway: Elsewhere, status: int) -> None:
    gateway.answer = (status, {"retry-after": "86400"}, b"")
    client = Pennylane(gateway.url, OneToken(TOKEN))
    with pytest.raises(PennylaneUnreachable):
        client.get("/customers", QUERY)
    assert client.pacer.server_time() is None


def test_what_is_no_number_is_text_and_no_database_is_shown_it_as_json() -> None:
    with Elsewhere() as server:
        server.answer = (200, {}, b'{"items": [{"emails": [NaN], "amount": -Infinity}]}')
        answer = Pennylane(server.url, OneToken("token"), sleep=_no_wait).get("/customers")
    assert answer == {"items": [{"emails": ["NaN"], "amount": "-Infinity"}]}
