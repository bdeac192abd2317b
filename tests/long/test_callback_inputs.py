"""Ten thousands of hostile requests to the callback: none is taken for the answer, none is repeated."""

from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings

from resources.callback import Callback, listening
from tests.long.tried import tried
from tests.ports import free_port
from tests.resources.callback_inputs import (
    STATE,
    check_parameters,
    check_request,
    is_the_answer,
    parameters,
    requests_as_bytes,
)


@pytest.fixture(scope="module")
def waiting() -> Iterator[tuple[int, Callback]]:
    address = f"http://127.0.0.1:{free_port()}/callback"
    with ExitStack() as open_:
        callback = open_.enter_context(listening(address, STATE))
        yield int(urlsplit(address).port or 0), callback


@pytest.mark.long
@settings(max_examples=10_000, deadline=None)
@given(given=parameters)
def test_parameters_are_an_answer_or_nothing(given: list[tuple[str, str]]) -> None:
    check_parameters(given)
    tried["callback: queries, of which answers" if is_the_answer(given) else "callback: queries, hostile"] += 1


@pytest.mark.long
@settings(max_examples=10_000, deadline=None)
@given(request=requests_as_bytes())
def test_requests_are_answered_by_our_pages_alone(waiting: tuple[int, Callback], request: bytes) -> None:
    port, callback = waiting
    check_request(port, request)
    assert callback.wait(0) is None
    tried["callback: requests over the wire"] += 1
