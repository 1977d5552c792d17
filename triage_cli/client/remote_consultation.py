"""`RemoteConsultation`: answers that decide nothing, and agents' suggestions, over a running `triage serve`."""

from typing import Any, TypeVar

from triage_cli.client import wire_format
from triage_cli.client.http import UnreachableError
from triage_cli.client.remote_triage import RemoteTriage
from triage_cli.domain import ids
from triage_cli.domain.agent_suggestions import AgentSuggestion, AgentSuggestionDraft
from triage_cli.domain.consultation import CategoryProfile, CategoryRule, RoutePreview, TextAnswer, TextQuestion
from triage_cli.domain.decisions import ClassifyPlan
from triage_cli.domain.errors import BusyError, RefusedError, TriageError, UsageError

# The errors after which no provider can have been asked, since the server refused the request or was not reached.
NOT_BEGUN = (UsageError, RefusedError, BusyError, UnreachableError)
T = TypeVar("T", TextAnswer, RoutePreview, CategoryProfile, CategoryRule)


class RemoteConsultation:
    """Implements `ports.Consultation` on the connection of a `RemoteTriage`."""

    def __init__(self, triage: RemoteTriage) -> None:
        self._triage = triage
        self.spent = 0.0

    def classify_text(self, question: TextQuestion, plan: ClassifyPlan) -> TextAnswer:
        """Classify a text without storing it; the server's budget holds. It is sent once: each time may cost money.

        If it fails, all that it was permitted to cost counts as spent, unless the server cannot have begun.
        """
        body = {**question._asdict(), "classifier": plan.classifier, "max_cost": plan.max_cost}
        try:
            response = self._triage.connection.request("POST", "/classify/text", body)
            answer = self._triage.converted(lambda record: _record(TextAnswer, record), response)
        except NOT_BEGUN:
            raise
        except TriageError:
            self.spent += plan.max_cost or 0.0
            raise
        self.spent += answer.cost_usd
        return answer

    def preview_route(self, name: str, category: str | None = None) -> RoutePreview:
        """Return where a ticket would be sent now, by the server's routing map."""
        path, params = f"{self._triage.path_of(name)}/route/preview", {"category": category} if category else {}
        response = self._triage.connection.get(path, params)[0]
        return self._triage.converted(lambda record: _record(RoutePreview, record), response)

    def category_profiles(self) -> list[CategoryProfile]:
        """Return the server's categories with their thresholds and rules."""
        return self._triage.converted_rows(_profile, self._triage.connection.get("/categories/profiles")[0])

    def suggest(self, draft: AgentSuggestionDraft) -> AgentSuggestion:
        """Record an agent's suggestion, in the name of the key."""
        body = {"category": draft.category, "agent": draft.agent, "note": draft.note}
        path = f"{self._triage.path_of(draft.name)}/suggestions"
        return self._triage.converted_to(AgentSuggestion, self._triage.connection.post(path, body, ids.new_id()))


def _profile(record: Any) -> CategoryProfile:
    profile = _record(CategoryProfile, record)
    return profile._replace(rules=tuple(_record(CategoryRule, rule) for rule in profile.rules))


def _record(kind: type[T], record: Any) -> T:
    """Return a record of a kind, with tuples for lists."""
    fields: tuple[Any, ...] = wire_format.named(kind, record)
    return kind._make(tuple(value) if isinstance(value, list) else value for value in fields)
