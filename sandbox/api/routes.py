"""Paths, the scope that each needs, and how a call is answered or refused."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from sandbox.api import changelogs, company, customers, invoices, transactions
from sandbox.api.call import Call, Json
from sandbox.core import Sandbox
from sandbox.errors import ApiError, forbidden, not_found, unauthorized

PREFIX = "/api/external/v2"

Operation = Callable[[Call], Json]
Endpoint = Callable[[Request], Awaitable[Response]]

OPERATIONS: tuple[tuple[str, str | None, Operation], ...] = (
    ("/me", None, company.get_me),
    ("/customers", "customers", customers.list_customers),
    ("/customers/{id}", "customers", customers.get_customer),
    ("/customers/{customer_id}/contacts", "customers", customers.list_contacts),
    ("/company_customers/{id}", "customers", customers.get_company_customer),
    ("/individual_customers/{id}", "customers", customers.get_individual_customer),
    ("/customer_invoices", "customer_invoices", invoices.list_invoices),
    ("/customer_invoices/{id}", "customer_invoices", invoices.get_invoice),
    ("/customer_invoices/{customer_invoice_id}/payments", "customer_invoices", invoices.list_payments),
    (
        "/customer_invoices/{customer_invoice_id}/matched_transactions",
        "customer_invoices",
        invoices.list_matched_transactions,
    ),
    ("/changelogs/customer_invoices", "customer_invoices", changelogs.invoice_changes),
    ("/changelogs/customers", "customers", changelogs.customer_changes),
    ("/changelogs/transactions", "transactions", changelogs.transaction_changes),
    ("/transactions", "transactions", transactions.list_transactions),
    ("/transactions/{id}", "transactions", transactions.get_transaction),
    ("/transactions/{transaction_id}/matched_invoices", "transactions", transactions.list_matched_invoices),
)


def bearer_token(authorization: str | None) -> str:
    """The token of an Authorization header; empty if there is none."""
    kind, _, token = (authorization or "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def api_routes(sandbox: Sandbox) -> Mount:
    routes = [
        Route(path, _endpoint(sandbox, resource, operation), methods=["GET"])
        for path, resource, operation in OPERATIONS
    ]
    return Mount(PREFIX, routes=[*routes, Route("/{rest:path}", _unknown)])


def _endpoint(sandbox: Sandbox, resource: str | None, operation: Operation) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(_call(sandbox, request, resource, operation))
        except ApiError as error:
            return JSONResponse(error.body, error.status)

    return answer


def _call(sandbox: Sandbox, request: Request, resource: str | None, operation: Operation) -> Json:
    grant = sandbox.tokens.find(bearer_token(request.headers.get("authorization")))
    if grant is None:
        raise unauthorized()
    if resource is not None and not grant.allows(resource):
        raise forbidden(f"{resource}:readonly")
    world = sandbox.worlds[grant.company_id]
    base_url = str(request.base_url).rstrip("/").removesuffix(PREFIX)
    call = Call(world, grant, request.query_params, request.path_params, base_url, sandbox.statistics)
    with world.lock:
        return operation(call)


async def _unknown(request: Request) -> Response:  # noqa: ARG001
    error = not_found()
    return JSONResponse(error.body, error.status)
