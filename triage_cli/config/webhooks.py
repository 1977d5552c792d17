"""Incoming webhooks in config.yaml: their signatures, which events count, and the paths of a ticket's fields."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from triage_cli.config import validators as valid
from triage_cli.config.key_tables import Field, accepts, keys_of, named_schema, record, record_schema, schema_of
from triage_cli.config.presets import filled, preset_names
from triage_cli.config.sources import ticket_fields
from triage_cli.config.yaml_document import Check, ConfigNode, ConfigValueError

PRESETS = Path(__file__).with_name("webhook_presets")
WEBHOOK_NAME = "[A-Za-z0-9._-]+"
# The name of an item in a header, such as the t of t=1492774577.
HEADER_ITEM = valid.text_matching("[A-Za-z0-9_-]+", "must be the name before the = in the header, such as t")
ACCEPTED_VALUES: Check = valid.several(valid.optional(valid.text), least=1)
PLACEHOLDER = re.compile(r"\{[^{}]*\}")


@accepts({"type": "string", "pattern": r"^([^{}]|\{timestamp\})*\{body\}([^{}]|\{timestamp\})*$"})
def signed_text(setting: ConfigNode) -> str:
    """Accept `base`, the template of the signed text, which has the body exactly once."""
    template = valid.text(setting)
    unknown = [each for each in PLACEHOLDER.findall(template) if each not in ("{timestamp}", "{body}")]
    if unknown or re.search(r"[{}]", PLACEHOLDER.sub("", template)):
        raise ConfigValueError("takes no braces but {timestamp} and {body}")
    if template.count("{body}") != 1:
        raise ConfigValueError("needs {body} once: what is not signed proves nothing")
    return template


@accepts(lambda: {"type": "object", "additionalProperties": schema_of(ACCEPTED_VALUES)})
def _event_conditions(setting: ConfigNode) -> dict[str, tuple[str | None, ...]]:
    return {path: values for path, inner in setting.entries().items() if (values := inner.read(ACCEPTED_VALUES))}


HMAC_ONLY = ("hmac",)
WITH_HEADER = ("hmac", "token")


class HookSpec(NamedTuple):
    """An incoming webhook as configured: its signature, which events count, and the paths of a ticket's fields.

    Type `standard` is Standard Webhooks with headers that begin with `header_prefix`. With type `hmac`, `header` holds
    the signature over `base` (null: the body, after the time if there is one); with type `token` the secret itself. The
    time is in `timestamp_header`, or in the signature's header as the item `timestamp_in`. If `encoding` is null, hex
    and base64 are accepted. An event counts if its value at each path of `when` is among those listed. The values of
    several paths of a field are joined with `#`. `html` are the fields with HTML to convert to text.
    """

    name: str
    type: Annotated[str, Field(valid.one_of("standard", "hmac", "token"), needed=True)]
    preset: Annotated[str | None, Field(valid.one_of(*preset_names(PRESETS)))] = None
    secret_env: Annotated[tuple[str, ...], Field(valid.several(valid.variable, least=1), needed=True)] = ()
    header_prefix: Annotated[str, Field(valid.header, ("standard",))] = "webhook"
    header: Annotated[str | None, Field(valid.header, WITH_HEADER, needed=True)] = None
    algorithm: Annotated[Literal["sha1", "sha256"], Field(valid.one_of("sha1", "sha256"), HMAC_ONLY)] = "sha256"
    encoding: Annotated[Literal["hex", "base64"] | None, Field(valid.one_of("hex", "base64"), HMAC_ONLY)] = None
    prefix: Annotated[str | None, Field(valid.text, WITH_HEADER)] = None
    base: Annotated[str | None, Field(signed_text, HMAC_ONLY)] = None
    timestamp_header: Annotated[str | None, Field(valid.optional(valid.header), HMAC_ONLY)] = None
    timestamp_in: Annotated[str | None, Field(HEADER_ITEM, HMAC_ONLY)] = None
    challenge_header: Annotated[str | None, Field(valid.header)] = None
    when: Annotated[Mapping[str, tuple[str | None, ...]], Field(_event_conditions)] = {}
    fields: Annotated[Mapping[str, tuple[str, ...]], Field(ticket_fields, needed=True)] = {}
    html: Annotated[tuple[str, ...], Field(valid.several(valid.one_of("subject", "description")))] = ()
    on_create: Annotated[tuple[str, ...], Field(valid.several(valid.one_of("classify", "route")))] = ()

    @property
    def timed(self) -> bool:
        """Return whether each event of the webhook has a signed time."""
        return self.type == "standard" or bool(self.timestamp_header or self.timestamp_in)


WEBHOOK = keys_of(HookSpec)


@accepts(lambda: named_schema(_webhook_schema(), [{"pattern": f"^{WEBHOOK_NAME}$"}]))
def read_webhooks(setting: ConfigNode) -> dict[str, HookSpec]:
    """Return the incoming webhooks of the configuration by their names."""
    return {name: _webhook(name, inner) for name, inner in valid.named_entries(setting).items()}


def _webhook_schema() -> dict[str, Any]:
    """Return the schema of one webhook; keys that a preset fills are not required."""
    schema = record_schema(WEBHOOK)
    by_preset = {key: keyword for key, keyword in schema.items() if key != "allOf"} | {
        "required": ["secret_env", "fields"]
    }
    return {"if": {"required": ["preset"]}, "then": by_preset, "else": schema}


def _webhook(name: str, setting: ConfigNode) -> HookSpec:
    if not re.fullmatch(WEBHOOK_NAME, name):
        setting.wrong("the name stands in a URL: use letters, digits, dots, - and _")
    if isinstance(setting.value, dict) and "preset" in setting.value:
        preset_name = setting.entries()["preset"].read(valid.one_of(*preset_names(PRESETS)))
        setting = filled(setting, preset_name, PRESETS)[0] if preset_name else setting
    values = record(setting, WEBHOOK, f"webhooks.{name}", instead="secret_env")
    spec = HookSpec(name, **{"type": "", **values})
    for key, objection in _contradicting_keys(spec):
        if key in setting.value:
            setting.entries()[key].wrong(objection)
    return spec


def _contradicting_keys(spec: HookSpec) -> Iterator[tuple[str, str]]:
    """Yield the contradictions between keys of a webhook, or between a key and its events, each with its key."""
    if spec.timestamp_header and spec.timestamp_in:
        yield "timestamp_in", "timestamp_header is given too; the time stands in one place"
    if spec.base and "{timestamp}" in spec.base and not spec.timed:
        yield "base", "{timestamp} needs timestamp_header or timestamp_in"
    if spec.base and "{timestamp}" not in spec.base and spec.timed and spec.type == "hmac":
        yield "base", "needs {timestamp}: a time that is not signed proves nothing"
    if spec.type == "hmac" and spec.prefix and re.search(r"[\s,]", spec.prefix):
        yield "prefix", "blanks and commas stand between signatures, and in none of them"
    for key, paths in (("fields", chain.from_iterable(spec.fields.values())), ("when", spec.when)):
        if any(path.partition(".")[0].isdecimal() for path in paths):
            yield key, "each event of a list counts by itself: leave out the number at the beginning of a path"
