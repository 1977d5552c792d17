"""The trainer of the embedded model: trains versions of it, and asks trained ones, for the use cases.

Self-training: texts without a label teach the model too, by the surest of its own guesses about them. A model that was
fitted to labelled texts guesses the labels of the others, which then count a little, for some rounds. How little, or
not at all, is chosen on labelled texts that are held out.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.fit import MakeTrainingSet, chosen_hyperparameters, fit
from triage_cli.classifiers.embedded.fitted_model import (
    Floats,
    Integers,
    Model,
    knows_exactly,
    lacks_copies,
    suited_model,
)
from triage_cli.classifiers.embedded.guesses import KEPT_LABELS, likeliest_labels
from triage_cli.classifiers.embedded.inference import Predictor
from triage_cli.classifiers.embedded.language_guard import told
from triage_cli.classifiers.embedded.logistic_regression import TOLERANCE
from triage_cli.classifiers.embedded.score_calibration import (
    ScoreCalibration,
    fitted_calibration,
    judged,
    softmax,
)
from triage_cli.classifiers.embedded.tokens import words_of
from triage_cli.classifiers.embedded.training_set import (
    FINE_FOLDS_TEXTS,
    LEAST_CHANCE,
    TEXTS_TO_CHOOSE,
    Choice,
    TrainingSet,
    TrainingText,
    labelled_texts_of,
    taught_words_of,
)
from triage_cli.ports import Settings

GUESSED_WEIGHTS = (0.1, 0.3)  # of a text with a guessed label, beside 1 of a labelled text
SUREST_SHARE = 0.6  # share of the texts with the same guess that count
GUESS_ROUNDS = 3


class SelfTrainingSet(TrainingSet):
    """Training texts, of which the last ones have no label: each fit guesses their labels anew."""

    def __init__(
        self, categories: Sequence[dm.Category], labelled_texts: Sequence[TrainingText], more: dm.Unlabelled
    ) -> None:
        super().__init__(categories, [*labelled_texts, *(TrainingText(text, 0) for text in more.texts)])
        # A guess teaches no language.
        self.taught_words = taught_words_of(self.texts[: self.wording_count + len(labelled_texts)])
        self.labelled_texts = labelled_texts
        self.other_material = (more,)
        self.weigh(more.weight)

    @cached_property
    def _labelled_set(self) -> TrainingSet:
        return TrainingSet(self.categories, self.labelled_texts)

    def weigh(self, weight: float) -> None:
        """Set the weight of the texts without a label."""
        self.text_weights[self.wording_count + len(self.labelled_texts) :] = weight

    def weights(
        self, choice: Choice, rows: Integers, start: Floats | None = None, tolerance: float = TOLERANCE
    ) -> Floats:
        """Return the weights fitted to the wording, these labelled texts, and the surest guesses about the others."""
        labelled, unlabelled = np.split(rows, [np.searchsorted(rows, len(self.labelled_texts))])
        weights = super().weights(choice, labelled, start, tolerance)
        unlabelled_rows = self.wording_count + unlabelled
        for _ in range(GUESS_ROUNDS if len(unlabelled) else 0):
            scores = self.design.take(unlabelled_rows).scores(weights)
            self.labels[unlabelled_rows] = scores.argmax(axis=1)
            weights = super().weights(
                choice, np.concatenate([labelled, unlabelled[surest_guesses(scores)]]), weights, tolerance
            )
        return weights

    def cross_validated_choice(self) -> Choice:
        """Return the hyperparameters that are best for the labelled texts alone, calibrated with the others too."""
        choice = self._labelled_set.cross_validated_choice()
        if TEXTS_TO_CHOOSE <= len(self.provers) <= FINE_FOLDS_TEXTS:
            return choice  # which are calibrated on finer folds
        return choice._replace(calibration=fitted_calibration(self.held_out(choice), self.prior))

    def best_weight(self) -> float:
        """Return the weight of the texts without a label that is best for held-out labelled texts; 0: none is.

        None is best that makes confidence worse: where labels are noisy, guesses repeat the noise, and make answers
        surer than they are right.
        """
        choice = self._labelled_set.cross_validated_choice()
        tried = {0.0: judged(self._labelled_set.held_out(choice), self.prior)}
        for weight in GUESSED_WEIGHTS:
            self.weigh(weight)
            tried[weight] = judged(self.held_out(choice), self.prior)
        most = tried[0.0].confidence_loss
        no_worse = [weight for weight, each in tried.items() if each.confidence_loss <= most]
        return min(no_worse, key=lambda weight: tried[weight].loss)


def weighed_unlabelled(
    categories: Sequence[dm.Category],
    labelled: Sequence[tuple[str, str]],
    texts: Sequence[str],
    typical: Sequence[tuple[str, str]] = (),
) -> dm.Unlabelled:
    """Return texts without a label that are to count beside labelled ones, with their weight; none if 0 is best."""
    labelled_texts = labelled_texts_of(categories, labelled, typical)
    known_texts = {each.text for each in labelled_texts}
    text_words = {text: words_of(text)[0] for text in texts if text not in known_texts}
    readable = tuple(text for text, tokens in text_words.items() if tokens and not told(text, tokens).foreign)
    if sum(not each.is_typical for each in labelled_texts) < TEXTS_TO_CHOOSE or not readable:
        return dm.NOTHING
    training_set = SelfTrainingSet(categories, labelled_texts, dm.Unlabelled(readable))
    weight = training_set.best_weight()
    return dm.Unlabelled(readable, weight) if weight else dm.NOTHING


def surest_guesses(scores: Floats) -> Integers:
    """Return the indexes of the surest texts of (texts, labels): `SUREST_SHARE` of those with the same guess."""
    chances, guesses = softmax(scores, 1.0).max(axis=1), scores.argmax(axis=1)
    surest_texts = []
    for label in np.unique(guesses):
        guessed_texts = np.flatnonzero(guesses == label)
        by_chance = guessed_texts[np.argsort(-chances[guessed_texts], kind="stable")]
        surest_texts.append(by_chance[: int(np.ceil(SUREST_SHARE * len(by_chance)))])
    return np.sort(np.concatenate(surest_texts))


class LocalTrainer:
    """Implements `ports.Trainer` with the embedded model, for one list of categories."""

    def __init__(self, categories: Sequence[dm.Category], built_in: Callable[[], bytes]) -> None:
        self._categories = categories
        self._levels = dm.Levels.of(categories)
        self.built_in = built_in

    def weighed(self, labelled: Sequence[dm.Labelled], texts: Sequence[str]) -> dm.Unlabelled:
        """Return texts without a label that are worth to be learned from, beside these labelled ones; else none."""
        pairs, typical = _pairs_of(labelled)
        return weighed_unlabelled(self._categories, pairs, texts, typical)

    def settings(self, labelled: Sequence[dm.Labelled], more: dm.Unlabelled = dm.NOTHING) -> Settings:
        pairs, typical = _pairs_of(labelled)
        return chosen_hyperparameters(self._categories, pairs, _make_training_set(more), typical)

    def fit(
        self,
        labelled: Sequence[dm.Labelled],
        more: dm.Unlabelled = dm.NOTHING,
        settings: Settings = (),
        *,
        to_use: bool = False,
        start: bytes = b"",
    ) -> bytes:
        pairs, typical = _pairs_of(labelled)
        choices = [
            Choice(strength, share, ScoreCalibration(*each), taught) for strength, share, each, taught in settings
        ]
        earlier = self._suited_model(start) if start else None
        model = fit(self._categories, pairs, _make_training_set(more), choices, typical, to_use=to_use, start=earlier)
        return model.to_bytes()

    def settings_of(self, weights: bytes) -> Settings:
        model = Model.from_bytes(weights)
        models = [each for each in (model, model.multilingual) if each]
        fitted = [(each.fitted.tolist(), each.calibration) for each in models if each.fitted is not None]
        settings = [(strength, share, calibration[:], taught) for (strength, share, taught), calibration in fitted]
        return settings if len(settings) == len(models) else ()

    def answers(self, weights: bytes, texts: Sequence[str]) -> list[tuple[str | None, float | None]]:
        return likeliest_labels(self._suited_model(weights), texts, self._levels)

    def chances(self, weights: bytes, texts: Sequence[str]) -> list[dm.Chances]:
        found: list[dm.Chances] = [()] * len(texts)
        model = self._suited_model(weights)
        for rows, predicted in Predictor(model, levels=self._levels, explains=False).over(texts):
            best = np.argsort(-predicted.chances, axis=1, kind="stable")[:, :KEPT_LABELS]
            for row, labels, chances in zip(rows, best.tolist(), predicted.chances, strict=True):
                found[row] = [(model.labels[label], float(chances[label])) for label in labels]
        return found

    def losses(self, weights: bytes, labelled: Sequence[dm.Labelled]) -> list[float]:
        """Return a model's log loss on each labelled text, in nats; without words all categories are as likely."""
        model = self._suited_model(weights)
        label_indexes = {label: index for index, label in enumerate(model.labels)}
        losses = [float(np.log(len(model.labels)))] * len(labelled)
        predictor = Predictor(model, levels=self._levels, explains=False)
        for rows, predicted in predictor.over([each.text for each in labelled]):
            for row, chances in zip(rows, predicted.chances, strict=True):
                chance = chances[label_indexes[labelled[row].category]]
                losses[row] = -float(np.log(max(chance, LEAST_CHANCE)))
        return losses

    def seen(self, weights: bytes, texts: Sequence[str]) -> list[bool]:
        return knows_exactly(Model.from_bytes(weights), texts)

    def number_learned(self, weights: bytes) -> int:
        return len(Model.from_bytes(weights).seen)

    def suits(self, weights: bytes) -> bool:
        return suited_model(Model.from_bytes(weights), self._categories) is not None

    def is_outdated(self, weights: bytes, *, of_file: bool) -> bool:
        model = Model.from_bytes(weights)
        return model.own is None or (of_file and lacks_copies(model))

    def _suited_model(self, weights: bytes) -> Model:
        model = Model.from_bytes(weights)
        return suited_model(model, self._categories) or model


def _pairs_of(labelled: Sequence[dm.Labelled]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the texts and labels of what proves something, and of what is typical of its topic."""
    pairs, typical = (
        [(each.text, each.category) for each in labelled if each.is_typical == is_typical]
        for is_typical in (False, True)
    )
    return pairs, typical


def _make_training_set(more: dm.Unlabelled) -> MakeTrainingSet:
    return partial(SelfTrainingSet, more=more) if more.texts else TrainingSet
