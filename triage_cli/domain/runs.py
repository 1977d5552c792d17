"""Runs of bulk commands: their record, their lease on tickets, and the outcome of each item."""

from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from triage_cli.domain.errors import TriageError
from triage_cli.domain.tickets import Ticket

T = TypeVar("T")


class Lease(NamedTuple):
    """A run's hold on its tickets, by the store's clock, for so many seconds.

    It carries what the run has spent and reserved, in USD (None: unchanged), so that the money of a killed run counts.
    """

    run_id: str
    seconds: float = 60.0
    spent: float | None = None
    reserved: float | None = None


class Held(NamedTuple):
    """The tickets that a run still holds, and whether its lease was `unbroken` up to now."""

    ticket_ids: frozenset[str]
    unbroken: bool


class Run(NamedTuple):
    """One bulk command; `command_line` holds no secrets; `pid` is 0 if there is no process to check."""

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
    parcel: str = ""  # identifies the request that began it, if it may be repeated


def rounded_usd(amount: float) -> float:
    """Return a sum of costs without the noise of floating-point numbers, which begins far below a token's price."""
    return round(amount, 12)


class InputPart(NamedTuple):
    """What the earlier parts of an input did, if it comes in several requests.

    `met` is the number of known tickets, `rewritten` of those with another text, `spent` is USD. `parcel` identifies
    the request, so that a repetition is recognised.
    """

    met: int = 0
    rewritten: int = 0
    spent: float = 0.0
    parcel: str = ""


WHOLE = InputPart()


class Action(StrEnum):
    """What was done with one item. The values are the `did` of the wire and the counts of `triage runs`.

    An item of `route`, or of a request about one ticket, may also have its ticket's status.
    """

    # A row of an input
    CREATED = "created"  # stored as a new ticket
    UPDATED = "updated"  # a known ticket was changed
    UNCHANGED = "unchanged"  # nothing had changed, or nothing was to be done
    REJECTED = "rejected"  # the item is invalid, or its ticket was not found; the error says why

    # The status of its ticket
    NEW = "new"  # not classified yet
    CLASSIFIED = "classified"  # a sure answer holds
    NEEDS_REVIEW = "needs_review"  # no sure answer: a person decides
    FAILED = "failed"  # there was no answer or delivery; the error says why
    WAITING = "waiting"  # its answer comes with a provider's batch
    ROUTING = "routing"  # a delivery is due later
    ROUTED = "routed"  # all destinations have it
    UNROUTABLE = "unroutable"  # no rule of the routing map matches
    UNDELIVERABLE = "undeliverable"  # a delivery used up its attempts
    FORGOTTEN = "forgotten"  # its text was erased

    # The item was not processed
    HELD = "held"  # a verdict owns the ticket, or another run holds it
    LOCKED = "locked"  # `reclassify` skipped it, since a verdict owns the ticket

    # A person's verdict
    VERDICT = "verdict"  # given
    CLEARED = "cleared"  # taken back

    # `reclassify`: the new answer compared with the present category
    CONFIRMED = "confirmed"  # the same category
    FLIP = "flip"  # another category
    FLIPPED = "flipped"  # another category, which was applied
    WITHIN = "within"  # another category, by less than the margin that a flip needs
    SETTLED = "settled"  # it waited for a person, and the answer is sure
    UNANSWERED = "unanswered"  # no sure answer: the old category stays
    REHOMED = "rehomed"  # the old category does not exist any more, and a sure answer names another one
    DOUBTED = "doubted"  # no sure answer any more, and the plan says that a person decides then
    UNHOUSED = "unhoused"  # the old category does not exist any more, and a person must choose another one

    # Classifiers and destinations
    ANSWERED = "answered"  # a classifier returned an answer, sure or not
    DELIVERED = "delivered"  # a destination accepted a delivery


class Outcome(NamedTuple, Generic[T]):
    """How one item ended: what was done, and the value or the error.

    `row` is the item's position in the caller's input, None until the caller has set it. `item` is the input item
    itself, for the caller's next step; it is never sent over the wire.
    """

    row: int | None
    action: Action
    value: T | None = None
    error: TriageError | None = None
    item: object = None

    @property
    def place(self) -> int:
        """Return the row. Raises `TypeError` if it is not set."""
        if self.row is None:
            raise TypeError(self)
        return self.row

    @property
    def ticket(self) -> Ticket:
        """Return the item as a ticket. Raises `TypeError` if it is something else."""
        if not isinstance(self.item, Ticket):
            raise TypeError(self)
        return self.item
