"""Kept mappings in config.yaml (`imports`): which files each is for, and how these are read."""

import codecs
from collections.abc import Mapping

from triage_cli import domain as dm
from triage_cli.config import validators as valid
from triage_cli.config.key_tables import Field, accepts, mapping, named_schema, record, record_schema, schema_of
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError, kind


@accepts({"anyOf": [{"type": "string", "pattern": r"\S"}, {"type": ["number", "boolean"]}]})
def _column(setting: ConfigNode) -> str:
    """Accept the name of a column as it is written: YAML takes No for a no, and 1 for a number."""
    column = _mapped_column(setting)
    if not column.strip():
        raise ConfigValueError("is empty")
    return column


@accepts({"type": ["string", "number", "boolean", "null"]})
def _mapped_column(setting: ConfigNode) -> str:
    """Accept the name of a column, or nothing for a field that is read from none."""
    if isinstance(setting.value, dict | list):
        raise ConfigValueError(f"must be the name of a column, not {kind(setting.node)}")
    return "" if setting.value is None else setting.node.text


@accepts({"type": "string", "minLength": 1, "maxLength": 9})
def _delimiter(setting: ConfigNode) -> str:
    value = setting.value if isinstance(setting.value, str) else valid.text(setting)
    if dm.delimiter_named(value) is None:
        raise ConfigValueError('must be one character, such as ";", or tab')
    return value


@accepts(schema_of(valid.text))
def _encoding(setting: ConfigNode) -> str:
    encoding = valid.text(setting)
    try:
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)
    except (LookupError, UnicodeError, ValueError) as error:
        raise ConfigValueError(f'"{encoding[:40]}" is no encoding; try utf-8, utf-16, cp1252 or mac-roman') from error
    return encoding


MAP: Mapping[str, Field] = {field: Field(_mapped_column) for field in dm.IMPORT_FIELDS}
IMPORT: Mapping[str, Field] = {
    "columns": Field(valid.several(_column, alone=False, least=1), needed=True),
    "map": Field(mapping(MAP)),
    "source": Field(valid.text_matching(dm.SOURCE_NAME, f"must have {dm.SOURCE_RULE}")),
    "html": Field(valid.truth),
    "format": Field(valid.one_of(*dm.TABLE_FORMATS)),
    "delimiter": Field(_delimiter),
    "encoding": Field(_encoding),
}


@accepts(lambda: named_schema(record_schema(IMPORT)))
def read_imports(setting: ConfigNode) -> dict[str, dm.KeptMapping]:
    """Return the kept mappings by name; mistakes go to the diagnostics."""
    kept_mappings: dict[str, dm.KeptMapping] = {}
    for name, entry in valid.named_entries(setting).items():
        values = record(entry, IMPORT, f"imports.{name}")
        if columns := values.pop("columns", ()):
            mapping = values.pop("map", {})
            kept_mappings[name] = dm.KeptMapping(name, columns, mapping, **values)
    return kept_mappings
