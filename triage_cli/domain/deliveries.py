"""Rules of the routing map, and what destinations are owed, with each attempt."""

from collections.abc import Mapping
from typing import NamedTuple

from triage_cli.domain.tickets import Ticket

# What a condition on a column of a ticket's `extra` begins with; the column's name follows.
EXTRA = "extra."


class Rule(NamedTuple):
    """A route: the first whose conditions all hold sends the ticket to its destinations.

    `when` maps `category`, `priority`, `customer_id`, `source`, `verdict` or `extra.COLUMN` to the accepted values; an
    empty one always holds.
    """

    name: str
    to: tuple[str, ...]
    when: Mapping[str, tuple[str | bool, ...]] = {}
    min_confidence: float | None = None


class Delivery(NamedTuple):
    """What one destination is owed for one decision about one ticket.

    `revision` is the ticket's own that the decision made, and so its place in history; `targets` all destinations that
    the decision named, as a JSON list (null, and revision 0, where an older version decided). `doubtful` is 1 where the
    destination may have it although it accepted nothing: an answer was lost, or a run was cut off at work on it. `kept`
    is what the destination's answer held and is kept by the configuration, as a JSON object.
    """

    delivery_id: str
    ticket_id: str
    classification_id: str | None
    category: str
    destination: str
    rule: str
    config_hash: str
    replaces: str | None
    state: str  # pending | accepted | dead | superseded
    attempts: int
    due_at: float  # seconds of the database's clock
    last_status: int | None
    last_error: str | None
    run_id: str | None
    at: str
    done_at: str | None = None
    revision: int = 0
    targets: str | None = None
    doubtful: int = 0
    kept: str | None = None

    @property
    def arrived(self) -> bool:
        """Tell whether the destination has it, or may have it."""
        return self.state == "accepted" or self.doubtful == 1


class Attempt(NamedTuple):
    """One try at a delivery: what came back, and how long it took in seconds. `answer` is how a refusal began."""

    delivery_id: str
    number: int
    at: str
    status: int | None
    error: str | None
    seconds: float
    answer: str | None = None


class OutgoingDelivery(NamedTuple):
    """What a destination is handed: the delivery and the ticket it is about.

    `earlier` are the deliveries of the ticket that this destination had before, oldest first, where it asks for them.
    """

    delivery: Delivery
    ticket: Ticket
    earlier: tuple[Delivery, ...] = ()


class Receipt(NamedTuple):
    """A destination has taken a delivery; `kept` is a JSON object of what its answer held."""

    status: int | None = None
    seconds: float = 0.0
    kept: str | None = None


class Routed(NamedTuple):
    """A ticket after `route` and what its destinations are owed."""

    ticket: Ticket
    deliveries: tuple[Delivery, ...] = ()


class RoutePlan(NamedTuple):
    """How to route: dead letters again, deliveries anew, for how many seconds to stay for attempts that fall due."""

    retry_dead: bool = False
    again: bool = False
    stay: float = 0.0
