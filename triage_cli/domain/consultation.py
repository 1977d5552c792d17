"""Answers that are not stored: the category of a text, the route of a ticket, the profile of a category."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from triage_cli.domain.classifications import ConfidenceSource
from triage_cli.domain.routing_rules import Rule, conditions
from triage_cli.domain.tickets import Category


class TextQuestion(NamedTuple):
    """A consultation about a text that is no ticket: which category it would get."""

    subject: str | None = None
    description: str | None = None


class TextAnswer(NamedTuple):
    """How a classifier would decide a ticket with this text; nothing is stored."""

    status: Annotated[str, "the status that a ticket would have", Literal["classified", "needs_review"]]
    category: Annotated[str | None, "the category; null: a person would decide"]
    suggestion: Annotated[str | None, "the guess, where a person would decide"]
    confidence: Annotated[float | None, "how sure, from 0 to 1"]
    confidence_source: Annotated[
        str | None,
        "the source of the confidence; `said` (by a language model) is the least reliable",
        ConfidenceSource | None,
    ]
    threshold: Annotated[float | None, "the confidence at which it is sure"]
    reason: Annotated[str | None, "why, in the classifier's words"]
    classifier: Annotated[str, "the classifier's name in the configuration"]
    suspicious: Annotated[tuple[str, ...], "kinds of text in it that address the classifier"]
    cost_usd: Annotated[float, "what the answer has cost"]


class Foreseen(NamedTuple):
    """What would become of a draft: the status and the other fields of its ticket, before anything is delivered.

    The status is `new` if nobody was asked, because an answer would cost `cost_usd`, None if that is unknown. `answers`
    are the records of those to further questions.
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
    answers: Mapping[str, Any] = {}


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
    """A rule that tickets of a category can match."""

    rule: Annotated[str, "its name"]
    when: Annotated[str, "its further conditions in words; empty: none"]
    destinations: Annotated[tuple[str, ...], "where it sends them"]


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
