"""Every answer is as the published description says."""

import pytest

from sandbox.changes.randomly import change_randomly
from sandbox.server import SandboxServer
from tests.sandbox.client import Caller, caller, check, control, described_paths
from tests.sandbox.conftest import Serve

LISTS = ("/customers", "/customer_invoices", "/transactions")
FEEDS = ("/changelogs/customers", "/changelogs/customer_invoices", "/changelogs/transactions")
UNDER_INVOICE = ("payments", "matched_transactions")


@pytest.mark.parametrize(("seed", "changes"), [(1, 0), (2, 0), (3, 150), (4, 400)])
def test_every_answer_is_as_described(serve: Serve, seed: int, changes: int) -> None:
    server = serve(seed=seed, customers=25, invoices=260)
    change_randomly(server.world, count=changes)
    api = caller(server)
    check("/me", api.get("/me"))
    for path in (*LISTS, *FEEDS):
        _check_pages(api, path)
    for customer in server.world.customers:
        shape = "individual_customers" if customer.individual else "company_customers"
        check("/customers/{id}", api.get(f"/customers/{customer.id}"))
        check(f"/{shape}/{{id}}", api.get(f"/{shape}/{customer.id}"))
        check("/customers/{customer_id}/contacts", api.get(f"/customers/{customer.id}/contacts"))
    for invoice in list(server.world.invoices)[::3]:
        check("/customer_invoices/{id}", api.get(f"/customer_invoices/{invoice.id}"))
        for place in UNDER_INVOICE:
            path = f"/customer_invoices/{{customer_invoice_id}}/{place}"
            check(path, api.get(f"/customer_invoices/{invoice.id}/{place}"))
    for transaction in list(server.world.transactions)[::5]:
        check("/transactions/{id}", api.get(f"/transactions/{transaction.id}"))
        path = "/transactions/{transaction_id}/matched_invoices"
        check(path, api.get(f"/transactions/{transaction.id}/matched_invoices"))


def _check_pages(api: Caller, path: str) -> None:
    query = {"limit": "40"}
    while True:
        body = check(path, api.get(path, **query))
        if not body["has_more"]:
            return
        query["cursor"] = body["next_cursor"]


def test_every_described_path_is_served(server: SandboxServer) -> None:
    ids = {
        "/customers/{id}": next(iter(server.world.customers)).id,
        "/transactions/{id}": next(iter(server.world.transactions)).id,
        "/company_customers/{id}": next(row.id for row in server.world.customers if not row.individual),
        "/individual_customers/{id}": next(row.id for row in server.world.customers if row.individual),
        "/customers/{customer_id}/contacts": next(iter(server.world.customers)).id,
        "/transactions/{transaction_id}/matched_invoices": next(iter(server.world.transactions)).id,
    }
    api = caller(server)
    for path in described_paths():
        before, _, rest = path.partition("{")
        after = rest.partition("}")[2]
        id_ = ids.get(path, next(iter(server.world.invoices)).id)
        check(path, api.get(f"{before}{id_}{after}" if rest else path))


def test_included_invoice_lines_are_as_described_and_keyed_by_invoice(server: SandboxServer) -> None:
    body = check("/customer_invoices", caller(server).get("/customer_invoices", include="invoice_lines", limit=30))
    assert body["included"]["invoice_lines"].keys() == {str(item["id"]) for item in body["items"]}


def test_refusals_are_as_described(server: SandboxServer) -> None:
    api = caller(server)
    check("/customers", api.get("/customers", limit=0))
    check("/customers", api.get("/customers", filter="["))
    check("/customers/{id}", api.get("/customers/12"))
    check("/customers/{id}", api.get("/customers/twelve"))
    check("/changelogs/customers", api.get("/changelogs/customers", start_date="yesterday"))
    check("/changelogs/customers", api.get("/changelogs/customers", start_date="2020-01-01T00:00:00Z"))
    check("/customers", Caller(server.url, "nonsense").get("/customers"))
    narrow = control(server, "POST", "/tokens", {"scopes": ["customer_invoices:readonly"]})["token"]
    check("/customers", Caller(server.url, narrow).get("/customers"))
    check("/me", Caller(server.url, narrow).get("/me"))
