"""A JSON Schema of the configuration, made from its tables: each check has a schema of the values that it accepts.

Written for JSON Schema 2020-12, https://json-schema.org/draft/2020-12.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from triage_cli.config.yaml_document import Check

Schema = Mapping[str, Any]
# A table as `validators.record` reads it: for each key its check, the types that have it, and whether it is required.
Table = Mapping[str, tuple[Check, tuple[str, ...], bool]]
C = TypeVar("C", bound=Check)
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# What `validators.no_name` accepts, except for invisible characters.
NAME = {"type": "string", "maxLength": 80, "pattern": r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$"}

_SCHEMAS: dict[Check, Callable[[], Schema]] = {}


def accepts(schema: Schema | Callable[[], Schema]) -> Callable[[C], C]:
    """Attach the schema of the accepted values to a check; a function is called once all tables are defined."""

    def note(check: C) -> C:
        _SCHEMAS[check] = schema if callable(schema) else lambda: schema
        return check

    return note


def schema_of(check: Check) -> Schema:
    """Return the schema of what a check accepts."""
    return _SCHEMAS[check]()


def or_null(schema: Schema) -> Schema:
    """Return the schema of a value that may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def record_schema(table: Table) -> dict[str, Any]:
    """Return the schema of a mapping that is read by a table: which keys it takes and needs, for each type."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: schema_of(check) for key, (check, _, _) in table.items()},
        "additionalProperties": False,
    }
    if required := [key for key, (_, types, needed) in table.items() if needed and not types]:
        schema["required"] = required
    kinds = schema_of(table["type"][0])["enum"] if "type" in table else ()
    if conditions := [condition for kind in kinds if (condition := _of_kind(table, kind))]:
        schema["allOf"] = conditions
    return schema


def _of_kind(table: Table, kind: str) -> Schema:
    """Return the conditions for records of one type only; empty if there are none."""
    others = [key for key, (_, types, _) in table.items() if types and kind not in types]
    needed = [key for key, (_, types, needed) in table.items() if needed and kind in types]
    if not others and not needed:
        return {}
    return {
        "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
        "then": {"properties": dict.fromkeys(others, False), "required": needed},
    }


def named_schema(inner: Schema, names: Iterable[Schema] = ()) -> Schema:
    """Return the schema of a section whose keys are names."""
    return {"type": "object", "propertyNames": {"allOf": [NAME, *names]}, "additionalProperties": inner}
