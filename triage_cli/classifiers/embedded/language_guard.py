"""Tells the language of texts: which are English, which are read by the multilingual encoder, which by nobody.

Most tickets of an English desk are plainly English by their words, each of which leans to English or away from it:
`tools/make_leanings.py` has asked py3langid about each word of the lexicon. py3langid itself is asked about the others.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.tokens import bare_word, words_of
from triage_cli.classifiers.embedded.word_vectors import word_parts, word_vectors

if TYPE_CHECKING:  # takes half a second, and many programs meet no other language
    from py3langid.langid import LanguageIdentifier

LEANINGS_FILE = Path(__file__).with_name("leanings.npy")
LANGUAGES_FILE = Path(__file__).with_name("languages.npz.xz")
UNKNOWN_LEANING = -100  # of a word that the lexicon does not know
PLAIN_ENGLISH = -20  # the mean leaning of the words of a text from which on it is English without further question
MAX_CHARACTERS = 300  # of a text by which its language is told
CLEAR = 0.5  # probability of a language from which on it is told
# Of a text of up to so many characters, it is told from here on: "Question" alone is as good French.
SHORT, CLEAR_IF_SHORT = 25, 0.7
# Below the first probability of English a text may be in another language, below the second it is, if so much speaks
# for the languages that are read. A text of which neither is true is taken for English: for names, codes and typing
# errors no language is likely.
PERHAPS_ENGLISH, HARDLY_ENGLISH, PERHAPS_READ = 0.25, 0.1, 0.35


class Told(NamedTuple):
    """What is told of a text: its language, None where that is not clear, and whether it seems not to be English."""

    language: str | None
    foreign: bool


ENGLISH = Told("en", foreign=False)


@cache
def _leanings() -> NDArray[np.int8]:
    leanings: NDArray[np.int8] = np.load(LEANINGS_FILE, allow_pickle=False)
    return leanings


@lru_cache(4096)  # many texts have the same words
def leaning_of(word: str) -> int:
    """Return the leaning of a lower-case word: above zero to English, far below zero away from it, 0 without letters.

    It is about 20 times the logarithm of how much likelier the word is in English than in the likeliest other language.
    """
    if not any(map(str.isalpha, word)):
        return 0
    parts = [part for part in word_parts(bare_word(word)) if not part.isdigit()]
    lexicon, leanings = word_vectors().lexicon, _leanings()
    each = [int(leanings[row]) if (row := lexicon.row(part)) is not None else UNKNOWN_LEANING for part in parts]
    return round(sum(each) / len(each)) if each else UNKNOWN_LEANING


def are_plainly_english(leanings: NDArray[np.int64], word_counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which texts are plainly English, by the sum of their words' leanings and their number of words."""
    plain: NDArray[np.bool_] = leanings >= PLAIN_ENGLISH * word_counts
    return plain


def told(text: str, distinct: Sequence[str]) -> Told:
    """Return what is told of the language of a text with these distinct words."""
    leanings, word_counts = np.array([sum(map(leaning_of, distinct))]), np.array([len(distinct)])
    return ENGLISH if not distinct or are_plainly_english(leanings, word_counts)[0] else told_by_letters(text)


def told_language(text: str) -> str | None:
    """Return the language of the text of a ticket, None where that is not clear."""
    distinct, _ = words_of(text)
    return told(text, distinct).language if distinct else None


@lru_cache(256)  # asked again for each further question
def told_by_letters(text: str) -> Told:
    """Return what py3langid tells of a text that is not plainly English.

    A few words that English has too are English: of so little, letters say nothing.
    """
    if len(text) <= SHORT and all(leaning_of(word) > UNKNOWN_LEANING for word in words_of(text)[0]):
        return Told(None, foreign=False)
    chances = dict(_identifier().rank(dm.encodable(text[:MAX_CHARACTERS]).lower()))
    language = max(chances, key=chances.__getitem__)
    is_clear = chances[language] >= CLEAR
    is_told = is_clear and (len(text) > SHORT or chances[language] >= CLEAR_IF_SHORT)
    told_language = language if is_told else None
    in_english, in_read = chances["en"], sum(chances[code] for code in dm.READ_LANGUAGES)
    if language == "en" or in_english >= PERHAPS_ENGLISH:
        return Told(told_language, foreign=False)
    is_likely = is_clear or in_read >= CLEAR
    return Told(told_language, is_likely or (in_read >= PERHAPS_READ and in_english < HARDLY_ENGLISH))


@cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import LanguageIdentifier

    return LanguageIdentifier.from_modelpath(LANGUAGES_FILE, norm_probs=True)
