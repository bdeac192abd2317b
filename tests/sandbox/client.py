"""A small caller of the sandbox, and what the published description says its answers look like."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from sandbox.api.routes import PREFIX
from sandbox.server import SandboxServer
from sandbox.world import World

DESCRIPTION = Path(__file__).parents[3] / "shared" / "pennylane" / "openapi.json"


class Caller:
    """Calls the API with one token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> requests.Response:
        if not isinstance(query.get("filter", ""), str):
            query["filter"] = json.dumps(query["filter"])
        return self._session.get(f"{self.url}{PREFIX}{path}", params=query, timeout=30)

    def json(self, path: str, **query: Any) -> Any:
        response = self.get(path, **query)
        assert response.status_code == 200, response.text
        return response.json()

    def pages(self, path: str, **query: Any) -> Iterator[list[Any]]:
        while True:
            body = self.json(path, **query)
            yield body["items"]
            assert body["has_more"] == (body["next_cursor"] is not None)
            if not body["has_more"]:
                return
            query.pop("start_date", None)
            query["cursor"] = body["next_cursor"]

    def items(self, path: str, **query: Any) -> list[Any]:
        return [item for page in self.pages(path, **query) for item in page]

    def ids(self, path: str, **query: Any) -> list[int]:
        return [item["id"] for item in self.items(path, **query)]


def caller(server: SandboxServer, world: World | None = None) -> Caller:
    return Caller(server.url, server.token(world))


def control(server: SandboxServer, verb: str, path: str, body: Any = None, **query: Any) -> Any:
    response = requests.request(verb, f"{server.url}/control{path}", json=body, params=query, timeout=30)
    assert response.status_code == 200, response.text
    return response.json()


@cache
def _description() -> Any:
    if not DESCRIPTION.exists():
        pytest.skip("the published description is not beside this checkout")
    return json.loads(DESCRIPTION.read_text())


@cache
def _validator(path: str, status: int) -> Any:
    answer = _description()["paths"][PREFIX + path]["get"]["responses"][str(status)]
    schema = _with_nullable_enums(answer["content"]["application/json"]["schema"])
    return OAS30Validator(schema, format_checker=oas30_format_checker)


def _with_nullable_enums(schema: Any) -> Any:
    """`schematron_validation_status` is nullable, "null otherwise", and yet its enum leaves null out: the words win."""
    if isinstance(schema, list):
        return [_with_nullable_enums(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: _with_nullable_enums(value) for name, value in schema.items()}
    if schema.get("nullable") is True and isinstance(schema.get("enum"), list):
        schema["enum"] = [*schema["enum"], None]
    return schema


def described_paths() -> list[str]:
    return [path.removeprefix(PREFIX) for path in _description()["paths"]]


def described_parameter(path: str, name: str) -> Any:
    parameters = _description()["paths"][PREFIX + path]["get"]["parameters"]
    return next(parameter for parameter in parameters if parameter["name"] == name)


def check(path: str, response: requests.Response) -> Any:
    """The body of an answer, which has to be as described for the path (a template such as `/customers/{id}`)."""
    body = response.json()
    errors = list(_validator(path, response.status_code).iter_errors(body))
    assert not errors, f"{path}: {errors[0].message} at {list(errors[0].absolute_path)}"
    return body
