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
from triage_cli.api.openapi_errors import ERROR_RESPONSES, HEADERS, error_statuses, header_refs, response_name
from triage_cli.api.schemas import bulk, responses

Schema = dict[str, Any]

SERVERS = [{"url": "http://127.0.0.1:8000", "description": "the default address of `triage serve`"}]
CONTACT = {"name": "The triage project"}
LICENSE = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
SECURITY = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "made by `triage keys create`"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "the same key as a bearer token"},
}
TAGS = {
    "tickets": "One ticket: store it, classify it, route it, set its verdict.",
    "bulk": "Many tickets in one request: the answer has one line for each.",
    "reads": "Tickets, their history and explanation, the audit log, counts.",
    "consultation": "Questions whose answers change no ticket, and what agents suggest.",
    "webhooks": "Events of helpdesks, signed by their sender.",
    "administration": "API keys, erasure, the record of runs, proof of the audit log.",
    "operations": "Liveness, readiness and metrics.",
}
EXAMPLES = Path(__file__).with_name("openapi_examples.json")
# Fields of which importers are to send null: they take the first alternative, and its default or a made-up text.
NULL_FIRST = (
    ("ClassifyTextIn", "classifier"),
    ("ClassifyTextIn", "max_cost"),
    ("KeyIn", "expires_in"),
    ("VerdictIn", "category"),
)
REF = "#/components/schemas/"


def openapi_method(app: FastAPI) -> Callable[[], Schema]:
    """Return the app's `openapi` method."""

    def describe() -> Schema:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    return describe


def _described(app: FastAPI) -> Schema:
    description = get_openapi(
        title=app.title,
        version=app.version,
        summary="Support tickets in, decisions out.",
        description=app.description,
        routes=app.routes,
        servers=SERVERS,
        contact=CONTACT,
        license_info=LICENSE,
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
    )
    components = description.setdefault("components", {})
    schemas = components["schemas"] = _schemas(components.get("schemas", {}))
    components |= {"securitySchemes": SECURITY, "headers": HEADERS, "responses": ERROR_RESPONSES}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            _describe_operation(operation, path, method, schemas)
    _strip_titles(description["paths"])
    _strip_titles(schemas)
    return description


def _schemas(derived: Schema) -> Schema:
    """Return the schemas with those that FastAPI does not derive, and with examples."""
    for model in (responses.Problem, bulk.Line):
        made = model.model_json_schema(ref_template=REF + "{model}")
        derived |= {**made.pop("$defs", {}), model.__name__: made}
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's schemas of a 422, which is never sent
        derived.pop(name, None)
    for name, example in json.loads(EXAMPLES.read_text(encoding="utf-8")).items():
        derived[name]["example"] = example  # not through FastAPI, which drops its nulls
    for schema in derived.values():
        for field in schema["properties"].values():
            _default_in_words(field)
    for name, field in NULL_FIRST:
        alternatives = derived[name]["properties"][field]["anyOf"]
        alternatives.reverse()
        alternatives[0]["default"] = None
    return dict(sorted(derived.items()))


def _default_in_words(field: Schema) -> None:
    """Move a default to the description: generators of TypeScript take a field that has one for required."""
    default = field.pop("default", None)
    if default:
        field["description"] += f"; {json.dumps(default)} if left out"


def _describe_operation(operation: Schema, path: str, method: str, schemas: Mapping[str, Schema]) -> None:
    """Complete one operation: who may call it, its errors and headers, its examples, its summary."""
    operation["summary"] = _title(operation["description"])
    open_to_all = is_open(path)
    operation["security"] = [] if open_to_all else [{name: []} for name in SECURITY]
    if not open_to_all:
        operation["x-required-role"] = role = required_role(method.upper(), path)
        operation["description"] += f"\n\nThis takes a key of the role `{role}`."
    for parameter in operation.get("parameters", ()):
        _describe_parameter(parameter)
    _describe_body(operation.get("requestBody", {}), schemas)
    answers = operation["responses"]
    answers.pop("422", None)
    for answer in answers.values():
        for content in answer.get("content", {}).values():
            _add_example(content, schemas)
        if answer["description"] == "Successful Response":
            answer["description"] = _described_by(answer, schemas)
        answer["headers"] = {**header_refs(open_to_all=open_to_all), **answer.get("headers", {})}
    for status in sorted(set(error_statuses(path, method))):
        answers[str(status)] = {"$ref": f"#/components/responses/{response_name(status)}"}


def _describe_body(body: Schema, schemas: Mapping[str, Schema]) -> None:
    """Add examples, and what leaving the body out means, which importers send."""
    for content in body.get("content", {}).values():
        if not body.get("required"):  # null is taken too, but generated clients trip over a body that may be null
            body["description"] = "may be left out, or null: all as usual"
            _drop_null(content["schema"])
            schemas[content["schema"]["$ref"].removeprefix(REF)]["default"] = {}
        _add_example(content, schemas)


def _title(description: str) -> str:
    """Return how a description begins, as a title."""
    line = description.partition("\n")[0]
    for end in (": ", "; ", "."):
        line = line.partition(end)[0]
    return line


def _described_by(answer: Schema, schemas: Mapping[str, Schema]) -> str:
    """Return the description of what a response contains."""
    for content in answer.get("content", {}).values():
        schema = content.get("schema", {})
        name = schema.get("items", schema).get("$ref", "").removeprefix(REF)
        if name in schemas:
            return _title(schemas[name]["description"])
    return "Done"


def _drop_null(schema: Schema) -> None:
    """Leave the only type of a schema that is not null."""
    if "anyOf" in schema:
        (kind,) = (one for one in schema.pop("anyOf") if one.get("type") != "null")
        schema |= kind


def _describe_parameter(parameter: Schema) -> None:
    """Put the example at the parameter; nothing in an address or a header can be null."""
    schema = parameter["schema"]
    _drop_null(schema)
    schema.pop("description", None)  # the parameter has it
    if (examples := schema.pop("examples", None)) is not None:
        parameter["example"] = schema["example"] = examples[0]
    if not parameter["required"]:
        _add_default(parameter)


def _add_default(parameter: Schema) -> None:
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
        kind = {key: schema.pop(key) for key in list(schema) if key != "example"}
        schema["anyOf"] = [{"type": "null", "default": None}, kind]


def _add_example(content: Schema, schemas: Mapping[str, Schema]) -> None:
    """Put the example of a schema at the media type."""
    schema = content.get("schema", {})
    for one in schema.get("anyOf", (schema,)):
        name = one.get("items", one).get("$ref", "").removeprefix(REF)
        if example := schemas.get(name, {}).get("example"):
            content.setdefault("example", [example] if one.get("type") == "array" else example)


def _strip_titles(part: Any) -> None:
    """Drop the titles that pydantic makes of names: generators name types after them."""
    if isinstance(part, list):
        for item in part:
            _strip_titles(item)
    elif isinstance(part, dict):
        if isinstance(part.get("title"), str):
            del part["title"]
        for key, value in part.items():
            if key != "example":
                _strip_titles(value)
