"""What an app asks for on the consent page, and the single-use codes that it gets for it."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sandbox.clock import Clock
from sandbox.tokens import ALL_SCOPES

CODE_LIFETIME = 10 * 60 * 1_000_000
"""Microseconds. How long Pennylane's codes live is not documented; ten minutes is what RFC 6749 allows at most."""


class UntrustworthyError(Exception):
    """The request names no known app or no usable address to go back to: nobody may be redirected."""


class RefusedError(Exception):
    """The request is wrong in a way that the app is told by redirect; the argument is OAuth's error code."""


@dataclass(frozen=True)
class AuthorizationRequest:
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str
    challenge: str


def redirect_uri(parameters: Mapping[str, str], client_id: str) -> str:
    """The address to go back to, once the request is known to come from the registered app."""
    if parameters.get("client_id") != client_id:
        raise UntrustworthyError("Client authentication failed: this client_id is not known.")
    address = parameters.get("redirect_uri", "")
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise UntrustworthyError("The redirect_uri must be a full http or https address without a fragment.")
    return address


def parse_request(parameters: Mapping[str, str], client_id: str) -> AuthorizationRequest:
    address = redirect_uri(parameters, client_id)
    if parameters.get("response_type") != "code":
        raise RefusedError("unsupported_response_type")
    scopes = tuple(dict.fromkeys(parameters.get("scope", "").split()))
    if not scopes or not set(scopes) <= set(ALL_SCOPES):
        raise RefusedError("invalid_scope")
    challenge = parameters.get("code_challenge", "")
    if challenge and parameters.get("code_challenge_method") != "S256":
        raise RefusedError("invalid_request")
    return AuthorizationRequest(client_id, address, scopes, parameters.get("state", ""), challenge)


@dataclass(frozen=True)
class _Code:
    company_id: int
    request: AuthorizationRequest
    expires_at: int


class Codes:
    """Codes that were handed out and not yet exchanged."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._codes: dict[str, _Code] = {}

    def issue(self, company_id: int, request: AuthorizationRequest) -> str:
        code = secrets.token_urlsafe(24)
        self._codes[code] = _Code(company_id, request, self._clock.microseconds() + CODE_LIFETIME)
        return code

    def redeem(self, code: str, address: str, verifier: str) -> tuple[int, tuple[str, ...]] | None:
        """Company and scopes of a code; None unless it is fresh and everything matches. It is gone either way."""
        known = self._codes.pop(code, None)
        if known is None or known.expires_at <= self._clock.microseconds() or known.request.redirect_uri != address:
            return None
        if known.request.challenge and not _verifies(verifier, known.request.challenge):
            return None
        return known.company_id, known.request.scopes


def _verifies(verifier: str, challenge: str) -> bool:
    """PKCE with S256 (RFC 7636)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    expected = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return hmac.compare_digest(expected.encode(), challenge.encode())
