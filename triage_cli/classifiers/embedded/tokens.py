"""Tokens: how texts are split into words and words into n-grams, and what their number and a text's length weigh."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from zlib import adler32, crc32

import numpy as np
from numpy.typing import NDArray

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.fitted_model import Floats

MAX_CHARACTERS = 4_000  # of a text that are read, so that a megabyte costs no more than a long mail
MAX_WORDS = 512  # distinct ones of a text
MAX_WORD_CHARACTERS = 64  # of a word that go into its n-grams
NGRAM_SIZES = (3, 4, 5)  # characters
NGRAM_BUCKETS = 1 << 18  # numbers of n-grams; two n-grams may share one
_FNV_PRIME = np.uint32(16_777_619)  # of the n-grams' hash
PUNCTUATION = ".,;:!?()[]{}<>\"'*-_/"


def word_lists(file_name: str) -> dict[str, list[str]]:
    """Return the word lists of a file beside this one, each by the name in brackets that stands before it."""
    lists: dict[str, list[str]] = {}
    words: list[str] = []
    for line in Path(__file__).with_name(file_name).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            words = lists.setdefault(line.strip("[]"), [])
        elif not line.startswith("#"):
            words += line.split()
    return lists


def read_number(text: str) -> int:
    """Return a 64-bit checksum of the part of a text that is read: every text is looked up by it, so it is quick."""
    data = text[:MAX_CHARACTERS].encode("utf-8", "surrogatepass")
    return crc32(data) << 32 | adler32(data)


def tokens_of(text: str) -> list[str]:
    """Return the lower-case words of a text, as often as they occur; none if it has no letters.

    Its length and the number of distinct words are bounded.
    """
    text = text[:MAX_CHARACTERS]
    if not any(map(str.isalpha, text)):
        return []
    tokens = dm.with_blanks(text.lower()).split()
    if len(tokens) > MAX_WORDS:
        first_words = set(islice(dict.fromkeys(tokens), MAX_WORDS))
        tokens = [token for token in tokens if token in first_words]
    return tokens


def words_of(text: str) -> tuple[list[str], list[int] | None]:
    """Return the distinct words of a text in order, and their counts (None: each occurs once)."""
    tokens = tokens_of(text)
    word_counts = Counter(tokens)
    return list(word_counts), None if len(word_counts) == len(tokens) else list(word_counts.values())


def bare_word(word: str) -> str:
    """Return a word without the punctuation around it."""
    return word.strip(PUNCTUATION)


def ngrams_of(distinct: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of all words' n-grams, word by word, and the index at which those of each word start.

    A word is taken without the punctuation around it, between marks of its beginning and end; all digits are alike.
    Each word has at least one number.
    """
    marked_words = [f"<{bare_word(word)[:MAX_WORD_CHARACTERS]}>" for word in distinct]
    word_lengths = np.fromiter(map(len, marked_words), np.int64, len(marked_words))
    letters = np.frombuffer("".join(marked_words).encode("utf-32-le", "surrogatepass"), np.uint32)
    letters = np.where((letters >= ord("0")) & (letters <= ord("9")), np.uint32(ord("0")), letters)
    word_indexes = np.repeat(np.arange(len(marked_words)), word_lengths)
    letters_left = np.repeat(np.cumsum(word_lengths), word_lengths) - np.arange(len(letters))  # to the end of the word
    hashes = np.zeros(len(letters), np.uint32)
    too_short = np.flatnonzero(word_lengths < NGRAM_SIZES[0])
    ngram_numbers, ngram_words = [np.zeros(len(too_short), np.uint32)], [too_short]
    for size in range(1, NGRAM_SIZES[-1] + 1):
        following = np.zeros(len(letters), np.uint32)
        following[: max(len(letters) - size + 1, 0)] = letters[size - 1 :]
        hashes = (hashes ^ following) * _FNV_PRIME
        if size in NGRAM_SIZES:
            is_whole = letters_left >= size
            ngram_numbers.append(hashes[is_whole] >> np.uint32(14))
            ngram_words.append(word_indexes[is_whole])
    by_word = np.argsort(np.concatenate(ngram_words), kind="stable")
    ngram_counts = np.bincount(np.concatenate(ngram_words), minlength=len(marked_words))
    return np.concatenate(ngram_numbers)[by_word].astype(np.int64), np.cumsum(ngram_counts) - ngram_counts


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
