"""The control address: only when asked for, and what it tells."""

from datetime import timedelta
from typing import Any

import pytest
import requests

from sandbox.changes.randomly import CHANGES
from sandbox.server import SandboxServer
from tests.sandbox.client import caller, control
from tests.sandbox.conftest import NOW, Serve


def test_without_asking_there_is_no_control_address(serve: Serve) -> None:
    server = serve(control=False)
    for path in ("/control/state", "/control/clock", "/control/requests"):
        assert requests.get(server.url + path, timeout=30).status_code == 404


def test_the_clock_can_be_read_and_moved_forward(server: SandboxServer) -> None:
    assert control(server, "GET", "/clock") == {"now": NOW.isoformat()}
    later = (NOW + timedelta(days=1)).isoformat()
    assert control(server, "POST", "/clock", {"advance_seconds": 86_400}) == {"now": later}
    assert control(server, "GET", "/clock") == {"now": later}
    back = requests.post(f"{server.url}/control/clock", json={"advance_seconds": -1}, timeout=30)
    assert back.status_code == 400


def _without_file_address(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "public_file_url"}


def test_the_state_is_exactly_what_the_api_tells(server: SandboxServer) -> None:
    control(server, "POST", "/changes/random", {"count": 120})
    for world in server.worlds:
        state, api = control(server, "GET", "/state", company=world.id), caller(server, world)
        assert state["company"]["id"] == world.id
        assert api.items("/customers", sort="id", limit=100) == state["customers"]
        records = api.items("/customer_invoices", sort="id", limit=100)
        credit_notes = set(
            api.ids("/customer_invoices", limit=100, filter='[{"field":"credit_note","operator":"eq","value":true}]')
        )
        assert [
            _without_file_address(record) | {"credit_note": record["id"] in credit_notes} for record in records
        ] == [_without_file_address(record) for record in state["customer_invoices"]]
        for customer in state["customers"]:
            contacts = api.items(f"/customers/{customer['id']}/contacts", sort="id")
            assert contacts == state["contacts"].get(str(customer["id"]), [])
        for record in records:
            for place in ("payments", "matched_transactions"):
                receipts = api.items(f"/customer_invoices/{record['id']}/{place}", sort="id")
                assert receipts == sorted(state[place].get(str(record["id"]), []), key=lambda each: each["id"])


def test_requests_are_counted_by_path_status_window_and_token(server: SandboxServer) -> None:
    api, id_ = caller(server), next(iter(server.world.customers)).id
    for path in (f"/customers/{id_}", "/customers/1", "/me"):
        api.get(path)
    server.sandbox.clock.advance(5)
    api.get("/me")
    report = control(server, "GET", "/requests")
    assert report["total"] == 4
    assert report["by_path"] == {"/api/external/v2/customers/{id}": 2, "/api/external/v2/me": 2}
    assert report["by_status"] == {"200": 3, "404": 1}
    window = int(NOW.timestamp())
    assert [(each["window"], each["count"]) for each in report["by_window"]] == [(window, 3), (window + 5, 1)]
    assert report["max_in_flight"] == 1
    assert server.token() not in str(report)
    control(server, "DELETE", "/requests")
    assert control(server, "GET", "/requests")["total"] == 0


def test_what_was_served_is_counted_per_customer(server: SandboxServer) -> None:
    """So a test can prove that an excluded account was never asked for."""
    world, api = server.world, caller(server)
    excluded = next(row.customer_id for row in world.invoices if row.customer_id is not None and row.settles)
    api.items("/customers", filter=[{"field": "id", "operator": "not_in", "value": [excluded]}])
    api.items("/customer_invoices", filter=[{"field": "customer_id", "operator": "not_in", "value": [excluded]}])
    others = {str(row.id) for row in world.customers} - {str(excluded)}
    assert control(server, "GET", "/requests")["served"].keys() == others
    control(server, "DELETE", "/requests")
    invoice = next(row.id for row in world.invoices if row.customer_id == excluded)
    for path in (
        f"/customers/{excluded}",
        f"/customers/{excluded}/contacts",
        f"/customer_invoices/{invoice}",
        f"/customer_invoices/{invoice}/payments",
        f"/customer_invoices/{invoice}/matched_transactions",
    ):
        api.json(path)
    assert control(server, "GET", "/requests")["served"] == {str(excluded): 5}


@pytest.mark.parametrize("kind", sorted(CHANGES))
def test_every_change_can_be_asked_for_without_arguments(server: SandboxServer, kind: str) -> None:
    answer = control(server, "POST", f"/changes/{kind}")
    assert isinstance(answer["id"], int)


def test_changes_take_arguments_and_a_company(server: SandboxServer) -> None:
    second = server.worlds[1]
    customer = control(server, "POST", "/changes/create_customer", {"name": "Chez Ünal"}, company=second.id)["id"]
    assert caller(server, second).json(f"/customers/{customer}")["name"] == "Chez Ünal"
    assert caller(server).get(f"/customers/{customer}").status_code == 404
    made = control(
        server, "POST", "/changes/create_invoice", {"customer_id": None, "amount": "12.30", "currency": "EUR"}
    )
    record = caller(server).json(f"/customer_invoices/{made['id']}")
    assert (record["amount"], record["customer"]) == ("12.30", None)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/changes/explode", {}),
        ("/changes/create_invoice", {"colour": "red"}),
        ("/changes/create_invoice", {"amount": 1.5}),
        ("/changes/create_invoice", {"amount": "1.234"}),
        ("/changes/create_invoice", {"customer_id": 1}),
        ("/changes/pay_invoice", {"id": 1}),
        ("/changes/pay_invoice", {"amount": "0"}),
        ("/changes/create_payment", {"status": "lost"}),
        ("/changes/mark_paid", {"unknown": 1}),
        ("/changes/random?company=7", {}),
        ("/changes/random", []),
    ],
)
def test_an_impossible_change_is_refused_and_changes_nothing(server: SandboxServer, path: str, body: Any) -> None:
    before = len(server.world.invoices), caller(server).ids("/changelogs/customer_invoices")
    response = requests.post(f"{server.url}/control{path}", json=body, timeout=30)
    assert response.status_code == 400
    assert response.json()["error"]
    assert (len(server.world.invoices), caller(server).ids("/changelogs/customer_invoices")) == before
