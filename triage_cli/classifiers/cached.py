"""A cache around a paid classifier: a question about the same text is never paid for twice."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from triage_cli.classifiers.wrapped_classifier import WrappedClassifier
from triage_cli.domain import ids, times
from triage_cli.domain.chunks import FlushNow
from triage_cli.domain.decisions import Answer, Classification
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.classifiers import Classifier
from triage_cli.runtime.budget import Budget

Recall = Callable[[Sequence[str]], Mapping[str, Classification]]


class CachedClassifier(WrappedClassifier):
    """A classifier with a memory: `recall` returns earlier answers by answer key.

    Tickets with the same text as one in flight wait for its answer. Reused answers are compared with the present
    threshold.
    """

    def __init__(self, inner: Classifier, recall: Recall, actor: str, run_id: str | None) -> None:
        super().__init__(inner)
        self._recall = recall
        self._actor = actor
        self._run_id = run_id

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer from the cache where possible, and ask about the rest."""
        recalled_outcomes: list[Outcome[Answer]] = []
        waiting_tickets: dict[str, list[Ticket]] = {}

        def chunks_to_ask() -> Iterator[Sequence[Ticket]]:
            for chunk in chunks:
                keys = [ids.answer_key(self.fingerprint, ticket.text) for ticket in chunk]
                recalled = self._recall(keys) if keys else {}
                unanswered = []
                for ticket, key in zip(chunk, keys, strict=True):
                    if key in recalled:
                        recalled_outcomes.append(self._reused(ticket, recalled[key]))
                    elif key in waiting_tickets:
                        waiting_tickets[key].append(ticket)
                    else:
                        waiting_tickets[key] = []
                        unanswered.append(ticket)
                yield FlushNow(unanswered) if isinstance(chunk, FlushNow) else unanswered

        for outcomes in self._inner.classify(chunks_to_ask(), budget):
            ready = [*recalled_outcomes, *outcomes]
            recalled_outcomes.clear()
            for outcome in outcomes:
                ready += self._shared(outcome, waiting_tickets)
            yield ready
        if recalled_outcomes:
            yield recalled_outcomes

    def _shared(self, outcome: Outcome[Answer], waiting_tickets: dict[str, list[Ticket]]) -> list[Outcome[Answer]]:
        """Return the outcomes of tickets with the same text that waited for this one; they share its failure too."""
        same = waiting_tickets.pop(ids.answer_key(self.fingerprint, outcome.ticket.text), [])
        last = outcome.value.steps[-1] if outcome.value and outcome.value.steps else None
        if last is None:
            return [outcome._replace(item=other) for other in same]
        return [self._reused(other, last)._replace(error=outcome.error) for other in same]

    def _reused(self, ticket: Ticket, before: Classification) -> Outcome[Answer]:
        step = self.rejudged(before).copy(ids.new_id(), self._run_id, times.now())
        step = step._replace(ticket_id=ticket.ticket_id, step=self.name, classifier=self.name, actor=self._actor)
        return Outcome(0, Action.ANSWERED, Answer(ticket, (step,), step.is_sure), None, ticket)
