"""Splitting texts into words, and words into the n-grams of their characters."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

MAX_CHARACTERS = 4_000  # of a text that are read, so that a megabyte costs no more than a long mail
MAX_WORDS = 512
MAX_WORD = 64
SIZES = (3, 4, 5)  # characters of an n-gram
BUCKETS = 1 << 18  # numbers of n-grams; two n-grams may share one
_FACTOR = np.uint32(16_777_619)  # of the hash (FNV)
AROUND = ".,;:!?()[]{}<>\"'*-_/"


def tokens_of(text: str) -> list[str]:
    """Return the lower-case words of a text, as often as they occur; none if it has no letters.

    Its length and the number of distinct words are bounded.
    """
    text = text[:MAX_CHARACTERS]
    if not any(map(str.isalpha, text)):
        return []
    tokens = text.lower().split()
    if len(tokens) > MAX_WORDS:
        kept = set(islice(dict.fromkeys(tokens), MAX_WORDS))
        tokens = [token for token in tokens if token in kept]
    return tokens


def words_of(text: str) -> tuple[list[str], list[int] | None]:
    """Return the distinct words of a text in order, and their counts (None: each occurs once)."""
    tokens = tokens_of(text)
    found = Counter(tokens)
    return list(found), None if len(found) == len(tokens) else list(found.values())


def bare(word: str) -> str:
    """Return a word without the punctuation around it."""
    return word.strip(AROUND)


def ngrams_of(distinct: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of all words' n-grams, word by word, and the index at which those of each word start.

    A word is taken without the punctuation around it, between marks of its beginning and end; all digits are alike.
    Each word has at least one number.
    """
    marked = [f"<{bare(word)[:MAX_WORD]}>" for word in distinct]
    lengths = np.fromiter(map(len, marked), np.int64, len(marked))
    letters = np.frombuffer("".join(marked).encode("utf-32-le", "surrogatepass"), np.uint32)
    letters = np.where((letters >= ord("0")) & (letters <= ord("9")), np.uint32(ord("0")), letters)
    owners = np.repeat(np.arange(len(marked)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(letters))  # letters to the end of the word
    hashes = np.zeros(len(letters), np.uint32)
    numbers, of = [np.zeros(0, np.uint32)], [np.flatnonzero(lengths < SIZES[0])]
    numbers.append(np.zeros(len(of[0]), np.uint32))
    for size in range(1, SIZES[-1] + 1):
        following = np.zeros(len(letters), np.uint32)
        following[: max(len(letters) - size + 1, 0)] = letters[size - 1 :]
        hashes = (hashes ^ following) * _FACTOR
        if size in SIZES:
            whole = left >= size
            numbers.append(hashes[whole] >> np.uint32(14))
            of.append(owners[whole])
    order = np.argsort(np.concatenate(of), kind="stable")
    counts = np.bincount(np.concatenate(of), minlength=len(marked))
    return np.concatenate(numbers)[order].astype(np.int64), np.cumsum(counts) - counts
