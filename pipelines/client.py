"""Talking to Pennylane's Company API v2 over HTTP: tokens, pace, retries, and errors that say what to do."""

import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import unquote

import requests
from requests.adapters import HTTPAdapter
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pipelines.errors import (
    AskedForSilence,
    AuthorizationFailed,
    BrokenAnswer,
    MissingScope,
    PennylaneRefused,
    PennylaneUnreachable,
)
from pipelines.pacing import Pacer

API = "/api/external/v2"
WORKERS = 32
"""Requests in flight at the most: enough for the limit of 5 a second at 6 seconds of latency, or for four times it."""

ATTEMPTS = 8
"""How often a request is made that gets no usable answer."""

_TIMEOUT = (10, 60)  # seconds to connect, to wait for an answer
_LONGEST_WAIT = 600.0
"""Seconds that we let ourselves be told to wait; longer than that is for the next sync."""
_RETRIED = frozenset({429, 500, 502, 503, 504})

Json = dict[str, Any]


class Tokens(Protocol):
    """Where the access token of a connection comes from."""

    def access_token(self) -> str:
        """A token that is valid now."""
        ...

    def renewed(self, after: str) -> str:
        """A newer token than `after`, which Pennylane refused. Raises where there is none to be had."""
        ...


class OneToken:
    """A token besides which there is none; `refused` is what is said when Pennylane does not accept it."""

    def __init__(self, token: str, refused: str = "Pennylane does not accept the token.") -> None:
        self._token = token
        self._refused = refused

    def access_token(self) -> str:
        return self._token

    def renewed(self, after: str) -> str:  # noqa: ARG002 - as others are asked
        raise AuthorizationFailed(self._refused)


class _BearerAuth(requests.auth.AuthBase):
    """Sets the header on the request itself, so that no netrc entry takes its place and no redirect carries it on."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Again(Exception):
    """This attempt failed in a way that another may not; `after` is the least wait in seconds."""

    def __init__(self, what: str, after: float = 0.0) -> None:
        super().__init__(what)
        self.after = after


class Pennylane:
    """A connection's view of the API. Safe to use from several threads; all share one pace."""

    def __init__(
        self,
        base_url: str,
        tokens: Tokens,
        company: str = "",
        pacer: Pacer | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.pacer = pacer or Pacer()
        self.statuses: Counter[int] = Counter()
        self.wants_stop = threading.Event()
        self._sleep = sleep or self._pause
        self._base = base_url.rstrip("/") + API
        self._tokens = tokens
        self._company = f" (company {company})" if company else ""
        self._session = requests.Session()
        if base_url.startswith("http://"):
            self._session.trust_env = False  # without encryption to this machine only, not to a proxy
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=WORKERS)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._session.headers["Accept"] = "application/json"

    def stop(self) -> None:
        """End all waiting requests; used when a sync ends early."""
        self.wants_stop.set()
        self.pacer.stop()

    def server_time(self) -> datetime:
        """Pennylane's clock as the answers so far tell it, at the earliest; our own before the first answer."""
        told = self.pacer.server_time()
        return datetime.now(UTC) if told is None else datetime.fromtimestamp(told, UTC)

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Json:
        """The JSON object at `path` (below the API's base).

        429, 5xx, time-outs, cut connections and answers that are no JSON object are tried again with growing waits and
        jitter; 401 once, with a renewed token. Raises PennylaneUnreachable, AuthorizationFailed, MissingScope,
        PennylaneRefused or BrokenAnswer.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_after_attempt(ATTEMPTS),
            wait=self._wait,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(self._attempt, path, params)
        except _Again as failure:
            raise PennylaneUnreachable(
                f"Pennylane{self._company} gave no usable answer to {path} in {ATTEMPTS} attempts: {failure}. "
                "Nothing is lost; the next sync goes on from here. If it persists, check the network and PENNYLANE_URL."
            ) from None

    def _pause(self, seconds: float) -> None:
        self.wants_stop.wait(seconds)

    _backoff = wait_random_exponential(multiplier=0.5, max=30)

    def _wait(self, state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        return max(self._backoff(state), failure.after if isinstance(failure, _Again) else 0.0)

    def _attempt(self, path: str, params: Mapping[str, str | int] | None) -> Json:
        token = self._tokens.access_token()
        response = self._send(path, params, token)
        if response.status_code == 401:
            token = self._tokens.renewed(token)
            response = self._send(path, params, token)
        return self._read(path, response, token)

    def _send(self, path: str, params: Mapping[str, str | int] | None, token: str) -> requests.Response:
        ticket = self.pacer.acquire()
        headers: dict[str, str] = {}
        refused_for = None
        try:
            response = self._session.get(
                self._base + path, params=params, auth=_BearerAuth(token), timeout=_TIMEOUT, allow_redirects=False
            )
            headers = {name.lower(): value for name, value in response.headers.items()}
            if response.status_code == 429:
                asked = _asked_to_wait(response)
                refused_for = asked if asked <= _LONGEST_WAIT else 0.0  # that ends the sync, and the next one may ask
            if response.status_code != 200 and "ratelimit-reset" not in headers:
                headers.pop("date", None)  # a gateway may have answered, by a clock of its own
        except requests.RequestException as error:
            # The error's own text may hold the address with its filter; its type says enough.
            raise _Again(f"no answer ({type(error).__name__})") from None
        finally:
            self.pacer.release(ticket, headers or None, refused_for=refused_for)
        self.statuses[response.status_code] += 1
        return response

    def _read(self, path: str, response: requests.Response, token: str) -> Json:
        status = response.status_code
        if status in _RETRIED:
            after = _asked_to_wait(response)
            if after > _LONGEST_WAIT:
                raise AskedForSilence(
                    f"Pennylane{self._company} asks to be left alone for {after / 60:,.0f} minutes (status {status}). "
                    "Nothing is lost; the next sync goes on from here."
                )
            if status == 429:
                raise _Again("the rate limit was reached (429)", after)
            raise _Again(f"status {status}", after)
        if status == 200:
            return _json_object(response)
        said = _what_it_says(response, token)
        if status == 401:
            raise AuthorizationFailed(
                f"Pennylane{self._company} no longer accepts the token ({said}). "
                "Authorize again: pennylane-sync connect"
            )
        if status == 403 and "scope" in said.lower():  # GUIDE: "the message names it"; others are a gateway's
            raise MissingScope(
                f"Pennylane{self._company} refuses {path}: {said} Connect again with that scope: pennylane-sync connect"
            )
        if 300 <= status < 400:
            raise BrokenAnswer(f"Pennylane{self._company} redirects {path} elsewhere; check PENNYLANE_URL.")
        raise PennylaneRefused(f"Pennylane{self._company} refused {path} with status {status}: {said}", status)


def _asked_to_wait(response: requests.Response) -> float:
    """Seconds for which the server wants to be left alone."""
    unsaid = 1.0 if response.status_code == 429 else 0.0
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return unsaid
    return max(seconds, 0.0) if math.isfinite(seconds) else unsaid


def _json_object(response: requests.Response) -> Json:
    try:
        # NaN and Infinity are no JSON, and no database takes them for it: as texts, where amounts refuse them.
        answer = json.loads(response.content, parse_float=Decimal, parse_constant=str)
    except ValueError:
        raise _Again("status 200, but no JSON") from None
    if not isinstance(answer, dict):
        raise _Again("status 200, but no JSON object")
    return answer


def _what_it_says(response: requests.Response, token: str) -> str:
    """The message in an error's body, as one line; Pennylane uses several shapes, plain text among them.

    Proxies and gateways may answer in its place, some of them with the headers that they were sent.
    """
    said = " ".join(_message(response).split())
    if token in said or token in unquote(said):
        return f"status {response.status_code}, with a message that repeats the token"
    return "".join(character for character in said[:300] if character.isprintable())


def _message(response: requests.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return "" if "<" in response.text else response.text[:2000]
    if isinstance(body, dict):
        for key in ("message", "error"):
            if isinstance(body.get(key), str):
                return str(body[key])
    return f"status {response.status_code}"
