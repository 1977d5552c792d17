"""Classifies the tickets of concurrent callers, who share the classifier and are answered together."""

import threading
import time
from collections.abc import Sequence

from triage_cli.domain import times
from triage_cli.domain.classifications import Answer, Decided
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.classifiers import Classifier
from triage_cli.service.answers import answers
from triage_cli.service.classification.category_check import Unchecked
from triage_cli.service.classification.decision_recorder import DecisionRecorder
from triage_cli.service.concurrent_callers.shared_run import SharedRun
from triage_cli.service.run_context import RunContext
from triage_cli.service.services import Services

# Seconds between two checks of the categories.
CATEGORY_CHECK_SECONDS = 1.0

# How often an answer is saved again if results of deliveries keep changing its ticket.
ANSWER_SAVES = 5


class GroupClassifier:
    """Asks a classifier in the names of several callers, and saves the answers of each caller."""

    def __init__(self, services: Services, shared_run: SharedRun) -> None:
        self._services = services
        self._shared_run = shared_run
        self._labels = frozenset(category.name for category in services.categories)
        self._classifier_lock = threading.Lock()
        self._category_check = Unchecked()
        self._category_check_until = 0.0
        self._recorded_questions: set[str] = set()  # fingerprints of the questions that are recorded

    def recorder(self, classifier: Classifier, context: RunContext, *, force: bool = False) -> DecisionRecorder:
        """Return the recorder of a caller's answers; the classifier's question is recorded once."""
        recorder = DecisionRecorder(context, classifier, self._labels, force=force)
        if classifier.fingerprint not in self._recorded_questions:
            recorder.record_questions()
            self._recorded_questions.add(classifier.fingerprint)
        recorder.questions_recorded = True
        return recorder

    def answers(
        self, classifier: Classifier, callers_tickets: Sequence[tuple[RunContext, Ticket]]
    ) -> list[Outcome[Answer]]:
        """Ask the classifier in this thread about each ticket, in the name of the actor of its context."""
        if time.monotonic() > self._category_check_until:
            self._category_check = self._services.check()
            self._category_check_until = time.monotonic() + CATEGORY_CHECK_SECONDS
        self._category_check.before()
        budget = self._shared_run.context().budget
        with self._classifier_lock:
            answers_by_ticket = {
                answer.ticket.ticket_id: answer
                for arrived in answers(classifier, [[ticket for _, ticket in callers_tickets]], budget)
                for answer in arrived.final
            }
        return [_signed_answer(answers_by_ticket[ticket.ticket_id], context) for context, ticket in callers_tickets]

    def save_answer(self, recorder: DecisionRecorder, answer: Outcome[Answer]) -> Outcome[Decided]:
        """Save an answer. It holds too if only results of earlier deliveries have changed its ticket meanwhile."""
        for _ in range(ANSWER_SAVES):
            change = recorder.change(answer.ticket, answer, times.now())
            (conflict,) = recorder.context.save([change])
            changed_ticket = conflict.ticket if conflict else None
            if changed_ticket is None or changed_ticket != answer.ticket._replace(
                status=changed_ticket.status, revision=changed_ticket.revision
            ):
                break
            answer = answer._replace(item=changed_ticket)
        (outcome,) = recorder.saved([answer], [change], [conflict])
        return outcome

    def note_answers(self) -> None:
        """Tell the check of the categories that the classifier has answered."""
        self._category_check.after()


def _signed_answer(answer: Outcome[Answer], context: RunContext) -> Outcome[Answer]:
    """Return a classifier's answer in the name of the caller's actor."""
    if answer.value is None:
        return answer
    steps = [step._replace(actor=context.actor, run_id=context.run.run_id) for step in answer.value.steps]
    return answer._replace(value=answer.value._replace(steps=tuple(steps)))
