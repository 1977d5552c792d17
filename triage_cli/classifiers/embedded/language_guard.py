"""Detects texts that seem not to be English, the only language that the embedded model reads.

Each word leans to English or away from it, by lists of common words and by its letters. The guard prevents sure answers
about texts that were not understood; it does not identify languages.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from triage_cli.classifiers.embedded.tokens import PUNCTUATION, word_lists

WORDS_PER_LEANING = 4  # a text is foreign if its leaning is at most -1 per so many distinct words
PLAINLY_FOREIGN = -6  # or if its leaning is at most this

_FOREIGN_ELISION = re.compile(r"(?:[cdjlmnst]|qu|un|d?all|dell|nell|sull|dov|com|quest|quell)'[^\W\d_]{2,}")
_FOREIGN_ENDING = re.compile(
    r".{3,}(?:keit|lich|schaft|ieren|iert|zione|zioni|idad|idade|ciones|mente|heden|igheid|elijk|elijke|ijke)"
    r"|.{5,}(?:ung|ungen|problem|probleme|fehler|anfrage|ausfall)"
)
# Letters of other scripts, without mathematical and decorative forms of Latin letters.
_OTHER_SCRIPTS = re.compile(
    "[\u0370-\u1cff\u1f00-\u1fff\u2c00-\u2c5f\u2c80-\u2dff\u2e80-\ua63f\ua640-\ua6ff\ua800-\uab2f\uab70-\ufaff"
    "\ufb13-\ufdff\ufe70-\ufefc\uff66-\uffdc\U00010000-\U0001cfff\U0001e800-\U0001efff\U00020000-\U0003ffff]"
)
_ACCENTED_LETTER = re.compile("[\u00df-\u00f6\u00f8-\u024f\u1e00-\u1eff]")
_QUOTES = PUNCTUATION + "«»„“”‘’‹›¿¡…–—"


@cache
def _leanings() -> Mapping[str, int]:
    lists = word_lists("word_leanings.txt")
    return {word: int(leaning) for leaning, words in lists.items() for word in words}


def leaning_of(word: str) -> int:
    """Return the leaning of a lower-case word: above zero to English, below zero away from it."""
    bare_word = word.strip(PUNCTUATION)
    if not bare_word.isascii():
        bare_word = word.replace("’", "'").strip(_QUOTES)
    bare_word = bare_word.removesuffix("'s")
    leaning = _leanings().get(bare_word)
    if leaning is not None:
        return leaning
    if _OTHER_SCRIPTS.search(bare_word) or ("'" in bare_word and _FOREIGN_ELISION.fullmatch(bare_word)):
        return -2
    return -1 if _ACCENTED_LETTER.search(bare_word) or _FOREIGN_ENDING.fullmatch(bare_word) else 0


def are_foreign(leanings: NDArray[np.int64], word_counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which texts seem not to be English, from the sum of their words' leanings and their number of words."""
    return (leanings < 0) & ((-WORDS_PER_LEANING * leanings >= word_counts) | (leanings <= PLAINLY_FOREIGN))


def share_foreign(texts: Sequence[Sequence[str]]) -> float:
    """Return the share of texts (lists of words) that seem not to be English; 0 if there are none."""
    leanings = np.array([sum(map(leaning_of, tokens)) for tokens in texts], np.int64)
    word_counts = np.array([len(tokens) for tokens in texts])
    return float(are_foreign(leanings, word_counts).mean()) if texts else 0.0
