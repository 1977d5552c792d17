"""The training texts of the embedded classifier, and their matrices."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from triage_cli.classifiers.embedded.fitted_model import Floats, word_number
from triage_cli.classifiers.embedded.inference import LENGTH_DIMENSIONS, emphasis, scales
from triage_cli.classifiers.embedded.logistic_regression import Design
from triage_cli.classifiers.embedded.tokens import bare, ngrams_of, words_of
from triage_cli.classifiers.embedded.word_vectors import word_vectors
from triage_cli.classifiers.examples import examples_of
from triage_cli.domain.tickets import Category

COMMON = 2  # texts with a word from which on it is a term; rarer words count by their n-grams
MAX_NGRAMS = 30_000  # terms; the rarest are left out
# An address or a number of a person is no term, since a model keeps its words readable, and `forget` leaves models.
PERSONAL = re.compile(r"@|(?:\d\D*){6}")


class Example(NamedTuple):
    """One training text, the index of its label, and its weight."""

    text: str
    label: int
    weight: float = 1.0


class Vocabulary(NamedTuple):
    """The terms: n-grams (ascending), then whole words; `rarity` is the inverse document frequency of each term."""

    ngrams: NDArray[np.int32]
    whole_words: tuple[str, ...]
    rarity: Floats


def lessons_of(categories: Sequence[Category], languages: Sequence[str]) -> list[Example]:
    """Return the training texts of the categories: names, descriptions whole and by phrase, and examples.

    Built-in examples are taken in these languages. The texts of each category have the same total weight, so that many
    examples do not draw tickets to a category.
    """
    groups = []
    for label, (category, examples) in enumerate(zip(categories, examples_of(categories, languages), strict=True)):
        name = re.sub(r"[\W_]+", " ", category.name)
        phrases = re.split(r"[,:;.]\s|\s(?:and|or)\s", category.description)
        group = [Example(text, label) for text in (f"{name}. {category.description}", name, *examples)]
        group += [Example(phrase, label, 0.5) for phrase in phrases if phrase.casefold() != "everything else"]
        groups.append([example for example in group if words_of(example.text)[0]])
    totals = [sum(example.weight for example in group) for group in groups]
    mean = sum(totals) / len(totals)
    return [
        example._replace(weight=example.weight * mean / total)
        for group, total in zip(groups, totals, strict=True)
        for example in group
    ]


def labelled_lessons(categories: Sequence[Category], labelled: Sequence[tuple[str, str]]) -> list[Example]:
    """Return the labelled texts that have words and a category of this list."""
    number = {category.name: label for label, category in enumerate(categories)}
    return [Example(text, number[name]) for text, name in labelled if name in number and words_of(text)[0]]


def taught_by(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Return the hashes of all words of texts, ascending."""
    distinct = {bare(word) for text in texts for word in words_of(text)[0]}
    return np.array(sorted({word_number(word) for word in distinct if word}), np.uint32)


class Corpus:
    """Training texts as arrays of word numbers, with the weight of each word in its text."""

    def __init__(self, texts: Sequence[str]) -> None:
        split = [words_of(text) for text in texts]
        all_words = list(dict.fromkeys(word for distinct, _ in split for word in distinct))
        number = {word: index for index, word in enumerate(all_words)}
        self.texts = [np.array([number[word] for word in distinct]) for distinct, _ in split]
        self.weights = [emphasis(len(distinct), counts) for distinct, counts in split]
        ngrams, starts = ngrams_of(all_words)
        self._ngrams = np.split(ngrams, starts[1:])
        self._bare = [bare(word) for word in all_words]
        self._vectors = word_vectors().of(all_words)

    def terms(self) -> Vocabulary:
        """Return the terms of these texts: n-grams, and words of at least `COMMON` texts that are not personal."""
        ngrams, counts = np.unique(
            np.concatenate([np.unique(np.concatenate([self._ngrams[w] for w in distinct])) for distinct in self.texts]),
            return_counts=True,
        )
        if len(ngrams) > MAX_NGRAMS:
            kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_NGRAMS])
            ngrams, counts = ngrams[kept], counts[kept]
        text_counts: dict[str, int] = {}
        for distinct in self.texts:
            for word in dict.fromkeys(self._bare[w] for w in distinct):  # in an order that no hash decides
                text_counts[word] = text_counts.get(word, 0) + 1
        common = {w: number for w, number in text_counts.items() if number >= COMMON and w and not PERSONAL.search(w)}
        all_counts = np.concatenate([counts, np.fromiter(common.values(), np.int64, len(common))])
        rarity = np.log((1 + len(self.texts)) / (1 + all_counts)) + 1
        return Vocabulary(ngrams.astype(np.int32), tuple(common), rarity.astype(np.float32))

    def design(self, terms: Vocabulary, share: np.float32) -> Design:
        """Return the vectors and weighted terms of the texts, scaled as for answering; one row per text."""
        word_terms = {word: len(terms.ngrams) + number for number, word in enumerate(terms.whole_words)}
        columns = []  # for each word, the indexes of its terms
        for ngrams, word in zip(self._ngrams, self._bare, strict=True):
            found = np.searchsorted(terms.ngrams, ngrams)
            found = found[terms.ngrams[np.minimum(found, len(terms.ngrams) - 1)] == ngrams]
            columns.append(np.append(found, word_terms[word]) if word in word_terms else found)
        word_indexes = np.concatenate(self.texts)
        text_indexes = np.repeat(np.arange(len(self.texts)), [len(distinct) for distinct in self.texts])
        weights = np.concatenate(self.weights)
        sums = np.add.reduceat(
            self._vectors[word_indexes] * weights[:, None], np.searchsorted(text_indexes, np.unique(text_indexes))
        )
        lengths = np.array([len(columns[w]) for w in word_indexes])
        row, column = np.repeat(text_indexes, lengths), np.concatenate([columns[w] for w in word_indexes])
        weight = terms.rarity[column] * np.repeat(weights, lengths)
        rarities = np.bincount(row, weight**2, len(self.texts)).astype(np.float32)
        per_vector, per_term = scales(sums[:, :LENGTH_DIMENSIONS], rarities)
        sparse = csr_matrix(
            (weight * per_term[row] * share, (row, column)),
            shape=(len(self.texts), len(terms.rarity)),
            dtype=np.float32,
        )
        return Design((sums * per_vector[:, None]).astype(np.float32), sparse)
