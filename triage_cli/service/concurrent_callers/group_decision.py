"""Decides the new tickets of concurrent callers together, with one question to the classifier."""

import threading
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

from triage_cli.domain import times
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.decisions import Answer, Decided
from triage_cli.domain.deliveries import OutgoingDelivery, Routed
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.classifiers import Classifier
from triage_cli.service.classification.category_check import Unchecked
from triage_cli.service.classification.decision_recorder import DecisionRecorder, answered_by
from triage_cli.service.concurrent_callers.group_commit import Prepared
from triage_cli.service.concurrent_callers.group_delivery import Ended, GroupDeliveries
from triage_cli.service.delivery.routing_decider import RoutingDecider
from triage_cli.service.run_context import RunContext
from triage_cli.service.services import Services
from triage_cli.service.ticket_claimer import TO_ROUTE

# Seconds between two checks of the categories.
CHECK_SECONDS = 1.0

# How often an answer is saved again if results of deliveries keep changing its ticket.
TRIES = 5


class NewTicket(NamedTuple):
    """A ticket that `change` is to store, and what its caller wants: `context` has its name, `routes` the second step.

    All contexts are those of one run. `to_send` gets the deliveries that are stored with the ticket.
    """

    context: RunContext
    classifier: Classifier
    change: Change
    ticket: Ticket
    routes: bool
    to_send: list[OutgoingDelivery]


class Taken(NamedTuple):
    """The change that stores a new ticket after its further steps, their outcomes, and what is to be sent.

    It was sent once the ticket was stored, and its results come to `ended`. With a `conflict` nothing was stored.
    """

    change: Change
    classified: Outcome[Decided]
    routed: Outcome[Routed] | None
    to_send: Sequence[OutgoingDelivery]
    ended: Ended | None = None
    conflict: Conflict | None = None


class GroupDecider:
    """Takes new tickets through their steps and stores them, as one change each.

    `shared` returns the run that all share, and what it saves by.
    """

    def __init__(self, services: Services, shared: Callable[[], RunContext], deliveries: GroupDeliveries) -> None:
        self._deliveries = deliveries
        self._services = services
        self._shared = shared
        self._labels = frozenset(category.name for category in services.categories)
        self._classifier_lock = threading.Lock()
        self._check = Unchecked()
        self._check_until = 0.0
        self._recorded_questions: set[str] = set()  # fingerprints of the questions that are recorded

    def recorder(self, classifier: Classifier, context: RunContext, *, force: bool = False) -> DecisionRecorder:
        """Return the recorder of a caller's answers; the question is recorded once."""
        recorder = DecisionRecorder(context, classifier, self._labels, force=force)
        if classifier.fingerprint not in self._recorded_questions:
            recorder.record_questions()
            self._recorded_questions.add(classifier.fingerprint)
        recorder.questions_recorded = True
        return recorder

    def answers(self, classifier: Classifier, asked: Sequence[tuple[RunContext, Ticket]]) -> list[Outcome[Answer]]:
        """Ask the classifier in this thread about each ticket, in the name of the actor of its context."""
        if time.monotonic() > self._check_until:
            self._check, self._check_until = self._services.check(), time.monotonic() + CHECK_SECONDS
        self._check.before()
        budget = self._shared().budget
        with self._classifier_lock:
            outcomes = chain.from_iterable(classifier.classify([[ticket for _, ticket in asked]], budget))
            by_ticket = {outcome.ticket.ticket_id: outcome for outcome in outcomes}
        return [_signed(by_ticket[ticket.ticket_id], context) for context, ticket in asked]

    def save(self, recorder: DecisionRecorder, answer: Outcome[Answer]) -> Outcome[Decided]:
        """Save an answer. It holds too if only results of earlier deliveries have changed its ticket meanwhile."""
        for _ in range(TRIES):
            change = recorder.change(answer.ticket, answer, times.now())
            (conflict,) = recorder.context.save([change])
            now = conflict.ticket if conflict else None
            if now is None or now != answer.ticket._replace(status=now.status, revision=now.revision):
                break
            answer = answer._replace(item=now)
        (outcome,) = recorder.saved([answer], [change], [conflict])
        return outcome

    def answered(self) -> None:
        """Note that answers came."""
        self._check.after()

    def prepare(self, new: Sequence[NewTicket]) -> list[Prepared[Taken] | Exception]:
        """Decide tickets; the changes that store them are saved with those of other callers."""
        by_classifier: dict[Classifier, list[NewTicket]] = {}
        for one in new:
            by_classifier.setdefault(one.classifier, []).append(one)
        taken: dict[str, Taken] = {}
        for classifier, group in by_classifier.items():
            answers = self.answers(classifier, [(one.context, one.ticket) for one in group])
            for one, answer in zip(group, answers, strict=True):
                taken[one.ticket.ticket_id] = self._taken(one, answer)
        self.answered()  # before they are saved: an error after that would hide from the callers what is stored
        return [self._to_save(one, taken[one.ticket.ticket_id]) for one in new]

    def _to_save(self, new: NewTicket, taken: Taken) -> Prepared[Taken]:
        """Return the change of a ticket; once it is saved, its deliveries are sent while its caller wakes up."""
        new.to_send.extend(taken.to_send)

        def finish(conflicts: Sequence[Conflict | None]) -> Taken:
            if conflicts[0] is not None:
                return taken._replace(conflict=conflicts[0])
            return taken._replace(ended=self._deliveries.send(new.context, taken.to_send))

        return Prepared([taken.change], finish)

    def _taken(self, new: NewTicket, answer: Outcome[Answer]) -> Taken:
        """Return the change that creates a ticket, with its further steps added to it."""
        recorder = self.recorder(new.classifier, new.context)
        decided_change = recorder.change(new.ticket, answer, times.now())
        classified = recorder.outcome(decided_change, answered_by(decided_change), None, new.ticket)
        after = decided_change.ticket or new.ticket
        change = _with_step(new.change, decided_change, after)
        if not new.routes or after.status not in TO_ROUTE:
            return Taken(change, classified, None, ())
        decider = RoutingDecider(new.context, self._services.routing_map)
        routed, routing_change = decider.decide(
            after, (), times.now(), again=False, holder=new.context.run.run_id, answer=answered_by(decided_change)
        )
        if routing_change is None:
            return Taken(change, classified, routed, ())
        change = _with_step(change, routing_change, routing_change.ticket)
        return Taken(change, classified, routed, decider.to_send(routing_change, ()))


def _with_step(change: Change, step: Change, after: Ticket | None) -> Change:
    return change._replace(ticket=after, adds=(*change.adds, *step.adds), further=(*change.further, *step.events))


def _signed(outcome: Outcome[Answer], context: RunContext) -> Outcome[Answer]:
    """Return an answer in the name of the actor."""
    if outcome.value is None:
        return outcome
    steps = [step._replace(actor=context.actor, run_id=context.run.run_id) for step in outcome.value.steps]
    return outcome._replace(value=outcome.value._replace(steps=tuple(steps)))
