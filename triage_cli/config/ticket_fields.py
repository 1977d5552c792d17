"""The paths in an event or item for the fields of a ticket."""

from collections.abc import Mapping

from triage_cli.config.json_schema import accepts, record_schema
from triage_cli.config.validators import Field, record, several, text
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError

FIELDS: Mapping[str, Field] = {
    field: Field(several(text, least=1, most=10))
    for field in ("subject", "description", "customer_id", "priority", "created_at", "updated_at", "external_id")
}


@accepts(lambda: {**record_schema(FIELDS), "anyOf": [{"required": ["subject"]}, {"required": ["description"]}]})
def ticket_fields(setting: ConfigNode) -> dict[str, tuple[str, ...]]:
    """Accept the paths of a ticket's fields. Raises `ConfigValueError` if there is none for subject or description."""
    values = record(setting, FIELDS, setting.path)
    if not {"subject", "description"} & values.keys():
        raise ConfigValueError("needs subject or description, since a ticket must have a text")
    return values
