"""The endpoint for helpdesk webhooks: checks the signature, maps the fields, recognises repeated events."""

import hashlib
import hmac
import re
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Path, Request
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.responses import Response

from triage_cli import domain as dm
from triage_cli.config import HookSpec
from triage_cli.extensions.server.dependencies import FORM, JSON, CurrentServer, json_or_form, media_type, new_router
from triage_cli.extensions.server.idempotency import JsonAnswer, reply
from triage_cli.extensions.server.routes.ticket_use_cases import stored_answer, ticket_draft
from triage_cli.extensions.server.schemas import tickets
from triage_cli.extensions.server.server_log import error_log
from triage_cli.extensions.server.server_state import IncomingWebhook, ServerState
from triage_cli.readers import json_cell, mail_html, moment

CLOCK_TOLERANCE = 300.0  # seconds by which a signature's time may differ from now
# Characters of an event's id that are stored as they are; a longer one is hashed, since PostgreSQL limits its keys.
LONGEST_EVENT_ID = 255


def verified_event_id(webhook: IncomingWebhook, headers: Headers, body: bytes, now: float) -> str:
    """Return the id of a webhook's event if its signature is right. Raises `UnauthenticatedError`."""
    read_evidence = {"standard": _standard_evidence, "token": _token_evidence}.get(webhook.spec.type, _hmac_evidence)
    event_id, signed_at, sent_signatures, right_signatures = read_evidence(webhook, headers, body)
    # All signatures are compared completely, so that the duration reveals nothing.
    matches = [hmac.compare_digest(a.encode("latin-1"), b) for a in sent_signatures for b in right_signatures]
    if not any(matches):
        proof = "secret" if webhook.spec.type == "token" else "signature"
        raise dm.UnauthenticatedError(f"the {proof} is missing or wrong", hint="check the secret on both sides")
    if webhook.spec.timed and abs(_signed_seconds(signed_at) - now) > CLOCK_TOLERANCE:
        raise dm.UnauthenticatedError("the signature is too old, or from the future", hint="check the clocks")
    if not event_id:
        return hashlib.sha256(signed_at.encode() + b"\n" + body).hexdigest()
    return event_id if len(event_id) <= LONGEST_EVENT_ID else hashlib.sha256(event_id.encode()).hexdigest()


# The event's id, the time of the signature, the signatures (or secrets) that were sent, and those that are right.
SignatureEvidence = tuple[str, str, Iterable[str], list[bytes]]


def _standard_evidence(webhook: IncomingWebhook, headers: Headers, body: bytes) -> SignatureEvidence:
    event_id, signed_at, sent_signatures = (
        headers.get(f"{webhook.spec.header_prefix}-{name}", "") for name in ("id", "timestamp", "signature")
    )
    right_signatures: list[bytes] = []
    if signed_at.isdecimal() and len(signed_at) < 16:
        right_signatures = dm.signature(webhook.secrets, event_id, int(signed_at), body).encode().split()
    return event_id, signed_at, sent_signatures.split(), right_signatures


def _token_evidence(webhook: IncomingWebhook, headers: Headers, _body: bytes) -> SignatureEvidence:
    prefix = webhook.spec.prefix or ""
    sent_secret = headers.get(webhook.spec.header or "", "")
    return "", "", [sent_secret.removeprefix(prefix)] if sent_secret.startswith(prefix) else [], list(webhook.secrets)


def _hmac_evidence(webhook: IncomingWebhook, headers: Headers, body: bytes) -> SignatureEvidence:
    spec = webhook.spec
    header_items = re.split(r"[\s,]+", headers.get(spec.header or "", ""))
    signed_at = headers.get(spec.timestamp_header, "") if spec.timestamp_header else ""
    if spec.timestamp_in:
        mark = f"{spec.timestamp_in}="
        signed_at = next((item.removeprefix(mark) for item in header_items if item.startswith(mark)), "")
    if spec.prefix is None:  # as many do, whether or not the configuration says so
        sent_signatures = [item.removeprefix(f"{spec.algorithm}=") for item in header_items]
    else:
        sent_signatures = [item.removeprefix(spec.prefix) for item in header_items if item.startswith(spec.prefix)]
    before, _, after = (spec.base or "{timestamp}{body}").partition("{body}")
    signed_text = b"".join([_with_timestamp(before, signed_at), body, _with_timestamp(after, signed_at)])
    digests = [hmac.digest(secret, signed_text, spec.algorithm) for secret in webhook.secrets]
    hex_digests = [digest.hex().encode() for digest in digests if spec.encoding != "base64"]
    base64_digests = [b64encode(digest) for digest in digests if spec.encoding != "hex"]
    return "", signed_at, sent_signatures, hex_digests + base64_digests


def _with_timestamp(text: str, signed_at: str) -> bytes:
    return text.replace("{timestamp}", signed_at).encode()


def _signed_seconds(signed_at: str) -> float:
    """Return the time of a signature as seconds since 1970: seconds, milliseconds or ISO 8601; 0 for anything else."""
    if signed_at.isdecimal() and len(signed_at) < 16:
        return int(signed_at) / 1000 if len(signed_at) > 11 else int(signed_at)
    try:
        return dm.to_seconds(signed_at)
    except (ValueError, OverflowError):
        return 0.0


# Whoever sends a webhook may add parameters to its address.
router = new_router("webhooks", json_or_form, route_class=APIRoute)
EVENT_CONTENT = {"schema": {"type": "object"}, "example": {"id": 17, "title": "Refund?", "body": "I was charged twice"}}
FIELDS_HINT = "check fields of this webhook in the config"
UNPROCESSABLE_EVENT = dm.UsageError.http_status
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
        raise dm.NotFoundError(f'no webhook "{source[:80]}"', hint="name it under webhooks in the config")
    return webhook


@router.post(
    "/webhooks/{source}",
    status_code=201,
    response_model=tickets.Created,
    responses={200: {"model": tickets.Created | tickets.Challenge | tickets.Received}, 202: {"model": tickets.Ignored}},
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
        except dm.TriageError as error:
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
        (ticket,) = server_state.services.store.find(dm.Selection(ids=(known_ticket_id,)))
        return JsonAnswer(200, {"ticket_id": known_ticket_id, "ticket": dm.ticket_record(ticket)})
    changed_at = moment(_text_of_paths(event, dm.UPDATED_AT, webhook.spec.fields.get(dm.UPDATED_AT, ())) or "")
    draft = dm.dated(ticket_draft(ticket_of_event(webhook, event)), changed_at)
    outcome = server_state.single_tickets.create(draft, f"webhook:{source}", f"hook:{source}:{event_id}")
    json_answer = stored_answer(outcome)
    if has_event_id and outcome.value:
        server_state.api_access.note_hook(source, event_id, outcome.value.ticket_id)
    is_woken = outcome.action == dm.Action.UPDATED and outcome.value and outcome.value.status == "classified"
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
        return form if is_form and "payload" not in form else dm.foreign(form.get("payload", body))
    except ValueError as error:
        expected_type = "form" if is_form else "JSON"
        raise dm.UsageError(f"the body is no {expected_type}", hint=f"send the event as {JSON}") from error


def _challenge(spec: HookSpec, headers: Headers, event: object) -> str | None:
    """Return the challenge that a sender of webhooks wants back before it uses this address."""
    if spec.challenge_header and (challenge := headers.get(spec.challenge_header)):
        return challenge
    return _text_at(event, "challenge") if _text_at(event, "type") == "url_verification" else None


def ticket_of_event(webhook: IncomingWebhook, event: object) -> tickets.TicketIn:
    """Return the ticket of a webhook's event, by the paths of the configuration."""
    paths_by_field = {field: paths for field, paths in webhook.spec.fields.items() if field != dm.UPDATED_AT}
    fields: dict[str, Any] = {field: _text_of_paths(event, field, paths) for field, paths in paths_by_field.items()}
    for field in webhook.spec.html:
        if fields.get(field):
            fields[field] = mail_html.plain(fields[field]) or None
    try:
        extra = {path: value for path in webhook.labels if (value := dm.lookup(event, path)) is not None}
        fields = {k: v for k, v in fields.items() if v is not None}
        return tickets.TicketIn(**fields, extra=extra, source=webhook.spec.name)
    except ValidationError as error:
        misfits = ", ".join(str(field) for e in error.errors() for field in e["loc"])
        raise dm.UsageError(f"the event does not fit: {misfits}", hint=FIELDS_HINT) from error


def _text_of_paths(event: object, field: str, paths: Sequence[str]) -> str | None:
    """Return the joined texts at these paths of an event, or None. Raises `UsageError` if its id lacks a part."""
    texts_by_path = {path: text for path in paths if (text := _text_at(event, path))}
    if field != "external_id" or not texts_by_path or len(paths) == 1:
        return "#".join(texts_by_path.values()) or None
    if missing_paths := [path for path in paths if path not in texts_by_path]:
        missing = f"the event has no {missing_paths[0]}, which is a part of its external_id"
        raise dm.UsageError(missing, hint=FIELDS_HINT)
    return dm.joined_id(list(texts_by_path.values()))


def _text_at(event: Any, path: str) -> str | None:
    """Return the text at a dotted path of an event, or None."""
    value = dm.lookup(event, path)
    return None if value is None else dm.encodable(json_cell(value))
