"""Around a classifier that costs something: what was answered once is not asked again, not even by another ticket."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from triage_cli.domain import ids
from triage_cli.domain.decisions import Answer, Classification, QuestionSpec
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.streams import FlushNow
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.adapters import Classifier
from triage_cli.runtime.budget import Budget

Recall = Callable[[Sequence[str]], Mapping[str, Classification]]


class Remembering:
    """Implements `ports.Classifier`; `recall` returns earlier answers by their key.

    Equal texts in flight wait for the first of them. A recalled answer is held against today's threshold.
    """

    def __init__(self, inner: Classifier, threshold: float, recall: Recall, actor: str, run_id: str | None) -> None:
        self.name = inner.name
        self.fingerprint = inner.fingerprint
        self.fingerprints = inner.fingerprints
        self.appetite = inner.appetite
        self._inner = inner
        self._threshold = threshold
        self._recall = recall
        self._actor = actor
        self._run_id = run_id

    def askings(self) -> tuple[QuestionSpec, ...]:
        """Describe what is asked, for the record."""
        return self._inner.askings()

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer what is known at once, and ask about the rest."""
        known: list[Outcome[Answer]] = []
        waiting: dict[str, list[Ticket]] = {}

        def unknown() -> Iterator[Sequence[Ticket]]:
            for chunk in chunks:
                keys = [ids.answer_key(self.fingerprint, ticket.text) for ticket in chunk]
                recalled = self._recall(keys) if keys else {}
                ask = []
                for ticket, key in zip(chunk, keys, strict=True):
                    if key in recalled:
                        known.append(self._reused(ticket, recalled[key]))
                    elif key in waiting:
                        waiting[key].append(ticket)
                    else:
                        waiting[key] = []
                        ask.append(ticket)
                yield FlushNow(ask) if isinstance(chunk, FlushNow) else ask

        for outcomes in self._inner.classify(unknown(), budget):
            ready = [*known, *outcomes]
            known.clear()
            for outcome in outcomes:
                ready += self._shared(outcome, waiting)
            yield ready
        if known:
            yield known

    def _shared(self, outcome: Outcome[Answer], waiting: dict[str, list[Ticket]]) -> list[Outcome[Answer]]:
        """Give an answer to the tickets of the same text that waited for it; a failure is theirs too."""
        same = waiting.pop(ids.answer_key(self.fingerprint, outcome.ticket.text), [])
        last = outcome.value.steps[-1] if outcome.value and outcome.value.steps else None
        if last is None:
            return [outcome._replace(item=other) for other in same]
        return [self._reused(other, last)._replace(error=outcome.error) for other in same]

    def _reused(self, ticket: Ticket, before: Classification) -> Outcome[Answer]:
        step = before._replace(
            classification_id=ids.new_id(),
            ticket_id=ticket.ticket_id,
            run_id=self._run_id,
            step=self.name,
            classifier=self.name,
            actor=self._actor,
            threshold=self._threshold,
            at=ids.now(),
            confidence=before.raw_confidence,
            raw=None,
            reused=before.reused or before.classification_id,
            input_tokens=0,
            output_tokens=0,
            cache_read=0,
            cache_write=0,
            cost=0.0,
        )
        sure = step.category is not None and step.confidence is not None and step.confidence >= self._threshold
        return Outcome(0, Action.ANSWERED, Answer(ticket, (step,), sure), None, ticket)
