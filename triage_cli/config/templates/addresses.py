"""Addresses in config.yaml whose path and query may hold templates, and the endpoints that follow them."""

import re

from triage_cli.config.json_schema import accepts
from triage_cli.config.templates.settings import with_origin
from triage_cli.config.validators import no_url, text
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError
from triage_cli.runtime import is_loopback

# What a template has in place of literal text.
EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_ADDRESS_SCHEMA = {"type": "string", "pattern": r"^[hH][tT][tT][pP][sS]?://[^\s/?#@\\{]+([/?][^#]*)?$"}
_ENDPOINT_SCHEMA = {"type": "string", "pattern": r"^/"}
_HIGHER_SCHEMA = {"type": "string", "pattern": r"^\.\./"}


@accepts(_ADDRESS_SCHEMA)
def address(setting: ConfigNode) -> str:
    """Accept an address with a literal scheme and host; its path and query may hold templates."""
    template = text(setting)
    if objection := no_address(template):
        raise ConfigValueError(objection)
    return with_origin(setting, template)


def no_address(template: str) -> str:
    """Return why an address with templates is invalid, else an empty text. It is not repeated: it may be a secret."""
    scheme_and_host = re.match(r"[^/]*//[^/?#]*", template)
    if scheme_and_host and EXPRESSION.search(scheme_and_host[0] + "}}"):
        return "holds a template in its host; scheme and host must stand as they are"
    without_templates = EXPRESSION.sub("x", template)
    if objection := no_url(without_templates):
        return objection
    from urllib.parse import urlsplit

    address_parts = urlsplit(without_templates)
    if "#" in without_templates:
        return "holds a #, and what follows that is never sent"
    if address_parts.scheme == "http" and not is_loopback(address_parts.hostname or ""):
        return "must begin with https://, since http:// is for this machine alone (127.0.0.1, localhost)"
    return ""


@accepts(_ENDPOINT_SCHEMA)
def endpoint(setting: ConfigNode) -> str:
    """Accept an endpoint: the rest of an address, after the `url` of its destination or source."""
    template = text(setting)
    if not template.startswith("/") or re.search(r"[\s#\\]", EXPRESSION.sub("x", template)):
        raise ConfigValueError("must begin with / and hold no blank, since it follows the url")
    return with_origin(setting, template)


@accepts({"anyOf": [_ADDRESS_SCHEMA, _ENDPOINT_SCHEMA, _HIGHER_SCHEMA]})
def address_or_endpoint(setting: ConfigNode) -> str:
    """Accept an address, or the rest of one after the destination's `url`; each leading ../ removes a part of that."""
    template = text(setting)
    if not template.startswith(("/", "../")):
        return address(setting)
    endpoint(setting._replace(node=setting.node._replace(value="/" + re.sub(r"^(\.\./)+", "", template))))
    return template
