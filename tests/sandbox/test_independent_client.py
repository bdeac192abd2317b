"""A client that others wrote for the real Pennylane reads the sandbox just as well."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests
from pennylane_sdk import Pennylane
from pennylane_sdk.filters import Filter
from pennylane_sdk.oauth import OAuthApp

from sandbox.changes.randomly import change_randomly
from sandbox.server import SandboxServer
from tests.sandbox.conftest import NOW, Serve


@pytest.fixture
def client(server: SandboxServer) -> Pennylane:
    change_randomly(server.world, count=60)
    return Pennylane(api_token=server.token(), base_url=f"{server.url}/api/external/v2", auto_throttle=False)


def test_it_pages_through_customers_and_their_contacts(server: SandboxServer, client: Pennylane) -> None:
    customers = list(client.customers.list(limit=5, sort="id"))
    assert [customer.id for customer in customers] == [row.id for row in server.world.customers]
    for row in server.world.customers:
        contacts = list(client.customers.list_contacts(row.id, limit=1))
        assert {contact.id for contact in contacts} == {contact.id for contact in row.contacts}


def test_it_pages_through_invoices_with_a_filter(server: SandboxServer, client: Pennylane) -> None:
    filter_: list[Filter | dict[str, Any]] = [{"field": "draft", "operator": "eq", "value": False}]
    invoices = list(client.customer_invoices.list(limit=9, sort="id", filter=filter_))
    assert [invoice.id for invoice in invoices] == [row.id for row in server.world.invoices if not row.draft]
    assert all(isinstance(invoice.amount, Decimal) for invoice in invoices)


def test_it_reads_receipts_in_both_places(server: SandboxServer, client: Pennylane) -> None:
    paid = [row for row in server.world.invoices if (row.matches or row.payments) and row.archived_at is None]
    for row in paid[:30]:
        payments = client.customer_invoices.list_payments(row.id)
        matched = client.customer_invoices.list_matched_transactions(row.id)
        assert {payment.id for payment in payments} == {payment.id for payment in row.payments}
        assert {transaction.id for transaction in matched} == {match[0] for match in row.matches}


def test_it_follows_the_change_feeds(server: SandboxServer, client: Pennylane) -> None:
    start = NOW - timedelta(days=20)
    for feed in (client.changelogs.customers, client.changelogs.customer_invoices, client.changelogs.transactions):
        events = list(feed(start_date=start, limit=1000))
        assert events
        assert {event.operation for event in events} <= {"insert", "update", "delete"}


def test_it_connects_by_oauth(serve: Serve) -> None:
    server = serve(auto_approve=True)
    app = OAuthApp(
        "sandbox-client",
        "sandbox-secret",
        "http://localhost:8765/callback",
        authorize_url=f"{server.url}/oauth/authorize",
        token_url=f"{server.url}/oauth/oauth/token",
    )
    address = app.authorization_url(scopes=["customers:readonly"], state="x")
    back = requests.get(address, allow_redirects=False, timeout=30).headers["location"]
    tokens = app.exchange_code(back.partition("code=")[2].partition("&")[0])
    assert tokens.refresh_token is not None
    renewed = app.refresh(tokens.refresh_token)
    reading = Pennylane(api_token=renewed.access_token, base_url=f"{server.url}/api/external/v2", auto_throttle=False)
    assert len(list(reading.customers.list())) == len(server.world.customers)
