"""Wrappers that calibrate a classifier's confidence, or make it sure only where a promised error is kept."""

import json
from collections.abc import Mapping

from triage_cli.classifiers.wrapped_classifier import WrappedClassifier
from triage_cli.domain.decisions import Answer, Classification
from triage_cli.domain.evaluation.calibration import Calibration, Curve
from triage_cli.domain.evaluation.error_bounds import NEVER
from triage_cli.ports.classifiers import Classifier


class Calibrated(WrappedClassifier):
    """A classifier whose answers have calibrated confidence, and their own one as `raw`."""

    def __init__(self, inner: Classifier, calibration: Calibration) -> None:
        super().__init__(inner)
        self._curve = Curve(tuple((x, y) for x, y in json.loads(calibration.curve)), calibration.method)

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer with the confidence that it would have now."""
        return self._step(self._inner.rejudged(answer))

    def changed(self, answer: Answer) -> Answer:
        """Return an answer with calibrated confidence; it is sure if that reaches the threshold."""
        steps = tuple(map(self._step, answer.steps))
        sure = bool(steps) and steps[-1].is_sure
        # The classifier checks the text for suspicious content only if it is sure itself.
        return answer._replace(steps=steps, sure=sure, doubts=answer.doubts if answer.sure else None)

    def _step(self, step: Classification) -> Classification:
        if step.confidence is None:
            return step
        return step._replace(confidence=round(self._curve(step.confidence), 4), raw=step.confidence)


class Bounded(WrappedClassifier):
    """A classifier with a threshold of its own for each category, and without one never sure."""

    def __init__(self, inner: Classifier, thresholds: Mapping[str, float]) -> None:
        super().__init__(inner)
        self._thresholds = thresholds

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer with the threshold that it would have now."""
        now = self._inner.rejudged(answer)
        return now._replace(threshold=self._threshold(now))

    def changed(self, answer: Answer) -> Answer:
        """Return an answer with the threshold of its category; answers to another question are not sure."""
        if not answer.steps:
            return answer
        *earlier, last = answer.steps
        last = last._replace(threshold=self._threshold(last))
        # The classifier checks the text for suspicious content only if it is sure itself.
        doubts = answer.doubts if answer.sure else None
        return answer._replace(steps=(*earlier, last), sure=last.is_sure, doubts=doubts)

    def _threshold(self, step: Classification) -> float:
        return self._thresholds.get(step.category or "", NEVER) if step.fingerprint == self.fingerprint else NEVER
