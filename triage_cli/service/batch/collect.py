"""Collects the answers of ended batches, and hands further tickets to new ones: the batch work of a run."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache

from triage_cli.domain import (
    ERASED,
    Action,
    Answer,
    Batch,
    BatchItem,
    BatchResult,
    Change,
    Classification,
    ConfigError,
    Decided,
    EventAction,
    Outcome,
    Selection,
    Spent,
    Standing,
    Ticket,
    TriageError,
    UnknownOutcomeError,
    chunked,
    decision_data,
    times,
)
from triage_cli.ports import Batcher
from triage_cli.service.answers import EarlierSteps, answers, costs, released_with_cost, steps_within
from triage_cli.service.batch.submit import (
    BatchContext,
    BatchSubmitter,
    copied_answer,
    paid_answer,
    released,
    spooled,
    waits_for,
)
from triage_cli.service.decisions.flips import judge
from triage_cli.service.decisions.recorder import ClassifyRun, DecisionRecorder, answered_by, late
from triage_cli.service.runs import RunRecorder

# Seconds after which a batch that the provider does not know has not arrived.
LOST_AFTER_SECONDS = 600.0


class BatchCollector:
    """The batch work of one run, whose classifier answers what needs no provider, and postpones the rest.

    With `proposals`, tickets do not wait, and their answers are stored as proposals. An error that ends the run is
    raised at the end, by `raise_trouble`; the work of other classifiers goes on.
    """

    def __init__(self, batch_context: BatchContext, *, proposals: bool) -> None:
        self._batch_context = batch_context
        self._proposals = proposals
        self._submitters: dict[str, BatchSubmitter] = {}
        self._errors_by_classifier: dict[str, TriageError] = {}

    def raise_trouble(self) -> None:
        """Raise the first error of a classifier's batches, if there is one."""
        for error in self._errors_by_classifier.values():
            raise error

    def classified(self, selection: Selection, run: ClassifyRun, recorder: RunRecorder) -> Iterator[Outcome[Decided]]:
        """Collect all ended batches, whatever is selected, then put the selected tickets into batches."""
        selected = selection.ids and set(selection.ids)
        row = 0
        for outcomes in self.collect():
            recorder.add(outcomes)
            selected_outcomes = [o for o in outcomes if selected is None or o.ticket.ticket_id in selected]
            yield from (o._replace(row=row + n) for n, o in enumerate(selected_outcomes))
            row += len(selected_outcomes)
        yield from run.decided(selection, self.submit, row)

    def collect(self) -> Iterator[list[Outcome[Decided]]]:
        """Settle the batches that have ended; tickets without an answer return to their earlier status."""
        for batch in self._batch_context.run.store.batches.hold(self._batch_context.run.lease):
            if self._batch_context.run.budget.stopping:
                return
            if batch.classifier in self._errors_by_classifier:
                continue
            try:
                yield from self._collect_batch(batch)
            except TriageError as error:
                self._errors_by_classifier.setdefault(batch.classifier, error)

    def _collect_batch(self, batch: Batch) -> Iterator[list[Outcome[Decided]]]:
        if batch.state == "sending":
            batch = self._find_sent_batch(batch)
        if batch.state == "sending":
            return
        if batch.state != "submitted":
            self._batch_context.give_back(batch, "it was never sent" if batch.state == "gathering" else "it had ended")
            return
        batcher = self._batcher(batch)
        batch_look = batcher.look(batch)
        if batch_look.state == "ended":
            yield from self._fetch_answers(batch, batcher, outage=batch_look.answered == 0)
        elif batch_look.state != "waiting":
            why = "the provider refused it" if batch_look.state == "failed" else "the provider no longer knows it"
            self._batch_context.give_back(batch, why)
            if batch_look.error is not None:
                raise batch_look.error

    def _find_sent_batch(self, batch: Batch) -> Batch:
        """Find out whether a batch arrived whose sending was cut off; it stays `sending` while that is unknown."""
        batch_context = self._batch_context
        try:
            provider_id = self._batcher(batch).find(batch, batch_context.run.store.batches.provider_ids())
        except UnknownOutcomeError:
            return batch
        if provider_id is not None:
            found_batch = batch._replace(state="submitted", provider_id=provider_id)
            found_data = {"batch": batch.batch_id, "classifier": batch.classifier, "requests": batch.requests}
            event = batch_context.run.event(
                EventAction.BATCH_SUBMITTED, None, {**found_data, "provider_batch": provider_id, "found": True}
            )
            return found_batch if batch_context.advance(found_batch, "sending", event) else batch
        if (batch.sent_at or "") < times.ago(LOST_AFTER_SECONDS):
            batch_context.give_back(batch, "it never arrived")
        return batch

    def _batcher(self, batch: Batch) -> Batcher:
        batcher = self._batch_context.batcher(batch.classifier)
        if batcher.address != batch.address:
            raise ConfigError(
                f'a batch of classifier "{batch.classifier}" is at {batch.address}, which is no longer its address',
                hint="give the classifier its base_url back until the batch is collected",
            )
        return batcher

    def _fetch_answers(self, batch: Batch, batcher: Batcher, *, outage: bool) -> Iterator[list[Outcome[Decided]]]:
        batch_context = self._batch_context
        with spooled() as spool:
            batcher.fetch(batch, spool)
            # Fetching may have taken longer than the lease; then the run that took the batch over saves its answers.
            if not batch_context.advance(batch, "submitted", None):
                return
            for results in chunked(batcher.results(batch, spool, outage=outage)):
                for result in results:
                    if result.error is not None and result.error.stops_run:
                        self._errors_by_classifier.setdefault(batch.classifier, result.error)
                yield self._save_answers(batch, batcher, {result.number: result for result in results})
        ended_batch = batch._replace(state="ended", ended_at=times.now(), options=batcher.options)
        event = batch_context.run.event(
            EventAction.BATCH_ENDED, None, {"batch": batch.batch_id, "provider_batch": batch.provider_id}
        )
        batch_context.give_back(ended_batch, "no answer came")
        batch_context.advance(ended_batch, "submitted", event)

    def _save_answers(self, batch: Batch, batcher: Batcher, results: dict[int, BatchResult]) -> list[Outcome[Decided]]:
        """Save the answers of one chunk; a ticket that has changed meanwhile is read and saved again."""
        context = self._batch_context
        answers_by_request: dict[int, Outcome[Answer]] = {}
        outcomes: list[Outcome[Decided]] = []
        while batch_items := context.run.store.batches.items(batch.batch_id, list(results)):
            tickets = context.tickets(batch_items)
            # An erased ticket has no text to judge an answer by: of several with one request, another one has it.
            batch_items.sort(key=lambda item: tickets[item.ticket_id].is_erased)
            changes = [
                self._answer_change(
                    batch, batcher, item, tickets[item.ticket_id], results[item.number], answers_by_request
                )
                for item in batch_items
            ]
            for item, change, accepted in zip(batch_items, changes, context.save(changes), strict=True):
                if accepted and change.decision and change.decision.standing != Standing.NEXT:
                    before = tickets[item.ticket_id]
                    instead = (change.ticket or before) if change.decision.standing == Standing.LATE else None
                    outcomes.append(context.decision_recorder.outcome(change, answered_by(change), instead, before))
        return outcomes

    def _answer_change(
        self,
        batch: Batch,
        batcher: Batcher,
        item: BatchItem,
        ticket: Ticket,
        batch_result: BatchResult,
        answers_by_request: dict[int, Outcome[Answer]],
    ) -> Change:
        batch_context = self._batch_context
        if batch_result.again:
            return batch_context.returned(batch, item, ticket, "it was not answered")
        if item.number not in answers_by_request:
            answers_by_request[item.number] = batcher.answer(ticket, item, batch, batch_result)
        outcome = copied_answer(answers_by_request[item.number], ticket)
        if ticket.is_erased:
            cost = costs(outcome.value.steps if outcome.value else ())
            return batch_context.returned(batch, item, ticket, ERASED[ticket.status], cost)
        if not item.was:
            return self._proposed(batch, item, ticket, outcome)
        change = batch_context.decision_recorder.change(ticket._replace(status=item.was), (outcome,), times.now())
        answer_cost = costs(step for step in change.adds if isinstance(step, Classification))
        adds = (*change.adds, item._replace(state="answered", reserved=0.0), paid_answer(batch, item, answer_cost))
        change = change._replace(event=change.event.with_data(batch=batch.batch_id), adds=adds)
        if not waits_for(ticket, item, batch):
            return late(change)._replace(ticket=released(ticket, item, batch), expected_revision=ticket.revision)
        is_unsure = change.ticket is not None and change.ticket.status == "needs_review" and outcome.error is None
        if is_unsure and batcher.has_next and item.was in ("new", "failed"):
            return _for_the_next_step(change)
        return change

    def _proposed(self, batch: Batch, batch_item: BatchItem, ticket: Ticket, outcome: Outcome[Answer]) -> Change:
        """Return the change that stores an answer as a proposal: the ticket stays as it is, with the cost added."""
        batch_context = self._batch_context
        labels = batch_context.decision_recorder.labels
        steps = steps_within(outcome.value, labels)
        proposal = steps[-1]
        proposal_data = {
            "classifier": proposal.classifier,
            "category": proposal.category,
            "confidence": proposal.confidence,
            "was": ticket.category,
            "threshold": proposal.threshold,
            "decision": proposal.classification_id,
            "batch": batch.batch_id,
            "outcome": (Action.UNANSWERED if proposal.error else judge(ticket, proposal, labels, 0.0)).value,
        }
        spent = paid_answer(batch, batch_item, costs(steps))
        adds: tuple[Classification | BatchItem | Spent, ...]
        adds = (*steps, batch_item._replace(state="answered", reserved=0.0), spent)
        return Change(
            batch_context.run.event(EventAction.PROPOSED, ticket.ticket_id, proposal_data),
            released_with_cost(ticket, steps),
            ticket.revision,
            adds,
        )

    def submit(self, chunks: Iterable[Sequence[Ticket]]) -> Iterator[list[Outcome[Decided]]]:
        """Answer what needs no provider, and put the rest into batches; an outcome's `item` is the ticket."""
        recorder, run = self._batch_context.decision_recorder, self._batch_context.run
        checked_chunks = recorder.check.over(self._until_troubled(chunks))
        for arrived in answers(recorder.classifier, checked_chunks, run.budget, recorder.save_steps, recorder.known):
            run.heartbeat()
            yield recorder.save(arrived.final) if arrived.final else []
            yield from self.postpone(arrived.postponed)
            if arrived.final or arrived.postponed:
                recorder.check.after()
        yield from self.send()

    def _until_troubled(self, chunks: Iterable[Sequence[Ticket]]) -> Iterator[Sequence[Ticket]]:
        for chunk in chunks:
            yield chunk
            if self.troubled:
                return

    @property
    def troubled(self) -> bool:
        """Return whether an error keeps further tickets from being submitted."""
        return any(submitter.trouble for submitter in self._submitters.values())

    def postpone(self, postponed: Mapping[str, Sequence[EarlierSteps]]) -> Iterator[list[Outcome[Decided]]]:
        """Put the tickets that classifiers postponed into batches; sends full batches and yields their tickets."""
        for classifier_name in postponed.keys() - self._errors_by_classifier.keys():
            if classifier_name not in self._submitters:
                self._batch_context.decision_recorder.record_questions()
                self._submitters[classifier_name] = BatchSubmitter(
                    self._batch_context, self._batch_context.batcher(classifier_name), proposals=self._proposals
                )
            yield from self._submitters[classifier_name].add(postponed[classifier_name])

    def send(self) -> Iterator[list[Outcome[Decided]]]:
        """Send the batches that the submitters are gathering."""
        for classifier_name, submitter in self._submitters.items():
            yield from submitter.send()
            if submitter.trouble is not None:
                self._errors_by_classifier.setdefault(classifier_name, submitter.trouble)


def open_batch_collector(
    open_batcher: Callable[[str], Batcher], decision_recorder: DecisionRecorder, *, proposals: bool
) -> BatchCollector:
    """Return the batch work of one run; the batches that `open_batcher` opens renew the run's lease."""

    @cache
    def batcher(classifier_name: str) -> Batcher:
        batcher = open_batcher(classifier_name)
        batcher.heartbeat = decision_recorder.context.heartbeat
        return batcher

    return BatchCollector(BatchContext(decision_recorder, batcher), proposals=proposals)


def _for_the_next_step(change: Change) -> Change:
    """Return the change for an unsure answer if a cascade has another step: the ticket is `new` for that step."""
    if change.ticket is None or change.decision is None:
        raise TypeError(change)
    ticket = change.ticket._replace(
        status="new", suggestion=None, confidence=None, confidence_source=None, reason=None, decision_id=None
    )
    decision = change.decision._replace(status="new", standing=Standing.NEXT)
    return change._replace(ticket=ticket, event=change.event.with_data(**decision_data(decision)), decision=decision)
