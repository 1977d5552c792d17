"""The endpoint for helpdesk webhooks: checks the signature, maps the fields, recognises repeated events."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Path, Request
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.responses import Response

from triage_cli.api.dependencies import CurrentServer, new_router
from triage_cli.api.idempotency import JsonAnswer, reply
from triage_cli.api.media_types import FORM, JSON, json_or_form, media_type
from triage_cli.api.routes.ticket_use_cases import stored_answer, ticket_draft
from triage_cli.api.schemas import tickets as ticket_schemas
from triage_cli.api.schemas import webhooks as webhook_schemas
from triage_cli.api.server_log import error_log
from triage_cli.api.server_state import IncomingWebhook, ServerState
from triage_cli.api.signature_check import verified_event_id
from triage_cli.config import HookSpec
from triage_cli.domain import (
    UPDATED_AT,
    Action,
    NotFoundError,
    Selection,
    TriageError,
    UsageError,
    dated,
    encodable,
    foreign,
    joined_id,
    lookup,
    ticket_record,
)
from triage_cli.readers import json_cell, mail_html, moment

# Whoever sends a webhook may add parameters to its address.
router = new_router("webhooks", json_or_form, route_class=APIRoute)
EVENT_CONTENT = {"schema": {"type": "object"}, "example": {"id": 17, "title": "Refund?", "body": "I was charged twice"}}
UNPROCESSABLE_EVENT = UsageError.http_status
EVENT_BODY = {"requestBody": {"required": True, "content": {JSON: EVENT_CONTENT, FORM: EVENT_CONTENT}}}


async def _event_body(request: Request) -> bytes:
    return await request.body()


WebhookName = Annotated[
    str, Path(max_length=80, description="its name under `webhooks` in the config", examples=["desk"])
]


@router.get("/webhooks/{source}", status_code=204)
def find_webhook(source: WebhookName, server_state: CurrentServer) -> Response:
    """Say that there is such an address: Intercom asks so, by HEAD, before it takes one."""
    _webhook_of(server_state, source)
    return Response(status_code=204)


def _webhook_of(server_state: ServerState, source: str) -> IncomingWebhook:
    if (webhook := server_state.webhooks.get(source)) is None:
        raise NotFoundError(f'no webhook "{source[:80]}"', hint="name it under webhooks in the config")
    return webhook


@router.post(
    "/webhooks/{source}",
    status_code=201,
    response_model=ticket_schemas.Created,
    responses={
        200: {"model": ticket_schemas.Created | webhook_schemas.Challenge | webhook_schemas.Received},
        202: {"model": webhook_schemas.Ignored},
    },
    openapi_extra=EVENT_BODY,
)
def receive(
    source: WebhookName, request: Request, server_state: CurrentServer, body: Annotated[bytes, Depends(_event_body)]
) -> Response:
    """Receive a helpdesk's event, as `webhooks` in the configuration says: 201, or 200 for a known ticket.

    An event that is repeated, or older than what is stored, is answered with its ticket and changes nothing. A
    challenge is sent back. 202: the configuration leaves out such events; nothing is stored. 401: the signature is
    missing, wrong, or too old.

    Each event of a list counts (200). One that is no ticket has an error, and loses no other one, unless all are none
    (422).
    """
    webhook = _webhook_of(server_state, source)
    event_id = verified_event_id(webhook, request.headers, body, time.time())
    event = parsed_event(request.headers, body)
    if (challenge := _challenge(webhook.spec, request.headers, event)) is not None:
        return reply({"challenge": challenge})
    events = event if isinstance(event, list) and event else [event]
    if len(events) > 1:
        return reply({"events": list(_event_results(server_state, webhook, event_id, events))})
    return _store_event(server_state, webhook, event_id, events[0]).response()


def _event_results(
    server_state: ServerState, webhook: IncomingWebhook, event_id: str, events: Sequence[object]
) -> Iterator[Mapping[str, str | None]]:
    """Yield what becomes of each event of a webhook's request. Raises the last one's error if none is a ticket."""
    refused_count = 0
    for event_number, event in enumerate(events, 1):
        try:
            json_answer = _store_event(server_state, webhook, f"{event_id}.{event_number}", event)
        except TriageError as error:
            refused_count += 1
            # Errors about other things than the event itself pass, and the webhook's sender repeats the request.
            if error.http_status != UNPROCESSABLE_EVENT or refused_count == len(events):
                raise
            name, sentence = webhook.spec.name, error.sentence()
            error_log.warning("webhook %s: event %d of %d: %s", name, event_number, len(events), sentence)
            yield {"ticket_id": None, "error": sentence}
        else:
            yield {"ticket_id": json_answer.record.get("ticket_id"), "error": None}


def _store_event(server_state: ServerState, webhook: IncomingWebhook, event_id: str, event: object) -> JsonAnswer:
    """Store the ticket of a webhook's event, unless it is repeated, or the configuration leaves it out."""
    source = webhook.spec.name
    if not all(_text_at(event, path) in values for path, values in webhook.spec.when.items()):
        return JsonAnswer(202, {"ignored": True})
    # A body alone does not identify an event: the same body after another event of the ticket is a new event.
    has_event_id = webhook.spec.timed
    known_ticket_id = server_state.api_access.hook_ticket(source, event_id) if has_event_id else None
    if known_ticket_id is not None:
        (ticket,) = server_state.services.store.find(Selection(ids=(known_ticket_id,)))
        return JsonAnswer(200, {"ticket_id": known_ticket_id, "ticket": ticket_record(ticket)})
    changed_at = moment(_text_of_paths(event, UPDATED_AT, webhook.spec.fields.get(UPDATED_AT, ())) or "")
    draft = dated(ticket_draft(ticket_of_event(webhook, event)), changed_at)
    outcome = server_state.single_tickets.create(draft, f"webhook:{source}", f"hook:{source}:{event_id}")
    json_answer = stored_answer(outcome)
    if has_event_id and outcome.value:
        server_state.api_access.note_hook(source, event_id, outcome.value.ticket_id)
    is_woken = outcome.action == Action.UPDATED and outcome.value and outcome.value.status == "classified"
    if outcome.value and (outcome.value.status == "new" or is_woken):
        server_state.background.put(source, outcome.value.ticket_id)
    return json_answer


def parsed_event(headers: Headers, body: bytes) -> Any:
    """Return a webhook's event of JSON or of a form, whose item `payload` is the event as JSON where there is one.

    Raises `UsageError` for anything else.
    """
    is_form = media_type(headers) == FORM
    try:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000)) if is_form else {}
        return form if is_form and "payload" not in form else foreign(form.get("payload", body))
    except ValueError as error:
        expected_type = "form" if is_form else "JSON"
        raise UsageError(f"the body is no {expected_type}", hint=f"send the event as {JSON}") from error


def _challenge(spec: HookSpec, headers: Headers, event: object) -> str | None:
    """Return the challenge that a sender of webhooks wants back before it uses this address."""
    if spec.challenge_header and (challenge := headers.get(spec.challenge_header)):
        return challenge
    return _text_at(event, "challenge") if _text_at(event, "type") == "url_verification" else None


def ticket_of_event(webhook: IncomingWebhook, event: object) -> ticket_schemas.TicketIn:
    """Return the ticket of a webhook's event, by the paths of the configuration."""
    paths_by_field = {field: paths for field, paths in webhook.spec.fields.items() if field != UPDATED_AT}
    fields: dict[str, Any] = {field: _text_of_paths(event, field, paths) for field, paths in paths_by_field.items()}
    for field in webhook.spec.html:
        if fields.get(field):
            fields[field] = mail_html.plain(fields[field]) or None
    try:
        return ticket_schemas.TicketIn(**{k: v for k, v in fields.items() if v is not None}, source=webhook.spec.name)
    except ValidationError as error:
        misfits = ", ".join(str(field) for e in error.errors() for field in e["loc"])
        raise UsageError(
            f"the event does not fit: {misfits}", hint="check fields of this webhook in the config"
        ) from error


def _text_of_paths(event: object, field: str, paths: Sequence[str]) -> str | None:
    """Return the joined texts at these paths of an event, or None. Raises `UsageError` if its id lacks a part."""
    texts_by_path = {path: text for path in paths if (text := _text_at(event, path))}
    if field != "external_id" or not texts_by_path or len(paths) == 1:
        return "#".join(texts_by_path.values()) or None
    if missing_paths := [path for path in paths if path not in texts_by_path]:
        raise UsageError(
            f"the event has no {missing_paths[0]}, which is a part of its external_id",
            hint="check fields of this webhook in the config",
        )
    return joined_id(list(texts_by_path.values()))


def _text_at(event: Any, path: str) -> str | None:
    """Return the text at a dotted path of an event, or None."""
    value = lookup(event, path)
    return None if value is None else encodable(json_cell(value))
