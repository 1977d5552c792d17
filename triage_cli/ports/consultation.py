"""Port of consultation, for agents: answers that decide nothing, and agents' suggestions."""

from typing import Protocol

from triage_cli.domain import (
    AgentSuggestion,
    AgentSuggestionDraft,
    CategoryProfile,
    ClassifyPlan,
    RoutePreview,
    TextAnswer,
    TextQuestion,
)


class Consultation(Protocol):
    """Port of questions about what would happen, to this process or another instance; no answer changes a ticket."""

    @property
    def spent(self) -> float:
        """A `Consultation` knows what its answers have cost so far, in USD."""

    def classify_text(self, question: TextQuestion, plan: ClassifyPlan) -> TextAnswer:
        """A `Consultation` classifies a text without storing it; what that costs is booked on the budget."""

    def preview_route(self, name: str, category: str | None = None) -> RoutePreview:
        """A `Consultation` previews where a ticket would be sent; with a category, as if a person had given that."""

    def category_profiles(self) -> list[CategoryProfile]:
        """A `Consultation` lists the categories with their thresholds and rules, in the order of the configuration."""

    def suggest(self, draft: AgentSuggestionDraft) -> AgentSuggestion:
        """A `Consultation` records an agent's suggestion, once while the agent does not change it.

        Raises `NotFoundError`, `AmbiguousError`, or `RowError` for an unknown category, a forgotten ticket, or one
        for which too many agents suggest a category already.
        """
