"""Fits the embedded classifier to categories and labelled texts; strength and temperature come from held-out ones."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from triage_cli.classifiers.embedded.corpus import Corpus, Example, lessons_of
from triage_cli.classifiers.embedded.inference import guesses, softmax
from triage_cli.classifiers.embedded.language_guard import share_foreign
from triage_cli.classifiers.embedded.logistic_regression import CLOSE, solve
from triage_cli.classifiers.embedded.tokens import vocabulary, words_of
from triage_cli.classifiers.embedded.weights import (
    Floats,
    Integers,
    Model,
    fingerprint,
    has_learned,
    suited,
    text_number,
)
from triage_cli.domain.decisions import Labelled
from triage_cli.domain.errors import ConfigError
from triage_cli.domain.evaluation.cross_validation import folds_of, groups_of
from triage_cli.domain.tickets import Category

# How much terms count beside the vector: a description's few words say less than those of a score of texts.
MANY = 15  # training texts a label
TERMS_OF_MANY, TERMS_OF_FEW = np.float32(1.0), np.float32(0.6)
STRENGTHS = (10.0, 3.0, 1.0)  # inverses of the penalty to choose from; the first is taken where nothing can be tried
SHARES = (1.0, 0.2)  # how much the categories' own wording may count beside labelled texts, the first as before
# Made-up examples are easier than tickets, so that no temperature can be fitted to them: this one is right, or makes
# probabilities somewhat too low, on tickets of several kinds. It counts as much as `PRIOR` labelled texts.
UNLEARNED, PRIOR = 0.8, 10.0
FOLDS = 5
ROUGHLY = 1e-4  # how closely weights are found while choosing
TRIABLE = 15  # labelled texts from which on strength and share are chosen
MUCH = 10_000  # texts times labels from which on one held-out fold must do
READABLE = 0.1  # of the labelled texts: so many of other languages, and the model reads these as well
TEMPERATURES: list[float] = np.geomspace(0.2, 3, 60).round(3).tolist()


class Choice(NamedTuple):
    """How to fit: strength, the share of the categories' own wording, and the temperature of the answers."""

    strength: float = STRENGTHS[0]
    share: float = SHARES[0]
    temperature: float = UNLEARNED


def fit(
    categories: Sequence[Category], labelled: Sequence[tuple[str, str]] = (), choice: Choice | None = None
) -> Model:
    """Return a model of these categories, fitted to their wording, their examples, and texts labelled with a name.

    How to fit is found out on held-out labelled texts, unless it is said.
    """
    if not categories:
        raise ConfigError("there are no categories", hint="name at least one under `categories`")
    wording = lessons_of(categories)
    taught = labelled_lessons(categories, labelled)
    if not wording + taught:
        raise ConfigError("the categories have no word to learn from", hint="give them descriptions and examples")
    course = TrainingSet(wording, taught, len(categories))
    choice = choice or course.choose()
    weights = course.weights(choice, np.arange(len(taught)))
    width = vocabulary()[1].shape[1]
    learned = sha256(repr((list(labelled), choice)).encode("utf-8", "replace")).hexdigest() if labelled else ""
    seen = np.array(sorted({text_number(lesson.text) for lesson in taught}), np.uint64)
    return Model(
        tuple(category.name for category in categories), fingerprint(categories), learned, weights[:width],
        course.terms.tokens, course.terms.whole_words, course.terms.rarity,
        weights[width:-1] * course.emphasis, weights[-1],
        choice.temperature, seen, share_foreign([words_of(lesson.text)[0] for lesson in taught]) < READABLE,
    )  # fmt: skip


def labelled_lessons(categories: Sequence[Category], labelled: Sequence[tuple[str, str]]) -> list[Example]:
    """Return the labelled texts that are of these categories and have a word."""
    number = {category.name: label for label, category in enumerate(categories)}
    return [Example(text, number[name]) for text, name in labelled if name in number and words_of(text)[0]]


class TrainingSet:
    """All there is to learn, as numbers: the categories' wording first, labelled texts after it."""

    def __init__(self, wording: Sequence[Example], taught: Sequence[Example], k: int) -> None:
        lessons = [*wording, *taught]
        texts = Corpus([lesson.text for lesson in lessons])
        self.k = k
        self.terms = texts.terms()
        self.emphasis = TERMS_OF_MANY if len(lessons) >= MANY * k else TERMS_OF_FEW
        self.design = texts.design(self.terms, self.emphasis)
        self.labels = np.array([lesson.label for lesson in lessons])
        self.counts = np.array([lesson.weight for lesson in lessons])
        self.before = len(wording)
        self.taught = taught

    def weights(self, choice: Choice, rows: Integers, start: Floats | None = None, close: float = CLOSE) -> Floats:
        """Return the weights fitted to the wording and these labelled texts."""
        taken = np.concatenate([np.arange(self.before), self.before + rows])
        counts = self.counts[taken]
        counts[: self.before] *= choice.share
        return solve(self.design.take(taken), self.labels[taken], counts, self.k, 1 / choice.strength, start, close)

    def choose(self) -> Choice:
        """Return how to fit: what tells held-out labelled texts best. Near duplicates are held out together."""
        number = len(self.taught)
        shares = SHARES if self.before and number * self.k <= MUCH else SHARES[:1]  # of much, the wording is a drop
        tried: dict[Choice, list[tuple[Floats, Integers]]] = {}
        for held in self._folds() if number > 1 else ():
            for share in shares if number >= TRIABLE else SHARES[:1]:
                start = None
                for strength in sorted(STRENGTHS) if number >= TRIABLE else STRENGTHS[:1]:
                    scores, start = self._tried(Choice(strength, share), held, start)
                    tried.setdefault(Choice(strength, share), []).append((scores, self.labels[self.before + held]))
        found = [(*_temperature(scored), choice) for choice, scored in tried.items()]
        if not found:
            return Choice()
        _, temperature, choice = min(found)
        return choice._replace(temperature=temperature)

    def _folds(self) -> Iterator[Integers]:
        """Yield which labelled texts are held out; of much, one fold tells enough."""
        labels = [lesson.label for lesson in self.taught]
        folds = np.array(folds_of(labels, groups_of([lesson.text for lesson in self.taught]), FOLDS))
        for fold in range(1 if len(folds) * self.k > MUCH else FOLDS):
            held = np.flatnonzero(folds == fold)
            if 0 < len(held) < len(folds):
                yield held

    def _tried(self, choice: Choice, held: Integers, start: Floats | None) -> tuple[Floats, Floats]:
        """Return the scores that a model of all other labelled texts gives the held-out ones, and its weights."""
        rest = np.setdiff1d(np.arange(len(self.taught)), held)
        weights = self.weights(choice, rest, start, ROUGHLY)
        return self.design.take(self.before + held).scores(weights), weights


def _temperature(scored: Sequence[tuple[Floats, Integers]]) -> tuple[float, float]:
    """Return the loss a text at the temperature that tells held-out texts best, and that temperature."""
    scores = np.concatenate([scores for scores, _ in scored])
    labels = np.concatenate([labels for _, labels in scored])

    def loss(temperature: float) -> float:
        chances = softmax(scores, temperature)[np.arange(len(labels)), labels]
        nats = float(-np.log(np.maximum(chances, 1e-6)).sum())
        return nats + PRIOR / 2 * float(np.log(temperature / UNLEARNED)) ** 2

    best = min(TEMPERATURES, key=loss)
    return loss(best) / len(labels), best


class Trainer:
    """Implements `ports.Trainer` for one list of categories."""

    def __init__(self, categories: Sequence[Category], built_in: Callable[[], bytes]) -> None:
        self._categories = categories
        self.built_in = built_in

    def fit(self, labelled: Sequence[Labelled]) -> bytes:
        """Return a model of the categories and labelled texts."""
        return fit(self._categories, [(each.text, each.category) for each in labelled]).to_bytes()

    def answers(self, weights: bytes, texts: Sequence[str]) -> list[tuple[str | None, float | None]]:
        """Return what a model says of texts: a category and how sure it is."""
        model = Model.from_bytes(weights)
        return guesses(suited(model, self._categories) or model, texts)

    def seen(self, weights: bytes, texts: Sequence[str]) -> list[bool]:
        """Tell of texts whether a model has learned them."""
        return has_learned(Model.from_bytes(weights), texts)

    def suits(self, weights: bytes) -> bool:
        """Tell whether a model is for these categories, under their present or former names."""
        return suited(Model.from_bytes(weights), self._categories) is not None
