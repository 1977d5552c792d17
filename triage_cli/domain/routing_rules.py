"""Routing rules: their conditions, and which of them a ticket matches. They are read before any ticket is."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from triage_cli.domain.calendars import Age, Hours
from triage_cli.domain.classifications import PRECEDENT
from triage_cli.domain.evaluation.error_bounds import NEVER, MaxError, in_percent
from triage_cli.domain.json_values import compact, from_json
from triage_cli.domain.questions import held_values
from triage_cli.domain.tickets import Ticket
from triage_cli.domain.times import to_seconds


class Words(NamedTuple):
    """A text has one of these words or phrases, as whole words in whatever case."""

    words: tuple[str, ...]

    def holds(self, text: str) -> bool:
        """Return whether the condition holds of a text."""
        from triage_cli.domain import linear_patterns  # few configurations have rules that read

        return linear_patterns.has_words(self.words, text)

    def __str__(self) -> str:
        return "has " + " or ".join(f'"{word}"' for word in self.words)


class Match(NamedTuple):
    """A text has a part that a pattern of RE2 matches."""

    match: str

    def holds(self, text: str) -> bool:
        """Return whether the condition holds of a text."""
        from triage_cli.domain import linear_patterns

        return linear_patterns.found(self.match, text)

    def __str__(self) -> str:
        return f"matches {self.match}"


class Bounds(NamedTuple):
    """A number or a time lies within bounds: all of them numbers, or all of them times of ISO 8601."""

    over: float | str | None = None
    under: float | str | None = None
    at_least: float | str | None = None
    at_most: float | str | None = None

    def given(self) -> Iterator[tuple[str, float | str]]:
        """Yield the bounds that are given, by their names."""
        return ((name, bound) for name, bound in self._asdict().items() if bound is not None)

    def can_hold(self) -> bool:
        """Return whether the condition holds of any value."""
        bounds = {name: _comparable(bound) for name, bound in self.given()}
        least, most = (
            max(bounds.get("over", -math.inf), bounds.get("at_least", -math.inf)),
            min(bounds.get("under", math.inf), bounds.get("at_most", math.inf)),
        )
        return least < most or (least == most and not bounds.keys() & {"over", "under"})

    def holds(self, value: object) -> bool:
        """Return whether the condition holds of a value; of none that is no number, or no time."""
        are_times = any(isinstance(bound, str) for _, bound in self.given())
        compared = _as_time(value) if are_times else _as_number(value)
        if compared is None:
            return False
        return all(COMPARISONS[name](compared, _comparable(bound)) for name, bound in self.given())

    def __str__(self) -> str:
        bounds = (f"{name.replace('_', ' ')} {_shown(bound)}" for name, bound in self.given())
        return "is " + " and ".join(bounds)


COMPARISONS: dict[str, Any] = {
    "over": float.__gt__,
    "under": float.__lt__,
    "at_least": float.__ge__,
    "at_most": float.__le__,
}

# The values that a field may have, or a condition that reads it.
Condition = tuple[str | bool | None, ...] | Words | Match | Bounds | Hours | Age


def _comparable(bound: float | str) -> float:
    return to_seconds(bound) if isinstance(bound, str) else float(bound)


def _shown(bound: float | str) -> str:
    return bound if isinstance(bound, str) else f"{bound:g}"


def _as_number(value: object) -> float | None:
    if isinstance(value, str):
        return float(value) if re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # JSON has whole numbers of any length
        return math.inf if value > 0 else -math.inf


def _as_time(value: object) -> float | None:
    try:
        return to_seconds(value.strip()) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


# The prefix of a rule's condition on a column of a ticket's `extra`.
EXTRA = "extra."
# The conditions that look at a field of a ticket by its name; other names are those of questions.
FIELDS = frozenset({"category", "priority", "customer_id", "external_id", "source", "language", "verdict", "status"})
# The statuses in which a ticket may wait to be escalated.
ESCALATED = ("new", "failed", "needs_review", "routing", "unroutable", "undeliverable")


class Rule(NamedTuple):
    """A route: the first rule whose conditions all hold sends the ticket to its destinations.

    `when` maps a question to the values that its answer may have, None for one that is open, and `language` to codes,
    None for one that is not clear. It maps `category`, `priority`, `customer_id`, `external_id`, `source`, `verdict`
    or `extra.COLUMN` to the accepted values, `text` or `subject` to what they must have, `extra.COLUMN` also to
    bounds, and `hours` to those in which the ticket is routed; an escalation has `status` and `age`, too. Without
    conditions, a rule matches every ticket. `max_error` is the share of wrong answers that is promised of what the
    rule takes.
    """

    name: str
    to: tuple[str, ...]
    when: Mapping[str, Condition] = {}
    min_confidence: float | None = None
    max_error: MaxError | None = None

    @property
    def categories(self) -> tuple[str, ...]:
        """Return the categories that the rule names; none if it takes each."""
        return tuple(str(name) for name in self.when.get("category", ()))

    @property
    def compares(self) -> bool:
        """Return whether the rule looks at the ticket's confidence."""
        return self.min_confidence is not None or self.max_error is not None


class Reach(NamedTuple):
    """The rules that tickets of a category can match; `covered` if each of them matches one."""

    category: str
    rules: tuple[Rule, ...]
    covered: bool

    @property
    def destinations(self) -> tuple[str, ...]:
        """Return the destinations of the rules, in their order."""
        return tuple(dict.fromkeys(name for rule in self.rules for name in rule.to))


def _never_promised(_rule: Rule) -> float:
    """Return a threshold that no answer reaches, where a rule's `max_error` is promised of none."""
    return NEVER


def match(
    rules: Iterable[Rule],
    ticket: Ticket,
    promised: Callable[[Rule], float] = _never_promised,
    at: str = "",
    confidence_in: Callable[[Rule], float | None] | None = None,
) -> Rule | None:
    """Return the first routing rule whose conditions all hold.

    `promised` returns the confidence from which on the ticket's answer keeps the `max_error` of a rule. `at` is when
    the ticket is routed, which conditions on hours look at. `confidence_in` returns the confidence that a rule looks
    at, if it is not always the ticket's.
    """
    return next((rule for rule in rules if holds(rule, ticket, promised, at, confidence_in)), None)


def holds(
    rule: Rule,
    ticket: Ticket,
    promised: Callable[[Rule], float] = _never_promised,
    at: str = "",
    confidence_in: Callable[[Rule], float | None] | None = None,
) -> bool:
    """Return whether all conditions of a rule hold. A verdict, and what follows one, meets any confidence."""
    if not all(_meets(ticket, name, accepted, at) for name, accepted in rule.when.items()):
        return False
    if not rule.compares or ticket.verdict or ticket.confidence_source == PRECEDENT:
        return True
    least_confidence = max(rule.min_confidence or 0.0, 0.0 if rule.max_error is None else promised(rule))
    confidence = ticket.confidence if confidence_in is None else confidence_in(rule)
    return confidence is not None and confidence >= least_confidence


def _meets(ticket: Ticket, name: str, accepted: Condition, at: str) -> bool:
    """Return whether a ticket meets one condition of a rule. For a list in `extra`, one of its values is enough."""
    if isinstance(accepted, Words | Match):
        return accepted.holds(ticket.text if name == "text" else ticket.subject or "")
    if isinstance(accepted, Hours):
        return accepted.holds(at)
    if isinstance(accepted, Age):
        return accepted.holds(ticket.stored_at, at)
    if not name.startswith(EXTRA):
        of_field = name in FIELDS
        return getattr(ticket, name) in accepted if of_field else any(v in accepted for v in held_values(ticket, name))
    column_value = from_json(ticket.extra).get(name.removeprefix(EXTRA))
    values = column_value if isinstance(column_value, list) else [column_value]
    if isinstance(accepted, Bounds):
        return any(map(accepted.holds, values))
    return any((each if isinstance(each, str) else compact(each)) in accepted for each in values if each is not None)


def reach(rules: Iterable[Rule], category: str) -> Reach:
    """Return the rules that tickets of a category can match, up to the first that matches them all."""
    matching_rules: list[Rule] = []
    for rule in rules:
        if category in rule.when.get("category", (category,)):
            matching_rules.append(rule)
            if not rule.compares and rule.when.keys() <= {"category"}:
                return Reach(category, tuple(matching_rules), covered=True)
    return Reach(category, tuple(matching_rules), covered=False)


def conditions(rule: Rule) -> str:
    """Return the conditions of a rule in words, without the one on the category."""
    condition_clauses = [
        f"{name} {_in_words(values, 'unclear' if name == 'language' else 'open')}"
        for name, values in rule.when.items()
        if name != "category"
    ]
    if rule.min_confidence is not None:
        condition_clauses.append(f"confidence is at least {rule.min_confidence:g}")
    if rule.max_error is not None:
        of_each = "of each category " if rule.max_error.each else ""
        condition_clauses.append(f"the error {of_each}is promised to be at most {in_percent(rule.max_error.share)}")
    return ", ".join(condition_clauses)


def _in_words(condition: Condition, absent: str) -> str:
    """Return a condition as the end of a clause that begins with the field's name; `absent` is null in words."""
    if isinstance(condition, Words | Match | Bounds | Hours | Age):
        return str(condition)
    return f"is {' or '.join(_value_in_words(value, absent) for value in condition)}"


def _value_in_words(value: str | bool | None, absent: str) -> str:
    if value is None:
        return absent
    return str(value).lower() if isinstance(value, bool) else value
