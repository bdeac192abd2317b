"""Who may read what, and how everybody else is turned away."""

import pytest
import requests

from sandbox.api.routes import OPERATIONS
from sandbox.server import SandboxServer
from sandbox.tokens import ALL_SCOPES
from tests.sandbox.client import Caller, caller, check, control

PATHS = [(path, resource) for path, resource, _ in OPERATIONS]


def _with_scopes(server: SandboxServer, *scopes: str) -> Caller:
    return Caller(server.url, control(server, "POST", "/tokens", {"scopes": list(scopes)})["token"])


def _fill(path: str) -> str:
    return path.replace(path[path.find("{") : path.find("}") + 1], "1") if "{" in path else path


def test_a_missing_scope_is_named(server: SandboxServer) -> None:
    for path, resource in PATHS:
        others = [scope for scope in ALL_SCOPES if not scope.startswith(f"{resource}:")]
        response = _with_scopes(server, *others).get(_fill(path))
        if resource is None:
            assert response.status_code == 200
        else:
            message = f'Access to this resource requires scope "{resource}:readonly".'
            assert check(path, response) == {"error": message, "status": 403}


@pytest.mark.parametrize("right", ["all", "readonly"])
def test_either_right_to_a_resource_is_enough_to_read(server: SandboxServer, right: str) -> None:
    for path, resource in PATHS:
        response = _with_scopes(server, f"{resource}:{right}").get(_fill(path))
        assert response.status_code in (200, 404), path


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer"}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic c2FuZGJveDo="}],
)
def test_without_a_valid_token_nothing_is_told(server: SandboxServer, headers: dict[str, str]) -> None:
    for path, _ in PATHS:
        response = requests.get(f"{server.url}/api/external/v2{_fill(path)}", headers=headers, timeout=30)
        assert check(path, response) == {"error": "The access token is invalid", "status": 401}


def test_revoking_all_tokens_ends_every_access(server: SandboxServer) -> None:
    control(server, "POST", "/tokens/revoke_all")
    assert caller(server).get("/me").status_code == 401


def test_a_company_token_tells_the_company_its_scopes_and_no_user(server: SandboxServer) -> None:
    me = caller(server).json("/me")
    assert me["company"]["id"] == server.world.id
    assert me["user"] is None
    assert me["scopes"] == list(ALL_SCOPES)
    assert _with_scopes(server, "customers:readonly").json("/me")["scopes"] == ["customers:readonly"]


def test_a_token_sees_its_own_company_only(server: SandboxServer) -> None:
    first, second = server.worlds
    ids = caller(server, second).ids("/customers", sort="id", limit=100)
    assert ids == [customer.id for customer in second.customers]
    assert not set(ids) & {customer.id for customer in first.customers}
    assert caller(server, second).get(f"/customers/{next(iter(first.customers)).id}").status_code == 404


def test_a_customer_is_found_under_its_own_shape_only(server: SandboxServer) -> None:
    api = caller(server)
    for customer in server.world.customers:
        mine, other = ("individual", "company") if customer.individual else ("company", "individual")
        assert "customer_type" not in api.json(f"/{mine}_customers/{customer.id}")
        assert api.get(f"/{other}_customers/{customer.id}").status_code == 404
        assert api.json(f"/customers/{customer.id}")["customer_type"] == mine


@pytest.mark.parametrize("path", ["", "/", "/invoices", "/customers/1/invoices", "/changelogs", "/me/more"])
def test_an_unknown_path_is_not_found_in_json(server: SandboxServer, path: str) -> None:
    response = caller(server).get(path)
    assert (response.status_code, response.json()) == (404, {"error": "Not Found", "status": 404})


def test_nothing_can_be_written(server: SandboxServer) -> None:
    url = f"{server.url}/api/external/v2/customers"
    assert requests.post(url, json={}, headers=server.headers(), timeout=30).status_code in (404, 405)


def test_an_address_longer_than_proxies_take_is_refused(server: SandboxServer) -> None:
    api = caller(server)
    path = "/api/external/v2/customers?x="
    assert api.get("/customers", x="y" * (8192 - len(path))).status_code == 200
    assert api.get("/customers", x="y" * (8193 - len(path))).status_code == 414


def test_the_file_address_differs_at_every_read(server: SandboxServer) -> None:
    api, invoice = caller(server), next(row for row in server.world.invoices if not row.draft)
    first, second = (api.json(f"/customer_invoices/{invoice.id}") for _ in range(2))
    assert first.pop("public_file_url") != second.pop("public_file_url")
    assert first == second
