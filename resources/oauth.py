"""The authorization of a company: the person says yes in the browser, we receive a credential."""

from collections.abc import Callable, Sequence

from resources.callback import listening
from resources.clock import Clock, utc_now
from resources.credential import Credential
from resources.errors import PennylaneSyncError
from resources.oauth_session import GrantRefused, OAuthRefused, PennylaneOAuth
from resources.settings import Settings, SettingsError

SCOPES = ("customers:readonly", "customer_invoices:readonly")
"""What this project reads; `/me` needs none."""


class ConsentRefused(PennylaneSyncError):
    """The person chose not to allow the access."""


class ConsentTimedOut(PennylaneSyncError):
    """No answer came from the browser."""


def authorize(
    settings: Settings,
    scopes: Sequence[str],
    open_browser: Callable[[str], None],
    timeout_seconds: float = 300,
    clock: Clock = utc_now,
) -> Credential:
    """Sends the person to Pennylane and waits for the answer on the redirect address.

    `open_browser` is given the address to open, once, when the redirect address already listens. The code comes back
    with a state that only this call knows, and is of use only together with a PKCE verifier that never leaves it.

    Raises `ConsentRefused`, `ConsentTimedOut`, `SettingsError` (client id, secret or redirect address), `OAuthRefused`,
    `PennylaneUnreachable`.
    """
    session = PennylaneOAuth(settings, scope=list(scopes), redirect_uri=settings.pennylane_redirect_uri, pkce="S256")
    address, state = session.authorize_address()
    with listening(settings.pennylane_redirect_uri, state) as callback:
        open_browser(address)
        answer = callback.wait(timeout_seconds)
    if answer is None:
        raise ConsentTimedOut(
            f"No answer from Pennylane within {timeout_seconds:.0f} s; nothing was connected. Run the command again,"
            " and click Authorize in the browser."
        )
    if answer.error == "access_denied":
        raise ConsentRefused(
            "The access was refused at Pennylane; nothing was connected. Run the command again to retry."
        )
    if answer.code is None:
        raise OAuthRefused(
            f"Pennylane did not authorize the access ({answer.error}); nothing was connected. Check the app's"
            " registration there: client id, redirect address, scopes."
        )
    try:
        return session.exchange(answer.code, clock())
    except GrantRefused:
        pass
    raise OAuthRefused("Pennylane did not accept the code it gave; nothing was connected. Run the command again.")


def revoke(settings: Settings, credential: Credential) -> bool:
    """Asks Pennylane to forget an OAuth credential, both halves of it.

    False when that is not sure: Pennylane was not reached or refused, the app's client id is gone from the settings, or
    the credential is an API token, which only an administrator can delete, in Pennylane's settings.
    """
    if credential.refresh_token is None:
        return False
    try:
        session = PennylaneOAuth(settings)
    except SettingsError:
        return False
    return session.revoke(credential.refresh_token) and session.revoke(credential.access_token)
