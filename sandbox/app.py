"""The ASGI application: API, OAuth and, if asked for, the control address, behind what every request passes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sandbox.api.routes import api_routes
from sandbox.changes.randomly import change_something
from sandbox.control import control_routes
from sandbox.core import Sandbox
from sandbox.front import Front
from sandbox.oauth.routes import oauth_routes


def create_app(sandbox: Sandbox) -> ASGIApp:
    routes = [api_routes(sandbox), *oauth_routes(sandbox)]
    if sandbox.settings.control:
        routes.append(control_routes(sandbox))
    routes.append(Route("/{rest:path}", _not_found))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        if sandbox.settings.live is None:
            yield
            return
        task = asyncio.create_task(_live(sandbox, sandbox.settings.live))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return Front(Starlette(routes=routes, lifespan=lifespan), sandbox)


async def _live(sandbox: Sandbox, seconds: float) -> None:
    """Lets something happen to each company every so often, as in a business that is running."""
    while True:
        await asyncio.sleep(seconds)
        for world in sandbox.worlds.values():
            change_something(world)


async def _not_found(request: Request) -> Response:  # noqa: ARG001
    return JSONResponse({"error": "Not Found", "status": 404}, 404)
