"""Converts outcomes to the lines that a server streams, and back.

A stream is JSON lines: one outcome each (`row`, `did`, its ticket or flip, its `error`), then exactly one line that is
`{"end": …}` or `{"problem": …}`.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from triage_cli.client import wire_format
from triage_cli.client.wire_errors import ProtocolError, error_fields, error_of
from triage_cli.domain import Action, Decided, Flip, Outcome, Routed, Ticket, compact, outcome_record

T = TypeVar("T")
LINES_MEDIA_TYPE = "application/x-ndjson"
# The longest line of a stream or an upload, in bytes: a row of 1 MB, twice, with every character escaped.
LONGEST_LINE = 16 << 20
_ACTIONS_BY_NAME: Mapping[str, Action] = {action.value: action for action in Action}


def outcome_line(outcome: Outcome[Any], spoken: Callable[[str], str] = str) -> str:
    """Return an outcome as a line of a stream; `spoken` returns a hint in the words of the caller."""
    wire_outcome: dict[str, Any] = {"row": outcome.row, "did": outcome.action.value}
    if isinstance(outcome.value, Flip):
        wire_outcome["flip"] = outcome.value._asdict()
    elif outcome.action == Action.PREVIEWED:
        wire_outcome["preview"] = outcome.value
    elif (ticket_record := outcome_record(outcome)) is not None:
        wire_outcome["ticket"] = ticket_record
    if outcome.outdated is not None:
        wire_outcome["outdated"] = outcome.outdated
    if outcome.error is not None:
        wire_outcome["error"] = error_fields(outcome.error) | {"hint": spoken(outcome.error.hint)}
    return compact(wire_outcome)


def outcome_of(
    wire_outcome: wire_format.Record, value: Callable[[wire_format.Record], T], *, rowless: bool = False
) -> Outcome[T]:
    """Return an outcome from its wire record; `value` converts its ticket or flip. A `rowless` one needs no row."""
    row, did, error = wire_outcome.get("row"), wire_outcome.get("did"), wire_outcome.get("error")
    row_fits = type(row) is int or (rowless and row is None and "ticket" in wire_outcome)
    if not row_fits or not isinstance(did, str) or did not in _ACTIONS_BY_NAME:
        raise ProtocolError("a line that is no outcome")
    outcome_value = value(wire_outcome) if "ticket" in wire_outcome or "flip" in wire_outcome else None
    outcome_error = None if error is None else error_of(error)
    return Outcome(row, _ACTIONS_BY_NAME[did], outcome_value, outcome_error, outdated=_names_of(wire_outcome))


def _names_of(wire_outcome: wire_format.Record) -> tuple[str, ...] | None:
    names = wire_outcome.get("outdated")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ProtocolError("an outcome whose outdated destinations are no names")
    return tuple(names)


def ticket_in(wire_outcome: wire_format.Record) -> Ticket:
    """Return the ticket in the wire record of an outcome."""
    return wire_format.ticket_of(wire_outcome.get("ticket"))


def decided_in(wire_outcome: wire_format.Record) -> Decided:
    """Return the ticket in the wire record of a `classify` outcome; the answer is in the ticket's history."""
    ticket = wire_outcome.get("ticket")
    return Decided(wire_format.ticket_of(ticket), None, isinstance(ticket, dict) and ticket.get("asked") is True)


def routed_in(wire_outcome: wire_format.Record) -> Routed:
    """Return the ticket in the wire record of a `route` outcome; the deliveries are in the ticket's history."""
    return Routed(wire_format.ticket_of(wire_outcome.get("ticket")))


def flip_in(wire_outcome: wire_format.Record) -> Flip:
    """Return the flip in the wire record of a `reclassify` outcome."""
    return wire_format.named(Flip, wire_outcome.get("flip"))
