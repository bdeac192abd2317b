"""Who may call: company API tokens, and the token pairs of OAuth connections."""

import hashlib
import secrets
from dataclasses import dataclass

from sandbox.clock import Clock

_SECOND = 1_000_000
ACCESS_SECONDS = 86_400
REFRESH_SECONDS = 90 * 86_400

RESOURCES = (
    "customers",
    "customer_invoices",
    "supplier_invoices",
    "suppliers",
    "transactions",
    "ledger",
    "categories",
    "products",
)
ALL_SCOPES = tuple(f"{resource}:{right}" for resource in RESOURCES for right in ("all", "readonly"))


@dataclass(frozen=True)
class Grant:
    """What a token allows: one company's data, as far as the scopes go. Only OAuth tokens act for a user."""

    company_id: int
    scopes: tuple[str, ...]
    label: str
    for_user: bool
    expires_at: int | None = None

    def allows(self, resource: str) -> bool:
        """Reading needs `<resource>:readonly` or `<resource>:all` (the descriptions in openapi.json)."""
        return f"{resource}:readonly" in self.scopes or f"{resource}:all" in self.scopes


@dataclass(frozen=True)
class Pair:
    access_token: str
    refresh_token: str


@dataclass(frozen=True)
class _Refresh:
    company_id: int
    scopes: tuple[str, ...]
    access_token: str
    expires_at: int


class InvalidRefreshTokenError(Exception):
    """The refresh token was used already, revoked, is too old, or never existed."""


def label(kind: str, token: str) -> str:
    """A name for a token that does not give it away."""
    return f"{kind}-{hashlib.sha256(token.encode()).hexdigest()[:8]}"


def company_token(seed: int, company_id: int) -> str:
    """The API token of a seeded company: the same for the same seed, so that it can stay in a configuration."""
    return "sandbox-" + hashlib.sha256(f"{seed}:{company_id}".encode()).hexdigest()[:40]


class Tokens:
    """All tokens that the sandbox has handed out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._grants: dict[str, Grant] = {}
        self._refreshes: dict[str, _Refresh] = {}
        self._used: set[str] = set()
        self.reused_refresh_tokens = 0

    def find(self, token: str) -> Grant | None:
        """The grant of a token that is valid now."""
        grant = self._grants.get(token)
        if grant is None or (grant.expires_at is not None and grant.expires_at <= self._clock.microseconds()):
            return None
        return grant

    def add_company_token(self, company_id: int, scopes: tuple[str, ...] = ALL_SCOPES, token: str | None = None) -> str:
        token = token or f"sandbox-{secrets.token_urlsafe(30)}"
        self._grants[token] = Grant(company_id, scopes, label("api-token", token), for_user=False)
        return token

    def issue(self, company_id: int, scopes: tuple[str, ...]) -> Pair:
        """A new access and refresh token for a company."""
        now = self._clock.microseconds()
        pair = Pair(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        self._grants[pair.access_token] = Grant(
            company_id,
            scopes,
            label("oauth", pair.access_token),
            for_user=True,
            expires_at=now + ACCESS_SECONDS * _SECOND,
        )
        self._refreshes[pair.refresh_token] = _Refresh(
            company_id, scopes, pair.access_token, now + REFRESH_SECONDS * _SECOND
        )
        return pair

    def refresh(self, refresh_token: str) -> Pair:
        """A new pair for an old one, both tokens of which stop working at once."""
        if refresh_token in self._used:
            self.reused_refresh_tokens += 1
            raise InvalidRefreshTokenError
        old = self._refreshes.pop(refresh_token, None)
        if old is None:
            raise InvalidRefreshTokenError
        self._used.add(refresh_token)
        self._grants.pop(old.access_token, None)
        if old.expires_at <= self._clock.microseconds():
            raise InvalidRefreshTokenError
        return self.issue(old.company_id, old.scopes)

    def revoke(self, token: str) -> None:
        """Ends the connection that an access or refresh token belongs to; nothing happens for an unknown token."""
        for refresh_token, refresh in list(self._refreshes.items()):
            if token in (refresh_token, refresh.access_token):
                del self._refreshes[refresh_token]
                self._grants.pop(refresh.access_token, None)

    def revoke_all(self, company_id: int) -> None:
        """No token of the company is good for anything any more."""
        self._grants = {token: one for token, one in self._grants.items() if one.company_id != company_id}
        self._refreshes = {token: one for token, one in self._refreshes.items() if one.company_id != company_id}
