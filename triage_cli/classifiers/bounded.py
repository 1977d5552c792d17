"""A wrapper by which a classifier is sure only where the error bound of a promise allows it."""

from collections.abc import Mapping

from triage_cli.classifiers.wrapped_classifier import WrappedClassifier
from triage_cli.domain.classifications import Answer, Classification
from triage_cli.domain.evaluation.error_bounds import NEVER
from triage_cli.ports.classifiers import Classifier


class Bounded(WrappedClassifier):
    """A classifier with a threshold for each category by which a promise holds; without one it is never sure."""

    def __init__(self, wrapped: Classifier, category_thresholds: Mapping[str, float]) -> None:
        super().__init__(wrapped)
        self._category_thresholds = category_thresholds

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer with the threshold that its category has now."""
        rejudged = self._wrapped.rejudged(answer)
        return rejudged._replace(threshold=self._category_threshold(rejudged))

    def changed(self, answer: Answer) -> Answer:
        """Return an answer with the threshold of its category; answers to another question are not sure."""
        if not answer.steps:
            return answer
        *earlier_steps, last_step = answer.steps
        last_step = last_step._replace(threshold=self._category_threshold(last_step))
        # The classifier checks the text for suspicious content only if it is sure itself.
        doubts = answer.doubts if answer.sure else None
        return answer._replace(steps=(*earlier_steps, last_step), sure=last_step.is_sure, doubts=doubts)

    def _category_threshold(self, step: Classification) -> float:
        is_same_question = step.fingerprint == self.fingerprint
        return self._category_thresholds.get(step.category or "", NEVER) if is_same_question else NEVER
