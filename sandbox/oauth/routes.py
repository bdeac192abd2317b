"""Where the OAuth endpoints live."""

from starlette.routing import Route

from sandbox.core import Sandbox
from sandbox.oauth.codes import Codes
from sandbox.oauth.consent import Consent
from sandbox.oauth.exchange import Exchange


def oauth_routes(sandbox: Sandbox) -> list[Route]:
    """The guide names `/oauth/token`, the published description `/oauth/oauth/token`: both answer."""
    codes = Codes(sandbox.clock)
    consent, exchange = Consent(sandbox, codes), Exchange(sandbox, codes)
    return [
        Route("/oauth/authorize", consent.show, methods=["GET"]),
        Route("/oauth/authorize", consent.decide, methods=["POST"]),
        Route("/oauth/token", exchange.token, methods=["POST"]),
        Route("/oauth/oauth/token", exchange.token, methods=["POST"]),
        Route("/oauth/revoke", exchange.revoke, methods=["POST"]),
    ]
