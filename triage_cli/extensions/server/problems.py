"""Errors as RFC 9457 problem details, made from the classes of `domain.errors`.

A hint names what to do next by commands to our command line, by requests to every other caller of the API.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from triage_cli import domain as dm
from triage_cli.extensions.server.server_log import error_log

# Whether the caller of the present request is our command line, which prints hints as they are.
is_for_command_line: ContextVar[bool] = ContextVar("is_for_command_line", default=False)
# What a caller of the API does for each step; what has no request of its own is for whoever runs the server.
REQUESTS: Mapping[dm.Step, str] = {
    dm.Step.LIST: "GET /tickets shows",
    dm.Step.LIST_BY_STATUS: "GET /tickets with the status",
    dm.Step.RUNS: "GET /runs lists",
    dm.Step.RUN_ID: "the last line that POST /tickets/batch answers has it as `run`",
    dm.Step.WHY: "GET /tickets/{ticket_id}/why",
    dm.Step.REVIEW: "POST /tickets/{ticket_id}/verdict",
    dm.Step.CLASSIFY_IT: "POST /tickets/{ticket_id}/classify",
    dm.Step.ROUTE: "POST /route",
    dm.Step.RETRY_DEAD: 'POST /route with {"plan": {"retry_dead": true}}',
    dm.Step.DECIDE_ANEW: "POST /route with the ids of GET /tickets?status=routing&status=undeliverable",
    dm.Step.RECLASSIFY: "POST /reclassify",
    dm.Step.LEARN: "POST /operations/learn",
    dm.Step.CALIBRATE: 'POST /operations/evaluate with "calibrate": true',
    dm.Step.KEYS: "GET /keys",
    dm.Step.AGAIN: "send the same request again",
    dm.Step.SAME: "the same request",
    dm.Step.GIVE_SOURCE: "send them with ?source=NAME",
    dm.Step.SAME_TICKETS: "with ?same_tickets=true",
    dm.Step.LABEL_COLUMN: "send labels that are names of categories",
    dm.Step.ROUTES_FILE: "send its text as routes",
    dm.Step.DESCRIPTION_COLUMN: "name one description in the header",
    dm.Step.DESCRIPTION_NUMBER: "name it description in a header",
    dm.Step.EXTERNAL_ID_COLUMN: "external_id in the header",
    dm.Step.CUSTOMER_ID_COLUMN: "customer_id in the header",
    dm.Step.NO_ID: "give it another name in the header",
    dm.Step.LINES: "if each line is a ticket, send an object with a description for each, as application/x-ndjson",
    dm.Step.DELIMITER: "write commas, or tabs as text/tab-separated-values",
    dm.Step.KEPT_HEAD: "send heads that were kept elsewhere",
    dm.Step.ASK: "ask",
    dm.Step.DEADLINE: "deadline",
    dm.Step.LIMIT: "limit",
    dm.Step.MAX_COST: "max_cost",
    dm.Step.MAX_FLIPS: "max_flips",
    dm.Step.MAX_WAIT: "max_wait",
    dm.Step.NAME_WITH: "name_with",
}
_STEPS = "|".join(re.escape(step) for step in sorted(dm.Step, key=len, reverse=True))  # one may begin as a shorter one
_STEP = re.compile(rf'(?<![\w".-])({_STEPS})(?![\w-])')  # in quotes it is what the caller has written


def spoken(text: str) -> str:
    """Return a hint, or the message before it, for the caller of the present request."""
    return text if is_for_command_line.get() else _STEP.sub(lambda step: REQUESTS[dm.Step(step[0])], text)


MEDIA_TYPE = "application/problem+json"
NO_PATH_HINT = "check the address and the server's version; /docs describes the API"
MOST_MISTAKES = 10  # of a request's body that its problem tells: each row of many may have one
OLD_STATUS_TITLES = {413: "Request Entity Too Large", 422: "Unprocessable Entity"}


def status_title(status: int) -> str:
    """Return the name of a status, the same on every version of Python: `http` took new names in 3.13."""
    return OLD_STATUS_TITLES.get(status) or HTTPStatus(status).phrase


def problem_details(error: dm.TriageError) -> dict[str, Any]:
    """Return the problem details (RFC 9457) of an error; `hint` says to this caller what to do next.

    What a database's error says goes into the log: callers, who may have no key, are not told where the database is.
    """
    if isinstance(error, dm.STORE_ERRORS):
        error_log.warning("the database cannot be used: %s", error.sentence())
        error = dm.UnavailableError("the database cannot be used", hint="the server's log says why")
    return _problem_details(error.http_status, error.code, spoken(error.message), spoken(error.hint))


def _problem_details(status: int, code: str, detail: str, hint: str = "") -> dict[str, Any]:
    problem = {"type": "about:blank", "status": status, "title": status_title(status)}
    return problem | {"detail": detail, "code": code, "hint": hint}


def problem_response(
    error: dm.TriageError, extension: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response with the problem details of an error, with further members and headers if there are some."""
    headers = dict(headers or {})
    if isinstance(error, dm.BusyError | dm.ExhaustedError):
        headers["retry-after"] = str(max(1, -int(-error.retry_after // 1)))
    if isinstance(error, dm.UnauthenticatedError):
        headers["www-authenticate"] = 'Bearer realm="triage"'
    if isinstance(error, dm.EncodingError):
        headers["accept-encoding"] = "identity"  # RFC 9110, 15.5.16
    return _response_of(problem_details(error) | dict(extension or {}), headers)


def unexpected_problem() -> Response:
    """Return the response for an unexpected error; the server's log has the details under the request id."""
    return _problem_response(500, "unexpected", "something unexpected went wrong", "tell its X-Request-Id")


def _problem_response(
    status: int, code: str, detail: str, hint: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    return _response_of(_problem_details(status, code, detail, hint), headers)


def _response_of(problem: Mapping[str, Any], headers: Mapping[str, str] | None) -> Response:
    return Response(dm.to_json(problem).encode("utf-8", "replace"), problem["status"], headers, MEDIA_TYPE)


def _allowed_methods(request: Request) -> set[str]:
    """Return the methods that an address takes, from all routes with the first path that fits it."""
    path = request.url.path.removeprefix(request.scope["root_path"])
    matching_routes = [route for route in request.app.routes if route.path_regex.match(path)]
    methods = {method for route in matching_routes if route.path == matching_routes[0].path for method in route.methods}
    return methods | {"HEAD"} if "GET" in methods else methods


class BodyError(HTTPException):
    """An error while the body is read; FastAPI passes on only an `HTTPException` from there."""

    def __init__(self, error: dm.TriageError) -> None:
        super().__init__(error.http_status, error.message)
        self.error = error


def install_error_handlers(app: FastAPI) -> None:
    """Register handlers that answer every error with problem details."""

    async def answer_triage_error(_: Request, error: Exception) -> Response:
        return problem_response(error) if isinstance(error, dm.TriageError) else unexpected_problem()

    async def answer_http_exception(request: Request, error: Exception) -> Response:
        if isinstance(error, BodyError):
            return problem_response(error.error)
        if not isinstance(error, HTTPException):
            raise TypeError(error)
        if error.status_code == 400:  # FastAPI answers this if the body is no text
            return problem_response(dm.UsageError("the body is no JSON", hint="send JSON in UTF-8"))
        if error.status_code == 404:
            return problem_response(dm.NoEndpointError("this server has no such path", hint=NO_PATH_HINT))
        if error.status_code == 405:  # the router names the methods of one route, and several may share a path
            methods = ", ".join(sorted(_allowed_methods(request))) or (error.headers or {}).get("Allow", "")
            detail = f"this path does not take {request.method}"
            return _problem_response(405, "method_not_allowed", detail, f"it takes {methods}", {"allow": methods})
        return _problem_response(error.status_code, "usage", str(error.detail), headers=error.headers)

    async def answer_invalid_request(_: Request, error: Exception) -> Response:
        errors = error.errors() if isinstance(error, RequestValidationError) else ()
        if errors and errors[0]["type"] == "json_invalid":
            reason, position = errors[0]["ctx"]["error"], errors[0]["loc"][-1] + 1
            detail = f"the body is not JSON: {reason} at character {position}"
            return _problem_response(422, "usage", detail, "send a valid JSON object")
        # A problem never repeats the value of a field: it may be a customer's text.
        mistakes = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors[:MOST_MISTAKES]]
        further = [f"{len(errors) - MOST_MISTAKES:,} more mistakes"] if len(errors) > MOST_MISTAKES else []
        detail = "; ".join([*mistakes, *further])
        return _problem_response(422, "usage", detail, "the API is described at /docs")

    app.add_exception_handler(dm.TriageError, answer_triage_error)
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(RequestValidationError, answer_invalid_request)
