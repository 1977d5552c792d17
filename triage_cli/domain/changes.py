"""Writes: what a store saves in one transaction, and how it refuses one."""

from typing import NamedTuple

from triage_cli.domain.audit import Event
from triage_cli.domain.batches import BatchItem
from triage_cli.domain.decisions import Classification, Decision
from triage_cli.domain.deliveries import Attempt, Delivery
from triage_cli.domain.tickets import Ticket


class Spent(NamedTuple):
    """What an answer cost, put on a run's account after the fact, and what was set aside for it `since`, in USD."""

    run_id: str
    usd: float
    released: float = 0.0
    since: str = ""


class Change(NamedTuple):
    """One write: an event, the ticket it leaves behind, the rows it adds, and the revision it was decided on.

    `expects` 0 means that the ticket's identity must be free. Without a ticket only rows and the event are added.
    `decision` is what an answer of a classifier made of the ticket, where the change records one.
    """

    event: Event
    ticket: Ticket | None = None
    expects: int = 0
    adds: tuple[Classification | Delivery | Attempt | BatchItem | Spent, ...] = ()
    decision: Decision | None = None

    @property
    def rewrites(self) -> bool:
        """Tell whether what the customer said changes too: else only the ticket's fields from `status` on are saved."""
        return self.event.action in ("updated", "forgotten")


class Conflict(NamedTuple):
    """A change that was refused because the ticket has moved on; `ticket` is what stands there now."""

    ticket: Ticket | None
