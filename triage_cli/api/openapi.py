"""The OpenAPI 3.1 description: what FastAPI derives, with what generators, importers and readers need beside it.

Security and roles, the headers and errors of each response, sentences, examples. An example stands at its media type or
parameter and in its schema too, since importers look in either place; together they are a session that works.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from triage_cli.api.auth import is_open, required_role
from triage_cli.api.openapi_errors import (
    ERROR_RESPONSES,
    RESPONSE_HEADERS,
    OpenApi,
    error_statuses,
    header_refs,
    response_name,
)
from triage_cli.api.schemas import bulk as outcome_schemas
from triage_cli.api.schemas import shared_fields as problem_schemas
from triage_cli.api.schemas import tickets as ticket_schemas

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
    "webhooks": "Events of helpdesks, signed by their sender.",
    "administration": "API keys, erasure, the record of runs, proof of the audit log.",
    "operations": "Liveness, readiness and metrics.",
}
EXAMPLES_FILE = Path(__file__).with_name("openapi_examples.json")
# Fields of which importers are to send null: they take the first alternative, and its default or a made-up text.
NULL_FIRST = (
    ("ClassifyTextIn", "classifier"),
    ("ClassifyTextIn", "max_cost"),
    ("KeyIn", "expires_in"),
    ("VerdictIn", "category"),
)
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
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            _describe_operation(operation, path, method, schemas)
    _strip_titles(description["paths"])
    _strip_titles(schemas)
    return description


def _schemas(schemas: OpenApi) -> OpenApi:
    """Return FastAPI's schemas with those that it does not derive, and with examples."""
    for model in (problem_schemas.Problem, outcome_schemas.Line, ticket_schemas.ChangedProblem):
        schema = model.model_json_schema(ref_template=SCHEMA_REF + "{model}")
        schemas |= {**schema.pop("$defs", {}), model.__name__: schema}
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's schemas of a 422, which is never sent
        schemas.pop(name, None)
    for name, example in json.loads(EXAMPLES_FILE.read_text(encoding="utf-8")).items():
        schemas[name]["example"] = example  # not through FastAPI, which drops its nulls
    for schema in schemas.values():
        for field in schema["properties"].values():
            _move_default_to_text(field)
    for name, field in NULL_FIRST:
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
