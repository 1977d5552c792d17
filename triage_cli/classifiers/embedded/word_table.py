"""The table of the words that occurred so far, with what each adds to the scores of a text."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from triage_cli.classifiers.embedded.fitted_model import Integers, Model, word_number
from triage_cli.classifiers.embedded.language_guard import leaning_of
from triage_cli.classifiers.embedded.meaningless_words import showable_word, word_marks
from triage_cli.classifiers.embedded.text_scales import LENGTH_DIMENSIONS
from triage_cli.classifiers.embedded.tokens import NGRAM_BUCKETS, bare_word, ngrams_of
from triage_cli.classifiers.embedded.word_vectors import word_vectors
from triage_cli.domain import Suspicion

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


class WordTable:
    """One row for each word: a cut-off vector, the scores for each label by vector and by terms, the rarity.

    For each word it also keeps its leaning to English, its marks, and its traces for `Suspicion`. A full table starts
    again; it has at least `least_rows`.
    """

    def __init__(self, model: Model, suspicion: Suspicion, least_rows: int) -> None:
        self.model = model
        self.suspicion = suspicion
        self.guards_language = model.english and len(model.labels) > 1
        self.taught_words = frozenset(model.taught.tolist())
        label_count = len(model.labels)
        self.vector_columns = slice(LENGTH_DIMENSIONS, LENGTH_DIMENSIONS + label_count)
        self.term_columns = slice(LENGTH_DIMENSIONS + label_count, LENGTH_DIMENSIONS + 2 * label_count)
        row_width = LENGTH_DIMENSIONS + 2 * label_count + 1
        # Takes memory only as it is filled: the system allocates pages when they are written.
        self.max_rows = max(TABLE_BYTES // (4 * row_width), least_rows)
        self.rows = np.empty((self.max_rows, row_width), np.float32)
        self.is_showable = np.empty(self.max_rows, np.bool_)
        self.leanings = np.empty(self.max_rows, np.int8)
        self.marks = np.empty(self.max_rows, np.int32)
        self.traces = np.empty(self.max_rows, np.int64)
        self.shown_words: list[str] = []
        self.word_numbers = _WordNumbers()
        self.vectors = word_vectors()
        self.vector_weights = model.vectors[: self.vectors.dimensions]
        # Row 0 is for n-grams that do not occur in the training texts.
        self.term_rows = np.zeros(NGRAM_BUCKETS, np.int32)
        self.term_rows[model.ngrams] = np.arange(1, len(model.ngrams) + 1)
        self.rarity = np.concatenate([[0], model.rarity]).astype(np.float32)
        term_weights = model.terms * model.rarity[:, None]
        self.term_weights = np.concatenate([np.zeros((1, label_count)), term_weights]).astype(np.float32)
        self.whole_word_terms = {word: term for term, word in enumerate(model.whole_words, len(model.ngrams) + 1)}

    def look_up(self, texts: Sequence[Sequence[str]]) -> Integers:
        """Return the table rows of all words of all texts, after adding new words to the table."""
        if len(self.word_numbers) + sum(map(len, texts)) > self.max_rows:
            self.word_numbers.clear()
            self.shown_words.clear()
        rows = np.fromiter(map(self.word_numbers.__getitem__, chain.from_iterable(texts)), np.int64)
        new_words = self.word_numbers.new_words
        for start in range(0, len(new_words), 1024):  # in parts, to bound memory
            self._add_words(new_words[start : start + 1024])
        new_words.clear()
        return rows

    def _add_words(self, new_words: Sequence[str]) -> None:
        ngrams, ngram_starts = ngrams_of(new_words)
        new_vectors = self.vectors.of(new_words)
        term_rows = self.term_rows[ngrams]
        new_span = slice(len(self.shown_words), len(self.shown_words) + len(new_words))
        new_rows = self.rows[new_span]
        new_rows[:, :LENGTH_DIMENSIONS] = new_vectors[:, :LENGTH_DIMENSIONS]
        # Not by `@`: its last bits depend on which words are added together.
        new_rows[:, self.vector_columns] = np.einsum("wd,dl->wl", new_vectors, self.vector_weights)
        bare_words = [bare_word(word) for word in new_words]
        whole_word_terms = [self.whole_word_terms.get(word, 0) for word in bare_words]
        ngram_scores = np.add.reduceat(self.term_weights[term_rows], ngram_starts)
        new_rows[:, self.term_columns] = ngram_scores + self.term_weights[whole_word_terms]
        ngram_rarities = np.add.reduceat(self.rarity[term_rows] ** 2, ngram_starts)
        new_rows[:, -1] = ngram_rarities + self.rarity[whole_word_terms] ** 2
        shown_words = [showable_word(word) for word in new_words]
        self.is_showable[new_span] = [bool(word) for word in shown_words]
        self.leanings[new_span] = [leaning_of(word) for word in new_words] if self.guards_language else 0
        self.marks[new_span] = [
            word_marks(word, taught=word_number(word) in self.taught_words, learned=bool(number and self.model.learned))
            for word, number in zip(bare_words, whole_word_terms, strict=True)
        ]
        self.traces[new_span] = self.suspicion.traces(new_words)
        self.shown_words += shown_words
