"""The hash chain of the audit log, as pure functions.

The hash of an event is SHA-256 over the hash before it, a line feed, and the event as canonical JSON: keys sorted, no
blanks, UTF-8. Before the first event stand 64 zeros. So anyone can verify a log with twenty lines of code. With a key,
the hash is HMAC-SHA-256 over the same bytes, from the first event written with the key on. Then nobody without the key
can forge a log, and the first keyed event also protects the events before it.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

from triage_cli.domain.errors import CheckError, StoreError
from triage_cli.domain.events import Event, EventRow, Head, LoggedEvent
from triage_cli.domain.json_values import json_writer, quoted

# Writes an event's data as canonical JSON, of which hashes are made.
canonical: Callable[[Mapping[str, Any]], str] = json_writer(sort_keys=True, separators=(",", ":"))
GENESIS = "0" * 64

_Text = str | None


def link(prev: str, seq: int, event: Event, detail: str, audit_key: bytes | None = None) -> str:
    """Return the hash of an event that follows the hash `prev`; `detail` is its data as canonical JSON."""
    action, ticket_id, run_id, actor, at, _ = event
    return _hash(prev, seq, at, action, ticket_id, actor, run_id, detail, audit_key)


def _hash(  # noqa: PLR0913 - by position, in the order of the columns: it is called for each event of a log
    prev: str,
    seq: int,
    at: str,
    action: str,
    ticket_id: _Text,
    actor: str,
    run_id: _Text,
    detail: str,
    audit_key: bytes | None,
) -> str:
    # Ids, times and actions are the program's own and need no escaping; an actor may be any text.
    ticket = "null" if ticket_id is None else f'"{ticket_id}"'
    run = "null" if run_id is None else f'"{run_id}"'
    hashed = (
        f'{prev}\n{{"action":"{action}","actor":{quoted(actor)},"detail":{detail},"run_id":{run},'
        f'"seq":{seq},"ticket_id":{ticket},"timestamp":"{at}"}}'
    ).encode("utf-8", "surrogatepass")
    return hmac.digest(audit_key, hashed, "sha256").hex() if audit_key else hashlib.sha256(hashed).hexdigest()


def append(
    head: Head, events: Iterable[Event], audit_key: bytes | None = None
) -> tuple[list[tuple[int, str, str, _Text, str, _Text, str, str]], Head]:
    """Return the rows that continue the chain, with the columns of the table `events`, and its new head."""
    prev, seq = head
    rows = []
    for event in events:
        seq += 1
        action, ticket_id, run_id, actor, at, data = event
        detail = canonical(data)
        prev = link(prev, seq, event, detail, audit_key)
        rows.append((seq, at, action, ticket_id, actor, run_id, detail, prev))
    return rows, Head(prev, seq)


def key_mark(audit_key: bytes | None) -> str | None:
    """Return a short hash of an audit key, by which a store recognises the key of its log."""
    return hmac.digest(audit_key, b"triage audit key", "sha256").hex()[:16] if audit_key else None


def checked_key_mark(log_mark: str | None, audit_key: bytes | None) -> str | None:
    """Return the mark of this audit key. Raises `StoreError` if the log was begun with another key."""
    own_mark = key_mark(audit_key)
    if log_mark is not None and log_mark != own_mark:
        raise StoreError(
            "the audit log is written with a key, and TRIAGE_AUDIT_KEY does not hold it",
            hint="set it to the key that this log was begun with",
        )
    return own_mark


def verify(trail: Iterable[EventRow], audit_key: bytes | None, heads: Mapping[str, str]) -> Head:
    """Recompute the chain of a whole log and return its head; the events' own `prev` is not used.

    `heads` maps hashes that must be in the log to where they were kept. Raises `CheckError`, which names the first
    event whose hash is wrong in the chain.
    """
    head, missing_heads = recompute(trail, audit_key, heads)
    for where in missing_heads.values():
        raise missing_head_error(where, head)
    return head


class RestOfLog(Protocol):
    """What follows the first `begins` events of a log, up to its head, while somebody else verifies it."""

    begins: int
    head: Head

    def heads_after(self, prev: str) -> Collection[str] | None:
        """Wait until it was verified; return the heads in it, or None unless it is whole and follows this hash."""


def recompute(
    trail: Iterable[EventRow],
    audit_key: bytes | None,
    heads: Mapping[str, str],
    start: Head = Head(GENESIS, 0),  # noqa: B008 - immutable
    rest: RestOfLog | None = None,
) -> tuple[Head, Mapping[str, str]]:
    """Recompute the chain of a log; return its head, and the `heads` that are not in it. Raises as `verify` does.

    The trail begins after `start`, from where on all events must have the key. It is read up to the `rest`, or to its
    end if that does not hold.
    """
    prev, count = start
    keyed_before = count > 0 and audit_key is not None
    rest_begins = rest.begins if rest else None
    missing_heads = {head: where for head, where in heads.items() if head != GENESIS}
    for count, event in enumerate(trail, start.events + 1):
        if event[0] != count:
            raise CheckError(f"event {count} of the log is missing", hint=RESTORE)
        is_keyed = audit_key is not None and is_linked(event, prev, audit_key)
        if not is_keyed and (keyed_before or not is_linked(event, prev, None)):
            hint = RESTORE if audit_key else f"{RESTORE}; if it was written with a key, set TRIAGE_AUDIT_KEY"
            raise CheckError(f"event {count} is not what was written there: it was changed, moved or put in", hint=hint)
        keyed_before = keyed_before or is_keyed
        prev = event[-1]
        missing_heads.pop(prev, None)
        if count == rest_begins and rest and (later_heads := rest.heads_after(prev)) is not None:
            return rest.head, {head: where for head, where in missing_heads.items() if head not in later_heads}
    if audit_key is not None and count and not keyed_before:
        hint = "if the key is new, this holds once an event was written with it; else the log was replaced"
        raise CheckError("no event of the log was written with the key in TRIAGE_AUDIT_KEY", hint=hint)
    return Head(prev, count), missing_heads


def missing_head_error(where: str, head: Head, but: str = "") -> CheckError:
    """Return the error for a kept head that is missing from a log that ends at `head`.

    `where` says where the missing head was kept, `but` names another explanation than a changed log.
    """
    return CheckError(
        f"the head {where} is not in the log, which ends at event {head.events}",
        hint=f"{RESTORE}; {but}" if but else RESTORE,
    )


RESTORE = "compare with a backup: what was there before has been altered"


def is_linked(event: EventRow, prev: str, audit_key: bytes | None) -> bool:
    """Return whether an event's hash is right after `prev`, with this key. An altered row may hold any type."""
    seq, at, action, ticket_id, actor, run_id, detail, _, stored_hash = event
    try:
        unescaped = at + action + (ticket_id or "") + (run_id or "")
    except TypeError:  # one of them is no text
        return False
    if type(seq) is not int or type(actor) is not str or type(detail) is not str:
        return False
    # These fields are hashed without escaping, so with a quote inside two events could have the same hash.
    if '"' in unescaped or "\\" in unescaped:
        return False
    return stored_hash == _hash(prev, seq, at, action, ticket_id, actor, run_id, detail, audit_key)


def replaced_head(restored: LoggedEvent) -> str:
    """Return the head of the audit log that a restore replaced.

    Raises `ValueError` if the event was altered so that its detail is no JSON.
    """
    return str(json.loads(restored.detail).get("replaced"))
