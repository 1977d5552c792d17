"""A cache around a paid classifier: a question about the same text is never paid for twice."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from triage_cli.classifiers.wrapped_classifier import WrappedClassifier
from triage_cli.domain import Action, Answer, Answered, Classification, FlushNow, Outcome, Ticket, ids, times
from triage_cli.ports import Classifier
from triage_cli.runtime import Budget

Recall = Callable[[Sequence[str]], Mapping[str, Classification]]


class CachedClassifier(WrappedClassifier):
    """A classifier with a memory: `recall` returns earlier answers by answer key.

    Tickets with the same text as one in flight wait for its answer. Reused answers are compared with the present
    threshold.
    """

    def __init__(self, wrapped: Classifier, recall: Recall, actor: str, run_id: str | None) -> None:
        super().__init__(wrapped)
        self._recall = recall
        self._actor = actor
        self._run_id = run_id

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answered]]]:
        """Answer from the cache where possible, and ask the paid classifier about the rest."""
        cached_outcomes: list[Outcome[Answered]] = []
        waiting_tickets: dict[str, list[Ticket]] = {}

        def uncached_chunks() -> Iterator[Sequence[Ticket]]:
            for chunk in chunks:
                answer_keys = [ids.answer_key(self.fingerprint, ticket.text) for ticket in chunk]
                recalled = self._recall(answer_keys) if answer_keys else {}
                uncached = []
                for ticket, answer_key in zip(chunk, answer_keys, strict=True):
                    if answer_key in recalled:
                        cached_outcomes.append(self._reused_answer(ticket, recalled[answer_key]))
                    elif answer_key in waiting_tickets:
                        waiting_tickets[answer_key].append(ticket)
                    else:
                        waiting_tickets[answer_key] = []
                        uncached.append(ticket)
                yield FlushNow(uncached) if isinstance(chunk, FlushNow) else uncached

        for outcomes in self._wrapped.classify(uncached_chunks(), budget):
            ready_outcomes = [*cached_outcomes, *outcomes]
            cached_outcomes.clear()
            for outcome in outcomes:
                ready_outcomes += self._shared_outcomes(outcome, waiting_tickets)
            yield ready_outcomes
        if cached_outcomes:
            yield cached_outcomes

    def _shared_outcomes(
        self, outcome: Outcome[Answered], waiting_tickets: dict[str, list[Ticket]]
    ) -> list[Outcome[Answered]]:
        """Return the outcomes of tickets with the same text that waited for this one; they share its failure too."""
        same_text = waiting_tickets.pop(ids.answer_key(self.fingerprint, outcome.ticket.text), [])
        new_answer = outcome.value.steps[-1] if outcome.value and outcome.value.steps else None
        if new_answer is None:
            return [outcome._replace(item=other) for other in same_text]
        return [self._reused_answer(other, new_answer)._replace(error=outcome.error) for other in same_text]

    def _reused_answer(self, ticket: Ticket, cached_answer: Classification) -> Outcome[Answer]:
        step = self.rejudged(cached_answer).copy(ids.new_id(), self._run_id, times.now())
        step = step._replace(ticket_id=ticket.ticket_id, step=self.name, classifier=self.name, actor=self._actor)
        return Outcome(0, Action.ANSWERED, Answer(ticket, (step,), step.is_sure), None, ticket)
