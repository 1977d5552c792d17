"""Deliveries, their attempts, and what becomes of them once a ticket is routed again."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import count
from typing import Annotated, Literal, NamedTuple, Self

from triage_cli.domain.errors import Refusal, SuspendedError, TriageError
from triage_cli.domain.ids import delivery_id
from triage_cli.domain.next_steps import Step
from triage_cli.domain.tickets import Renamed, Ticket
from triage_cli.domain.wire_values import Limits

# How often a ticket may have returned to a category for its deliveries' ids to be recognised.
MOST_RETURNS = 100

Kept = str | int | float | bool  # of an answer
TAKEN_IN_BY_PULL = (
    "triage pull takes in what a person has set there; if no source reads that field, correct or empty it there, "
    f"then {Step.RETRY_DEAD}"
)


class Delivery(NamedTuple):
    """What one destination gets for one decision.

    `revision` is the ticket's revision after the decision; `targets` are all destinations of the decision, as a JSON
    list (None, and revision 0, if an older version decided). It is `doubtful` because a response was lost or a run was
    cut off. `kept` is a JSON object. `refusal` is the kind of the last attempt's error. `paced`
    are the attempts that a rate limit refused until a time that it named: these use up no step of the schedule.
    `content_hash` is that of the text that was sent last, or is to be sent (None: not known, or forgotten). `addition`
    is the key of the rule that added the delivery beside those of the ticket's decisions; it has no category then.
    `begun_by` is the run that has begun an attempt of which no result is stored yet: if it is dead, nobody knows how
    the attempt ended.
    """

    delivery_id: Annotated[str, "its id, the same in all attempts"]
    ticket_id: Annotated[str, "the ticket's id"]
    classification_id: Annotated[str | None, "the answer it follows from"]
    category: Annotated[str, "the ticket's category then"]
    destination: Annotated[str, "where it goes"]
    rule: Annotated[str, "the rule that sends it there"]
    config_hash: Annotated[str, "the routing map then"]
    replaces: Annotated[str | None, "the delivery elsewhere that it replaces"] = None
    state: Annotated[str, "where it stands", Literal["pending", "accepted", "dead", "superseded"]] = "pending"
    attempts: Annotated[int, "how often it was tried"] = 0
    due_at: Annotated[float, "when it is tried next", datetime] = 0.0  # seconds of the database's clock
    last_status: Annotated[int | None, "the HTTP status of the last try"] = None
    last_error: Annotated[str | None, "why the last try failed"] = None
    run_id: Annotated[str | None, "the run that did it; null: a single request"] = None
    at: Annotated[str, "when it was decided on", datetime] = ""
    done_at: Annotated[str | None, "when it was accepted, or given up", datetime | None] = None
    revision: int = 0
    targets: str | None = None
    doubtful: Annotated[int, "whether it may have arrived although no answer came", bool] = 0
    kept: Annotated[str | None, "what the destination's `keep` has kept of an answer", dict[str, Kept]] = None
    refusal: str | None = None  # one of `Refusal`
    paced: int = 0
    content_hash: str | None = None
    addition: str = ""
    begun_by: str | None = None

    @property
    def precedes_decision(self) -> bool:
        """Return whether the delivery was added by a rule before the classification, so that it has no category."""
        return self.addition.startswith("before:")

    @property
    def advice(self) -> str:
        """Return what helps a dead letter that would overwrite what a person has set; empty for any other delivery."""
        return TAKEN_IN_BY_PULL if self.state == "dead" and self.refusal == Refusal.SET_BY_A_PERSON else ""

    @property
    def arrived(self) -> bool:
        """Return whether the destination has the delivery, or may have it."""
        return self.state == "accepted" or self.doubtful == 1 or self.begun_by is not None

    def has_earlier_text(self, ticket: Ticket) -> bool:
        """Return whether the destination has accepted another text than its ticket has now."""
        return self.state == "accepted" and self.content_hash not in (None, ticket.content_hash)

    @property
    def in_flight(self) -> bool:
        """Return whether a run holds the delivery, and may be sending it."""
        return self.state == "pending" and self.run_id is not None


class Attempt(NamedTuple):
    """One try at a delivery."""

    delivery_id: Annotated[str, "the delivery"]
    number: Annotated[int, "the number of the try, from 1"]
    at: Annotated[str, "when it ended", datetime]
    status: Annotated[int | None, "the HTTP status that came back"]
    error: Annotated[str | None, "why it was not accepted"]
    seconds: Annotated[float, "how long it took"]
    answer: Annotated[str | None, "the beginning of a refusal"] = None


class Lately(NamedTuple):
    """What is stored about the last attempts at a destination's deliveries."""

    failed: int = 0  # how many failed since one was accepted
    accepted_at: str = ""  # when one was accepted last; empty if none was
    held_up: int = 0  # pending deliveries that an error holds up, also one that is no attempt, such as a refused token
    error: str = ""  # of one of these


class OutgoingDelivery(NamedTuple):
    """A delivery with its ticket, as handed to a destination.

    Two fields are filled only for a destination that asks for them: `earlier` are the ticket's earlier deliveries
    there, oldest first; `known` are the categories that its field there may have without a person having set it.
    `request_id` names the request that the delivery comes from, at the attempt that is made while it is served. `held`
    tells whether the run that has begun the attempt still holds the delivery.
    """

    delivery: Delivery
    ticket: Ticket
    earlier: tuple[Delivery, ...] = ()
    request_id: str = ""
    known: tuple[str, ...] = ()
    held: Callable[[], bool] = lambda: True

    def check_held(self) -> None:
        """Raise `SuspendedError` if another run may hold the delivery by now; asked right before it is sent."""
        if not self.held():
            raise SuspendedError(
                "this program was suspended for longer than its lease, and another may send it",
                hint=f"{Step.ROUTE} sends it if none has",
            )

    @classmethod
    def made_up(cls, ticket: Ticket, receiver: str, *, name: str, rule: str, config_hash: str = "") -> Self:
        """Return the delivery, with the id `name`, of a ticket that no store has: a spike, or a test."""
        of_ticket = (name, ticket.ticket_id, None, ticket.category or "")
        delivery = Delivery(*of_ticket, receiver, rule, config_hash, at=ticket.stored_at)
        return cls(delivery, ticket._replace(status="routing"))

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

    retry_dead: Annotated[bool, "try dead letters again"] = False
    again: Annotated[bool, "send again what was accepted already"] = False
    stay: Annotated[float, Limits(0, 60), "seconds to wait for attempts that fall due"] = 0.0


def earlier_deliveries(
    renames: Sequence[Renamed], delivery: Delivery, deliveries: Sequence[Delivery]
) -> tuple[Delivery, ...]:
    """Return a ticket's earlier deliveries to the same destination, with the names of categories as they were sent."""
    delivery_ids = [d.delivery_id for d in deliveries]
    is_known = delivery.delivery_id in delivery_ids
    before = deliveries[: delivery_ids.index(delivery.delivery_id)] if is_known else deliveries
    return tuple(as_sent(d, renames) if renames else d for d in before if d.destination == delivery.destination)


def as_sent(delivery: Delivery, renames: Sequence[Renamed]) -> Delivery:
    """Return a delivery with the category name that it was sent with, whatever the category is called by now.

    Where several names were merged since, the id tells under which one the delivery was made.
    """
    categories = [delivery.category]
    for name in categories:  # grows
        older_names = (r.old for r in renames if r.new == name and r.at > (delivery.done_at or delivery.at))
        categories += [old for old in older_names if old not in categories]
    sent_category = next((name for name in categories if _is_made_for(name, delivery)), categories[-1])
    return delivery._replace(category=sent_category)


def new_delivery_id(ticket_id: str, category: str, destination: str, existing: Sequence[Delivery]) -> str:
    """Return an unused id for the next delivery. Deliveries from before a rename keep ids with the old name."""
    if not existing:
        return delivery_id(ticket_id, category, destination, 0)
    taken_ids = {d.delivery_id for d in existing}
    first_number = sum(d.destination == destination and d.category == category for d in existing)
    possible_ids = (delivery_id(ticket_id, category, destination, nth) for nth in count(first_number))
    return next(unused_id for unused_id in possible_ids if unused_id not in taken_ids)


def _is_made_for(category: str, delivery: Delivery) -> bool:
    """Return whether a delivery's id is one that is given under a category."""
    possible_ids = (delivery_id(delivery.ticket_id, category, delivery.destination, nth) for nth in range(MOST_RETURNS))
    return delivery.delivery_id in possible_ids


def with_changes(deliveries: Iterable[Delivery], changed: Iterable[Delivery]) -> tuple[Delivery, ...]:
    """Return deliveries, each as it is after the change of some of them."""
    changed_by_id = {d.delivery_id: d for d in changed}
    return tuple([changed_by_id.get(d.delivery_id, d) for d in deliveries])


def not_replaced(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return the deliveries that no later one has replaced."""
    return [d for n, d in enumerate(deliveries, 1) if not any(_replaces(later, d) for later in deliveries[n:])]


def outdated(deliveries: Sequence[Delivery], ticket: Ticket) -> tuple[str, ...]:
    """Return the destinations that keep an earlier text of a ticket: no later delivery is on its way there."""
    return tuple(dict.fromkeys(d.destination for d in not_replaced(deliveries) if d.has_earlier_text(ticket)))


def _replaces(later: Delivery, before: Delivery) -> bool:
    """Return whether a delivery, once it arrives, takes the ticket away from the destination of an earlier one."""
    if later.state != "pending" and not later.arrived:
        return False
    if later.destination == before.destination:
        return True
    if later.targets is None:
        return later.category != before.category
    return before.destination not in json.loads(later.targets)


def supersede(deliveries: Iterable[Delivery], at: str) -> tuple[Delivery, ...]:
    """Return the pending and dead deliveries, superseded. One that a run began to send may arrive: it is doubtful."""
    return tuple(
        d._replace(state="superseded", done_at=at, doubtful=1 if d.begun_by else d.doubtful)
        for d in deliveries
        if d.state in ("pending", "dead")
    )
