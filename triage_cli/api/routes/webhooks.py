"""The endpoint for helpdesk webhooks: checks the signature, maps the fields, recognises repeated events."""

import hashlib
import hmac
import json
import time
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.responses import Response

from triage_cli.api.dependencies import Hook, ServedHere, json_only
from triage_cli.api.idempotency import Done, reply
from triage_cli.api.routes.tickets import created, draft
from triage_cli.api.schemas import requests, responses
from triage_cli.domain.errors import NotFoundError, UnauthenticatedError, UsageError
from triage_cli.domain.paths import joined_id, lookup
from triage_cli.domain.runs import Action
from triage_cli.domain.serialization import ticket_record
from triage_cli.domain.tickets import Selection
from triage_cli.domain.webhook_signing import signature
from triage_cli.readers.json_reader import text_of

router = APIRouter(tags=["webhooks"], dependencies=[Depends(json_only)])
# Seconds by which a signature's time may differ from now.
TOLERANCE = 300.0
BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


async def _body(request: Request) -> bytes:
    return await request.body()


@router.post(
    "/webhooks/{source}",
    status_code=201,
    response_model=responses.Created,
    responses={200: {"model": responses.Created}},
    openapi_extra=BODY,
)
def receive(
    source: Annotated[str, Path(max_length=80)],
    request: Request,
    served: ServedHere,
    body: Annotated[bytes, Depends(_body)],
) -> Response:
    """Take a helpdesk's event, as `webhooks` in the configuration says: 201, or 200 for a ticket that is known.

    An event that comes again is answered with the ticket of the first time, and changes nothing. 401: the signature is
    missing, wrong, or too old.
    """
    hook = served.hooks.get(source)
    if hook is None:
        raise NotFoundError(f'no webhook "{source[:80]}"', hint="name it under webhooks in the config")
    hook_id = checked(hook, request.headers, body, time.time())
    # A body alone does not identify its event: the same body after another event of the ticket is no repetition.
    names_event = hook.spec.type == "standard" or hook.spec.timestamp_header is not None
    first = served.gate.hook_ticket(source, hook_id) if names_event else None
    if first is not None:
        (ticket,) = served.parts.store.find(Selection(ids=(first,)))
        return reply(Done(200, {"ticket_id": first, "ticket": ticket_record(ticket)}))
    outcome = served.together.create(draft(mapped(hook, body)), f"webhook:{source}", f"hook:{source}:{hook_id}")
    done = created(outcome)
    if names_event and outcome.value:
        served.gate.note_hook(source, hook_id, outcome.value.ticket_id)
    woken = outcome.action == Action.UPDATED and outcome.value and outcome.value.status == "classified"
    if outcome.value and (outcome.value.status == "new" or woken):
        served.worker.put(source, outcome.value.ticket_id)
    return reply(done)


def checked(hook: Hook, headers: Headers, body: bytes, now: float) -> str:
    """Return the id of an event with a good signature. Raises `UnauthenticatedError`."""
    if hook.spec.type == "standard":
        event, at, shown = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
        good = signature(hook.secrets, event, int(at), body).split() if at.isdecimal() and len(at) < 16 else []
    else:
        event, at, shown = "", "", headers.get(hook.spec.header or "", "").removeprefix("sha256=")
        if hook.spec.timestamp_header:
            at = headers.get(hook.spec.timestamp_header, "")
        digests = [hmac.digest(secret, at.encode() + body, hashlib.sha256) for secret in hook.secrets]
        good = [text for digest in digests for text in (digest.hex(), b64encode(digest).decode())]
    # All are compared completely, so that the duration reveals nothing.
    matches = [hmac.compare_digest(a.encode(), b.encode()) for a in shown.split() for b in good]
    if not any(matches):
        raise UnauthenticatedError("the signature is missing or wrong", hint="check the secret on both sides")
    if (hook.spec.type == "standard" or hook.spec.timestamp_header) and abs(_seconds(at) - now) > TOLERANCE:
        raise UnauthenticatedError("the signature is too old, or from the future", hint="check the clocks")
    return event or hashlib.sha256(at.encode() + b"\n" + body).hexdigest()


def _seconds(at: str) -> float:
    """Return a time as seconds since 1970: seconds, milliseconds or ISO 8601; 0 for anything else."""
    if at.isdecimal() and len(at) < 16:
        return int(at) / 1000 if len(at) > 11 else int(at)
    try:
        found = datetime.fromisoformat(at)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def mapped(hook: Hook, body: bytes) -> requests.TicketIn:
    """Return the ticket of an event, by the paths of the configuration."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError("the body is no JSON", hint="send the event as application/json") from error
    fields: dict[str, Any] = {field: _joined(event, field, paths) for field, paths in hook.spec.fields.items()}
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
    return None if value is None else text_of(value)
