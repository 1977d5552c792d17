"""Endpoints for one ticket: store it, classify it, route it, set its verdict."""

import time
from collections.abc import Collection, Sequence
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Header, Path, Query
from pydantic import AfterValidator
from starlette.responses import Response

from triage_cli import domain as dm
from triage_cli.extensions.server import problems
from triage_cli.extensions.server.dependencies import new_router
from triage_cli.extensions.server.idempotency import JsonAnswer, etag, reply
from triage_cli.extensions.server.routes.ticket_use_cases import (
    CurrentUseCases,
    TicketUseCases,
    outcome_value,
    stored_answer,
    ticket_draft,
)
from triage_cli.extensions.server.schemas import classification, ticket_selection, tickets
from triage_cli.extensions.server.server_state import ServerState
from triage_cli.ports import Triage
from triage_cli.service import ticket_named

router = new_router("tickets")
TicketName = Annotated[
    str,
    AfterValidator(unquote),  # the middleware keeps some characters encoded
    Path(
        max_length=ticket_selection.LONGEST_NAME,
        description="its id, an unambiguous ending of 6 or more characters, or its external id",
        examples=[ticket_selection.EXAMPLE_NAME],
    ),
]
WITH_ETAG: dict[str, Any] = {"headers": {"ETag": {"$ref": "#/components/headers/ETag"}}}
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        pattern=r'^(\*|((W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)?)$',
        max_length=1000,
        description="the `ETag` of the ticket that the person saw: if it has changed since, nothing is changed (412)",
        examples=["*"],
    ),
]
MAX_WAIT = 20.0  # how many seconds an endpoint waits for a provider's outage, while the caller waits


@router.post(
    "/tickets",
    status_code=201,
    response_model=tickets.Created,
    responses={200: WITH_ETAG | {"model": tickets.Created}, 201: WITH_ETAG},
)
def create(
    body: tickets.TicketIn, use_cases: CurrentUseCases, query: Annotated[tickets.CreateQuery, Query()]
) -> Response:
    """Store a ticket: 201, or 200 if the external id was known (the ticket was updated, or is unchanged).

    With `do=classify` or `do=classify,route` the ticket takes these steps too; if one fails, `problem` has the error.
    """
    draft, once, actor = ticket_draft(body), use_cases.once, use_cases.caller.name
    if not query.do:
        single_tickets = use_cases.server_state.single_tickets
        return once(body, lambda: stored_answer(single_tickets.create(draft, actor, once.identity), once))
    plan = dm.ClassifyPlan(query.classifier, max_wait=MAX_WAIT)
    return once(body, lambda: _stored_and_processed(use_cases, draft, query.do.split(","), plan))


def _stored_and_processed(
    use_cases: TicketUseCases, draft: dm.TicketDraft, steps: Collection[str], plan: dm.ClassifyPlan
) -> JsonAnswer:
    """Store a ticket, and take it through the steps of `do`; it stays stored if a step fails."""
    request_began = time.perf_counter()
    stored, classified, routed = use_cases.server_state.single_tickets.process(
        draft, use_cases.caller.name, use_cases.once.identity, steps, plan
    )
    created_answer = stored_answer(stored, use_cases.once)
    ticket: dm.Ticket = outcome_value(stored, "the ticket")
    problem, deliveries = classified and classified.error, list[dict[str, Any]]()
    try:
        if classified is None:
            classified = use_cases.classify(ticket, plan)
            ticket, problem = classified.value.ticket if classified.value else ticket, classified.error
        elif classified.value and classified.value.now:
            seconds = time.perf_counter() - request_began
            use_cases.server_state.metrics.count_classification(classified.value.now.classifier, seconds)
        if routed and routed.value:  # of a new ticket, whose attempts are those of this call
            deliveries = [dm.delivery_record(delivery, routed.value.attempts) for delivery in routed.value.deliveries]
        elif problem is None and "route" in steps and ticket.category is not None:
            routed = use_cases.route(ticket)
            ticket = routed.value.ticket if routed.value else ticket
            if routed.value:
                deliveries = _delivery_records(use_cases.server_state, ticket.ticket_id, routed.value.deliveries)
        problem = problem or (routed and routed.error)
    except dm.TriageError as error:  # the ticket is stored, which the caller must know
        problem = error
    return JsonAnswer(
        created_answer.status,
        {
            "ticket_id": ticket.ticket_id,
            "ticket": dm.ticket_record(ticket),
            "classification": _classification_record(classified.value) if classified and classified.value else None,
            "deliveries": deliveries,
            "problem": problems.problem_details(problem) if problem else None,
        },
        ticket.revision,
    )


def _delivery_records(
    server_state: ServerState, ticket_id: str, deliveries: Sequence[dm.Delivery]
) -> list[dict[str, Any]]:
    attempts = server_state.services.store.deliveries.attempts(ticket_id) if deliveries else ()
    return [dm.delivery_record(delivery, attempts) for delivery in deliveries]


@router.post("/tickets/{ticket_id}/classify", response_model=classification.Classified, responses={200: WITH_ETAG})
def classify(
    ticket_id: TicketName,
    use_cases: CurrentUseCases,
    query: Annotated[classification.ClassifyQuery, Query()],
    body: classification.ClassifyIn | None = None,
) -> Response:
    """Ask a classifier about one ticket; a sure answer holds."""
    body = (body or classification.ClassifyIn()).joined(query, "classifier")
    plan = dm.ClassifyPlan(body.classifier, body.force, max_cost=query.max_cost, max_wait=MAX_WAIT)

    def classify_ticket() -> JsonAnswer:
        outcome = use_cases.classify(ticket_named(use_cases.server_state.services.store, ticket_id), plan)
        decided: dm.Decided = outcome_value(outcome, ticket_id)
        return JsonAnswer(200, _classification_record(decided), decided.ticket.revision)

    return use_cases.once(body, classify_ticket)


def _classification_record(decided: dm.Decided) -> dict[str, Any]:
    ticket, answer = decided.ticket, decided.now or decided.ticket
    further = {"answers": dm.answer_records(ticket)} if ticket.answers != "{}" else {}
    return {
        "ticket_id": ticket.ticket_id,
        "classification": decided.now.category if decided.now else ticket.category or ticket.suggestion,
        "confidence": answer.confidence,
        "confidence_source": answer.confidence_source,
        "reason": answer.reason,
        "status": ticket.status,
        "category": ticket.category,
        "suggestion": ticket.suggestion,
        "classifier": answer.classifier,
        "verdict": ticket.verdict == 1,
        "cost_usd": ticket.cost_usd,
        "asked": decided.asked,
        **further,
    }


@router.post("/tickets/{ticket_id}/route", response_model=classification.Routed, responses={200: WITH_ETAG})
def route(
    ticket_id: TicketName,
    use_cases: CurrentUseCases,
    query: Annotated[classification.RouteQuery, Query()],
    body: classification.RouteIn | None = None,
) -> Response:
    """Route one ticket by the routing map; a delivery that fails now stays pending, and `problem` has the error.

    400: it has no category yet. 409: no rule matches it. With `dry_run` nothing is sent, and `preview` says what would
    be.
    """
    body = body or classification.RouteIn()
    plan = dm.RoutePlan(body.retry_dead, body.again)
    if query.dry_run:
        return _previewed_route(use_cases, ticket_id, plan)

    def route_ticket() -> JsonAnswer:
        outcome = use_cases.route(ticket_named(use_cases.server_state.services.store, ticket_id), plan)
        routed = outcome.value or dm.Routed(outcome.ticket)
        record = _routed_record(use_cases.server_state, routed, outcome.error)
        return JsonAnswer(200, record, routed.ticket.revision)

    return use_cases.once(body, route_ticket)


def _previewed_route(use_cases: TicketUseCases, name: str, plan: dm.RoutePlan) -> Response:
    ticket = ticket_named(use_cases.server_state.services.store, name)
    (preview,) = use_cases.triage.preview_routes(dm.Selection(ids=(ticket.ticket_id,)), plan)
    record = _routed_record(use_cases.server_state, dm.Routed(ticket), None)
    return reply(record | {"preview": preview._asdict()}, revision=ticket.revision)


def _routed_record(server_state: ServerState, routed: dm.Routed, error: dm.TriageError | None) -> dict[str, Any]:
    ticket = routed.ticket
    return {
        "ticket_id": ticket.ticket_id,
        "routed_to": ticket.routed_to,
        "deliveries": _delivery_records(server_state, ticket.ticket_id, routed.deliveries),
        "status": ticket.status,
        "problem": problems.problem_details(error) if error else None,
    }


@router.post("/tickets/{ticket_id}/verdict", response_model=tickets.Ticket, responses={200: WITH_ETAG})
def verdict(
    ticket_id: TicketName, body: classification.VerdictIn, use_cases: CurrentUseCases, if_match: IfMatch = None
) -> Response:
    """Set a person's category, which no machine changes; null removes it.

    412: the ticket is not the one of `If-Match` any more; the problem has it as it is now.
    """
    triage = use_cases.triage
    try:
        return use_cases.once(body, lambda: _judged(triage, ticket_id, body, if_match or None))
    except dm.ChangedError as error:
        present = _present_ticket(triage, ticket_id)
        extension, headers = {"ticket": dm.ticket_record(present)}, {"etag": etag(present.revision)}
        return problems.problem_response(error, extension, headers)


def _judged(triage: Triage, name: str, body: classification.VerdictIn, if_match: str | None) -> JsonAnswer:
    ticket = _present_ticket(triage, name)
    if if_match and not _is_matched(if_match, ticket.revision):
        raise dm.ChangedError(f"{name}: it has changed since it was shown", hint="read it again")
    # What a person decides by is compared again where the verdict is saved.
    shown = dm.shown_hash_of(ticket, body.question) if if_match else None
    draft = dm.VerdictDraft(0, ticket.ticket_id, body.category, note=body.note, shown=shown, question=body.question)
    (outcome,) = triage.give_verdicts([draft])
    judged: dm.Ticket = outcome_value(outcome, ticket.ticket_id)
    return JsonAnswer(200, dm.ticket_record(judged), judged.revision)


def _present_ticket(triage: Triage, name: str) -> dm.Ticket:
    (ticket,) = triage.find(dm.Selection(ids=(triage.resolve(name),)))
    return ticket


def _is_matched(if_match: str, revision: int) -> bool:
    """Return whether a header If-Match names a revision; a gateway that compresses makes its tag a weak one."""
    tags = {tag.strip().removeprefix("W/") for tag in if_match.split(",")}
    return not tags.isdisjoint({"*", etag(revision)})
