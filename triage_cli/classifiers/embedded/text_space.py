"""The space in which topics are sought: vectors of length 1 for texts, near each other if the texts are alike.

Two views count alike: the sum of the vectors of a text's words, in which rare ones count more and what all texts have
in common is taken out (Arora et al. 2017), and its terms by rarity in fewer dimensions (latent semantic analysis, by
the randomised decomposition of Halko et al. 2011). The first is better on short texts, the second on long letters.
Where many texts are not in English, the multilingual encoder takes the place of both, so that topics are subjects and
not languages.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from triage_cli.classifiers.embedded.encoder import encoded
from triage_cli.classifiers.embedded.fitted_model import Floats
from triage_cli.classifiers.embedded.language_guard import are_plainly_english, leaning_of
from triage_cli.classifiers.embedded.tokens import bare_word, count_weights, words_of
from triage_cli.classifiers.embedded.word_table import SILENT, is_content
from triage_cli.classifiers.embedded.word_vectors import word_vectors
from triage_cli.domain import TOPIC_CHARACTERS

LEAST_TEXTS = 2  # with a word of the space: one that occurs in a single text makes no texts alike
RARE_SHARE = np.float32(1e-3)  # of all words; the weight of a word with this share is halved
SILENT_WEIGHT = np.float32(0.3)
COMMON_SHARE = 0.3  # of the texts; a word in more of them is no term
FOREIGN_SHARE = 0.1  # of the texts that are not plainly English, above which the encoder is used
DIMENSIONS, SPARE_DIMENSIONS, ROUNDS = 64, 10, 3  # of the terms; the spare ones make the others exact


class TextSpace:
    """A space that is fitted to texts; `words` are those that occur in several of them."""

    def __init__(self, texts: Sequence[str]) -> None:
        bags = [_bag(text) for text in texts]
        text_counts = Counter(chain.from_iterable(bags))
        self.words = [word for word, count in text_counts.items() if count >= LEAST_TEXTS]
        self._word_numbers = {word: number for number, word in enumerate(self.words)}
        self.counts = np.fromiter((text_counts[word] for word in self.words), np.int64, len(self.words))
        self.is_content = np.fromiter(map(is_content, self.words), np.bool_, len(self.words))
        is_silent = np.fromiter((word in SILENT for word in self.words), np.bool_, len(self.words))
        self.bags = self._matrix(bags)
        self._is_multilingual = self._foreign_share() > FOREIGN_SHARE
        self._fit_words(texts, is_silent)
        self._fit_terms(is_silent, len(texts))
        self.vectors = self._vectors(texts, self.bags)  # of the texts that the space is fitted to

    def _foreign_share(self) -> float:
        """Return the share of texts that are not plainly English."""
        has_word = self.bags > 0
        leanings = has_word @ np.fromiter(map(leaning_of, self.words), np.int64, len(self.words))
        is_plain = are_plainly_english(leanings, has_word @ np.ones(len(self.words), np.int64))
        return 1 - float(is_plain.mean()) if len(is_plain) else 0.0

    def _fit_words(self, texts: Sequence[str], is_silent: NDArray[np.bool_]) -> None:
        shares = (self.counts / max(1, self.counts.sum())).astype(np.float32)
        weights = RARE_SHARE / (RARE_SHARE + shares) * np.where(is_silent, SILENT_WEIGHT, np.float32(1))
        self._word_vectors = word_vectors().of(self.words) * weights[:, None]
        sums = self._meanings(texts, self.bags)
        self._mean = sums.mean(axis=0) if len(sums) else np.zeros(sums.shape[1], np.float32)
        sums -= self._mean
        _, axes = np.linalg.eigh(sums.T @ sums)
        self._first_axis = axes[:, -1:].astype(np.float32)

    def _fit_terms(self, is_silent: NDArray[np.bool_], text_count: int) -> None:
        rarities = np.log((text_count + 1) / (self.counts + 1)).astype(np.float32)
        self._rarities = np.where(is_silent | (self.counts > COMMON_SHARE * text_count), np.float32(0), rarities)
        terms = self._terms(self.bags)
        random = np.random.default_rng(0).standard_normal((len(self.words), DIMENSIONS + SPARE_DIMENSIONS))
        basis = random.astype(np.float32)
        for _ in range(ROUNDS):
            basis, _ = np.linalg.qr(terms @ basis)
            basis, _ = np.linalg.qr(terms.T @ basis)
        projected = terms @ basis
        _, axes = np.linalg.eigh(projected.T @ projected)
        self._term_axes = (basis @ axes[:, ::-1][:, :DIMENSIONS]).astype(np.float32)

    def vectors_of(self, texts: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the vectors of texts, and which of them say something."""
        bags = self._matrix([_bag(text) for text in texts])
        return self._vectors(texts, bags), self.says_something(bags)

    def says_something(self, bags: csr_matrix) -> NDArray[np.bool_]:
        """Return which texts have a word that means something, and that another text has, too."""
        has_content: NDArray[np.bool_] = bags @ self.is_content.astype(np.float32) > 0
        return has_content

    def _meanings(self, texts: Sequence[str], bags: csr_matrix) -> Floats:
        return encoded(texts).copy() if self._is_multilingual else unit(bags @ self._word_vectors)

    def _vectors(self, texts: Sequence[str], bags: csr_matrix) -> Floats:
        sums = self._meanings(texts, bags) - self._mean
        if self._is_multilingual:  # terms would part the languages, and sentences have no axis in common
            return unit(sums)
        sums -= (sums @ self._first_axis) @ self._first_axis.T
        return unit(np.hstack([unit(sums), unit(self._terms(bags) @ self._term_axes)]))

    def _terms(self, bags: csr_matrix) -> csr_matrix:
        terms = csr_matrix(bags.multiply(self._rarities[None, :]), dtype=np.float32)
        lengths = np.sqrt(np.asarray(terms.multiply(terms).sum(axis=1), np.float32).ravel())
        return csr_matrix(terms.multiply(1 / np.maximum(lengths, np.float32(1e-6))[:, None]), dtype=np.float32)

    def _matrix(self, bags: Sequence[dict[str, float]]) -> csr_matrix:
        numbers, weights, ends = [], [], [0]
        for bag in bags:
            for word, weight in bag.items():
                number = self._word_numbers.get(word)
                if number is not None:
                    numbers.append(number)
                    weights.append(weight)
            ends.append(len(numbers))
        return csr_matrix((np.array(weights, np.float32), numbers, ends), shape=(len(bags), len(self.words)))


def unit(vectors: Floats) -> Floats:
    """Return vectors scaled to length 1; those without a direction stay zero."""
    lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    scaled: Floats = (vectors / np.maximum(lengths, np.float32(1e-6))).astype(np.float32)
    return scaled


def _bag(text: str) -> dict[str, float]:
    """Return the words of a text, each with its weight."""
    distinct, counts = words_of(text[:TOPIC_CHARACTERS])
    bag: dict[str, float] = {}
    for word, weight in zip(map(bare_word, distinct), count_weights(len(distinct), counts).tolist(), strict=True):
        if word:
            bag[word] = max(bag.get(word, 0.0), weight)
    return bag
