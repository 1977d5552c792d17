"""`RemoteConsultation`: asks another instance for answers that decide nothing, and sends it agents' suggestions."""

from typing import Any, TypeVar

from triage_cli.client import wire_format
from triage_cli.client.http_connection import UnreachableError
from triage_cli.client.remote_triage import RemoteTriage
from triage_cli.domain import (
    AgentSuggestion,
    AgentSuggestionDraft,
    BusyError,
    CategoryProfile,
    CategoryRule,
    ClassifyPlan,
    RefusedError,
    RoutePreview,
    TextAnswer,
    TextQuestion,
    TriageError,
    UsageError,
    ids,
)

# The errors after which no provider can have been asked, since the remote refused the request or was not reached.
NOT_BEGUN = (UsageError, RefusedError, BusyError, UnreachableError)
ConsultationRecord = TypeVar("ConsultationRecord", TextAnswer, RoutePreview, CategoryProfile, CategoryRule)


class RemoteConsultation:
    """Implements `ports.Consultation` on the connection of a `RemoteTriage`."""

    def __init__(self, remote_triage: RemoteTriage) -> None:
        self._remote_triage = remote_triage
        self.spent = 0.0

    def classify_text(self, question: TextQuestion, plan: ClassifyPlan) -> TextAnswer:
        """Have the remote classify a text without storing it, in its budget. Sent once: each time may cost money.

        If it fails, all that it was permitted to cost counts as spent, unless the remote cannot have begun.
        """
        question_body = {**question._asdict(), "classifier": plan.classifier, "max_cost": plan.max_cost}
        try:
            response = self._remote_triage.connection.request("POST", "/classify/text", question_body)
            text_answer = self._converted(TextAnswer, response)
        except NOT_BEGUN:
            raise
        except TriageError:
            self.spent += plan.max_cost or 0.0
            raise
        self.spent += text_answer.cost_usd
        return text_answer

    def preview_route(self, name: str, category: str | None = None) -> RoutePreview:
        """Return where the remote would send a ticket now, by its routing map."""
        preview_path = f"{self._remote_triage.path_of(name)}/route/preview"
        response = self._remote_triage.connection.get(preview_path, {"category": category} if category else {})[0]
        return self._converted(RoutePreview, response)

    def category_profiles(self) -> list[CategoryProfile]:
        """Return the remote's categories with their thresholds and rules."""
        response = self._remote_triage.connection.get("/categories/profiles")[0]
        return self._remote_triage.converted_rows(_category_profile, response)

    def suggest(self, draft: AgentSuggestionDraft) -> AgentSuggestion:
        """Send the remote an agent's suggestion, which it records in the name of the API key."""
        suggestion_body = {"category": draft.category, "agent": draft.agent, "note": draft.note}
        suggestions_path = f"{self._remote_triage.path_of(draft.name)}/suggestions"
        response = self._remote_triage.connection.post(suggestions_path, suggestion_body, ids.new_id())
        return self._remote_triage.converted_to(AgentSuggestion, response)

    def _converted(self, kind: type[ConsultationRecord], response: Any) -> ConsultationRecord:
        """Convert the remote's response to an answer of a kind."""
        return self._remote_triage.converted(lambda wire_record: _consultation_record(kind, wire_record), response)


def _category_profile(wire_record: Any) -> CategoryProfile:
    profile = _consultation_record(CategoryProfile, wire_record)
    return profile._replace(rules=tuple(_consultation_record(CategoryRule, rule) for rule in profile.rules))


def _consultation_record(kind: type[ConsultationRecord], wire_record: Any) -> ConsultationRecord:
    """Return an answer of a kind from its record, with tuples for lists."""
    wire_fields: tuple[Any, ...] = wire_format.named(kind, wire_record)
    return kind._make(tuple(value) if isinstance(value, list) else value for value in wire_fields)
