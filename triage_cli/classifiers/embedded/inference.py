"""Inference with the embedded model: a table of words with what each adds to the scores of a text."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from triage_cli.classifiers.embedded.fitted_model import Floats, Integers, Model, word_number
from triage_cli.classifiers.embedded.language_guard import foreign, lean_of
from triage_cli.classifiers.embedded.meaningless_words import is_readable, is_vague, marks, showable
from triage_cli.classifiers.embedded.tokens import (
    BUCKETS,
    MAX_CHARACTERS,
    MAX_WORDS,
    bare,
    ngrams_of,
)
from triage_cli.classifiers.embedded.word_vectors import word_vectors
from triage_cli.domain.hostile_text.prompt_injection import Suspicion

LENGTH_DIMENSIONS = 64  # of a vector, enough to measure its length (they are principal components)
SHORTENED = 0.64  # their share of the whole length
# Texts and their characters that are judged at once: as much as a processor's second cache holds.
STEP_TEXTS, STEP_CHARACTERS = 96, 64_000
TABLE_BYTES = 64 << 20
INDEX_BITS, NUMBER_BITS = 18, 24  # of numbers that are sorted as one: enough for a step

_COUNT_WEIGHTS = np.log(np.maximum(np.arange(MAX_CHARACTERS), 1)).astype(np.float32) + 1


def count_weights(number: int, counts: Sequence[int] | None) -> Floats:
    """Return the weight of each word of a text: 1 plus the logarithm of its count."""
    return np.ones(number, np.float32) if counts is None else _COUNT_WEIGHTS[counts]


class _Numbers(dict[str, int]):
    """Numbers words in the order of their first occurrence; `new` are those that were not added to the table yet."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, word: str) -> int:
        self.new.append(word)
        self[word] = number = len(self)
        return number


def inference_steps(texts: Sequence[str]) -> Iterator[range]:
    """Yield the indexes of texts that are judged together."""
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
        self.capacity = max(TABLE_BYTES // (4 * width), STEP_CHARACTERS)
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
        if len(self.numbers) + sum(map(len, texts)) > self.capacity:
            self.numbers.clear()
            self.shown.clear()
        number = self.numbers.__getitem__
        rows = np.fromiter(map(number, chain.from_iterable(texts)), np.int64)
        new = self.numbers.new
        for start in range(0, len(new), 1024):  # in parts, to bound memory
            self._add(new[start : start + 1024])
        new.clear()
        return rows

    def _add(self, new_tokens: Sequence[str]) -> None:
        ngrams, starts = ngrams_of(new_tokens)
        vectors = self.vectors.of(new_tokens)
        term_rows = self.term_rows[ngrams]
        span = slice(len(self.shown), len(self.shown) + len(new_tokens))
        rows = self.rows[span]
        rows[:, :LENGTH_DIMENSIONS] = vectors[:, :LENGTH_DIMENSIONS]
        # Not by `@`: its last bits depend on which words are added together.
        rows[:, self.by_vector] = np.einsum("wd,dl->wl", vectors, self.of_words)
        bare_tokens = [bare(word) for word in new_tokens]
        whole = [self.whole.get(word, 0) for word in bare_tokens]
        rows[:, self.by_term] = np.add.reduceat(self.terms[term_rows], starts) + self.terms[whole]
        rows[:, -1] = np.add.reduceat(self.rarity[term_rows] ** 2, starts) + self.rarity[whole] ** 2
        shown = [showable(word) for word in new_tokens]
        self.can_be_shown[span] = [bool(word) for word in shown]
        self.leans[span] = [lean_of(word) for word in new_tokens] if self.guarded else 0
        self.marks[span] = [
            marks(word, taught=word_number(word) in self.taught, learned=bool(number and self.model.learned))
            for word, number in zip(bare_tokens, whole, strict=True)
        ]
        self.traces[span] = self.suspicion.traces(new_tokens)
        self.shown += shown

    def judge(self, texts: Sequence[Sequence[str]], encoded: Floats | None = None) -> Prediction:
        """Return the predictions for texts (their words), none of which is empty.

        `encoded` are an encoder's vectors (texts, dimensions), if the model was fitted to them.
        """
        numbers, owners, weight = self._distinct(texts)
        counts = np.bincount(owners, minlength=len(texts))
        starts = np.cumsum(counts) - counts
        rows = self.rows.take(numbers, axis=0)
        rows *= weight[:, None]
        rows[:, -1] *= weight
        sums = np.add.reduceat(rows, starts)
        per_vector, per_term = length_scales(sums[:, :LENGTH_DIMENSIONS], sums[:, -1])
        scores = sums[:, self.by_vector] * per_vector[:, None] + sums[:, self.by_term] * per_term[:, None]
        if encoded is not None:
            scores += encoded @ self.of_encoder
        chances = self.model.calibration.chances((scores + self.model.bias).astype(np.float32))
        best, runner_up = leaders(chances)
        word_indexes = np.arange(len(numbers))

        def lead(part: Floats) -> Floats:
            return part[word_indexes, best[owners]] - part[word_indexes, runner_up[owners]]

        advantage = lead(rows[:, self.by_vector]) * per_vector[owners] + lead(rows[:, self.by_term]) * per_term[owners]
        leans = np.add.reduceat(self.leans[numbers], starts, dtype=np.int64)
        traces = np.bitwise_or.reduceat(self.traces[numbers], starts)[:, None]
        doubtful = ((traces & self.required) == self.required).any(axis=1) | (counts == MAX_WORDS)
        marked = np.add.reduceat(self.marks[numbers], starts, dtype=np.int64)
        unread = foreign(leans, counts) & ~is_readable(marked, counts)
        vague = is_vague(marked) & (len(self.model.labels) > 1)
        strongest = self._strongest(numbers, owners, advantage, len(texts))
        prediction = Prediction(chances, best, runner_up, strongest, unread, vague, doubtful)
        if self.other is not None and unread.any():
            others = np.flatnonzero(unread)
            replace(prediction, others, self.other.judge([texts[row] for row in others.tolist()]))
        return prediction

    def _distinct(self, texts: Sequence[Sequence[str]]) -> tuple[Integers, Integers, Floats]:
        """Return for each distinct word of each text, in order, its table row, the text's index, and its weight."""
        numbers = self.look_up(texts)
        indexes = np.arange(len(numbers))
        owners = np.repeat(np.arange(len(texts)), [len(tokens) for tokens in texts])
        keys = (owners << NUMBER_BITS | numbers) << INDEX_BITS | indexes
        keys.sort()  # puts equal words of a text side by side, the first one first
        first = np.flatnonzero(np.diff(keys >> INDEX_BITS, prepend=-1))
        repeats = np.zeros(len(keys), np.int64)  # at the index of each word's first occurrence
        repeats[keys[first] & (1 << INDEX_BITS) - 1] = np.diff(first, append=len(keys))
        kept = np.flatnonzero(repeats)
        return numbers[kept], owners[kept], _COUNT_WEIGHTS[repeats[kept]]

    def _strongest(self, numbers: Integers, owners: Integers, advantage: Floats, texts: int) -> list[list[str]]:
        """Return for each text the three words that can be shown and speak most for its label."""
        candidates = np.flatnonzero(self.can_be_shown[numbers] & (advantage > 0))
        of_text = owners[candidates]
        # The bits of positive floats are in the order of their values; these are to descend within a text.
        descending_keys = (1 << 32) - 1 - advantage[candidates].astype(np.float32).view(np.uint32).astype(np.int64)
        sort_keys = (of_text << 32 | descending_keys) << INDEX_BITS | candidates
        sort_keys.sort()
        ranked = numbers[sort_keys & (1 << INDEX_BITS) - 1].tolist()
        ends = np.cumsum(np.bincount(of_text, minlength=texts)).tolist()
        return [
            list(dict.fromkeys([self.shown[number] for number in ranked[start : min(start + 4, end)]]))[:3]
            for start, end in zip([0, *ends], ends, strict=False)
        ]


def replace(prediction: Prediction, rows: Integers, other: Prediction) -> None:
    """Put another model's predictions of some rows into place, but for `doubtful`, which does not depend on it."""
    for name in ("chances", "best", "runner_up", "foreign", "vague"):
        getattr(prediction, name)[rows] = getattr(other, name)
    for row, strongest in zip(rows, other.spoke, strict=True):
        prediction.spoke[row] = strongest


def length_scales(vectors: Floats, rarities: Floats) -> tuple[Floats, Floats]:
    """Return factors for the summed vector and terms of each text that remove the effect of its length."""
    length = np.sqrt(np.square(vectors).sum(axis=1))
    weight = np.sqrt(rarities)
    return (
        (SHORTENED / np.maximum(length, np.float32(1e-6))).astype(np.float32),
        np.where(weight > 0, 1 / np.maximum(weight, np.float32(1e-6)), 0).astype(np.float32),
    )


def leaders(chances: Floats) -> tuple[Integers, Integers]:
    """Return the best and second-best label of each row of (texts, labels); the same if there is only one label."""
    best = chances.argmax(axis=1)
    if chances.shape[1] == 1:
        return best, best
    others = chances.copy()
    others[np.arange(len(best)), best] = -1
    return best, others.argmax(axis=1)
