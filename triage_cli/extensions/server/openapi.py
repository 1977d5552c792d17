"""The OpenAPI 3.1 description: what FastAPI derives, with what generators, importers and readers need beside it.

Security and roles, the headers and errors of each response, sentences, examples. An example stands at its media type or
parameter and in its schema too, since importers look in either place; together they are a session that works.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from triage_cli import domain as dm
from triage_cli.extensions.server.auth import OPEN_PATHS, WEBHOOK_PATHS, is_open, required_role
from triage_cli.extensions.server.problems import MEDIA_TYPE, problem_details, status_title
from triage_cli.extensions.server.schemas import bulk, shared_fields, tickets
from triage_cli.extensions.server.schemas.operations import RECORDS
from triage_cli.ports import operations

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
    "WWWAuthenticate": {"description": "how to send a key", "schema": TEXT_SCHEMA, "example": 'Bearer realm="triage"'},
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
}
# An error of each status as the example of its response, and what the description says of that.
EXAMPLE_ERRORS: tuple[tuple[dm.errors.TriageError, str], ...] = (
    (
        dm.errors.NotClassifiedError("01a20e9c has no category yet", hint="classify it first"),
        "The ticket has no category",
    ),
    (
        dm.errors.UnauthenticatedError("no such key", hint="triage keys create makes one"),
        "The request has no valid key",
    ),
    (dm.errors.BudgetError("the next call might exceed the budget"), "The budget is used up"),
    (
        dm.errors.RefusedError('the key "ada" is a reader', hint="this takes a key of role agent"),
        "The key's role may not do this",
    ),
    (dm.errors.NotFoundError('no ticket "T-1001"'), "Nothing has this name"),
    (dm.errors.RequestTimeoutError("the body did not come in time", hint="send it again"), "The body came too slowly"),
    (
        dm.errors.BusyError("the first request is still at work", hint="ask again later"),
        "The present state does not allow it",
    ),
    (
        dm.errors.TooLargeError("the body is larger than 1,048,576 bytes", hint="send less at once"),
        "The body is too large",
    ),
    (
        dm.errors.ChangedError("T-1001: it has changed since it was shown", hint="read it again"),
        "The ticket is not the one of `If-Match`",
    ),
    (dm.errors.MediaTypeError('a body of type "text/html" is not read here'), "The body is of another type"),
    (dm.errors.UsageError("subject: Input should be a valid string"), "The request is not as described here"),
    (dm.errors.RateLimitedError("too many requests", hint="wait 3 s"), "The key's rate limit is used up"),
    (dm.errors.TriageError("something unexpected went wrong", hint="tell its X-Request-Id"), "The server cannot do it"),
    (dm.errors.AnswerError("the classifier could not answer this ticket"), "A provider or destination gave no answer"),
    (
        dm.errors.UnavailableError("the database is busy", hint="send it again later"),
        "Unavailable for now: nothing is lost",
    ),
)
# Headers of single error statuses, besides those of all responses.
ERROR_HEADERS = {412: ("ETag",), 401: ("WWWAuthenticate",), **dict.fromkeys((409, 429, 503), ("RetryAfter",))}
HEADERS = ("X-Request-Id", "RateLimit-Policy", "RateLimit", "Retry-After", "WWW-Authenticate", "ETag", "Link")
HEADER_NAMES = {name.replace("-", ""): name for name in HEADERS}
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
    f"{operations.PATH}classify_text": (402, 502),
}


def header_refs(*names: str, open_to_all: bool = False) -> OpenApi:
    """Return references to the described headers of all responses, and to those of these names."""
    common_headers = ("XRequestId",) if open_to_all else ("XRequestId", "RateLimitPolicy", "RateLimit")
    return {HEADER_NAMES[name]: {"$ref": f"#/components/headers/{name}"} for name in (*common_headers, *names)}


def _error_response(error: dm.errors.TriageError, description: str) -> OpenApi:
    schema_name = "ChangedProblem" if isinstance(error, dm.errors.ChangedError) else "Problem"
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
    is_operation = path.startswith(operations.PATH)
    if "{" in path or (path, method) == ("/tickets", "get") or is_operation:  # a ticket may be named
        yield from (404, 409)
    if method == "post":
        yield from (408, 409, 413, 415)


SERVERS = [{"url": "http://127.0.0.1:8000", "description": "the default address of `triage serve`"}]
CONTACT = {"name": "The triage project"}
LICENSE = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
SECURITY_SCHEMES = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "made by `triage keys create`"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "the same key as a bearer token"},
}
TAG_DESCRIPTIONS = {
    "tickets": "One ticket: store it, classify it, route it, set its verdict.",
    "bulk": "Many tickets in one request: the answer has one line for each.",
    "reads": "Tickets, their history and explanation, the audit log, counts.",
    "consultation": "Questions whose answers change no ticket, and what agents suggest.",
    "analysis": "What happened in a period.",
    "webhooks": "Events of helpdesks, signed by their sender.",
    "client": "What the command line asks of a server, by the types of this version; no promise beyond it.",
    "administration": "API keys, erasure, the record of runs, proof of the audit log.",
    "operations": "Liveness, readiness and metrics.",
}
EXAMPLES_FILE = Path(__file__).with_name("openapi_examples.json")
# Fields of which importers are to send null: they take the first alternative, and its default or a made-up text.
NULL_FIRST = {
    "ClassifyTextIn": ("classifier", "max_cost"),
    "KeyIn": ("expires_in",),
    "VerdictIn": ("category",),
}
SCHEMA_REF = "#/components/schemas/"


def openapi_method(app: FastAPI) -> Callable[[], OpenApi]:
    """Return the app's `openapi` method, which makes the description once."""

    def describe() -> OpenApi:
        if app.openapi_schema is None:
            app.openapi_schema = _openapi_description(app)
        return app.openapi_schema

    return describe


def _openapi_description(app: FastAPI) -> OpenApi:
    description = get_openapi(
        title=app.title,
        version=app.version,
        summary="Support tickets in, decisions out.",
        description=app.description,
        routes=app.routes,
        servers=SERVERS,
        contact=CONTACT,
        license_info=LICENSE,
        tags=[{"name": name, "description": text} for name, text in TAG_DESCRIPTIONS.items()],
    )
    components = description.setdefault("components", {})
    schemas = components["schemas"] = _schemas(components.get("schemas", {}))
    components |= {"securitySchemes": SECURITY_SCHEMES, "headers": RESPONSE_HEADERS, "responses": ERROR_RESPONSES}
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            _describe_operation(operation, path, method, schemas)
    for part in (description["paths"], schemas):
        _strip_titles(part)
        _describe_items(part)
    return description


def _schemas(schemas: OpenApi) -> OpenApi:
    """Return FastAPI's schemas with those that it does not derive, and with examples."""
    for model in (shared_fields.Problem, bulk.Line, tickets.ChangedProblem):
        schema = model.model_json_schema(ref_template=SCHEMA_REF + "{model}")
        schemas |= {**schema.pop("$defs", {}), model.__name__: schema}
    schemas |= RECORDS
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's schemas of a 422, which is never sent
        schemas.pop(name, None)
    for name, example in json.loads(EXAMPLES_FILE.read_text(encoding="utf-8")).items():
        schemas[name]["example"] = example  # not through FastAPI, which drops its nulls
    for schema in schemas.values():
        for field in schema["properties"].values():
            _move_default_to_text(field)
    for name, field in ((name, field) for name, fields in NULL_FIRST.items() for field in fields):
        alternatives = schemas[name]["properties"][field]["anyOf"]
        alternatives.reverse()
        alternatives[0]["default"] = None
    return dict(sorted(schemas.items()))


def _move_default_to_text(field: OpenApi) -> None:
    """Move a default to the description: generators of TypeScript take a field that has one for required."""
    default = field.pop("default", None)
    if default:
        field["description"] += f"; {json.dumps(default)} if left out"


def _describe_operation(operation: OpenApi, path: str, method: str, schemas: Mapping[str, OpenApi]) -> None:
    """Complete one operation: who may call it, its errors and headers, its examples, its summary."""
    operation["summary"] = _sentence_as_title(operation["description"])
    open_to_all = is_open(path)
    operation["security"] = [] if open_to_all else [{name: []} for name in SECURITY_SCHEMES]
    if not open_to_all:
        operation["x-required-role"] = role = required_role(method.upper(), path)
        operation["description"] += f"\n\nThis takes a key of the role `{role}`."
    for parameter in operation.get("parameters", ()):
        _describe_parameter(parameter)
    _describe_body(operation.get("requestBody", {}), schemas)
    operation_responses = operation["responses"]
    operation_responses.pop("422", None)
    for response in operation_responses.values():
        for content in response.get("content", {}).values():
            _add_example(content, schemas)
        if response["description"] == "Successful Response":
            response["description"] = _response_description(response, schemas)
        response["headers"] = {**header_refs(open_to_all=open_to_all), **response.get("headers", {})}
    for status in sorted(set(error_statuses(path, method))):
        operation_responses[str(status)] = {"$ref": f"#/components/responses/{response_name(status)}"}


def _describe_body(body: OpenApi, schemas: Mapping[str, OpenApi]) -> None:
    """Add a body's examples, and what leaving the body out means, which importers send."""
    for content in body.get("content", {}).values():
        if not body.get("required"):  # null is taken too, but generated clients trip over a body that may be null
            body["description"] = "may be left out, or null: all as usual"
            _drop_null(content["schema"])
            if "$ref" in content["schema"]:
                schemas[content["schema"]["$ref"].removeprefix(SCHEMA_REF)]["default"] = {}
        _add_example(content, schemas)


def _sentence_as_title(description: str) -> str:
    """Return how the description of an operation or a schema begins, as its title."""
    line = description.partition("\n")[0]
    for end in (": ", "; ", "."):
        line = line.partition(end)[0]
    return line


def _response_description(response: OpenApi, schemas: Mapping[str, OpenApi]) -> str:
    """Return the description of a response: the title of the schema that it contains."""
    for content in response.get("content", {}).values():
        schema = content.get("schema", {})
        name = schema.get("items", schema).get("$ref", "").removeprefix(SCHEMA_REF)
        if name in schemas:
            return _sentence_as_title(schemas[name]["description"])
    return "Done"


def _drop_null(schema: OpenApi) -> None:
    """Drop null from the alternatives of an OpenAPI schema, which has one other type."""
    if "anyOf" in schema:
        (value_schema,) = (one for one in schema.pop("anyOf") if one.get("type") != "null")
        schema |= value_schema


def _describe_parameter(parameter: OpenApi) -> None:
    """Put the example at the parameter; nothing in an address or a header can be null."""
    schema = parameter["schema"]
    _drop_null(schema)
    schema.pop("description", None)  # the parameter has it
    if (examples := schema.pop("examples", None)) is not None:
        parameter["example"] = schema["example"] = examples[0]
    if not parameter["required"]:
        _add_default(parameter)


def _add_default(parameter: OpenApi) -> None:
    """Say what a parameter is if it is left out: importers send that, else a placeholder such as <integer>.

    They take the first alternative, here null, for which they send no value. A placeholder may be a text, but no name.
    """
    schema = parameter["schema"]
    if parameter["in"] == "query" and schema["type"] != "array":
        parameter["allowEmptyValue"] = True  # as if it were left out
    if schema["type"] == "array":
        schema["default"] = []
    elif parameter["in"] == "header":
        schema["default"] = ""
    elif "default" not in schema and (schema["type"] != "string" or {"format", "minLength"} & schema.keys()):
        value_schema = {key: schema.pop(key) for key in list(schema) if key != "example"}
        schema["anyOf"] = [{"type": "null", "default": None}, value_schema]


def _add_example(content: OpenApi, schemas: Mapping[str, OpenApi]) -> None:
    """Put the example of a schema at the media type, where importers look for it."""
    schema = content.get("schema", {})
    for one in schema.get("anyOf", (schema,)):
        name = one.get("items", one).get("$ref", "").removeprefix(SCHEMA_REF)
        if example := schemas.get(name, {}).get("example"):
            content.setdefault("example", [example] if one.get("type") == "array" else example)


def _describe_items(openapi_part: Any) -> None:
    """Describe the items of each list: of one with a form for each of its first items, linters miss it."""
    for part in openapi_part if isinstance(openapi_part, list) else ():
        _describe_items(part)
    if isinstance(openapi_part, dict):
        if "prefixItems" in openapi_part:
            openapi_part.setdefault("items", {})
        _describe_items([value for key, value in openapi_part.items() if key != "example"])


def _strip_titles(openapi_part: Any) -> None:
    """Drop the titles that pydantic makes of names: generators name types after them."""
    if isinstance(openapi_part, list):
        for item in openapi_part:
            _strip_titles(item)
    elif isinstance(openapi_part, dict):
        if isinstance(openapi_part.get("title"), str):
            del openapi_part["title"]
        for key, value in openapi_part.items():
            if key != "example":
                _strip_titles(value)
