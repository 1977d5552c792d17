"""The fields of config.yaml, which patterns find in the texts of tickets."""

from triage_cli.config.key_tables import Schema, accepts, named_schema, schema_of
from triage_cli.config.rule_conditions import pattern
from triage_cli.config.validators import named_entries
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError

MOST_FIELDS = 50
# Columns of `extra` that triage itself writes.
OWN_COLUMNS = ("mail", "thread", "updated_at")


def _fields_schema() -> Schema:
    return {**named_schema(schema_of(pattern)), "maxProperties": MOST_FIELDS}


@accepts(_fields_schema)
def read_fields(setting: ConfigNode) -> dict[str, str]:
    """Return the pattern of each field by its name."""
    from triage_cli.domain import TICKET_KEYS

    entries = named_entries(setting)
    if len(entries) > MOST_FIELDS:
        raise ConfigValueError(f"holds more than {MOST_FIELDS} fields")
    patterns = {}
    for name, entry in entries.items():
        if name in OWN_COLUMNS or name in TICKET_KEYS:
            entry.wrong("is the name of what a ticket has already; give the field another name")
        elif found := entry.read(pattern):
            patterns[name] = found
        entry.origin(f"fields.{name}")
    return patterns
