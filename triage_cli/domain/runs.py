"""Bulk commands: their record, their lease on tickets, and how each item ended."""

from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from triage_cli.domain.errors import TriageError
from triage_cli.domain.tickets import Ticket

T = TypeVar("T")


class Lease(NamedTuple):
    """A run's hold on the tickets that point to it; the store's clock decides when it is over.

    It carries what the run has spent and set aside, in USD (None: as before), so that a killed run's money counts.
    """

    run_id: str
    seconds: float = 60.0
    spent: float | None = None
    reserved: float | None = None


class Held(NamedTuple):
    """Which tickets a run holds still, and whether its lease was `unbroken` up to now."""

    ticket_ids: frozenset[str]
    unbroken: bool


class Run(NamedTuple):
    """One bulk command; `command_line` is what was typed, without secrets; `pid` is 0 without a process to probe."""

    run_id: str
    kind: str
    actor: str
    command_line: str
    started_at: str
    host: str = ""
    pid: int = 0
    max_cost: float | None = None
    spent: float = 0.0
    reserved: float = 0.0
    ended_at: str | None = None
    counts: str = "{}"
    exit_code: int | None = None
    summary: str | None = None
    parcel: str = ""  # names the request that began it, where that may come again


class InputPart(NamedTuple):
    """One request's part of an input: what the parts before it did.

    They met so many known tickets, of which so many got another text, and `spent` USD. `parcel` names the request, so
    that one that comes again is known.
    """

    met: int = 0
    rewritten: int = 0
    spent: float = 0.0
    parcel: str = ""


WHOLE = InputPart()


class Action(StrEnum):
    """What was done with one item. The values are the `did` of the wire and the counts of `triage runs`.

    An item of `route` or of a single ticket's request may also end as the status its ticket has.
    """

    # An input's row
    CREATED = "created"  # stored as a new ticket
    UPDATED = "updated"  # a known ticket got something new
    UNCHANGED = "unchanged"  # nothing was new, or nothing was to be done
    REJECTED = "rejected"  # the item is faulty, or its ticket cannot be found; the error says why

    # Statuses of a ticket
    NEW = "new"  # nobody was asked about it yet
    CLASSIFIED = "classified"  # a sure answer holds
    NEEDS_REVIEW = "needs_review"  # no sure answer: a person decides
    FAILED = "failed"  # no answer, or no delivery, came about; the error says why
    WAITING = "waiting"  # its answer comes with a provider's batch
    ROUTING = "routing"  # a delivery is due later
    ROUTED = "routed"  # every destination has it
    UNROUTABLE = "unroutable"  # no rule of the routing map matches
    UNDELIVERABLE = "undeliverable"  # a delivery used up its attempts
    FORGOTTEN = "forgotten"  # its text was erased

    # What kept an item from being worked on
    HELD = "held"  # a verdict owns the ticket, or another run holds it
    LOCKED = "locked"  # `reclassify` passed it over, since a verdict owns the ticket

    # A person's verdict
    VERDICT = "verdict"  # given
    CLEARED = "cleared"  # taken back

    # `reclassify`: the answer of today beside the category that holds
    CONFIRMED = "confirmed"  # the same category
    FLIP = "flip"  # another one
    FLIPPED = "flipped"  # another one, which holds from now on
    WITHIN = "within"  # another one, by less than the margin that a flip needs
    UNANSWERED = "unanswered"  # no sure answer, so that the old category stays
    REHOMED = "rehomed"  # the old category is gone, and a sure answer names another one
    UNHOUSED = "unhoused"  # the old category is gone, and a person must name another one

    # An adapter's work
    ANSWERED = "answered"  # a classifier returned an answer, sure or not
    DELIVERED = "delivered"  # a destination accepted a delivery


class Outcome(NamedTuple, Generic[T]):
    """How one item ended: what was done, and the value or the error.

    `row` is the item's place in the caller's input, None until the caller has given it one. `item` is what was asked,
    kept for the caller's next step and never sent anywhere.
    """

    row: int | None
    action: Action
    value: T | None = None
    error: TriageError | None = None
    item: object = None

    @property
    def place(self) -> int:
        """Return the row. Raises `TypeError` where the item was given none."""
        if self.row is None:
            raise TypeError(self)
        return self.row

    @property
    def ticket(self) -> Ticket:
        """Return the ticket that was asked about. Raises `TypeError` where something else was."""
        if not isinstance(self.item, Ticket):
            raise TypeError(self)
        return self.item
