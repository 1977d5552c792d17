"""The description of operations, from the types of their methods: schemas, and an example that fits each."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from starlette.responses import JSONResponse

from triage_cli import domain as dm
from triage_cli.extensions.server.dependencies import JSON
from triage_cli.extensions.server.ndjson import NdjsonResponse
from triage_cli.extensions.server.schemas.bulk import lines_of
from triage_cli.ports import Operation

ERROR_SCHEMA = {"type": "object", "properties": {key: {"type": "string"} for key in ("code", "message", "hint")}}
MOMENT = "2026-11-23T08:00:00.000Z"
LIMIT_KEYS = {"array": ("minItems", "maxItems"), "string": ("minLength", "maxLength")}
# The schema and an example of each plain type.
PLAIN: Mapping[Any, tuple[Mapping[str, Any], Any]] = {
    Any: ({}, {}),
    str: ({"type": "string"}, "text"),
    int: ({"type": "integer"}, 3),
    float: ({"type": "number"}, 0.5),
    bool: ({"type": "boolean"}, False),
    timedelta: ({"type": "number", "description": "seconds"}, 604_800.0),
    datetime: ({"type": "string", "format": "date-time"}, MOMENT),
    dm.TriageError: (ERROR_SCHEMA, {"code": "unavailable", "message": "the provider is down", "hint": "try again"}),
    **dict.fromkeys((NoneType, object, bytes), ({"type": "null"}, None)),
}
# Types of fields that stay at home. Generated clients need not know them: in Go a property that is null has no type.
NEVER_SENT = (object, bytes)
# The schemas of the records that operations take and answer, by name.
RECORDS: dict[str, dict[str, Any]] = {}


def described_operation(operation: Operation) -> dict[str, Any]:
    """Return what tells FastAPI how an operation is described."""
    defaults = {name: None for name in operation.hints if name not in operation.required}
    arguments = _object_schema(operation.hints, defaults)
    sent = {name: sample_of(hint) for name, hint in operation.hints.items() if name in operation.required}
    body = {"schema": arguments, "example": sent}
    return {
        "description": operation.description,
        "openapi_extra": {"requestBody": {"required": bool(operation.required), "content": {JSON: body}}},
        "responses": {200: _described_lines(operation) if operation.answers_lines else _described_answer(operation)},
        "status_code": 200,
        "response_class": NdjsonResponse if operation.answers_lines else JSONResponse,
    }


def _described_lines(operation: Operation) -> dict[str, Any]:
    value = {"type": "object", "properties": {"value": schema_of(operation.value)}, "required": ["value"]}
    example = (
        dm.compact({"value": {"row": 0, "action": "unchanged"}}) + '\n{"end": {"unchanged": 1}, "cost_usd": 0.0}\n'
    )
    return {"description": "A value a line; the last line is `end` or `problem`", "content": lines_of(value, example)}


def _described_answer(operation: Operation) -> dict[str, Any]:
    answer = {
        "result": schema_of(operation.result),
        "warnings": {"type": "array", "items": {"type": "string"}, "description": "for whoever asked"},
        "cost_usd": {"type": "number", "description": "what it has cost"},
    }
    received = {"result": sample_of(operation.result), "warnings": [], "cost_usd": 0.0}
    if operation.result is NoneType:
        del answer["result"], received["result"]
    answered = {"type": "object", "properties": answer, "required": [*answer]}
    return {"description": "What it returns", "content": {JSON: {"schema": answered, "example": received}}}


def schema_of(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type, as `domain.wire_values` reads and writes its values."""
    record = get_origin(hint) or hint
    if dm.is_record(record):
        return _reference("Of".join(each.__name__ for each in (record, *get_args(hint))), hint, record)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [each.value for each in hint]}
    make, arguments = GENERIC.get(get_origin(hint)), get_args(hint)
    return dict(PLAIN[hint][0]) if make is None else make(arguments)


def _reference(name: str, hint: Any, record: Any) -> dict[str, Any]:
    """Return a reference to the schema of a record, which is described once."""
    name += "Record"  # schemas of the same name are those of other answers
    if name not in RECORDS:
        RECORDS[name] = {}  # while its fields are looked at
        schema = _object_schema(dm.record_hints(hint), record._field_defaults)
        RECORDS[name] = schema | {"description": inspect.getdoc(record)}
    return {"$ref": f"#/components/schemas/{name}"}


def _list_schema(arguments: Sequence[Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema_of(arguments[0])}


def _tuple_schema(arguments: Sequence[Any]) -> dict[str, Any]:
    if ... in arguments:
        return _list_schema(arguments)
    items = [schema_of(each) for each in arguments]
    return {"type": "array", "prefixItems": items, "items": {}, "minItems": len(items), "maxItems": len(items)}


def _optional_schema(arguments: Sequence[Any]) -> dict[str, Any]:
    schema, null = map(schema_of, arguments)
    return schema | {"type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, null]}


def _limited_schema(arguments: Sequence[Any]) -> dict[str, Any]:
    schema = schema_of(arguments[0])
    for check in arguments[1:]:
        if isinstance(check, dm.Limits):
            least, most = LIMIT_KEYS.get(schema["type"], ("minimum", "maximum"))
            schema |= {least: check.least, most: check.most}
        if isinstance(check, dm.Pattern):
            schema |= {"pattern": f"^{check.expression}$"}
    return schema


GENERIC: Mapping[Any, Callable[[Sequence[Any]], dict[str, Any]]] = {
    Annotated: _limited_schema,
    **dict.fromkeys(dm.UNIONS, _optional_schema),
    **dict.fromkeys((*dm.LISTS, frozenset), _list_schema),
    **dict.fromkeys(dm.MAPPINGS, lambda arguments: {"type": "object", "additionalProperties": schema_of(arguments[1])}),
    tuple: _tuple_schema,
    Literal: lambda arguments: {"enum": list(arguments)},
}


def _object_schema(hints: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    sent = {name: hint for name, hint in hints.items() if hint not in NEVER_SENT}
    properties = {name: schema_of(hint) for name, hint in sent.items()}
    return {"type": "object", "properties": properties, "required": [name for name in sent if name not in defaults]}


def sample_of(hint: Any) -> Any:
    """Return a value of a type as JSON has it, with what must be there; FastAPI drops nulls, so it has none."""
    origin, arguments = get_origin(hint), get_args(hint)
    if dm.is_record(hint):
        hints = dm.record_hints(hint)
        return {name: sample_of(each) for name, each in hints.items() if name not in hint._field_defaults}
    if origin in dm.MAPPINGS:
        return {}
    if origin in (*dm.LISTS, frozenset):
        return [sample_of(each) for each in arguments if each is not ...]
    if origin is Literal:
        return arguments[0]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint)).value
    sample = PLAIN[hint][1] if origin is None else sample_of(arguments[0])
    least = next((int(each.least) for each in arguments[1:] if isinstance(each, dm.Limits)), 0)
    return sample.ljust(least, ".") if isinstance(sample, str) else sample
