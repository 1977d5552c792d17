"""Inference with the embedded model: a table of words, with what each adds to the scores of a text."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from triage_cli.classifiers.embedded.fitted_model import Floats, Integers, Model, word_number
from triage_cli.classifiers.embedded.language_guard import foreign, lean_of
from triage_cli.classifiers.embedded.meaningless_words import is_readable, is_vague, marks, showable
from triage_cli.classifiers.embedded.tokens import (
    MAX_CHARACTERS,
    MAX_WORDS,
    NGRAM_BUCKETS,
    bare,
    ngrams_of,
)
from triage_cli.classifiers.embedded.word_vectors import word_vectors
from triage_cli.domain.hostile_text.prompt_injection import Suspicion

LENGTH_DIMENSIONS = 64  # of a vector, enough to measure its length (they are principal components)
SHORTENED = 0.64  # their share of the whole length of a vector
# Texts and their characters that are in one step of inference: as much as a processor's second cache holds.
STEP_TEXTS, STEP_CHARACTERS = 96, 64_000
TABLE_BYTES = 64 << 20  # of the words that a predictor keeps
INDEX_BITS, NUMBER_BITS = 18, 24  # of numbers that are sorted as one key: enough for a step of inference

_COUNT_WEIGHTS = np.log(np.maximum(np.arange(MAX_CHARACTERS), 1)).astype(np.float32) + 1


def count_weights(word_count: int, counts: Sequence[int] | None) -> Floats:
    """Return the weight of each word of a text: 1 plus the logarithm of its count."""
    return np.ones(word_count, np.float32) if counts is None else _COUNT_WEIGHTS[counts]


class _WordNumbers(dict[str, int]):
    """Numbers words in the order of their first occurrence; `new_words` are not in the predictor's table yet."""

    def __init__(self) -> None:
        super().__init__()
        self.new_words: list[str] = []

    def __missing__(self, word: str) -> int:
        self.new_words.append(word)
        self[word] = word_number = len(self)
        return word_number


def inference_steps(texts: Sequence[str]) -> Iterator[range]:
    """Yield the indexes of the texts of each step of inference."""
    start, characters = 0, 0
    for end, text in enumerate(texts):
        characters += min(len(text), MAX_CHARACTERS)
        if end - start == STEP_TEXTS or characters > STEP_CHARACTERS:
            yield range(start, end)
            start, characters = end, min(len(text), MAX_CHARACTERS)
    if texts:
        yield range(start, len(texts))


class Prediction(NamedTuple):
    """Predictions for texts: probabilities (texts, labels), the best two labels, the strongest words for the best one.

    `foreign` marks texts that seem to be in a language that was not taught, `vague` those that say too little for a
    probability, `doubtful` those that `Suspicion.found` must check.
    """

    chances: Floats
    best: Integers
    runner_up: Integers
    strongest_words: list[list[str]]
    foreign: NDArray[np.bool_]
    vague: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]


class Predictor:
    """Predicts by a table of words, one row each: a cut-off vector, scores for each label by vector and terms, rarity.

    For each word it also keeps its leaning to English, its marks (`content`), and its traces for `Suspicion`.
    """

    def __init__(self, model: Model, suspicion: Suspicion | None = None) -> None:
        self.model = model
        self.suspicion = suspicion or Suspicion(())
        self.required_traces = np.array(self.suspicion.required, np.int64)
        self.guards_language = model.english and len(model.labels) > 1
        self.other = Predictor(model.other) if model.other else None
        self.taught_words = frozenset(model.taught.tolist())
        label_count = len(model.labels)
        self.vector_columns = slice(LENGTH_DIMENSIONS, LENGTH_DIMENSIONS + label_count)
        self.term_columns = slice(LENGTH_DIMENSIONS + label_count, LENGTH_DIMENSIONS + 2 * label_count)
        width = LENGTH_DIMENSIONS + 2 * label_count + 1
        # Takes memory only as it is filled: the system allocates pages when they are written.
        self.max_rows = max(TABLE_BYTES // (4 * width), STEP_CHARACTERS)
        self.rows = np.empty((self.max_rows, width), np.float32)
        self.is_showable = np.empty(self.max_rows, np.bool_)
        self.leanings = np.empty(self.max_rows, np.int8)
        self.marks = np.empty(self.max_rows, np.int32)
        self.traces = np.empty(self.max_rows, np.int64)
        self.shown_words: list[str] = []
        self.word_numbers = _WordNumbers()
        self.vectors = word_vectors()
        self.word_part, self.encoder_part = np.split(model.vectors, [self.vectors.dimensions])
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
        ngrams, starts = ngrams_of(new_words)
        vectors = self.vectors.of(new_words)
        term_rows = self.term_rows[ngrams]
        span = slice(len(self.shown_words), len(self.shown_words) + len(new_words))
        rows = self.rows[span]
        rows[:, :LENGTH_DIMENSIONS] = vectors[:, :LENGTH_DIMENSIONS]
        # Not by `@`: its last bits depend on which words are added together.
        rows[:, self.vector_columns] = np.einsum("wd,dl->wl", vectors, self.word_part)
        bare_words = [bare(word) for word in new_words]
        whole_word_terms = [self.whole_word_terms.get(word, 0) for word in bare_words]
        ngram_scores = np.add.reduceat(self.term_weights[term_rows], starts)
        rows[:, self.term_columns] = ngram_scores + self.term_weights[whole_word_terms]
        rows[:, -1] = np.add.reduceat(self.rarity[term_rows] ** 2, starts) + self.rarity[whole_word_terms] ** 2
        shown = [showable(word) for word in new_words]
        self.is_showable[span] = [bool(word) for word in shown]
        self.leanings[span] = [lean_of(word) for word in new_words] if self.guards_language else 0
        self.marks[span] = [
            marks(word, taught=word_number(word) in self.taught_words, learned=bool(number and self.model.learned))
            for word, number in zip(bare_words, whole_word_terms, strict=True)
        ]
        self.traces[span] = self.suspicion.traces(new_words)
        self.shown_words += shown

    def predict(self, texts: Sequence[Sequence[str]], encoded: Floats | None = None) -> Prediction:
        """Return the predictions for texts (their words), none of which is empty.

        `encoded` are an encoder's vectors (texts, dimensions), if the model was fitted to them.
        """
        word_numbers, text_indexes, word_weights = self._distinct_words(texts)
        word_counts = np.bincount(text_indexes, minlength=len(texts))
        starts = np.cumsum(word_counts) - word_counts
        rows = self.rows.take(word_numbers, axis=0)
        rows *= word_weights[:, None]
        rows[:, -1] *= word_weights
        sums = np.add.reduceat(rows, starts)
        vector_scales, term_scales = length_scales(sums[:, :LENGTH_DIMENSIONS], sums[:, -1])
        vector_scores = sums[:, self.vector_columns] * vector_scales[:, None]
        scores = vector_scores + sums[:, self.term_columns] * term_scales[:, None]
        if encoded is not None:
            scores += encoded @ self.encoder_part
        chances = self.model.calibration.chances((scores + self.model.bias).astype(np.float32))
        best, runner_up = best_two_labels(chances)
        word_indexes = np.arange(len(word_numbers))

        def lead(columns: slice) -> Floats:
            label_scores = rows[:, columns]
            return label_scores[word_indexes, best[text_indexes]] - label_scores[word_indexes, runner_up[text_indexes]]

        vector_leads = lead(self.vector_columns) * vector_scales[text_indexes]
        advantages = vector_leads + lead(self.term_columns) * term_scales[text_indexes]
        leanings = np.add.reduceat(self.leanings[word_numbers], starts, dtype=np.int64)
        traces = np.bitwise_or.reduceat(self.traces[word_numbers], starts)[:, None]
        doubtful = ((traces & self.required_traces) == self.required_traces).any(axis=1) | (word_counts == MAX_WORDS)
        mark_sums = np.add.reduceat(self.marks[word_numbers], starts, dtype=np.int64)
        is_foreign = foreign(leanings, word_counts) & ~is_readable(mark_sums, word_counts)
        vague = is_vague(mark_sums) & (len(self.model.labels) > 1)
        strongest_words = self._strongest_words(word_numbers, text_indexes, advantages, len(texts))
        prediction = Prediction(chances, best, runner_up, strongest_words, is_foreign, vague, doubtful)
        if self.other is not None and is_foreign.any():
            foreign_texts = np.flatnonzero(is_foreign)
            others = self.other.predict([texts[row] for row in foreign_texts.tolist()])
            replace_predictions(prediction, foreign_texts, others)
        return prediction

    def _distinct_words(self, texts: Sequence[Sequence[str]]) -> tuple[Integers, Integers, Floats]:
        """Return for each distinct word of each text, in order, its table row, the text's index, and its weight."""
        word_numbers = self.look_up(texts)
        indexes = np.arange(len(word_numbers))
        text_indexes = np.repeat(np.arange(len(texts)), [len(tokens) for tokens in texts])
        word_keys = (text_indexes << NUMBER_BITS | word_numbers) << INDEX_BITS | indexes
        word_keys.sort()  # puts equal words of a text side by side, the first one first
        first = np.flatnonzero(np.diff(word_keys >> INDEX_BITS, prepend=-1))
        repeats = np.zeros(len(word_keys), np.int64)  # at the index of each word's first occurrence
        repeats[word_keys[first] & (1 << INDEX_BITS) - 1] = np.diff(first, append=len(word_keys))
        distinct = np.flatnonzero(repeats)
        return word_numbers[distinct], text_indexes[distinct], _COUNT_WEIGHTS[repeats[distinct]]

    def _strongest_words(
        self, word_numbers: Integers, text_indexes: Integers, advantages: Floats, text_count: int
    ) -> list[list[str]]:
        """Return for each text the three words that can be shown and speak most for its label."""
        candidates = np.flatnonzero(self.is_showable[word_numbers] & (advantages > 0))
        candidate_texts = text_indexes[candidates]
        # The bits of positive floats are in the order of their values; these are to descend within a text.
        descending_keys = (1 << 32) - 1 - advantages[candidates].astype(np.float32).view(np.uint32).astype(np.int64)
        sort_keys = (candidate_texts << 32 | descending_keys) << INDEX_BITS | candidates
        sort_keys.sort()
        ranked_words = word_numbers[sort_keys & (1 << INDEX_BITS) - 1].tolist()
        ends = np.cumsum(np.bincount(candidate_texts, minlength=text_count)).tolist()
        return [
            list(dict.fromkeys([self.shown_words[number] for number in ranked_words[start : min(start + 4, end)]]))[:3]
            for start, end in zip([0, *ends], ends, strict=False)
        ]


def replace_predictions(prediction: Prediction, rows: Integers, other: Prediction) -> None:
    """Put another model's predictions for some texts into place, but for `doubtful`, which does not depend on it."""
    for name in ("chances", "best", "runner_up", "foreign", "vague"):
        getattr(prediction, name)[rows] = getattr(other, name)
    for row, strongest_words in zip(rows, other.strongest_words, strict=True):
        prediction.strongest_words[row] = strongest_words


def length_scales(vectors: Floats, rarities: Floats) -> tuple[Floats, Floats]:
    """Return factors for the summed vector and terms of each text that remove the effect of the text's length."""
    vector_lengths = np.sqrt(np.square(vectors).sum(axis=1))
    term_lengths = np.sqrt(rarities)
    return (
        (SHORTENED / np.maximum(vector_lengths, np.float32(1e-6))).astype(np.float32),
        np.where(term_lengths > 0, 1 / np.maximum(term_lengths, np.float32(1e-6)), 0).astype(np.float32),
    )


def best_two_labels(chances: Floats) -> tuple[Integers, Integers]:
    """Return the best and second-best label of each text of (texts, labels); the same if there is only one label."""
    best = chances.argmax(axis=1)
    if chances.shape[1] == 1:
        return best, best
    others = chances.copy()
    others[np.arange(len(best)), best] = -1
    return best, others.argmax(axis=1)
