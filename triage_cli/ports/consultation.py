"""Port for agents: answers that decide nothing, and their suggestions."""

from typing import Protocol

from triage_cli.domain.agent_suggestions import AgentSuggestion, AgentSuggestionDraft
from triage_cli.domain.consultation import CategoryProfile, RoutePreview, TextAnswer, TextQuestion
from triage_cli.domain.decisions import ClassifyPlan


class Consultation(Protocol):
    """Questions about what would happen, in this process or on another instance; no answer changes a ticket."""

    @property
    def spent(self) -> float:
        """Return what this object has spent so far, as far as it knows, in USD."""

    def classify_text(self, question: TextQuestion, plan: ClassifyPlan) -> TextAnswer:
        """Classify a text without storing it; what it costs is booked on the budget."""

    def preview_route(self, name: str, category: str | None = None) -> RoutePreview:
        """Return where a ticket would be sent now; with a category, as if a person had given it that one."""

    def category_profiles(self) -> list[CategoryProfile]:
        """Return the categories with their thresholds and rules, in the order of the configuration."""

    def suggest(self, draft: AgentSuggestionDraft) -> AgentSuggestion:
        """Record an agent's suggestion, once while the agent does not change it.

        Raises `NotFoundError`, `AmbiguousError`, or `RowError` for an unknown category, a forgotten ticket, or one
        for which too many agents suggest a category already.
        """
