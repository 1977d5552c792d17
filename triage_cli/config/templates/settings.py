"""Settings of config.yaml that may hold templates: texts, mappings of texts, and trees.

The templates themselves are checked when destinations are opened or checked, since most commands send nothing. Only
their lines are recorded here.
"""

from collections.abc import Callable
from typing import Any

from triage_cli.config.json_schema import accepts, schema_of
from triage_cli.config.validators import text
from triage_cli.config.yaml_document import Check, ConfigNode, ConfigValueError, UnsupportedScalar, quote_advice


def with_origin(setting: ConfigNode, template: str) -> str:
    """Return a template and record its line, for mistakes in templates that are found later."""
    if "{" in template:
        setting.origin(setting.path)
    return template


@accepts({"type": ["string", "number", "boolean"]})
def template_text(setting: ConfigNode) -> str:
    """Accept a template, or a number or true or false as it was written."""
    if isinstance(setting.value, bool | int | float):
        return setting.node.text
    return with_origin(setting, text(setting))


def named_templates(check_name: Callable[[ConfigNode, str], None] = lambda _setting, _name: None) -> Check:
    """Accept a mapping of names to templates; `check_name` reports names that are not allowed."""

    @accepts({"type": "object", "additionalProperties": schema_of(template_text)})
    def read_named_templates(setting: ConfigNode) -> dict[str, str]:
        templates = {}
        for name, template_setting in setting.entries().items():
            check_name(template_setting, name)
            if (template := template_setting.read(template_text)) is not None:
                templates[name] = template
        return templates

    return read_named_templates


@accepts({})
def template_tree(setting: ConfigNode) -> Any:
    """Accept any YAML whose string leaves are templates."""
    if isinstance(setting.value, dict):
        return {key: inner.read(template_tree) for key, inner in setting.entries().items()}
    if isinstance(setting.value, list):
        return [inner.read(template_tree) for inner in setting.items()]
    if isinstance(setting.value, UnsupportedScalar):
        raise ConfigValueError(quote_advice(setting.node))
    return with_origin(setting, setting.value) if isinstance(setting.value, str) else setting.value
