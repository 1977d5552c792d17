"""Bulk commands: their record, their lease on tickets, and how each item ended."""

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
    """One bulk command; `words` is the command without its secrets. `pid` is 0 for a caller that cannot be probed."""

    run_id: str
    kind: str
    actor: str
    words: str
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


class Outcome(NamedTuple, Generic[T]):
    """How one item ended: its place in the caller's input, what was done, and the value or the error.

    `item` is what was asked, kept for the caller's next step and never sent anywhere.
    """

    row: int
    did: str
    value: T | None = None
    error: TriageError | None = None
    item: object = None

    @property
    def ticket(self) -> Ticket:
        """Return the ticket that was asked about. Raises `TypeError` where something else was."""
        if not isinstance(self.item, Ticket):
            raise TypeError(self)
        return self.item
