"""Decides: asks a classifier about tickets, saves each answer with what it makes of its ticket, a chunk at a time."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Classifier
from triage_cli.service.answers import (
    EarlierSteps,
    answer_given,
    answered_ticket,
    answers,
    question_of,
    steps_within,
    text_doubts,
    with_cost,
)
from triage_cli.service.decisions.category_check import Unchecked
from triage_cli.service.decisions.precedents import Precedents, follows
from triage_cli.service.runs import HALF_ANSWERED, RunContext, RunRecorder, TicketClaimer

# Tickets that a cascade claims while a further step is asked: as many as a step of eight workers alone would.
CASCADE_CLAIM_SIZE = 32
# What was done with a ticket that has this status after an answer: one that was sent keeps its status.
ACTIONS: Mapping[str, dm.Action] = {
    status: dm.Action.CLASSIFIED if status in dm.SETTLED else dm.Action(status) for status in dm.STATUSES
}


@lru_cache(8)
def suspicion_of(labels: frozenset[str]) -> dm.Suspicion:
    """Return what looks for text that is addressed to a classifier; made once for a list of categories."""
    return dm.Suspicion(labels)


class _Begun(NamedTuple):
    """A ticket of which an earlier save of this run stored answers while others are to come.

    `saved` are the ids of stored answers that final ones will repeat; `open` are the questions without a final answer.
    `decided` is the outcome of its category, once that is decided.
    """

    ticket: dm.Ticket
    saved: frozenset[str]
    open: tuple[str, ...]
    decided: dm.Outcome[dm.Decided] | None = None


class DecisionRecorder:
    """Records the decisions of one classifier in one run. An answer overrules a verdict only with `force`.

    `questions` are all that it answers, the category first.
    """

    def __init__(
        self, context: RunContext, classifier: Classifier, questions: Sequence[dm.Question], *, force: bool = False
    ) -> None:
        self.context = context
        self.classifier = classifier
        self.labels = questions[0].labels
        self.further = tuple(question.name for question in questions[1:])
        self._labels = {question.name: question.labels for question in questions}
        self.required = tuple(question.name for question in questions if question.required)
        self.suspicion = suspicion_of(self.labels)
        self.precedents = Precedents(context.store, self._labels, self.suspicion)
        context.budget.hold = lambda ticket_ids: context.store.runs.hold(context.lease, ticket_ids)
        self.check = Unchecked()
        self._force = force
        self.askings_recorded = False
        self._claim_size, self._asked_further = CASCADE_CLAIM_SIZE // 2, False
        self._begun: dict[str, _Begun] = {}
        self._endpoints: dict[str, str] = {}  # of classifiers that are asked over a network, by fingerprint

    def labels_of(self, question: str) -> dm.Levels:
        """Return the values of a question, in their levels."""
        return self._labels[question]

    def next_claim_size(self) -> int:
        """Return how many tickets to claim next: few if answers take long, so that runs share the work.

        The first step of a cascade takes no time, so only claims after which no further step was asked become larger.
        """
        largest_claim = min(dm.CHUNK, 2 * self.classifier.chunk_size)
        if len(self.classifier.fingerprints_of(dm.CATEGORY)) == 1:
            return largest_claim
        self._claim_size = CASCADE_CLAIM_SIZE if self._asked_further else min(2 * self._claim_size, largest_claim)
        self._asked_further = False
        return self._claim_size

    def note_further_steps(self, answered: Iterable[dm.Answer | EarlierSteps | None]) -> None:
        """Notice whether a further step of a cascade was asked, for the size of the next claim."""
        first, *further = self.classifier.fingerprints_of(dm.CATEGORY)
        if not further:
            return
        last_steps = (a.steps[-1] for a in answered if a and a.steps and a.question == dm.CATEGORY)
        self._asked_further = self._asked_further or any(s.fingerprint != first and not s.reused for s in last_steps)

    def settled(self, tickets: Sequence[dm.Ticket]) -> dict[str, dm.Action]:
        """Return the tickets whose category is not to be asked: `held` by a verdict, or `unchanged` since it was asked.

        One about which a batch asks the same question would be paid for twice: it is `waiting`.
        One that waits for a person although its answer is sure by now does need it, for the answer to hold. A forgotten
        ticket has no text, and is `held` even with `force`.
        """
        settled_actions = {
            t.ticket_id: dm.Action.HELD for t in tickets if not (t.subject or t.text) or (t.verdict and not self._force)
        }
        if self._force:
            return settled_actions
        once_decided = [t for t in tickets if t.ticket_id not in settled_actions and t.status not in dm.TO_CLASSIFY]
        precedents = self.precedents.of(once_decided)
        settled_actions |= {t.ticket_id: dm.Action.UNCHANGED for t in once_decided if follows(t, precedents)}
        once_decided = [t for t in once_decided if t.ticket_id not in precedents]
        once_asked = [t for t in once_decided if t.decision_id]
        decision_ids = [t.decision_id for t in once_asked if t.decision_id]
        decisions = self.context.store.answers.decisions(decision_ids) if decision_ids else {}
        fingerprints = self.classifier.fingerprints_of(dm.CATEGORY)
        for ticket in once_asked:
            stored_answer = decisions.get(ticket.decision_id or "")
            keys = {dm.ids.answer_key(fingerprint, ticket.text) for fingerprint in fingerprints}
            if stored_answer and stored_answer.answer_key in keys and not self._is_sure_by_now(ticket, stored_answer):
                settled_actions[ticket.ticket_id] = dm.Action.UNCHANGED
        waiting = self.in_batches([t for t in once_decided if t.ticket_id not in settled_actions])
        return settled_actions | dict.fromkeys(waiting, dm.Action.WAITING)

    def asking(self, tickets: Sequence[dm.Ticket], settled: Container[str]) -> list[dm.Ticket]:
        """Return tickets with the questions that are to be asked about each: none about one that needs no classifier.

        `settled` has the ids of tickets whose category is not to be asked.
        """
        if not self.further:
            return [t._replace(asked=()) if t.ticket_id in settled else t for t in tickets]
        open_questions = self._open_questions([t for t in tickets if t.subject or t.text])
        return [
            t._replace(
                asked=(*(() if t.ticket_id in settled else (dm.CATEGORY,)), *open_questions.get(t.ticket_id, ()))
            )
            for t in tickets
        ]

    def _open_questions(self, tickets: Sequence[dm.Ticket]) -> dict[str, list[str]]:
        """Return the further questions that are to be asked about tickets: open ones, and those that have changed."""
        asked = [name for name in self.further if self.classifier.fingerprints_of(name)]  # offline, not all may be
        tickets = self._without_batched(tickets, asked)
        given = [(t, name, answer) for t in tickets for name, answer in dm.all_given(t, asked).items()]
        stored_ids = [answer.decision_id for _, _, answer in given if answer.decision_id and not answer.verdict]
        stored = self.context.store.answers.decisions(stored_ids) if stored_ids else {}
        precedents = {} if self._force else {name: self.precedents.of(tickets, name) for name in asked}
        open_questions: dict[str, list[str]] = {}
        for ticket, name, answer in given:
            if ticket.ticket_id in precedents.get(name, {}):
                if not follows(ticket, precedents[name]):
                    open_questions.setdefault(ticket.ticket_id, []).append(name)
                continue
            last = stored.get(answer.decision_id or "")
            is_known = last is not None and last.answer_key in {
                dm.ids.answer_key(fingerprint, ticket.text) for fingerprint in self.classifier.fingerprints_of(name)
            }
            if self._force or (not answer.verdict and (answer.is_open or not is_known)):
                open_questions.setdefault(ticket.ticket_id, []).append(name)
        return open_questions

    def _without_batched(self, tickets: Sequence[dm.Ticket], asked: Sequence[str]) -> list[dm.Ticket]:
        """Return the tickets but for those that wait in a batch, or of which it asks one of these questions."""
        left = [ticket for ticket in tickets if ticket.status != "waiting"]
        if not left or not self.context.store.batches.any_waiting():
            return left
        fingerprints = [fingerprint for name in asked for fingerprint in self.classifier.fingerprints_of(name)]
        keys = [dm.ids.answer_key(fingerprint, ticket.text) for ticket in left for fingerprint in fingerprints]
        requests = self.context.store.batches.joinable(keys).values()
        batched = {ticket_id for request in requests for ticket_id in request.ticket_ids}
        return [ticket for ticket in left if ticket.ticket_id not in batched]

    def in_batches(self, tickets: Sequence[dm.Ticket], question: str = dm.CATEGORY) -> set[str]:
        """Return the ids of tickets about which a batch asks this classifier a question."""
        fingerprints = self.classifier.fingerprints_of(question)
        keys = [dm.ids.answer_key(fingerprint, ticket.text) for fingerprint in fingerprints for ticket in tickets]
        batch_requests = self.context.store.batches.joinable(keys) if keys else {}
        asked_about = {ticket_id for request in batch_requests.values() for ticket_id in request.ticket_ids}
        return asked_about & {t.ticket_id for t in tickets}

    def _is_sure_by_now(self, ticket: dm.Ticket, stored_answer: dm.Classification) -> bool:
        """Return whether a ticket waits for its category whose stored answer reaches the present threshold."""
        waits = ticket.status == "needs_review" and ticket.category is None
        is_sure_by_now = waits and self.classifier.rejudged(stored_answer, ticket.text).is_sure
        return is_sure_by_now and not self.suspicion.found(ticket.text)

    def decide(self, chunks: Iterable[Sequence[dm.Ticket]]) -> Iterator[list[dm.Outcome[dm.Decided]]]:
        """Ask about tickets that this run holds, and record the decisions; an outcome's `item` is the ticket given.

        Each answer is saved when it has come. The outcome of a ticket comes with its last answer; where the run ends
        before, it comes then, once its category is decided.
        """
        try:
            checked_chunks = self.check.over(chunks)
            for arrived in answers(self.classifier, checked_chunks, self.context.budget, self.save_steps, self.known):
                self.context.heartbeat()
                self.note_further_steps(outcome.value for outcome in arrived.final)
                yield self.save(arrived.final) if arrived.final else []
                if arrived.final:
                    self.check.after()
        except dm.TriageError:
            yield self._half_answered()
            raise
        yield self._half_answered()

    def _half_answered(self) -> list[dm.Outcome[dm.Decided]]:
        """Return the outcomes of tickets whose category is decided, and of which another question stays open."""
        decided = [begun.decided for begun in self._begun.values() if begun.decided is not None]
        self._begun.clear()
        return decided

    def known(self, tickets: Sequence[dm.Ticket]) -> list[dm.Answer]:
        """Return what people decided about the same texts; with `force`, classifiers are asked."""
        if self._force:
            return []
        return self.precedents.answers(tickets, self.context.run.run_id, self.context.actor)

    def save(self, outcomes: Sequence[dm.Outcome[dm.Answer]]) -> list[dm.Outcome[dm.Decided]]:
        """Save answers and their decisions; one whose ticket has changed meanwhile is stored, but does not hold."""
        self.record_askings()
        at = dm.times.now()
        answered = [[outcome] for outcome in outcomes]
        if self.further:
            answered = [*dm.grouped(outcomes, lambda outcome: outcome.ticket.ticket_id).values()]
        changes = [self.change(each[0].ticket, each, at) for each in answered]
        return self.saved(answered, changes, self.context.save(changes))

    def save_steps(self, earlier: Sequence[EarlierSteps]) -> None:
        """Save the answers of tickets about which a further step is asked, which decides; a changed one is late."""
        self.record_askings()
        self.note_further_steps(earlier)
        at = dm.times.now()
        while earlier:
            # One of each ticket: the next one is decided on what that leaves.
            firsts = {each.ticket.ticket_id: each for each in reversed(earlier)}
            self._save_steps(list(reversed(firsts.values())), at)
            earlier = [each for each in earlier if each is not firsts[each.ticket.ticket_id]]

    def _save_steps(self, earlier: Sequence[EarlierSteps], at: str) -> None:
        changes = [self._steps_change(each, at) for each in earlier]
        conflicts = self.context.save(changes)
        self._save_late(changes, conflicts)
        for change, conflict, each in zip(changes, conflicts, earlier, strict=True):
            begun = self._begun.get(each.ticket.ticket_id, _Begun(each.ticket, frozenset(), each.ticket.asked))
            saved_ids = begun.saved | {step.classification_id for step in each.steps}
            self._begun[each.ticket.ticket_id] = begun._replace(ticket=_left(change, conflict), saved=saved_ids)

    def saved(
        self,
        answered: Sequence[Sequence[dm.Outcome[dm.Answer]]],
        changes: Sequence[dm.Change],
        conflicts: Sequence[dm.Conflict | None],
    ) -> list[dm.Outcome[dm.Decided]]:
        """Return the outcomes of saved changes, but of tickets about which more is asked.

        The answers of changes that were refused are stored as late.
        """
        decided = []
        self._save_late(changes, conflicts)
        for change, conflict, outcomes in zip(changes, conflicts, answered, strict=True):
            # The answer that was saved. Where an earlier save had it already, the change adds none, and the last answer
            # of the classifier is taken.
            answer = answered_by(change)
            if answer is None and conflict is None:
                about_category = next((o.value for o in outcomes if question_of(o) == dm.CATEGORY), None)
                answer = next(reversed(self._steps_of(about_category)), None)
            outcome = self.outcome(change, answer, conflict.ticket if conflict else None, outcomes[0].item)
            ticket_id = outcome.ticket.ticket_id
            begun = self._begun.pop(ticket_id, None)
            still_open = _still_open(begun, outcomes)
            if begun is not None and begun.decided is not None and conflict is None:
                outcome = _with_ticket(begun.decided, outcome)
            if not still_open:
                decided.append(outcome)
                continue
            stored = begun.saved if begun else frozenset()
            is_decided = dm.CATEGORY not in still_open
            self._begun[ticket_id] = _Begun(
                _left(change, conflict), stored, still_open, outcome if is_decided else None
            )
        return decided

    def _save_late(self, changes: Sequence[dm.Change], conflicts: Sequence[dm.Conflict | None]) -> None:
        """Save the answers of changes that were refused, without their tickets."""
        if any(conflicts):
            self.context.save([late(change) for change, no in zip(changes, conflicts, strict=True) if no is not None])

    def without_saved_steps(
        self, ticket: dm.Ticket, steps: Sequence[dm.Classification]
    ) -> tuple[dm.Ticket, tuple[dm.Classification, ...]]:
        """Return a ticket as an earlier step's save left it, and its last answers, those that are not saved yet."""
        begun = self._begun.pop(ticket.ticket_id, None)
        return (begun.ticket if begun else ticket), _unsaved(begun, steps)

    def decided_before(self, ticket: dm.Ticket) -> dm.Outcome[dm.Decided] | None:
        """Return the outcome of a ticket's category, where an earlier save of this run decided it."""
        begun = self._begun.get(ticket.ticket_id)
        return begun.decided if begun else None

    def record_askings(self) -> None:
        """Record how the classifier asks, once."""
        for asking in self.classifier.askings() if not self.askings_recorded else ():
            self.context.store.answers.record_asking(asking)
            if asking.endpoint:
                self._endpoints[asking.fingerprint] = asking.endpoint
        self.askings_recorded = True

    def outcome(
        self, change: dm.Change, answer: dm.Classification | None, instead: dm.Ticket | None, item: object
    ) -> dm.Outcome[dm.Decided]:
        """Return the outcome of a recorded answer; `instead` is the stored ticket if the change was refused."""
        if instead is not None:
            if instead.is_erased and answer is not None:
                answer = answer._replace(reason=None, answer_key="", error=answer.error and "(forgotten)")
            return dm.Outcome(None, dm.Action.HELD, dm.Decided(instead, answer, True), None, item)
        ticket = change.ticket
        if ticket is None or change.decision is None:
            raise TypeError(change)
        if ticket.error and ticket.status != "needs_review" and change.decision.standing != dm.Standing.FURTHER:
            error = dm.AnswerError(f"{dm.ids.short(ticket.ticket_id)}: {ticket.error}")
            return dm.Outcome(None, dm.Action.FAILED, dm.Decided(ticket, answer, True), error, item)
        return dm.Outcome(None, ACTIONS[ticket.status], dm.Decided(ticket, answer, True), None, item)

    def change(self, ticket: dm.Ticket, outcomes: Sequence[dm.Outcome[dm.Answer]], at: str) -> dm.Change:
        """Return the change that records the answers to questions about a ticket, and what they make of it."""
        begun = self._begun.get(ticket.ticket_id) if self._begun else None
        before = begun.ticket if begun else ticket
        answered = [(outcome, self._signed(ticket, self._steps_of(outcome.value))) for outcome in outcomes]
        unsaved_steps = tuple([step for _, steps in answered for step in _unsaved(begun, steps)])
        after = with_cost(before, unsaved_steps)
        decision, overrules = None, False
        data: dict[str, Any] = {}
        further: dict[str, dm.GivenAnswer] = {}
        given_before = dm.given_answers(before) if self.further else {}
        for outcome, steps in answered:
            # A suspicious text is classified all the same, but only a person may accept the answer.
            doubts, sure = text_doubts(self.suspicion, before, outcome.value)
            if (name := question_of(outcome)) != dm.CATEGORY:
                was = given_before.get(name, dm.UNANSWERED)
                given = answer_given(was, steps, outcome.error, self._labels[name], sure=sure)
                further[name] = given._replace(reason=held(doubts, given.reason)) if doubts else given
                overrules |= was.verdict and not given.verdict
                data.setdefault("answers", {})[name] = _further_data(given, steps, doubts)
                continue
            language = outcome.value.language if outcome.value else None
            after = answered_ticket(after, steps, outcome.error, self.labels, sure=sure, language=language)
            data |= self._decided_data(after, steps)
            if doubts:
                after = after._replace(reason=held(doubts, after.reason))
            if outcome.error:
                data["error"] = outcome.error.code
            if before.verdict and not after.verdict:
                overrules, data["overruled"] = True, before.category  # by force
            decision = dm.Decision(after.decision_id, after.status, dm.Standing.HOLDS, doubts)
        decision = decision or dm.Decision(None, before.status, dm.Standing.FURTHER)
        if self.further:
            after = self._with_further(before, after, further, _still_open(begun, outcomes))
            decision = decision._replace(status=after.status)
            if after.status == "needs_review" and after.category is not None:
                data["open"] = dm.open_required(after, self.required)
        data |= self._sent_data(after, answered[-1][1], unsaved_steps) | dm.decision_data(decision)
        event = self.context.event(dm.EventAction.CLASSIFIED, after.ticket_id, data, at)
        decision = decision._replace(overrules=overrules) if overrules else decision
        return dm.Change(event, after, before.revision, unsaved_steps, decision)

    def _with_further(
        self, before: dm.Ticket, after: dm.Ticket, further: Mapping[str, dm.GivenAnswer], still_open: Sequence[str]
    ) -> dm.Ticket:
        """Return a ticket with answers to further questions; while a question is open, this run goes on to hold it."""
        after = dm.with_given(after, {**dm.all_given(before, self.further), **further})
        after = dm.woken(before, dm.settled_by(after, self.required))
        return after._replace(revision=before.revision + 1, run_id=before.run_id if still_open else None)

    def _steps_change(self, earlier: EarlierSteps, at: str) -> dm.Change:
        """Return the change that records the answers before a further step: they cost, and decide nothing."""
        begun = self._begun.get(earlier.ticket.ticket_id)
        before, steps = begun.ticket if begun else earlier.ticket, self._steps_of(earlier)
        unsaved_steps = _unsaved(begun, steps)
        paid_ticket = with_cost(before, unsaved_steps)
        data: dict[str, Any] = {}
        if earlier.question == dm.CATEGORY:
            so_far = answered_ticket(paid_ticket, steps, None, self.labels, sure=False)
            decision = dm.Decision(so_far.decision_id, paid_ticket.status, dm.Standing.NEXT)
            data |= self._decided_data(so_far, steps)
        else:
            given = answer_given(dm.UNANSWERED, steps, None, self._labels[earlier.question], sure=False)
            decision = dm.Decision(None, paid_ticket.status, dm.Standing.NEXT)
            data["answers"] = {earlier.question: _further_data(given, steps)}
        ticket = paid_ticket._replace(revision=before.revision + 1)
        data |= self._sent_data(ticket, steps, unsaved_steps) | dm.decision_data(decision)
        event = self.context.event(dm.EventAction.CLASSIFIED, ticket.ticket_id, data, at)
        return dm.Change(event, ticket, before.revision, unsaved_steps, decision)

    def _steps_of(self, answer: dm.Answer | EarlierSteps | None) -> tuple[dm.Classification, ...]:
        return steps_within(answer, self._labels[answer.question]) if answer else ()

    def _signed(self, ticket: dm.Ticket, steps: tuple[dm.Classification, ...]) -> tuple[dm.Classification, ...]:
        if signature := self.context.signatures.get(ticket.ticket_id):  # the callers' classifier knows no actor
            run_id = self.context.run.run_id
            return tuple([step._replace(actor=signature.actor, run_id=run_id) for step in steps])
        return steps

    def _decided_data(self, ticket: dm.Ticket, steps: Sequence[dm.Classification]) -> dict[str, Any]:
        last_answer = steps[-1] if steps else None
        return {
            "classifier": last_answer.classifier if last_answer else self.classifier.name,
            "category": ticket.category,
            "suggestion": ticket.suggestion,
            "confidence": ticket.confidence,
            "threshold": last_answer.threshold if last_answer else None,
        }

    def _sent_data(
        self, ticket: dm.Ticket, steps: Sequence[dm.Classification], unsaved_steps: Sequence[dm.Classification]
    ) -> dict[str, Any]:
        data: dict[str, Any] = {}
        if self._endpoints and (endpoints := self._endpoints_of(unsaved_steps)):  # the embedded model sends nothing
            data["sent"] = dict.fromkeys(endpoints, texts_of(ticket))
        if steps and steps[-1].redacted:
            data["masked"] = steps[-1].redacted  # the kinds of data that were masked
        return data

    def _endpoints_of(self, steps: Sequence[dm.Classification]) -> list[str]:
        # Not in `change`: a comprehension that names its variables makes each access to them slower.
        return [endpoint for s in steps if not s.reused and (endpoint := self._endpoints.get(s.fingerprint))]


def _still_open(begun: _Begun | None, outcomes: Sequence[dm.Outcome[dm.Answer]]) -> tuple[str, ...]:
    """Return the questions about a ticket that have no final answer after these."""
    open_before = begun.open if begun else outcomes[0].ticket.asked
    if len(open_before) == 1:
        return ()
    answered = {question_of(outcome) for outcome in outcomes}
    return tuple(name for name in open_before if name not in answered)


def _unsaved(begun: _Begun | None, steps: Sequence[dm.Classification]) -> tuple[dm.Classification, ...]:
    """Return the answers that no earlier save has stored."""
    if begun is None or not begun.saved:
        return tuple(steps)
    return tuple([step for step in steps if step.classification_id not in begun.saved])


def _left(change: dm.Change, conflict: dm.Conflict | None) -> dm.Ticket:
    """Return a ticket as a save leaves it for the next one.

    A ticket that has changed keeps its old revision here, so that its further answers are refused as well.
    """
    if change.ticket is None:
        raise TypeError(change)
    return change.ticket if conflict is None else change.ticket._replace(revision=change.expected_revision)


def _with_ticket(decided: dm.Outcome[dm.Decided], later: dm.Outcome[dm.Decided]) -> dm.Outcome[dm.Decided]:
    """Return the outcome of a ticket's category with the ticket as later answers left it."""
    if decided.value is None or later.value is None:
        raise TypeError(decided)
    action = later.action if decided.error is None else decided.action
    return decided._replace(action=action, value=decided.value._replace(ticket=later.value.ticket))


def _further_data(
    given: dm.GivenAnswer, steps: Sequence[dm.Classification], doubts: Sequence[str] = ()
) -> dict[str, Any]:
    """Return an answer to a further question as data of an event."""
    return ({"suspicious": list(doubts)} if doubts else {}) | {
        "classifier": given.classifier,
        "value": given.value,
        "suggestion": given.suggestion,
        "confidence": given.confidence,
        "threshold": steps[-1].threshold if steps else None,
        "state": given.state,
        "decision": given.decision_id,
    }


def unasked(ticket: dm.Ticket, action: dm.Action) -> dm.Outcome[dm.Decided]:
    """Return the outcome, without a row, of a ticket about which no classifier was asked now."""
    return dm.Outcome(None, action, dm.Decided(ticket, None, asked=False), None, ticket)


def answered_by(change: dm.Change) -> dm.Classification | None:
    """Return the last classifier's answer about the category that a change adds."""
    for added in reversed(change.adds):
        if isinstance(added, dm.Classification) and added.question == dm.CATEGORY:
            return added
    return None


def held(doubts: Sequence[str], reason: str | None) -> str:
    """Return the reason of a ticket that has a sure answer and is held for review because of its text."""
    return f"held for review: {', '.join(doubts)}; {reason or 'no reason'}"


def late(change: dm.Change) -> dm.Change:
    """Return the change of an answer that came too late: it is stored without its ticket."""
    if change.decision is None:
        raise TypeError(change)
    decision = change.decision._replace(standing=dm.Standing.LATE)
    return dm.Change(change.event.with_data(**dm.decision_data(decision)), adds=change.adds, decision=decision)


def texts_of(ticket: dm.Ticket) -> list[str]:
    """Return the names of a ticket's fields that are sent to a classifier."""
    return [field for field in ("subject", "description") if getattr(ticket, field)]


Decide = Callable[[Iterable[Sequence[dm.Ticket]]], Iterator[list[dm.Outcome[dm.Decided]]]]


class ClassifyRun:
    """Decides the selected tickets of one run. `completed` is true at the end if all of them were decided."""

    def __init__(self, decision_recorder: DecisionRecorder, recorder: RunRecorder) -> None:
        self.completed = False
        self._decision_recorder = decision_recorder
        self._ticket_claimer = TicketClaimer(decision_recorder.context)
        self._recorder = recorder
        self._unasked_outcomes: list[dm.Outcome[dm.Decided]] = []  # outcomes of tickets that need no classifier
        self._rows_by_ticket: dict[str, int] = {}  # of the tickets that are being classified
        self._claimed_all = False
        self._half_answered_ids: set[str] = set()  # of tickets of which this run leaves a question open

    def decided(self, selection: dm.Selection, decide: Decide, row: int = 0) -> Iterator[dm.Outcome[dm.Decided]]:
        """Claim and classify the selected tickets, and yield their outcomes; `decide` asks, rows count from `row`."""
        for outcomes in decide(self._claimed_to_classify(selection, row)):
            finished = self._unasked_outcomes + [
                o._replace(row=self._rows_by_ticket.pop(o.ticket.ticket_id)) for o in outcomes
            ]
            self._unasked_outcomes.clear()
            self._half_answered_ids.update(
                o.value.ticket.ticket_id for o in outcomes if o.value and o.value.ticket.unanswered
            )
            self._recorder.add(finished)
            yield from finished
        self._recorder.add(self._unasked_outcomes)
        yield from self._unasked_outcomes
        self.completed = self._claimed_all and not self._rows_by_ticket

    def _claimed_to_classify(self, selection: dm.Selection, row: int) -> Iterator[Sequence[dm.Ticket]]:
        """Claim tickets chunk by chunk; those that need no classifier are added to `_unasked_outcomes`."""
        for chunk in self._claimed(selection):
            lost_ids = {ticket.ticket_id for ticket in chunk if self._ticket_claimer.lost(ticket)}
            settled = self._decision_recorder.settled([ticket for ticket in chunk if ticket.ticket_id not in lost_ids])
            to_classify = []
            for ticket in self._decision_recorder.asking(chunk, settled.keys() | lost_ids):
                is_lost = ticket.ticket_id in lost_ids
                if is_lost or not ticket.asked:
                    action = dm.Action.HELD if is_lost else settled[ticket.ticket_id]
                    self._unasked_outcomes.append(unasked(ticket, action)._replace(row=row))
                else:
                    self._rows_by_ticket[ticket.ticket_id] = row
                    to_classify.append(ticket)
                row += 1
            yield to_classify
        self._claimed_all = not self._ticket_claimer.stopping

    def _claimed(self, selection: dm.Selection) -> Iterator[list[dm.Ticket]]:
        """Claim the tickets to classify, then those of which another question is open."""
        claim_size = self._decision_recorder.next_claim_size
        for wanted, statuses in selections_to_ask(selection, further=bool(self._decision_recorder.further)):
            for chunk in self._ticket_claimer.chunks(wanted, statuses, claim_size):
                yield [ticket for ticket in chunk if ticket.ticket_id not in self._half_answered_ids]


def selections_to_ask(selection: dm.Selection, *, further: bool) -> Iterator[tuple[dm.Selection, frozenset[str]]]:
    """Yield the parts of a selection that are to be asked about, each with its statuses if the selection has none."""
    yield selection, dm.TO_CLASSIFY
    if further and selection.ids is None and not selection.statuses:
        yield selection._replace(unanswered=True), HALF_ANSWERED


def to_ask(decision_recorder: DecisionRecorder, selection: dm.Selection) -> Iterator[dm.Ticket]:
    """Yield the tickets that a run of `classify` would ask about, in its order, without claiming them."""
    for wanted, statuses in selections_to_ask(selection, further=bool(decision_recorder.further)):
        by_urgency = wanted._replace(statuses=wanted.statuses or statuses, order="urgent")
        for chunk in dm.bounded(decision_recorder.context.store.find(wanted if wanted.ids is not None else by_urgency)):
            settled = decision_recorder.settled(chunk)
            yield from (ticket for ticket in decision_recorder.asking(chunk, settled) if ticket.asked)
