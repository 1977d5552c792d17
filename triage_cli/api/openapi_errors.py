"""The errors and headers of the description: which status an operation may answer, and with what beside the problem."""

from collections.abc import Iterator
from typing import Any

from triage_cli.api.auth import OPEN_PATHS, WEBHOOK_PATHS
from triage_cli.api.problems import MEDIA_TYPE, problem_details, status_title
from triage_cli.domain import errors

OpenApi = dict[str, Any]  # a part of the description

TEXT_SCHEMA = {"type": "string"}
RESPONSE_HEADERS: OpenApi = {
    "XRequestId": {
        "description": "the id of the request, as the server's log has it; an id that the request has is kept",
        "schema": TEXT_SCHEMA,
        "example": "01a20e9c-1d27-7000-8f6f-e2de12e6ffde",
    },
    "RateLimitPolicy": {
        "description": "how many requests a key may send in how many seconds; absent where there is no limit",
        "schema": TEXT_SCHEMA,
        "example": '"minute";q=6000;w=60',
    },
    "RateLimit": {
        "description": "how many are left to this process (r), and for how many seconds that holds (t)",
        "schema": TEXT_SCHEMA,
        "example": '"minute";r=299;t=3',
    },
    "RetryAfter": {"description": "the seconds to wait", "schema": {"type": "integer"}, "example": 3},
    "WWWAuthenticate": {
        "description": "how to send a key", "schema": TEXT_SCHEMA, "example": 'Bearer realm="triage"',
    },
    "ETag": {
        "description": "the revision of the ticket, for `If-Match`; absent where an `Idempotency-Key` is repeated",
        "schema": TEXT_SCHEMA,
        "example": '"3"',
    },
    "Link": {
        "description": "the next page, if there is one",
        "schema": TEXT_SCHEMA,
        "example": '</tickets?limit=50&after=01a20e9c-1d27-7000-8f6f-e2de12e6ffde>; rel="next"',
    },
}  # fmt: skip
# An error of each status as the example of its response, and what the description says of that.
EXAMPLE_ERRORS: tuple[tuple[errors.TriageError, str], ...] = (
    (errors.NotClassifiedError("01a20e9c has no category yet", hint="classify it first"), "The ticket has no category"),
    (errors.UnauthenticatedError("no such key", hint="triage keys create makes one"), "The request has no valid key"),
    (errors.BudgetError("the next call might exceed the budget"), "The budget is used up"),
    (
        errors.RefusedError('the key "ada" is a reader', hint="this takes a key of role agent"),
        "The key's role may not do this",
    ),
    (errors.NotFoundError('no ticket "T-1001"'), "Nothing has this name"),
    (errors.RequestTimeoutError("the body did not come in time", hint="send it again"), "The body came too slowly"),
    (
        errors.BusyError("the first request is still at work", hint="ask again later"),
        "The present state does not allow it",
    ),
    (
        errors.TooLargeError("the body is larger than 1,048,576 bytes", hint="send less at once"),
        "The body is too large",
    ),
    (
        errors.ChangedError("T-1001: it has changed since it was shown", hint="read it again"),
        "The ticket is not the one of `If-Match`",
    ),
    (errors.MediaTypeError('a body of type "text/html" is not read here'), "The body is of another type"),
    (errors.UsageError("subject: Input should be a valid string"), "The request is not as described here"),
    (errors.RateLimitedError("too many requests", hint="wait 3 s"), "The key's rate limit is used up"),
    (errors.TriageError("something unexpected went wrong", hint="tell its X-Request-Id"), "The server cannot do it"),
    (errors.AnswerError("the classifier could not answer this ticket"), "A provider or destination gave no answer"),
    (
        errors.UnavailableError("the database is busy", hint="send it again later"),
        "Unavailable for now: nothing is lost",
    ),
)
# Headers of single error statuses, besides those of all responses.
ERROR_HEADERS = {
    412: ("ETag",),
    401: ("WWWAuthenticate",),
    409: ("RetryAfter",),
    429: ("RetryAfter",),
    503: ("RetryAfter",),
}
HEADER_NAMES = {
    "XRequestId": "X-Request-Id", "RateLimitPolicy": "RateLimit-Policy", "RateLimit": "RateLimit",
    "RetryAfter": "Retry-After", "WWWAuthenticate": "WWW-Authenticate", "Link": "Link",
    "ETag": "ETag",
}  # fmt: skip
# Error statuses of single operations, besides the common ones.
OPERATION_STATUSES = {
    "/tickets/{ticket_id}/classify": (402, 502),
    "/tickets/{ticket_id}/route": (400, 502),
    "/tickets/{ticket_id}/verdict": (412,),
    "/classify": (404,),
    "/classify/text": (402, 502),
    "/route": (404,),
    "/reclassify": (404,),
    "/ready": (500, 503),
}


def header_refs(*names: str, open_to_all: bool = False) -> OpenApi:
    """Return references to the described headers of all responses, and to those of these names."""
    common_headers = ("XRequestId",) if open_to_all else ("XRequestId", "RateLimitPolicy", "RateLimit")
    return {HEADER_NAMES[name]: {"$ref": f"#/components/headers/{name}"} for name in (*common_headers, *names)}


def _error_response(error: errors.TriageError, description: str) -> OpenApi:
    schema_name = "ChangedProblem" if isinstance(error, errors.ChangedError) else "Problem"
    problem_content = {"schema": {"$ref": f"#/components/schemas/{schema_name}"}, "example": problem_details(error)}
    headers = header_refs(*ERROR_HEADERS.get(error.http_status, ()))
    return {"description": description, "headers": headers, "content": {MEDIA_TYPE: problem_content}}


def response_name(status: int) -> str:
    """Return under which name the description keeps the response of an error status."""
    return status_title(status).upper().replace(" ", "_")


ERROR_RESPONSES: OpenApi = {
    response_name(error.http_status): _error_response(error, description) for error, description in EXAMPLE_ERRORS
}


def error_statuses(path: str, method: str) -> Iterator[int]:
    """Yield the error statuses that an operation may answer."""
    yield from OPERATION_STATUSES.get(path, ())
    if path in OPEN_PATHS:
        return
    yield from (401, 422, 503)
    if not path.startswith(WEBHOOK_PATHS):
        yield from (403, 429)
    if "{" in path or (path, method) == ("/tickets", "get"):  # a ticket is named
        yield from (404, 409)
    if method == "post":
        yield from (408, 409, 413, 415)
