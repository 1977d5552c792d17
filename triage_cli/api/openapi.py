"""The OpenAPI 3.1 description: what FastAPI derives, with the security and error responses added."""

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from triage_cli.api.middleware import OPEN, SIGNED
from triage_cli.api.problems import MEDIA_TYPE
from triage_cli.api.schemas import bulk
from triage_cli.api.schemas import responses as response_schemas

KEYS = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "made by `triage keys create`"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "the same key as a bearer token"},
}
PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
# Error statuses of single operations, besides the common ones.
SPECIAL = {
    "/tickets/{ticket_id}/classify": (402, 502),
    "/tickets/{ticket_id}/route": (400, 502),
    "/classify": (404,),
    "/route": (404,),
    "/reclassify": (404,),
    "/ready": (500, 503),
}


def openapi_method(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return the app's `openapi` method."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    return describe


def _described(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        license_info={"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        tags=app.openapi_tags,
    )
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = response_schemas.Problem.model_json_schema()
    for name, schema in _line_schemas().items():
        schemas.setdefault(name, schema)
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's schema of a 422, which is never sent
        schemas.pop(name, None)
    found["components"]["securitySchemes"] = KEYS
    for path, operations in found["paths"].items():
        open_to_all = path in OPEN or path.startswith(SIGNED)
        for method, operation in operations.items():
            operation["security"] = [] if open_to_all else [{name: []} for name in KEYS]
            responses = operation["responses"]
            responses.pop("422", None)
            for status in sorted(set(_refusals(path, method))):
                responses[str(status)] = {"description": HTTPStatus(status).phrase, **PROBLEM}
    return found


def _line_schemas() -> dict[str, Any]:
    """Return the schemas of a streamed response's lines; FastAPI describes only single JSON values."""
    made = bulk.Line.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**made.pop("$defs", {}), "Line": made}


def _refusals(path: str, method: str) -> Iterator[int]:
    """Yield the error statuses of an operation."""
    yield from SPECIAL.get(path, ())
    if path in OPEN:
        return
    yield from (401, 422, 503)
    if not path.startswith(SIGNED):
        yield from (403, 429)
    if "{" in path or (path, method) == ("/tickets", "get"):  # a ticket is named
        yield from (404, 409)
    if method == "post":
        yield from (408, 409, 413, 415)
