"""The scaling of texts, for training and answering alike: weights of repeated words, and scales for a text's length."""

from collections.abc import Sequence

import numpy as np

from triage_cli.classifiers.embedded.fitted_model import Floats
from triage_cli.classifiers.embedded.tokens import MAX_CHARACTERS

LENGTH_DIMENSIONS = 64  # of a vector, enough to measure its length (they are principal components)
SHORTENED = 0.64  # their share of the whole length of a vector
COUNT_WEIGHTS = np.log(np.maximum(np.arange(MAX_CHARACTERS), 1)).astype(np.float32) + 1  # by the count of a word


def count_weights(word_count: int, counts: Sequence[int] | None) -> Floats:
    """Return the weight of each word of a text: 1 plus the logarithm of its count."""
    return np.ones(word_count, np.float32) if counts is None else COUNT_WEIGHTS[counts]


def length_scales(vectors: Floats, rarities: Floats) -> tuple[Floats, Floats]:
    """Return factors for the summed vector and terms of each text that remove the effect of the text's length."""
    vector_lengths = np.sqrt(np.square(vectors).sum(axis=1))
    term_lengths = np.sqrt(rarities)
    return (
        (SHORTENED / np.maximum(vector_lengths, np.float32(1e-6))).astype(np.float32),
        np.where(term_lengths > 0, 1 / np.maximum(term_lengths, np.float32(1e-6)), 0).astype(np.float32),
    )
