"""Change feeds: which part of the past they give, and that no page boundary loses an event."""

from datetime import timedelta

import pytest

from sandbox.changes.customers import update_customer
from sandbox.changes.invoices import create_invoice, delete_invoice, update_invoice
from sandbox.changes.receipts import pay_invoice
from sandbox.clock import rfc3339
from sandbox.server import SandboxServer
from tests.sandbox.client import caller
from tests.sandbox.conftest import NOW

INVOICES = "/changelogs/customer_invoices"
FEEDS = (INVOICES, "/changelogs/customers", "/changelogs/transactions")


def _now(server: SandboxServer) -> str:
    return rfc3339(server.sandbox.clock.microseconds())


@pytest.mark.parametrize("path", FEEDS)
def test_a_new_company_has_a_few_recent_events_oldest_first(server: SandboxServer, path: str) -> None:
    moments = [event["processed_at"] for event in caller(server).items(path)]
    assert 0 < len(moments) <= 16
    assert moments == sorted(moments)
    assert moments[-1] < _now(server)


def test_each_kind_of_change_is_an_event_with_the_times_of_its_record(server: SandboxServer) -> None:
    start = _now(server)
    made = create_invoice(server.world)["id"]
    created = server.sandbox.clock.microseconds()
    server.sandbox.clock.advance(60)
    update_invoice(server.world, id=made)
    server.sandbox.clock.advance(60)
    delete_invoice(server.world, id=made)
    events = caller(server).items(INVOICES, start_date=start)
    assert [(event["id"], event["operation"]) for event in events] == [
        (made, "insert"),
        (made, "update"),
        (made, "delete"),
    ]
    assert {event["created_at"] for event in events} == {rfc3339(created)}
    assert events[1]["updated_at"] == events[1]["processed_at"] == rfc3339(created + 60_000_000)


def test_the_start_date_is_inclusive(server: SandboxServer) -> None:
    made = create_invoice(server.world)["id"]
    api, moment = caller(server), server.sandbox.clock.microseconds()
    assert made in api.ids(INVOICES, start_date=rfc3339(moment))
    assert made not in api.ids(INVOICES, start_date=rfc3339(moment + 1))
    assert made in api.ids(INVOICES, start_date="2026-09-15T10:00:00+02:00")
    assert made not in api.ids(INVOICES, start_date="2026-09-15T10:00:00.000001+02:00")


@pytest.mark.parametrize(
    "start_date",
    [
        "yesterday",
        "2026-09-15",
        "2026-09-15T08:00:00",
        "2026-13-01T00:00:00Z",
        "1789459200",
        "2026-09-15T08:00:00 02:00",
    ],
)
def test_a_start_date_that_is_not_rfc3339_is_refused(server: SandboxServer, start_date: str) -> None:
    assert caller(server).get(INVOICES, start_date=start_date).status_code == 400


@pytest.mark.parametrize("path", FEEDS)
def test_a_start_date_older_than_four_weeks_is_unprocessable(server: SandboxServer, path: str) -> None:
    api = caller(server)
    assert api.get(path, start_date=(NOW - timedelta(days=28)).isoformat()).status_code == 200
    assert api.get(path, start_date=(NOW - timedelta(days=28, seconds=1)).isoformat()).status_code == 422
    server.sandbox.clock.advance(1)
    assert api.get(path, start_date=(NOW - timedelta(days=28)).isoformat()).status_code == 422


def test_start_date_and_cursor_together_are_refused(server: SandboxServer) -> None:
    api = caller(server)
    cursor = api.json(INVOICES, limit=1)["next_cursor"]
    assert api.get(INVOICES, cursor=cursor).status_code == 200
    assert api.get(INVOICES, cursor=cursor, start_date=_now(server)).status_code == 400


def test_events_older_than_four_weeks_are_dropped(server: SandboxServer) -> None:
    api = caller(server)
    made = create_invoice(server.world)["id"]
    server.sandbox.clock.advance(28 * 86_400)
    assert api.ids(INVOICES) == [made]
    server.sandbox.clock.advance(1)
    assert api.ids(INVOICES) == []


def test_a_cursor_that_has_become_too_old_is_unprocessable(server: SandboxServer) -> None:
    api = caller(server)
    cursor = api.json(INVOICES, limit=1)["next_cursor"]
    server.sandbox.clock.advance(28 * 86_400)
    assert api.get(INVOICES, cursor=cursor).status_code == 422


@pytest.mark.parametrize("limit", [0, 1001, "many"])
def test_the_limit_of_a_feed_goes_up_to_a_thousand(server: SandboxServer, limit: object) -> None:
    assert caller(server).get(INVOICES, limit=limit).status_code == 400
    assert caller(server).get(INVOICES, limit=1000).status_code == 200


@pytest.mark.parametrize("cursor", ["x", "%%%", "bm9uc2Vuc2U", "aWQ6MTI7YXQ6MQ"])
def test_a_malformed_cursor_is_refused(server: SandboxServer, cursor: str) -> None:
    assert caller(server).get(INVOICES, cursor=cursor).status_code == 400


def test_pages_are_disjoint_as_long_as_no_two_events_share_an_instant(server: SandboxServer) -> None:
    start, made = _now(server), []
    for _ in range(25):
        made.append(create_invoice(server.world)["id"])
        server.sandbox.clock.advance(1)
    for limit in (1, 2, 7, 24, 25, 26):
        assert caller(server).ids(INVOICES, start_date=start, limit=limit) == made


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 10, 12, 13, 30])
def test_no_event_is_lost_where_a_page_ends_within_an_instant(server: SandboxServer, limit: int) -> None:
    """Events of one instant may come again on the next page, but all come, and the reading ends."""
    start, made = _now(server), []
    for size in (3, 1, 12, 2, 6):
        made += [create_invoice(server.world)["id"] for _ in range(size)]
        server.sandbox.clock.advance(1)
    pages = list(caller(server).pages(INVOICES, start_date=start, limit=limit))
    seen = [event["id"] for page in pages for event in page]
    assert list(dict.fromkeys(seen)) == made
    assert all(len(page) <= limit for page in pages)


def test_an_instant_that_a_page_cuts_in_two_is_repeated(server: SandboxServer) -> None:
    """The cursor is a bare timestamp, as in the description's example: it cannot point into an instant."""
    start = _now(server)
    first = create_invoice(server.world)["id"]
    server.sandbox.clock.advance(1)
    same = [create_invoice(server.world)["id"] for _ in range(4)]
    pages = [[event["id"] for event in page] for page in caller(server).pages(INVOICES, start_date=start, limit=3)]
    assert pages == [[first, *same[:2]], same[:3], same[3:]]


def test_events_that_arrive_while_reading_are_read(server: SandboxServer) -> None:
    pages = caller(server).pages(INVOICES, limit=2)
    seen = [event["id"] for event in next(pages)]
    made = create_invoice(server.world)["id"]
    seen += [event["id"] for page in pages for event in page]
    assert seen[-1] == made


def test_each_feed_has_its_own_events(server: SandboxServer) -> None:
    start, api = _now(server), caller(server)
    customer = update_customer(server.world)["id"]
    paid = pay_invoice(server.world)
    assert api.ids("/changelogs/customers", start_date=start) == [customer]
    assert api.ids("/changelogs/transactions", start_date=start) == [paid["id"]]
    assert api.ids(INVOICES, start_date=start) == paid["invoice_ids"]
