"""The training set of the embedded model: its matrices, its folds, and the hyperparameters that suit it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from triage_cli.classifiers.embedded.encoder import Encoder
from triage_cli.classifiers.embedded.fitted_model import Floats, Integers, Model, fingerprint, text_number
from triage_cli.classifiers.embedded.logistic_regression import CLOSE, Design, rotated, rotated_back, solve
from triage_cli.classifiers.embedded.score_calibration import ScoreCalibration, best_temperature, fitted
from triage_cli.classifiers.embedded.training_texts import Corpus, Example, lessons_of, taught_by
from triage_cli.classifiers.examples import examples_of
from triage_cli.domain.errors import ConfigError
from triage_cli.domain.evaluation.cross_validation import folds_of, groups_of
from triage_cli.domain.tickets import Category

# Weight of the terms beside the vector: they are less reliable with few texts.
MANY = 15  # training texts per label from which on terms have their full weight
TERMS_OF_MANY, TERMS_OF_FEW = np.float32(1.0), np.float32(0.6)
STRENGTHS = (10.0, 3.0, 1.0)  # inverse penalties to choose from; the first is the default
SHARES = (1.0, 0.2)  # weights to choose from for the categories' own wording beside labelled texts
# The temperature cannot be fitted to invented examples, which are easier than tickets. This value was right, or gave
# somewhat low probabilities, on several kinds of tickets.
UNLEARNED = 1.1
BARE = 0.6  # the same where no category has examples: descriptions are farther from tickets
# The usual one with labelled texts: measured between 0.3 (easy) and 0.9; an easy set loses little by one too high.
LEARNED = 0.65
FOLDS = 5
# Texts up to which the calibration is fitted to more and smaller folds: a model that lacks a fifth of few texts has
# lower scores than the one that answers.
FINE, FINE_FOLDS = 300, 20
# With few texts of a label, the model gives it too rarely: its scores are raised against those of labels with many
# texts, by this much of the logarithm of their numbers. Measured: 0.3 to 0.5 is best, from 144 labels to all.
EVENNESS = 0.3
ROUGHLY = 1e-4  # tolerance of the solver while choosing
TRIABLE = 15  # labelled texts from which on strength and share are chosen
FEW = 1_500  # texts up to which they are rotated, which takes their number to the power of three
MUCH = 10_000  # texts times labels from which on only one fold is held out
PLENTY, OUTNUMBERED = 50, 0.05  # labelled texts per label from which on the categories' own wording has this share


class Choice(NamedTuple):
    """The hyperparameters: strength, weight of the categories' own wording, and calibration of the answers."""

    strength: float = STRENGTHS[0]
    share: float = SHARES[0]
    calibration: ScoreCalibration = ScoreCalibration(UNLEARNED)


class TrainingSet:
    """All training texts as matrices: first the categories' wording, then the labelled texts. Raises `ConfigError`."""

    def __init__(self, categories: Sequence[Category], languages: Sequence[str], examples: Sequence[Example]) -> None:
        category_examples = lessons_of(categories, languages)
        lessons = [*category_examples, *examples]
        if not lessons:
            raise ConfigError("the categories have no word to learn from", hint="give them descriptions and examples")
        texts = Corpus([example.text for example in lessons])
        self.categories = categories
        self.k = len(categories)
        self.temperature = UNLEARNED if any(examples_of(categories)) else BARE
        self.terms = texts.terms()
        self.emphasis = TERMS_OF_MANY if len(lessons) >= MANY * self.k else TERMS_OF_FEW
        self._rotate(texts.design(self.terms, self.emphasis))
        self.labels = np.array([example.label for example in lessons])
        self.counts = np.array([example.weight for example in lessons])
        self.before = len(category_examples)
        self.others: tuple[object, ...] = ()  # what else the model learns from
        self.examples = examples
        self.texts = [example.text for example in lessons]
        self.taught = taught_by(self.texts)

    def _rotate(self, design: Design) -> None:
        self.full_design = self.design = design
        self.rotation: Floats | None = None
        if len(design.vectors) <= FEW:
            self.design, self.rotation = rotated(design)

    def add(self, encoder: Encoder) -> None:
        """Put an encoder's vectors of all texts beside those of their words."""
        design = self.full_design
        self._rotate(design._replace(vectors=np.hstack([design.vectors, encoder.vectors(self.texts, keep=True)])))

    def model(self, choice: Choice, learned: str) -> Model:
        """Return the model with these hyperparameters; `learned` is the name of the labelled texts."""
        weights = self.weights(choice, np.arange(len(self.examples)))
        if self.rotation is not None:
            weights = rotated_back(weights, self.full_design, self.rotation)
        width = self.full_design.vectors.shape[1]
        seen = np.array(sorted({text_number(example.text) for example in self.examples}), np.uint64)
        return Model(
            tuple(category.name for category in self.categories), fingerprint(self.categories), learned,
            weights[:width], self.terms.ngrams, self.terms.whole_words, self.terms.rarity,
            weights[width:-1] * self.emphasis, weights[-1], choice.calibration, seen, self.taught,
        )  # fmt: skip

    def weights(self, choice: Choice, rows: Integers, start: Floats | None = None, close: float = CLOSE) -> Floats:
        """Return the weights of `design`, fitted to the wording and these labelled texts; the last row is the bias."""
        row_indexes = np.concatenate([np.arange(self.before), self.before + rows])
        counts, labels = self.counts[row_indexes], self.labels[row_indexes]
        counts[: self.before] *= choice.share
        weights = solve(self.design.take(row_indexes), labels, counts, self.k, 1 / choice.strength, start, close)
        texts_of_label = np.bincount(labels[self.before :], counts[self.before :], self.k)
        weights[-1] -= (EVENNESS * np.log1p(texts_of_label)).astype(np.float32)
        return weights

    def choose(self) -> Choice:
        """Return the hyperparameters with the lowest loss on held-out texts. Near duplicates are held out together."""
        choice, number = self.best_choice(), len(self.examples)
        if not TRIABLE <= number <= FINE:
            return choice
        scored = self.held_out(choice, every=FINE_FOLDS if number * self.k <= MUCH else FOLDS)
        return choice._replace(calibration=fitted(scored, self.usual))

    @property
    def usual(self) -> float:
        """The temperature to which a fitted one is drawn."""
        return LEARNED if len(self.examples) >= TRIABLE else self.temperature

    def best_choice(self) -> Choice:
        """Return the hyperparameters with the lowest loss on texts that are held out fold by fold."""
        number = len(self.examples)
        shares: Sequence[float] = SHARES
        if not self.before or number * self.k > MUCH:
            shares = (OUTNUMBERED,) if number >= PLENTY * self.k else SHARES[:1]
        tried: dict[Choice, list[tuple[Floats, Integers]]] = {}
        for held_out in self.folds() if number > 1 else ():
            for share in shares if number >= TRIABLE else SHARES[:1]:
                start = None
                for strength in sorted(STRENGTHS) if number >= TRIABLE else STRENGTHS[:1]:
                    scores, start = self._held_out_scores(Choice(strength, share), held_out, start)
                    tried.setdefault(Choice(strength, share), []).append((scores, self.labels[self.before + held_out]))
        found = [(*best_temperature(scored, self.usual), choice) for choice, scored in tried.items()]
        if not found:
            return Choice(calibration=ScoreCalibration(self.temperature))
        choice = min(found)[-1]
        return choice._replace(calibration=fitted(tried[choice], self.usual))

    def held_out(self, choice: Choice, every: int = 0) -> list[tuple[Floats, Integers]]:
        """Return the scores and the labels of held-out labelled texts, fold by fold."""
        found = ((self._held_out_scores(choice, held_out, None)[0], held_out) for held_out in self.folds(every))
        return [(scores, self.labels[self.before + held_out]) for scores, held_out in found]

    def folds(self, every: int = 0) -> Iterator[Integers]:
        """Yield the indexes of the labelled texts to hold out, fold by fold; with many texts, only one fold.

        `every` is a number of folds, all of which are yielded.
        """
        labels = [example.label for example in self.examples]
        folds = np.array(folds_of(labels, groups_of([example.text for example in self.examples]), every or FOLDS))
        for fold in range(every or (1 if len(folds) * self.k > MUCH else FOLDS)):
            held_out = np.flatnonzero(folds == fold)
            if 0 < len(held_out) < len(folds):
                yield held_out

    def _held_out_scores(self, choice: Choice, held_out: Integers, start: Floats | None) -> tuple[Floats, Floats]:
        """Fit without the held-out texts; return their scores, (texts, labels), and the weights."""
        rest = np.setdiff1d(np.arange(len(self.examples)), held_out)
        weights = self.weights(choice, rest, start, ROUGHLY)
        return self.design.take(self.before + held_out).scores(weights), weights
