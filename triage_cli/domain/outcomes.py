"""The outcome of an item, such as a row of an input: what was done with it, and its value or its error."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Generic, NamedTuple, Self, TypeVar

from triage_cli.domain.deliveries import OutgoingDelivery
from triage_cli.domain.errors import TriageError
from triage_cli.domain.tickets import Ticket

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# So many rows after its turn an outcome comes at the latest.
MOST_ROWS_LATE = 4096


class Action(StrEnum):
    """What was done with one item. The values are the `did` of the wire and the counts of `triage runs`.

    An item of `route`, or of a request about one ticket, may also have its ticket's status.
    """

    # A row of an input
    CREATED = "created"  # the item was stored as a new ticket
    UPDATED = "updated"  # the item changed a known ticket
    UNCHANGED = "unchanged"  # nothing had changed, or nothing was to be done
    FILED = "filed"  # triage itself filed the item at the source that lists it now: it is no ticket
    HISTORY = "history"  # `init` taught the model with the item, which was handled before: it is no ticket
    REJECTED = "rejected"  # the item is invalid, or its ticket was not found; the error says why

    # The status of the item's ticket
    NEW = "new"  # the item's ticket is not classified yet
    CLASSIFIED = "classified"  # a sure answer about the item's ticket holds
    NEEDS_REVIEW = "needs_review"  # no sure answer: a person decides
    FAILED = "failed"  # there was no answer or delivery; the error says why
    WAITING = "waiting"  # the item's answer comes with a provider's batch
    ROUTING = "routing"  # a delivery of the item's ticket is pending
    ROUTED = "routed"  # all destinations have the item's ticket
    UNROUTABLE = "unroutable"  # no rule of the routing map matches the item's ticket
    UNDELIVERABLE = "undeliverable"  # a delivery used up its attempts
    FORGOTTEN = "forgotten"  # the text of the item's ticket was erased

    # A ticket of an import that is taken back
    WITHDRAWN = "withdrawn"  # the import had made it, and it was taken back
    DECIDED = "decided"  # it stays, since a person gave it a category
    REWRITTEN = "rewritten"  # it stays, since a later import changed it
    ASKED = "asked"  # it stays, since a provider's batch is asked about it
    CHANGED = "changed"  # the import had not made it, but changed it; it stays as it is

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
    REFINED = "refined"  # a category below the old one
    WIDENED = "widened"  # a category above the old one, which is not sure any more; the plan asks for that
    WITHIN = "within"  # another category, by less than the margin that a flip needs
    SETTLED = "settled"  # it waited for a person, and the answer is sure
    UNANSWERED = "unanswered"  # no sure answer: the old category stays
    REHOMED = "rehomed"  # the old category does not exist any more, and a sure answer names another one
    DOUBTED = "doubted"  # no sure answer any more, and the plan says that a person decides then
    UNHOUSED = "unhoused"  # the old category does not exist any more, and a person must choose another one

    # A dry run
    PREVIEWED = "previewed"  # nothing was done; the preview says what would be

    # Classifiers and destinations
    ANSWERED = "answered"  # a classifier returned an answer, sure or not
    DELIVERED = "delivered"  # a destination accepted a delivery


class Outcome(NamedTuple, Generic[T_co]):
    """How one item ended: what was done, and the value or the error.

    `row` is the item's position in the caller's input, None until the caller has set it. `item` is the input item
    itself, for the caller's next step; it is never sent over the wire. `outdated` are the destinations that keep an
    earlier text of the item's ticket; None if this item did not change a text that was sent. `as_before` tells that
    the item's ticket is as an earlier command left it: this one did nothing with it.
    """

    row: int | None
    action: Action
    value: T_co | None = None
    error: TriageError | None = None
    item: object = None
    outdated: tuple[str, ...] | None = None
    as_before: bool = False

    @classmethod
    def failed(cls, item: object, error: TriageError, value: T_co | None = None) -> Self:
        """Return the outcome, without a row, of an item for which there was no answer or delivery."""
        return cls(None, Action.FAILED, value, error, item)

    @property
    def place(self) -> int:
        """Return the row of the outcome. Raises `TypeError` if it is not set."""
        if self.row is None:
            raise TypeError(self)
        return self.row

    @property
    def ticket(self) -> Ticket:
        """Return the outcome's item as a ticket. Raises `TypeError` if it is something else."""
        if not isinstance(self.item, Ticket):
            raise TypeError(self)
        return self.item

    @property
    def outgoing(self) -> OutgoingDelivery:
        """Return the outcome's item as a delivery. Raises `TypeError` if it is something else."""
        if not isinstance(self.item, OutgoingDelivery):
            raise TypeError(self)
        return self.item


def in_order(outcomes: Iterable[Outcome[T]]) -> Iterator[Outcome[T]]:
    """Yield outcomes in the order of their rows, which must be all numbers from 0 on.

    Memory stays bounded, because no outcome comes more than `MOST_ROWS_LATE` rows late.
    """
    early_outcomes: dict[int, Outcome[T]] = {}
    next_row = 0
    for outcome in outcomes:
        early_outcomes[outcome.place] = outcome
        while next_row in early_outcomes:
            yield early_outcomes.pop(next_row)
            next_row += 1
    for row in sorted(early_outcomes):
        yield early_outcomes[row]
