"""What the embedded classifier is fitted to: texts with labels, and those texts as numbers."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from triage_cli.classifiers.embedded.inference import LENGTH_DIMENSIONS, emphasis, scales
from triage_cli.classifiers.embedded.logistic_regression import Design
from triage_cli.classifiers.embedded.tokens import bare, tokens_of, vocabulary, words_of
from triage_cli.classifiers.embedded.weights import Floats
from triage_cli.classifiers.examples import examples_of
from triage_cli.domain.tickets import Category

COMMON = 2  # texts that must have a word before it counts as one; rarer ones are known by their tokens


class Example(NamedTuple):
    """One training text: what it says, its label's number, and how much it counts."""

    text: str
    label: int
    weight: float = 1.0


class Vocabulary(NamedTuple):
    """The tokens (numbers, ascending) and whole words that count, and the inverse document frequency of each."""

    tokens: NDArray[np.int32]
    whole_words: tuple[str, ...]
    rarity: Floats


def lessons_of(categories: Sequence[Category]) -> list[Example]:
    """Return the training texts that categories bring: names, descriptions whole and by phrase, examples.

    Together those of each category weigh the same: many examples of one must not draw away the others' tickets.
    """
    groups = []
    for label, (category, examples) in enumerate(zip(categories, examples_of(categories), strict=True)):
        name = re.sub(r"[\W_]+", " ", category.name)
        phrases = re.split(r"[,:;.]\s|\s(?:and|or)\s", category.description)
        group = [Example(text, label) for text in (f"{name}. {category.description}", name, *examples)]
        group += [Example(phrase, label, 0.5) for phrase in phrases if phrase.casefold() != "everything else"]
        groups.append([lesson for lesson in group if words_of(lesson.text)[0]])
    totals = [sum(lesson.weight for lesson in group) for group in groups]
    mean = sum(totals) / len(totals)
    return [
        lesson._replace(weight=lesson.weight * mean / total)
        for group, total in zip(groups, totals, strict=True)
        for lesson in group
    ]


class Corpus:
    """Training texts as the numbers of their distinct words, and how much each of these counts in its text."""

    def __init__(self, texts: Sequence[str]) -> None:
        found = [words_of(text) for text in texts]
        known = list(dict.fromkeys(word for distinct, _ in found for word in distinct))
        number = {word: place for place, word in enumerate(known)}
        self.texts = [np.array([number[word] for word in distinct]) for distinct, _ in found]
        self.weights = [emphasis(len(distinct), counts) for distinct, counts in found]
        tokens, self._starts = tokens_of(known)
        self._tokens = np.split(tokens, self._starts[1:])
        self._bare = [bare(word) for word in known]
        self._vectors = np.add.reduceat(vocabulary()[1][tokens].astype(np.float32), self._starts)

    def terms(self) -> Vocabulary:
        """Return what is met in these texts, words only where more than one text has them."""
        tokens, counts = np.unique(
            np.concatenate([np.unique(np.concatenate([self._tokens[w] for w in distinct])) for distinct in self.texts]),
            return_counts=True,
        )
        having: dict[str, int] = {}
        for distinct in self.texts:
            for word in {self._bare[w] for w in distinct}:
                having[word] = having.get(word, 0) + 1
        common = {word: number for word, number in having.items() if number >= COMMON and word}
        every = np.concatenate([counts, np.fromiter(common.values(), np.int64, len(common))])
        rarity = np.log((1 + len(self.texts)) / (1 + every)) + 1
        return Vocabulary(tokens.astype(np.int32), tuple(common), rarity.astype(np.float32))

    def design(self, terms: Vocabulary, share: np.float32) -> Design:
        """Return the texts' vectors and weighted terms, scaled as they are when answering."""
        place = {word: len(terms.tokens) + number for number, word in enumerate(terms.whole_words)}
        columns = []  # of each known word: the terms it consists of
        for tokens, word in zip(self._tokens, self._bare, strict=True):
            found = np.searchsorted(terms.tokens, tokens)
            found = found[terms.tokens[np.minimum(found, len(terms.tokens) - 1)] == tokens]
            columns.append(np.append(found, place[word]) if word in place else found)
        where = np.concatenate(self.texts)
        text = np.repeat(np.arange(len(self.texts)), [len(distinct) for distinct in self.texts])
        emphasised = np.concatenate(self.weights)
        sums = np.add.reduceat(self._vectors[where] * emphasised[:, None], np.searchsorted(text, np.unique(text)))
        lengths = np.array([len(columns[w]) for w in where])
        row, column = np.repeat(text, lengths), np.concatenate([columns[w] for w in where])
        weight = terms.rarity[column] * np.repeat(emphasised, lengths)
        rarities = np.bincount(row, weight**2, len(self.texts)).astype(np.float32)
        per_vector, per_term = scales(sums[:, :LENGTH_DIMENSIONS], rarities)
        sparse = csr_matrix(
            (weight * per_term[row] * share, (row, column)),
            shape=(len(self.texts), len(terms.rarity)),
            dtype=np.float32,
        )
        return Design((sums * per_vector[:, None]).astype(np.float32), sparse)
