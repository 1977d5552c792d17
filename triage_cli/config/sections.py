"""The keys of config.yaml, their checks, and the references between sections."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from triage_cli.config.destination_specs import DestinationSpec
from triage_cli.config.destinations import read_destinations
from triage_cli.config.json_schema import DIALECT, accepts, named_schema, or_null, record_schema, schema_of
from triage_cli.config.oidc import read_oidc
from triage_cli.config.routes import MOST_ERROR, Routes, later, routes_schema, share
from triage_cli.config.sources import read_sources
from triage_cli.config.specs import DEFAULT_CATEGORIES, KEY_VARIABLES, REDACTABLE, WIRES, ClassifierSpec, Price
from triage_cli.config.validators import (
    Field,
    absolute,
    database,
    former,
    label,
    named,
    number,
    one_of,
    optional,
    record,
    same_name,
    several,
    suggestion,
    text,
    truth,
    url,
    variable,
)
from triage_cli.config.webhooks import read_webhooks
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError
from triage_cli.domain.deliveries import Rule
from triage_cli.domain.tickets import Category

LOCAL = ClassifierSpec("local", "local")
MODELS = ("decision", "openai", "anthropic")
COUNT = number(1, 1_000_000_000, whole=True)
SHARE = number(0, 1)
MONEY = number(0, 1_000_000)


class Sections(NamedTuple):
    """The values of the file; null if it has none and the caller makes the default."""

    values: Mapping[str, Any]
    categories: tuple[Category, ...]
    classifiers: Mapping[str, ClassifierSpec]
    classifier: str
    destinations: Mapping[str, DestinationSpec]
    routes: tuple[Rule, ...] | None


def read(root: ConfigNode) -> Sections:
    """Check the whole file; mistakes go to its diagnostics."""
    silent = [key for key, node in root.value.items() if node.value is None and key in TOP]
    spoken = ConfigNode(
        root.node._replace(value={k: v for k, v in root.value.items() if k not in silent}), "", root.diagnostics
    )
    values = record(spoken, TOP, "", instead="api_key_env (classifiers) or secret_env (destinations)")
    categories = values.get("categories", DEFAULT_CATEGORIES)
    classifiers = {"local": LOCAL} | values.get("classifiers", {})
    destinations = dict(values.get("destinations", {}))
    routes = None
    if "routes" in values:
        routes = values["routes"].read(lambda setting: Routes(categories, destinations).read(setting), ())
    to = values.get("spikes")
    if to is not None and to not in destinations:
        setting = spoken.entries()["spikes"].entries()["to"]
        setting.wrong(f'no destination "{to}"{suggestion(to, destinations)}')
    return Sections(values, categories, classifiers, _default(spoken, values, classifiers), destinations, routes)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the whole file; at its top a key without a value counts as missing."""
    top = record_schema(TOP)
    properties = {key: or_null(key_schema) for key, key_schema in top["properties"].items()}
    return {"$schema": DIALECT, "title": "The configuration of triage", **top, "properties": properties}


def _default(root: ConfigNode, values: Mapping[str, Any], classifiers: Mapping[str, ClassifierSpec]) -> str:
    """Return the default classifier: the one named, else `local` if it applies, else the first listed."""
    listed_ones = values.get("classifiers", {})
    if "classifier" not in values:
        return "local" if "local" in listed_ones or not listed_ones else next(iter(listed_ones))
    name: str = values["classifier"]
    if name not in classifiers:
        root.entries()["classifier"].wrong(f'no classifier "{name}"{suggestion(name, classifiers)}')
    return name


# Categories


@accepts(lambda: {"anyOf": [schema_of(label), record_schema(CATEGORY)]})
def _category(setting: ConfigNode) -> Category | None:
    """Read a category: a mapping, or only a name."""
    if not isinstance(setting.value, dict | list):
        name = label(setting)
        setting.origin(f"categories.{name}")
        return Category(name)
    named = setting.value.get("name") if isinstance(setting.value, dict) else None
    values = record(setting, CATEGORY, f"categories.{named.value if named else ''}")
    return Category(**values) if "name" in values else None


@accepts(lambda: {"type": "array", "items": schema_of(_category), "minItems": 2, "maxItems": 255})
def _categories(setting: ConfigNode) -> tuple[Category, ...]:
    checked_categories: list[Category] = []
    taken: dict[str, str] = {}
    heirs: dict[str, str] = {}
    read = [
        (inner_setting, category) for inner_setting in setting.items() if (category := inner_setting.read(_category))
    ]
    current = [category.name for _, category in read]
    for inner_setting, category in read:
        first = taken.setdefault(same_name(category.name), inner_setting.path)
        if first != inner_setting.path:
            inner_setting.wrong(f'"{category.name}" is the category of {first} again')
            continue
        for old in category.was:
            if old in current:
                inner_setting.wrong(f'was: "{old}" is a category still; a former name must be free')
            elif heirs.setdefault(old, category.name) != category.name:
                inner_setting.wrong(f'was: "{old}" is a former name of "{heirs[old]}" already')
        checked_categories.append(category)
    if not 2 <= len(setting.value) <= 255:
        setting.wrong(f"needs 2 to 255 categories, not {len(setting.value)}")
    return tuple(checked_categories)


# Classifiers and destinations


@accepts(lambda: named_schema(record_schema(CLASSIFIER)))
def _classifiers(setting: ConfigNode) -> dict[str, ClassifierSpec]:
    checked_classifiers = {}
    for name, inner_setting in named(setting).items():
        values = record(inner_setting, CLASSIFIER, f"classifiers.{name}", instead="api_key_env")
        chosen = values.get("type", "")
        if chosen in KEY_VARIABLES and "api_key_env" not in inner_setting.value:
            if values.get("base_url"):
                inner_setting.wrong(
                    "api_key_env is missing: name the variable of this server's key, or null if it needs none"
                )
            values["api_key_env"] = KEY_VARIABLES[chosen]
        if "max_error" in values and "min_confidence" in values:
            inner_setting.wrong("max_error stands in place of min_confidence: leave one of them out")
        checked_classifiers[name] = ClassifierSpec(name, **{"type": "", **values})
    _check_steps(setting, {"local": LOCAL} | checked_classifiers)
    return checked_classifiers


def _check_steps(setting: ConfigNode, classifiers: Mapping[str, ClassifierSpec]) -> None:
    """Report steps that do not exist, occur twice, or are cascades themselves."""
    for name, inner_setting in setting.entries().items():
        steps = inner_setting.entries().get("steps") if isinstance(inner_setting.value, dict) else None
        if steps is None or not classifiers[name].steps:
            continue
        earlier: set[str] = set()
        for step in steps.items():
            if not isinstance(step.value, str):
                continue
            if step.value not in classifiers:
                step.wrong(f'no classifier "{step.value}"{suggestion(step.value, classifiers)}')
            elif classifiers[step.value].type == "cascade":
                step.wrong(f'"{step.value}" is a cascade; a step must be one classifier')
            elif step.value in earlier:
                step.wrong(f'"{step.value}" stands twice')
            earlier.add(step.value)


@accepts(lambda: record_schema(SERVER))
def _server(setting: ConfigNode) -> dict[str, Any]:
    return record(setting, SERVER, "server")


@accepts({"type": "string", "pattern": r"^[hH][tT][tT][pP][sS]?://[^\s/?#@\\]+$"})
def _cors_origin(setting: ConfigNode) -> str:
    """Accept an origin as browsers send it: scheme, host and port."""
    given = url(setting)
    if given.count("/") > len("//") or {"?", "#"} & set(given):
        raise ConfigValueError("must end with the host or port, as in https://desk.example.com")
    return given.lower()


@accepts(lambda: record_schema(BUDGET))
def _budget(setting: ConfigNode) -> float | None:
    per_day: float | None = record(setting, BUDGET, "budget").get("per_day")
    return per_day


@accepts(lambda: record_schema(SPIKES))
def _spikes(setting: ConfigNode) -> str | None:
    to: str | None = record(setting, SPIKES, "spikes").get("to")
    return to


@accepts(lambda: record_schema(PRICE))
def _price(setting: ConfigNode) -> Price:
    return Price(**record(setting, PRICE, setting.path))


@accepts(schema_of(text))
def _folder(setting: ConfigNode) -> Path:
    return absolute(text(setting), setting.diagnostics.folder, setting.diagnostics.home)


CATEGORY: Mapping[str, Field] = {
    "name": Field(label, needed=True),
    "description": Field(text),
    "examples": Field(several(text)),
    "was": Field(several(former)),
}
PRICE: Mapping[str, Field] = {
    "input": Field(MONEY, needed=True),
    "output": Field(MONEY, needed=True),
    "cache_read": Field(optional(MONEY)),
    "cache_write": Field(optional(MONEY)),
}
CLASSIFIER: Mapping[str, Field] = {
    "type": Field(one_of("local", *MODELS, "cascade"), needed=True),
    "min_confidence": Field(SHARE, ("local", *MODELS)),
    "max_error": Field(share(MOST_ERROR), ("local", *MODELS)),
    "encoder": Field(optional(_folder), ("local",)),
    "model": Field(text, MODELS, needed=True),
    "base_url": Field(optional(url), MODELS),
    "api_key_env": Field(optional(variable), MODELS),
    "wire": Field(optional(one_of(*WIRES)), ("decision",)),
    "workers": Field(number(1, 1000, whole=True), MODELS),
    "requests_per_minute": Field(optional(COUNT), MODELS),
    "tokens_per_minute": Field(optional(COUNT), MODELS),
    "timeout": Field(number(0.1, 3600), MODELS),
    "max_retries": Field(number(0, 100, whole=True), MODELS),
    "price": Field(optional(_price), MODELS),
    "redact": Field(several(one_of(*REDACTABLE)), MODELS),
    "steps": Field(several(text, alone=False, least=1, most=20), ("cascade",), needed=True),
    "audit_rate": Field(SHARE, ("cascade",)),
    "hysteresis": Field(SHARE),
}
SERVER: Mapping[str, Field] = {
    "requests_per_minute": Field(optional(COUNT)),
    "oidc": Field(read_oidc),
    "cors_origins": Field(several(_cors_origin)),
}
SPIKES: Mapping[str, Field] = {"to": Field(text, needed=True)}
BUDGET: Mapping[str, Field] = {"per_day": Field(optional(MONEY))}
TOP: Mapping[str, Field] = {
    "database": Field(database),
    "categories": Field(_categories),
    "classifier": Field(text),
    "classifiers": Field(_classifiers),
    "budget": Field(_budget),
    "destinations": Field(read_destinations),
    "routes": Field(later(routes_schema)),
    "server": Field(_server),
    "webhooks": Field(read_webhooks),
    "sources": Field(read_sources),
    "spikes": Field(_spikes),
    "remote": Field(url),
    "offline": Field(truth),
}
