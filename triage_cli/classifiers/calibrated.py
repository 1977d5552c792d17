"""A wrapper that gives the answers of a classifier calibrated confidence."""

import json

from triage_cli.classifiers.wrapped_classifier import WrappedClassifier
from triage_cli.domain.classifications import Answer, Classification
from triage_cli.domain.evaluation.calibration import Calibration, Curve
from triage_cli.ports.classifiers import Classifier


class Calibrated(WrappedClassifier):
    """A classifier whose answers have calibrated confidence, and their own one as `raw`."""

    def __init__(self, wrapped: Classifier, calibration: Calibration) -> None:
        super().__init__(wrapped)
        points = tuple((confidence, share) for confidence, share in json.loads(calibration.curve))
        self._calibration_curve = Curve(points, calibration.method)

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer with the calibrated confidence that it would have now."""
        return self._calibrated_step(self._wrapped.rejudged(answer))

    def changed(self, answer: Answer) -> Answer:
        """Return an answer with calibrated confidence; it is sure if that reaches the threshold."""
        steps = tuple(map(self._calibrated_step, answer.steps))
        sure = bool(steps) and steps[-1].is_sure
        # The classifier checks the text for suspicious content only if it is sure itself.
        return answer._replace(steps=steps, sure=sure, doubts=answer.doubts if answer.sure else None)

    def _calibrated_step(self, step: Classification) -> Classification:
        if step.confidence is None:
            return step
        return step._replace(confidence=round(self._calibration_curve(step.confidence), 4), raw=step.confidence)
