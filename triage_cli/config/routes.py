"""The routing map of config.yaml: the short form, the long form, and addresses that become destinations."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from triage_cli import domain as dm
from triage_cli.config import validators as valid
from triage_cli.config.destinations import DestinationSpec, unnamed_webhook
from triage_cli.config.key_tables import Field, Schema, accepts, listed, record, record_schema, schema_of, suggestion
from triage_cli.config.rule_conditions import (
    BEFORE_WHEN,
    ESCALATION_WHEN,
    WHEN,
    answer_condition,
    read_conditions,
    when_schema,
)
from triage_cli.config.yaml_document import (
    MAX_BYTES,
    Check,
    ConfigNode,
    ConfigValueError,
    Diagnostics,
    UnreadableError,
    kind,
    parse,
)

SECTIONS = ("routes", "escalations")


def open_routes(path: Path, label: str, diagnostics: Diagnostics) -> tuple[ConfigNode | None, ConfigNode | None]:
    """Return the routing map of a file and its escalations, under the paths that they have in config.yaml.

    The file is the map itself, or has both below their keys; without them they are None, as in a file that is no YAML.
    Its mistakes go to diagnostics of its own, which join the others; `label` names it there. Raises `ConfigValueError`
    if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigValueError(f"cannot read {path}: {exc.strerror}") from exc
    file_diagnostics = diagnostics.of_other_file(label, path.parent)
    try:
        root = parse(content, file_diagnostics)
    except UnreadableError as exc:
        file_diagnostics.wrong(exc.line, "", str(exc))
        return None, None
    # Else such a key is the name of a category.
    is_sectioned = isinstance(root.value, dict) and any(
        key in root.value and isinstance(root.value[key].value, dict | list) for key in SECTIONS
    )
    if not is_sectioned:
        return ConfigNode(root, "routes", file_diagnostics), None
    for key, node in root.value.items():
        if key not in SECTIONS:
            file_diagnostics.wrong(node.line, key, f"unknown key; the file of a routing map has {listed(SECTIONS)}")
    routes, escalations = (
        ConfigNode(root.value[key], key, file_diagnostics) if key in root.value else None for key in SECTIONS
    )
    return routes, escalations


def later(schema: Callable[[], Schema]) -> Check:
    """Accept any value for now, since the names in it are not known yet; `schema` is that of the final check."""
    return accepts(schema)(lambda setting: setting)


def routes_schema() -> Schema:
    """Return the schema of a routing map in its two forms, or of the name of its file."""
    short = {"type": "object", "additionalProperties": _to_schema()}
    return {"anyOf": [schema_of(valid.text), short, {"type": "array", "items": record_schema(ROUTE)}]}


def escalations_schema() -> Schema:
    """Return the schema of the escalations."""
    return {"type": "array", "items": record_schema(ESCALATION)}


def _to_schema() -> Schema:
    return schema_of(valid.several(_route_target, least=1))


@accepts({"anyOf": [schema_of(valid.url), {**schema_of(valid.text), "not": {"pattern": "://"}}]})
def _route_target(setting: ConfigNode) -> str:
    """Accept what a route leads to: the name of a destination, or an address."""
    return valid.text(setting)


ROUTE: Mapping[str, Field] = {
    "name": Field(valid.label),
    "when": Field(later(when_schema)),
    "to": Field(later(_to_schema), needed=True),
    "before": Field(valid.one_of("classify")),
}
ESCALATION: Mapping[str, Field] = {
    "name": Field(valid.label),
    "when": Field(later(lambda: when_schema(ESCALATION_WHEN)), needed=True),
    "to": Field(later(_to_schema), needed=True),
}
COMPARED_CONDITIONS = ("min_confidence", "max_error")


class RouteReader:
    """Reads the routing map; an address in it becomes a destination."""

    def __init__(
        self,
        categories: tuple[dm.Category, ...],
        destinations: dict[str, DestinationSpec],
        calendars: Mapping[str, dm.Calendar],
        questions: Iterable[dm.Question] = (),
    ) -> None:
        self.destinations = destinations
        self.calendars = calendars
        asked = {question.name: question for question in questions}
        self.questions = {
            name: asked.get(name)
            or dm.Question(name, tuple(map(dm.Category, (*dm.parts_of(name, asked), dm.NO_VALUE))))
            for name in dm.whole_names(asked)
        }
        self.before: list[dm.Rule] = []  # the rules of the map that send before the classification
        self.names = [category.name for category in categories]
        self.levels = dm.Levels.of(categories)
        self.current_names = {old: category.name for category in categories for old in category.was}

    def read(self, setting: ConfigNode) -> tuple[dm.Rule, ...]:
        """Return the rules of the routing map; adds its addresses to `destinations`."""
        if isinstance(setting.value, dict):
            return self._short_form(setting)
        if isinstance(setting.value, list):
            return self._long_form(setting)
        raise ConfigValueError(
            f"must be a mapping (category: destination) or a list of rules, not {kind(setting.node)}"
        )

    def _short_form(self, setting: ConfigNode) -> tuple[dm.Rule, ...]:
        rules: dict[str, dm.Rule] = {}
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
                accepted = self._with_what_is_below([current_name])
                rules[current_name] = dm.Rule(f"routes.{current_name}", receivers, {"category": accepted})
        return tuple(rules[name] for name in sorted(rules, key=self.levels.depth, reverse=True))  # the lowest wins

    def _long_form(self, setting: ConfigNode) -> tuple[dm.Rule, ...]:
        rules: dict[str, dm.Rule] = {}
        for inner in setting.items():
            rule = inner.read(self._rule)
            if rule is not None and rule.name in rules:
                inner.wrong(f'another rule is named "{rule.name.removeprefix("routes.")}"')
            elif rule is not None:
                rules[rule.name] = rule
        self.before = [rule for setting in setting.items() if (rule := self._before(setting, rules))]
        names = {rule.name for rule in self.before}
        return tuple(rule for rule in rules.values() if rule.name not in names)

    def _before(self, setting: ConfigNode, rules: Mapping[str, dm.Rule]) -> dm.Rule | None:
        """Return a rule that sends before the classification; None if it does not. Its mistakes are reported."""
        if not isinstance(setting.value, dict) or "before" not in setting.value:
            return None
        rule = rules.get(_rule_name(setting, "routes"))
        if rule is not None:
            compared = {key: getattr(rule, key) for key in COMPARED_CONDITIONS if getattr(rule, key) is not None}
            for key in (*rule.when, *compared):
                if key not in BEFORE_WHEN and not key.startswith(dm.EXTRA):
                    setting.wrong(f"looks at {key}, which is not known before: classify; leave one of them out")
            self._check_no_labels(setting, rule)
        return rule

    def _check_no_labels(self, setting: ConfigNode, rule: dm.Rule) -> None:
        """Record a mistake if a rule beside the map leads to a destination that labels by the category."""
        for name in rule.to:
            if self.destinations[name].writes_back:
                setting.wrong(
                    f"{name} labels a helpdesk's ticket with its category, and only the routing map gives one"
                )

    def escalations(self, setting: ConfigNode) -> tuple[dm.Rule, ...]:
        """Return the escalations; adds their addresses to `destinations`."""
        rules: dict[str, dm.Rule] = {}
        for inner in setting.items():
            rule = inner.read(lambda each: self._rule(each, "escalations", ESCALATION, ESCALATION_WHEN))
            if rule is not None and rule.name in rules:
                inner.wrong(f'another escalation is named "{rule.name.removeprefix("escalations.")}"')
            elif rule is not None:
                self._check_no_labels(inner, rule)
                rules[rule.name] = rule
        return tuple(rules.values())

    def _rule(
        self,
        setting: ConfigNode,
        section: str = "routes",
        keys: Mapping[str, Field] = ROUTE,
        when: Mapping[str, Field] = WHEN,
    ) -> dm.Rule:
        rule_name = _rule_name(setting, section)
        values = record(setting, keys, rule_name)
        receivers = values["to"].read(self._receivers, ()) if "to" in values else ()
        of_questions = dict.fromkeys(self.questions, Field(answer_condition))
        conditions = read_conditions(values["when"], rule_name, {**when, **of_questions}) if "when" in values else {}
        for name in self.questions.keys() & conditions.keys():
            conditions[name] = self._answers(setting, self.questions[name], conditions[name])
        if "category" in conditions:
            named = [self._category(setting, name) for name in conditions["category"]]
            conditions["category"] = self._with_what_is_below(named)
        if "hours" in conditions:
            name, outside = conditions["hours"]
            conditions["hours"] = dm.Hours(self._calendar(setting, "hours", name), outside)
        if "age" in conditions:
            over, name = conditions["age"]
            conditions["age"] = dm.Age(over, None if name is None else self._calendar(setting, "age", name))
        return dm.Rule(
            rule_name,
            receivers,
            {key: value for key, value in conditions.items() if key not in COMPARED_CONDITIONS},
            **{key: conditions.get(key) for key in COMPARED_CONDITIONS},
        )

    def _category(self, setting: ConfigNode, name: str) -> str:
        """Return the current name of a category that a rule names."""
        current_name = self.current_names.get(name, name)
        if current_name not in self.names:
            inner = setting.entries()["when"].entries()["category"]
            inner.wrong(f'no category "{name}"{suggestion(name, self.names)}')
        return current_name

    def _answers(
        self, setting: ConfigNode, question: dm.Question, named: Sequence[str | None]
    ) -> tuple[str | None, ...]:
        """Return the values of a question that a rule names, with those below them; None is that of an open one."""
        names = [value.name for value in question.values]
        for name in named:
            if name is not None and name not in names:
                inner = setting.entries()["when"].entries()[question.name]
                inner.wrong(f'no value "{name}"{suggestion(name, names)}')
        return _with_what_is_below(named, names, question.labels)

    def _with_what_is_below(self, named: Sequence[str]) -> tuple[str, ...]:
        """Return named categories, and those below them, in the order of the list."""
        return _with_what_is_below(named, self.names, self.levels)

    def _calendar(self, setting: ConfigNode, key: str, name: str) -> dm.Calendar:
        """Return the calendar that a condition of a rule names."""
        if name not in self.calendars:
            inner = setting.entries()["when"].entries()[key]
            inner.wrong(f'no calendar "{name}"{suggestion(name, self.calendars)}')
        return self.calendars.get(name, dm.Calendar(name, "UTC", ()))

    def _receivers(self, setting: ConfigNode) -> tuple[str, ...]:
        return tuple(dict.fromkeys(valid.several(self._receiver, least=1)(setting)))

    def _receiver(self, setting: ConfigNode) -> str:
        receiver = _route_target(setting)
        if receiver in self.destinations:
            return receiver
        if "://" not in receiver:
            raise ConfigValueError(f'no destination "{receiver}"{suggestion(receiver, self.destinations)}')
        self.destinations[receiver] = unnamed_webhook(receiver, setting)
        return receiver


N = TypeVar("N", bound=str | None)


def _with_what_is_below(named: Sequence[N], names: Iterable[str], levels: dm.Levels) -> tuple[N | str, ...]:
    below = (name for name in names if any(levels.refines(name, each) for each in named))
    return tuple(dict.fromkeys((*named, *below)))


def _rule_name(setting: ConfigNode, section: str) -> str:
    """Return the name that logs have for a rule: the one that it is given, else its place."""
    name_entry = setting.entries().get("name")
    return f"{section}.{name_entry.value}" if name_entry and isinstance(name_entry.value, str) else setting.path


def default_routes(categories: Iterable[dm.Category]) -> tuple[dm.Rule, ...]:
    """Return the rules without a routing map: each category is routed to the destination of its name."""
    routed_names = [category.name for category in categories]
    return tuple(dm.Rule(f"routes.{name}", (name,), {"category": (name,)}) for name in routed_names)
