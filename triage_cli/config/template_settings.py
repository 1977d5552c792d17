"""Settings of config.yaml that may hold templates: texts, mappings of texts, trees, addresses and their endpoints.

The templates themselves are checked when destinations are opened or checked, since most commands send nothing. Only
their lines are recorded here.
"""

import re
from collections.abc import Callable
from typing import Any

from triage_cli.config import validators as valid
from triage_cli.config.key_tables import accepts, schema_of
from triage_cli.config.yaml_document import Check, ConfigNode, ConfigValueError, UnsupportedScalar, quote_advice
from triage_cli.runtime import is_loopback


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
    return with_origin(setting, valid.text(setting))


def named_templates(check_name: Callable[[ConfigNode, str], None] = lambda _setting, _name: None) -> Check:
    """Accept a mapping of names to templates; `check_name` reports names that are not allowed."""

    @accepts({"type": "object", "additionalProperties": schema_of(template_text)})
    def read_named_templates(setting: ConfigNode) -> dict[str, str]:
        templates = {}
        for name, inner in setting.entries().items():
            check_name(inner, name)
            if (template := inner.read(template_text)) is not None:
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


# What a template has in place of literal text.
EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_ADDRESS_SCHEMA = {"type": "string", "pattern": r"^[hH][tT][tT][pP][sS]?://[^\s/?#@\\{]+([/?][^#]*)?$"}
_ENDPOINT_SCHEMA = {"type": "string", "pattern": r"^/"}
_HIGHER_SCHEMA = {"type": "string", "pattern": r"^\.\./"}


@accepts(_ADDRESS_SCHEMA)
def address(setting: ConfigNode) -> str:
    """Accept an address with a literal scheme and host; its path and query may hold templates."""
    template = valid.text(setting)
    if objection := no_address(template):
        raise ConfigValueError(objection)
    return with_origin(setting, template)


def no_address(template: str) -> str:
    """Return why an address with templates is invalid, else an empty text. It is not repeated: it may be a secret."""
    scheme_and_host = re.match(r"[^/]*//[^/?#]*", template)
    if scheme_and_host and EXPRESSION.search(scheme_and_host[0] + "}}"):
        return "holds a template in its host; scheme and host must stand as they are"
    without_templates = EXPRESSION.sub("x", template)
    if objection := valid.no_url(without_templates):
        return objection
    from urllib.parse import urlsplit

    parts = urlsplit(without_templates)
    if "#" in without_templates:
        return "holds a #, and what follows that is never sent"
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return "must begin with https://, since http:// is for this machine alone (127.0.0.1, localhost)"
    return ""


@accepts(_ENDPOINT_SCHEMA)
def endpoint_template(setting: ConfigNode) -> str:
    """Accept an endpoint: the rest of an address, after the `url` of its destination or source."""
    template = valid.text(setting)
    if not template.startswith("/") or re.search(r"[\s#\\]", EXPRESSION.sub("x", template)):
        raise ConfigValueError("must begin with / and hold no blank, since it follows the url")
    return with_origin(setting, template)


@accepts({"anyOf": [_ADDRESS_SCHEMA, _ENDPOINT_SCHEMA, _HIGHER_SCHEMA]})
def address_or_endpoint(setting: ConfigNode) -> str:
    """Accept an address, or the rest of one after the destination's `url`; each leading ../ removes a part of that."""
    template = valid.text(setting)
    if not template.startswith(("/", "../")):
        return address(setting)
    endpoint_template(setting._replace(node=setting.node._replace(value="/" + re.sub(r"^(\.\./)+", "", template))))
    return template
