"""Decides: asks a classifier about tickets, saves each answer with what it makes of its ticket, a chunk at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from triage_cli.domain import (
    CHUNK,
    SETTLED,
    STATUSES,
    Action,
    Answer,
    AnswerError,
    Change,
    Classification,
    Conflict,
    Decided,
    Decision,
    EventAction,
    Outcome,
    Selection,
    Standing,
    Suspicion,
    Ticket,
    bounded,
    decision_data,
    ids,
    times,
)
from triage_cli.ports import Classifier
from triage_cli.service.answers import EarlierSteps, answered_ticket, answers, steps_within, with_cost
from triage_cli.service.decisions.category_check import Unchecked
from triage_cli.service.runs import TO_CLASSIFY, RunContext, RunRecorder, TicketClaimer

# Tickets that a cascade claims while a further step is asked: as many as a step of eight workers alone would.
CASCADE_CLAIM_SIZE = 32
# What was done with a ticket that has this status after an answer: one that was sent keeps its status.
ACTIONS: Mapping[str, Action] = {
    status: Action.CLASSIFIED if status in SETTLED else Action(status) for status in STATUSES
}


@lru_cache(8)
def suspicion_of(labels: frozenset[str]) -> Suspicion:
    """Return what looks for text that is addressed to a classifier; made once for a list of categories."""
    return Suspicion(labels)


class DecisionRecorder:
    """Records the decisions of one classifier in one run. An answer overrules a verdict only with `force`."""

    def __init__(
        self, context: RunContext, classifier: Classifier, labels: frozenset[str], *, force: bool = False
    ) -> None:
        self.context = context
        self.classifier = classifier
        self.labels = labels
        self.suspicion = suspicion_of(labels)
        context.budget.hold = lambda ticket_ids: context.store.runs.hold(context.lease, ticket_ids)
        self.check = Unchecked()
        self._force = force
        self.questions_recorded = False
        self._claim_size, self._asked_further = CASCADE_CLAIM_SIZE // 2, False
        self._unfinished: dict[str, tuple[Ticket, frozenset[str]]] = {}  # tickets with a further step, ids of answers
        self._endpoints: dict[str, str] = {}  # of classifiers that are asked over a network, by fingerprint

    def next_claim_size(self) -> int:
        """Return how many tickets to claim next: few if answers take long, so that runs share the work.

        The first step of a cascade takes no time, so only claims after which no further step was asked become larger.
        """
        largest_claim = min(CHUNK, 2 * self.classifier.chunk_size)
        if len(self.classifier.fingerprints) == 1:
            return largest_claim
        self._claim_size = CASCADE_CLAIM_SIZE if self._asked_further else min(2 * self._claim_size, largest_claim)
        self._asked_further = False
        return self._claim_size

    def note_further_steps(self, answered: Iterable[Answer | EarlierSteps | None]) -> None:
        """Notice whether a further step of a cascade was asked, for the size of the next claim."""
        first, *further = self.classifier.fingerprints
        if not further:
            return
        last_steps = (answer.steps[-1] for answer in answered if answer and answer.steps)
        self._asked_further = self._asked_further or any(s.fingerprint != first and not s.reused for s in last_steps)

    def settled(self, tickets: Sequence[Ticket]) -> dict[str, Action]:
        """Return the tickets that need no classifier: `held` by a verdict, or `unchanged` since the same question.

        One about which a batch asks the same question would be paid for twice: it is `waiting`.
        One that waits for a person although its answer is sure by now does need it, for the answer to hold. A forgotten
        ticket has no text, and is `held` even with `force`.
        """
        settled_actions = {
            t.ticket_id: Action.HELD for t in tickets if not (t.subject or t.text) or (t.verdict and not self._force)
        }
        if self._force:
            return settled_actions
        once_decided = [t for t in tickets if t.ticket_id not in settled_actions and t.status not in TO_CLASSIFY]
        once_asked = [t for t in once_decided if t.decision_id]
        decision_ids = [t.decision_id for t in once_asked if t.decision_id]
        decisions = self.context.store.answers.decisions(decision_ids) if decision_ids else {}
        for ticket in once_asked:
            stored_answer = decisions.get(ticket.decision_id or "")
            keys = {ids.answer_key(fingerprint, ticket.text) for fingerprint in self.classifier.fingerprints}
            if stored_answer and stored_answer.answer_key in keys and not self._is_sure_by_now(ticket, stored_answer):
                settled_actions[ticket.ticket_id] = Action.UNCHANGED
        waiting = self.in_batches([t for t in once_decided if t.ticket_id not in settled_actions])
        return settled_actions | dict.fromkeys(waiting, Action.WAITING)

    def in_batches(self, tickets: Sequence[Ticket]) -> set[str]:
        """Return the ids of tickets about which a batch asks a question of this classifier."""
        keys = [ids.answer_key(fingerprint, t.text) for fingerprint in self.classifier.fingerprints for t in tickets]
        batch_requests = self.context.store.batches.joinable(keys) if keys else {}
        asked_about = {ticket_id for _, _, ticket_ids in batch_requests.values() for ticket_id in ticket_ids}
        return asked_about & {t.ticket_id for t in tickets}

    def _is_sure_by_now(self, ticket: Ticket, stored_answer: Classification) -> bool:
        """Return whether a ticket waits whose stored answer reaches the present threshold."""
        is_sure_by_now = ticket.status == "needs_review" and self.classifier.rejudged(stored_answer).is_sure
        return is_sure_by_now and not self.suspicion.found(ticket.text)

    def decide(self, chunks: Iterable[Sequence[Ticket]]) -> Iterator[list[Outcome[Decided]]]:
        """Classify tickets that this run holds, and record the decisions; an outcome's `item` is the ticket given."""
        for arrived in answers(self.classifier, self.check.over(chunks), self.context.budget, self.save_steps):
            self.context.heartbeat()
            self.note_further_steps(outcome.value for outcome in arrived.final)
            yield self.save(arrived.final) if arrived.final else []
            if arrived.final:
                self.check.after()

    def save(self, outcomes: Sequence[Outcome[Answer]]) -> list[Outcome[Decided]]:
        """Save answers and their decisions; one whose ticket has changed meanwhile is stored, but does not hold."""
        self.record_questions()
        at = times.now()
        changes = [self.change(outcome.ticket, outcome, at) for outcome in outcomes]
        return self.saved(outcomes, changes, self.context.save(changes))

    def save_steps(self, earlier: Sequence[EarlierSteps]) -> None:
        """Save the answers of tickets about which a further step is asked, which decides; a changed one is late."""
        self.record_questions()
        self.note_further_steps(earlier)
        at = times.now()
        changes = [self._steps_change(each, at) for each in earlier]
        conflicts = self.context.save(changes)
        for change, conflict, each in zip(self._save_late(changes, conflicts), conflicts, earlier, strict=True):
            if change.ticket is None:
                raise TypeError(change)
            # A ticket that has changed keeps its old revision here, so that its final answer is refused as well.
            revision = change.ticket.revision if conflict is None else change.expected_revision
            ticket = change.ticket._replace(revision=revision)
            saved_ids = frozenset(step.classification_id for step in each.steps)
            self._unfinished[ticket.ticket_id] = ticket, saved_ids

    def saved(
        self, outcomes: Sequence[Outcome[Answer]], changes: Sequence[Change], conflicts: Sequence[Conflict | None]
    ) -> list[Outcome[Decided]]:
        """Return the outcomes of saved changes; the answers of those that were refused are stored as late."""
        decided = []
        for change, conflict, outcome in zip(self._save_late(changes, conflicts), conflicts, outcomes, strict=True):
            # The answer that was saved: that about a forgotten ticket holds no reason. Where an earlier save had it
            # already, the change adds none, and the last answer of the classifier is taken.
            answer = answered_by(change)
            if answer is None and conflict is None:
                answer = next(reversed(steps_within(outcome.value, self.labels)), None)
            decided.append(self.outcome(change, answer, conflict.ticket if conflict else None, outcome.item))
        return decided

    def _save_late(self, changes: Sequence[Change], conflicts: Sequence[Conflict | None]) -> Sequence[Change]:
        """Save the answers of changes that were refused, without their tickets; return the changes as they are now."""
        if any(conflicts):
            changes = without_forgotten_text(changes, conflicts)
            self.context.save([late(change) for change, no in zip(changes, conflicts, strict=True) if no is not None])
        return changes

    def without_saved_steps(
        self, ticket: Ticket, steps: Sequence[Classification]
    ) -> tuple[Ticket, tuple[Classification, ...]]:
        """Return a ticket as an earlier step's save left it, and its answers that are not saved yet."""
        if not self._unfinished:  # no step was paid for
            return ticket, tuple(steps)
        ticket, saved_ids = self._unfinished.pop(ticket.ticket_id, (ticket, frozenset()))
        return ticket, tuple([step for step in steps if step.classification_id not in saved_ids])

    def record_questions(self) -> None:
        """Record the questions of the classifier, once."""
        for question in self.classifier.questions() if not self.questions_recorded else ():
            self.context.store.answers.record_question(question)
            if question.endpoint:
                self._endpoints[question.fingerprint] = question.endpoint
        self.questions_recorded = True

    def outcome(
        self, change: Change, answer: Classification | None, instead: Ticket | None, item: object
    ) -> Outcome[Decided]:
        """Return the outcome of a recorded answer; `instead` is the stored ticket if the change was refused."""
        if instead is not None:
            return Outcome(None, Action.HELD, Decided(instead, answer, True), None, item)
        ticket = change.ticket
        if ticket is None:
            raise TypeError(change)
        if ticket.error and ticket.status != "needs_review":
            error = AnswerError(f"{ids.short(ticket.ticket_id)}: {ticket.error}")
            return Outcome(None, Action.FAILED, Decided(ticket, answer, True), error, item)
        return Outcome(None, ACTIONS[ticket.status], Decided(ticket, answer, True), None, item)

    def change(self, ticket_before: Ticket, outcome: Outcome[Answer], at: str) -> Change:
        """Return the change that records an answer and what it makes of its ticket."""
        answer = outcome.value
        steps = steps_within(answer, self.labels)
        if signature := self.context.signatures.get(ticket_before.ticket_id):  # the callers' classifier knows no actor
            run_id = self.context.run.run_id
            steps = tuple([step._replace(actor=signature.actor, run_id=run_id) for step in steps])
        ticket_before, unsaved_steps = self.without_saved_steps(ticket_before, steps)
        doubts = self._text_doubts(ticket_before, answer) if answer and answer.sure else ()
        # A suspicious text is classified all the same, but only a person may accept the answer.
        paid_ticket = with_cost(ticket_before, unsaved_steps)
        ticket = answered_ticket(paid_ticket, steps, outcome.error, sure=bool(answer and answer.sure and not doubts))
        decided_data = self._decided_data(ticket, steps, unsaved_steps)
        if doubts:
            ticket = ticket._replace(reason=held(doubts, ticket.reason))
        if outcome.error:
            decided_data["error"] = outcome.error.code
        decision = Decision(ticket.decision_id, ticket.status, Standing.HOLDS, doubts)
        if ticket_before.verdict and not ticket.verdict:
            decided_data["overruled"] = ticket_before.category  # by force
        decided_data |= decision_data(decision)
        event = self.context.event(EventAction.CLASSIFIED, ticket.ticket_id, decided_data, at)
        return Change(event, ticket, ticket_before.revision, unsaved_steps, decision)

    def _steps_change(self, earlier: EarlierSteps, at: str) -> Change:
        """Return the change that records the answers before a further step: they cost, and decide nothing."""
        steps = steps_within(earlier, self.labels)
        ticket_before, unsaved_steps = self.without_saved_steps(earlier.ticket, steps)
        paid_ticket = with_cost(ticket_before, unsaved_steps)
        so_far = answered_ticket(paid_ticket, steps, None, sure=False)
        ticket = paid_ticket._replace(revision=ticket_before.revision + 1)
        decision = Decision(so_far.decision_id, ticket.status, Standing.NEXT, ())
        decided_data = self._decided_data(so_far, steps, unsaved_steps) | decision_data(decision)
        event = self.context.event(EventAction.CLASSIFIED, ticket.ticket_id, decided_data, at)
        return Change(event, ticket, ticket_before.revision, unsaved_steps, decision)

    def _decided_data(
        self, ticket: Ticket, steps: Sequence[Classification], unsaved_steps: Sequence[Classification]
    ) -> dict[str, Any]:
        last_answer = steps[-1] if steps else None
        decided_data: dict[str, Any] = {
            "classifier": last_answer.classifier if last_answer else self.classifier.name,
            "category": ticket.category,
            "suggestion": ticket.suggestion,
            "confidence": ticket.confidence,
            "threshold": last_answer.threshold if last_answer else None,
        }
        if self._endpoints and (endpoints := self._endpoints_of(unsaved_steps)):  # the embedded model sends nothing
            decided_data["sent"] = dict.fromkeys(endpoints, texts_of(ticket))
        if last_answer and last_answer.redacted:
            decided_data["masked"] = last_answer.redacted  # the kinds of data that were masked
        return decided_data

    def _endpoints_of(self, steps: Sequence[Classification]) -> list[str]:
        # Not in `change`: a comprehension that names its variables makes each access to them slower.
        return [endpoint for s in steps if not s.reused and (endpoint := self._endpoints.get(s.fingerprint))]

    def _text_doubts(self, ticket: Ticket, answer: Answer) -> tuple[str, ...]:
        return self.suspicion.found(ticket.text) if answer.doubts is None else answer.doubts


def unasked(ticket: Ticket, action: Action) -> Outcome[Decided]:
    """Return the outcome, without a row, of a ticket about which no classifier was asked now."""
    return Outcome(None, action, Decided(ticket, None, asked=False), None, ticket)


def answered_by(change: Change) -> Classification | None:
    """Return the last classifier's answer that a change adds."""
    for added in reversed(change.adds):
        if isinstance(added, Classification):
            return added
    return None


def held(doubts: Sequence[str], reason: str | None) -> str:
    """Return the reason of a ticket that has a sure answer and is held for review because of its text."""
    return f"held for review: {', '.join(doubts)}; {reason or 'no reason'}"


def late(change: Change) -> Change:
    """Return the change of an answer that came too late: it is stored without its ticket."""
    if change.decision is None:
        raise TypeError(change)
    decision = change.decision._replace(standing=Standing.LATE)
    return Change(change.event.with_data(**decision_data(decision)), adds=change.adds, decision=decision)


def without_forgotten_text(changes: Sequence[Change], conflicts: Sequence[Conflict | None]) -> list[Change]:
    """Return changes; those that were refused because their ticket was forgotten are stripped of text."""
    was_forgotten = [no is not None and no.ticket is not None and no.ticket.is_erased for no in conflicts]
    return [_without_answer_text(c) if forgotten else c for c, forgotten in zip(changes, was_forgotten, strict=True)]


def _without_answer_text(change: Change) -> Change:
    adds = [a._replace(reason=None, answer_key="") if isinstance(a, Classification) else a for a in change.adds]
    return change._replace(adds=tuple(adds))


def texts_of(ticket: Ticket) -> list[str]:
    """Return the names of a ticket's fields that are sent to a classifier."""
    return [field for field in ("subject", "description") if getattr(ticket, field)]


Decide = Callable[[Iterable[Sequence[Ticket]]], Iterator[list[Outcome[Decided]]]]


class ClassifyRun:
    """Decides the selected tickets of one run. `completed` is true at the end if all of them were decided."""

    def __init__(self, decision_recorder: DecisionRecorder, recorder: RunRecorder) -> None:
        self.completed = False
        self._decision_recorder = decision_recorder
        self._ticket_claimer = TicketClaimer(decision_recorder.context)
        self._recorder = recorder
        self._unasked_outcomes: list[Outcome[Decided]] = []  # outcomes of tickets that need no classifier
        self._rows_by_ticket: dict[str, int] = {}  # of the tickets that are being classified
        self._claimed_all = False

    def decided(self, selection: Selection, decide: Decide, row: int = 0) -> Iterator[Outcome[Decided]]:
        """Claim and classify the selected tickets, and yield their outcomes; `decide` asks, rows count from `row`."""
        for outcomes in decide(self._claimed_to_classify(selection, row)):
            finished = self._unasked_outcomes + [
                o._replace(row=self._rows_by_ticket.pop(o.ticket.ticket_id)) for o in outcomes
            ]
            self._unasked_outcomes.clear()
            self._recorder.add(finished)
            yield from finished
        self._recorder.add(self._unasked_outcomes)
        yield from self._unasked_outcomes
        self.completed = self._claimed_all and not self._rows_by_ticket

    def _claimed_to_classify(self, selection: Selection, row: int) -> Iterator[Sequence[Ticket]]:
        """Claim tickets chunk by chunk; those that need no classifier are added to `_unasked_outcomes`."""
        for chunk in self._ticket_claimer.chunks(selection, TO_CLASSIFY, self._decision_recorder.next_claim_size):
            lost_ids = {ticket.ticket_id for ticket in chunk if self._ticket_claimer.lost(ticket)}
            settled = self._decision_recorder.settled([ticket for ticket in chunk if ticket.ticket_id not in lost_ids])
            to_classify = []
            for ticket in chunk:
                action = Action.HELD if ticket.ticket_id in lost_ids else settled.get(ticket.ticket_id)
                if action:
                    self._unasked_outcomes.append(unasked(ticket, action)._replace(row=row))
                else:
                    self._rows_by_ticket[ticket.ticket_id] = row
                    to_classify.append(ticket)
                row += 1
            yield to_classify
        self._claimed_all = not self._ticket_claimer.stopping


def to_ask(decision_recorder: DecisionRecorder, selection: Selection) -> Iterator[Ticket]:
    """Yield the tickets that a run of `classify` would ask about, in its order, without claiming them."""
    by_urgency = selection._replace(statuses=selection.statuses or TO_CLASSIFY, order="urgent")
    for chunk in bounded(decision_recorder.context.store.find(selection if selection.ids is not None else by_urgency)):
        settled = decision_recorder.settled(chunk)
        yield from (ticket for ticket in chunk if ticket.ticket_id not in settled)
