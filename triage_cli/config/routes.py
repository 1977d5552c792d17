"""The routing map of config.yaml: the short form, the long form, and addresses that become destinations."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from triage_cli.config.destinations import DestinationSpec, unnamed_webhook
from triage_cli.config.json_schema import Schema, accepts, record_schema, schema_of
from triage_cli.config.key_tables import Field, record, suggestion
from triage_cli.config.validators import label, number, one_of, several, share, text, truth, url
from triage_cli.config.yaml_document import Check, ConfigNode, ConfigValueError, kind
from triage_cli.domain.routing_rules import EXTRA, Rule
from triage_cli.domain.tickets import PRIORITIES, Category

# The largest share of wrong answers that can be promised.
MOST_ERROR = 0.5


def later(schema: Callable[[], Schema]) -> Check:
    """Accept any value for now, since the names in it are not known yet; `schema` is that of the final check."""
    return accepts(schema)(lambda setting: setting)


def routes_schema() -> Schema:
    """Return the schema of a routing map in its two forms."""
    short = {"type": "object", "additionalProperties": _to_schema()}
    return {"anyOf": [short, {"type": "array", "items": record_schema(ROUTE)}]}


def _to_schema() -> Schema:
    return schema_of(several(_target, least=1))


def _when_schema() -> Schema:
    fields = {key: field for key, field in WHEN.items() if key != COLUMN}
    return record_schema(fields) | {"patternProperties": {f"^{re.escape(EXTRA)}.": schema_of(WHEN[COLUMN].check)}}


@accepts({"anyOf": [schema_of(url), {**schema_of(text), "not": {"pattern": "://"}}]})
def _target(setting: ConfigNode) -> str:
    """Accept the name of a destination, or an address."""
    return text(setting)


@accepts(schema_of(truth))
def _whether(setting: ConfigNode) -> tuple[bool]:
    return (truth(setting),)


ROUTE: Mapping[str, Field] = {
    "name": Field(label),
    "when": Field(later(_when_schema)),
    "to": Field(later(_to_schema), needed=True),
}
# The placeholder for any column of `extra`.
COLUMN = f"{EXTRA}COLUMN"
WHEN: Mapping[str, Field] = {
    "category": Field(several(text, least=1)),
    "priority": Field(several(one_of(*PRIORITIES), least=1)),
    "customer_id": Field(several(text, least=1)),
    "external_id": Field(several(text, least=1)),
    "source": Field(several(text, least=1)),
    COLUMN: Field(several(text, least=1)),
    "verdict": Field(_whether),
    "min_confidence": Field(number(0, 1)),
    "max_error": Field(share(MOST_ERROR)),
}
COMPARED = ("min_confidence", "max_error")


class Routes:
    """Reads the routing map; an address in it becomes a destination."""

    def __init__(self, categories: tuple[Category, ...], destinations: dict[str, DestinationSpec]) -> None:
        self.destinations = destinations
        self.names = [category.name for category in categories]
        self.current_names = {old: category.name for category in categories for old in category.was}

    def read(self, setting: ConfigNode) -> tuple[Rule, ...]:
        """Return the rules; adds the addresses to `destinations`."""
        if isinstance(setting.value, dict):
            return self._short(setting)
        if isinstance(setting.value, list):
            return self._long(setting)
        raise ConfigValueError(
            f"must be a mapping (category: destination) or a list of rules, not {kind(setting.node)}"
        )

    def _short(self, setting: ConfigNode) -> tuple[Rule, ...]:
        rules: dict[str, Rule] = {}
        for key, route_setting in setting.entries().items():
            name = self.current_names.get(key, key)
            to = route_setting.read(self._to, ())
            if name not in self.names:
                route_setting.wrong(f'no category "{key}"{suggestion(key, self.names)}')
            elif name in rules:
                route_setting.wrong(f'"{name}" has a route already; "{key}" is the same category')
            else:
                route_setting.origin(f"routes.{name}.to")
                route_setting.origin(f"routes.{name}.when.category")
                rules[name] = Rule(f"routes.{name}", to, {"category": (name,)})
        return tuple(rules.values())

    def _long(self, setting: ConfigNode) -> tuple[Rule, ...]:
        rules: dict[str, Rule] = {}
        for route_setting in setting.items():
            rule = route_setting.read(self._rule)
            if rule is not None and rule.name in rules:
                route_setting.wrong(f'another rule is named "{rule.name.removeprefix("routes.")}"')
            elif rule is not None:
                rules[rule.name] = rule
        return tuple(rules.values())

    def _rule(self, setting: ConfigNode) -> Rule:
        given = setting.entries().get("name")
        name = f"routes.{given.value}" if given and isinstance(given.value, str) else setting.path
        values = record(setting, ROUTE, name)
        to = values["to"].read(self._to, ()) if "to" in values else ()
        when = self._when(values["when"], name) if "when" in values else {}
        if "category" in when:
            when["category"] = tuple(self._category(setting, word) for word in when["category"])
        return Rule(
            name,
            to,
            {key: value for key, value in when.items() if key not in COMPARED},
            **{key: when.get(key) for key in COMPARED},
        )

    @staticmethod
    def _when(setting: ConfigNode, name: str) -> dict[str, Any]:
        """Read the conditions, in the order of the table, so that equal rules have equal hashes."""
        columns = [key for key in (setting.value if isinstance(setting.value, dict) else ()) if key.startswith(EXTRA)]
        table = {**WHEN, **{key: WHEN[COLUMN] for key in sorted(columns) if key != EXTRA}}
        values = record(setting, table, f"{name}.when")
        return {key: values[key] for key in table if key in values}

    def _category(self, setting: ConfigNode, word: str) -> str:
        """Return the category's current name."""
        name = self.current_names.get(word, word)
        if name not in self.names:
            route_setting = setting.entries()["when"].entries()["category"]
            route_setting.wrong(f'no category "{word}"{suggestion(word, self.names)}')
        return name

    def _to(self, setting: ConfigNode) -> tuple[str, ...]:
        return tuple(dict.fromkeys(several(self._destination, least=1)(setting)))

    def _destination(self, setting: ConfigNode) -> str:
        name = _target(setting)
        if name in self.destinations:
            return name
        if "://" not in name:
            raise ConfigValueError(f'no destination "{name}"{suggestion(name, self.destinations)}')
        self.destinations[name] = unnamed_webhook(name, setting)
        return name


def default_routes(categories: Iterable[Category]) -> tuple[Rule, ...]:
    """Send each category to the destination of its name."""
    names = [category.name for category in categories]
    return tuple(Rule(f"routes.{name}", (name,), {"category": (name,)}) for name in names)
