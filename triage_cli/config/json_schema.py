"""A JSON Schema of the configuration, made from its tables: each check has a schema of the values that it accepts.

Written for JSON Schema 2020-12, https://json-schema.org/draft/2020-12.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from triage_cli.config.yaml_document import Check

Schema = Mapping[str, Any]
# A table as `key_tables.record` reads it: for each key its check, the types that have it, and whether it is required.
KeyTable = Mapping[str, tuple[Check, tuple[str, ...], bool]]
C = TypeVar("C", bound=Check)
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# What `validators.no_name` accepts, except for invisible characters.
NAME_SCHEMA = {
    "type": "string",
    "maxLength": 80,
    "pattern": r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$",
}

_SCHEMAS: dict[Check, Callable[[], Schema]] = {}


def accepts(schema: Schema | Callable[[], Schema]) -> Callable[[C], C]:
    """Attach the schema of the accepted values to a check; a function is called once all tables are defined."""

    def attach(check: C) -> C:
        _SCHEMAS[check] = schema if callable(schema) else lambda: schema
        return check

    return attach


def schema_of(check: Check) -> Schema:
    """Return the schema of what a check accepts."""
    return _SCHEMAS[check]()


def or_null(schema: Schema) -> Schema:
    """Return the schema of a value that may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def record_schema(key_table: KeyTable) -> dict[str, Any]:
    """Return the schema of a mapping that is read by a table: which keys it takes and needs, for each type."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: schema_of(check) for key, (check, _, _) in key_table.items()},
        "additionalProperties": False,
    }
    if required_keys := [key for key, (_, types, needed) in key_table.items() if needed and not types]:
        schema["required"] = required_keys
    type_names = schema_of(key_table["type"][0])["enum"] if "type" in key_table else ()
    if conditions := [condition for type_name in type_names if (condition := _type_conditions(key_table, type_name))]:
        schema["allOf"] = conditions
    return schema


def _type_conditions(key_table: KeyTable, type_name: str) -> Schema:
    """Return the conditions for records of one type only; empty if there are none."""
    excluded_keys = [key for key, (_, types, _) in key_table.items() if types and type_name not in types]
    required_keys = [key for key, (_, types, needed) in key_table.items() if needed and type_name in types]
    if not excluded_keys and not required_keys:
        return {}
    return {
        "if": {"properties": {"type": {"const": type_name}}, "required": ["type"]},
        "then": {"properties": dict.fromkeys(excluded_keys, False), "required": required_keys},
    }


def named_schema(entry_schema: Schema, name_schemas: Iterable[Schema] = ()) -> Schema:
    """Return the schema of a section whose keys are names."""
    return {
        "type": "object",
        "propertyNames": {"allOf": [NAME_SCHEMA, *name_schemas]},
        "additionalProperties": entry_schema,
    }
