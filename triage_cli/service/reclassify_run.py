"""Classifies decided tickets again: every answer is stored as a proposal; flips are applied all together.

A ticket whose text and question are unchanged is not asked about again, and a stored proposal is not paid for again:
their answers are compared with the present thresholds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from triage_cli.domain import ids, times
from triage_cli.domain.audit.decision_events import decision_data
from triage_cli.domain.audit.events import EventAction
from triage_cli.domain.changes import Change
from triage_cli.domain.chunks import bounded
from triage_cli.domain.decisions import Answer, Classification, Decided, Decision, Postponed, Unfinished
from triage_cli.domain.errors import AnswerError, CheckError
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.reclassification import Flip, ReclassifyPlan
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.service.batch.collect import BatchCollector
from triage_cli.service.classification.answered_tickets import decided, released_with_cost, steps_within
from triage_cli.service.classification.decision_recorder import DecisionRecorder, without_forgotten_text
from triage_cli.service.classification.flip_rules import CHANGES, Bound, FlipDecision, flip, judge

DECIDED = frozenset({"classified", "routing", "routed", "unroutable", "undeliverable"})


class ReclassifyRun:
    """Compares and applies answers for one run. An answer overrules a verdict only with `force`."""

    def __init__(
        self,
        recorder: DecisionRecorder,
        plan: ReclassifyPlan,
        hysteresis: Mapping[str, float],
        batch_collector: BatchCollector | None,
    ) -> None:
        self._context = recorder.context
        self._store = recorder.context.store
        self._recorder = recorder
        self._classifier = recorder.classifier
        self._labels = recorder.labels
        self._plan = plan
        self._hysteresis = hysteresis
        self._batch_collector = batch_collector
        self.completed = False  # all selected tickets were compared

    def flips(
        self, selection: Selection, send_on: Callable[[Sequence[Ticket]], Iterator[Ticket]]
    ) -> Iterator[list[Outcome[Flip]]]:
        """Compare, and apply what differs if the plan says so; `send_on` routes tickets and returns them.

        Raises `CheckError`, with nothing changed, if more would flip than the plan allows.
        """
        bound = Bound.read(self._plan.max_flips)
        to_apply: list[FlipDecision] = []
        flips = compared = waiting = 0
        for judged in self.compare(selection):
            compared += sum(j.now is not None for j in judged)
            flips += sum(j.action == Action.FLIP for j in judged)
            waiting += sum(j.action == Action.WAITING for j in judged)
            if self._plan.apply:
                to_apply += (j for j in judged if j.action in CHANGES)
                judged = [j for j in judged if j.action not in CHANGES]  # noqa: PLW2901 - what is told at once
            yield [_outcome(j, j.ticket) for j in judged]
        try:
            if bound is not None:
                bound.check(flips, compared)
        except CheckError:
            yield [_outcome(j, j.ticket) for j in to_apply]
            raise
        if self._context.budget.stopping or waiting:  # the comparison is incomplete, so nothing is applied
            yield [_outcome(j, j.ticket) for j in to_apply]
        elif to_apply:
            yield self._applied(to_apply, send_on)

    def _applied(
        self, to_apply: Sequence[FlipDecision], send_on: Callable[[Sequence[Ticket]], Iterator[Ticket]]
    ) -> list[Outcome[Flip]]:
        done = self.apply(to_apply)
        to_send = [d.ticket for d in done if d.ticket.run_id and d.action != Action.HELD]
        sent = {ticket.ticket_id: ticket for ticket in send_on(to_send)}
        return [
            _outcome(d._replace(ticket=sent.get(d.ticket.ticket_id, d.ticket)), before.ticket)
            for d, before in zip(done, to_apply, strict=True)
        ]

    # -- compare

    def compare(self, selection: Selection) -> Iterator[list[FlipDecision]]:
        """Ask about the tickets that need it and store the answers as proposals; only `apply` changes tickets."""
        unasked: list[FlipDecision] = []
        rows: dict[str, int] = {}
        chunks = self._recorder.check.over(self._to_ask(selection, unasked, rows))
        for outcomes in self._classifier.classify(chunks, self._context.budget):
            self._context.heartbeat()
            self._recorder.note_further_steps(outcomes)
            if unfinished := [o for o in outcomes if isinstance(o.value, Unfinished)]:
                self._recorder.save(unfinished)
            answers = [o for o in outcomes if not isinstance(o.value, (Unfinished, Postponed))]
            yield unasked + (self._save_proposals(answers, rows) if answers else [])
            unasked.clear()
            if self._batch_collector is not None:
                yield from self._postponed(self._batch_collector.postpone(outcomes), rows)
        yield unasked
        if self._batch_collector is not None:
            yield from self._postponed(self._batch_collector.send(), rows)
        self.completed = self.completed and not rows

    @staticmethod
    def _postponed(batches: Iterable[list[Outcome[Decided]]], rows: dict[str, int]) -> Iterator[list[FlipDecision]]:
        """Yield the tickets whose answers a provider's batch will bring."""
        for outcomes in batches:
            tickets = [(o.action, o.value.ticket) for o in outcomes if o.value]
            yield [FlipDecision(rows.pop(ticket.ticket_id), ticket, action, None) for action, ticket in tickets]

    def _selected(self, selection: Selection) -> Iterator[Ticket]:
        """Yield the selected tickets, those with a category that is gone first."""
        if selection.ids is not None:
            yield from self._store.find(selection)
            return
        decided = selection._replace(statuses=selection.statuses or DECIDED, limit=None)
        if selection.categories:
            yield from islice(self._store.find(decided), selection.limit)
            return
        gone = [name for name in self._store.stats().by_category if name not in self._labels]
        first = chain.from_iterable(self._store.find(decided._replace(categories=(name,))) for name in gone)
        rest = (ticket for ticket in self._store.find(decided) if ticket.category not in gone)
        yield from islice(chain(first, rest), selection.limit)

    def _to_ask(
        self, selection: Selection, unasked: list[FlipDecision], rows: dict[str, int]
    ) -> Iterator[Sequence[Ticket]]:
        """Claim and yield the tickets without an answer; the others are added to `unasked`."""
        row = 0
        for chunk in bounded(self._selected(selection)):
            if self._context.budget.stopping or (self._batch_collector is not None and self._batch_collector.troubled):
                return
            numbers = {ticket.ticket_id: row + n for n, ticket in enumerate(chunk)}
            row += len(chunk)
            open_, may_change = [], [t for t in chunk if self._may_change(t)]
            answered = self._answered(may_change)
            # A question that is in a batch would be paid for twice.
            waiting = self._recorder.in_batches([t for t in may_change if t.ticket_id not in answered])
            for ticket in chunk:
                number = numbers[ticket.ticket_id]
                if not self._may_change(ticket):
                    action = Action.LOCKED if ticket.verdict else Action(ticket.status)
                    unasked.append(FlipDecision(number, ticket, action, None))
                elif ticket.ticket_id in answered:
                    stored = answered[ticket.ticket_id]
                    new_answer = self._classifier.rejudged(stored)
                    unasked.append(self._judged(number, ticket, new_answer)._replace(rejudged=new_answer != stored))
                elif ticket.ticket_id in waiting:
                    unasked.append(FlipDecision(number, ticket, Action.WAITING, None))
                else:
                    open_.append(ticket)
            yield []  # lets the outcomes in `unasked` be yielded
            left = iter(open_)
            while to_claim := list(islice(left, self._recorder.next_claim_size())):
                if self._context.budget.stopping:
                    return
                named = Selection(ids=tuple(t.ticket_id for t in to_claim))
                free = self._context.claim(named, len(to_claim))
                claimed = {t.ticket_id: t for t in free if self._may_change(t)}
                lost = [ticket for ticket in to_claim if ticket.ticket_id not in claimed]
                unasked += (FlipDecision(numbers[t.ticket_id], t, Action.HELD, None) for t in lost)
                rows.update((ticket_id, numbers[ticket_id]) for ticket_id in claimed)
                yield [claimed[t.ticket_id] for t in to_claim if t.ticket_id in claimed]
        self.completed = True

    def _may_change(self, ticket: Ticket) -> bool:
        is_decided = ticket.category is not None or ticket.status == "needs_review"
        is_forgotten = not ticket.text
        return is_decided and not is_forgotten and (not ticket.verdict or self._plan.classify.force)

    def _answered(self, tickets: Sequence[Ticket]) -> dict[str, Classification]:
        """Return the stored answers to the present question: decisions that hold, and proposals."""
        fingerprints = self._classifier.fingerprints
        keys = {t.ticket_id: {ids.answer_key(f, t.text) for f in fingerprints} for t in tickets}
        decisions = self._store.decisions([t.decision_id for t in tickets if t.decision_id])
        reused_answers: dict[str, Classification] = {}
        for answer in decisions.values():
            if answer.answer_key in keys[answer.ticket_id] and self._is_last(answer):
                reused_answers[answer.ticket_id] = answer
        left = [ticket_id for ticket_id in keys if ticket_id not in reused_answers]
        last_answers: dict[str, Classification] = {}
        for answer in self._store.answers(left, fingerprints) if left else ():
            if answer.answer_key in keys[answer.ticket_id]:
                last_answers[answer.ticket_id] = answer
        return reused_answers | {i: answer for i, answer in last_answers.items() if self._is_last(answer)}

    def _is_last(self, answer: Classification) -> bool:
        """Return whether no further step would be asked after this answer: it is sure, or the last step's.

        An answer whose category is gone (a rename that this configuration is older than) is none.
        """
        if answer.error or answer.category not in (None, *self._labels):
            return False
        return answer.fingerprint == self._classifier.fingerprints[-1] or self._classifier.rejudged(answer).is_sure

    def _save_proposals(self, outcomes: Sequence[Outcome[Answer]], rows: dict[str, int]) -> list[FlipDecision]:
        """Save answers as proposals and free their tickets; a ticket that has changed meanwhile is left alone."""
        self._recorder.record_questions()
        at, changes, judged = times.now(), [], []
        for outcome in outcomes:
            steps = steps_within(outcome.value, self._labels)
            ticket_before, new = self._recorder.without_saved_steps(outcome.ticket, steps)
            ticket = released_with_cost(ticket_before, new)
            last_answer = steps[-1] if steps else None
            proposal = self._judged(rows.pop(ticket_before.ticket_id), ticket, last_answer, str(outcome.error or ""))
            judged.append(proposal)
            event = self._context.event(EventAction.PROPOSED, ticket.ticket_id, _event_data(proposal, last_answer), at)
            changes.append(Change(event, ticket, ticket_before.revision, new))
        conflicts = self._context.save(changes)
        changes = without_forgotten_text(changes, conflicts)
        late = [c._replace(ticket=None, expected_revision=0) for c, no in zip(changes, conflicts, strict=True) if no]
        self._context.save(late)  # their answers are stored all the same
        return [
            j if no is None else FlipDecision(j.row, no.ticket or j.ticket, Action.HELD, None)
            for j, no in zip(judged, conflicts, strict=True)
        ]

    # -- judge

    def _judged(self, row: int, ticket: Ticket, new_answer: Classification | None, failed: str = "") -> FlipDecision:
        if failed or new_answer is None or new_answer.error:
            problem = failed or (new_answer.error if new_answer and new_answer.error else "no answer")
            error = AnswerError(f"{ids.short(ticket.ticket_id)}: {problem}")
            return FlipDecision(row, ticket, Action.UNANSWERED, new_answer, error)
        holds = new_answer.classification_id == ticket.decision_id
        if holds and new_answer.is_sure == (ticket.category is not None):
            return FlipDecision(row, ticket, Action.UNCHANGED, new_answer)
        least_margin = max(self._hysteresis.get(name, 0.0) for name in (self._classifier.name, new_answer.classifier))
        action = judge(ticket, new_answer, self._labels, least_margin, doubted=self._plan.doubted)
        if action == Action.SETTLED and self._recorder.suspicion.found(ticket.text):
            action = Action.UNCHANGED if holds else Action.UNANSWERED
        return FlipDecision(row, ticket, action, new_answer)

    # -- apply

    def apply(self, judged: Iterable[FlipDecision]) -> list[FlipDecision]:
        """Apply answers in one transaction; tickets that have changed since the comparison are left alone."""
        self._recorder.check.before()
        at, changes, done = times.now(), [], []
        for flip_decision in judged:
            new_answer, ticket_before = flip_decision.now, flip_decision.ticket
            if new_answer is None:
                raise TypeError(flip_decision)
            if flip_decision.rejudged:
                new_answer = new_answer.copy(ids.new_id(), self._context.run.run_id, at)._replace(
                    actor=self._context.actor
                )
            sure = new_answer.is_sure and not self._recorder.suspicion.found(ticket_before.text)
            ticket = decided(ticket_before, (new_answer,), None, sure=sure)
            stays = ticket_before.status == "routed" and sure and not self._plan.reroute
            settles = self._plan.reroute and flip_decision.action == Action.SETTLED
            is_sent = settles or (ticket_before.status == "routed" and not stays)
            ticket = ticket._replace(
                status="routed" if stays else ticket.status, run_id=self._context.run.run_id if is_sent else None
            )
            decision = Decision(new_answer.classification_id, ticket.status)
            data = _event_data(flip_decision, new_answer) | decision_data(decision)
            event = self._context.event(EventAction.RECLASSIFIED, ticket.ticket_id, data, at)
            changes.append(
                Change(event, ticket, ticket_before.revision, (new_answer,) if flip_decision.rejudged else (), decision)
            )
            action = Action.FLIPPED if flip_decision.action == Action.FLIP else flip_decision.action
            done.append(flip_decision._replace(action=action, ticket=ticket))
        conflicts = self._context.save(changes)
        self._recorder.check.after()
        return [d if no is None else d._replace(action=Action.HELD) for d, no in zip(done, conflicts, strict=True)]


def _event_data(judged: FlipDecision, last_answer: Classification | None) -> dict[str, object]:
    return {
        "classifier": last_answer.classifier if last_answer else None,
        "category": last_answer.category if last_answer else None,
        "confidence": last_answer.confidence if last_answer else None,
        "threshold": last_answer.threshold if last_answer else None,
        "was": judged.ticket.category,
        "outcome": judged.action.value,
        "decision": last_answer.classification_id if last_answer else None,
    }


def _outcome(judged: FlipDecision, ticket_before: Ticket) -> Outcome[Flip]:
    return Outcome(judged.row, judged.action, flip(judged, ticket_before), judged.error, ticket_before)
