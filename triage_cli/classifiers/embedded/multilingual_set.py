"""The training set of the model for texts that are not in English: the encoder's vectors, and n-grams beside them."""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from triage_cli.classifiers.embedded.encoder import kept_encoded
from triage_cli.classifiers.embedded.fitted_model import Floats
from triage_cli.classifiers.embedded.score_calibration import NEAR, ScoreCalibration
from triage_cli.classifiers.embedded.training_set import Choice, TrainingSet, TrainingText
from triage_cli.domain import Category

# Labelled texts that are encoded, which takes a millisecond each: the last ones of each label.
MOST_ENCODED = 2_000
# Weight of the terms beside the vectors. The words of English texts say little about other languages, where too much
# of them hides what the vectors say; those of the labelled texts in these languages say a lot.
TERM_WEIGHT, FOREIGN_TERM_WEIGHT = np.float32(0.3), np.float32(0.6)
# What is taken from the log-odds of answers where most labelled texts are English: these are what the calibration is
# fitted to, and a text in another language is farther from them.
ANOTHER_LANGUAGE = 0.6
BUILT_IN_CALIBRATION = ScoreCalibration(1.0)
WORDING_CALIBRATION = ScoreCalibration(0.6)


class MultilingualSet(TrainingSet):
    """All training texts by their encoded vectors. `mostly_foreign` if most labelled texts are not in English."""

    strengths = TrainingSet.strengths[:1]
    wording_shares = TrainingSet.wording_shares[:1]

    def __init__(
        self, categories: Sequence[Category], labelled_texts: Sequence[TrainingText], *, mostly_foreign: bool
    ) -> None:
        self.mostly_foreign = mostly_foreign
        super().__init__(categories, _last_of_each_label(labelled_texts, len(categories)))
        self.wording_distance = NEAR

    def choose_hyperparameters(self) -> Choice:
        """Return the hyperparameters, calibrated for texts in other languages than the labelled ones are mostly in."""
        choice = super().choose_hyperparameters()
        if self.mostly_foreign or not self.labelled_texts:
            return choice
        calibration = choice.calibration
        return choice._replace(calibration=calibration._replace(offset=calibration.offset - ANOTHER_LANGUAGE))

    def _term_weight(self) -> np.float32:
        return FOREIGN_TERM_WEIGHT if self.mostly_foreign else TERM_WEIGHT

    def _vectors(self, _word_vectors: Floats) -> Floats:
        return kept_encoded(self.texts)

    def _wording_calibration(self, *, built_in: bool, examples: bool) -> ScoreCalibration:
        del examples
        return BUILT_IN_CALIBRATION if built_in else WORDING_CALIBRATION


def _last_of_each_label(labelled_texts: Sequence[TrainingText], label_count: int) -> list[TrainingText]:
    if len(labelled_texts) <= MOST_ENCODED:
        return list(labelled_texts)
    taken: list[int] = []
    for label in range(label_count):
        rows = (row for row in range(len(labelled_texts) - 1, -1, -1) if labelled_texts[row].label == label)
        taken += islice(rows, max(MOST_ENCODED // label_count, 1))
    return [labelled_texts[row] for row in sorted(taken)]
