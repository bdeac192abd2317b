"""Refusals, in the shapes in which Pennylane words them."""

from typing import Any


class ApiError(Exception):
    """An answer other than 200, with its JSON body."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


def bad_request(message: str, code: str | None = None) -> ApiError:
    """400 as `{"message", "code"}` when a value breaks the described schema, else as `{"error", "status"}`."""
    if code is None:
        return ApiError(400, {"error": message, "status": 400})
    return ApiError(400, {"message": message, "code": code})


def unauthorized() -> ApiError:
    return ApiError(401, {"error": "The access token is invalid", "status": 401})


def forbidden(scope: str) -> ApiError:
    return ApiError(403, {"error": f'Access to this resource requires scope "{scope}".', "status": 403})


def not_found() -> ApiError:
    return ApiError(404, {"error": "Not Found", "status": 404})


def unprocessable(message: str) -> ApiError:
    return ApiError(422, {"error": message, "status": 422})
