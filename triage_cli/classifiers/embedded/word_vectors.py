"""The vectors of words: a table of English words and word pieces, made by `tools/make_vectors.py`."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from triage_cli import domain as dm
from triage_cli.runtime import AGAIN

VECTORS_FILE = Path(__file__).with_name("vectors.npz")

_WORD_PART = re.compile(r"[^\W_]+(?:'[^\W\d_]+)*")


def word_parts(word: str) -> list[str]:
    """Return by what a lower-case word is looked up in the lexicon: its runs of letters and digits, without accents."""
    if word.isascii():
        return [word] if word.isalnum() else _WORD_PART.findall(word)
    decomposed = unicodedata.normalize("NFKD", word.replace("\u2019", "'"))
    return _WORD_PART.findall("".join(c for c in decomposed if not unicodedata.combining(c)))


class Lexicon:
    """The rows of words and word pieces in the table of vectors; a piece that continues a word begins with `##`."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._entry_rows = {entry: row for row, entry in enumerate(entries)}
        self._longest_entry = max(map(len, entries), default=0)

    def __contains__(self, word: str) -> bool:
        return word in self._entry_rows

    @property
    def entries(self) -> list[str]:
        """The words and word pieces, in the order of their rows."""
        return list(self._entry_rows)

    def row(self, word: str) -> int | None:
        """Return the row of a whole word; None if it has none."""
        return self._entry_rows.get(word)

    def rows(self, part: str) -> list[int]:
        """Return the row of a word, else those of the longest word pieces it consists of; empty if there are none."""
        row = self._entry_rows.get(part)
        if row is not None:
            return [row]
        if part.isdigit():  # a number that no list of words has is one of many
            return []
        if "'" in part:
            return list(chain.from_iterable(map(self.rows, part.split("'"))))
        piece_rows, start = [], 0
        while start < len(part):
            prefix = "##" if start else ""
            for end in range(min(len(part), start + self._longest_entry), start, -1):
                row = self._entry_rows.get(prefix + part[start:end])
                if row is not None:
                    piece_rows.append(row)
                    break
            else:
                return []
            start = end
        return piece_rows


class WordVectors:
    """The lexicon and its vectors, (rows, dimensions) as 8-bit numbers and a scale each."""

    def __init__(self, lexicon: Lexicon, vectors: NDArray[np.int8], scale: NDArray[np.float32]) -> None:
        self.lexicon = lexicon
        self._vectors = vectors
        self._scale = scale
        self.dimensions = vectors.shape[1]

    def of(self, distinct: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (words, dimensions) of lower-case words; zero for one that the lexicon does not know.

        A word of several pieces has their mean.
        """
        lexicon_rows: list[int] = []
        piece_shares: list[float] = []
        known_words: list[int] = []  # those that have rows
        row_starts: list[int] = []  # of each known word
        look_up = self.lexicon.rows
        for word_index, word in enumerate(distinct):
            start = len(lexicon_rows)
            for part in word_parts(word):
                piece_rows = look_up(part)
                lexicon_rows += piece_rows
                piece_count = len(piece_rows)
                piece_shares += (1.0,) if piece_count == 1 else (1 / max(piece_count, 1),) * piece_count
            if len(lexicon_rows) > start:
                known_words.append(word_index)
                row_starts.append(start)
        distinct_vectors = np.zeros((len(distinct), self.dimensions), np.float32)
        if lexicon_rows:
            factors = self._scale[lexicon_rows] * np.array(piece_shares, np.float32)
            distinct_vectors[known_words] = np.add.reduceat(self._vectors[lexicon_rows] * factors[:, None], row_starts)
        return distinct_vectors


@cache
def word_vectors() -> WordVectors:
    """Return the word vectors that come with the program. Raises `TriageError` if their file is missing or damaged."""
    try:
        with VECTORS_FILE.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            entries = arrays["entries"].tobytes().decode().split("\n")
            return WordVectors(Lexicon(entries), arrays["vectors"], arrays["scale"])
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise dm.TriageError(f"the word vectors cannot be read: {error}", hint=AGAIN) from error
