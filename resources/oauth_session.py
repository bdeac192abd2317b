"""The calls to Pennylane's OAuth token addresses, made with requests-oauthlib."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
from oauthlib.oauth2 import OAuth2Error
from requests.adapters import HTTPAdapter
from requests_oauthlib import OAuth2Session

from resources.credential import Credential
from resources.errors import PennylaneSyncError
from resources.settings import Settings, SettingsError

TIMEOUT_SECONDS = (5, 20)
"""To connect, and between two bytes of the answer."""

_RETRIED = (429, 500, 502, 503, 504)


class PennylaneUnreachable(PennylaneSyncError):
    """No answer, or one that says "later": nothing is lost, it can be tried again."""


class OAuthRefused(PennylaneSyncError):
    """Pennylane refused a call for another reason than the grant, such as an unknown client id."""


class GrantRefused(PennylaneSyncError):
    """The code or refresh token is used, expired, revoked or unknown."""


class _WithoutSecrets(logging.Filter):
    """requests-oauthlib writes tokens and bodies to its log at level debug."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG


logging.getLogger("requests_oauthlib.oauth2_session").addFilter(_WithoutSecrets())


class _PlainLoopback(HTTPAdapter):
    """Carries a request without encryption; mounted for a Pennylane stand-in on this machine only."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        plain = request.copy()
        plain.url = (request.url or "").replace("https://", "http://", 1)
        return super().send(plain, *args, **kwargs)


class PennylaneOAuth(OAuth2Session):
    """An OAuth session with Pennylane that follows no redirect.

    oauthlib accepts https addresses only, unless the whole process is told otherwise. It is therefore always given the
    https form of an address; where `PENNYLANE_URL` is plain http, which the settings allow on loopback only, the
    session's transport to that very host and port is unencrypted.
    """

    def __init__(self, settings: Settings, **options: Any) -> None:
        if not settings.pennylane_client_id or not settings.pennylane_client_secret:
            raise SettingsError(
                "PENNYLANE_CLIENT_ID and PENNYLANE_CLIENT_SECRET are not set. Pennylane gives them to a registered app;"
                " without one, use an API token of the company: pennylane-sync connect --token-stdin"
            )
        super().__init__(settings.pennylane_client_id, **options)
        self._settings = settings
        self._base = settings.pennylane_url
        address = urlsplit(settings.pennylane_url)
        if address.scheme == "http":
            self._base = address._replace(scheme="https").geturl()
            self.mount(f"https://{address.netloc}/", _PlainLoopback())
            self.trust_env = False
        for step in ("access_token_response", "refresh_token_response"):
            self.register_compliance_hook(step, _judge)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, always: client secret and tokens go where the settings say and nowhere else."""

    def authorize_address(self) -> tuple[str, str]:
        """Where to send the person's browser, and the `state` that comes back."""
        address, state = self.authorization_url(f"{self._base}/oauth/authorize")
        return self._settings.pennylane_url + address.removeprefix(self._base), state

    def exchange(self, code: str, now: datetime) -> Credential:
        """The credential for an authorization code. Raises `GrantRefused`, `OAuthRefused`, `PennylaneUnreachable`."""
        self.scope = None  # what was granted is told by /me; oauthlib would raise if it is not what was asked
        return self._credential(now, self.fetch_token, code=code, include_client_id=True, **self._secret())

    def renew(self, credential: Credential, now: datetime) -> Credential:
        """The next credential; from then on the given one is dead. Raises as `exchange` does."""
        return self._credential(
            now,
            self.refresh_token,
            refresh_token=credential.refresh_token,
            client_id=self._settings.pennylane_client_id,
            **self._secret(),
        )

    def revoke(self, token: str) -> bool:
        """Whether Pennylane confirmed that the token is dead."""
        try:
            answer = self.request(
                "POST",
                f"{self._base}/oauth/revoke",
                data={"client_id": self._settings.pennylane_client_id, "token": token, **self._secret()},
                timeout=TIMEOUT_SECONDS,
                withhold_token=True,
            )
        except requests.RequestException:
            return False
        return answer.ok and not answer.is_redirect

    def _secret(self) -> dict[str, str]:
        secret = self._settings.pennylane_client_secret
        return {"client_secret": secret.get_secret_value()} if secret else {}

    def _credential(self, now: datetime, call: Any, **parameters: Any) -> Credential:
        """Errors of requests and oauthlib carry the request, with its secrets: none of them is passed on, not even as
        a cause."""
        failure: PennylaneSyncError
        try:
            token = call(f"{self._base}{self._settings.pennylane_token_path}", timeout=TIMEOUT_SECONDS, **parameters)
            return _credential(token, now)
        except PennylaneSyncError:
            raise
        except requests.Timeout:
            failure = PennylaneUnreachable(f"{self._settings.pennylane_url} did not answer in time. Try again later.")
        except requests.RequestException:
            failure = PennylaneUnreachable(
                f"{self._settings.pennylane_url} could not be reached. Check the network, or try again later."
            )
        except (OAuth2Error, ValueError, TypeError, KeyError):
            failure = OAuthRefused(f"{self._settings.pennylane_url} gave a token answer that cannot be understood.")
        raise failure


def _judge(answer: requests.Response) -> requests.Response:
    """Lets only an answer with a token through to oauthlib, which does not look at the status."""
    try:
        content = answer.json()
    except ValueError:
        content = None
    body: Mapping[str, object] = content if isinstance(content, dict) else {}
    if answer.status_code == 200 and isinstance(body.get("access_token"), str):
        return answer
    host = urlsplit(answer.url).hostname
    if answer.status_code in _RETRIED or answer.status_code == 200:
        raise PennylaneUnreachable(
            f"{host} cannot give tokens at present (status {answer.status_code}). Try again later."
        )
    code = str(body.get("error") or body.get("code") or "")
    if code in ("invalid_client", "unauthorized_client"):
        raise OAuthRefused(
            f"{host} does not know this app (status {answer.status_code}): check PENNYLANE_CLIENT_ID and"
            " PENNYLANE_CLIENT_SECRET."
        )
    # Which of 400 and 401 a dead refresh token gets is not documented.
    if code == "invalid_grant" or answer.status_code == 401:
        raise GrantRefused(f"{host} no longer accepts this authorization (status {answer.status_code}).")
    raise OAuthRefused(
        f"{host} refused the token request (status {answer.status_code}): check PENNYLANE_URL, PENNYLANE_TOKEN_PATH and"
        " PENNYLANE_REDIRECT_URI."
    )


def _credential(token: Mapping[str, Any], now: datetime) -> Credential:
    """Pennylane tells a lifetime in seconds (`expires_in`, 86400); what is kept is a point in time, counted from before
    the call."""
    lifetime = token.get("expires_in")
    return Credential(
        access_token=token["access_token"],
        refresh_token=token.get("refresh_token"),
        expires_at=now + timedelta(seconds=int(lifetime)) if lifetime else None,
    )
