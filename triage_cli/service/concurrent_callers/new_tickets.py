"""Classifies and routes new tickets of concurrent callers before they are stored, as one change each."""

from collections.abc import Sequence
from typing import NamedTuple

from triage_cli.domain import times
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.classifications import Answer, Decided
from triage_cli.domain.deliveries import OutgoingDelivery, Routed
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.classifiers import Classifier
from triage_cli.service.classification.decision_recorder import answered_by
from triage_cli.service.concurrent_callers.group_classifier import GroupClassifier
from triage_cli.service.concurrent_callers.group_commit import Prepared
from triage_cli.service.concurrent_callers.group_delivery import Ended, GroupDeliveries
from triage_cli.service.delivery.routing_decider import RoutingDecider
from triage_cli.service.delivery.routing_map import RoutingMap
from triage_cli.service.run_context import RunContext
from triage_cli.service.ticket_claimer import TO_ROUTE


class NewTicket(NamedTuple):
    """A new ticket that `creation` is to store, and what its caller wants: `context` has its name.

    All contexts are those of one run. With `is_routed`, the new ticket is routed too; `to_send` gets the deliveries
    that are stored with it.
    """

    context: RunContext
    classifier: Classifier
    creation: Change
    ticket: Ticket
    is_routed: bool
    to_send: list[OutgoingDelivery]


class DecidedNewTicket(NamedTuple):
    """The change that stores a new ticket after its further steps, their outcomes, and what is to be sent.

    It was sent once the new ticket was stored, and its results come to `ended`. With a `conflict` nothing was stored.
    """

    change: Change
    classified: Outcome[Decided]
    routed: Outcome[Routed] | None
    to_send: Sequence[OutgoingDelivery]
    ended: Ended | None = None
    conflict: Conflict | None = None


class NewTicketDecider:
    """Decides new tickets of several callers: it asks each classifier once about all of them."""

    def __init__(
        self, group_classifier: GroupClassifier, routing_map: RoutingMap, group_deliveries: GroupDeliveries
    ) -> None:
        self._group_classifier = group_classifier
        self._routing_map = routing_map
        self._group_deliveries = group_deliveries

    def prepare(self, new_tickets: Sequence[NewTicket]) -> list[Prepared[DecidedNewTicket] | Exception]:
        """Decide new tickets; the changes that store them are saved with those of other callers."""
        new_by_classifier: dict[Classifier, list[NewTicket]] = {}
        for new_ticket in new_tickets:
            new_by_classifier.setdefault(new_ticket.classifier, []).append(new_ticket)
        decided_new_tickets: dict[str, DecidedNewTicket] = {}
        for classifier, group in new_by_classifier.items():
            answers = self._group_classifier.answers(classifier, [(new.context, new.ticket) for new in group])
            for new_ticket, answer in zip(group, answers, strict=True):
                decided_new_tickets[new_ticket.ticket.ticket_id] = self._decided(new_ticket, answer)
        # Before they are saved: an error after that would hide from the callers that their new tickets are stored.
        self._group_classifier.note_answers()
        return [
            self._creation(new_ticket, decided_new_tickets[new_ticket.ticket.ticket_id]) for new_ticket in new_tickets
        ]

    def _creation(self, new_ticket: NewTicket, decided_new_ticket: DecidedNewTicket) -> Prepared[DecidedNewTicket]:
        """Return the change that stores a new ticket; then its deliveries are sent while its caller wakes up."""
        new_ticket.to_send.extend(decided_new_ticket.to_send)

        def finish(conflicts: Sequence[Conflict | None]) -> DecidedNewTicket:
            if conflicts[0] is not None:
                return decided_new_ticket._replace(conflict=conflicts[0])
            return decided_new_ticket._replace(
                ended=self._group_deliveries.send(new_ticket.context, decided_new_ticket.to_send)
            )

        return Prepared([decided_new_ticket.change], finish)

    def _decided(self, new_ticket: NewTicket, answer: Outcome[Answer]) -> DecidedNewTicket:
        """Return the change that stores a new ticket, with its classification and its routing added to it."""
        recorder = self._group_classifier.recorder(new_ticket.classifier, new_ticket.context)
        classification = recorder.change(new_ticket.ticket, answer, times.now())
        classified = recorder.outcome(classification, answered_by(classification), None, new_ticket.ticket)
        classified_ticket = classification.ticket or new_ticket.ticket
        creation = _with_further_step(new_ticket.creation, classification, classified_ticket)
        if not new_ticket.is_routed or classified_ticket.status not in TO_ROUTE:
            return DecidedNewTicket(creation, classified, None, ())
        decider = RoutingDecider(new_ticket.context, self._routing_map)
        routed, routing = decider.decide(
            classified_ticket, (), times.now(), again=False, holder=new_ticket.context.run.run_id,
            answer=answered_by(classification),
        )  # fmt: skip
        if routing is None:
            return DecidedNewTicket(creation, classified, routed, ())
        creation = _with_further_step(creation, routing, routing.ticket)
        return DecidedNewTicket(creation, classified, routed, decider.to_send(routing, ()))


def _with_further_step(creation: Change, step: Change, ticket_after: Ticket | None) -> Change:
    """Return the change that creates a ticket, with the additions and events of a further step."""
    return creation._replace(
        ticket=ticket_after, adds=(*creation.adds, *step.adds), further=(*creation.further, *step.events)
    )
