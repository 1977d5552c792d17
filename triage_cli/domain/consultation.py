"""Answers that are not stored: the category of a text, the route of a ticket, the profile of a category."""

from collections.abc import Mapping
from typing import NamedTuple

from triage_cli.domain.routing_rules import Rule, conditions
from triage_cli.domain.tickets import Category


class TextQuestion(NamedTuple):
    """A consultation about a text that is no ticket: which category it would get."""

    subject: str | None = None
    description: str | None = None


class TextAnswer(NamedTuple):
    """How a classifier would decide a ticket with the text of a consultation; `status` is what that ticket would have.

    `category` is None if a person would have to decide; then `suggestion` is the guess. `suspicious` names text that is
    addressed to the classifier. `cost_usd` was spent on the consultation.
    """

    status: str
    category: str | None
    suggestion: str | None
    confidence: float | None
    confidence_source: str | None
    threshold: float | None
    reason: str | None
    classifier: str
    suspicious: tuple[str, ...]
    cost_usd: float


class Foreseen(NamedTuple):
    """What would become of a draft: the status and the other fields of its ticket, before anything is delivered.

    The status is `new` if nobody was asked, because an answer would cost `cost_usd`, None if that is unknown.
    """

    status: str
    category: str | None = None
    suggestion: str | None = None
    confidence: float | None = None
    confidence_source: str | None = None
    classifier: str | None = None
    reason: str | None = None
    error: str | None = None
    routed_to: str | None = None
    cost_usd: float | None = 0.0


class RoutePreview(NamedTuple):
    """A preview of what `route` would do with a ticket now; nothing is sent.

    `category` is the one that the route was looked up for, `rule` the first that matches, None if there is none.
    `destinations` are all of the rule's, `new` those that would get a delivery, `due` those where one that is there
    already would be tried. `why` says the same in sentences.
    """

    ticket_id: str
    status: str
    category: str | None
    rule: str | None
    destinations: tuple[str, ...]
    new: tuple[str, ...]
    why: tuple[str, ...]
    due: tuple[str, ...] = ()


class CategoryRule(NamedTuple):
    """A rule that tickets of a category can match; `when` are its further conditions in words, empty if it has none."""

    rule: str
    when: str
    destinations: tuple[str, ...]


class CategoryProfile(NamedTuple):
    """A category, the confidence that its answers need, and the rules for its tickets.

    `thresholds` maps each step of the default classifier to the confidence that it needs, None if no confidence is
    enough. `covered` tells whether each ticket of the category matches one of the rules.
    """

    name: str
    description: str
    examples: tuple[str, ...]
    was: tuple[str, ...]
    thresholds: Mapping[str, float | None]
    rules: tuple[CategoryRule, ...]
    covered: bool

    @classmethod
    def of(
        cls, category: Category, thresholds: Mapping[str, float | None], rules: tuple[Rule, ...], *, covered: bool
    ) -> "CategoryProfile":
        """Return the profile of a category of the configuration, for a consultation."""
        category_rules = tuple(CategoryRule(rule.name, conditions(rule), rule.to) for rule in rules)
        return cls(
            category.name, category.description, category.examples, category.was, thresholds, category_rules, covered
        )
