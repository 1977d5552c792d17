"""Destinations of type `http` in config.yaml: their requests, the meaning of answers, and what each type may have."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from triage_cli.config import validators as valid
from triage_cli.config.http_auth import AuthSpec, TokenSpec, read_auth, settable_header
from triage_cli.config.key_tables import Field, Schema, accepts, as_record, keys_of, record, record_schema, schema_of
from triage_cli.config.presets import filled, load_preset, preset_names
from triage_cli.config.template_settings import (
    address,
    address_or_endpoint,
    endpoint_template,
    named_templates,
    template_text,
    template_tree,
)
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError, kind

TIMEOUT = valid.number(0.1, 3600, unit="seconds")
# What follows if a ticket's text changes after the destination has accepted it; the first is the default.
ON_CHANGE = ("ignore", "again")
RETRIES: Mapping[str, Field] = {
    "max_attempts": Field(valid.number(1, 100, whole=True)),
    "retry_schedule": Field(valid.several(valid.number(0, 30 * 86_400, unit="seconds"), least=1, most=100)),
    "on_change": Field(valid.one_of(*ON_CHANGE)),
}
LIMITS: Mapping[str, Field] = {"timeout": Field(TIMEOUT), **RETRIES, "allow_private": Field(valid.truth)}


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class AnswerTest(NamedTuple):
    """A test of an HTTP destination's answer: one of these statuses (none: any), and this value at a path.

    Without a value it is any but null. `contains` is a text that the value at the path must contain.
    """

    status: tuple[int, ...] = ()
    path: str | None = None
    value: tuple[Any, ...] = ()
    contains: str = ""


ANSWER: Mapping[str, Field] = {
    "status": Field(valid.several(valid.number(100, 599, whole=True), least=1)),
    "path": Field(valid.text),
    "is": Field(valid.plain_value),
    "contains": Field(valid.text),
}


@accepts(lambda: record_schema(ANSWER))
def _answer_test(setting: ConfigNode) -> AnswerTest:
    if not isinstance(setting.value, dict):
        raise ConfigValueError(f"must be a mapping, such as {{status: 409}}, not {kind(setting.node)}")
    values, keys = record(setting, ANSWER, setting.path), setting.entries().keys()
    if not {"status", "path"} & keys or ({"is", "contains"} & keys and "path" not in keys):
        raise ConfigValueError("needs status, or path and what is there")
    expected = (values["is"],) if "is" in values else ()
    return AnswerTest(values.get("status", ()), values.get("path"), expected, values.get("contains", ""))


@accepts({"type": "object", "additionalProperties": schema_of(valid.text)})
def _kept_paths(setting: ConfigNode) -> dict[str, str]:
    paths = {}
    for name, inner in setting.entries().items():
        if not re.fullmatch(r"[A-Za-z_]\w{0,39}", name, re.ASCII):
            inner.wrong("stands in templates as remote.NAME: use letters, digits and _")
        paths[name] = inner.read(valid.text, "")
    return paths


class OnceSpec(NamedTuple):
    """A search before a repeated attempt, if the outcome of the first one is unknown.

    It is a GET of an address, or a body posted to the destination's own address. It has found something if there is a
    value at the path `found`, or if the answer contains a text. A value at the path `partial` tells that it did not
    look everywhere.
    """

    get: Annotated[str, Field(address_or_endpoint)] = ""
    body: Annotated[Any, Field(template_tree)] = None
    found: Annotated[str, Field(valid.text)] = ""
    contains: Annotated[str, Field(template_text)] = ""
    partial: Annotated[str, Field(valid.text)] = ""


@accepts(lambda: record_schema(keys_of(OnceSpec)))
def _once(setting: ConfigNode) -> OnceSpec:
    keys = setting.entries().keys()
    once: OnceSpec = as_record(OnceSpec)(setting)
    for key, excluded_key in (("get", "body"), ("found", "contains")):
        if len({key, excluded_key} & keys) != 1:
            raise ConfigValueError(f"takes one of {key} and {excluded_key}")
    return once


class FindSpec(NamedTuple):
    """A GET request before each attempt; values at these paths of its answer are `remote.NAME` in the main request.

    `field` is the path of the field that the main request sets: what a person has set there stays. With `absent`, the
    field is empty if the object that it stands in is there without it; else that is refused as a mistake in the path.
    """

    get: Annotated[str, Field(address_or_endpoint, needed=True)]
    keep: Annotated[Mapping[str, str], Field(_kept_paths)] = {}
    field: Annotated[str, Field(valid.text)] = ""
    absent: Annotated[Literal["", "empty"], Field(valid.one_of("empty"))] = ""

    @property
    def place(self) -> tuple[str, str]:
        """Return the path of the object in which the field stands, and the field's name there."""
        object_path, _, field = self.field.rpartition(".")
        return object_path, field


@accepts(lambda: record_schema(keys_of(FindSpec)))
def _find(setting: ConfigNode) -> FindSpec:
    keys = setting.entries().keys()
    find: FindSpec = as_record(FindSpec)(setting)
    if not {"keep", "field"} & keys:
        raise ConfigValueError("needs keep, the values that the request uses, or field, which is not overwritten")
    if "absent" in keys and "field" not in keys:
        raise ConfigValueError("absent needs field")
    return find


class UndoSpec(NamedTuple):
    """The request, sent before a new delivery, that undoes an earlier delivery to the same destination."""

    endpoint: Annotated[str, Field(address_or_endpoint, needed=True)]
    method: Annotated[str, Field(valid.one_of(*METHODS))] = "DELETE"
    body: Annotated[Any, Field(template_tree)] = None


@accepts(lambda: {"type": "string", "enum": list(preset_names())})
def _preset(setting: ConfigNode) -> str:
    return valid.text(setting)  # whether the preset exists was checked when it was applied


class HttpSpec(NamedTuple):
    """The request of a destination of type `http`; string leaves of its trees are templates.

    `endpoint` follows the address. `given` are the values of the keys that a preset needs, for its templates.
    """

    preset: Annotated[str | None, Field(_preset)] = None
    method: Annotated[str, Field(valid.one_of(*METHODS))] = "POST"
    url: Annotated[str | None, Field(address)] = None
    url_env: Annotated[str | None, Field(valid.variable)] = None
    endpoint: Annotated[str, Field(endpoint_template)] = ""
    query: Annotated[Mapping[str, str], Field(named_templates())] = {}
    headers: Annotated[Mapping[str, str], Field(named_templates(settable_header))] = {}
    auth: Annotated[AuthSpec | TokenSpec | None, Field(read_auth)] = None
    key_env: Annotated[str | None, Field(valid.variable)] = None
    body: Annotated[Any, Field(template_tree)] = None
    form: Annotated[Mapping[str, str], Field(named_templates())] = {}
    ok: Annotated[AnswerTest, Field(_answer_test)] = AnswerTest()
    retry: Annotated[AnswerTest | None, Field(_answer_test)] = None
    keep: Annotated[Mapping[str, str], Field(_kept_paths)] = {}
    find: Annotated[FindSpec | None, Field(_find)] = None
    once: Annotated[OnceSpec | None, Field(_once)] = None
    undo: Annotated[UndoSpec | None, Field(as_record(UndoSpec))] = None
    given: Mapping[str, str] = {}

    @property
    def guards_field(self) -> bool:
        """Return whether the requests leave a field of the helpdesk's ticket as a person has set it."""
        return self.find is not None and bool(self.find.field)

    @property
    def remembers(self) -> bool:
        """Return whether its requests depend on what was delivered of the same ticket before."""
        return bool(self.keep or self.undo) or self.guards_field


HTTP: Mapping[str, Field] = {"type": Field(valid.one_of("http"), needed=True), **keys_of(HttpSpec), **LIMITS}


def read_http(name: str, setting: ConfigNode) -> dict[str, Any]:
    """Return the values of a `DestinationSpec` of type `http`; mistakes are in the setting's diagnostics."""
    preset = setting.entries().get("preset")
    preset_name = preset.read(valid.one_of(*preset_names())) if preset else None
    needs: frozenset[str] = frozenset()
    if preset_name:
        setting, needs = filled(setting, preset_name)
    preset_keys = {key: Field(valid.text) for key in sorted(needs - HTTP.keys())}
    values = record(setting, {**HTTP, **preset_keys}, f"destinations.{name}", instead="auth, key_env or url_env")
    given = {key: values.pop(key) for key in preset_keys if key in values}
    values.pop("type")
    limits = {key: values.pop(key) for key in LIMITS if key in values}
    _check_http_keys(setting, values)
    return {**limits, "http": HttpSpec(given=given, **values)}


def http_schema() -> Schema:
    """Return the schema of a destination of type `http`, with the keys that presets need."""
    needs = {key for name in preset_names() for key in load_preset(name).value["needs"].value}
    return record_schema({**HTTP, **{key: Field(valid.text) for key in sorted(needs - HTTP.keys())}})


def _check_http_keys(setting: ConfigNode, values: Mapping[str, Any]) -> None:
    """Report keys of an HTTP destination that exclude each other, and keys that need another one."""
    keys = setting.entries().keys()
    if not keys & {"url", "url_env"} and "preset" not in keys:
        setting.wrong("url is missing (or url_env, where the address itself is a secret)")
    for key, excluded_key in (("url", "url_env"), ("body", "form")):
        if {key, excluded_key} <= keys:
            setting.wrong(f"{key} and {excluded_key} exclude each other; remove one")
    if "endpoint" in keys and "?" in (values.get("url") or ""):
        setting.wrong("url ends with a query, so that no endpoint can follow; move it into query")
    auth = values.get("auth")
    if isinstance(auth, AuthSpec) and not auth.env and "key_env" not in keys:
        setting.wrong("auth needs env, the variable that holds what goes into the header")
    find = values.get("find")
    if find is not None and find.absent:
        _check_absent(setting.entries()["find"].entries()["absent"], find, values.get("body"))


def _check_absent(setting: ConfigNode, find: FindSpec, body: Any) -> None:
    """Report a field of `find` that may be absent, but is not the one that the body sets."""
    object_path, field = find.place
    parent = object_path.rpartition(".")[2]
    if not parent:
        setting.wrong(f"needs a field that stands in an object, such as fields.{field}")
    elif not _sets_field(body, parent, field):
        setting.wrong(
            f"needs a body that sets this field, in an object of the same name ({parent}: {{{field}: …}}): "
            "with a mistake in the path it would guard nothing"
        )


def _sets_field(body: Any, parent: str, field: str) -> bool:
    """Return whether a request's body sets a field in an object of this name."""
    if isinstance(body, Mapping):
        body_object = body.get(parent)
        if isinstance(body_object, Mapping) and field in body_object:
            return True
        return _sets_field(list(body.values()), parent, field)
    return isinstance(body, list) and any(_sets_field(each, parent, field) for each in body)
