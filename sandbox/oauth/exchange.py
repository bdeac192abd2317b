"""`POST /oauth/token` and `POST /oauth/revoke`."""

import base64
import binascii
import hmac
import json
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.core import Sandbox
from sandbox.oauth.codes import Codes
from sandbox.tokens import ACCESS_SECONDS, InvalidRefreshTokenError, Pair

_DESCRIPTIONS = {
    "invalid_client": "Client authentication failed due to unknown client, or unsupported authentication method.",
    "invalid_grant": "The provided authorization grant is invalid, expired, revoked, or was issued for another client.",
    "invalid_request": "The request is missing a required parameter.",
    "unsupported_grant_type": "The authorization grant type is not supported by the authorization server.",
}


class Exchange:
    def __init__(self, sandbox: Sandbox, codes: Codes) -> None:
        self._sandbox = sandbox
        self._codes = codes

    async def token(self, request: Request) -> Response:
        fields = await _fields(request)
        if not self._is_client(request, fields):
            return _error("invalid_client", 401)
        grant_type = fields.get("grant_type")
        if grant_type == "authorization_code":
            return self._from_code(fields)
        if grant_type == "refresh_token":
            return self._from_refresh_token(fields)
        return _error("unsupported_grant_type" if grant_type else "invalid_request")

    async def revoke(self, request: Request) -> Response:
        """Always 200 with an empty body, known token or not; only a wrong client is told so."""
        fields = await _fields(request)
        if not self._is_client(request, fields):
            return _error("invalid_client", 401)
        self._sandbox.tokens.revoke(fields.get("token", ""))
        return Response(status_code=200)

    def _from_code(self, fields: dict[str, str]) -> Response:
        if "code" not in fields:
            return _error("invalid_request")
        verifier = fields.get("code_verifier", "")
        redeemed = self._codes.redeem(fields["code"], fields.get("redirect_uri", ""), verifier)
        return _error("invalid_grant") if redeemed is None else _pair(self._sandbox.tokens.issue(*redeemed))

    def _from_refresh_token(self, fields: dict[str, str]) -> Response:
        if "refresh_token" not in fields:
            return _error("invalid_request")
        try:
            return _pair(self._sandbox.tokens.refresh(fields["refresh_token"]))
        except InvalidRefreshTokenError:
            return _error("invalid_grant")

    def _is_client(self, request: Request, fields: dict[str, str]) -> bool:
        client_id, secret = _basic(request) or (fields.get("client_id", ""), fields.get("client_secret", ""))
        settings = self._sandbox.settings
        return hmac.compare_digest(client_id.encode(), settings.client_id.encode()) and hmac.compare_digest(
            secret.encode(), settings.client_secret.encode()
        )


async def _fields(request: Request) -> dict[str, str]:
    """The request's fields, from a form as the standard has it, or from JSON."""
    body = (await request.body()).decode("utf-8", "replace")
    if "json" not in request.headers.get("content-type", ""):
        return dict(parse_qsl(body, keep_blank_values=True))
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in parsed.items()} if isinstance(parsed, dict) else {}


def _basic(request: Request) -> tuple[str, str] | None:
    kind, _, encoded = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(client_id), unquote_plus(secret)


def _pair(pair: Pair) -> Response:
    body = {
        "access_token": pair.access_token,
        "token_type": "Bearer",
        "expires_in": ACCESS_SECONDS,
        "refresh_token": pair.refresh_token,
    }
    return JSONResponse(body, headers={"cache-control": "no-store", "pragma": "no-cache"})


def _error(code: str, status: int = 400) -> Response:
    return JSONResponse({"error": code, "error_description": _DESCRIPTIONS[code]}, status)
