"""The rate limit: per token, in windows of five seconds, told in every answer."""

from email.utils import parsedate_to_datetime

import requests

from sandbox.server import SandboxServer
from tests.sandbox.client import caller, control
from tests.sandbox.conftest import NOW, Serve

WINDOW_END = int(NOW.timestamp()) + 5
"""The clock stands at the beginning of a window."""


def _limits(response: requests.Response) -> tuple[int, int, int]:
    return tuple(int(response.headers[f"ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))  # type: ignore[return-value]


def test_every_answer_tells_what_is_left_and_until_when(serve: Serve) -> None:
    server = serve(rate_limit=25)
    api = caller(server)
    assert _limits(api.get("/me")) == (25, 24, WINDOW_END)
    assert _limits(api.get("/customers")) == (25, 23, WINDOW_END)
    assert _limits(api.get("/customers", limit=0)) == (25, 22, WINDOW_END)
    assert _limits(api.get("/customers/1")) == (25, 21, WINDOW_END)
    assert _limits(api.get("/nonsense")) == (25, 20, WINDOW_END)
    assert _limits(requests.get(f"{server.url}/api/external/v2/me", timeout=30)) == (25, 24, WINDOW_END)


def test_over_the_limit_the_answer_is_plain_text_with_a_waiting_time(serve: Serve) -> None:
    server = serve(rate_limit=3)
    api = caller(server)
    assert [api.get("/me").status_code for _ in range(4)] == [200, 200, 200, 429]
    server.sandbox.clock.advance(1.5)
    refused = api.get("/customers")
    assert refused.status_code == 429
    assert refused.headers["content-type"].startswith("text/plain")
    assert refused.headers["retry-after"] == "4"
    assert _limits(refused) == (3, 0, WINDOW_END)
    server.sandbox.clock.advance(3.4)
    assert api.get("/me").headers["retry-after"] == "1"


def test_the_limit_starts_again_with_the_next_window(serve: Serve) -> None:
    server = serve(rate_limit=2)
    api = caller(server)
    assert [api.get("/me").status_code for _ in range(3)] == [200, 200, 429]
    server.sandbox.clock.advance(4.999999)
    assert api.get("/me").status_code == 429
    server.sandbox.clock.advance(0.000001)
    answer = api.get("/me")
    assert (answer.status_code, _limits(answer)) == (200, (2, 1, WINDOW_END + 5))


def test_each_token_has_a_limit_of_its_own(serve: Serve) -> None:
    server = serve(rate_limit=1)
    first, second = (caller(server, world) for world in server.worlds)
    assert first.get("/me").status_code == 200
    assert first.get("/me").status_code == 429
    assert second.get("/me").status_code == 200


def test_without_a_limit_there_are_no_such_headers(server: SandboxServer) -> None:
    answer = caller(server).get("/me")
    assert not [name for name in answer.headers if name.lower().startswith("ratelimit")]


def test_oauth_and_control_do_not_count(serve: Serve) -> None:
    server = serve(rate_limit=1)
    for _ in range(3):
        assert requests.post(f"{server.url}/oauth/token", timeout=30).status_code == 401
        control(server, "GET", "/clock")
    assert caller(server).get("/me").status_code == 200


def test_the_date_of_every_answer_is_the_sandboxs_time(server: SandboxServer) -> None:
    server.sandbox.clock.advance(86_400)
    for path in ("/api/external/v2/me", "/oauth/authorize", "/control/clock", "/nowhere"):
        dates = requests.get(server.url + path, timeout=30).raw.headers.getlist("date")
        assert [parsedate_to_datetime(date) for date in dates] == [server.sandbox.clock.now()]
