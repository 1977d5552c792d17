"""A wrapper around a classifier that calibrates its confidence."""

import json
from collections.abc import Iterable, Iterator, Sequence

from triage_cli.domain.decisions import Answer, Calibration, Classification, QuestionSpec
from triage_cli.domain.evaluation.calibration import Curve
from triage_cli.domain.runs import Outcome
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.adapters import Classifier
from triage_cli.runtime.budget import Budget


class Calibrated:
    """Implements `ports.Classifier`; each answer keeps the classifier's own confidence as `raw`."""

    def __init__(self, inner: Classifier, calibration: Calibration, threshold: float) -> None:
        self.name = inner.name
        self.fingerprint = inner.fingerprint
        self.fingerprints = inner.fingerprints
        self.chunk_size = inner.chunk_size
        self._inner = inner
        self._curve = Curve(tuple((x, y) for x, y in json.loads(calibration.curve)), calibration.method)
        self._threshold = threshold

    def askings(self) -> tuple[QuestionSpec, ...]:
        """Return the question, for the record."""
        return self._inner.askings()

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer with the confidence and the threshold that it would have now."""
        return self._step(self._inner.rejudged(answer))

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer as the classifier does, with calibrated confidence."""
        for outcomes in self._inner.classify(chunks, budget):
            yield [outcome._replace(value=outcome.value and self.calibrated(outcome.value)) for outcome in outcomes]

    def calibrated(self, answer: Answer) -> Answer:
        """Return an answer with calibrated confidence; it is sure if that reaches the threshold."""
        steps = tuple(map(self._step, answer.steps))
        last = steps[-1] if steps else None
        confidence = last.confidence if last is not None and last.category is not None else None
        sure = confidence is not None and confidence >= self._threshold
        # The classifier checks the text for suspicious content only if it is sure itself.
        return answer._replace(steps=steps, sure=sure, doubts=answer.doubts if answer.sure else None)

    def _step(self, step: Classification) -> Classification:
        if step.confidence is None:
            return step
        return step._replace(confidence=round(self._curve(step.confidence), 4), raw=step.confidence)
