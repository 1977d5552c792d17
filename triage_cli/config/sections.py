"""The keys of config.yaml, their checks, the references between sections, and what `server` holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from triage_cli import domain as dm
from triage_cli import hooks
from triage_cli.config import validators as valid
from triage_cli.config.calendars import read_calendars
from triage_cli.config.categories import DEFAULT_CATEGORIES, in_levels, read_categories
from triage_cli.config.classifiers import CLASSIFIER, LOCAL, ClassifierSpec, read_classifiers
from triage_cli.config.database_address import database
from triage_cli.config.destinations import DESTINATION, read_destinations
from triage_cli.config.imports import read_imports
from triage_cli.config.key_tables import (
    DIALECT,
    Field,
    accepts,
    mapping,
    named_schema,
    or_null,
    record,
    record_schema,
    schema_of,
    suggestion,
)
from triage_cli.config.plugin_settings import any_value
from triage_cli.config.questions import checked_questions, read_questions
from triage_cli.config.routes import RouteReader, escalations_schema, later, open_routes, routes_schema
from triage_cli.config.rule_conditions import pattern
from triage_cli.config.sources import read_sources
from triage_cli.config.webhooks import read_webhooks
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError, Diagnostics
from triage_cli.hooks import Hook
from triage_cli.runtime import is_loopback

MOST_FIELDS = 50
# The limits of `triage nightly`, where the configuration names no others; null: none.
NIGHT: Mapping[str, str | int | None] = {
    "pull_deadline": "2h", "deadline": "4h", "max_age": "1d", "max_delivery_age": "1d", "max_undeliverable": 0,
}  # fmt: skip
# Columns of `extra` that triage itself writes.
OWN_COLUMNS = ("mail", "thread", "updated_at")


@accepts(lambda: {**named_schema(schema_of(pattern)), "maxProperties": MOST_FIELDS})
def read_fields(setting: ConfigNode) -> dict[str, str]:
    """Return the pattern of each field by its name."""
    entries = valid.named_entries(setting)
    if len(entries) > MOST_FIELDS:
        raise ConfigValueError(f"holds more than {MOST_FIELDS} fields")
    patterns = {}
    for name, entry in entries.items():
        if name in OWN_COLUMNS or name in dm.TICKET_KEYS:
            entry.wrong("is the name of what a ticket has already; give the field another name")
        elif found := entry.read(pattern):
            patterns[name] = found
        entry.origin(f"fields.{name}")
    return patterns


TRIAGE_ROLE = valid.one_of(*dm.ROLES)


class OidcSpec(NamedTuple):
    """The identity provider whose tokens the HTTP API accepts.

    `claim` is the dotted path of their roles, which `roles` maps to triage's roles (`*`: any token). `name` are paths;
    the first one with a value names the actor.
    """

    issuer: str
    audience: tuple[str, ...]
    claim: str
    roles: Mapping[str, str]
    name: tuple[str, ...] = ("preferred_username", "client_id", "azp", "sub")


@accepts(lambda: schema_of(valid.url))
def _issuer(setting: ConfigNode) -> str:
    """Accept the address of an identity provider, written as in its tokens."""
    issuer = valid.url(setting)
    issuer_parts = urlsplit(issuer)
    if issuer_parts.scheme != "https" and not is_loopback(issuer_parts.hostname or ""):
        raise ConfigValueError("must be https://, else somebody in between could sign tokens")
    return issuer


@accepts(lambda: {"type": "object", "additionalProperties": schema_of(TRIAGE_ROLE)})
def _role_map(setting: ConfigNode) -> dict[str, str]:
    roles = {provider_role: inner.read(TRIAGE_ROLE) for provider_role, inner in setting.entries().items()}
    return {provider_role: triage_role for provider_role, triage_role in roles.items() if triage_role}


@accepts(lambda: record_schema(OIDC))
def read_oidc(setting: ConfigNode) -> OidcSpec | None:
    """Return the identity provider; None if a key is missing, which was reported."""
    oidc_values = record(setting, OIDC, "server.oidc")
    roles = oidc_values.pop("roles", {})
    if not {"issuer", "audience"} <= oidc_values.keys() or not {"claim", "map"} <= roles.keys():
        return None
    return OidcSpec(**oidc_values, claim=roles["claim"], roles=roles["map"])


ROLES_KEYS: Mapping[str, Field] = {"claim": Field(valid.text, needed=True), "map": Field(_role_map, needed=True)}
OIDC: Mapping[str, Field] = {
    "issuer": Field(_issuer, needed=True),
    "audience": Field(valid.several(valid.text, least=1), needed=True),
    "roles": Field(mapping(ROLES_KEYS), needed=True),
    "name": Field(valid.several(valid.text, least=1)),
}


def read_sections(root: ConfigNode, routes_flag: tuple[Path, str] | None = None) -> dict[str, Any]:
    """Check all sections of the file, and return what it says of each field of a `Config`; mistakes go to diagnostics.

    Without a routing map `routes` is None. `routes_flag` is the path of a routing map that replaces the file's own, and
    how it was typed. Other keys than fields have their values as they were read.
    """
    unset = [key for key, node in root.value.items() if node.value is None and key in TOP_KEYS]
    of_plugins = [key for key in root.value if key not in TOP_KEYS and hooks.is_there(Hook.KEY, key)]
    set_root = ConfigNode(
        root.node._replace(value={k: v for k, v in root.value.items() if k not in (*unset, *of_plugins)}),
        "",
        root.diagnostics,
    )
    secrets = "api_key_env (classifiers) or secret_env (destinations)"
    values = record(set_root, TOP_KEYS, "", instead=secrets, misplaced=MISPLACED_KEYS)
    categories = values.get("categories", DEFAULT_CATEGORIES)
    if values.get("levels", True):
        categories = in_levels(categories)
    classifiers = {"local": LOCAL} | values.get("classifiers", {})
    destinations = dict(values.get("destinations", {}))
    classifier = _default_classifier(set_root, values, classifiers)
    questions = checked_questions(
        values.get("questions", {}), classifiers, classifier, levels=values.get("levels", True)
    )
    map_setting, more_escalations, routes_path = _routing_map(root.diagnostics, values.get("routes"), routes_flag)
    reader = RouteReader(categories, destinations, values.get("calendars", {}), questions)
    routes = None if map_setting is None else map_setting.read(reader.read, ())
    escalations = _escalations(reader, values.get("escalations"), more_escalations)
    spikes_to = values.get("spikes", {}).get("to")
    if spikes_to is not None and spikes_to not in destinations:
        setting = set_root.entries()["spikes"].entries()["to"]
        setting.wrong(f'no destination "{spikes_to}"{suggestion(spikes_to, destinations)}')
    night = dict(values.get("nightly", {}))
    return values | {
        **values.get("server", {}),
        "per_day": values.get("budget", {}).get("per_day"),
        **({"texts_kept": kept} if (kept := values.get("labelled_texts", {}).get("keep")) else {}),
        "spikes_to": spikes_to,
        "heartbeat_env": night.pop("heartbeat", {}).get("url_env"),
        "nightly": {**NIGHT, **night},
        "categories": categories,
        "classifiers": classifiers,
        "classifier": classifier,
        "destinations": destinations,
        "routes": routes,
        "routes_path": routes_path,
        "before": tuple(reader.before),
        "escalations": escalations,
        "questions": questions,
        "added": {key: _of_plugin(root.entries()[key]) for key in of_plugins},
    }


def _of_plugin(setting: ConfigNode) -> Any:
    """Return the value of a key that a plug-in adds, and checks when it is loaded."""
    setting.origin(setting.path)
    return setting.read(any_value)


def _routing_map(
    diagnostics: Diagnostics, setting: ConfigNode | None, flag: tuple[Path, str] | None
) -> tuple[ConfigNode | None, ConfigNode | None, Path | None]:
    """Return the routing map and the escalations of the file that the flag or the setting names, and its path.

    If there is no such file, return the setting.
    """
    if flag is not None:
        try:
            return (*open_routes(*flag, diagnostics), flag[0])
        except ConfigValueError as mistake:
            diagnostics.misplaced("flag --routes", str(mistake))
            return None, None, flag[0]
    if setting is None or not isinstance(setting.value, str):
        return setting, None, None
    if diagnostics.is_sent:  # its mistakes would tell what the file holds
        setting.wrong(f"names a file, and a configuration that was sent names none; {dm.Step.ROUTES_FILE}")
        return None, None, None
    routes_path: Path | None = setting.read(valid.path)
    if routes_path is None:
        return None, None, None
    named_path = routes_path
    return (*setting.read(lambda named: open_routes(named_path, named.value, diagnostics), (None, None)), routes_path)


def _escalations(reader: RouteReader, here: ConfigNode | None, there: ConfigNode | None) -> tuple[dm.Rule, ...]:
    """Return the escalations, which stand in the configuration or in the file of the routing map."""
    if here is not None and there is not None:
        there.wrong("stand in the configuration as well; keep them in one of the files")
    setting = here if there is None else there
    escalations: tuple[dm.Rule, ...] = () if setting is None else setting.read(reader.escalations, ())
    return escalations


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the whole file; at its top a key without a value counts as missing."""
    top = record_schema(TOP_KEYS)
    properties = {key: or_null(key_schema) for key, key_schema in top["properties"].items()}
    return {"$schema": DIALECT, "title": "The configuration of triage", **top, "properties": properties}


def _default_classifier(root: ConfigNode, values: Mapping[str, Any], classifiers: Mapping[str, ClassifierSpec]) -> str:
    """Return the default classifier: the one named, else `local` if it applies, else the first listed."""
    listed = values.get("classifiers", {})
    if "classifier" not in values:
        return "local" if "local" in listed or not listed else next(iter(listed))
    classifier: str = values["classifier"]
    if classifier not in classifiers:
        root.entries()["classifier"].wrong(f'no classifier "{classifier}"{suggestion(classifier, classifiers)}')
    return classifier


@accepts({"type": "string", "pattern": r"^[hH][tT][tT][pP][sS]?://[^\s/?#@\\]+$"})
def _cors_origin(setting: ConfigNode) -> str:
    """Accept one of `cors_origins` as browsers send it: scheme, host and port."""
    origin = valid.url(setting)
    if origin.count("/") > len("//") or {"?", "#"} & set(origin):
        raise ConfigValueError("must end with the host or port, as in https://desk.example.com")
    return origin.lower()


SERVER: Mapping[str, Field] = {
    "requests_per_minute": Field(valid.optional(valid.number(1, 1_000_000_000, whole=True))),
    "oidc": Field(read_oidc),
    "cors_origins": Field(valid.several(_cors_origin)),
    "app": Field(valid.truth),
}
SPIKES: Mapping[str, Field] = {"to": Field(valid.text, needed=True)}
BUDGET: Mapping[str, Field] = {"per_day": Field(valid.optional(valid.number(0, 1_000_000)))}
TEXTS: Mapping[str, Field] = {"keep": Field(valid.number(1_000, 1_000_000, whole=True))}
COUNT = Field(valid.optional(valid.number(0, 1_000_000_000, whole=True)))
AGE = Field(valid.optional(valid.typed_duration))
NIGHTLY: Mapping[str, Field] = {
    "pull_deadline": AGE,
    "deadline": AGE,
    "max_age": AGE,
    "max_delivery_age": AGE,
    "max_review_age": AGE,
    "max_pending": COUNT,
    "max_undeliverable": COUNT,
    "max_unroutable": COUNT,
    "max_review": COUNT,
    "heartbeat": Field(mapping({"url_env": Field(valid.variable, needed=True)})),
}
TOP_KEYS: Mapping[str, Field] = {
    "database": Field(database),
    "categories": Field(read_categories),
    "levels": Field(valid.truth),
    "questions": Field(read_questions),
    "classifier": Field(valid.text),
    "classifiers": Field(read_classifiers),
    "labelled_texts": Field(mapping(TEXTS)),
    "budget": Field(mapping(BUDGET)),
    "destinations": Field(read_destinations),
    "routes": Field(later(routes_schema)),
    "escalations": Field(later(escalations_schema)),
    "calendars": Field(read_calendars),
    "fields": Field(read_fields),
    "server": Field(mapping(SERVER)),
    "webhooks": Field(read_webhooks),
    "sources": Field(read_sources),
    "imports": Field(read_imports),
    "spikes": Field(mapping(SPIKES)),
    "nightly": Field(mapping(NIGHTLY)),
    "remote": Field(valid.url),
    "offline": Field(valid.truth),
}
MISPLACED_KEYS = dict.fromkeys(
    CLASSIFIER.keys() - TOP_KEYS.keys() - DESTINATION.keys(),
    "is a key of a classifier; write it below classifiers.NAME",
)
