"""`run`: rows pass through create, classify and route in one pass; a row is yielded after its last step."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import count

from triage_cli.domain import CHUNK, Action, Outcome, Routed, Selection, Ticket, TriageError, outdated
from triage_cli.service.classification.decision_recorder import DecisionRecorder
from triage_cli.service.delivery.delivery_run import DeliveryRun
from triage_cli.service.delivery.route_run import deliver_due, last_outcome_per_ticket
from triage_cli.service.ticket_claimer import TO_CLASSIFY, TO_ROUTE


def dead_letters(delivery_run: DeliveryRun) -> Iterator[Outcome[Routed]]:
    """Deliver what earlier runs left; yield the tickets of which a delivery became a dead letter, without a row."""
    delivered = deliver_due(delivery_run, count(), stay=0.0)
    for outcome in last_outcome_per_ticket(delivery_run.context.store, delivered, lambda _: ()):
        if outcome.action == Action.UNDELIVERABLE:
            yield outcome._replace(row=None)


class Pipeline:
    """One pass of rows through the steps. `stopped` holds the error that ended it early.

    `interrupted` tells that tickets were not classified.
    """

    def __init__(self, decision_recorder: DecisionRecorder, delivery_run: DeliveryRun | None) -> None:
        self.stopped: list[TriageError] = []
        self.interrupted = False
        self._decision_recorder = decision_recorder
        self._delivery_run = delivery_run

    def process(self, created: Iterable[list[Outcome[Ticket]]]) -> Iterator[list[Outcome[Routed]]]:
        """Classify tickets that were just stored, and route them if there is a run for that.

        Yields outcomes in lists that are sorted by row.
        """
        classified = self._classified(created)
        if self._delivery_run is not None:
            return self._routed(classified, self._delivery_run)
        return ([_unrouted(outcome) for outcome in outcomes] for outcomes in classified)

    def _classified(self, created: Iterable[list[Outcome[Ticket]]]) -> Iterator[list[Outcome[Ticket]]]:
        """Classify the tickets that need it; the others are passed on with the classifier's next answers.

        An error that ends the run is kept in `stopped` until the tickets created so far have been routed.
        """
        passed_on: list[Outcome[Ticket]] = []
        # By ticket id: a ticket that is twice in the input is classified once.
        being_classified: dict[str, list[Outcome[Ticket]]] = {}

        def to_classify() -> Iterator[Sequence[Ticket]]:
            for outcomes in created:
                claimed = self._hold_unclassified(outcomes, being_classified)
                being_classified.update((ticket_id, []) for ticket_id in claimed)
                for outcome in outcomes:
                    waiting_rows = being_classified.get(outcome.value.ticket_id) if outcome.value else None
                    (passed_on if waiting_rows is None else waiting_rows).append(outcome)
                yield list(claimed.values())
                yield []  # the input may pause now: ask for the answers of these rows first

        try:
            for answers in self._decision_recorder.decide(to_classify()):
                classified = passed_on[:]
                passed_on.clear()
                for answer in answers:
                    for outcome in being_classified.pop(answer.ticket.ticket_id):
                        ticket = answer.value.ticket if answer.value else outcome.value
                        classified.append(outcome._replace(value=ticket, error=answer.error))
                yield sorted(classified, key=lambda o: o.place)
        except TriageError as error:
            self.stopped.append(error)
        self.interrupted = bool(being_classified)
        if left := passed_on + [outcome for waiting in being_classified.values() for outcome in waiting]:
            yield sorted(left, key=lambda o: o.place)

    def _hold_unclassified(
        self, outcomes: Sequence[Outcome[Ticket]], being_classified: Collection[str]
    ) -> dict[str, Ticket]:
        """Return the tickets of a chunk that this run is to classify: those it has created, and those it can claim."""
        unclassified = [o for o in outcomes if o.value and o.value.status in TO_CLASSIFY]
        created = {o.value.ticket_id: o.value for o in unclassified if o.value and o.action == Action.CREATED}
        others = {o.value.ticket_id for o in unclassified if o.value} - created.keys() - set(being_classified)
        undecided = Selection(ids=tuple(others), statuses=TO_CLASSIFY)
        claimed = self._decision_recorder.context.claim(undecided, CHUNK) if others else []
        return created | {t.ticket_id: t for t in claimed}

    def _routed(
        self, classified: Iterable[list[Outcome[Ticket]]], delivery_run: DeliveryRun
    ) -> Iterator[list[Outcome[Routed]]]:
        """Route the tickets that have a category; the others are passed on with the next deliveries."""
        passed_on: list[Outcome[Routed]] = []
        being_delivered: dict[str, list[Outcome[Ticket]]] = {}

        def to_route() -> Iterator[Sequence[Ticket]]:
            for outcomes in classified:
                routable = []
                for outcome in outcomes:
                    ticket = outcome.value
                    if ticket is not None and ticket.ticket_id in being_delivered:
                        being_delivered[ticket.ticket_id].append(outcome)
                    elif ticket is not None and ticket.status in TO_ROUTE:
                        being_delivered[ticket.ticket_id] = [outcome]
                        routable.append(ticket)
                    else:
                        passed_on.append(_unrouted(outcome))
                yield routable

        for routed in delivery_run.route(to_route()):
            routed_rows = passed_on[:]
            passed_on.clear()
            for delivered in routed:
                routed_rows += (
                    Outcome(
                        before.row,
                        before.action,
                        delivered.value,
                        before.error or delivered.error,
                        before.item,
                        outdated=_still_outdated(before, delivered.value),
                    )
                    for before in being_delivered.pop(delivered.ticket.ticket_id)
                )
            yield sorted(routed_rows, key=lambda o: o.place)
        if passed_on:
            yield passed_on


def _unrouted(outcome: Outcome[Ticket]) -> Outcome[Routed]:
    """Return the outcome of a row whose ticket is not routed."""
    routed = Routed(outcome.value) if outcome.value else None
    return Outcome(outcome.row, outcome.action, routed, outcome.error, outcome.item)


def _still_outdated(before: Outcome[Ticket], delivered: Routed | None) -> tuple[str, ...] | None:
    """Return the destinations that keep an earlier text after the delivery; None if the row changed no sent text."""
    if before.outdated is None or delivered is None:
        return before.outdated
    return outdated(delivered.deliveries, delivered.ticket)
