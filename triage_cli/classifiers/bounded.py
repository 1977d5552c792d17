"""A wrapper around a classifier that is sure only where a promised error is kept."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from triage_cli.domain.decisions import Answer, Classification, QuestionSpec
from triage_cli.domain.evaluation.error_bounds import NEVER
from triage_cli.domain.runs import Outcome
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.adapters import Classifier
from triage_cli.runtime.budget import Budget


class Bounded:
    """Implements `ports.Classifier`; each category has a threshold of its own, and without one it is never sure."""

    def __init__(self, inner: Classifier, thresholds: Mapping[str, float]) -> None:
        self.name = inner.name
        self.fingerprint = inner.fingerprint
        self.fingerprints = inner.fingerprints
        self.chunk_size = inner.chunk_size
        self._inner = inner
        self._thresholds = thresholds

    def askings(self) -> tuple[QuestionSpec, ...]:
        """Return the question, for the record."""
        return self._inner.askings()

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer with the confidence and the threshold that it would have now."""
        now = self._inner.rejudged(answer)
        return now._replace(threshold=self._threshold(now))

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer as the classifier does, compared with the thresholds of the categories."""
        for outcomes in self._inner.classify(chunks, budget):
            yield [outcome._replace(value=outcome.value and self.bounded(outcome.value)) for outcome in outcomes]

    def bounded(self, answer: Answer) -> Answer:
        """Return an answer with the threshold of its category; answers to another question are not sure."""
        if not answer.steps:
            return answer
        *earlier, last = answer.steps
        threshold = self._threshold(last)
        sure = last.category is not None and last.confidence is not None and last.confidence >= threshold
        # The classifier checks the text for suspicious content only if it is sure itself.
        doubts = answer.doubts if answer.sure else None
        return answer._replace(steps=(*earlier, last._replace(threshold=threshold)), sure=sure, doubts=doubts)

    def _threshold(self, step: Classification) -> float:
        return self._thresholds.get(step.category or "", NEVER) if step.fingerprint == self.fingerprint else NEVER
