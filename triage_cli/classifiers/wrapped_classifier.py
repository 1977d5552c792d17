"""The base of classifiers that wrap another one and change its answers."""

from collections.abc import Iterable, Iterator, Sequence

from triage_cli.domain.classifications import Answer, Classification, QuestionSpec
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.classifiers import Classifier
from triage_cli.runtime.budget import Budget


class WrappedClassifier:
    """Implements `ports.Classifier`: asks the question of the wrapped classifier, under its name."""

    def __init__(self, wrapped: Classifier) -> None:
        self.name = wrapped.name
        self.fingerprint = wrapped.fingerprint
        self.fingerprints = wrapped.fingerprints
        self.chunk_size = wrapped.chunk_size
        self._wrapped = wrapped

    def questions(self) -> tuple[QuestionSpec, ...]:
        """Return the question of the wrapped classifier, for the record."""
        return self._wrapped.questions()

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer as the wrapped classifier would judge it now."""
        return self._wrapped.rejudged(answer)

    def changed(self, answer: Answer) -> Answer:
        """Return an answer of the wrapped classifier as the wrapper gives it."""
        return answer

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer as the wrapped classifier does, and change each answer."""
        for outcomes in self._wrapped.classify(chunks, budget):
            yield [outcome._replace(value=outcome.value and self.changed(outcome.value)) for outcome in outcomes]
