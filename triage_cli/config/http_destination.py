"""Destinations of type `http` in config.yaml: the request, its authentication, and the meaning of answers."""

import re
from collections.abc import Mapping
from typing import Any

from triage_cli.config.destination_specs import (
    AnswerTest,
    AuthSpec,
    DestinationSpec,
    FindSpec,
    HttpSpec,
    OnceSpec,
    UndoSpec,
)
from triage_cli.config.json_schema import Schema, accepts, record_schema, schema_of
from triage_cli.config.presets import filled, load_preset, preset_names
from triage_cli.config.template_settings import address, address_or_endpoint, endpoint, scalar, texts, tree
from triage_cli.config.validators import Field, header, number, one_of, record, several, text, truth, variable
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError, UnsupportedScalar, kind

SCALAR = {"type": ["string", "number", "boolean", "null"]}
# Keys of every destination.
TIMEOUT = number(0.1, 3600, unit="seconds")
RETRIES: Mapping[str, Field] = {
    "max_attempts": Field(number(1, 100, whole=True)),
    "retry_schedule": Field(several(number(0, 30 * 86_400, unit="seconds"), least=1, most=100)),
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Headers that the program sets itself, or that hold secrets and so have a key of their own.
OWN_HEADERS = re.compile(
    r"(?i)host|content-length|transfer-encoding|connection|webhook-.*|idempotency-key|accept-encoding"
    r"|(?P<secret>authorization|proxy-authorization|cookie)"
)


def read_http(name: str, setting: ConfigNode) -> DestinationSpec:
    """Read a destination of type `http`; its mistakes are in its diagnostics."""
    preset = setting.entries().get("preset")
    chosen = preset.read(one_of(*preset_names())) if preset else None
    needs: frozenset[str] = frozenset()
    if chosen:
        setting, needs = filled(setting, chosen)
    others = {key: Field(text) for key in sorted(needs - HTTP.keys())}
    http_values = record(setting, {**HTTP, **others}, f"destinations.{name}", instead="auth, key_env or url_env")
    preset_values = {key: http_values.pop(key) for key in others if key in http_values}
    http_values.pop("type")
    common = {key: http_values.pop(key) for key in COMMON if key in http_values}
    _check_together(setting, http_values)
    return DestinationSpec(name, "http", **common, http=HttpSpec(given=preset_values, **http_values))


def http_schema() -> Schema:
    """Return the schema of a destination of type `http`, with the keys that presets need."""
    needs = {key for name in preset_names() for key in load_preset(name).value["needs"].value}
    return record_schema({**HTTP, **{key: Field(text) for key in sorted(needs - HTTP.keys())}})


def _check_together(setting: ConfigNode, http_values: Mapping[str, Any]) -> None:
    """Report keys that exclude each other, and keys that need another one."""
    keys = setting.value.keys()
    if not keys & {"url", "url_env"} and "preset" not in keys:
        setting.wrong("url is missing (or url_env, where the address itself is a secret)")
    for one, other in (("url", "url_env"), ("body", "form")):
        if {one, other} <= keys:
            setting.wrong(f"{one} and {other} exclude each other; remove one")
    if "endpoint" in keys and "?" in (http_values.get("url") or ""):
        setting.wrong("url ends with a query, so that no endpoint can follow; move it into query")
    auth = http_values.get("auth")
    if auth is not None and not auth.env and "key_env" not in keys:
        setting.wrong("auth needs env, the variable that holds what goes into the header")
    find = http_values.get("find")
    if find is not None and find.absent:
        _check_absent(setting.entries()["find"].entries()["absent"], find, http_values.get("body"))


def _check_absent(setting: ConfigNode, find: FindSpec, body: Any) -> None:
    """Report a field that may be absent, but is not the one that the body sets."""
    inside, name = find.place
    holder = inside.rpartition(".")[2]
    if not holder:
        setting.wrong(f"needs a field that stands in an object, such as fields.{name}")
    elif not _sets(body, holder, name):
        setting.wrong(
            f"needs a body that sets this field, in an object of the same name ({holder}: {{{name}: …}}): "
            "with a mistake in the path it would guard nothing"
        )


def _sets(body: Any, holder: str, name: str) -> bool:
    """Return whether a body sets a field in an object of this name."""
    if isinstance(body, Mapping):
        inside = body.get(holder)
        return (isinstance(inside, Mapping) and name in inside) or _sets(list(body.values()), holder, name)
    return isinstance(body, list) and any(_sets(each, holder, name) for each in body)


# Parts of a request and of an answer


@accepts(lambda: {"type": "string", "enum": list(preset_names())})
def _preset(setting: ConfigNode) -> str:
    return text(setting)  # whether the preset exists was checked when it was applied


def own_header(setting: ConfigNode, name: str) -> None:
    """Report a header that a user may not set."""
    header(setting._replace(node=setting.node._replace(value=name)))
    if own_header_match := OWN_HEADERS.fullmatch(name):
        reason = "is set by auth, which names variables" if own_header_match["secret"] else "is set by the program"
        setting.wrong(f"{reason}; remove it")
    if isinstance(setting.value, str) and re.search(r"[\x00-\x1f\x7f]", setting.value):
        setting.wrong("holds a line break or another control character")


@accepts(schema_of(text))
def _plain(setting: ConfigNode) -> str:
    if re.search(r"[\x00-\x1f\x7f]", value := text(setting)):
        raise ConfigValueError("holds a line break or another control character")
    return value


@accepts(schema_of(header))
def _auth_header(setting: ConfigNode) -> str:
    name = header(setting)
    own_header_match = OWN_HEADERS.fullmatch(name)
    if own_header_match and not own_header_match["secret"]:
        raise ConfigValueError("is set by the program; name another header")
    return name


@accepts(schema_of(variable))
def _bearer(setting: ConfigNode) -> tuple[str, ...]:
    return (variable(setting),)


@accepts(lambda: record_schema(AUTH))
def auth(setting: ConfigNode) -> AuthSpec:
    """Read the authentication of a request."""
    values = record(setting, AUTH, setting.path, instead="basic, bearer or env")
    entries = setting.value if isinstance(setting.value, Mapping) else {}
    kinds = [key for key in ("basic", "bearer", "header") if key in entries]
    if len(kinds) != 1:
        raise ConfigValueError("takes one of basic: [USER, PASSWORD], bearer: VARIABLE, and header: NAME with env")
    if kinds[0] != "header" and {"env", "prefix"} & entries.keys():
        raise ConfigValueError(f"env and prefix mean nothing to {kinds[0]}")
    if kinds[0] == "header":
        env = (values["env"],) if "env" in values else ()
        return AuthSpec("header", env, values.get("header", ""), values.get("prefix", ""))
    return AuthSpec("basic" if kinds[0] == "basic" else "bearer", values.get(kinds[0], ()))


@accepts(SCALAR)
def plain_value(setting: ConfigNode) -> Any:
    """Accept a text, a number, true, false or null."""
    if isinstance(setting.value, dict | list | UnsupportedScalar):
        raise ConfigValueError(f"must be a text, a number, true, false or null, not {kind(setting.node)}")
    return setting.value


@accepts(lambda: record_schema(ANSWER))
def _answer(setting: ConfigNode) -> AnswerTest:
    values = record(setting, ANSWER, setting.path)
    if not {"status", "path"} & setting.value.keys() or (
        {"is", "contains"} & setting.value.keys() and "path" not in setting.value
    ):
        raise ConfigValueError("needs status, or path and what is there")
    value = (values["is"],) if "is" in values else ()
    return AnswerTest(values.get("status", ()), values.get("path"), value, values.get("contains", ""))


@accepts({"type": "object", "additionalProperties": schema_of(text)})
def _kept(setting: ConfigNode) -> dict[str, str]:
    kept_paths = {}
    for name, inner in setting.entries().items():
        if not re.fullmatch(r"[A-Za-z_]\w{0,39}", name, re.ASCII):
            inner.wrong("stands in templates as remote.NAME: use letters, digits and _")
        kept_paths[name] = inner.read(text, "")
    return kept_paths


@accepts(lambda: record_schema(ONCE))
def _once(setting: ConfigNode) -> OnceSpec:
    values = record(setting, ONCE, setting.path)
    for one, other in (("get", "body"), ("found", "contains")):
        if len({one, other} & setting.value.keys()) != 1:
            raise ConfigValueError(f"takes one of {one} and {other}")
    return OnceSpec(**values)


@accepts(lambda: record_schema(FIND))
def _find(setting: ConfigNode) -> FindSpec:
    values = record(setting, FIND, setting.path)
    if not {"keep", "field"} & setting.value.keys():
        raise ConfigValueError("needs keep, the values that the request uses, or field, which is not overwritten")
    if "absent" in setting.value and "field" not in setting.value:
        raise ConfigValueError("absent needs field")
    return FindSpec(**{"get": "", **values})


@accepts(lambda: record_schema(UNDO))
def _undo(setting: ConfigNode) -> UndoSpec:
    values = record(setting, UNDO, setting.path)
    return UndoSpec(**{"endpoint": "", **values})


AUTH: Mapping[str, Field] = {
    "basic": Field(several(variable, least=1, most=2)),
    "bearer": Field(_bearer),
    "header": Field(_auth_header),
    "env": Field(variable),
    "prefix": Field(_plain),
}
ANSWER: Mapping[str, Field] = {
    "status": Field(several(number(100, 599, whole=True), least=1)),
    "path": Field(text),
    "is": Field(plain_value),
    "contains": Field(text),
}
ONCE: Mapping[str, Field] = {
    "get": Field(address_or_endpoint),
    "body": Field(tree),
    "found": Field(text),
    "contains": Field(scalar),
    "partial": Field(text),
}
FIND: Mapping[str, Field] = {
    "get": Field(address_or_endpoint, needed=True),
    "keep": Field(_kept),
    "field": Field(text),
    "absent": Field(one_of("empty")),
}
UNDO: Mapping[str, Field] = {
    "endpoint": Field(address_or_endpoint, needed=True),
    "method": Field(one_of(*METHODS)),
    "body": Field(tree),
}
COMMON: Mapping[str, Field] = {"timeout": Field(TIMEOUT), **RETRIES, "allow_private": Field(truth)}
HTTP: Mapping[str, Field] = {
    "type": Field(one_of("http"), needed=True),
    "preset": Field(_preset),
    "method": Field(one_of(*METHODS)),
    "url": Field(address),
    "url_env": Field(variable),
    "endpoint": Field(endpoint),
    "query": Field(texts()),
    "headers": Field(texts(own_header)),
    "auth": Field(auth),
    "key_env": Field(variable),
    "body": Field(tree),
    "form": Field(texts()),
    "ok": Field(_answer),
    "retry": Field(_answer),
    "keep": Field(_kept),
    "find": Field(_find),
    "once": Field(_once),
    "undo": Field(_undo),
    **COMMON,
}
