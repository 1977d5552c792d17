"""The hash chain of the audit log, as pure functions.

An event's hash is SHA-256 over the hash before it, a line feed, and the event as canonical JSON: keys sorted, no
blanks, UTF-8. The first event stands on 64 zeros. So anyone can check a log with twenty lines of code.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from triage_cli.models import Event, LoggedEvent

GENESIS = "0" * 64

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_quoted = json.encoder.encode_basestring


def canonical(data: Mapping[str, Any]) -> str:
    """Return data as canonical JSON."""
    return _canonical(data)


def link(prev: str, seq: int, event: Event, detail: str) -> str:
    """Return the hash of an event that follows `prev`; `detail` is its data as canonical JSON."""
    return _hash(prev, seq, event.at, event.actor, event.action, event.ticket_id, event.run_id, detail)


def holds(event: LoggedEvent) -> bool:
    """Tell whether an event's hash is the one its content and its predecessor's hash ask for."""
    return event.hash == _hash(
        event.prev, event.seq, event.timestamp, event.actor, event.action, event.ticket_id, event.run_id, event.detail
    )


def first_break(events: Iterable[LoggedEvent]) -> int | None:
    """Return the seq of the first event of a whole log that does not continue the chain, or None."""
    prev = GENESIS
    for seq, event in enumerate(events, 1):
        if event.seq != seq or event.prev != prev or not holds(event):
            return seq
        prev = event.hash
    return None


def _hash(
    prev: str, seq: int, at: str, actor: str, action: str, ticket_id: str | None, run_id: str | None, detail: str
) -> str:
    # Ids, times and actions are ours and need no escaping; an actor may be anything, and is the same for a whole run.
    ticket = "null" if ticket_id is None else f'"{ticket_id}"'
    run = "null" if run_id is None else f'"{run_id}"'
    said = (
        f'{prev}\n{{"action":"{action}","actor":{_quoted(actor)},"detail":{detail},"run_id":{run},"seq":{seq},'
        f'"ticket_id":{ticket},"timestamp":"{at}"}}'
    )
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
