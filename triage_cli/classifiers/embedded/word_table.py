"""The table of the words that occurred so far: what each adds to the scores of a text, and if it means anything."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.encoder import encoded
from triage_cli.classifiers.embedded.fitted_model import Floats, Integers, Model, word_number
from triage_cli.classifiers.embedded.language_guard import leaning_of
from triage_cli.classifiers.embedded.tokens import LENGTH_DIMENSIONS, NGRAM_BUCKETS, bare_word, ngrams_of, word_lists
from triage_cli.classifiers.embedded.word_vectors import word_parts, word_vectors

# A text's marks are the sum of its words': how many are known, how many are content, and how many were taught.
KNOWN, CONTENT, TAUGHT = 1, 1 << 10, 1 << 20  # in a mark
LEAST_KNOWN = 2  # words, one of them content, without which an answer has no confidence
MOST_NEW = 1024  # words that are read together
READABLE_PART = 2  # a text in another language can be read if one in so many of its words was taught

_LISTS = word_lists("meaningless_words.txt")
SILENT = frozenset(_LISTS["common"])
_WEAK = SILENT.union(_LISTS["vague"])  # known, but no content
_MEANINGLESS = frozenset(_LISTS["greetings"]).union(_LISTS["filler"])
_KEYBOARD_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn")
_KEYBOARD = " ".join((*_KEYBOARD_ROWS, *(row[::-1] for row in _KEYBOARD_ROWS)))


def word_marks(word: str, *, taught: bool, learned: bool, any_language: bool = False) -> int:
    """Return the marks of a lower-case word without punctuation around it: whether it is known, content, and taught.

    `taught` words occur in the training texts; `learned` ones in several labelled texts, and may stand alone. In
    `any_language`, all words are known.
    """
    taught_mark = TAUGHT if taught else 0
    if word in _MEANINGLESS or not (any_language or taught or _is_known(word)) or _is_keyboard_noise(word):
        return taught_mark
    if len(word) < (3 if word.isascii() else 2) or word in _WEAK:
        return taught_mark + KNOWN
    return taught_mark + CONTENT + (LEAST_KNOWN if learned else 1) * KNOWN


def is_content(word: str) -> bool:
    """Return whether a lower-case word that several texts have means something."""
    return word_marks(word, taught=True, learned=False) % TAUGHT >= CONTENT


@lru_cache(MOST_NEW)  # each further question is about the same words
def _is_known(word: str) -> bool:
    lexicon = word_vectors().lexicon
    if word.isascii() and word.isalnum():
        return len(word) > 1 and word in lexicon
    known_parts = word_parts(word)
    return bool(known_parts) and all(len(part) > 1 and part in lexicon for part in known_parts)


@lru_cache(MOST_NEW)
def _is_keyboard_noise(word: str) -> bool:
    """Return whether a word has no letters, repeats one or two of them, or is a piece of a row of keys."""
    if not word.isalpha() and not any(map(str.isalpha, word)):
        return True
    return len(word) > 2 and ((len(word) > 3 and word in _KEYBOARD) or len(set(word)) < min(3, len(word) - 1))


def small_words_of(mark_sums: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many words of texts, by the sums of their words' marks, are known and no content."""
    small_words: NDArray[np.int64] = mark_sums % CONTENT - mark_sums // CONTENT % (TAUGHT // CONTENT)
    return small_words


def is_vague(mark_sums: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which texts, by the sums of their words' marks, say too little for a confidence."""
    has_no_content = mark_sums // CONTENT % (TAUGHT // CONTENT) == 0
    vague: NDArray[np.bool_] = (mark_sums % CONTENT < LEAST_KNOWN * KNOWN) | has_no_content
    return vague


def is_readable(mark_sums: NDArray[np.int64], word_counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which texts, by the sums of their words' marks, are mostly of words that were taught."""
    readable: NDArray[np.bool_] = mark_sums // TAUGHT * READABLE_PART >= word_counts
    return readable


def showable_word(word: str) -> str:
    """Return a word as a reason may show it; empty for common words, and for what may be a number or an address."""
    shown = bare_word(word)
    if not (3 if shown.isascii() else 2) <= len(shown) <= 24 or shown in SILENT:
        return ""
    # A vowel sign is no letter, and a part of one: words of Thai have some.
    return shown if all(map(str.isalpha, shown if shown.isascii() else _without_marks(shown))) else ""


def _without_marks(word: str) -> str:
    return "".join(character for character in word if not category(character).startswith("M"))


TABLE_BYTES = 64 << 20  # that the rows of a full table take


class _WordNumbers(dict[str, int]):
    """Numbers words in the order of their first occurrence; `new_words` have no row in the table yet."""

    def __init__(self) -> None:
        super().__init__()
        self.new_words: list[str] = []

    def __missing__(self, word: str) -> int:
        self.new_words.append(word)
        self[word] = word_number = len(self)
        return word_number


class _NewWords(NamedTuple):
    """Words that a table has no rows of yet, the `first` of which is to have this number, and what they are made of."""

    first: int
    words: Sequence[str]
    ngrams: Integers
    ngram_starts: Integers
    vectors: Floats
    bare_words: list[str]
    shown_words: list[str]
    leanings: list[int]


class WordTable:
    """One row for each word: a cut-off vector, the scores for each label by vector and by terms, the rarity.

    For each word it also keeps its leaning to English, its marks, and its traces for `Suspicion`. A full table starts
    again; it has at least `least_rows`. A table that follows another one, `lead`, has its words under their numbers,
    without the vectors. With `any_language`, words are not looked up in the lexicon, and the scores by vector are those
    of the encoder's vector of the word alone, which say what speaks for a label and do not add up: they are left out
    unless it `explains`.
    """

    def __init__(
        self,
        model: Model,
        suspicion: dm.Suspicion,
        least_rows: int,
        lead: "WordTable | None" = None,
        *,
        any_language: bool,
        explains: bool,
    ) -> None:
        self.model = model
        self.suspicion = suspicion
        self.any_language = any_language
        self._explains = explains
        self.taught_words = frozenset(model.taught.tolist())
        label_count = len(model.labels)
        self.length_columns = slice(0 if lead else LENGTH_DIMENSIONS)  # one that follows takes the lengths of its lead
        first = self.length_columns.stop
        self.vector_columns = slice(first, first + label_count)
        self.term_columns = slice(first + label_count, first + 2 * label_count)
        row_width = first + 2 * label_count + 1
        # Takes memory only as it is filled: the system allocates pages when they are written.
        self.max_rows: int = lead.max_rows if lead else max(TABLE_BYTES // (4 * row_width), least_rows)
        self._lead = lead
        self._has_followers = False
        if lead is not None:
            lead._has_followers = True  # noqa: SLF001 - of its own kind
        self.new_words: list[_NewWords] = []  # of the last texts, for tables that follow
        self.fresh_starts = 0  # how often the table was full
        self.words: list[str] = []  # by their numbers
        self.rows = np.empty((self.max_rows, row_width), np.float32)
        self.is_showable = np.empty(self.max_rows, np.bool_)
        self.leanings = np.empty(self.max_rows, np.int8)
        self.marks = np.empty(self.max_rows, np.int32)
        self.traces = np.empty(self.max_rows, np.int64)
        self.shown_words: list[str] = []
        self.word_numbers = _WordNumbers()
        self.vectors = word_vectors()
        # Row 0 is for n-grams that do not occur in the training texts.
        self.term_rows = np.zeros(NGRAM_BUCKETS, np.int32)
        self.term_rows[model.ngrams] = np.arange(1, len(model.ngrams) + 1)
        self.rarity = np.concatenate([[0], model.rarity]).astype(np.float32)
        term_weights = model.terms * model.rarity[:, None]
        self.term_weights = np.concatenate([np.zeros((1, label_count)), term_weights]).astype(np.float32)
        self.whole_word_terms = {
            number: term for term, number in enumerate(model.whole_words.tolist(), len(model.ngrams) + 1)
        }

    def look_up(self, texts: Sequence[Sequence[str]]) -> Integers:
        """Return the table rows of all words of all texts, after adding new words to the table."""
        if len(self.word_numbers) + sum(map(len, texts)) > self.max_rows:
            self.word_numbers.clear()
            self.shown_words.clear()
            self.words.clear()
            self.fresh_starts += 1
        rows = np.fromiter(map(self.word_numbers.__getitem__, chain.from_iterable(texts)), np.int64)
        new_words = self.word_numbers.new_words
        self.words += new_words
        self._add_all(new_words)
        new_words.clear()
        return rows

    def follow(self) -> None:
        """Add the words that the table which this one follows has got since the last call."""
        if self._lead is None:
            return
        if self.fresh_starts != self._lead.fresh_starts:
            self.fresh_starts = self._lead.fresh_starts
            self.shown_words.clear()
        new_words = self._lead.new_words
        if new_words and new_words[0].first == len(self.shown_words) and self.any_language == self._lead.any_language:
            for new in new_words:
                self._add(new)
        else:
            self._add_all(self._lead.words[len(self.shown_words) :])

    def _add_all(self, new_words: Sequence[str]) -> None:
        self.new_words = []
        for start in range(0, len(new_words), MOST_NEW):  # in parts, to bound memory
            new = self._read(new_words[start : start + MOST_NEW])
            self._add(new)
            if self._has_followers:
                self.new_words.append(new)

    def _read(self, words: Sequence[str]) -> _NewWords:
        """Return what is the same of words for all models."""
        ngrams, ngram_starts = ngrams_of(words)
        return _NewWords(
            first=len(self.shown_words),
            words=words,
            ngrams=ngrams,
            ngram_starts=ngram_starts,
            vectors=self._vectors_of(words),
            bare_words=[bare_word(word) for word in words],
            shown_words=[showable_word(word) for word in words],
            leanings=[] if self.any_language else [leaning_of(word) for word in words],
        )

    def _vectors_of(self, words: Sequence[str]) -> Floats:
        if not self.any_language:
            return self.vectors.of(words)
        return encoded(words) if self._explains else np.zeros((len(words), len(self.model.vectors)), np.float32)

    def _add(self, new: _NewWords) -> None:
        term_rows = self.term_rows[new.ngrams]
        new_span = slice(len(self.shown_words), len(self.shown_words) + len(new.words))
        new_rows = self.rows[new_span]
        new_rows[:, self.length_columns] = 0 if self.any_language else new.vectors[:, self.length_columns]
        # Not by `@`: its last bits depend on which words are added together.
        new_rows[:, self.vector_columns] = np.einsum("wd,dl->wl", new.vectors, self.model.vectors)
        word_numbers = [word_number(word) for word in new.bare_words]
        whole_word_terms = [self.whole_word_terms.get(number, 0) for number in word_numbers]
        ngram_scores = np.add.reduceat(self.term_weights[term_rows], new.ngram_starts)
        new_rows[:, self.term_columns] = ngram_scores + self.term_weights[whole_word_terms]
        ngram_rarities = np.add.reduceat(self.rarity[term_rows] ** 2, new.ngram_starts)
        new_rows[:, -1] = ngram_rarities + self.rarity[whole_word_terms] ** 2
        self.is_showable[new_span] = [bool(word) for word in new.shown_words]
        self.leanings[new_span] = 0 if self.any_language else new.leanings
        self.marks[new_span] = [
            word_marks(
                word,
                taught=number in self.taught_words,
                learned=bool(term and self.model.learned),
                any_language=self.any_language,
            )
            for word, number, term in zip(new.bare_words, word_numbers, whole_word_terms, strict=True)
        ]
        self.traces[new_span] = self.suspicion.traces(new.words)
        self.shown_words += new.shown_words
