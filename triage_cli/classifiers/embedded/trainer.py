"""The trainer of the embedded model: trains versions of it, and asks trained ones, for the use cases."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from triage_cli.classifiers.embedded.encoder import Encoder
from triage_cli.classifiers.embedded.fit import MakeTrainingSet, chosen_hyperparameters, fit
from triage_cli.classifiers.embedded.fitted_model import Model, knows_encoder, knows_exactly, lacks_copies, suited_model
from triage_cli.classifiers.embedded.guesses import likeliest_labels
from triage_cli.classifiers.embedded.inference import Predictor, inference_steps
from triage_cli.classifiers.embedded.score_calibration import ScoreCalibration
from triage_cli.classifiers.embedded.tokens import tokens_of
from triage_cli.classifiers.embedded.training_set import Choice
from triage_cli.classifiers.embedded.unlabelled_texts import SelfTrainingSet, weighed_unlabelled
from triage_cli.domain import NOTHING, Category, Labelled, Unlabelled
from triage_cli.ports import Settings

LEAST_CHANCE = 1e-6  # bounds the log loss of a single labelled text


class Trainer:
    """Implements `ports.Trainer` with the embedded model, for one list of categories."""

    def __init__(
        self, categories: Sequence[Category], built_in: Callable[[], bytes], encoder: Encoder | None = None
    ) -> None:
        self._categories = categories
        self._encoder = encoder
        self.built_in = built_in

    def weighed(self, labelled: Sequence[Labelled], texts: Sequence[str]) -> Unlabelled:
        """Return texts without a label that are worth to be learned from, beside these labelled ones; else none.

        With an encoder there are none: it would have to read all of them for each training.
        """
        if self._encoder is not None:
            return NOTHING
        return weighed_unlabelled(self._categories, [(each.text, each.category) for each in labelled], texts)

    def settings(self, labelled: Sequence[Labelled], more: Unlabelled = NOTHING) -> Settings:
        """Return the hyperparameters that are best for held-out labelled texts."""
        pairs = [(each.text, each.category) for each in labelled]
        return chosen_hyperparameters(self._categories, pairs, self._encoder, _make_training_set(more))

    def fit(self, labelled: Sequence[Labelled], more: Unlabelled = NOTHING, settings: Settings = ()) -> bytes:
        """Return a model of the categories, labelled texts, and texts without a label."""
        pairs = [(each.text, each.category) for each in labelled]
        choices = [Choice(strength, share, ScoreCalibration(*each)) for strength, share, each in settings]
        return fit(self._categories, pairs, self._encoder, _make_training_set(more), choices).to_bytes()

    def answers(self, weights: bytes, texts: Sequence[str]) -> list[tuple[str | None, float | None]]:
        """Return a model's answers about texts: (category, confidence)."""
        return likeliest_labels(self._suited_model(weights), texts)

    def losses(self, weights: bytes, labelled: Sequence[Labelled]) -> list[float]:
        """Return a model's log loss on each labelled text, in nats; without words all categories are as likely."""
        model = self._suited_model(weights)
        predictor, label_indexes = Predictor(model), {label: index for index, label in enumerate(model.labels)}
        losses = [float(np.log(len(model.labels)))] * len(labelled)
        for rows in inference_steps([each.text for each in labelled]):
            tokens_by_row = {row: tokens for row in rows if (tokens := tokens_of(labelled[row].text))}
            if tokens_by_row:
                chances = predictor.predict(list(tokens_by_row.values())).chances
                for row, label_chances in zip(tokens_by_row, chances, strict=True):
                    chance = label_chances[label_indexes[labelled[row].category]]
                    losses[row] = -float(np.log(max(chance, LEAST_CHANCE)))
        return losses

    def seen(self, weights: bytes, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether a model was trained on exactly this text."""
        return knows_exactly(Model.from_bytes(weights), texts)

    def number_learned(self, weights: bytes) -> int:
        """Return how many labelled texts a model was trained on."""
        return len(Model.from_bytes(weights).seen)

    def suits(self, weights: bytes) -> bool:
        """Return whether a model has these categories, under their present or former names."""
        return suited_model(Model.from_bytes(weights), self._categories) is not None

    def lacks_encoder(self, weights: bytes) -> bool:
        """Return whether a model was trained without the encoder that is configured."""
        return not knows_encoder(Model.from_bytes(weights), self._encoder.fingerprint if self._encoder else "")

    def lacks_copies(self, weights: bytes) -> bool:
        """Return whether a model of an earlier release cannot recognise what it has learned in another spelling."""
        return lacks_copies(Model.from_bytes(weights))

    def _suited_model(self, weights: bytes) -> Model:
        model = Model.from_bytes(weights)
        return suited_model(model, self._categories) or model


def _make_training_set(more: Unlabelled) -> MakeTrainingSet | None:
    return partial(SelfTrainingSet, more=more) if more.texts else None
