"""Self-training: texts without a label teach the model too, by the surest of its own guesses about them.

A model that was fitted to labelled texts guesses the labels of the others, which then count a little, for some rounds.
How little, or not at all, is chosen on labelled texts that are held out.
"""

from collections.abc import Sequence
from functools import cached_property
from triage_cli.classifiers.embedded.fitted_model import Floats
from triage_cli.classifiers.embedded.fitted_model import Integers
from triage_cli.classifiers.embedded.language_guard import share_foreign
from triage_cli.classifiers.embedded.logistic_regression import CLOSE
from triage_cli.classifiers.embedded.score_calibration import best_temperature
from triage_cli.classifiers.embedded.score_calibration import fitted
from triage_cli.classifiers.embedded.score_calibration import softmax
from triage_cli.classifiers.embedded.tokens import words_of
from triage_cli.classifiers.embedded.training_set import Choice
from triage_cli.classifiers.embedded.training_set import TRIABLE
from triage_cli.classifiers.embedded.training_set import TrainingSet
from triage_cli.classifiers.embedded.training_texts import Example
from triage_cli.classifiers.embedded.training_texts import labelled_lessons
from triage_cli.classifiers.embedded.training_texts import taught_by
from triage_cli.classifiers.examples import ENGLISH
from triage_cli.domain.learning import NOTHING
from triage_cli.domain.learning import Unlabelled
from triage_cli.domain.tickets import Category
import numpy as np

WEIGHTS = (0.1, 0.3)  # of a text with a guessed label, beside 1 of a labelled text
SUREST = 0.6  # share of the texts with the same guess that count
ROUNDS = 3


class SelfTrainingSet(TrainingSet):
    """Training texts, of which the last ones have no label: each fit guesses their labels anew."""

    def __init__(
        self, categories: Sequence[Category], languages: Sequence[str], examples: Sequence[Example], more: Unlabelled
    ) -> None:
        super().__init__(categories, languages, [*examples, *(Example(text, 0) for text in more.texts)])
        self._languages = languages
        self.taught = taught_by(self.texts[: self.before + len(examples)])  # a guess teaches no language
        self.examples = examples
        self.others = (more,)
        self._more = np.arange(len(examples), len(examples) + len(more.texts))
        self.weigh(more.weight)

    @cached_property
    def _labelled(self) -> TrainingSet:
        return TrainingSet(self.categories, self._languages, self.examples)

    def weigh(self, weight: float) -> None:
        """Set the weight of the texts without a label."""
        self.counts[self.before + self._more] = weight

    def weights(self, choice: Choice, rows: Integers, start: Floats | None = None, close: float = CLOSE) -> Floats:
        """Return the weights fitted to the wording, these labelled texts, and the surest guesses about the others."""
        weights = super().weights(choice, rows, start, close)
        texts = self.before + self._more
        for _ in range(ROUNDS):
            scores = self.design.take(texts).scores(weights)
            self.labels[texts] = scores.argmax(axis=1)
            weights = super().weights(choice, np.concatenate([rows, self._more[surest(scores)]]), weights, close)
        return weights

    def choose(self) -> Choice:
        """Return the hyperparameters that are best for the labelled texts alone, with the calibration of these fits."""
        choice = self._labelled.best_choice()
        return choice._replace(calibration=fitted(self.held_out(choice), self.usual))

    def best_weight(self) -> float:
        """Return the weight of the texts without a label that is best for held-out labelled texts; 0: none is."""
        choice = self._labelled.best_choice()
        losses = {0.0: best_temperature(self._labelled.held_out(choice), self.usual)[0]}
        for weight in WEIGHTS:
            self.weigh(weight)
            losses[weight] = best_temperature(self.held_out(choice), self.usual)[0]
        return min(losses, key=lambda weight: losses[weight])


def weighed(categories: Sequence[Category], labelled: Sequence[tuple[str, str]], texts: Sequence[str]) -> Unlabelled:
    """Return texts without a label that are to count beside labelled ones, with their weight; none if 0 is best."""
    examples, known = labelled_lessons(categories, labelled), {text for text, _ in labelled}
    found = {text: words_of(text)[0] for text in texts if text not in known}
    readable = tuple(text for text, tokens in found.items() if tokens and not share_foreign([tokens]))
    if len(examples) < TRIABLE or not readable:
        return NOTHING
    training_set = SelfTrainingSet(categories, ENGLISH, examples, Unlabelled(readable))
    weight = training_set.best_weight()
    return Unlabelled(readable, weight) if weight else NOTHING


def surest(scores: Floats) -> Integers:
    """Return the indexes of the surest texts of (texts, labels): the share `SUREST` of those with the same guess."""
    chances, guesses = softmax(scores, 1.0).max(axis=1), scores.argmax(axis=1)
    chosen = []
    for label in np.unique(guesses):
        of_label = np.flatnonzero(guesses == label)
        order = of_label[np.argsort(-chances[of_label], kind="stable")]
        chosen.append(order[: int(np.ceil(SUREST * len(order)))])
    return np.sort(np.concatenate(chosen))
