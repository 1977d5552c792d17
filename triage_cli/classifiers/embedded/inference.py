"""Inference with the embedded model: a table of words with what each adds to the scores of a text."""

from collections.abc import Sequence
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from triage_cli.classifiers.embedded.content import is_readable, is_vague, marks
from triage_cli.classifiers.embedded.language_guard import foreign, leaning
from triage_cli.classifiers.embedded.tokens import (
    BUCKETS,
    MAX_CHARACTERS,
    MAX_WORDS,
    bare,
    ngrams_of,
    showable,
    words_of,
)
from triage_cli.classifiers.embedded.weights import Floats, Integers, Model, word_number
from triage_cli.classifiers.embedded.word_vectors import word_vectors
from triage_cli.domain.hostile_text.prompt_injection import Suspicion

Words = tuple[list[str], list[int] | None]  # the distinct words of a text, and their counts

LENGTH_DIMENSIONS = 64  # of a vector, enough to measure its length (they are principal components)
SHORTENED = 0.64  # their share of the whole length
SLICE = 64  # tickets per step, which bounds memory
TABLE_BYTES = 64 << 20

_EMPHASIS = np.log(np.maximum(np.arange(MAX_CHARACTERS), 1)).astype(np.float32) + 1


def emphasis(number: int, counts: Sequence[int] | None) -> Floats:
    """Return the weight of each word of a text: 1 plus the logarithm of its count."""
    return np.ones(number, np.float32) if counts is None else _EMPHASIS[counts]


class _Numbers(dict[str, int]):
    """Numbers words in the order of their first occurrence; `new` are those that were not added to the table yet."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, word: str) -> int:
        self.new.append(word)
        self[word] = number = len(self)
        return number


class Prediction(NamedTuple):
    """Predictions for texts: probabilities (texts, labels), the best two labels, the strongest words for the best one.

    `foreign` marks texts that seem to be in a language that was not taught, `vague` those that say too little for a
    probability, `doubtful` those that `Suspicion.found` must check.
    """

    chances: Floats
    best: Integers
    runner_up: Integers
    spoke: list[list[str]]
    foreign: NDArray[np.bool_]
    vague: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]


class Predictor:
    """The table of words, one row each: a cut-off vector, the scores for each label by vector and by terms, the rarity.

    For each word it also keeps its leaning to English, its marks (`content`), and its traces for `Suspicion`.
    """

    def __init__(self, model: Model, suspicion: Suspicion | None = None) -> None:
        self.model = model
        self.suspicion = suspicion or Suspicion(())
        self.required = np.array(self.suspicion.required, np.int64)
        self.guarded = model.english and len(model.labels) > 1
        self.other = Predictor(model.other) if model.other else None
        self.taught = frozenset(model.taught.tolist())
        k = len(model.labels)
        self.by_vector = slice(LENGTH_DIMENSIONS, LENGTH_DIMENSIONS + k)
        self.by_term = slice(LENGTH_DIMENSIONS + k, LENGTH_DIMENSIONS + 2 * k)
        width = LENGTH_DIMENSIONS + 2 * k + 1
        # Takes memory only as it is filled: the system allocates pages when they are written.
        self.capacity = max(TABLE_BYTES // (4 * width), SLICE * MAX_WORDS)
        self.rows = np.empty((self.capacity, width), np.float32)
        self.can_be_shown = np.empty(self.capacity, np.bool_)
        self.leans = np.empty(self.capacity, np.int8)
        self.marks = np.empty(self.capacity, np.int32)
        self.traces = np.empty(self.capacity, np.int64)
        self.shown: list[str] = []
        self.numbers = _Numbers()
        self.vectors = word_vectors()
        self.of_words, self.of_encoder = np.split(model.vectors, [self.vectors.dimensions])
        # Row 0 is for n-grams that do not occur in the training texts.
        self.term_rows = np.zeros(BUCKETS, np.int32)
        self.term_rows[model.ngrams] = np.arange(1, len(model.ngrams) + 1)
        self.rarity = np.concatenate([[0], model.rarity]).astype(np.float32)
        self.terms = np.concatenate([np.zeros((1, k)), model.terms * model.rarity[:, None]]).astype(np.float32)
        self.whole = {word: number for number, word in enumerate(model.whole_words, start=len(model.ngrams) + 1)}

    def look_up(self, texts: Sequence[Sequence[str]]) -> Integers:
        """Return the table rows of all words of all texts, after adding new words to the table."""
        if len(self.numbers) + SLICE * MAX_WORDS > self.capacity:
            self.numbers.clear()
            self.shown.clear()
        number = self.numbers.__getitem__
        found = np.fromiter(map(number, chain.from_iterable(texts)), np.int64)
        new = self.numbers.new
        for start in range(0, len(new), 1024):  # in parts, to bound memory
            self._add(new[start : start + 1024])
        new.clear()
        return found

    def _add(self, found: Sequence[str]) -> None:
        ngrams, starts = ngrams_of(found)
        vectors = self.vectors.of(found)
        term_rows = self.term_rows[ngrams]
        span = slice(len(self.shown), len(self.shown) + len(found))
        rows = self.rows[span]
        rows[:, :LENGTH_DIMENSIONS] = vectors[:, :LENGTH_DIMENSIONS]
        rows[:, self.by_vector] = vectors @ self.of_words
        plain = [bare(word) for word in found]
        whole = [self.whole.get(word, 0) for word in plain]
        rows[:, self.by_term] = np.add.reduceat(self.terms[term_rows], starts) + self.terms[whole]
        rows[:, -1] = np.add.reduceat(self.rarity[term_rows] ** 2, starts) + self.rarity[whole] ** 2
        shown = [showable(word) for word in found]
        self.can_be_shown[span] = [bool(word) for word in shown]
        self.leans[span] = [leaning(word) for word in found] if self.guarded else 0
        self.marks[span] = [
            marks(word, taught=word_number(word) in self.taught, learned=bool(number and self.model.learned))
            for word, number in zip(plain, whole, strict=True)
        ]
        self.traces[span] = self.suspicion.traces(found)
        self.shown += shown

    def judge(self, texts: Sequence[Words], encoded: Floats | None = None) -> Prediction:
        """Return the predictions for texts (words and counts), none of which is empty.

        `encoded` are an encoder's vectors (texts, dimensions), if the model was fitted to them.
        """
        numbers = self.look_up([tokens for tokens, _ in texts])
        counts = np.array([len(tokens) for tokens, _ in texts])
        starts = np.cumsum(counts) - counts
        rows = self.rows.take(numbers, axis=0)
        word_counts = chain.from_iterable(repeated or repeat(1, len(tokens)) for tokens, repeated in texts)
        weight = _EMPHASIS[np.fromiter(word_counts, np.int64, len(rows))]
        rows *= weight[:, None]
        rows[:, -1] *= weight
        sums = np.add.reduceat(rows, starts)
        per_vector, per_term = scales(sums[:, :LENGTH_DIMENSIONS], sums[:, -1])
        scores = sums[:, self.by_vector] * per_vector[:, None] + sums[:, self.by_term] * per_term[:, None]
        if encoded is not None:
            scores += encoded @ self.of_encoder
        chances = softmax((scores + self.model.bias).astype(np.float32), self.model.temperature)
        best, runner_up = leaders(chances)
        text_indexes = np.repeat(np.arange(len(texts)), counts)
        word_indexes = np.arange(len(numbers))

        def lead(part: Floats) -> Floats:
            return part[word_indexes, best[text_indexes]] - part[word_indexes, runner_up[text_indexes]]

        advantage = (
            lead(rows[:, self.by_vector]) * per_vector[text_indexes]
            + lead(rows[:, self.by_term]) * per_term[text_indexes]
        )
        advantage[~self.can_be_shown[numbers]] = 0
        text_step = 2 * np.abs(advantage).max() + 1  # sorts by text, and within a text the strongest words first
        order = np.argsort(text_indexes * np.float64(text_step) - advantage, kind="stable")
        ranked = np.where(advantage[order] > 0, numbers[order], -1).tolist()
        strongest_words = [
            list(dict.fromkeys(self.shown[n] for n in ranked[start : start + min(count, 4)] if n >= 0))[:3]
            for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
        ]
        leans = np.add.reduceat(self.leans[numbers], starts, dtype=np.int64)
        traces = np.bitwise_or.reduceat(self.traces[numbers], starts)[:, None]
        doubtful = ((traces & self.required) == self.required).any(axis=1)
        sums = np.add.reduceat(self.marks[numbers], starts, dtype=np.int64)
        unread = foreign(leans, counts) & ~is_readable(sums, counts)
        vague = is_vague(sums) & (len(self.model.labels) > 1)
        found = Prediction(chances, best, runner_up, strongest_words, unread, vague, doubtful)
        if self.other is not None and unread.any():
            others = np.flatnonzero(unread)
            replace(found, others, self.other.judge([texts[row] for row in others.tolist()]))
        return found


def replace(found: Prediction, rows: Integers, other: Prediction) -> None:
    """Put another model's predictions of some rows into place, but for `doubtful`, which does not depend on it."""
    for name in ("chances", "best", "runner_up", "foreign", "vague"):
        getattr(found, name)[rows] = getattr(other, name)
    for row, strongest in zip(rows, other.spoke, strict=True):
        found.spoke[row] = strongest


def scales(vectors: Floats, rarities: Floats) -> tuple[Floats, Floats]:
    """Return factors for the summed vector and terms of each text that remove the effect of its length."""
    length = np.sqrt(np.square(vectors).sum(axis=1))
    weight = np.sqrt(rarities)
    return (
        (SHORTENED / np.maximum(length, np.float32(1e-6))).astype(np.float32),
        np.where(weight > 0, 1 / np.maximum(weight, np.float32(1e-6)), 0).astype(np.float32),
    )


def softmax(scores: Floats, temperature: float) -> Floats:
    """Return scores (texts, labels) as probabilities; a higher temperature makes them more even."""
    raised: Floats = np.exp((scores - scores.max(axis=1, keepdims=True)) / np.float32(temperature))
    raised /= raised.sum(axis=1, keepdims=True)
    return raised


def leaders(chances: Floats) -> tuple[Integers, Integers]:
    """Return the best and second-best label of each row of (texts, labels); the same if there is only one label."""
    best = chances.argmax(axis=1)
    if chances.shape[1] == 1:
        return best, best
    others = chances.copy()
    others[np.arange(len(best)), best] = -1
    return best, others.argmax(axis=1)


def guesses(model: Model, texts: Sequence[str]) -> list[tuple[str | None, float | None]]:
    """Return the likeliest label of each text with its probability; (None, None) for a text without words.

    A text that seems to be in another language, or says too little, has a label without a probability.
    """
    predictor = Predictor(model)
    results: list[tuple[str | None, float | None]] = [(None, None)] * len(texts)
    for start in range(0, len(texts), SLICE):
        words_by_row = {
            row: text for row in range(start, min(start + SLICE, len(texts))) if (text := words_of(texts[row]))[0]
        }
        if words_by_row:
            predictions = predictor.judge(list(words_by_row.values()))
            unsaid = predictions.foreign | predictions.vague
            for row, chances, is_unsaid in zip(words_by_row, predictions.chances, unsaid, strict=True):
                results[row] = model.labels[chances.argmax()], None if is_unsaid else float(chances.max())
    return results
