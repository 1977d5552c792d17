"""Port of the model registry: versions of the embedded model, calibrations, labelled answers, error bounds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from triage_cli.domain.audit.events import Event
from triage_cli.domain.decisions import Classification
from triage_cli.domain.evaluation.calibration import Calibration
from triage_cli.domain.evaluation.error_bounds import GradedAnswer, StoredBound
from triage_cli.domain.learning import Labelled, ModelVersion
from triage_cli.domain.runs import Lease


class ModelRegistry(Protocol):
    """Stores the versions of the embedded model, calibrations, and answers that evaluations paid for."""

    def active(self) -> ModelVersion | None:
        """Return the version in use; None if it is the built-in model."""

    def versions(self) -> list[ModelVersion]:
        """Return all versions, newest first, without their weights."""

    def add_version(self, version: ModelVersion, event: Event) -> ModelVersion | None:
        """Store a version under the next number, and make it the active one.

        Returns None if `based_on` is no longer the active version, since the new one was not compared with that.
        """

    def step_back(self, event: Event) -> ModelVersion | None:
        """Make the version active that the active one is based on; return it, or None for the built-in model.

        Raises `LookupError` if the built-in model is in use already.
        """

    def labelled(self) -> Iterator[Labelled]:
        """Yield the texts of tickets with a verdict, oldest first."""

    def unlabelled(self, limit: int) -> list[str]:
        """Return the beginnings of texts without a verdict: always the same ones, spread over all tickets."""

    def opinions(self) -> Mapping[str, Mapping[str, tuple[str, float | None]]]:
        """Return the last answer of each classifier about tickets with a verdict, by ticket id and classifier.

        An answer is (category, confidence).
        """

    def calibration(self, fingerprint: str) -> Calibration | None:
        """Return the calibration for the question with this fingerprint, or None."""

    def calibrations(self) -> list[Calibration]:
        """Return all calibrations, newest first."""

    def keep_calibration(self, calibration: Calibration, event: Event) -> None:
        """Store a calibration, replacing an earlier one with the same fingerprint."""

    def graded(self, fingerprint: str) -> list[GradedAnswer]:
        """Return the answers to a question about labelled texts, each text once; a verdict overrules a file's label."""

    def keep_graded(self, answers: Sequence[tuple[Classification, str]]) -> None:
        """Store answers with the labels of their texts."""

    def error_bounds(self) -> list[StoredBound]:
        """Return the bounds that were found last, by classifier and category."""

    def keep_error_bounds(self, bounds: Sequence[StoredBound], event: Event) -> None:
        """Store bounds, replacing those of the same classifier, category and error."""

    def trials(self, answer_keys: Sequence[str]) -> Mapping[str, Classification]:
        """Return answers that earlier evaluations paid for, by answer key."""

    def keep_trials(self, answers: Sequence[Classification], lease: Lease) -> None:
        """Store paid answers, replacing those to the same questions, and what the run has spent so far."""
