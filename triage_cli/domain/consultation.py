"""Answers that are not stored: the category of a text, the route of a ticket, the profile of a category."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

from triage_cli.domain.routing_rules import Rule, conditions
from triage_cli.domain.tickets import Category, SourceOfConfidence, Status


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
    confidence_source: SourceOfConfidence
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
    """Where a ticket would be sent now; nothing is sent."""

    ticket_id: Annotated[str, "the ticket's id"]
    status: Annotated[str, "where the ticket stands", Status]
    category: Annotated[str | None, "the category that a rule was looked up for"]
    rule: Annotated[str | None, "the first rule that matches; null: none"]
    destinations: Annotated[tuple[str, ...], "where the rule sends it"]
    new: Annotated[tuple[str, ...], "which of them would get a delivery; the others have one already"]
    why: Annotated[tuple[str, ...], "the same in sentences"]
    due: Annotated[
        tuple[str, ...], "where a delivery that is there already would be tried now", NotRequired[tuple[str, ...]]
    ] = ()


class CategoryRule(NamedTuple):
    """A rule that tickets of a category can match."""

    rule: Annotated[str, "its name"]
    when: Annotated[str, "its further conditions in words; empty: none"]
    destinations: Annotated[tuple[str, ...], "where it sends them"]


class CategoryProfile(NamedTuple):
    """A category, the confidence that its answers need, and where its tickets go."""

    name: str
    description: str
    examples: tuple[str, ...]
    was: tuple[str, ...]
    thresholds: Annotated[
        Mapping[str, float | None],
        "by step of the default classifier: the confidence that it needs; null: none is enough",
        dict[str, float | None],
    ]
    rules: Annotated[tuple[CategoryRule, ...], "the rules that its tickets can match, in order"]
    covered: Annotated[bool, "whether each of its tickets matches one of them"]

    @classmethod
    def of(
        cls, category: Category, thresholds: Mapping[str, float | None], rules: tuple[Rule, ...], *, covered: bool
    ) -> "CategoryProfile":
        """Return the profile of a category of the configuration, for a consultation."""
        category_rules = tuple(CategoryRule(rule.name, conditions(rule), rule.to) for rule in rules)
        return cls(
            category.name, category.description, category.examples, category.was, thresholds, category_rules, covered
        )
