"""The routing map of config.yaml: the short form, the long form, and addresses that become destinations."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from triage_cli.config.destinations import DestinationSpec, unnamed_webhook
from triage_cli.config.key_tables import Field, Schema, accepts, record, record_schema, schema_of, suggestion
from triage_cli.config.validators import label, number, one_of, several, share, text, truth, unless, url
from triage_cli.config.yaml_document import Check, ConfigNode, ConfigValueError, kind
from triage_cli.domain import EXTRA, PRIORITIES, Category, Rule

# The largest share of wrong answers that can be promised.
MOST_ERROR = 0.5
# What looks like a comparison of numbers, as > 100; a rule compares whole texts.
COMPARISON = re.compile(r"\s*(?:[<>=!]=|[<>≤≥])\s*[-+]?[0-9][0-9.,_]*\s*")
COLUMN_TEXT: Schema = {"type": "string", "pattern": r"\S", "not": {"pattern": f"^{COMPARISON.pattern}$"}}


def later(schema: Callable[[], Schema]) -> Check:
    """Accept any value for now, since the names in it are not known yet; `schema` is that of the final check."""
    return accepts(schema)(lambda setting: setting)


def routes_schema() -> Schema:
    """Return the schema of a routing map in its two forms."""
    short = {"type": "object", "additionalProperties": _to_schema()}
    return {"anyOf": [short, {"type": "array", "items": record_schema(ROUTE)}]}


def _to_schema() -> Schema:
    return schema_of(several(_route_target, least=1))


def _when_schema() -> Schema:
    conditions = {key: field for key, field in WHEN.items() if key != COLUMN}
    return record_schema(conditions) | {"patternProperties": {f"^{re.escape(EXTRA)}.": schema_of(WHEN[COLUMN].check)}}


@accepts({"anyOf": [schema_of(url), {**schema_of(text), "not": {"pattern": "://"}}]})
def _route_target(setting: ConfigNode) -> str:
    """Accept what a route leads to: the name of a destination, or an address."""
    return text(setting)


def _comparison_objection(column: str) -> str:
    if not COMPARISON.fullmatch(column):
        return ""
    return f'compares no numbers: only the text "{column}" itself would match; list the values that are meant'


@accepts(schema_of(truth))
def _verdict_condition(setting: ConfigNode) -> tuple[bool]:
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
    COLUMN: Field(several(unless(COLUMN_TEXT, _comparison_objection), least=1)),
    "verdict": Field(_verdict_condition),
    "min_confidence": Field(number(0, 1)),
    "max_error": Field(share(MOST_ERROR)),
}
COMPARED_CONDITIONS = ("min_confidence", "max_error")


class RouteReader:
    """Reads the routing map; an address in it becomes a destination."""

    def __init__(self, categories: tuple[Category, ...], destinations: dict[str, DestinationSpec]) -> None:
        self.destinations = destinations
        self.names = [category.name for category in categories]
        self.current_names = {old: category.name for category in categories for old in category.was}

    def read(self, setting: ConfigNode) -> tuple[Rule, ...]:
        """Return the rules of the routing map; adds its addresses to `destinations`."""
        if isinstance(setting.value, dict):
            return self._short_form(setting)
        if isinstance(setting.value, list):
            return self._long_form(setting)
        raise ConfigValueError(
            f"must be a mapping (category: destination) or a list of rules, not {kind(setting.node)}"
        )

    def _short_form(self, setting: ConfigNode) -> tuple[Rule, ...]:
        rules: dict[str, Rule] = {}
        for name, inner in setting.entries().items():
            current_name = self.current_names.get(name, name)
            receivers = inner.read(self._receivers, ())
            if current_name not in self.names:
                inner.wrong(f'no category "{name}"{suggestion(name, self.names)}')
            elif current_name in rules:
                inner.wrong(f'"{current_name}" has a route already; "{name}" is the same category')
            else:
                inner.origin(f"routes.{current_name}.to")
                inner.origin(f"routes.{current_name}.when.category")
                rules[current_name] = Rule(f"routes.{current_name}", receivers, {"category": (current_name,)})
        return tuple(rules.values())

    def _long_form(self, setting: ConfigNode) -> tuple[Rule, ...]:
        rules: dict[str, Rule] = {}
        for inner in setting.items():
            rule = inner.read(self._rule)
            if rule is not None and rule.name in rules:
                inner.wrong(f'another rule is named "{rule.name.removeprefix("routes.")}"')
            elif rule is not None:
                rules[rule.name] = rule
        return tuple(rules.values())

    def _rule(self, setting: ConfigNode) -> Rule:
        name_entry = setting.entries().get("name")
        rule_name = f"routes.{name_entry.value}" if name_entry and isinstance(name_entry.value, str) else setting.path
        values = record(setting, ROUTE, rule_name)
        receivers = values["to"].read(self._receivers, ()) if "to" in values else ()
        conditions = self._conditions(values["when"], rule_name) if "when" in values else {}
        if "category" in conditions:
            conditions["category"] = tuple(self._category(setting, name) for name in conditions["category"])
        return Rule(
            rule_name,
            receivers,
            {key: value for key, value in conditions.items() if key not in COMPARED_CONDITIONS},
            **{key: conditions.get(key) for key in COMPARED_CONDITIONS},
        )

    @staticmethod
    def _conditions(setting: ConfigNode, name: str) -> dict[str, Any]:
        """Read the conditions of a rule, in the order of the table, so that equal rules have equal hashes."""
        extra_columns = [
            key for key in (setting.value if isinstance(setting.value, dict) else ()) if key.startswith(EXTRA)
        ]
        table = {**WHEN, **{key: WHEN[COLUMN] for key in sorted(extra_columns) if key != EXTRA}}
        values = record(setting, table, f"{name}.when")
        return {key: values[key] for key in table if key in values}

    def _category(self, setting: ConfigNode, name: str) -> str:
        """Return the current name of a category that a rule names."""
        current_name = self.current_names.get(name, name)
        if current_name not in self.names:
            inner = setting.entries()["when"].entries()["category"]
            inner.wrong(f'no category "{name}"{suggestion(name, self.names)}')
        return current_name

    def _receivers(self, setting: ConfigNode) -> tuple[str, ...]:
        return tuple(dict.fromkeys(several(self._receiver, least=1)(setting)))

    def _receiver(self, setting: ConfigNode) -> str:
        receiver = _route_target(setting)
        if receiver in self.destinations:
            return receiver
        if "://" not in receiver:
            raise ConfigValueError(f'no destination "{receiver}"{suggestion(receiver, self.destinations)}')
        self.destinations[receiver] = unnamed_webhook(receiver, setting)
        return receiver


def default_routes(categories: Iterable[Category]) -> tuple[Rule, ...]:
    """Return the rules without a routing map: each category is routed to the destination of its name."""
    routed_names = [category.name for category in categories]
    return tuple(Rule(f"routes.{name}", (name,), {"category": (name,)}) for name in routed_names)
