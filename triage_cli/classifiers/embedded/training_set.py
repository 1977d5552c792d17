"""The training set of the embedded model: its matrices, its folds, and the hyperparameters that suit it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from triage_cli.classifiers.embedded.encoder import Encoder
from triage_cli.classifiers.embedded.fitted_model import Floats, Integers, Model, fingerprint, text_number
from triage_cli.classifiers.embedded.logistic_regression import (
    TOLERANCE,
    Design,
    fit_weights,
    rotated_design,
    unrotated_weights,
)
from triage_cli.classifiers.embedded.score_calibration import ScoreCalibration, best_temperature, fitted_calibration
from triage_cli.classifiers.embedded.training_texts import Corpus, TrainingText, taught_words_of, wording_texts_of
from triage_cli.classifiers.examples import examples_of
from triage_cli.domain import Category, ConfigError, folds_of, groups_of

# Weight of the terms beside the vector: they are less reliable with few texts.
FULL_TERMS_TEXTS = 15  # training texts per label from which on terms have their full weight
FULL_TERM_WEIGHT, REDUCED_TERM_WEIGHT = np.float32(1.0), np.float32(0.6)
STRENGTHS = (10.0, 3.0, 1.0)  # inverse penalties to choose from; the first is the default
WORDING_SHARES = (1.0, 0.2)  # weights to choose from for the categories' own wording beside labelled texts
# The temperature cannot be fitted to invented examples, which are easier than tickets. This value was right, or gave
# somewhat low probabilities, on several kinds of tickets.
EXAMPLES_TEMPERATURE = 1.1
DESCRIPTIONS_TEMPERATURE = 0.6  # where no category has examples: descriptions are farther from tickets
LABELLED_TEMPERATURE = 0.65  # with labelled texts 0.3 (easy) to 0.9 was right; an easy set loses little by one too high
FOLDS = 5  # of the labelled texts
# Labelled texts up to which the calibration is fitted to more and smaller folds: a model that lacks a fifth of few
# texts has lower scores than the one that answers.
FINE_FOLDS_TEXTS, FINE_FOLDS = 300, 20
# With few texts of a label, the model gives it too rarely: its scores are raised against those of labels with many
# texts, by this much of the logarithm of their numbers. Measured: 0.3 to 0.5 is best, from 144 labels to all.
LABEL_EVENNESS = 0.3
ROUGH_TOLERANCE = 1e-4  # of the solver, while hyperparameters are chosen
TEXTS_TO_CHOOSE = 15  # labelled texts from which on the hyperparameters strength and share are chosen
ROTATED_TEXTS = 1_500  # texts up to which their design is rotated, which takes their number to the power of three
ONE_FOLD_SIZE = 10_000  # labelled texts times labels from which on only one fold is held out
PLENTY_PER_LABEL = 50  # labelled texts from which on the categories' own wording has the share `OUTNUMBERED_SHARE`
OUTNUMBERED_SHARE = 0.05


class Choice(NamedTuple):
    """The hyperparameters: strength, weight of the categories' own wording, and calibration of the answers."""

    strength: float = STRENGTHS[0]
    share: float = WORDING_SHARES[0]
    calibration: ScoreCalibration = ScoreCalibration(EXAMPLES_TEMPERATURE)


class TrainingSet:
    """All training texts as matrices: first the categories' wording, then the labelled texts. Raises `ConfigError`."""

    def __init__(
        self, categories: Sequence[Category], languages: Sequence[str], labelled_texts: Sequence[TrainingText]
    ) -> None:
        wording_texts = wording_texts_of(categories, languages)
        training_texts = [*wording_texts, *labelled_texts]
        if not training_texts:
            raise ConfigError("the categories have no word to learn from", hint="give them descriptions and examples")
        self.texts = [training_text.text for training_text in training_texts]
        corpus = Corpus(self.texts)
        self.categories = categories
        self.label_count = len(categories)
        self.wording_temperature = EXAMPLES_TEMPERATURE if any(examples_of(categories)) else DESCRIPTIONS_TEMPERATURE
        self.vocabulary = corpus.vocabulary()
        has_full_terms = len(training_texts) >= FULL_TERMS_TEXTS * self.label_count
        self.term_weight = FULL_TERM_WEIGHT if has_full_terms else REDUCED_TERM_WEIGHT
        self._set_design(corpus.design(self.vocabulary, self.term_weight))
        self.labels = np.array([training_text.label for training_text in training_texts])
        self.text_weights = np.array([training_text.weight for training_text in training_texts])
        self.wording_count = len(wording_texts)
        self.other_material: tuple[object, ...] = ()  # what else the model learns from
        self.labelled_texts = labelled_texts
        self.taught_words = taught_words_of(self.texts)

    def _set_design(self, design: Design) -> None:
        self.full_design = self.design = design
        self.rotation: Floats | None = None
        if len(design.vectors) <= ROTATED_TEXTS:
            self.design, self.rotation = rotated_design(design)

    def add(self, encoder: Encoder) -> None:
        """Put an encoder's vectors of all training texts beside those of their words."""
        vectors = np.hstack([self.full_design.vectors, encoder.vectors(self.texts, keep=True)])
        self._set_design(self.full_design._replace(vectors=vectors))

    def model(self, choice: Choice, learned: str) -> Model:
        """Return the model that is fitted with these hyperparameters; `learned` is the name of the labelled texts."""
        fitted_weights = self.weights(choice, np.arange(len(self.labelled_texts)))
        if self.rotation is not None:
            fitted_weights = unrotated_weights(fitted_weights, self.full_design, self.rotation)
        dimensions = self.full_design.vectors.shape[1]
        seen = np.array(sorted({text_number(labelled.text) for labelled in self.labelled_texts}), np.uint64)
        return Model(
            tuple(category.name for category in self.categories), fingerprint(self.categories), learned,
            fitted_weights[:dimensions], self.vocabulary.ngrams, self.vocabulary.whole_words, self.vocabulary.rarity,
            fitted_weights[dimensions:-1] * self.term_weight, fitted_weights[-1], choice.calibration, seen,
            self.taught_words,
        )  # fmt: skip

    def weights(
        self, choice: Choice, rows: Integers, start: Floats | None = None, tolerance: float = TOLERANCE
    ) -> Floats:
        """Return the weights of `design`, fitted to the wording and these labelled texts; the last row is the bias."""
        fitted_rows = np.concatenate([np.arange(self.wording_count), self.wording_count + rows])
        text_weights, labels = self.text_weights[fitted_rows], self.labels[fitted_rows]
        text_weights[: self.wording_count] *= choice.share
        design, penalty = self.design.take(fitted_rows), 1 / choice.strength
        weights = fit_weights(design, labels, text_weights, self.label_count, penalty, start, tolerance)
        texts_of_label = np.bincount(labels[self.wording_count :], text_weights[self.wording_count :], self.label_count)
        weights[-1] -= (LABEL_EVENNESS * np.log1p(texts_of_label)).astype(np.float32)
        return weights

    def choose_hyperparameters(self) -> Choice:
        """Return the hyperparameters with the lowest loss on held-out texts. Near duplicates are held out together."""
        choice, labelled_count = self.cross_validated_choice(), len(self.labelled_texts)
        if not TEXTS_TO_CHOOSE <= labelled_count <= FINE_FOLDS_TEXTS:
            return choice
        every = FINE_FOLDS if labelled_count * self.label_count <= ONE_FOLD_SIZE else FOLDS
        held_out_scores = self.held_out(choice, every)
        return choice._replace(calibration=fitted_calibration(held_out_scores, self.prior_temperature))

    @property
    def prior_temperature(self) -> float:
        """The temperature to which that of a fitted calibration is drawn."""
        return LABELLED_TEMPERATURE if len(self.labelled_texts) >= TEXTS_TO_CHOOSE else self.wording_temperature

    def cross_validated_choice(self) -> Choice:
        """Return the hyperparameters with the lowest loss on texts that are held out fold by fold."""
        labelled_count = len(self.labelled_texts)
        shares: Sequence[float] = WORDING_SHARES
        if not self.wording_count or labelled_count * self.label_count > ONE_FOLD_SIZE:
            has_plenty = labelled_count >= PLENTY_PER_LABEL * self.label_count
            shares = (OUTNUMBERED_SHARE,) if has_plenty else WORDING_SHARES[:1]
        tried: dict[Choice, list[tuple[Floats, Integers]]] = {}
        for held_out in self.folds() if labelled_count > 1 else ():
            held_out_labels = self.labels[self.wording_count + held_out]
            for share in shares if labelled_count >= TEXTS_TO_CHOOSE else WORDING_SHARES[:1]:
                start_weights = None
                for strength in sorted(STRENGTHS) if labelled_count >= TEXTS_TO_CHOOSE else STRENGTHS[:1]:
                    scores, start_weights = self._held_out_scores(Choice(strength, share), held_out, start_weights)
                    tried.setdefault(Choice(strength, share), []).append((scores, held_out_labels))
        losses = [
            (*best_temperature(held_out_scores, self.prior_temperature), choice)
            for choice, held_out_scores in tried.items()
        ]
        if not losses:
            return Choice(calibration=ScoreCalibration(self.wording_temperature))
        choice = min(losses)[-1]
        return choice._replace(calibration=fitted_calibration(tried[choice], self.prior_temperature))

    def held_out(self, choice: Choice, every: int = 0) -> list[tuple[Floats, Integers]]:
        """Return the scores and the labels of held-out labelled texts, fold by fold."""
        held_out_scores = []
        for held_out in self.folds(every):
            scores, _ = self._held_out_scores(choice, held_out, None)
            held_out_scores.append((scores, self.labels[self.wording_count + held_out]))
        return held_out_scores

    def folds(self, every: int = 0) -> Iterator[Integers]:
        """Yield the indexes of the labelled texts to hold out, fold by fold; with many texts, only one fold.

        `every` is a number of folds, all of which are yielded.
        """
        labels = [labelled.label for labelled in self.labelled_texts]
        groups = groups_of([labelled.text for labelled in self.labelled_texts])
        folds = np.array(folds_of(labels, groups, every or FOLDS))
        for fold in range(every or (1 if len(folds) * self.label_count > ONE_FOLD_SIZE else FOLDS)):
            held_out = np.flatnonzero(folds == fold)
            if 0 < len(held_out) < len(folds):
                yield held_out

    def _held_out_scores(self, choice: Choice, held_out: Integers, start: Floats | None) -> tuple[Floats, Floats]:
        """Fit without the held-out texts; return their scores, (texts, labels), and the weights."""
        fitted_texts = np.setdiff1d(np.arange(len(self.labelled_texts)), held_out)
        weights = self.weights(choice, fitted_texts, start, ROUGH_TOLERANCE)
        return self.design.take(self.wording_count + held_out).scores(weights), weights
