"""The page on which a user picks a company and lets an app in, or not."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sandbox.core import Sandbox
from sandbox.oauth.codes import AuthorizationRequest, Codes, RefusedError, UntrustworthyError, parse_request

_SCOPE_TEXTS = {
    "customers": "customers and their contacts",
    "customer_invoices": "customer invoices, credit notes and their payments",
    "transactions": "bank transactions",
    "supplier_invoices": "supplier invoices",
    "suppliers": "suppliers",
    "ledger": "general ledger",
    "categories": "analytical categories",
    "products": "products",
}
_FORWARDED = ("client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge", "code_challenge_method")
_PAGE_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}


class Consent:
    def __init__(self, sandbox: Sandbox, codes: Codes) -> None:
        self._sandbox = sandbox
        self._codes = codes
        templates = FileSystemLoader(Path(__file__).parent.parent / "templates")
        self._templates = Environment(loader=templates, autoescape=True)

    async def show(self, request: Request) -> Response:
        """`GET /oauth/authorize`."""
        parameters = dict(request.query_params)
        try:
            asked = parse_request(parameters, self._sandbox.settings.client_id)
        except (UntrustworthyError, RefusedError) as error:
            return self._refusal(error, parameters)
        if self._sandbox.settings.auto_approve:
            return self._approved(asked, self._sandbox.world.id)
        return self._page(
            "consent.html",
            200,
            companies=list(self._sandbox.worlds.values()),
            user=self._sandbox.world.user,
            client=asked.client_id,
            host=asked.redirect_uri.split("/")[2],
            scopes=[_scope_text(scope) for scope in asked.scopes],
            fields={name: parameters[name] for name in _FORWARDED if name in parameters},
        )

    async def decide(self, request: Request) -> Response:
        """`POST /oauth/authorize`: what the two buttons of the page send."""
        parameters = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
        try:
            asked = parse_request(parameters, self._sandbox.settings.client_id)
        except (UntrustworthyError, RefusedError) as error:
            return self._refusal(error, parameters)
        if parameters.get("decision") != "authorize":
            return _back(asked.redirect_uri, {"error": "access_denied"}, asked.state)
        company = parameters.get("company", "")
        if not company.isdecimal() or int(company) not in self._sandbox.worlds:
            return self._page("error.html", 400, message="Choose one of your companies.")
        return self._approved(asked, int(company))

    def _approved(self, asked: AuthorizationRequest, company_id: int) -> Response:
        return _back(asked.redirect_uri, {"code": self._codes.issue(company_id, asked)}, asked.state)

    def _refusal(self, error: UntrustworthyError | RefusedError, parameters: Mapping[str, str]) -> Response:
        if isinstance(error, UntrustworthyError):
            return self._page("error.html", 400, message=str(error))
        return _back(parameters["redirect_uri"], {"error": str(error)}, parameters.get("state", ""))

    def _page(self, template: str, status: int, **values: object) -> HTMLResponse:
        return HTMLResponse(self._templates.get_template(template).render(**values), status, _PAGE_HEADERS)


def _back(address: str, parameters: dict[str, str], state: str) -> RedirectResponse:
    if state:
        parameters = {**parameters, "state": state}
    separator = "&" if "?" in address else "?"
    return RedirectResponse(f"{address}{separator}{urlencode(parameters)}", 302)


def _scope_text(scope: str) -> tuple[str, str, bool]:
    resource, _, right = scope.partition(":")
    return scope, _SCOPE_TEXTS[resource], right == "all"
