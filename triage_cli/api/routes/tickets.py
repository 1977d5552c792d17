"""Endpoints for one ticket: store it, classify it, route it, set its verdict."""

import re
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import unquote

from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator
from starlette.responses import Response

from triage_cli.api import problems
from triage_cli.api.auth import Caller
from triage_cli.api.dependencies import (
    command_line,
    current_caller,
    current_server,
    new_router,
)
from triage_cli.api.idempotency import IdempotencyKey, IdempotentRequest, JsonAnswer, current_idempotent_request
from triage_cli.api.media_types import json_only
from triage_cli.api.schemas import requests, responses
from triage_cli.api.server_state import ServerState
from triage_cli.domain import ids
from triage_cli.domain.decisions import ClassifyPlan, Decided
from triage_cli.domain.deliveries import Delivery, Routed, RoutePlan
from triage_cli.domain.errors import (
    BusyError,
    NoRouteError,
    NotClassifiedError,
    RowError,
    TriageError,
    UnavailableError,
    UsageError,
)
from triage_cli.domain.mail import parts
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.serialization import delivery_record, storable_or_none, ticket_record
from triage_cli.domain.tickets import Selection, Ticket, TicketDraft, VerdictDraft
from triage_cli.ports.triage import Triage
from triage_cli.readers import dates, priorities
from triage_cli.service.local_triage import LocalTriage
from triage_cli.service.ticket_lookup import named

router = new_router("tickets")
TicketName = Annotated[
    str,
    AfterValidator(unquote),  # the middleware keeps some characters encoded
    Path(
        max_length=requests.LONGEST_NAME,
        description="its id, an unambiguous ending of 6 or more characters, or its external id",
        examples=[requests.NAME],
    ),
]
# How many seconds to wait for a provider's outage, while the caller waits.
MAX_WAIT = 20.0
T = TypeVar("T")


class Desk(NamedTuple):
    """The use cases of one request: single tickets share transactions; `triage` is for work that needs its own run."""

    server_state: ServerState
    caller: Caller
    once: IdempotentRequest
    command_line: str

    @property
    def triage(self) -> LocalTriage:
        """Return the use cases with a run for this request."""
        return self.server_state.session(self.caller.name, self.command_line)

    def classify(self, ticket: Ticket, plan: ClassifyPlan) -> Outcome[Decided]:
        """Classify one ticket. Raises `BusyError` if another run holds it."""
        began = time.perf_counter()
        outcome = self.server_state.single_tickets.classify(ticket, plan, self.caller.name)
        if outcome is None:
            outcome = _only_outcome(self.triage.classify(Selection(ids=(ticket.ticket_id,)), plan))
        decided = outcome.value
        if decided is None:
            return outcome
        if decided.now is not None:
            self.server_state.metrics.count_classification(decided.now.classifier, time.perf_counter() - began)
        elif outcome.action == Action.HELD and not decided.ticket.verdict and decided.ticket.status != "forgotten":
            raise _busy(ticket.ticket_id)
        return outcome

    def route(self, ticket: Ticket, plan: RoutePlan = RoutePlan()) -> Outcome[Routed]:  # noqa: B008 - immutable
        """Route one ticket. Raises `BusyError` if another run holds it, `NoRouteError`, `NotClassifiedError`."""
        outcome = None if plan != RoutePlan() else self.server_state.single_tickets.route(ticket, self.caller.name)
        if outcome is None:
            outcome = _only_outcome(self.triage.route(Selection(ids=(ticket.ticket_id,)), plan))
        if outcome.action == Action.HELD:
            raise _busy(ticket.ticket_id)
        undecided = isinstance(outcome.error, NoRouteError | NotClassifiedError)
        if undecided or outcome.value is None or not outcome.value.deliveries:
            _value(outcome, ticket.ticket_id)
        return outcome


async def _desk(request: Request, idempotency_key: IdempotencyKey = None) -> Desk:
    """Return the only dependency of these endpoints: each dependency takes FastAPI as long as a small endpoint."""
    await json_only(request)
    once = await current_idempotent_request(request, idempotency_key)
    return Desk(await current_server(request), await current_caller(request), once, command_line(request))


DeskHere = Annotated[Desk, Depends(_desk)]


@router.post(
    "/tickets", status_code=201, response_model=responses.Created, responses={200: {"model": responses.Created}}
)
def create(body: requests.TicketIn, desk: DeskHere, query: Annotated[requests.CreateQuery, Query()]) -> Response:
    """Store a ticket: 201, or 200 if the external id was known (the ticket was updated, or is unchanged).

    With `do=classify` or `do=classify,route` the ticket takes these steps too; if one fails, `problem` has the error.
    """
    drafted, once, singles = draft(body), desk.once, desk.server_state.single_tickets
    if not query.do:
        return once(body, lambda: created(singles.create(drafted, desk.caller.name, once.identity), once))
    plan = ClassifyPlan(query.classifier, max_wait=MAX_WAIT)
    return once(body, lambda: _processed(desk, drafted, query.do.split(","), plan))


def _processed(desk: Desk, drafted: TicketDraft, steps: Collection[str], plan: ClassifyPlan) -> JsonAnswer:
    """Store a ticket, and take it through the steps; it stays stored if a step fails."""
    began = time.perf_counter()
    stored, classified, routed = desk.server_state.single_tickets.process(
        drafted, desk.caller.name, desk.once.identity, steps, plan
    )
    done = created(stored, desk.once)
    ticket: Ticket = _value(stored, "the ticket")
    problem, deliveries = classified and classified.error, list[dict[str, Any]]()
    try:
        if classified is None:
            classified = desk.classify(ticket, plan)
            ticket, problem = classified.value.ticket if classified.value else ticket, classified.error
        elif classified.value and classified.value.now:
            desk.server_state.metrics.count_classification(classified.value.now.classifier, time.perf_counter() - began)
        if routed and routed.value:  # of a new ticket, whose attempts are those of this call
            deliveries = [delivery_record(one, routed.value.attempts) for one in routed.value.deliveries]
        elif problem is None and "route" in steps and ticket.category is not None:
            routed = desk.route(ticket)
            ticket = routed.value.ticket if routed.value else ticket
            if routed.value:
                deliveries = _deliveries(desk.server_state, ticket.ticket_id, routed.value.deliveries)
        problem = problem or (routed and routed.error)
    except TriageError as error:  # the ticket is stored, which the caller must know
        problem = error
    answer = _classified(classified.value) if classified and classified.value else None
    return JsonAnswer(
        done.status,
        {
            "ticket_id": ticket.ticket_id,
            "ticket": ticket_record(ticket),
            "classification": answer,
            "deliveries": deliveries,
            "problem": problems.problem_details(problem) if problem else None,
        },
    )


def _deliveries(server_state: ServerState, ticket_id: str, deliveries: Sequence[Delivery]) -> list[dict[str, Any]]:
    attempts = server_state.services.store.attempts(ticket_id) if deliveries else ()
    return [delivery_record(delivery, attempts) for delivery in deliveries]


def draft(body: requests.TicketIn) -> TicketDraft:
    """Return the draft in a body. Raises `UsageError` if it has no text."""
    subject, description = storable_or_none(body.subject), storable_or_none(body.description)
    if not any(re.search(requests.VISIBLE, text) for text in (subject or "", description or "")):
        raise UsageError("the ticket has no text", hint="give subject or description")
    extra = dict(parts.whole(body.extra))
    priority, created_at = storable_or_none(body.priority), storable_or_none(body.created_at)
    urgency = priorities.priority(priority, {}) if priority else None
    moment = dates.moment(created_at) if created_at else None
    if priority and urgency is None:
        extra["priority"] = priority
    if created_at and moment is None:
        extra["created_at"] = created_at
    return TicketDraft(
        subject=subject,
        description=description,
        customer_id=storable_or_none(body.customer_id),
        priority=urgency,
        created_at=moment,
        external_id=storable_or_none(body.external_id),
        source=body.source,
        extra=extra,
        origin="request",
    )


def created(outcome: Outcome[Ticket], once: IdempotentRequest | None = None) -> JsonAnswer:
    """Return the response for a ticket that was stored."""
    if outcome.error is not None or outcome.value is None:
        raise outcome.error or RowError("the ticket was not stored")
    # Under an idempotency key this is the first response, even if a crash followed the storing of the ticket.
    by_key = once is not None and once.identity and outcome.value.identity.startswith(f"{once.identity}:")
    status = 201 if outcome.action == Action.CREATED or by_key else 200
    return JsonAnswer(status, {"ticket_id": outcome.value.ticket_id, "ticket": ticket_record(outcome.value)})


@router.post("/tickets/{ticket_id}/classify", response_model=responses.Classified)
def classify(ticket_id: TicketName, desk: DeskHere, body: requests.ClassifyIn | None = None) -> Response:
    """Ask a classifier about one ticket; a sure answer holds."""
    body = body or requests.ClassifyIn()
    plan = ClassifyPlan(body.classifier, body.force, max_wait=MAX_WAIT)

    def work() -> JsonAnswer:
        outcome = desk.classify(named(desk.server_state.services.store, ticket_id), plan)
        return JsonAnswer(200, _classified(_value(outcome, ticket_id)))

    return desk.once(body, work)


def _classified(decided: Decided) -> dict[str, Any]:
    ticket, now = decided.ticket, decided.now
    answered = now.category if now else ticket.category or ticket.suggestion
    return {
        "ticket_id": ticket.ticket_id,
        "classification": answered,
        "confidence": now.confidence if now else ticket.confidence,
        "confidence_source": now.confidence_source if now else ticket.confidence_source,
        "reason": now.reason if now else ticket.reason,
        "status": ticket.status,
        "category": ticket.category,
        "suggestion": ticket.suggestion,
        "classifier": now.classifier if now else ticket.classifier,
        "verdict": ticket.verdict == 1,
        "cost_usd": ticket.cost_usd,
        "asked": decided.asked,
    }


def _value(outcome: "Outcome[Any]", ticket_id: str) -> Any:
    """Return the value of an outcome. Raises its error."""
    if outcome.error is not None:
        raise outcome.error
    if outcome.value is None:
        raise TriageError(f"nothing came of {ids.short(ticket_id)}")
    return outcome.value


def _only_outcome(outcomes: Iterable[Outcome[T]]) -> Outcome[T]:
    """Return the outcome of one ticket. Raises `UnavailableError` if there is none because the server is stopping."""
    for outcome in tuple(outcomes):  # all of them, so that the run ends
        return outcome
    raise UnavailableError("the server is shutting down", hint="nothing was changed; ask again in a moment")


def _busy(ticket_id: str) -> BusyError:
    return BusyError(f"another run is at work on {ids.short(ticket_id)}", hint="ask again in a moment")


@router.post("/tickets/{ticket_id}/route", response_model=responses.Routed)
def route(ticket_id: TicketName, desk: DeskHere, body: requests.RouteIn | None = None) -> Response:
    """Route one ticket by the routing map; a delivery that fails now is due later, and `problem` has the error.

    400: it has no category yet. 409: no rule matches it.
    """
    body = body or requests.RouteIn()
    plan = RoutePlan(body.retry_dead, body.again)

    def work() -> JsonAnswer:
        outcome = desk.route(named(desk.server_state.services.store, ticket_id), plan)
        routed = outcome.value or Routed(outcome.ticket)
        ticket = routed.ticket
        return JsonAnswer(
            200,
            {
                "ticket_id": ticket.ticket_id,
                "routed_to": ticket.routed_to,
                "deliveries": _deliveries(desk.server_state, ticket.ticket_id, routed.deliveries),
                "status": ticket.status,
                "problem": problems.problem_details(outcome.error) if outcome.error else None,
            },
        )

    return desk.once(body, work)


@router.post("/tickets/{ticket_id}/verdict", response_model=responses.Ticket)
def verdict(ticket_id: TicketName, body: requests.VerdictIn, desk: DeskHere) -> Response:
    """Set a person's category, which no machine changes; null removes it."""
    return desk.once(body, lambda: JsonAnswer(200, _judged(desk.triage, ticket_id, body)))


def _judged(triage: Triage, name: str, body: requests.VerdictIn) -> dict[str, Any]:
    outcome: Outcome[Ticket]
    ticket_id = triage.resolve(name)
    (outcome,) = triage.give_verdicts([VerdictDraft(0, ticket_id, body.category, body.note)])
    ticket: Ticket = _value(outcome, ticket_id)
    return ticket_record(ticket)
