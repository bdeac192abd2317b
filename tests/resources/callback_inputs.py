"""Whatever may knock at the callback's door: requests as bytes, and what has to hold of the answers."""

import re
import socket
from contextlib import suppress
from urllib.parse import quote, unquote_to_bytes, urlencode

from hypothesis import strategies as st

from resources.callback import Callback
from resources.callback_page import Page, page

STATE = "the-state-of-this-authorization"
CODE = "the-code"
MARK = "0wn3d"
"""Stands in every hostile text, to be looked for in the answers."""

_PAGES = {page(one).encode() for one in Page}
_MARKUP = (
    f"<script>{MARK}</script>",
    f"\"'><img src=x onerror={MARK}>",
    f"\r\nSet-Cookie: {MARK}=1",
    f"\r\n\r\n<h1>{MARK}</h1>",
    f"%0d%0aLocation:%20https://{MARK}.example",
    f"{{{{{MARK}}}}}",
    f"{MARK}\x00\x1b[31m\u202e",
    MARK * 1000,
)

hostile_texts = st.one_of(
    st.sampled_from(_MARKUP), st.text(max_size=80).map(lambda text: f"{text}{MARK}{text}"), st.just(MARK)
)
_names = st.sampled_from(["state", "code", "error", "error_description", "iss", "STATE", "state[]", ""])
_values = st.one_of(hostile_texts, st.sampled_from([STATE, STATE[:-1], STATE + "x", STATE.upper(), CODE, ""]))
_any = st.lists(st.tuples(_names, _values), max_size=6)
_ours = st.tuples(st.just("state"), st.just(STATE))
_says = st.tuples(st.sampled_from(["code", "error"]), _values)
parameters = st.one_of(_any, st.tuples(_ours, _says, _any).map(lambda parts: [parts[1], *parts[2][:1], parts[0]]))
"""Names and values of a query; some of them are an answer that is to be accepted."""


def is_the_answer(given: list[tuple[str, str]]) -> bool:
    """Whether the parameters prove to come from this authorization and say something: RFC 6749, 4.1.2, in words."""
    states, codes, errors = (
        [value for name, value in given if name == wanted] for wanted in ("state", "code", "error")
    )
    once = len(codes) <= 1 and len(errors) <= 1
    return states == [STATE] and once and any([*codes, *errors])


def check_parameters(given: list[tuple[str, str]]) -> None:
    """The answer is taken if it is one, once, and never otherwise; nothing of it stands on the page."""
    callback = Callback(STATE)
    query = urlencode(given, errors="surrogatepass")
    shown = callback.take(query)
    callback.shown()
    answer = callback.wait(0)
    accepted = shown in (Page.ALLOWED, Page.REFUSED, Page.FAILED)
    assert accepted == (answer is not None) == is_the_answer(given), given
    if answer is not None:
        assert (answer.code is None) == (answer.error is not None)
        assert answer.error is None or re.fullmatch("[a-z_]{1,40}", answer.error)
        assert callback.take(query) is Page.USED
        assert callback.take(urlencode({"state": STATE, "code": "another"})) is Page.USED
        assert callback.wait(0) is answer


_methods = st.sampled_from([b"GET", b"GET", b"GET", b"POST", b"HEAD", b"get", b"CONNECT", MARK.encode(), b""])
_paths = st.sampled_from(
    [
        "/callback",
        "/callback",
        "/",
        "//callback",
        "/callback/..",
        "/%63allback",
        "http://[",
        "http://evil.example/callback",
    ]
)
_hosts = st.sampled_from(
    [
        "127.0.0.1",
        "localhost:1",
        f"{MARK}.example",
        f"127.0.0.1.{MARK}.example",
        "[",
        "",
        "127.0.0.1\r\nHost: localhost",
    ]
)
_versions = st.sampled_from([b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.0", b"", b" HTTP/9.9", f" {MARK}".encode()])


@st.composite
def requests_as_bytes(draw: st.DrawFn) -> bytes:
    """A request, well-formed or not, that is not the awaited answer: its state is never right."""
    given = [(name, value.replace(STATE, "")) for name, value in draw(parameters)]
    query = (
        urlencode(given, errors="surrogatepass") if draw(st.booleans()) else quote(MARK + str(given), safe="<>'\"=&")
    )
    target = draw(_paths) + draw(st.sampled_from(["", "?", f"/{MARK}?"])) + query
    headers = f"Host: {draw(_hosts)}\r\nReferer: {MARK}\r\nCookie: {MARK}\r\n" if draw(st.booleans()) else ""
    line = draw(_methods) + b" " + target.encode("utf-8", "surrogatepass") + draw(_versions)
    return line + b"\r\n" + headers.encode() + b"\r\n" + draw(st.sampled_from([b"", MARK.encode()]))


def check_request(port: int, request: bytes) -> None:
    """The answer, if there is one, is one of our pages, word by word, and no header repeats anything."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        answer = b""
        with suppress(ConnectionError):  # it does not read the longest ones to their end
            connection.sendall(request)
            while chunk := connection.recv(65536):
                answer += chunk
    assert MARK.encode() not in unquote_to_bytes(answer), request
    if answer in _PAGES:  # HTTP 0.9 has no head
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    assert not head or head.startswith(b"HTTP/1.0 "), request
    assert body in (*_PAGES, b""), request
