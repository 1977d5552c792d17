"""What submitting and collecting batches share: saving changes with their cost, and giving back waiting tickets."""

import tempfile
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple, TypeGuard, cast

from triage_cli.domain import (
    CHUNK,
    Answer,
    Batch,
    BatchItem,
    Change,
    Event,
    EventAction,
    Outcome,
    Selection,
    Spent,
    Ticket,
    ids,
    times,
)
from triage_cli.ports import Batcher
from triage_cli.service.classification.decision_recorder import DecisionRecorder
from triage_cli.service.run_context import RunContext

IN_MEMORY = 1 << 24  # bytes of requests or answers that are kept in memory; more go to an unnamed file


class BatchContext(NamedTuple):
    """What collecting and submitting share; `batcher` opens the batches of a classifier, by its name."""

    decision_recorder: DecisionRecorder
    batcher: Callable[[str], Batcher]

    @property
    def run(self) -> RunContext:
        """Return the run in which batches are sent and collected."""
        return self.decision_recorder.context

    def save(self, changes: Sequence[Change]) -> list[bool]:
        """Save changes, and what was spent so far; return which changes were accepted.

        A cost is booked on the run that set the money aside, even if that run has ended; this run's own on its budget.
        """
        booked_elsewhere = [c._replace(adds=tuple(a for a in c.adds if not self._is_of_this_run(a))) for c in changes]
        accepted = [conflict is None for conflict in self.run.save(booked_elsewhere)]
        for change, is_accepted in zip(changes, accepted, strict=True):
            for spent in filter(self._is_of_this_run, change.adds if is_accepted else ()):
                self.run.budget.book(spent.usd - spent.released)
        return accepted

    def advance(self, batch: Batch, before: str, event: Event | None) -> bool:
        """Save a batch that was in the state `before`; return False if another run has taken it over."""
        return self.run.store.advance_batch(batch, before, event, self.run.lease)

    def _is_of_this_run(self, add: object) -> TypeGuard[Spent]:
        return isinstance(add, Spent) and add.run_id == self.run.lease.run_id

    def give_back(self, batch: Batch, why: str) -> None:
        """Return the waiting tickets of a batch to their earlier status, and the money that was set aside."""
        while batch_items := self.run.store.batch_items(batch.batch_id, limit=CHUNK):
            tickets = self.tickets(batch_items)
            self.save(
                [self.returned(batch, batch_item, tickets[batch_item.ticket_id], why) for batch_item in batch_items]
            )
        if batch.state not in ("ended", "returned"):
            returned_batch = batch._replace(state="returned", ended_at=times.now(), error=why)
            event = self.run.event(EventAction.BATCH_RETURNED, None, {"batch": batch.batch_id, "why": why})
            self.advance(returned_batch, batch.state, event)

    def returned(self, batch: Batch, batch_item: BatchItem, ticket: Ticket, why: str, cost: float = 0.0) -> Change:
        """Return the change that ends a ticket's waiting without an answer, or without one that may be kept."""
        adds = (batch_item._replace(state="returned", reserved=0.0), paid_answer(batch, batch_item, cost))
        event = self.run.event(EventAction.RETURNED, ticket.ticket_id, {"batch": batch.batch_id, "why": why})
        return Change(event, released(ticket, batch_item, batch), ticket.revision, adds)

    def tickets(self, batch_items: Sequence[BatchItem]) -> dict[str, Ticket]:
        """Return the tickets of batch items as they are now, by id."""
        waiting_ids = tuple(batch_item.ticket_id for batch_item in batch_items)
        return {ticket.ticket_id: ticket for ticket in self.run.store.find(Selection(ids=waiting_ids))}


def paid_answer(batch: Batch, batch_item: BatchItem, cost: float) -> Spent:
    """Return what an answer of a batch cost, in USD, to be booked instead of what was set aside for it."""
    return Spent(batch.paid_by, cost, batch_item.reserved, batch.opened_at)


def waits_for(ticket: Ticket, batch_item: BatchItem, batch: Batch) -> bool:
    """Return whether a ticket still waits for this answer: it has no verdict and no other text since."""
    return (
        batch_item.was != ""
        and ticket.status == "waiting"
        and ids.answer_key(batch.fingerprint, ticket.text) == batch_item.answer_key
    )


def released(ticket: Ticket, batch_item: BatchItem, batch: Batch) -> Ticket | None:
    """Return a ticket that waited, with its earlier status; None if it does not wait for this answer.

    A ticket with a verdict is released even if its text has changed: with `force`, it waits too.
    """
    if waits_for(ticket, batch_item, batch) or (batch_item.was and ticket.status == "waiting" and ticket.verdict):
        return ticket._replace(status=batch_item.was, revision=ticket.revision + 1, run_id=None)
    return None


def spooled() -> IO[bytes]:
    """Return an unnamed file, in memory while it is small; it vanishes with the process."""
    return cast(IO[bytes], tempfile.SpooledTemporaryFile(IN_MEMORY))


def copied_answer(outcome: Outcome[Answer], ticket: Ticket) -> Outcome[Answer]:
    """Return an answer for another ticket with the same text; the copy costs nothing."""
    if outcome.value is None or outcome.value.ticket.ticket_id == ticket.ticket_id:
        return outcome._replace(item=ticket)
    copied_steps = tuple(
        step.copy(ids.new_id(), step.run_id, step.at)._replace(ticket_id=ticket.ticket_id)
        for step in outcome.value.steps
    )
    return outcome._replace(value=outcome.value._replace(ticket=ticket, steps=copied_steps), item=ticket)
