"""Faults: each kind does to the answer what it says, to the requests it is meant for."""

import time
from typing import Any

import pytest
import requests

from sandbox.clock import Clock
from sandbox.generator.books import make_world
from sandbox.server import SandboxServer
from tests.sandbox.client import caller, control
from tests.sandbox.conftest import Serve


def _disturb(server: SandboxServer, path: str = "/customers$", **fault: Any) -> None:
    control(server, "POST", "/faults", {"path": path, **fault})


def test_a_status_fault_answers_with_that_status_and_headers(server: SandboxServer) -> None:
    _disturb(server, kind="status", status=502, headers={"retry-after": "7"})
    api = caller(server)
    answer = api.get("/customers")
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["status"]) == (502, "7", 502)
    assert api.get("/customers").status_code == 200


def test_a_plain_fault_is_no_json(server: SandboxServer) -> None:
    _disturb(server, kind="plain", status=500)
    answer = caller(server).get("/customers")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/plain; charset=utf-8")


def test_an_html_fault_is_a_page_that_claims_success(server: SandboxServer) -> None:
    _disturb(server, kind="html")
    answer = caller(server).get("/customers")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_a_cut_fault_closes_the_connection_in_the_middle(server: SandboxServer) -> None:
    _disturb(server, kind="cut")
    api = caller(server)
    with pytest.raises(requests.exceptions.RequestException):
        api.get("/customers")
    assert api.get("/customers").status_code == 200


def test_a_reset_fault_resets_the_connection_in_the_middle(server: SandboxServer) -> None:
    _disturb(server, kind="reset")
    api = caller(server)
    with pytest.raises(requests.exceptions.RequestException, match="reset by peer"):
        api.get("/customers")
    assert api.get("/customers").status_code == 200


def test_a_changed_answer_has_the_fields_and_values_that_were_asked_for(server: SandboxServer) -> None:
    api = caller(server)
    before = api.json("/customers")
    first, second = (one["id"] for one in before["items"][:2])
    _disturb(
        server,
        kind="changed",
        body={"has_more": True, "next_cursor": "again"},
        body_without=["a_field_that_is_not_there"],
        item={"name": None, "a_field_of_the_future": {"nested": [1]}},
        item_without=["emails"],
        only_ids=[first],
    )
    after = api.json("/customers")
    assert (after["has_more"], after["next_cursor"]) == (True, "again")
    changed, unchanged = after["items"][:2]
    assert (changed["id"], unchanged["id"]) == (first, second)
    assert (changed["name"], changed["a_field_of_the_future"]) == (None, {"nested": [1]})
    assert "emails" not in changed
    assert unchanged == before["items"][1]
    assert api.json("/customers") == before


def test_a_changed_answer_may_lack_fields_and_a_refusal_stays_one(server: SandboxServer) -> None:
    _disturb(server, kind="changed", body_without=["has_more", "next_cursor"], times=2)
    api = caller(server)
    assert api.json("/customers").keys() == {"items"}
    assert api.get("/customers", limit=0).status_code == 400


def test_a_truncated_fault_is_a_complete_answer_of_half_a_document(server: SandboxServer) -> None:
    _disturb(server, kind="truncated_json")
    answer = caller(server).get("/customers")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()


def test_a_latency_fault_delays_the_true_answer(server: SandboxServer) -> None:
    _disturb(server, kind="latency", seconds=0.15)
    began = time.monotonic()
    assert caller(server).get("/customers").status_code == 200
    assert time.monotonic() - began >= 0.15


def test_a_general_latency_delays_every_answer(serve: Serve) -> None:
    server = serve(latency=0.1)
    began = time.monotonic()
    assert caller(server).get("/me").status_code == 200
    assert time.monotonic() - began >= 0.1


def _statuses(server: SandboxServer, count: int, path: str = "/customers") -> list[int]:
    api = caller(server)
    return [api.get(path).status_code for _ in range(count)]


def test_a_fault_skips_and_counts(server: SandboxServer) -> None:
    _disturb(server, kind="status", skip=2, times=2)
    assert _statuses(server, 6) == [200, 200, 503, 503, 200, 200]


def test_a_fault_without_number_stays_until_it_is_cleared(server: SandboxServer) -> None:
    _disturb(server, kind="status", times=None)
    assert _statuses(server, 5) == [503] * 5
    assert [fault["kind"] for fault in control(server, "GET", "/faults")["faults"]] == ["status"]
    control(server, "DELETE", "/faults")
    assert _statuses(server, 2) == [200, 200]
    assert control(server, "GET", "/faults") == {"faults": []}


def test_a_fault_strikes_matching_paths_only(server: SandboxServer) -> None:
    _disturb(server, path=r"/customer_invoices/\d+/payments$", kind="status")
    assert _statuses(server, 2) == [200, 200]
    assert _statuses(server, 1, f"/customer_invoices/{next(iter(server.world.invoices)).id}/payments") == [503]


def test_a_fault_with_a_probability_strikes_now_and_then(server: SandboxServer) -> None:
    _disturb(server, kind="status", times=None, probability=0.5)
    statuses = _statuses(server, 40)
    assert 5 < statuses.count(503) < 35


def test_faults_reach_oauth_and_what_was_cut_was_carried_out(serve: Serve) -> None:
    """The worst case for a client: its refresh token is spent and the answer with the new one never arrives."""
    server = serve()
    pair = server.sandbox.tokens.issue(server.world.id, ("customers:readonly",))
    fields = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
    fields |= {"grant_type": "refresh_token", "refresh_token": pair.refresh_token}
    _disturb(server, path="^/oauth/token$", kind="cut")
    with pytest.raises(requests.exceptions.RequestException):
        requests.post(f"{server.url}/oauth/token", data=fields, timeout=30)
    assert requests.post(f"{server.url}/oauth/token", data=fields, timeout=30).status_code == 400
    assert control(server, "GET", "/requests")["reused_refresh_tokens"] == 1


@pytest.mark.parametrize("fault", [{"kind": "flood", "path": "x"}, {"kind": "cut", "path": "("}, {"kind": "cut"}])
def test_an_unusable_fault_is_refused(server: SandboxServer, fault: dict[str, Any]) -> None:
    assert requests.post(f"{server.url}/control/faults", json=fault, timeout=30).status_code == 400


def test_a_fault_of_the_sandbox_itself_is_logged_and_not_hidden(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(Clock(), customers=3, invoices=0)
    next(iter(world.customers)).billing_address = ("incomplete",)  # type: ignore[assignment]
    with SandboxServer(world) as server:
        assert caller(server).get("/customers", limit=100).status_code == 500
    assert "/api/external/v2/customers failed" in caplog.text
