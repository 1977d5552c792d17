"""The use cases of a request about one ticket, which share transactions with other such requests."""

import re
import time
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Depends, Request

from triage_cli import domain as dm
from triage_cli.extensions.server.auth import Caller
from triage_cli.extensions.server.dependencies import command_line, current_caller, current_server, json_only
from triage_cli.extensions.server.idempotency import (
    IdempotencyKey,
    IdempotentRequest,
    JsonAnswer,
    current_idempotent_request,
)
from triage_cli.extensions.server.schemas import tickets
from triage_cli.extensions.server.server_state import ServerState
from triage_cli.readers import cell_values, dates
from triage_cli.service import LocalTriage

T = TypeVar("T")


class TicketUseCases(NamedTuple):
    """The use cases of a request about one ticket: single tickets share transactions; `triage` has its own run."""

    server_state: ServerState
    caller: Caller
    once: IdempotentRequest
    command_line: str

    @property
    def triage(self) -> LocalTriage:
        """Return the use cases with a run for this request, for work on a ticket that needs one."""
        return self.server_state.use_cases(self.caller.name, self.command_line)

    def classify(self, ticket: dm.Ticket, plan: dm.ClassifyPlan) -> dm.Outcome[dm.Decided]:
        """Classify one ticket. Raises `BusyError` if another run holds it."""
        classify_began = time.perf_counter()
        outcome = self.server_state.single_tickets.classify(ticket, plan, self.caller.name)
        if outcome is None:
            outcome = _only_outcome(self.triage.classify(dm.Selection(ids=(ticket.ticket_id,)), plan))
        decided = outcome.value
        if decided is None:
            return outcome
        if decided.now is not None:
            self.server_state.metrics.count_classification(decided.now.classifier, time.perf_counter() - classify_began)
        is_settled = decided.asked or decided.ticket.verdict or decided.ticket.is_erased
        if outcome.action == dm.Action.HELD and not is_settled:
            raise _held_error(ticket.ticket_id)
        return outcome

    def route(self, ticket: dm.Ticket, plan: dm.RoutePlan = dm.RoutePlan()) -> dm.Outcome[dm.Routed]:  # noqa: B008 - immutable
        """Route one ticket. Raises `BusyError` if another run holds it, `NoRouteError`, `NotClassifiedError`."""
        outcome = None if plan != dm.RoutePlan() else self.server_state.single_tickets.route(ticket, self.caller.name)
        if outcome is None:
            outcome = _only_outcome(self.triage.route(dm.Selection(ids=(ticket.ticket_id,)), plan))
        if outcome.action == dm.Action.HELD:
            raise _held_error(ticket.ticket_id)
        is_undecided = isinstance(outcome.error, dm.NoRouteError | dm.NotClassifiedError)
        if is_undecided or outcome.value is None or not outcome.value.deliveries:
            outcome_value(outcome, ticket.ticket_id)
        return outcome


def outcome_value(outcome: dm.Outcome[Any], ticket_id: str) -> Any:
    """Return the value of a ticket's outcome. Raises its error."""
    if outcome.error is not None:
        raise outcome.error
    if outcome.value is None:
        raise dm.TriageError(f"nothing came of {dm.ids.short(ticket_id)}")
    return outcome.value


def _only_outcome(outcomes: Iterable[dm.Outcome[T]]) -> dm.Outcome[T]:
    """Return the outcome of one ticket. Raises `UnavailableError` if there is none because the server is stopping."""
    for outcome in tuple(outcomes):  # all of them, so that the run ends
        return outcome
    raise dm.UnavailableError("the server is shutting down", hint="nothing was changed; ask again in a moment")


def _held_error(ticket_id: str) -> dm.BusyError:
    return dm.BusyError(f"another run is at work on {dm.ids.short(ticket_id)}", hint="ask again in a moment")


async def _use_cases(request: Request, idempotency_key: IdempotencyKey = None) -> TicketUseCases:
    """Return the only dependency of the ticket endpoints: each one takes FastAPI as long as a small endpoint."""
    await json_only(request)
    once = await current_idempotent_request(request, idempotency_key)
    return TicketUseCases(await current_server(request), await current_caller(request), once, command_line(request))


CurrentUseCases = Annotated[TicketUseCases, Depends(_use_cases)]


def ticket_draft(body: tickets.TicketIn) -> dm.TicketDraft:
    """Return the draft of the ticket in a request's body. Raises `UsageError` if it has no text."""
    subject, description = dm.storable_or_none(body.subject), dm.storable_or_none(body.description)
    if not any(re.search(tickets.VISIBLE_CHARACTER, text) for text in (subject or "", description or "")):
        raise dm.UsageError("the ticket has no text", hint="give subject or description")
    extra = dict(dm.parts.whole(body.extra))
    priority_text, created_text = dm.storable_or_none(body.priority), dm.storable_or_none(body.created_at)
    priority = cell_values.priority(priority_text, {}) if priority_text else None
    created_at = dates.moment(created_text) if created_text else None
    if priority_text and priority is None:
        extra["priority"] = priority_text
    if created_text and created_at is None:
        extra["created_at"] = created_text
    return dm.TicketDraft(
        subject=subject,
        description=description,
        customer_id=dm.storable_or_none(body.customer_id),
        priority=priority,
        created_at=created_at,
        external_id=dm.storable_or_none(body.external_id),
        source=body.source,
        extra=extra,
        origin="request",
    )


def stored_answer(outcome: dm.Outcome[dm.Ticket], once: IdempotentRequest | None = None) -> JsonAnswer:
    """Return the response for a ticket that was stored. Raises the outcome's error."""
    if outcome.error is not None or outcome.value is None:
        raise outcome.error or dm.RowError("the ticket was not stored")
    # Under an idempotency key this is the first response, even if a crash followed the storing of the ticket.
    is_first_response = once is not None and once.identity and outcome.value.identity.startswith(f"{once.identity}:")
    status = 201 if outcome.action == dm.Action.CREATED or is_first_response else 200
    ticket = outcome.value
    return JsonAnswer(status, {"ticket_id": ticket.ticket_id, "ticket": dm.ticket_record(ticket)}, ticket.revision)
