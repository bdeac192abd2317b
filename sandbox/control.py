"""The control address: for tests that make things happen, move the clock, disturb answers and look behind the API."""

import ipaddress
import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from sandbox.changes.randomly import CHANGES, change_randomly
from sandbox.core import Sandbox
from sandbox.faults import Fault
from sandbox.state import true_state
from sandbox.tokens import ALL_SCOPES
from sandbox.world import World

Json = dict[str, Any]
Action = Callable[[Request, Json], Json]


class Control:
    """Every call takes `?company=ID` (default: the first company); bodies and answers are JSON."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def change(self, request: Request, body: Json) -> Json:
        """`POST /control/changes/{kind}`: the body holds the arguments of the change's function."""
        kind = request.path_params["kind"]
        change = change_randomly if kind in ("random", "change_randomly") else CHANGES.get(kind)
        if change is None:
            raise ValueError(f"unknown change {kind!r}; there are random, {', '.join(sorted(CHANGES))}")
        return change(self._world(request), **body)

    def clock(self, _request: Request, body: Json) -> Json:
        self._sandbox.clock.advance(float(body.get("advance_seconds", 0)))
        return {"now": self._sandbox.clock.now().isoformat()}

    def add_fault(self, _request: Request, body: Json) -> Json:
        return {"id": self._sandbox.faults.add(Fault(**body))}

    def list_faults(self, _request: Request, _body: Json) -> Json:
        return {"faults": self._sandbox.faults.list()}

    def clear_faults(self, _request: Request, _body: Json) -> Json:
        self._sandbox.faults.clear()
        return {}

    def state(self, request: Request, _body: Json) -> Json:
        return true_state(self._world(request), str(request.base_url).rstrip("/").removesuffix("/control"))

    def requests(self, _request: Request, _body: Json) -> Json:
        report = self._sandbox.statistics.report()
        return report | {"reused_refresh_tokens": self._sandbox.tokens.reused_refresh_tokens}

    def reset_requests(self, _request: Request, _body: Json) -> Json:
        self._sandbox.statistics.reset()
        self._sandbox.tokens.reused_refresh_tokens = 0
        return {}

    def make_token(self, request: Request, body: Json) -> Json:
        """A company API token, with all scopes unless some are given."""
        scopes = tuple(str(scope) for scope in body.get("scopes", ALL_SCOPES))
        return {"token": self._sandbox.tokens.add_company_token(self._world(request).id, scopes)}

    def revoke_tokens(self, request: Request, _body: Json) -> Json:
        self._sandbox.tokens.revoke_all(self._world(request).id)
        return {}

    def _world(self, request: Request) -> World:
        company = request.query_params.get("company")
        if company is None:
            return self._sandbox.world
        if not company.isdecimal() or int(company) not in self._sandbox.worlds:
            raise ValueError(f"there is no company {company!r}")
        return self._sandbox.worlds[int(company)]


def control_routes(sandbox: Sandbox) -> Mount:
    control = Control(sandbox)
    table: tuple[tuple[str, str, Action], ...] = (
        ("POST", "/changes/{kind}", control.change),
        ("GET", "/clock", control.clock),
        ("POST", "/clock", control.clock),
        ("POST", "/faults", control.add_fault),
        ("GET", "/faults", control.list_faults),
        ("DELETE", "/faults", control.clear_faults),
        ("GET", "/state", control.state),
        ("GET", "/requests", control.requests),
        ("DELETE", "/requests", control.reset_requests),
        ("POST", "/tokens", control.make_token),
        ("POST", "/tokens/revoke_all", control.revoke_tokens),
    )
    return Mount("/control", routes=[Route(path, _endpoint(action), methods=[verb]) for verb, path, action in table])


def _endpoint(action: Action) -> Any:
    async def answer(request: Request) -> Response:
        if request.client is None or not ipaddress.ip_address(request.client.host).is_loopback:
            return JSONResponse({"error": "The control address answers to this machine only"}, 403)
        try:
            text = await request.body()
            body = json.loads(text) if text and request.method == "POST" else {}
            if not isinstance(body, dict):
                raise ValueError("the body is a JSON object")
            return JSONResponse(action(request, body))
        except (TypeError, ValueError, KeyError) as error:
            return JSONResponse({"error": str(error)}, 400)

    return answer
