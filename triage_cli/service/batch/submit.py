"""Tickets into a provider's batch: they wait in our record before the provider is told of anything."""

import json
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import IO, NamedTuple, cast

from triage_cli.domain import ids
from triage_cli.domain.audit import Event
from triage_cli.domain.batches import Batch, BatchItem, BatchRequest
from triage_cli.domain.changes import Change, Spent
from triage_cli.domain.decisions import Answer, Decided
from triage_cli.domain.errors import BudgetError, TriageError, UnknownOutcomeError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.streams import CHUNK, chunked
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.ports.adapters import Batcher
from triage_cli.service.classification.decisions import DecisionRecorder, texts_of
from triage_cli.service.run_context import RunContext

IN_MEMORY = 1 << 24  # bytes of requests, before they go to an unnamed file


class BatchContext(NamedTuple):
    """What the two ways of a batch share: `batcher` opens the one of a classifier."""

    run: RunContext
    deciding: DecisionRecorder
    batcher: Callable[[str], Batcher]

    def save(self, changes: Sequence[Change]) -> list[bool]:
        """Save, with what was spent so far; return which changes were accepted.

        Money goes to the run that had set it aside, also where that ended long ago; this run's own is its budget's.
        """
        others = [c._replace(adds=tuple(a for a in c.adds if not self._mine(a))) for c in changes]
        accepted = [conflict is None for conflict in self.run.save(others)]
        for change, kept in zip(changes, accepted, strict=True):
            for add in [add for add in change.adds if isinstance(add, Spent) and self._mine(add)] if kept else ():
                self.run.budget.book(add.usd - add.released)
        return accepted

    def advance(self, batch: Batch, before: str, event: Event | None) -> bool:
        """Save a batch that was in the state `before`; return False where another run has taken it over."""
        return self.run.store.advance_batch(batch, before, event, self.run.lease)

    def _mine(self, add: object) -> bool:
        return isinstance(add, Spent) and add.run_id == self.run.lease.run_id

    def give_back(self, batch: Batch, why: str) -> None:
        """Return every ticket that waits in a batch to where it came from, and the money set aside."""
        while items := self.run.store.batch_items(batch.batch_id, limit=CHUNK):
            tickets = self.tickets(items)
            self.save([self.returned(batch, item, tickets[item.ticket_id], why) for item in items])
        if batch.state not in ("ended", "returned"):
            gone = batch._replace(state="returned", ended_at=ids.now(), error=why)
            event = self.run.event("batch_returned", None, {"batch": batch.batch_id, "why": why})
            self.advance(gone, batch.state, event)

    def returned(self, batch: Batch, item: BatchItem, ticket: Ticket, why: str) -> Change:
        """Return the change that ends a ticket's waiting without an answer."""
        adds = (item._replace(state="returned", reserved=0.0), paid(batch, item, 0.0))
        event = self.run.event("returned", ticket.ticket_id, {"batch": batch.batch_id, "why": why})
        return Change(event, released(ticket, item, batch), ticket.revision, adds)

    def tickets(self, items: Sequence[BatchItem]) -> dict[str, Ticket]:
        """Return the tickets of items as they stand now."""
        return {t.ticket_id: t for t in self.run.store.find(Selection(ids=tuple(item.ticket_id for item in items)))}


def paid(batch: Batch, item: BatchItem, cost: float) -> Spent:
    """Return what an answer cost, in USD, in the place of what was set aside for it as the batch was gathered."""
    return Spent(batch.paid_by, cost, item.reserved, batch.opened_at)


def waits_for(ticket: Ticket, item: BatchItem, batch: Batch) -> bool:
    """Tell whether a ticket still waits for this answer: no verdict and no other text came in between."""
    return (
        item.was != ""
        and ticket.status == "waiting"
        and ids.answer_key(batch.fingerprint, ticket.text) == item.answer_key
    )


def released(ticket: Ticket, item: BatchItem, batch: Batch) -> Ticket | None:
    """Return a ticket as it was before it waited for this answer, or None where it does not wait for it (any more).

    One with a verdict waits, where it was forced to, whatever its text has become.
    """
    if waits_for(ticket, item, batch) or (item.was and ticket.status == "waiting" and ticket.verdict):
        return ticket._replace(status=item.was, revision=ticket.revision + 1, run_id=None)
    return None


class BatchSubmitter:
    """One classifier's requests on their way; `trouble` is what keeps more from being gathered."""

    def __init__(self, context: BatchContext, batcher: Batcher, *, proposals: bool = False) -> None:
        self.trouble: TriageError | None = None
        self._context = context
        self._batcher = batcher
        self._proposals = proposals
        self._batch: Batch | None = None
        self._spool: IO[bytes] | None = None
        self._size = self._number = 0
        self._sent: list[str] = []  # the ids of tickets whose batch is being gathered
        self._changes: list[Change] = []
        self._requests: dict[int, BatchRequest] = {}  # of the changes that are not saved yet
        self._ahead = 0  # so many tickets of a chunk are not looked at yet
        self._aside, self._sums, self._left = 0.0, 0, 0.0  # USD set aside, the number of sums, USD still free
        options = context.run.store.batch_options(batcher.fingerprint)
        if options:
            batcher.remember(options)

    def add(self, postponed: Sequence[Outcome[Answer]]) -> Iterator[list[Outcome[Decided]]]:
        """Put tickets into batches; a full batch is sent. Nothing is added once there is trouble."""
        there = [o.ticket for o in postponed if o.ticket.status == "waiting"]
        yield [Outcome(None, Action.WAITING, Decided(ticket, None, asked=False), None, ticket) for ticket in there]
        postponed = [o for o in postponed if o.ticket.status != "waiting"]
        key_of = {o.ticket.ticket_id: ids.answer_key(self._batcher.fingerprint, o.ticket.text) for o in postponed}
        asked = dict(self._context.run.store.joinable(list(key_of.values())))
        for place, outcome in enumerate(postponed):
            self._ahead = len(postponed) - place
            ticket = outcome.ticket
            key = key_of[ticket.ticket_id]
            was = "" if self._proposals else ticket.status
            if key in asked and ticket.ticket_id in asked[key][2]:
                yield [Outcome(None, Action.WAITING, Decided(ticket, None, asked=False), None, ticket)]
                continue
            if key in asked:
                item = BatchItem(asked[key][0], ticket.ticket_id, asked[key][1], key, was, 0.0)
            else:
                request = yield from self._room_for(ticket)
                if request is None or self._batch is None:
                    break
                asked[key] = (self._batch.batch_id, self._number, {ticket.ticket_id})
                item = BatchItem(
                    self._batch.batch_id, ticket.ticket_id, self._number, key, was, request.worst,
                    request.redacted,
                )  # fmt: skip
                self._requests[self._number] = request
                self._number += 1
                self._size += len(request.line)
            self._changes.append(self._waiting(ticket, item, outcome))
        yield self._keep()

    def _room_for(self, ticket: Ticket) -> Generator[list[Outcome[Decided]], None, BatchRequest | None]:
        """Return a ticket's request in a batch that has room for it, its money set aside; None where that fails."""
        of = self._batcher
        while self.trouble is None and not self._context.run.budget.stopping:
            batch = self._batch or self._opened()
            request = of.request(ticket, batch.batch_id, self._number)
            full = self._number == of.most_requests or self._size + len(request.line) > of.most_bytes
            if full and self._number:
                yield self._keep()
                yield from self.send()
                continue
            try:
                self._set_aside(request.worst)
            except BudgetError as error:
                self.trouble = error
            else:
                return request
        return None

    def _set_aside(self, worst: float) -> None:
        """Set aside what a request may cost, and as much for each ticket ahead: one write for many.

        Raises `BudgetError` where there is no room for this one.
        """
        if worst > self._left:
            amounts = [worst - self._left, *[worst] * (self._ahead - 1)]
            granted = amounts[: self._context.run.budget.set_aside(amounts)]
            if not granted:
                raise self._context.run.budget.exceeded(worst)
            self._aside += sum(granted)
            self._left += sum(granted)
            self._sums += len(granted)
        self._left -= worst

    def _opened(self) -> Batch:
        of, run_id = self._batcher, self._context.run.lease.run_id
        batch = self._batch = Batch(
            ids.new_id(), of.name, of.address, of.fingerprint, json.dumps(of.labels, ensure_ascii=False), of.options,
            run_id, ids.now(), run_id=run_id,
        )  # fmt: skip
        self._spool = spooled()
        self._size = self._number = 0
        data = {"batch": batch.batch_id, "classifier": of.name}
        self._context.run.store.open_batch(batch, self._context.run.event("batch_opened", None, data))
        return batch

    def _waiting(self, ticket: Ticket, item: BatchItem, outcome: Outcome[Answer]) -> Change:
        data = {"classifier": self._batcher.name, "batch": item.batch_id, "request": item.number}
        data |= {"sent": {self._batcher.address: texts_of(ticket)}}
        event = self._context.run.event("submitted", ticket.ticket_id, data)
        status = ticket.status if self._proposals else "waiting"
        waiting = ticket._replace(status=status, revision=ticket.revision + 1, run_id=None)
        return Change(event, waiting, ticket.revision, (*(outcome.value.steps if outcome.value else ()), item))

    def _keep(self) -> list[Outcome[Decided]]:
        """Save who waits, and only then write the requests: who has moved on meanwhile is not asked about."""
        changes, requests = self._changes, self._requests
        self._changes, self._requests = [], {}
        held, cost = [], 0.0
        for change, accepted in zip(changes, self._context.save(changes), strict=True):
            item = change.adds[-1]
            if change.ticket is None or not isinstance(item, BatchItem):
                raise TypeError(change)
            if not accepted:
                held.append(Outcome(None, Action.HELD, Decided(change.ticket, None, asked=False), None, change.ticket))
                continue
            self._sent.append(item.ticket_id)
            belongs = self._batch is not None and item.batch_id == self._batch.batch_id
            if belongs and self._spool and (request := requests.pop(item.number, None)):
                self._spool.write(request.line)
                cost += request.worst
        self._context.run.budget.settle(self._aside, cost, self._sums)
        self._aside, self._sums, self._left = 0.0, 0, 0.0
        return held

    def send(self) -> Iterator[list[Outcome[Decided]]]:
        """Hand over what was gathered and yield the tickets that now wait; what the provider did not take goes back."""
        batch, sent, spool = self._batch, self._sent, self._spool
        self._batch, self._sent, self._spool = None, [], None
        if batch is not None and spool is not None:
            with spool:
                trouble = self._handed_over(batch, spool)
            self.trouble = trouble or self.trouble
            if trouble is not None and not isinstance(trouble, UnknownOutcomeError):
                return
        for chunk in chunked(sent):
            tickets = list(self._context.run.store.find(Selection(ids=tuple(chunk))))
            yield [
                Outcome(None, Action.WAITING, Decided(ticket, None, asked=True), None, ticket)
                for ticket in tickets
                if self._proposals or ticket.status == "waiting"
            ]

    def _handed_over(self, batch: Batch, spool: IO[bytes]) -> TriageError | None:
        context = self._context
        if context.run.budget.stopping or not spool.tell():
            context.give_back(batch, "the run was stopped before it was sent" if spool.tell() else "it is empty")
            return None
        about = {"batch": batch.batch_id, "classifier": batch.classifier, "requests": self._number}
        sending = batch._replace(state="sending", requests=self._number)

        def mark() -> bool:
            nonlocal sending
            sending = sending._replace(sent_at=ids.now())
            return context.advance(sending, "gathering", context.run.event("batch_sent", None, about))

        try:
            provider_id = self._batcher.submit(batch, spool, mark)
        except UnknownOutcomeError as error:
            return error
        except TriageError as error:
            context.give_back(sending if sending.sent_at else batch, f"it was not taken: {error.code}")
            return error
        done = sending._replace(state="submitted", provider_id=provider_id)
        event = context.run.event("batch_submitted", None, {**about, "provider_batch": provider_id})
        context.advance(done, "sending", event)
        return None


def spooled() -> IO[bytes]:
    """Return an unnamed file, in memory while it is small: it goes with the process."""
    return cast(IO[bytes], tempfile.SpooledTemporaryFile(IN_MEMORY))
