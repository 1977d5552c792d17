"""Checks of addresses, texts and trees of the configuration that may hold templates.

The templates themselves are checked when destinations are opened or checked, since most commands send nothing. Only
their lines are recorded here.
"""

import re
from collections.abc import Callable
from typing import Any

from triage_cli.config.json_schema import accepts, schema_of
from triage_cli.config.validators import no_url, text
from triage_cli.config.yaml_document import Check, ConfigNode, ConfigValueError, UnsupportedScalar, kind
from triage_cli.runtime.network import is_loopback

EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_ADDRESS = {"type": "string", "pattern": r"^[hH][tT][tT][pP][sS]?://[^\s/?#@\\{]+([/?][^#]*)?$"}
_ENDPOINT = {"type": "string", "pattern": r"^/"}
_HIGHER = {"type": "string", "pattern": r"^\.\./"}

# Addresses


@accepts(_ADDRESS)
def address(setting: ConfigNode) -> str:
    """Accept an address with a literal scheme and host; its path and query may hold templates."""
    template = text(setting)
    if objection := no_address(template):
        raise ConfigValueError(objection)
    return _marked(setting, template)


def no_address(template: str) -> str:
    """Return why an address cannot be used, else an empty text. The address is not repeated: it may be a secret."""
    before = re.match(r"[^/]*//[^/?#]*", template)
    if before and EXPRESSION.search(before[0] + "}}"):
        return "holds a template in its host; scheme and host must stand as they are"
    plain = EXPRESSION.sub("x", template)
    if objection := no_url(plain):
        return objection
    from urllib.parse import urlsplit

    parts = urlsplit(plain)
    if "#" in plain:
        return "holds a #, and what follows that is never sent"
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return "must begin with https://, since http:// is for this machine alone (127.0.0.1, localhost)"
    return ""


@accepts(_ENDPOINT)
def endpoint(setting: ConfigNode) -> str:
    """Accept the rest of an address, after the destination's `url`."""
    template = text(setting)
    if not template.startswith("/") or re.search(r"[\s#\\]", EXPRESSION.sub("x", template)):
        raise ConfigValueError("must begin with / and hold no blank, since it follows the url")
    return _marked(setting, template)


@accepts({"anyOf": [_ADDRESS, _ENDPOINT, _HIGHER]})
def address_or_endpoint(setting: ConfigNode) -> str:
    """Accept an address, or the rest of one after the destination's `url`; each leading ../ removes a part of that."""
    template = text(setting)
    if not template.startswith(("/", "../")):
        return address(setting)
    endpoint(setting._replace(node=setting.node._replace(value="/" + re.sub(r"^(\.\./)+", "", template))))
    return template


# Templates


def _marked(setting: ConfigNode, template: str) -> str:
    """Return a template and record its line, for mistakes that are found later."""
    if "{" in template:
        setting.origin(setting.path)
    return template


@accepts({"type": ["string", "number", "boolean"]})
def scalar(setting: ConfigNode) -> str:
    """Accept a text, or a number or true or false as it was written."""
    if isinstance(setting.value, bool | int | float):
        return setting.node.text
    return _marked(setting, text(setting))


def texts(check_name: Callable[[ConfigNode, str], None] = lambda _setting, _name: None) -> Check:
    """Accept a mapping of names to templates."""

    @accepts({"type": "object", "additionalProperties": schema_of(scalar)})
    def read(setting: ConfigNode) -> dict[str, str]:
        templates = {}
        for name, inner in setting.entries().items():
            check_name(inner, name)
            if (template := inner.read(scalar)) is not None:
                templates[name] = template
        return templates

    return read


@accepts({})
def tree(setting: ConfigNode) -> Any:
    """Accept any YAML whose string leaves are templates."""
    if isinstance(setting.value, dict):
        return {key: inner.read(tree) for key, inner in setting.entries().items()}
    if isinstance(setting.value, list):
        return [inner.read(tree) for inner in setting.items()]
    if isinstance(setting.value, UnsupportedScalar):
        raise ConfigValueError(f'is {kind(setting.node)} to YAML; quote it: "{setting.node.text}"')
    return _marked(setting, setting.value) if isinstance(setting.value, str) else setting.value
