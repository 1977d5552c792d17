"""Port of the model registry: versions of the embedded model, calibrations, graded answers, error bounds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from triage_cli.domain import (
    Calibration,
    Classification,
    Event,
    GradedAnswer,
    Labelled,
    LabelledAnswer,
    Lease,
    ModelVersion,
    StoredBound,
)


class ModelRegistry(Protocol):
    """Port that registers versions of the embedded model, calibrations, and answers that evaluations paid for."""

    def active(self) -> ModelVersion | None:
        """A registry knows the model version in use; None if that is the built-in model."""

    def versions(self) -> list[ModelVersion]:
        """A registry lists all model versions, newest first, without their weights."""

    def add_version(self, version: ModelVersion, event: Event) -> ModelVersion | None:
        """A registry stores a model version under the next number, and makes it the active one.

        It returns None if `based_on` is no longer the active version, since the new one was not compared with that.
        """

    def step_back(self, event: Event) -> ModelVersion | None:
        """A registry makes the model version active that the active one is based on, and returns it.

        It returns None for the built-in model. Raises `LookupError` if the built-in model is in use already.
        """

    def labelled(self) -> Iterator[Labelled]:
        """A registry yields the texts of tickets with a verdict, oldest first, for models to learn from."""

    def unlabelled(self, limit: int) -> list[str]:
        """A registry returns the beginnings of texts without a verdict: always the same, spread over all tickets."""

    def opinions(self) -> Mapping[str, Mapping[str, tuple[str, float | None]]]:
        """A registry returns each classifier's last answers about tickets with a verdict, by ticket id and classifier.

        An answer is (category, confidence).
        """

    def calibration(self, fingerprint: str) -> Calibration | None:
        """A registry returns the calibration for the question with this fingerprint, or None."""

    def calibrations(self) -> list[Calibration]:
        """A registry lists all calibrations, newest first."""

    def keep_calibration(self, calibration: Calibration, event: Event) -> None:
        """A registry keeps a calibration, replacing an earlier one with the same fingerprint."""

    def graded(self, fingerprint: str) -> list[GradedAnswer]:
        """A registry returns graded answers to a question; a verdict overrules a file's label.

        A text and its copies in other spellings count once for each category that was answered.
        """

    def keep_graded(self, answers: Iterable[LabelledAnswer], learned: Iterable[Classification] = ()) -> None:
        """A registry keeps answers about labelled texts, and drops those about texts that a model has learned."""

    def error_bounds(self) -> list[StoredBound]:
        """A registry returns the error bounds that were found last, by classifier and category."""

    def keep_error_bounds(self, bounds: Sequence[StoredBound], event: Event) -> None:
        """A registry keeps error bounds, replacing those of the same classifier, category and error."""

    def trials(self, answer_keys: Sequence[str]) -> Mapping[str, Classification]:
        """A registry returns answers that earlier evaluations paid for, by answer key."""

    def keep_trials(self, answers: Sequence[Classification], lease: Lease) -> None:
        """A registry keeps paid answers, replacing those to the same questions, and what the run has spent so far."""
