"""The batch work of a run: collects the answers of ended batches, and submits further tickets to new ones.

Tickets are recorded as waiting before anything is sent to the provider.
"""

import json
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import IO, NamedTuple, TypeGuard, cast

from triage_cli import domain as dm
from triage_cli.ports import Batcher
from triage_cli.service.answers import (
    EarlierSteps,
    answers,
    costs,
    question_of,
    released_with_cost,
    steps_within,
    with_cost,
)
from triage_cli.service.decisions.flips import FlipDecision, flip_data, judge
from triage_cli.service.decisions.recorder import ClassifyRun, DecisionRecorder, answered_by, late, texts_of, unasked
from triage_cli.service.runs import RunContext, RunRecorder

IN_MEMORY = 1 << 24  # bytes of requests or answers that are kept in memory; more go to an unnamed file


class BatchContext(NamedTuple):
    """What collecting and submitting share; `batcher` opens the batches of a classifier, by its name."""

    decision_recorder: DecisionRecorder
    batcher: Callable[[str], Batcher]

    @property
    def run(self) -> RunContext:
        """Return the run in which batches are sent and collected."""
        return self.decision_recorder.context

    def save(self, changes: Sequence[dm.Change]) -> list[bool]:
        """Save changes, and what was spent so far; return which changes were accepted.

        A cost is booked on the run that set the money aside, even if that run has ended; this run's own on its budget.
        """
        booked_elsewhere = [c._replace(adds=tuple(a for a in c.adds if not self._is_of_this_run(a))) for c in changes]
        accepted = [conflict is None for conflict in self.run.save(booked_elsewhere)]
        for change, is_accepted in zip(changes, accepted, strict=True):
            for spent in filter(self._is_of_this_run, change.adds if is_accepted else ()):
                self.run.budget.book(spent.usd - spent.released)
        return accepted

    def advance(self, batch: dm.Batch, before: str, event: dm.Event | None) -> bool:
        """Save a batch that was in the state `before`; return False if another run has taken it over."""
        return self.run.store.batches.advance(batch, before, event, self.run.lease)

    def _is_of_this_run(self, add: object) -> TypeGuard[dm.Spent]:
        return isinstance(add, dm.Spent) and add.run_id == self.run.lease.run_id

    def give_back(self, batch: dm.Batch, why: str) -> None:
        """Return the waiting tickets of a batch to their earlier status, and the money that was set aside."""
        while batch_items := self.run.store.batches.items(batch.batch_id, limit=dm.CHUNK):
            tickets = self.tickets(batch_items)
            self.save([self.returned(batch, item, tickets[item.ticket_id], why) for item in batch_items])
        if batch.state not in ("ended", "returned"):
            returned_batch = batch._replace(state="returned", ended_at=dm.times.now(), error=why)
            event = self.run.event(dm.EventAction.BATCH_RETURNED, None, {"batch": batch.batch_id, "why": why})
            self.advance(returned_batch, batch.state, event)

    def returned(
        self, batch: dm.Batch, batch_item: dm.BatchItem, ticket: dm.Ticket, why: str, cost: float = 0.0
    ) -> dm.Change:
        """Return the change that ends a ticket's waiting without an answer, or without one that may be kept."""
        adds = (batch_item._replace(state="returned", reserved=0.0), paid_answer(batch, batch_item, cost))
        event = self.run.event(dm.EventAction.RETURNED, ticket.ticket_id, {"batch": batch.batch_id, "why": why})
        return dm.Change(event, released(ticket, batch_item, batch), ticket.revision, adds)

    def tickets(self, batch_items: Sequence[dm.BatchItem]) -> dict[str, dm.Ticket]:
        """Return the tickets of batch items as they are now, by id."""
        waiting_ids = tuple(batch_item.ticket_id for batch_item in batch_items)
        return {ticket.ticket_id: ticket for ticket in self.run.store.find(dm.Selection(ids=waiting_ids))}


def answered(
    batch: dm.Batch, batch_item: dm.BatchItem, steps: tuple[dm.Classification, ...]
) -> tuple[dm.Classification | dm.BatchItem | dm.Spent, ...]:
    """Return what is stored of an answer of a batch: its steps, that nobody waits for it, and what it has cost."""
    return (*steps, batch_item._replace(state="answered", reserved=0.0), paid_answer(batch, batch_item, costs(steps)))


def paid_answer(batch: dm.Batch, batch_item: dm.BatchItem, cost: float) -> dm.Spent:
    """Return what an answer of a batch cost, in USD, to be booked instead of what was set aside for it."""
    return dm.Spent(batch.paid_by, cost, batch_item.reserved, batch.opened_at)


def waits_for(ticket: dm.Ticket, batch_item: dm.BatchItem, batch: dm.Batch) -> bool:
    """Return whether a ticket still waits for this answer: it has no verdict and no other text since.

    One that is not asked for its category goes on meanwhile.
    """
    first = batch_item.questions[0]
    fingerprint = batch.fingerprint if first == dm.CATEGORY else json.loads(batch.questions)[first]["fingerprint"]
    waits = ticket.status == "waiting" if dm.CATEGORY in batch_item.questions else not ticket.is_erased
    return batch_item.was != "" and waits and dm.ids.answer_key(fingerprint, ticket.text) == batch_item.answer_key


def released(ticket: dm.Ticket, batch_item: dm.BatchItem, batch: dm.Batch) -> dm.Ticket | None:
    """Return a ticket that waited, with its earlier status; None if it does not wait for this answer.

    A ticket with a verdict is released even if its text has changed: with `force`, it waits too.
    """
    if dm.CATEGORY not in batch_item.questions:
        return None
    if waits_for(ticket, batch_item, batch) or (batch_item.was and ticket.status == "waiting" and ticket.verdict):
        return ticket._replace(status=batch_item.was, revision=ticket.revision + 1, run_id=None)
    return None


def spooled() -> IO[bytes]:
    """Return an unnamed file, in memory while it is small; it vanishes with the process."""
    return cast(IO[bytes], tempfile.SpooledTemporaryFile(IN_MEMORY))


def copied_answer(outcome: dm.Outcome[dm.Answer], ticket: dm.Ticket) -> dm.Outcome[dm.Answer]:
    """Return an answer for another ticket with the same text; the copy costs nothing."""
    if outcome.value is None or outcome.value.ticket.ticket_id == ticket.ticket_id:
        return outcome._replace(item=ticket)
    copied_steps = tuple(
        step.copy(dm.ids.new_id(), step.run_id, step.at)._replace(ticket_id=ticket.ticket_id)
        for step in outcome.value.steps
    )
    return outcome._replace(value=outcome.value._replace(ticket=ticket, steps=copied_steps), item=ticket)


# For how many tickets money is set aside before their requests are recorded: that of a killed run counts for a day.
AHEAD = 100


class BatchSubmitter:
    """Gathers and sends the requests of one classifier; `trouble` is the error that keeps more from being gathered."""

    def __init__(self, context: BatchContext, batcher: Batcher, *, proposals: bool) -> None:
        self.trouble: dm.TriageError | None = None
        self._context = context
        self._batcher = batcher
        self._proposals = proposals
        self._batch: dm.Batch | None = None
        self._spool: IO[bytes] | None = None
        self._size = self._number = 0
        self._sent: list[str] = []  # the ids of tickets whose batch is being gathered
        self._beside: set[str] = set()  # of these, the ones that do not wait, since their category is not asked
        self._decided: dict[str, dm.Outcome[dm.Decided]] = {}  # outcomes of tickets whose category is decided already
        self._changes: list[dm.Change] = []
        self._requests: dict[int, dm.BatchRequest] = {}  # by number, of the changes that are not saved yet
        self._tickets_ahead = 0  # tickets of the chunk that are not processed yet
        # USD set aside and not settled yet, the number of sums, and USD of it that no request needs yet.
        self._set_aside_usd, self._set_aside_count, self._free_usd = 0.0, 0, 0.0
        if options := context.run.store.batches.options(batcher.fingerprint):
            batcher.remember(options)

    def add(self, postponed: Sequence[EarlierSteps]) -> Iterator[list[dm.Outcome[dm.Decided]]]:
        """Put tickets into batches; a full batch is sent. After an error nothing is added."""
        yield [unasked(each.ticket, dm.Action.WAITING) for each in postponed if each.ticket.status == "waiting"]
        to_ask = list(self._asked_together(each for each in postponed if each.ticket.status != "waiting"))
        key_of = {
            ticket.ticket_id: dm.ids.answer_key(self._batcher.fingerprint_of(ticket.asked[0]), ticket.text)
            for ticket, _ in to_ask
        }
        requests = dict(self._context.run.store.batches.joinable(list(key_of.values())))
        for place, (ticket, steps) in enumerate(to_ask):
            self._tickets_ahead = min(len(to_ask) - place, AHEAD - len(self._changes))
            answer_key = key_of[ticket.ticket_id]
            open_request, request = requests.get(answer_key), None
            if open_request and ticket.ticket_id in open_request.ticket_ids:
                yield [unasked(ticket, dm.Action.WAITING)]
                continue
            if open_request is None:
                request = yield from self._request_with_room(ticket)
                if request is None or self._batch is None:
                    break
                open_request = dm.OpenRequest(self._batch.batch_id, self._number, ticket.asked, {ticket.ticket_id})
                requests[answer_key] = open_request
                self._requests[self._number] = request
                self._number += 1
                self._size += len(request.line)
            batch_item = dm.BatchItem(
                batch_id=open_request.batch_id,
                ticket_id=ticket.ticket_id,
                number=open_request.number,
                answer_key=answer_key,
                was="" if self._proposals else ticket.status,
                reserved=request.worst if request else 0.0,
                redacted=request.redacted if request else None,
                asked=dm.compact([name for name in ticket.asked if name in open_request.questions]),
            )
            self._changes.append(self._waiting_change(ticket, batch_item, steps))
            if len(self._changes) == AHEAD:
                yield self._save_waiting()
        yield self._save_waiting()

    def _asked_together(
        self, postponed: Iterable[EarlierSteps]
    ) -> Iterator[tuple[dm.Ticket, tuple[dm.Classification, ...]]]:
        """Yield tickets with all that is asked about each, as earlier saves of the run left them, and their answers."""
        recorder = self._context.decision_recorder
        for ticket_id, parts in dm.grouped(postponed, lambda each: each.ticket.ticket_id).items():
            ticket, steps = parts[0].ticket, tuple([step for part in parts for step in part.steps])
            if (decided := recorder.decided_before(ticket)) is not None:
                self._decided[ticket_id] = decided
            before, unsaved_steps = recorder.without_saved_steps(ticket, steps)
            names = {part.question for part in parts}
            yield before._replace(asked=tuple(name for name in ticket.asked if name in names)), unsaved_steps

    def _request_with_room(
        self, ticket: dm.Ticket
    ) -> Generator[list[dm.Outcome[dm.Decided]], None, dm.BatchRequest | None]:
        """Return a ticket's request for a batch with room for it, with its money set aside; None if that fails."""
        batcher = self._batcher
        while self.trouble is None and not self._context.run.budget.stopping:
            batch = self._batch or self._new_batch()
            request = batcher.request(ticket, batch.batch_id, self._number)
            is_full = self._number == batcher.most_requests or self._size + len(request.line) > batcher.most_bytes
            if is_full and self._number:
                yield self._save_waiting()
                yield from self.send()
                continue
            try:
                self._set_aside(request.worst)
            except dm.BudgetError as error:
                self.trouble = error
            else:
                return request
        return None

    def _set_aside(self, worst: float) -> None:
        """Set aside what a request may cost, and as much for each ticket ahead, so that one write serves many.

        Raises `BudgetError` if the budget does not allow this request.
        """
        if worst > self._free_usd:
            amounts = [worst - self._free_usd, *[worst] * (self._tickets_ahead - 1)]
            granted = amounts[: self._context.run.budget.set_aside(amounts)]
            if not granted:
                raise self._context.run.budget.exceeded(worst)
            self._set_aside_usd += sum(granted)
            self._free_usd += sum(granted)
            self._set_aside_count += len(granted)
        self._free_usd -= worst

    def _new_batch(self) -> dm.Batch:
        batcher, run_id = self._batcher, self._context.run.lease.run_id
        batch = self._batch = dm.Batch(
            batch_id=dm.ids.new_id(),
            classifier=batcher.name,
            address=batcher.address,
            fingerprint=batcher.fingerprint,
            labels=json.dumps(batcher.labels, ensure_ascii=False),
            options=batcher.options,
            paid_by=run_id,
            opened_at=dm.times.now(),
            run_id=run_id,
            questions=batcher.questions,
        )
        self._spool = spooled()
        self._size = self._number = 0
        opened_data = {"batch": batch.batch_id, "classifier": batcher.name}
        event = self._context.run.event(dm.EventAction.BATCH_OPENED, None, opened_data)
        self._context.run.store.batches.open(batch, event)
        return batch

    def _waiting_change(
        self, ticket: dm.Ticket, batch_item: dm.BatchItem, steps: Sequence[dm.Classification]
    ) -> dm.Change:
        submitted_data = {"classifier": self._batcher.name, "batch": batch_item.batch_id, "request": batch_item.number}
        submitted_data |= {"sent": {self._batcher.address: texts_of(ticket)}}
        event = self._context.run.event(dm.EventAction.SUBMITTED, ticket.ticket_id, submitted_data)
        status = ticket.status if self._proposals or dm.CATEGORY not in batch_item.questions else "waiting"
        waiting_ticket = ticket._replace(status=status, revision=ticket.revision + 1, run_id=None)
        return dm.Change(event, waiting_ticket, ticket.revision, (*steps, batch_item))

    def _save_waiting(self) -> list[dm.Outcome[dm.Decided]]:
        """Save the waiting tickets, then write their requests; a ticket that has changed meanwhile gets no request."""
        changes, requests = self._changes, self._requests
        self._changes, self._requests = [], {}
        held, sent_worst = [], 0.0
        for change, accepted in zip(changes, self._context.save(changes), strict=True):
            batch_item = change.adds[-1]
            if change.ticket is None or not isinstance(batch_item, dm.BatchItem):
                raise TypeError(change)
            decided = self._decided.pop(batch_item.ticket_id, None)
            if not accepted:
                held.append(decided or unasked(change.ticket, dm.Action.HELD))
                continue
            if decided is not None:
                held.append(decided)
            else:
                self._sent.append(batch_item.ticket_id)
            if dm.CATEGORY not in batch_item.questions:
                self._beside.add(batch_item.ticket_id)
            is_of_this_batch = self._batch is not None and batch_item.batch_id == self._batch.batch_id
            if is_of_this_batch and self._spool and (request := requests.pop(batch_item.number, None)):
                self._spool.write(request.line)
                sent_worst += request.worst
        self._context.run.budget.settle(self._set_aside_usd, sent_worst, self._set_aside_count)
        self._set_aside_usd, self._set_aside_count, self._free_usd = 0.0, 0, 0.0
        return held

    def send(self) -> Iterator[list[dm.Outcome[dm.Decided]]]:
        """Send the batch and yield the tickets that now wait; tickets that the provider did not accept are returned."""
        batch, sent, spool = self._batch, self._sent, self._spool
        self._batch, self._sent, self._spool = None, [], None
        if batch is not None and spool is not None:
            with spool:
                trouble = self._send_batch(batch, spool)
            self.trouble = trouble or self.trouble
            if trouble is not None and not isinstance(trouble, dm.UnknownOutcomeError):
                return
        for chunk in dm.chunked(sent):
            tickets = list(self._context.run.store.find(dm.Selection(ids=tuple(chunk))))
            yield [
                dm.Outcome(None, dm.Action.WAITING, dm.Decided(ticket, None, asked=True), None, ticket)
                for ticket in tickets
                if self._proposals or ticket.status == "waiting" or ticket.ticket_id in self._beside
            ]

    def _send_batch(self, batch: dm.Batch, spool: IO[bytes]) -> dm.TriageError | None:
        context = self._context
        if context.run.budget.stopping or not spool.tell():
            context.give_back(batch, "the run was stopped before it was sent" if spool.tell() else "it is empty")
            return None
        data = {"batch": batch.batch_id, "classifier": batch.classifier, "requests": self._number}
        sending_batch = batch._replace(state="sending", requests=self._number)

        def mark_as_sent() -> bool:
            nonlocal sending_batch
            sending_batch = sending_batch._replace(sent_at=dm.times.now())
            return context.advance(sending_batch, "gathering", context.run.event(dm.EventAction.BATCH_SENT, None, data))

        try:
            provider_id = self._batcher.submit(batch, spool, mark_as_sent)
        except dm.UnknownOutcomeError as error:
            return error
        except dm.TriageError as error:
            context.give_back(sending_batch if sending_batch.sent_at else batch, f"it was not taken: {error.code}")
            return error
        submitted_batch = sending_batch._replace(state="submitted", provider_id=provider_id)
        event = context.run.event(dm.EventAction.BATCH_SUBMITTED, None, {**data, "provider_batch": provider_id})
        context.advance(submitted_batch, "sending", event)
        return None


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
        self._errors_by_classifier: dict[str, dm.TriageError] = {}

    def raise_trouble(self) -> None:
        """Raise the first error of a classifier's batches, if there is one."""
        for error in self._errors_by_classifier.values():
            raise error

    def classified(
        self, selection: dm.Selection, run: ClassifyRun, recorder: RunRecorder
    ) -> Iterator[dm.Outcome[dm.Decided]]:
        """Collect all ended batches, whatever is selected, then put the selected tickets into batches."""
        selected = selection.ids and set(selection.ids)
        row = 0
        for outcomes in self.collect():
            recorder.add(outcomes)
            selected_outcomes = [o for o in outcomes if selected is None or o.ticket.ticket_id in selected]
            yield from (o._replace(row=row + n) for n, o in enumerate(selected_outcomes))
            row += len(selected_outcomes)
        yield from run.decided(selection, self.submit, row)

    def collect(self) -> Iterator[list[dm.Outcome[dm.Decided]]]:
        """Settle the batches that have ended; tickets without an answer return to their earlier status."""
        for batch in self._batch_context.run.store.batches.hold(self._batch_context.run.lease):
            if self._batch_context.run.budget.stopping:
                return
            if batch.classifier in self._errors_by_classifier:
                continue
            try:
                yield from self._collect_batch(batch)
            except dm.TriageError as error:
                self._errors_by_classifier.setdefault(batch.classifier, error)

    def _collect_batch(self, batch: dm.Batch) -> Iterator[list[dm.Outcome[dm.Decided]]]:
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

    def _find_sent_batch(self, batch: dm.Batch) -> dm.Batch:
        """Find out whether a batch arrived whose sending was cut off; it stays `sending` while that is unknown."""
        batch_context = self._batch_context
        try:
            provider_id = self._batcher(batch).find(batch, batch_context.run.store.batches.provider_ids())
        except dm.UnknownOutcomeError:
            return batch
        if provider_id is not None:
            found_batch = batch._replace(state="submitted", provider_id=provider_id)
            found_data = {"batch": batch.batch_id, "classifier": batch.classifier, "requests": batch.requests}
            event = batch_context.run.event(
                dm.EventAction.BATCH_SUBMITTED, None, {**found_data, "provider_batch": provider_id, "found": True}
            )
            return found_batch if batch_context.advance(found_batch, "sending", event) else batch
        if (batch.sent_at or "") < dm.times.ago(LOST_AFTER_SECONDS):
            batch_context.give_back(batch, "it never arrived")
        return batch

    def _batcher(self, batch: dm.Batch) -> Batcher:
        batcher = self._batch_context.batcher(batch.classifier)
        if batcher.address != batch.address:
            raise dm.ConfigError(
                f'a batch of classifier "{batch.classifier}" is at {batch.address}, which is no longer its address',
                hint="give the classifier its base_url back until the batch is collected",
            )
        return batcher

    def _fetch_answers(
        self, batch: dm.Batch, batcher: Batcher, *, outage: bool
    ) -> Iterator[list[dm.Outcome[dm.Decided]]]:
        batch_context = self._batch_context
        with spooled() as spool:
            batcher.fetch(batch, spool)
            # Fetching may have taken longer than the lease; then the run that took the batch over saves its answers.
            if not batch_context.advance(batch, "submitted", None):
                return
            for results in dm.chunked(batcher.results(batch, spool, outage=outage)):
                for result in results:
                    if result.error is not None and result.error.stops_run:
                        self._errors_by_classifier.setdefault(batch.classifier, result.error)
                yield self._save_answers(batch, batcher, {result.number: result for result in results})
        ended_batch = batch._replace(state="ended", ended_at=dm.times.now(), options=batcher.options)
        event = batch_context.run.event(
            dm.EventAction.BATCH_ENDED, None, {"batch": batch.batch_id, "provider_batch": batch.provider_id}
        )
        batch_context.give_back(ended_batch, "no answer came")
        batch_context.advance(ended_batch, "submitted", event)

    def _save_answers(
        self, batch: dm.Batch, batcher: Batcher, results: dict[int, dm.BatchResult]
    ) -> list[dm.Outcome[dm.Decided]]:
        """Save the answers of one chunk; a ticket that has changed meanwhile is read and saved again."""
        context = self._batch_context
        answers_by_request: dict[int, list[dm.Outcome[dm.Answer]]] = {}
        outcomes: list[dm.Outcome[dm.Decided]] = []
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
                if accepted and change.decision and change.decision.standing != dm.Standing.NEXT:
                    before = tickets[item.ticket_id]
                    instead = (change.ticket or before) if change.decision.standing == dm.Standing.LATE else None
                    outcomes.append(context.decision_recorder.outcome(change, answered_by(change), instead, before))
        return outcomes

    def _answer_change(
        self,
        batch: dm.Batch,
        batcher: Batcher,
        item: dm.BatchItem,
        ticket: dm.Ticket,
        batch_result: dm.BatchResult,
        answers_by_request: dict[int, list[dm.Outcome[dm.Answer]]],
    ) -> dm.Change:
        batch_context = self._batch_context
        if batch_result.again:
            return batch_context.returned(batch, item, ticket, "it was not answered")
        if item.number not in answers_by_request:
            answers_by_request[item.number] = batcher.answers(ticket, item, batch, batch_result)
        outcomes = [
            copied_answer(outcome, ticket)
            for outcome in answers_by_request[item.number]
            if question_of(outcome) in item.questions
        ]
        if not outcomes:
            return batch_context.returned(batch, item, ticket, "nobody asks it any more", item.reserved)
        if ticket.is_erased:
            cost = sum(costs(outcome.value.steps) for outcome in outcomes if outcome.value)
            return batch_context.returned(batch, item, ticket, dm.ERASED[ticket.status], cost)
        if not item.was:
            return self._proposed(batch, item, ticket, outcomes[0])
        return self._deciding_change(batch, batcher, item, ticket, outcomes)

    def _deciding_change(
        self,
        batch: dm.Batch,
        batcher: Batcher,
        item: dm.BatchItem,
        ticket: dm.Ticket,
        outcomes: Sequence[dm.Outcome[dm.Answer]],
    ) -> dm.Change:
        """Return the change that records answers, and what they make of a ticket that may have changed meanwhile.

        One that a person has given since, or that is for the next step of a cascade, is stored and decides nothing.
        """
        aside = [o for o in outcomes if question_of(o) != dm.CATEGORY and self._is_aside(o, ticket, batcher)]
        effective = [outcome for outcome in outcomes if outcome not in aside]
        aside_steps = tuple([step for outcome in aside if outcome.value for step in outcome.value.steps])
        if effective:
            before = ticket._replace(status=item.was) if dm.CATEGORY in item.questions else ticket
            change = self._batch_context.decision_recorder.change(before, effective, dm.times.now())
        else:
            change = self._batch_context.returned(batch, item, ticket, "another one decides")
            change = change._replace(ticket=ticket._replace(revision=ticket.revision + 1, run_id=None), adds=())
        if change.ticket is not None and aside_steps:
            change = change._replace(ticket=with_cost(change.ticket, aside_steps))
        steps: tuple[dm.Classification, ...] = (
            *(a for a in change.adds if isinstance(a, dm.Classification)),
            *aside_steps,
        )
        event = change.event.with_data(batch=batch.batch_id)
        change = change._replace(event=event, adds=answered(batch, item, steps))
        if effective and not waits_for(ticket, item, batch):
            return late(change)._replace(ticket=released(ticket, item, batch), expected_revision=ticket.revision)
        has_next = batcher.has_next and dm.CATEGORY in item.questions and item.was in ("new", "failed")
        is_open = change.ticket is not None and change.ticket.status == "needs_review" and not change.ticket.category
        return _for_the_next_step(change) if has_next and is_open and effective[0].error is None else change

    def _is_aside(self, outcome: dm.Outcome[dm.Answer], ticket: dm.Ticket, batcher: Batcher) -> bool:
        is_unsure = outcome.error is None and outcome.value is not None and not outcome.value.sure
        return dm.given_answer(ticket, question_of(outcome)).verdict or (is_unsure and batcher.has_next)

    def _proposed(
        self, batch: dm.Batch, batch_item: dm.BatchItem, ticket: dm.Ticket, outcome: dm.Outcome[dm.Answer]
    ) -> dm.Change:
        """Return the change that stores an answer as a proposal: the ticket stays as it is, with the cost added."""
        question = question_of(outcome)
        labels = self._batch_context.decision_recorder.labels_of(question)
        steps = steps_within(outcome.value, labels)
        proposal = steps[-1]
        action = dm.Action.UNANSWERED if proposal.error else judge(ticket, proposal, labels, 0.0)
        proposal_data = flip_data(FlipDecision(0, ticket, action, proposal), proposal, question)
        proposal_data["batch"] = batch.batch_id
        event = self._batch_context.run.event(dm.EventAction.PROPOSED, ticket.ticket_id, proposal_data)
        adds = answered(batch, batch_item, steps)
        return dm.Change(event, released_with_cost(ticket, steps), ticket.revision, adds)

    def submit(self, chunks: Iterable[Sequence[dm.Ticket]]) -> Iterator[list[dm.Outcome[dm.Decided]]]:
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

    def _until_troubled(self, chunks: Iterable[Sequence[dm.Ticket]]) -> Iterator[Sequence[dm.Ticket]]:
        for chunk in chunks:
            yield chunk
            if self.troubled:
                return

    @property
    def troubled(self) -> bool:
        """Return whether an error keeps further tickets from being submitted."""
        return any(submitter.trouble for submitter in self._submitters.values())

    def postpone(self, postponed: Mapping[str, Sequence[EarlierSteps]]) -> Iterator[list[dm.Outcome[dm.Decided]]]:
        """Put the tickets that classifiers postponed into batches; sends full batches and yields their tickets."""
        for classifier_name in postponed.keys() - self._errors_by_classifier.keys():
            if classifier_name not in self._submitters:
                self._batch_context.decision_recorder.record_askings()
                self._submitters[classifier_name] = BatchSubmitter(
                    self._batch_context, self._batch_context.batcher(classifier_name), proposals=self._proposals
                )
            yield from self._submitters[classifier_name].add(postponed[classifier_name])

    def send(self) -> Iterator[list[dm.Outcome[dm.Decided]]]:
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


def _for_the_next_step(change: dm.Change) -> dm.Change:
    """Return the change for an unsure answer if a cascade has another step: the ticket is `new` for that step."""
    if change.ticket is None or change.decision is None:
        raise TypeError(change)
    ticket = change.ticket._replace(
        status="new", suggestion=None, confidence=None, confidence_source=None, reason=None, decision_id=None
    )
    decision = change.decision._replace(status="new", standing=dm.Standing.NEXT)
    return change._replace(ticket=ticket, event=change.event.with_data(**dm.decision_data(decision)), decision=decision)
