"""Tables of the keys that a mapping of config.yaml may have, the reading of a mapping by its table, and its schema.

Each check has a JSON Schema of the values that it accepts, by JSON Schema 2020-12 (https://json-schema.org).
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from triage_cli.config.yaml_document import Check, ConfigNode


class Field(NamedTuple):
    """A key of a record: its check, the types of record that have it (none: all), and whether it is required."""

    check: Check
    types: tuple[str, ...] = ()
    needed: bool = False


Schema = Mapping[str, Any]
C = TypeVar("C", bound=Check)
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# What `validators.no_name` accepts, except for invisible characters.
NAME_SCHEMA = {
    "type": "string",
    "maxLength": 80,
    "pattern": r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$",
}
_SCHEMAS: dict[Check, Callable[[], Schema]] = {}
# A key that is named like a secret.
_SECRET_KEY = re.compile(
    r"(?i)(.*[_-])?(api_?key|key|secrets?|token|password|passwd|passphrase|credentials?|authorization)"
)
# The result of a check that has found a mistake.
WRONG = object()


def record(
    setting: ConfigNode,
    table: Mapping[str, Field],
    prefix: str,
    *,
    instead: str = "",
    misplaced: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Read a mapping by the table of its keys; `prefix` is the key under which its values' origins are recorded.

    `instead` is the key for the name of a secret's variable, for the hint if somebody wrote the secret itself, and
    `misplaced` has messages about keys that belong elsewhere. Mistakes go to the diagnostics; the result has the keys
    without a mistake.
    """
    entries = setting.read(ConfigNode.entries, {})
    values: dict[str, Any] = {}
    kind = entries["type"].read(table["type"].check) if "type" in table and "type" in entries else None
    for key, inner in entries.items():
        if (field := table.get(key)) is None:
            inner.wrong(misplaced.get(key) or unknown_key(key, table, instead))
        elif kind and field.types and kind not in field.types:
            inner.wrong(f'means nothing to type "{kind}" (only to {listed(field.types)}); remove it')
        elif key == "type":
            values["type"] = kind
        elif (value := inner.read(field.check, WRONG)) is not WRONG:
            values[key] = value
        inner.origin(f"{prefix}.{key}" if prefix else key)
    for key, field in table.items():
        is_required = field.needed and (not field.types or kind in field.types)
        if is_required and key not in entries and isinstance(setting.value, dict):
            setting.wrong(f"{key} is missing")
    return values


def keys_of(record_type: type[tuple[Any, ...]]) -> Mapping[str, Field]:
    """Return the table of a record whose fields are annotated with their checks."""
    notes = {name: getattr(kind, "__metadata__", ()) for name, kind in record_type.__annotations__.items()}
    return {name: noted[0] for name, noted in notes.items() if noted}


def mapping(table: Mapping[str, Field]) -> Check:
    """Accept a mapping with the keys of a table."""
    return accepts(lambda: record_schema(table))(lambda setting: record(setting, table, setting.path))


def as_record(record_type: type[tuple[Any, ...]], instead: str = "") -> Check:
    """Accept a mapping with the keys of a record, and make that; a required key that is missing was reported.

    `instead` is as in `record`.
    """
    table = keys_of(record_type)
    missing = {key: "" for key, field in table.items() if field.needed}

    @accepts(lambda: record_schema(table))
    def read(setting: ConfigNode) -> Any:
        return record_type(**missing | record(setting, table, setting.path, instead=instead))

    return read


def unknown_key(key: str, known_keys: Collection[str], instead: str) -> str:
    """Return the message about a key that is in no table, or that seems to hold a secret itself."""
    if _SECRET_KEY.fullmatch(key) and not suggestion(key, known_keys, 0.9):
        instruction = f" and name the variable in {instead}" if instead else ""
        return f"secrets do not belong in this file; put it into the environment{instruction}"
    return f"unknown key{suggestion(key, known_keys) or '; known are ' + ', '.join(known_keys)}"


def suggestion(word: str, known: Collection[str], cutoff: float = 0.6) -> str:
    """Return a clause that suggests the most similar known key or name, or an empty text."""
    import difflib

    lower = {key.lower(): key for key in known}
    longer = [key for key in lower if key.startswith(f"{word.lower()}.")]  # as extra.COLUMN for extra
    nearest = longer or difflib.get_close_matches(word.lower(), lower, 1, cutoff)
    return f'; did you mean "{lower[nearest[0]]}"?' if nearest else ""


def listed(items: Collection[str]) -> str:
    """Join keys or choices with commas, and the last one with "or"."""
    *most, last = items
    return f"{', '.join(most)} or {last}" if most else last


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


def record_schema(table: Mapping[str, Field]) -> dict[str, Any]:
    """Return the schema of a mapping that is read by a table: which keys it takes and needs, for each type."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: schema_of(check) for key, (check, _, _) in table.items()},
        "additionalProperties": False,
    }
    if required_keys := [key for key, (_, types, needed) in table.items() if needed and not types]:
        schema["required"] = required_keys
    type_names = schema_of(table["type"][0])["enum"] if "type" in table else ()
    if conditions := [condition for kind in type_names if (condition := _type_conditions(table, kind))]:
        schema["allOf"] = conditions
    return schema


def _type_conditions(table: Mapping[str, Field], kind: str) -> Schema:
    """Return the conditions for records of one type only; empty if there are none."""
    excluded_keys = [key for key, (_, types, _) in table.items() if types and kind not in types]
    required_keys = [key for key, (_, types, needed) in table.items() if needed and kind in types]
    if not excluded_keys and not required_keys:
        return {}
    return {
        "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
        "then": {"properties": dict.fromkeys(excluded_keys, False), "required": required_keys},
    }


def named_schema(entry_schema: Schema, name_schemas: Iterable[Schema] = ()) -> Schema:
    """Return the schema of a section whose keys are names."""
    return {
        "type": "object",
        "propertyNames": {"allOf": [NAME_SCHEMA, *name_schemas]},
        "additionalProperties": entry_schema,
    }
