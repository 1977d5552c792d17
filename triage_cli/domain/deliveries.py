"""Deliveries, their attempts, and what `route` does with them."""

from typing import NamedTuple

from triage_cli.domain.errors import Refusal, TriageError
from triage_cli.domain.tickets import Ticket

TAKEN_IN_BY_PULL = (
    "triage pull takes in what a person has set there; if no source reads that field, correct or empty it there, "
    "then triage route --retry-dead"
)


class Delivery(NamedTuple):
    """What one destination gets for one decision about one ticket.

    `revision` is the ticket's revision after the decision; `targets` are all destinations of the decision, as a JSON
    list (None, and revision 0, if an older version decided). `doubtful` is 1 if the destination may have the delivery
    without an acceptance, because a response was lost or a run was cut off. `kept` are the values of the destination's
    response that the configuration keeps, as a JSON object. `refusal` is the kind of the last attempt's error.
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
    refusal: str | None = None  # one of `Refusal`

    @property
    def advice(self) -> str:
        """Return what helps a dead letter that would overwrite what a person has set; empty for any other delivery."""
        return TAKEN_IN_BY_PULL if self.state == "dead" and self.refusal == Refusal.SET_BY_A_PERSON else ""

    @property
    def arrived(self) -> bool:
        """Return whether the destination has the delivery, or may have it."""
        return self.state == "accepted" or self.doubtful == 1

    @property
    def in_flight(self) -> bool:
        """Return whether a run holds the delivery, and may be sending it."""
        return self.state == "pending" and self.run_id is not None


class Attempt(NamedTuple):
    """One attempt at a delivery: its result and duration. `answer` is the beginning of a refusal's body."""

    delivery_id: str
    number: int
    at: str
    status: int | None
    error: str | None
    seconds: float
    answer: str | None = None


class OutgoingDelivery(NamedTuple):
    """A delivery with its ticket, as handed to a destination.

    Two fields are filled only for a destination that asks for them: `earlier` are the ticket's earlier deliveries
    there, oldest first; `known` are the categories that its field there may have without a person having set it.
    `request_id` names the request that the delivery comes from, at the attempt that is made while it is served.
    """

    delivery: Delivery
    ticket: Ticket
    earlier: tuple[Delivery, ...] = ()
    request_id: str = ""
    known: tuple[str, ...] = ()

    @property
    def request_headers(self) -> dict[str, str]:
        """Return the header by which the log of a delivery's receiver meets ours; none if no request is known."""
        return {"x-request-id": self.request_id} if self.request_id else {}


class Receipt(NamedTuple):
    """The acceptance of a delivery; `kept` are the kept values of the response, as a JSON object."""

    status: int | None = None
    seconds: float = 0.0
    kept: str | None = None


class Failure(NamedTuple):
    """Why a delivery was not accepted, or not even attempted; its id is empty if the error may be about several."""

    delivery_id: str
    error: TriageError


class Routed(NamedTuple):
    """A ticket after `route`, with its deliveries, and this call's attempts and failures."""

    ticket: Ticket
    deliveries: tuple[Delivery, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    failures: tuple[Failure, ...] = ()


class RoutePlan(NamedTuple):
    """The options of `route`: retry dead letters, send all deliveries `again`, wait for `stay` seconds."""

    retry_dead: bool = False
    again: bool = False
    stay: float = 0.0
