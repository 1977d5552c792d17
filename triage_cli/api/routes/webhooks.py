"""The endpoint for helpdesk webhooks: checks the signature, maps the fields, recognises repeated events."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Path, Request
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.responses import Response

from triage_cli.api.dependencies import CurrentServer, new_router
from triage_cli.api.idempotency import JsonAnswer, reply
from triage_cli.api.media_types import FORM, JSON, json_or_form, media_type
from triage_cli.api.routes.tickets import created, draft
from triage_cli.api.schemas import requests, responses
from triage_cli.api.server_log import error_log
from triage_cli.api.server_state import IncomingWebhook, ServerState
from triage_cli.api.signature_check import verified_event_id
from triage_cli.config import HookSpec
from triage_cli.domain.dedup import UPDATED_AT, dated
from triage_cli.domain.errors import NotFoundError, TriageError, UsageError
from triage_cli.domain.ids import joined_id
from triage_cli.domain.json_paths import lookup
from triage_cli.domain.outcomes import Action
from triage_cli.domain.serialization import encodable, foreign, ticket_record
from triage_cli.domain.tickets import Selection
from triage_cli.readers import mail_html
from triage_cli.readers.dates import moment
from triage_cli.readers.json_reader import json_cell

router = new_router("webhooks", json_or_form)
EVENT = {"schema": {"type": "object"}, "example": {"id": 17, "title": "Refund?", "body": "I was charged twice"}}
UNPROCESSABLE = UsageError.http_status
BODY = {"requestBody": {"required": True, "content": {JSON: EVENT, FORM: EVENT}}}


async def _body(request: Request) -> bytes:
    return await request.body()


HookName = Annotated[str, Path(max_length=80, description="its name under `webhooks` in the config", examples=["desk"])]


@router.get("/webhooks/{source}", status_code=204)
def find_webhook(source: HookName, server_state: CurrentServer) -> Response:
    """Say that there is such an address: Intercom asks so, by HEAD, before it takes one."""
    _hook(server_state, source)
    return Response(status_code=204)


def _hook(server_state: ServerState, source: str) -> IncomingWebhook:
    if (hook := server_state.webhooks.get(source)) is None:
        raise NotFoundError(f'no webhook "{source[:80]}"', hint="name it under webhooks in the config")
    return hook


@router.post(
    "/webhooks/{source}",
    status_code=201,
    response_model=responses.Created,
    responses={
        200: {"model": responses.Created | responses.Challenge | responses.Received},
        202: {"model": responses.Ignored},
    },
    openapi_extra=BODY,
)
def receive(
    source: HookName, request: Request, server_state: CurrentServer, body: Annotated[bytes, Depends(_body)]
) -> Response:
    """Receive a helpdesk's event, as `webhooks` in the configuration says: 201, or 200 for a known ticket.

    An event that is repeated, or older than what is stored, is answered with its ticket and changes nothing. A
    challenge is sent back. 202: the configuration leaves out such events; nothing is stored. 401: the signature is
    missing, wrong, or too old.

    Each event of a list counts (200). One that is no ticket has an error, and loses no other one, unless all are none
    (422).
    """
    hook = _hook(server_state, source)
    hook_id = verified_event_id(hook, request.headers, body, time.time())
    event = parsed(request.headers, body)
    if (challenge := _challenge(hook.spec, request.headers, event)) is not None:
        return reply({"challenge": challenge})
    events = event if isinstance(event, list) and event else [event]
    if len(events) > 1:
        return reply({"events": list(_each_taken(server_state, hook, hook_id, events))})
    done = _taken(server_state, hook, hook_id, events[0])
    return reply(done.record, done.status)


def _each_taken(
    server_state: ServerState, hook: IncomingWebhook, hook_id: str, events: Sequence[object]
) -> Iterator[Mapping[str, str | None]]:
    """Yield what becomes of each event of a request. Raises the error of the last one if none is a ticket."""
    refused = 0
    for number, event in enumerate(events, 1):
        try:
            done = _taken(server_state, hook, f"{hook_id}.{number}", event)
        except TriageError as error:
            refused += 1
            # Others than those about the event itself pass, and the sender repeats the request.
            if error.http_status != UNPROCESSABLE or refused == len(events):
                raise
            error_log.warning("webhook %s: event %d of %d: %s", hook.spec.name, number, len(events), error.sentence())
            yield {"ticket_id": None, "error": error.sentence()}
        else:
            yield {"ticket_id": done.record.get("ticket_id"), "error": None}


def _taken(server_state: ServerState, hook: IncomingWebhook, hook_id: str, event: object) -> JsonAnswer:
    """Store the ticket of one event, unless it is repeated or not for us."""
    source = hook.spec.name
    if not all(_at(event, path) in values for path, values in hook.spec.when.items()):
        return JsonAnswer(202, {"ignored": True})
    # A body alone does not identify an event: the same body after another event of the ticket is a new event.
    names_event = hook.spec.timed
    first = server_state.api_access.hook_ticket(source, hook_id) if names_event else None
    if first is not None:
        (ticket,) = server_state.services.store.find(Selection(ids=(first,)))
        return JsonAnswer(200, {"ticket_id": first, "ticket": ticket_record(ticket)})
    changed_at = moment(_joined(event, UPDATED_AT, hook.spec.fields.get(UPDATED_AT, ())) or "")
    changed = dated(draft(mapped(hook, event)), changed_at)
    outcome = server_state.single_tickets.create(changed, f"webhook:{source}", f"hook:{source}:{hook_id}")
    done = created(outcome)
    if names_event and outcome.value:
        server_state.api_access.note_hook(source, hook_id, outcome.value.ticket_id)
    woken = outcome.action == Action.UPDATED and outcome.value and outcome.value.status == "classified"
    if outcome.value and (outcome.value.status == "new" or woken):
        server_state.background.put(source, outcome.value.ticket_id)
    return done


def parsed(headers: Headers, body: bytes) -> Any:
    """Return an event of JSON or of a form, whose item `payload` is the event as JSON where there is one.

    Raises `UsageError` for anything else.
    """
    is_form = media_type(headers) == FORM
    try:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000)) if is_form else {}
        return form if is_form and "payload" not in form else foreign(form.get("payload", body))
    except ValueError as error:
        what = "form" if is_form else "JSON"
        raise UsageError(f"the body is no {what}", hint=f"send the event as {JSON}") from error


def _challenge(spec: HookSpec, headers: Headers, event: object) -> str | None:
    """Return the challenge that a sender wants back before it uses this address."""
    if spec.challenge_header and (challenge := headers.get(spec.challenge_header)):
        return challenge
    return _at(event, "challenge") if _at(event, "type") == "url_verification" else None


def mapped(hook: IncomingWebhook, event: object) -> requests.TicketIn:
    """Return the ticket of an event, by the paths of the configuration."""
    paths_by_field = {field: paths for field, paths in hook.spec.fields.items() if field != UPDATED_AT}
    fields: dict[str, Any] = {field: _joined(event, field, paths) for field, paths in paths_by_field.items()}
    for field in hook.spec.html:
        if fields.get(field):
            fields[field] = mail_html.plain(fields[field]) or None
    try:
        return requests.TicketIn(**{k: v for k, v in fields.items() if v is not None}, source=hook.spec.name)
    except ValidationError as error:
        where = ", ".join(str(part) for e in error.errors() for part in e["loc"])
        raise UsageError(
            f"the event does not fit: {where}", hint="check fields of this webhook in the config"
        ) from error


def _joined(event: object, field: str, paths: Sequence[str]) -> str | None:
    """Return the texts at these paths, joined, or None. Raises `UsageError` if a part of an id is missing."""
    texts = {path: text for path in paths if (text := _at(event, path))}
    if field != "external_id" or not texts or len(paths) == 1:
        return "#".join(texts.values()) or None
    if missing := [path for path in paths if path not in texts]:
        raise UsageError(
            f"the event has no {missing[0]}, which is a part of its external_id",
            hint="check fields of this webhook in the config",
        )
    return joined_id(list(texts.values()))


def _at(value: Any, path: str) -> str | None:
    """Return the text at a dotted path, or None."""
    value = lookup(value, path)
    return None if value is None else encodable(json_cell(value))
