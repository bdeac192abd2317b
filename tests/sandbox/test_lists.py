"""Lists: limits, order, cursors."""

import pytest

from sandbox.changes.invoices import create_invoice
from sandbox.server import SandboxServer
from tests.sandbox.client import caller


def test_a_page_holds_twenty_records_unless_told_otherwise(server: SandboxServer) -> None:
    assert len(caller(server).json("/customer_invoices")["items"]) == 20
    assert len(caller(server).json("/customer_invoices", limit=100)["items"]) == 100
    assert len(caller(server).json("/customer_invoices", limit=1)["items"]) == 1


@pytest.mark.parametrize("limit", ["0", "101", "-1", "ten", "", "1.5"])
def test_a_limit_out_of_bounds_is_refused_and_not_clamped(server: SandboxServer, limit: str) -> None:
    assert caller(server).get("/customer_invoices", limit=limit).status_code == 400


@pytest.mark.parametrize("path", ["/customers", "/customer_invoices", "/transactions"])
def test_lists_run_from_the_newest_to_the_oldest_unless_sorted(server: SandboxServer, path: str) -> None:
    api = caller(server)
    ids = api.ids(path, limit=33)
    assert ids == sorted(ids, reverse=True)
    assert api.ids(path, limit=33, sort="id") == ids[::-1]


def test_invoices_sort_by_date_with_undated_ones_at_the_far_end(server: SandboxServer) -> None:
    api = caller(server)
    ascending = api.items("/customer_invoices", sort="date", limit=17)
    keys = [(item["date"] or "9999", item["id"]) for item in ascending]
    assert keys == sorted(keys)
    assert len(keys) == len(server.world.invoices)
    assert any(item["date"] is None for item in ascending)
    assert api.ids("/customer_invoices", sort="-date", limit=17) == [item["id"] for item in ascending][::-1]


@pytest.mark.parametrize(
    ("path", "sort"), [("/customers", "name"), ("/customer_invoices", "amount"), ("/transactions", "date")]
)
def test_sorting_by_anything_not_described_is_refused(server: SandboxServer, path: str, sort: str) -> None:
    assert caller(server).get(path, sort=sort).status_code == 400


def test_unknown_parameters_are_ignored(server: SandboxServer) -> None:
    assert len(caller(server).json("/customers", page=7, per_page=1, limit=5)["items"]) == 5


def test_a_cursor_holds_the_position_only(server: SandboxServer) -> None:
    """Leave the filter out on page two and unfiltered rows come back, with no error."""
    api = caller(server)
    filter_ = [{"field": "credit_note", "operator": "eq", "value": True}]
    first = api.json("/customer_invoices", filter=filter_, sort="id", limit=2)
    cursor, last = first["next_cursor"], first["items"][-1]["id"]
    every_id = [invoice.id for invoice in server.world.invoices]
    forgotten = api.json("/customer_invoices", cursor=cursor, sort="id", limit=5)
    assert [item["id"] for item in forgotten["items"]] == [id_ for id_ in every_id if id_ > last][:5]
    unsorted = api.json("/customer_invoices", cursor=cursor, limit=1)
    assert unsorted["items"][0]["id"] == max(id_ for id_ in every_id if id_ < last)
    assert len(api.json("/customer_invoices", cursor=cursor, sort="id")["items"]) == 20


def test_a_cursor_of_the_order_by_id_does_not_fit_the_order_by_date(server: SandboxServer) -> None:
    api = caller(server)
    cursor = api.json("/customer_invoices", sort="id", limit=3)["next_cursor"]
    assert api.get("/customer_invoices", sort="date", cursor=cursor).status_code == 400


@pytest.mark.parametrize("cursor", ["x", "%%%", "bm9uc2Vuc2U", "aWQ6MTI", "é", "MjAyNS0wMS0wOVQwODoyNDozOC44MTI0NTha"])
@pytest.mark.parametrize("path", ["/customers", "/customer_invoices", "/transactions"])
def test_a_malformed_cursor_is_refused(server: SandboxServer, path: str, cursor: str) -> None:
    assert caller(server).get(path, cursor=cursor).status_code == 400


def test_a_cursor_expires(server: SandboxServer) -> None:
    api = caller(server)
    cursor = api.json("/customers", limit=2)["next_cursor"]
    server.sandbox.clock.advance(30 * 60)
    assert api.get("/customers", limit=2, cursor=cursor).status_code == 200
    server.sandbox.clock.advance(1)
    assert api.get("/customers", limit=2, cursor=cursor).status_code == 400


def test_a_row_that_is_gone_does_not_disturb_the_page_after_it(server: SandboxServer) -> None:
    api = caller(server)
    ids = api.ids("/customers", sort="id", limit=100)
    first = api.json("/customers", sort="id", limit=3)
    server.world.customers.remove(ids[2])
    assert [
        item["id"] for item in api.json("/customers", sort="id", limit=3, cursor=first["next_cursor"])["items"]
    ] == (ids[3:6])


def test_rows_made_while_paging_upwards_are_found_at_the_end(server: SandboxServer) -> None:
    api = caller(server)
    pages = api.pages("/customer_invoices", sort="id", limit=50)
    seen = [item["id"] for item in next(pages)]
    made = create_invoice(server.world)["id"]
    seen += [item["id"] for page in pages for item in page]
    assert seen == [invoice.id for invoice in server.world.invoices]
    assert seen[-1] == made


def test_the_short_lists_under_a_record_page_as_well(server: SandboxServer) -> None:
    customer = max(server.world.customers, key=lambda row: len(row.contacts))
    ids = sorted(contact.id for contact in customer.contacts)
    assert len(ids) > 1
    api = caller(server)
    assert api.ids(f"/customers/{customer.id}/contacts", limit=1) == ids[::-1]
    assert api.ids(f"/customers/{customer.id}/contacts", limit=1, sort="id") == ids
