"""Changes: what a store writes in one transaction, and the conflicts for which it refuses that."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain.batches import BatchItem
from triage_cli.domain.classifications import Classification
from triage_cli.domain.deliveries import Attempt, Delivery
from triage_cli.domain.events import Decision, Event, EventAction
from triage_cli.domain.tickets import Ticket

_ERASING_ACTIONS = frozenset({EventAction.FORGOTTEN, EventAction.WITHDRAWN})
_REWRITING_ACTIONS = _ERASING_ACTIONS | {EventAction.UPDATED}
_DELIVERING_ACTIONS = frozenset(
    {EventAction.ROUTED, EventAction.DELIVERED, EventAction.DELIVERY_FAILED, EventAction.DEAD_LETTER}
)


class Spent(NamedTuple):
    """USD that a change books on a run: the cost of an answer, and the reservation made at `since` to release."""

    run_id: str
    usd: float
    released: float = 0.0
    since: str = ""


class Change(NamedTuple):
    """One write of a store: an event, the changed ticket, further rows, and the revision it was decided on.

    `expected_revision` is that revision, or 0 for a new ticket, whose identity must be free. Without a ticket, a change
    writes only the event and the rows. `decision` is set if the change records a classifier's answer. `further` events
    follow the first one, if one change stores several steps of a ticket.
    """

    event: Event
    ticket: Ticket | None = None
    expected_revision: int = 0
    adds: tuple[Classification | Delivery | Attempt | BatchItem | Spent, ...] = ()
    decision: Decision | None = None
    further: tuple[Event, ...] = ()

    @property
    def events(self) -> tuple[Event, ...]:
        """Return the events of the change, in their order."""
        return (self.event, *self.further)

    @property
    def rewrites(self) -> bool:
        """Return whether the change rewrites the ticket's text; else only its fields from `status` on are written."""
        return self.event.action in _REWRITING_ACTIONS

    @property
    def delivers(self) -> bool:
        """Return whether the change is about deliveries: of the ticket it sets status, routes and error."""
        return self.event.action in _DELIVERING_ACTIONS

    @property
    def erases(self) -> bool:
        """Return whether the change erases the ticket's text: what other tables hold of it goes with it."""
        return self.event.action in _ERASING_ACTIONS


class Conflict(NamedTuple):
    """A change that was refused because the ticket has moved on; `ticket` is its present state."""

    ticket: Ticket | None


def accepted(changes: Sequence[Change], conflicts: Mapping[str, Conflict]) -> Sequence[Change]:
    """Return the changes whose tickets have no conflict; `conflicts` are by ticket id."""
    return [c for c in changes if not c.ticket or c.ticket.ticket_id not in conflicts] if conflicts else changes


def refusals(changes: Sequence[Change], conflicts: Mapping[str, Conflict]) -> list[Conflict | None]:
    """Return the conflict of each change, or None; `conflicts` are by ticket id."""
    if not conflicts:
        return [None] * len(changes)
    return [conflicts.get(c.ticket.ticket_id) if c.ticket else None for c in changes]
