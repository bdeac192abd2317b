"""Access tokens that are valid now, renewed under the store's lock."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from resources.connections import Connections, TokenSlot
from resources.credential import Credential
from resources.errors import PennylaneSyncError
from resources.oauth_session import GrantRefused, OAuthRefused, PennylaneOAuth, PennylaneUnreachable
from resources.settings import Settings
from resources.store import StoreUnavailable

RENEWED_BEFORE_EXPIRY = timedelta(minutes=10)

_ATTEMPTS = 4
_DEAD_API_TOKEN = "Pennylane refuses its API token: it was deleted or replaced there."  # noqa: S105
_DEAD_GRANT = "Pennylane no longer accepts its authorization: revoked there, or not used for 90 days."


class AuthorizationLost(PennylaneSyncError):
    """Pennylane no longer lets this company be read; a person has to connect it again."""

    def __init__(self, company_id: int, reason: str) -> None:
        self.company_id = company_id
        super().__init__(
            f"Company {company_id}: {reason} Connect it again, nothing else is needed: pennylane-sync connect"
        )


class Disconnected(PennylaneSyncError):
    """The company was disconnected; its data stays."""

    def __init__(self, company_id: int) -> None:
        self.company_id = company_id
        super().__init__(f"Company {company_id} is disconnected. To synchronize it again: pennylane-sync connect")


class TokenSource:
    """The access token of one connection. Threads share it; processes each have their own.

    The token is kept in memory until ten minutes before it expires, or until the API refuses it. A refresh is made by
    one process at a time, which reads the stored pair again first, and sees that it can be saved: Pennylane's refresh
    tokens work once, and a refresh kills the access token too.
    """

    def __init__(
        self,
        connections: Connections,
        company_id: int,
        settings: Settings,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connections = connections
        self._company_id = company_id
        self._settings = settings
        self._current: Credential | None = None
        self._unsaved: tuple[Credential, Credential] | None = None
        self._saved_again: Credential | None = None
        self._one_at_a_time = threading.Lock()
        self._retrying = Retrying(
            retry=retry_if_exception(self._may_pass),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=0.5, max=8),
            sleep=sleep,
            reraise=True,
        )

    def __repr__(self) -> str:
        return f"<TokenSource of company {self._company_id}>"

    def access_token(self) -> str:
        """A token that is valid for ten minutes at least.

        Raises `AuthorizationLost`, `Disconnected`, `PennylaneUnreachable` (after several tries), `OAuthRefused`.
        """
        with self._one_at_a_time:
            if self._current is None or self._expires_soon(self._current):
                self._current = self._obtain(unless=lambda stored: not self._expires_soon(stored))
            return self._current.access_token

    def renewed(self, after: str) -> str:
        """The token to use now that the API answered 401 to `after`: the stored one if that is another, else a new one.

        A refused API token cannot be renewed: the loss is recorded. Raises as `access_token` does.
        """
        with self._one_at_a_time:
            if self._current is None or self._current.access_token == after:
                self._current = self._obtain(unless=lambda stored: stored.access_token != after)
            return self._current.access_token

    def _may_pass(self, error: BaseException) -> bool:
        """A store that fails just when there is a new pair to be saved must not cost the authorization."""
        return isinstance(error, PennylaneUnreachable) or (
            isinstance(error, StoreUnavailable) and self._unsaved is not None
        )

    def _expires_soon(self, credential: Credential) -> bool:
        return credential.expires_within(RENEWED_BEFORE_EXPIRY, self._connections.clock())

    def _obtain(self, unless: Callable[[Credential], bool]) -> Credential:
        """The stored credential if `unless` accepts it, else its successor.

        A refused refresh token is looked up once more before the authorization is given up: another process may have
        connected the company again in the meantime.
        """
        refused: list[Credential] = []
        while True:
            try:
                return self._retrying(self._attempt, unless, refused)
            except GrantRefused:
                continue
            except (PennylaneUnreachable, OAuthRefused) as error:
                raise type(error)(f"The authorization of company {self._company_id} was not renewed: {error}") from None

    def _attempt(self, unless: Callable[[Credential], bool], refused: list[Credential]) -> Credential:
        """One try under the store's lock, which is let go between tries."""
        with self._connections.token_slot(self._company_id) as slot:
            if slot.disconnected:
                raise Disconnected(self._company_id)
            if slot.authorization_lost:
                raise AuthorizationLost(self._company_id, slot.authorization_lost)
            stored = slot.credential()
            if unless(stored):
                return stored
            if self._unsaved and stored == self._unsaved[0]:
                slot.replace(self._unsaved[1])
                return self._unsaved[1]
            if not stored.refresh_token or stored in refused:
                reason = _DEAD_GRANT if stored.refresh_token else _DEAD_API_TOKEN
                slot.lose(reason)
            elif stored == self._saved_again:
                return self._renew(slot, stored, refused)
            else:
                reason = ""
                slot.save_again()
        if reason:
            raise AuthorizationLost(self._company_id, reason)
        self._saved_again = stored
        return self._attempt(unless, refused)

    def _renew(self, slot: TokenSlot, stored: Credential, refused: list[Credential]) -> Credential:
        try:
            renewed = PennylaneOAuth(self._settings).renew(stored, self._connections.clock())
        except GrantRefused:
            refused.append(stored)
            raise
        self._unsaved = (stored, renewed)
        slot.replace(renewed)
        return renewed
