"""The training texts of the embedded model: which they are, their vocabulary, and their matrices."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from triage_cli.classifiers.embedded.fitted_model import Floats, word_number
from triage_cli.classifiers.embedded.logistic_regression import Design
from triage_cli.classifiers.embedded.text_scales import LENGTH_DIMENSIONS, count_weights, length_scales
from triage_cli.classifiers.embedded.tokens import bare_word, ngrams_of, words_of
from triage_cli.classifiers.embedded.word_vectors import word_vectors
from triage_cli.classifiers.examples import examples_of
from triage_cli.domain import Category

COMMON_WORD_TEXTS = 2  # training texts with a word from which on it is a term; rarer ones count by their n-grams
MAX_NGRAMS = 30_000  # of a vocabulary; the rarest are left out
# An address or a number of a person is no term: a model keeps its vocabulary readable, and `forget` leaves models.
PERSONAL_WORD = re.compile(r"@|(?:\d\D*){6}")


class TrainingText(NamedTuple):
    """One training text, the index of its label, and its weight."""

    text: str
    label: int
    weight: float = 1.0


class Vocabulary(NamedTuple):
    """The terms of training texts: n-grams (ascending), then whole words.

    `rarity` is the inverse document frequency of each term.
    """

    ngrams: NDArray[np.int32]
    whole_words: tuple[str, ...]
    rarity: Floats


def wording_texts_of(categories: Sequence[Category], languages: Sequence[str]) -> list[TrainingText]:
    """Return the training texts of the categories: names, descriptions whole and by phrase, and examples.

    Built-in examples are taken in these languages. The texts of each category have the same total weight, so that many
    examples do not draw tickets to a category.
    """
    category_groups = []
    for label, (category, examples) in enumerate(zip(categories, examples_of(categories, languages), strict=True)):
        category_name = re.sub(r"[\W_]+", " ", category.name)
        phrases = re.split(r"[,:;.]\s|\s(?:and|or)\s", category.description)
        whole_texts = (f"{category_name}. {category.description}", category_name, *examples)
        category_texts = [TrainingText(text, label) for text in whole_texts]
        category_texts += [TrainingText(text, label, 0.5) for text in phrases if text.casefold() != "everything else"]
        category_groups.append([wording for wording in category_texts if words_of(wording.text)[0]])
    total_weights = [sum(wording.weight for wording in category_texts) for category_texts in category_groups]
    mean_weight = sum(total_weights) / len(total_weights)
    return [
        wording._replace(weight=wording.weight * mean_weight / total_weight)
        for category_texts, total_weight in zip(category_groups, total_weights, strict=True)
        for wording in category_texts
    ]


def labelled_texts_of(categories: Sequence[Category], labelled: Sequence[tuple[str, str]]) -> list[TrainingText]:
    """Return the labelled texts that have words and a category of this list."""
    labels = {category.name: label for label, category in enumerate(categories)}
    return [TrainingText(text, labels[name]) for text, name in labelled if name in labels and words_of(text)[0]]


def taught_words_of(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Return the hashes of all words of training texts, ascending."""
    distinct = {bare_word(word) for text in texts for word in words_of(text)[0]}
    return np.array(sorted({word_number(word) for word in distinct if word}), np.uint32)


class Corpus:
    """Training texts as arrays of word numbers, with the weight of each word in its text."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted_words = [words_of(text) for text in texts]
        all_words = list(dict.fromkeys(word for distinct, _ in counted_words for word in distinct))
        word_numbers = {word: number for number, word in enumerate(all_words)}
        self.texts = [np.array([word_numbers[word] for word in distinct]) for distinct, _ in counted_words]
        self.weights = [count_weights(len(distinct), counts) for distinct, counts in counted_words]
        ngrams, starts = ngrams_of(all_words)
        self._word_ngrams = np.split(ngrams, starts[1:])
        self._bare_words = [bare_word(word) for word in all_words]
        self._word_vectors = word_vectors().of(all_words)

    def vocabulary(self) -> Vocabulary:
        """Return the terms of the training texts: n-grams, and words of several texts that are not personal."""
        text_ngrams = [np.unique(np.concatenate([self._word_ngrams[w] for w in distinct])) for distinct in self.texts]
        ngrams, ngram_counts = np.unique(np.concatenate(text_ngrams), return_counts=True)
        if len(ngrams) > MAX_NGRAMS:
            kept_ngrams = np.sort(np.argsort(-ngram_counts, kind="stable")[:MAX_NGRAMS])
            ngrams, ngram_counts = ngrams[kept_ngrams], ngram_counts[kept_ngrams]
        texts_of_word: dict[str, int] = {}
        for distinct in self.texts:
            for word in dict.fromkeys(self._bare_words[w] for w in distinct):  # in an order that no hash decides
                texts_of_word[word] = texts_of_word.get(word, 0) + 1
        word_counts = {
            word: count
            for word, count in texts_of_word.items()
            if count >= COMMON_WORD_TEXTS and word and not PERSONAL_WORD.search(word)
        }
        term_counts = np.concatenate([ngram_counts, np.fromiter(word_counts.values(), np.int64, len(word_counts))])
        rarity = np.log((1 + len(self.texts)) / (1 + term_counts)) + 1
        return Vocabulary(ngrams.astype(np.int32), tuple(word_counts), rarity.astype(np.float32))

    def design(self, vocabulary: Vocabulary, term_weight: np.float32) -> Design:
        """Return the vectors and weighted terms of the training texts, scaled as for answering; one row per text."""
        word_terms = {word: term for term, word in enumerate(vocabulary.whole_words, len(vocabulary.ngrams))}
        terms_of_word = []  # their indexes in the vocabulary
        for ngrams, word in zip(self._word_ngrams, self._bare_words, strict=True):
            places = np.searchsorted(vocabulary.ngrams, ngrams)
            terms = places[vocabulary.ngrams[np.minimum(places, len(vocabulary.ngrams) - 1)] == ngrams]
            terms_of_word.append(np.append(terms, word_terms[word]) if word in word_terms else terms)
        word_indexes = np.concatenate(self.texts)
        text_indexes = np.repeat(np.arange(len(self.texts)), [len(distinct) for distinct in self.texts])
        word_weights = np.concatenate(self.weights)
        text_starts = np.searchsorted(text_indexes, np.unique(text_indexes))
        sums = np.add.reduceat(self._word_vectors[word_indexes] * word_weights[:, None], text_starts)
        term_counts = np.array([len(terms_of_word[w]) for w in word_indexes])
        rows, columns = np.repeat(text_indexes, term_counts), np.concatenate([terms_of_word[w] for w in word_indexes])
        entries = vocabulary.rarity[columns] * np.repeat(word_weights, term_counts)
        rarities = np.bincount(rows, entries**2, len(self.texts)).astype(np.float32)
        per_vector, per_term = length_scales(sums[:, :LENGTH_DIMENSIONS], rarities)
        term_matrix = csr_matrix(
            (entries * per_term[rows] * term_weight, (rows, columns)),
            shape=(len(self.texts), len(vocabulary.rarity)),
            dtype=np.float32,
        )
        return Design((sums * per_vector[:, None]).astype(np.float32), term_matrix)
