"""Sources in config.yaml: addresses, pagination, and the paths of fields.

Templates are not checked here, but when a source is opened or checked.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from triage_cli import domain as dm
from triage_cli.config import validators as valid
from triage_cli.config.destinations import mail_host
from triage_cli.config.http_auth import AuthSpec, TokenSpec, mail_token, read_auth, settable_header
from triage_cli.config.key_tables import (
    Field,
    accepts,
    as_record,
    keys_of,
    named_schema,
    record,
    record_schema,
    schema_of,
)
from triage_cli.config.plugin_settings import of_plugin
from triage_cli.config.presets import filled, preset_names
from triage_cli.config.template_settings import address, endpoint_template, named_templates, no_address, template_tree
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError, UnsupportedScalar
from triage_cli.hooks import Hook

PRESETS = Path(__file__).with_name("source_presets")
_CONFIGURED_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
STARTTLS_PORT = 143  # the port of IMAP, of which TLS is made by STARTTLS
NEXT_KINDS = ("link", "path", "page", "offset", "token")
TICKET_FIELDS: Mapping[str, Field] = {
    field: Field(valid.several(valid.text, least=1, most=10))
    for field in ("subject", "description", "customer_id", "priority", "created_at", "updated_at", "external_id")
}


class NextSpec(NamedTuple):
    """The pagination of a list: how the next page is named or requested.

    By the kind, `name` is a relation of the header `Link`, a path into the answer, or a query parameter. A token goes
    into the query or, at a path, into the body. `size` is the number of items of a full page. `most` says that the list
    ascends, so that it may be begun again at the cursor after at most so many pages. `end` is a path whose true value
    marks the last page. With `keep`, the next pull continues at the last token.
    """

    kind: Literal["link", "path", "page", "offset", "token"]
    name: str
    query: str = ""
    body: str = ""
    size: int | None = None
    most: int | None = None
    end: str = ""
    keep: bool = False


@accepts({"type": "string"})
def _cursor_start(setting: ConfigNode) -> float | str:
    """Accept the start of a cursor: a duration, a day or a time."""
    start_text = setting.value.text if isinstance(setting.value, UnsupportedScalar) else setting.value
    with suppress(ValueError, TypeError, OverflowError):
        start_time = datetime.fromisoformat(start_text)
        return dm.whole_second(start_time.astimezone(UTC) if start_time.tzinfo else start_time)
    return valid.duration(setting)


class CursorSpec(NamedTuple):
    """The cursor of a list: the path of an item's time of change; durations are seconds.

    `start` is where the first pull begins: seconds ago, or a time as ISO 8601. Each pull reads the last `overlap`
    seconds again.
    """

    field: Annotated[str | None, Field(valid.text)] = None
    start: Annotated[float | str, Field(_cursor_start)] = 7 * 86_400.0
    overlap: Annotated[float, Field(valid.duration)] = 300.0


class ImapSpec(NamedTuple):
    """The folder of a mail server: its connection, the user, and a password or a token (`auth`) of the login."""

    host: str
    user_env: str
    password_env: str | None = None
    port: int = 993  # the port of IMAP with TLS from the start (RFC 8314)
    tls: Literal["implicit", "starttls", "none"] = "implicit"
    folder: str = "INBOX"
    auth: TokenSpec | None = None


@accepts(lambda: {**record_schema(TICKET_FIELDS), "anyOf": [{"required": ["subject"]}, {"required": ["description"]}]})
def ticket_fields(setting: ConfigNode) -> dict[str, tuple[str, ...]]:
    """Accept the paths of a ticket's fields. Raises `ConfigValueError` if there is none for subject or description."""
    values = record(setting, TICKET_FIELDS, setting.path)
    if not {"subject", "description"} & values.keys():
        raise ConfigValueError("needs subject or description, since a ticket must have a text")
    return values


@accepts(schema_of(address))
def _list_address(setting: ConfigNode) -> str:
    """Accept the address of a list: https, or http to this machine. Templates are only allowed in `query`."""
    url = valid.text(setting)
    if objection := no_address(url) or ("holds a template; put it into query" if "{{" in url else ""):
        raise ConfigValueError(objection)
    return url


COUNT = valid.number(1, 100_000, whole=True)
NEXT: Mapping[str, Field] = {
    **{key: Field(valid.text) for key in NEXT_KINDS},
    "query": Field(valid.text),
    "body": Field(valid.text),
    "size": Field(COUNT),
    "most": Field(COUNT),
    "end": Field(valid.text),
    "keep": Field(valid.truth),
}


@accepts(lambda: {**record_schema(NEXT), "anyOf": [{"required": [kind]} for kind in NEXT_KINDS]})
def _next_spec(setting: ConfigNode) -> NextSpec:
    values = record(setting, NEXT, setting.path)
    next_kinds = [key for key in NEXT_KINDS if key in values]
    if len(next_kinds) != 1:
        raise ConfigValueError(
            "takes one of link: RELATION, path: PATH, page: PARAMETER, offset: PARAMETER, token: PATH"
        )
    spec = NextSpec(next_kinds[0], values.pop(next_kinds[0]), **values)  # type: ignore[arg-type]
    if spec.kind == "token" and bool(spec.query) == bool(spec.body):
        raise ConfigValueError("token needs query, the parameter that takes it, or body, the path where it goes")
    if spec.kind == "offset" and not spec.size:
        raise ConfigValueError("offset needs size, the number of items of a page")
    if spec.most and (spec.kind not in ("page", "offset", "token") or spec.keep):
        raise ConfigValueError("most is only for page, offset, and a token without keep")
    if spec.keep and spec.kind != "token":
        raise ConfigValueError("keep is only for token")
    return spec


@accepts(
    lambda: {
        "anyOf": [
            schema_of(endpoint_template),
            {"type": "object", "additionalProperties": schema_of(endpoint_template)},
        ]
    }
)
def _details(setting: ConfigNode) -> dict[str, str]:
    """Accept the requests for each item by the names of their answers; a single one is called `details`."""
    if not isinstance(setting.value, dict):
        return {"details": endpoint_template(setting)}
    return {name: inner.read(endpoint_template, "") for name, inner in setting.entries().items()}


@accepts({"anyOf": [valid.SCALAR, {"type": "array", "items": valid.SCALAR}]})
def _condition_values(setting: ConfigNode) -> tuple[Any, ...]:
    return tuple(map(valid.plain_value, setting.items() if isinstance(setting.value, list) else [setting]))


@accepts(lambda: {"type": "object", "additionalProperties": schema_of(_condition_values)})
def _item_conditions(setting: ConfigNode) -> dict[str, tuple[Any, ...]]:
    return {path: inner.read(_condition_values, ()) for path, inner in setting.entries().items()}


@accepts({"type": "object", "additionalProperties": schema_of(valid.one_of(*dm.PRIORITIES))})
def _priority_numbers(setting: ConfigNode) -> dict[str, str]:
    return {
        priority_number: inner.read(valid.one_of(*dm.PRIORITIES))
        for priority_number, inner in setting.entries().items()
    }


SOURCE_TYPES = ("http", "command", "imap")
HTTP, COMMAND, IMAP = SOURCE_TYPES[:1], SOURCE_TYPES[1:2], SOURCE_TYPES[2:]
ITEMS = HTTP + COMMAND


class SourceSpec(NamedTuple):
    """One source as configured; keys that do not apply to its type keep their default.

    With `absent`, an answer that has nothing at `items` is an empty page. String leaves of `query`, `headers` and
    `body` are templates; `endpoint` follows the address. `details` are further requests for each item, whose answers
    are added to the item under their names. `extra` are the paths of other values to keep (None: everything), `labels`
    those that hold answers to questions, `numbers` the priorities that bare numbers mean, `html` the fields with HTML
    to convert to text.
    """

    name: str
    type: Annotated[str, Field(valid.one_of(*SOURCE_TYPES), needed=True)]
    preset: Annotated[str | None, Field(valid.text, HTTP)] = None
    url: Annotated[str, Field(_list_address, HTTP, needed=True)] = ""
    endpoint: Annotated[str, Field(endpoint_template, HTTP)] = ""
    method: Annotated[str, Field(valid.one_of("GET", "POST"), HTTP)] = "GET"
    query: Annotated[Mapping[str, str], Field(named_templates(), HTTP)] = {}
    headers: Annotated[Mapping[str, str], Field(named_templates(settable_header), HTTP)] = {}
    auth: Annotated[AuthSpec | TokenSpec | None, Field(read_auth, HTTP + IMAP)] = None
    body: Annotated[Any, Field(template_tree, HTTP)] = None
    items: Annotated[str, Field(valid.text, HTTP)] = ""
    absent: Annotated[Literal["", "empty"], Field(valid.one_of("empty"), HTTP)] = ""
    next: Annotated[NextSpec | None, Field(valid.optional(_next_spec), HTTP)] = None
    cursor: Annotated[CursorSpec, Field(as_record(CursorSpec), HTTP)] = CursorSpec()
    where: Annotated[Mapping[str, tuple[Any, ...]], Field(_item_conditions, ITEMS)] = {}
    details: Annotated[Mapping[str, str], Field(_details, HTTP)] = {}
    fields: Annotated[Mapping[str, tuple[str, ...]], Field(ticket_fields, ITEMS, needed=True)] = {}
    extra: Annotated[tuple[str, ...] | None, Field(valid.several(valid.text), ITEMS)] = None
    labels: tuple[str, ...] = ()
    numbers: Annotated[Mapping[str, str], Field(_priority_numbers, ITEMS)] = {}
    html: Annotated[tuple[str, ...], Field(valid.several(valid.one_of("subject", "description")), ITEMS)] = ()
    verdict: Annotated[str | None, Field(valid.text, ITEMS)] = None
    on_update: Annotated[str, Field(valid.one_of("new", "keep"))] = "new"
    timeout: Annotated[float, Field(valid.number(0.1, 3600), HTTP)] = 60
    run: Annotated[tuple[str, ...], Field(valid.command, COMMAND, needed=True)] = ()
    stream: Annotated[str, Field(valid.text, COMMAND)] = "tickets"
    imap: ImapSpec | None = None
    settings: Mapping[str, Any] = {}  # the keys of its own that a plug-in's type has

    @property
    def used_details(self) -> Mapping[str, str]:
        """The requests for each item whose answers a path leads into; others are not worth a request."""
        paths = [path for field_paths in self.fields.values() for path in field_paths]
        kept = self.details if self.extra is None else (*self.extra, *self.labels)
        names = {path.partition(".")[0] for path in (*paths, *kept, self.verdict or "")}
        return {name: template for name, template in self.details.items() if name in names}

    def variables(self) -> Iterator[tuple[str, str]]:
        """Yield the variables with the source's secrets, each with the key that names it."""
        auth = self.imap.auth if self.imap else self.auth
        yield from (("auth", name) for name in (auth.env if auth else ()))
        if self.imap:
            yield "user_env", self.imap.user_env
            yield from (("password_env", name) for name in [self.imap.password_env] if name)
        yield from ((key, name) for key, name in self.settings.items() if key.endswith("_env"))


CURSOR = keys_of(CursorSpec)
SOURCE: Mapping[str, Field] = {
    **keys_of(SourceSpec),
    "format": Field(valid.one_of("singer"), COMMAND),
    "host": Field(mail_host, IMAP, needed=True),
    "port": Field(valid.number(1, 65535, whole=True), IMAP),
    "tls": Field(valid.one_of("implicit", "starttls", "none"), IMAP),
    "user_env": Field(valid.variable, IMAP, needed=True),
    "password_env": Field(valid.variable, IMAP),
    "folder": Field(valid.text, IMAP),
}


@accepts(lambda: named_schema(_source_schema(), [{"pattern": f"^{_CONFIGURED_NAME.pattern}$"}]))
def read_sources(setting: ConfigNode) -> dict[str, SourceSpec]:
    """Return the sources of the configuration by their names."""
    return {name: _source_spec(name, inner) for name, inner in valid.named_entries(setting).items()}


def _source_schema() -> dict[str, Any]:
    """Return the schema of one source; keys that a preset fills are not required."""
    schema = record_schema(SOURCE)
    with_external_id = {**record_schema(TICKET_FIELDS), "required": ["external_id"]}
    with_preset = {key: keyword for key, keyword in schema.items() if key not in ("required", "allOf")}
    return {
        "if": {"required": ["preset"]},
        "then": with_preset,
        "else": {**schema, "properties": {**schema["properties"], "fields": with_external_id}},
    }


def _source_spec(name: str, setting: ConfigNode) -> SourceSpec:
    if not _CONFIGURED_NAME.fullmatch(name):
        setting.wrong("the name becomes a part of its tickets' identity: use letters, digits, dots, - and _")
    if values := of_plugin(Hook.SOURCE, setting, SOURCE, ("on_update",), f"sources.{name}"):
        return SourceSpec(name, **values)
    entries = setting.entries()
    if "preset" in entries and (preset := entries["preset"].read(valid.one_of(*preset_names(PRESETS)))):
        setting, _ = filled(setting, preset, PRESETS)
    entries = setting.entries()
    values = record(setting, SOURCE, f"sources.{name}", instead="auth")
    if values.get("type") == "command":
        setting.refuse_command()
    values.pop("format", None)
    if values.get("type") == "imap":
        return _imap_source(name, values, setting)
    field_entries = entries.get("fields")
    if field_entries and isinstance(field_entries.value, dict) and "external_id" not in field_entries.value:
        field_entries.wrong("external_id is missing; without it a repeated ticket is not recognised")
    next_spec, cursor = values.get("next"), values.get("cursor")
    if next_spec and next_spec.most and not (cursor and cursor.field):
        entries["next"].wrong("most needs cursor.field, from which the walk begins again")
    # Other keys belong to a type that the source does not have.
    spec_values = {key: value for key, value in values.items() if key in SourceSpec._fields}
    return SourceSpec(name, **{"type": "", **spec_values})


def _imap_source(name: str, values: dict[str, Any], setting: ConfigNode) -> SourceSpec:
    """Return a source of type `imap`; a missing key was reported."""
    values["auth"] = mail_token(setting, values.get("auth"))
    if len({"password_env", "auth"} & setting.entries().keys()) != 1:
        setting.wrong("needs one of password_env and auth, for the login")
    shared_values = {key: values.pop(key) for key in ("type", "on_update") if key in values}
    values.setdefault("tls", "starttls" if values.get("port") == STARTTLS_PORT else "implicit")
    if values["tls"] != "implicit":
        values.setdefault("port", STARTTLS_PORT)
    required = {"host": "", "user_env": ""}
    return SourceSpec(name, **shared_values, imap=ImapSpec(**{**required, **values}))
