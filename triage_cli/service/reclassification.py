"""A run of `reclassify`: every new answer is stored as a proposal; flips are applied all together.

A ticket whose text and question are unchanged is not asked about again, and a stored proposal is not paid for again:
their answers are compared with the present thresholds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from triage_cli import domain as dm
from triage_cli.service.answers import answer_given, answered_ticket, answers, released_with_cost, steps_within
from triage_cli.service.batches import BatchCollector
from triage_cli.service.decisions.flips import CHANGES, FlipDecision, FlipLimit, flip_data, flip_of, judge
from triage_cli.service.decisions.precedents import follows
from triage_cli.service.decisions.recorder import DecisionRecorder


class ReclassifyRun:
    """Asks a question about decided tickets again, for one run. An answer overrules a verdict only with `force`.

    Raises `UsageError` if the recorder's classifier cannot answer the question now.
    """

    def __init__(
        self,
        recorder: DecisionRecorder,
        plan: dm.ReclassifyPlan,
        hysteresis: Mapping[str, float],
        batch_collector: BatchCollector | None,
    ) -> None:
        self._context = recorder.context
        self._store = recorder.context.store
        self._recorder = recorder
        self._classifier = recorder.classifier
        self._question = plan.question
        self._labels = recorder.labels_of(plan.question)
        self._fingerprints = recorder.classifier.fingerprints_of(plan.question)
        if not self._fingerprints:
            raise dm.UsageError(
                f'offline, no classifier answers the question "{plan.question}"', hint="leave out --offline"
            )
        self._plan = plan
        self._hysteresis = hysteresis
        self._batch_collector = batch_collector
        self.completed = False  # all selected tickets were compared

    def flips(
        self, selection: dm.Selection, send_on: Callable[[Sequence[dm.Ticket]], Iterator[dm.Ticket]]
    ) -> Iterator[list[dm.Outcome[dm.Flip]]]:
        """Compare, and apply what differs if the plan says so; `send_on` routes tickets and returns them.

        Raises `CheckError`, with nothing changed, if more would flip than the plan allows.
        """
        flip_limit = FlipLimit.read(self._plan.max_flips)
        to_apply: list[FlipDecision] = []
        flips = compared = waiting = 0
        for compared_chunk in self.compare(selection):
            compared += sum(d.now is not None for d in compared_chunk)
            flips += sum(d.action == dm.Action.FLIP for d in compared_chunk)
            waiting += sum(d.action == dm.Action.WAITING for d in compared_chunk)
            if self._plan.apply:
                to_apply += (d for d in compared_chunk if d.action in CHANGES)
            unchanged = (d for d in compared_chunk if not (self._plan.apply and d.action in CHANGES))
            yield [self._flip_outcome(d, d.ticket) for d in unchanged]
        try:
            if flip_limit is not None:
                flip_limit.check(flips, compared)
        except dm.CheckError:
            yield [self._flip_outcome(d, d.ticket) for d in to_apply]
            raise
        if self._context.budget.stopping or waiting:  # the comparison is incomplete, so no flip is applied
            yield [self._flip_outcome(d, d.ticket) for d in to_apply]
        elif to_apply:
            yield self._apply_and_send(to_apply, send_on)

    def _apply_and_send(
        self, to_apply: Sequence[FlipDecision], send_on: Callable[[Sequence[dm.Ticket]], Iterator[dm.Ticket]]
    ) -> list[dm.Outcome[dm.Flip]]:
        applied = self.apply(to_apply)
        to_send = [d.ticket for d in applied if d.ticket.run_id and d.action != dm.Action.HELD]
        sent = {ticket.ticket_id: ticket for ticket in send_on(to_send)}
        return [
            self._flip_outcome(d._replace(ticket=sent.get(d.ticket.ticket_id, d.ticket)), before.ticket)
            for d, before in zip(applied, to_apply, strict=True)
        ]

    def compare(self, selection: dm.Selection) -> Iterator[list[FlipDecision]]:
        """Ask about the tickets that need it and store the answers as proposals; only `apply` changes tickets."""
        unasked: list[FlipDecision] = []
        asked_rows: dict[str, int] = {}
        chunks = self._recorder.check.over(self._claimed_to_ask(selection, unasked, asked_rows))
        known = None if self._plan.classify.force else self._recorder.known
        for arrived in answers(self._classifier, chunks, self._context.budget, self._recorder.save_steps, known):
            self._context.heartbeat()
            self._recorder.note_further_steps(outcome.value for outcome in arrived.final)
            yield unasked + (self._save_proposals(arrived.final, asked_rows) if arrived.final else [])
            unasked.clear()
            if self._batch_collector is not None:
                yield from self._postponed(self._batch_collector.postpone(arrived.postponed), asked_rows)
        yield unasked
        if self._batch_collector is not None:
            yield from self._postponed(self._batch_collector.send(), asked_rows)
        self.completed = self.completed and not asked_rows

    @staticmethod
    def _postponed(
        batches: Iterable[list[dm.Outcome[dm.Decided]]], asked_rows: dict[str, int]
    ) -> Iterator[list[FlipDecision]]:
        """Yield the tickets whose answers a provider's batch will bring."""
        for outcomes in batches:
            tickets = [(o.action, o.value.ticket) for o in outcomes if o.value]
            yield [FlipDecision(asked_rows.pop(ticket.ticket_id), ticket, action, None) for action, ticket in tickets]

    def _selected(self, selection: dm.Selection) -> Iterator[dm.Ticket]:
        """Yield the selected tickets, those with a category that is gone first."""
        if selection.ids is not None:
            yield from self._store.find(selection)
            return
        is_on_category = self._question == dm.CATEGORY
        statuses = dm.DECIDED if is_on_category else dm.DECIDED | {"needs_review"}
        decided = selection._replace(statuses=selection.statuses or statuses, limit=None)
        if selection.categories or not is_on_category:
            yield from islice(self._store.find(decided), selection.limit)
            return
        gone_categories = [name for name in self._store.stats().by_category if name not in self._labels]
        first = chain.from_iterable(self._store.find(decided._replace(categories=(name,))) for name in gone_categories)
        rest = (ticket for ticket in self._store.find(decided) if ticket.category not in gone_categories)
        yield from islice(chain(first, rest), selection.limit)

    def _claimed_to_ask(
        self, selection: dm.Selection, unasked: list[FlipDecision], asked_rows: dict[str, int]
    ) -> Iterator[Sequence[dm.Ticket]]:
        """Claim and yield the tickets without an answer; the others are added to `unasked`."""
        row = 0
        for chunk in dm.bounded(self._selected(selection)):
            if self._context.budget.stopping or (self._batch_collector is not None and self._batch_collector.troubled):
                return
            rows = {ticket.ticket_id: row + n for n, ticket in enumerate(chunk)}
            row += len(chunk)
            unanswered, may_change = [], [t for t in chunk if self._may_change(t)]
            precedents = {} if self._plan.classify.force else self._recorder.precedents.of(may_change, self._question)
            may_change = [t for t in may_change if t.ticket_id not in precedents]
            stored_answers = self._stored_answers(may_change)
            # A question that is in a batch would be paid for twice.
            unstored = [t for t in may_change if t.ticket_id not in stored_answers]
            waiting = self._recorder.in_batches(unstored, self._question)
            for ticket in chunk:
                ticket_row = rows[ticket.ticket_id]
                if not self._may_change(ticket):
                    unasked.append(FlipDecision(ticket_row, ticket, self._why_unasked(ticket), None))
                elif follows(ticket, precedents):
                    unasked.append(FlipDecision(ticket_row, ticket, dm.Action.LOCKED, None))
                elif ticket.ticket_id in stored_answers:
                    stored = stored_answers[ticket.ticket_id]
                    answer = self._classifier.rejudged(stored, ticket.text)
                    unasked.append(self._flip_decision(ticket_row, ticket, answer)._replace(rejudged=answer != stored))
                elif ticket.ticket_id in waiting:
                    unasked.append(FlipDecision(ticket_row, ticket, dm.Action.WAITING, None))
                else:
                    unanswered.append(ticket)
            yield []  # lets the outcomes in `unasked` be yielded
            unclaimed = iter(unanswered)
            while to_claim := list(islice(unclaimed, self._recorder.next_claim_size())):
                if self._context.budget.stopping:
                    return
                unclaimed_ids = dm.Selection(ids=tuple(t.ticket_id for t in to_claim))
                held = self._context.claim(unclaimed_ids, len(to_claim))
                claimed = {t.ticket_id: t for t in held if self._may_change(t)}
                lost = [ticket for ticket in to_claim if ticket.ticket_id not in claimed]
                unasked += (FlipDecision(rows[t.ticket_id], t, dm.Action.HELD, None) for t in lost)
                asked_rows.update((ticket_id, rows[ticket_id]) for ticket_id in claimed)
                to_ask = (claimed[t.ticket_id] for t in to_claim if t.ticket_id in claimed)
                yield [ticket._replace(asked=(self._question,)) for ticket in to_ask]
        self.completed = True

    def _may_change(self, ticket: dm.Ticket) -> bool:
        given = dm.given_answer(ticket, self._question)
        if self._question == dm.CATEGORY:
            is_decided = given.value is not None or ticket.status == "needs_review"
        else:
            is_decided = given.state in ("answered", "unsure")
        is_forgotten = not ticket.text
        return is_decided and not is_forgotten and (not given.verdict or self._plan.classify.force)

    def _why_unasked(self, ticket: dm.Ticket) -> dm.Action:
        """Return the outcome of a ticket that may not change; a question that is open is for `classify`."""
        if dm.given_answer(ticket, self._question).verdict:
            return dm.Action.LOCKED
        return dm.Action(ticket.status) if self._question == dm.CATEGORY or not ticket.text else dm.Action.UNANSWERED

    def _stored_answers(self, tickets: Sequence[dm.Ticket]) -> dict[str, dm.Classification]:
        """Return the stored answers to the present question: decisions that hold, and proposals."""
        fingerprints = self._fingerprints
        texts = {ticket.ticket_id: ticket.text for ticket in tickets}
        answer_keys = {
            ticket_id: {dm.ids.answer_key(f, text) for f in fingerprints} for ticket_id, text in texts.items()
        }
        decision_ids = [dm.given_answer(ticket, self._question).decision_id for ticket in tickets]
        decisions = self._store.answers.decisions([decision_id for decision_id in decision_ids if decision_id])
        reused_answers: dict[str, dm.Classification] = {}
        for answer in decisions.values():
            if answer.answer_key in answer_keys[answer.ticket_id] and self._is_last(answer, texts[answer.ticket_id]):
                reused_answers[answer.ticket_id] = answer
        undecided_ids = [ticket_id for ticket_id in answer_keys if ticket_id not in reused_answers]
        last_answers: dict[str, dm.Classification] = {}
        for answer in self._store.answers.about(undecided_ids, fingerprints) if undecided_ids else ():
            if answer.answer_key in answer_keys[answer.ticket_id]:
                last_answers[answer.ticket_id] = answer
        return reused_answers | {i: answer for i, answer in last_answers.items() if self._is_last(answer, texts[i])}

    def _is_last(self, answer: dm.Classification, text: str) -> bool:
        """Return whether no further step would be asked after this answer about a text: it is sure, or the last step's.

        An answer whose category is gone (a rename that this configuration is older than) is none.
        """
        if answer.error or answer.question != self._question or answer.category not in (None, *self._labels):
            return False
        return answer.fingerprint == self._fingerprints[-1] or self._classifier.rejudged(answer, text).is_sure

    def _save_proposals(
        self, outcomes: Sequence[dm.Outcome[dm.Answer]], asked_rows: dict[str, int]
    ) -> list[FlipDecision]:
        """Save answers as proposals and free their tickets; a ticket that has changed meanwhile is left alone."""
        self._recorder.record_askings()
        at, changes, proposals = dm.times.now(), [], []
        for outcome in outcomes:
            steps = steps_within(outcome.value, self._labels)
            before, unsaved_steps = self._recorder.without_saved_steps(outcome.ticket, steps)
            ticket = released_with_cost(before, unsaved_steps)
            if outcome.value is not None:
                ticket = ticket._replace(language=outcome.value.language or ticket.language)
            answer = steps[-1] if steps else None
            proposal = self._flip_decision(asked_rows.pop(before.ticket_id), ticket, answer, str(outcome.error or ""))
            proposals.append(proposal)
            event = self._context.event(dm.EventAction.PROPOSED, ticket.ticket_id, self._data(proposal, answer), at)
            changes.append(dm.Change(event, ticket, before.revision, unsaved_steps))
        conflicts = self._context.save(changes)
        late = [c._replace(ticket=None, expected_revision=0) for c, no in zip(changes, conflicts, strict=True) if no]
        self._context.save(late)  # their answers are stored all the same
        return [
            d if no is None else FlipDecision(d.row, no.ticket or d.ticket, dm.Action.HELD, None)
            for d, no in zip(proposals, conflicts, strict=True)
        ]

    def _flip_decision(
        self, row: int, ticket: dm.Ticket, answer: dm.Classification | None, failed: str = ""
    ) -> FlipDecision:
        if failed or answer is None or answer.error:
            problem = failed or (answer.error if answer and answer.error else "no answer")
            error = dm.AnswerError(f"{dm.ids.short(ticket.ticket_id)}: {problem}")
            return FlipDecision(row, ticket, dm.Action.UNANSWERED, answer, error)
        given = dm.given_answer(ticket, self._question)
        holds = answer.classification_id == given.decision_id
        if holds and given.value == (answer.category if answer.is_sure else None):
            return FlipDecision(row, ticket, dm.Action.UNCHANGED, answer)
        least_margin = max(self._hysteresis.get(name, 0.0) for name in (self._classifier.name, answer.classifier))
        action = judge(ticket, answer, self._labels, least_margin, doubted=self._plan.doubted)
        if action == dm.Action.SETTLED and self._recorder.suspicion.found(ticket.text):
            action = dm.Action.UNCHANGED if holds else dm.Action.UNANSWERED
        return FlipDecision(row, ticket, action, answer)

    def apply(self, flip_decisions: Iterable[FlipDecision]) -> list[FlipDecision]:
        """Apply flips in one transaction; tickets that have changed since the comparison are left alone."""
        self._recorder.check.before()
        at, changes, applied = dm.times.now(), [], []
        for flip in flip_decisions:
            answer, ticket_before = flip.now, flip.ticket
            if answer is None:
                raise TypeError(flip)
            if flip.rejudged:
                answer = answer.copy(dm.ids.new_id(), self._context.run.run_id, at)._replace(actor=self._context.actor)
            sure = answer.is_sure and not self._recorder.suspicion.found(ticket_before.text)
            ticket = self._answered(ticket_before, answer, sure=sure)
            is_held = ticket.status == "needs_review" and not sure
            stays = ticket_before.status == "routed" and not is_held and not self._plan.reroute
            waited = ticket_before.status == "needs_review" != ticket.status
            settles = self._plan.reroute and flip.action == dm.Action.SETTLED and waited
            is_sent = settles or (ticket_before.status == "routed" and not stays)
            ticket = ticket._replace(
                status="routed" if stays else ticket.status, run_id=self._context.run.run_id if is_sent else None
            )
            decision = dm.Decision(answer.classification_id, ticket.status)
            if self._question != dm.CATEGORY:
                decision = dm.Decision(None, ticket.status, dm.Standing.FURTHER)
            reclassified_data = self._data(flip, answer) | dm.decision_data(decision)
            event = self._context.event(dm.EventAction.RECLASSIFIED, ticket.ticket_id, reclassified_data, at)
            changes.append(
                dm.Change(event, ticket, ticket_before.revision, (answer,) if flip.rejudged else (), decision)
            )
            action = dm.Action.FLIPPED if flip.action == dm.Action.FLIP else flip.action
            applied.append(flip._replace(action=action, ticket=ticket))
        conflicts = self._context.save(changes)
        self._recorder.check.after()
        return [
            d if no is None else d._replace(action=dm.Action.HELD) for d, no in zip(applied, conflicts, strict=True)
        ]

    def _answered(self, before: dm.Ticket, answer: dm.Classification, *, sure: bool) -> dm.Ticket:
        """Return a ticket with an answer that holds now, and the status that follows; no run holds it."""
        if self._question == dm.CATEGORY:
            after = answered_ticket(before, (answer,), None, self._labels, sure=sure)
        else:
            given = answer_given(dm.given_answer(before, self._question), (answer,), None, self._labels, sure=sure)
            after = dm.with_given(before, {self._question: given})._replace(revision=before.revision + 1, run_id=None)
            after = dm.woken(before, after)
        return dm.settled_by(after, self._recorder.required)

    def _data(self, flip_decision: FlipDecision, answer: dm.Classification | None) -> dict[str, object]:
        return flip_data(flip_decision, answer, self._question)

    def _flip_outcome(self, flip_decision: FlipDecision, ticket_before: dm.Ticket) -> dm.Outcome[dm.Flip]:
        flip = flip_of(flip_decision, ticket_before, self._question)
        return dm.Outcome(flip_decision.row, flip_decision.action, flip, flip_decision.error, ticket_before)
