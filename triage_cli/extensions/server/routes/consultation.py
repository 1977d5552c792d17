"""Endpoints that decide nothing: classify a text, preview a route, explain the categories, suggest a category."""

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from triage_cli import domain as dm
from triage_cli.extensions.server.dependencies import CurrentConsultation, json_only, new_router
from triage_cli.extensions.server.idempotency import CurrentIdempotency, JsonAnswer, reply
from triage_cli.extensions.server.routes.tickets import MAX_WAIT, TicketName
from triage_cli.extensions.server.schemas import classification
from triage_cli.extensions.server.schemas.records import described

router = new_router("consultation", json_only)


@router.post("/classify/text", response_model=described(dm.TextAnswer))
def classify_text(body: classification.ClassifyTextIn, consult: CurrentConsultation) -> Response:
    """Classify a text without storing it; what it costs counts against the budget.

    No answer is stored under an `Idempotency-Key`, since it may repeat words of the text.
    """
    plan = dm.ClassifyPlan(body.classifier, max_cost=body.max_cost, max_wait=MAX_WAIT)
    text_question = dm.TextQuestion(body.subject, body.description)
    return reply(consult.classify_text(text_question, plan)._asdict())


@router.get("/tickets/{ticket_id}/route/preview", response_model=classification.RoutePreview)
def preview_route(
    ticket_id: TicketName, consult: CurrentConsultation, query: Annotated[classification.PreviewQuery, Query()]
) -> Response:
    """Return where a ticket would be sent now, and why; nothing is sent."""
    return reply(consult.preview_route(ticket_id, query.category)._asdict())


@router.get("/categories/profiles", response_model=list[classification.CategoryProfile])
def category_profiles(consult: CurrentConsultation) -> Response:
    """Return the categories, the confidence that each needs, and where its tickets go."""
    profiles = consult.category_profiles()
    return reply(dm.as_record(profiles))


@router.post("/tickets/{ticket_id}/suggestions", response_model=described(dm.AgentSuggestion))
def suggest(
    ticket_id: TicketName, body: classification.SuggestionIn, consult: CurrentConsultation, once: CurrentIdempotency
) -> Response:
    """Record which category an agent suggests. Reviewers see it; the ticket keeps its category and status.

    With `question`, it suggests an answer to that one.
    """
    suggestion_draft = dm.AgentSuggestionDraft(
        ticket_id, body.category, dm.agent_name(body.agent), body.note, body.question
    )
    return once(body, lambda: JsonAnswer(200, consult.suggest(suggestion_draft)._asdict()))
