"""Errors as RFC 9457 problem details, made from the classes of `domain.errors`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from triage_cli.domain.errors import (
    BusyError,
    ExhaustedError,
    NoEndpointError,
    TriageError,
    UnauthenticatedError,
    UsageError,
)
from triage_cli.domain.serialization import to_json

MEDIA_TYPE = "application/problem+json"
PATHS_HINT = "check the address and the server's version; /docs describes the API"
OLD_TITLES = {413: "Request Entity Too Large", 422: "Unprocessable Entity"}


def title(status: int) -> str:
    """Return the name of a status, the same on every version of Python: `http` took new names in 3.13."""
    return OLD_TITLES.get(status) or HTTPStatus(status).phrase


def record(error: TriageError) -> dict[str, Any]:
    """Return the problem details of an error; `hint` says what to do next."""
    return _record(error.http_status, error.code, error.message, error.hint)


def _record(status: int, code: str, detail: str, hint: str = "") -> dict[str, Any]:
    named = {"type": "about:blank", "status": status, "title": title(status)}
    return named | {"detail": detail, "code": code, "hint": hint}


def answer(error: TriageError) -> Response:
    """Return an error as a response."""
    headers: dict[str, str] = {}
    if isinstance(error, BusyError | ExhaustedError):
        headers["retry-after"] = str(max(1, -int(-error.retry_after // 1)))
    if isinstance(error, UnauthenticatedError):
        headers["www-authenticate"] = 'Bearer realm="triage"'
    return _answer(record(error), headers)


def unexpected() -> Response:
    """Return the response for an unexpected error; the server's log has the details under the request id."""
    return _answer(_record(500, "unexpected", "something unexpected went wrong", "tell its X-Request-Id"))


def _answer(problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(to_json(problem).encode("utf-8", "replace"), problem["status"], headers, MEDIA_TYPE)


def _allowed(request: Request) -> set[str]:
    """Return the methods of an address, from all routes with the first path that fits it."""
    asked = request.url.path.removeprefix(request.scope["root_path"])
    matching_routes = [route for route in request.app.routes if route.path_regex.match(asked)]
    methods = {method for route in matching_routes if route.path == matching_routes[0].path for method in route.methods}
    return methods | {"HEAD"} if "GET" in methods else methods


class BodyError(HTTPException):
    """An error while the body is read; FastAPI passes on only an `HTTPException` from there."""

    def __init__(self, error: TriageError) -> None:
        super().__init__(error.http_status, error.message)
        self.error = error


def install(app: FastAPI) -> None:
    """Register handlers that answer every error with problem details."""

    async def ours(_: Request, error: Exception) -> Response:
        return answer(error) if isinstance(error, TriageError) else unexpected()

    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, BodyError):
            return answer(error.error)
        if not isinstance(error, HTTPException):
            raise TypeError(error)
        if error.status_code == 400:  # FastAPI answers this if the body is no text
            return answer(UsageError("the body is no JSON", hint="send JSON in UTF-8"))
        if error.status_code == 404:
            return answer(NoEndpointError("this server has no such path", hint=PATHS_HINT))
        if error.status_code == 405:  # the router names the methods of one route, and several may share a path
            methods = ", ".join(sorted(_allowed(request))) or (error.headers or {}).get("Allow", "")
            detail = f"this path does not take {request.method}"
            return _answer(_record(405, "method_not_allowed", detail, f"it takes {methods}"), {"allow": methods})
        return _answer(_record(error.status_code, "usage", str(error.detail)), error.headers)

    async def invalid(_: Request, error: Exception) -> Response:
        errors = error.errors() if isinstance(error, RequestValidationError) else ()
        if errors and errors[0]["type"] == "json_invalid":
            reason, position = errors[0]["ctx"]["error"], errors[0]["loc"][-1] + 1
            detail = f"the body is not JSON: {reason} at character {position}"
            return _answer(_record(422, "usage", detail, "send a valid JSON object"))
        detail = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors
        )  # never the value: it may be text
        return _answer(_record(422, "usage", detail, "the API is described at /docs"))

    app.add_exception_handler(TriageError, ours)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)
