"""Fits the embedded classifier's weights to categories and labelled texts; scikit-learn is needed here alone."""

import re
import warnings
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from triage_cli.classifiers.examples import examples_of
from triage_cli.classifiers.local import LENGTH_DIMENSIONS, Floats, Integers, Model, fingerprint, scales, softmax
from triage_cli.classifiers.words import tokens_of, vocabulary, words_of
from triage_cli.errors import ConfigError
from triage_cli.models import Category

STRENGTH = 10.0  # the inverse of regularisation
# How much terms count beside the vector: a description's few words say less than those of a score of texts.
MANY = 15  # training texts a label
TERMS_OF_MANY, TERMS_OF_FEW = np.float32(1.0), np.float32(0.6)
# Made-up examples are easier than tickets, so that no temperature can be fitted to them: this one is right, or makes
# probabilities somewhat too low, on tickets of several kinds. Labelled texts are tickets and fit their own.
UNLEARNED = 0.8
NEVER = -50.0  # the score of a label nothing can be said for
ENOUGH, FOLDS = 50, 5  # labelled texts to fit a temperature to, and into how many parts they are cut


class Lesson(NamedTuple):
    """One training text: what it says, its label's number, and how much it counts."""

    text: str
    label: int
    weight: float = 1.0


def fit(categories: Sequence[Category], labelled: Sequence[tuple[str, str]] = ()) -> Model:
    """Return a model of these categories, fitted to their wording, their examples, and texts labelled with a name."""
    if not categories:
        raise ConfigError("there are no categories", hint="name at least one under `categories`")
    wording = lessons_of(categories)
    taught = labelled_lessons(categories, labelled)
    lessons = wording + taught
    if not lessons:
        raise ConfigError("the categories have no word to learn from", hint="give them descriptions and examples")
    labels = np.array([lesson.label for lesson in lessons])
    weights = np.array([lesson.weight for lesson in lessons])
    texts = Texts([lesson.text for lesson in lessons])
    tokens, rarity = texts.rarity()
    share = TERMS_OF_MANY if len(lessons) >= MANY * len(categories) else TERMS_OF_FEW
    features = texts.features(tokens, rarity, share)
    slopes, bias = _weights(features, labels, weights, len(categories))
    temperature = _temperature(features, labels, weights, len(taught), len(categories))
    width = vocabulary()[1].shape[1]
    learned = sha256(repr(list(labelled)).encode()).hexdigest() if labelled else ""
    return Model(
        tuple(category.name for category in categories), fingerprint(categories), learned,
        slopes[:width], tokens, rarity, slopes[width:] * share, bias, temperature,
    )  # fmt: skip


def lessons_of(categories: Sequence[Category]) -> list[Lesson]:
    """Return the training texts that categories bring: names, descriptions whole and by phrase, examples.

    Together those of each category weigh the same: many examples of one must not draw away the others' tickets.
    """
    groups = []
    for label, (category, examples) in enumerate(zip(categories, examples_of(categories), strict=True)):
        name = re.sub(r"[\W_]+", " ", category.name)
        phrases = re.split(r"[,:;.]\s|\s(?:and|or)\s", category.description)
        group = [Lesson(text, label) for text in (f"{name}. {category.description}", name, *examples)]
        group += [Lesson(phrase, label, 0.5) for phrase in phrases if phrase.casefold() != "everything else"]
        groups.append([lesson for lesson in group if words_of(lesson.text)])
    totals = [sum(lesson.weight for lesson in group) for group in groups]
    mean = sum(totals) / len(totals)
    return [
        lesson._replace(weight=lesson.weight * mean / total)
        for group, total in zip(groups, totals, strict=True)
        for lesson in group
    ]


def labelled_lessons(categories: Sequence[Category], labelled: Sequence[tuple[str, str]]) -> list[Lesson]:
    """Return the labelled texts that are of these categories and have a word."""
    number = {category.name: label for label, category in enumerate(categories)}
    return [Lesson(text, number[name]) for text, name in labelled if name in number and words_of(text)]


class Texts:
    """Training texts as the tokens of their distinct words."""

    def __init__(self, texts: Sequence[str]) -> None:
        words = [words_of(text) for text in texts]
        known = list(dict.fromkeys(word for text in words for word in text))
        tokens, starts = tokens_of(known)
        of_word = dict(zip(known, np.split(tokens, starts[1:]), strict=True))
        self.tokens = [np.concatenate([of_word[word] for word in text]) for text in words]

    def rarity(self) -> tuple[NDArray[np.int32], Floats]:
        """Return every token met and its inverse document frequency."""
        tokens, counts = np.unique(np.concatenate([np.unique(text) for text in self.tokens]), return_counts=True)
        rarity = np.log((1 + len(self.tokens)) / (1 + counts)) + 1
        return tokens.astype(np.int32), rarity.astype(np.float32)

    def features(self, tokens: NDArray[np.int32], rarity: Floats, share: np.float32) -> Any:
        """Return each text's vector and weighted terms, scaled as they are when answering, as one sparse matrix."""
        lengths = [len(text) for text in self.tokens]
        row = np.repeat(np.arange(len(lengths)), lengths)
        column = np.searchsorted(tokens, np.concatenate(self.tokens))
        weight = rarity[column]
        embedding = vocabulary()[1]
        sums = np.array([embedding[text].astype(np.float32).sum(axis=0) for text in self.tokens])
        per_vector, per_term = scales(sums[:, :LENGTH_DIMENSIONS], np.bincount(row, weight**2).astype(np.float32))
        terms = csr_matrix((weight * per_term[row] * share, (row, column)), shape=(len(lengths), len(tokens)))
        return hstack([csr_matrix(sums * per_vector[:, None]), terms], format="csr")


def _weights(features: Any, labels: Integers, weights: NDArray[np.float64], k: int) -> tuple[Floats, Floats]:
    """Return what each dimension and term speaks for each label, and what the label has from the start."""
    slopes = np.zeros((features.shape[1], k), np.float32)
    met = np.unique(labels)
    bias = np.full(k, NEVER, np.float32)  # a label without a text
    bias[met] = 0
    if len(met) > 1:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # few texts are no mistake
            fitted = LogisticRegression(C=STRENGTH, max_iter=2000).fit(features, labels, sample_weight=weights)
        if len(met) == 2:  # scikit-learn then keeps the second label's side alone
            slopes[:, met] = fitted.coef_.T * np.array([-0.5, 0.5])
            bias[met] = fitted.intercept_ * np.array([-0.5, 0.5])
        else:
            slopes[:, met], bias[met] = fitted.coef_.T, fitted.intercept_
    return slopes, bias


def _temperature(features: Any, labels: Integers, weights: NDArray[np.float64], learned: int, k: int) -> float:
    """Return the temperature at which labelled texts, the last `learned`, are best told by models without them."""
    if learned < ENOUGH:
        return UNLEARNED
    everything = np.arange(len(labels))
    parts = np.random.default_rng(0).permutation(everything[-learned:])
    scores = np.zeros((len(labels), k), np.float32)
    for fold in range(FOLDS):
        held = parts[fold::FOLDS]
        rest = np.setdiff1d(everything, held)
        slopes, bias = _weights(features[rest], labels[rest], weights[rest], k)
        scores[held] = features[held] @ slopes + bias

    def loss(temperature: float) -> float:
        chances = softmax(scores[parts], temperature)[np.arange(learned), labels[parts]]
        return float(-np.log(np.maximum(chances, 1e-9)).mean())

    candidates: list[float] = np.geomspace(0.2, 3, 60).round(3).tolist()
    return min(candidates, key=loss)
