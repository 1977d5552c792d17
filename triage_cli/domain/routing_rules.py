"""Routing rules: their conditions, and which of them a ticket matches. They are read before any ticket is."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from triage_cli.domain.calendars import Age, Hours
from triage_cli.domain.classifications import PRECEDENT
from triage_cli.domain.evaluation.error_bounds import NEVER, MaxError, in_percent
from triage_cli.domain.json_values import compact, from_json
from triage_cli.domain.questions import given_answer
from triage_cli.domain.rule_conditions import Bounds, Condition, Match, Words
from triage_cli.domain.tickets import Ticket

# The prefix of a rule's condition on a column of a ticket's `extra`.
EXTRA = "extra."
# The conditions that look at a field of a ticket by its name; other names are those of questions.
FIELDS = frozenset({"category", "priority", "customer_id", "external_id", "source", "language", "verdict", "status"})
# The statuses in which a ticket may wait to be escalated.
ESCALATED = ("new", "failed", "needs_review", "routing", "unroutable", "undeliverable")


class Rule(NamedTuple):
    """A route: the first rule whose conditions all hold sends the ticket to its destinations.

    `when` maps a question to the values that its answer may have, None for one that is open. It maps `category`,
    `priority`, `customer_id`, `external_id`, `source`, `language`, `verdict` or `extra.COLUMN` to the accepted
    values, `text` or `subject` to what they must have, `extra.COLUMN` also to bounds, and `hours` to those in which
    the ticket is routed; an escalation has `status` and `age`, too. Without conditions, a rule matches every
    ticket. `max_error` is the share of wrong answers that is promised of what the rule takes.
    """

    name: str
    to: tuple[str, ...]
    when: Mapping[str, Condition] = {}
    min_confidence: float | None = None
    max_error: MaxError | None = None

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
        return (getattr(ticket, name) if name in FIELDS else given_answer(ticket, name).value) in accepted
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
    condition_clauses = [f"{name} {_in_words(values)}" for name, values in rule.when.items() if name != "category"]
    if rule.min_confidence is not None:
        condition_clauses.append(f"confidence is at least {rule.min_confidence:g}")
    if rule.max_error is not None:
        of_each = "of each category " if rule.max_error.each else ""
        condition_clauses.append(f"the error {of_each}is promised to be at most {in_percent(rule.max_error.share)}")
    return ", ".join(condition_clauses)


def _in_words(condition: Condition) -> str:
    """Return a condition as the end of a clause that begins with the field's name."""
    if isinstance(condition, Words | Match | Bounds | Hours | Age):
        return str(condition)
    return f"is {' or '.join(_value_in_words(value) for value in condition)}"


def _value_in_words(value: str | bool | None) -> str:
    if value is None:
        return "open"
    return str(value).lower() if isinstance(value, bool) else value
