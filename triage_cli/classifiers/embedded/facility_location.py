"""Orders texts by weighted facility location: first those that represent all others best."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from triage_cli.classifiers.embedded.fitted_model import Floats
from triage_cli.classifiers.embedded.tokens import words_of
from triage_cli.classifiers.embedded.training_set import Corpus


def most_representative(texts: Sequence[str], doubts: Sequence[float]) -> Iterator[int]:
    """Yield the indexes of texts: first the one that represents all of them best, each counted by its doubt.

    Implements `ports.Ranking`, greedily (Wei, Iyer and Bilmes 2015): the next text is the one that adds most to how
    well the texts so far represent all. A text represents another one as far as they are alike, so near-duplicates come
    late: they add little. Of texts that add as much, the first one comes first.
    """
    likeness, weights = likenesses(texts), np.array(doubts, np.float32)
    represented = np.zeros(len(texts), np.float32)  # how well the texts so far represent each text

    def added(index: int) -> np.float32:
        added_likeness: np.float32 = np.maximum(likeness[index] - represented, 0) @ weights
        return added_likeness

    gains = np.array([added(index) for index in range(len(texts))], np.float32)
    for _ in texts:
        representative = -1
        while (first := int(gains.argmax())) != representative:
            representative = first
            gains[representative] = added(representative)  # less than it was, as others were taken meanwhile
        yield representative
        represented = np.maximum(represented, likeness[representative])
        gains[representative] = -1


def likenesses(texts: Sequence[str]) -> Floats:
    """Return how alike texts are, (texts, texts), up to 1: the cosine of their vectors and terms, as a model has them.

    A text without words is like itself alone.
    """
    likeness = np.eye(len(texts), dtype=np.float32)
    readable = [index for index, text in enumerate(texts) if words_of(text)[0]]
    if readable:
        corpus = Corpus([texts[index] for index in readable])
        design = corpus.design(corpus.vocabulary(), np.float32(1))
        products = design.vectors @ design.vectors.T + _products(design.terms)
        text_lengths = np.sqrt(products.diagonal())
        likeness[np.ix_(readable, readable)] = products / text_lengths[:, None] / text_lengths
    return likeness


# The most terms that are multiplied as a dense matrix: 16 MB with a thousand texts.
MOST_COMMON = 4000


def _products(terms: csr_matrix) -> Floats:
    """Return the products of all pairs of rows.

    In a sparse product a term costs the square of the number of its rows, so the most common ones go into a dense one:
    with a thousand letters of customers it takes a fifth of the time.
    """
    by_term = terms.tocsc()
    by_count = np.argsort(-np.diff(by_term.indptr), kind="stable")
    common, rare = by_term[:, by_count[:MOST_COMMON]].toarray(), by_term[:, by_count[MOST_COMMON:]].tocsr()
    products: Floats = common @ common.T + (rare @ rare.T).toarray()
    return products
