"""The words met so far, with what each adds to a text: answering is looking up and adding up."""

from collections.abc import Sequence
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from triage_cli.classifiers.embedded.language_guard import foreign, leaning
from triage_cli.classifiers.embedded.tokens import (
    MAX_CHARACTERS,
    MAX_WORDS,
    bare,
    showable,
    tokens_of,
    vocabulary,
    words_of,
)
from triage_cli.classifiers.embedded.weights import Floats, Integers, Model
from triage_cli.domain.prompt_injection import Suspicion

LENGTH_DIMENSIONS = 64  # the vectors were trained to be cut off anywhere: these suffice to measure a text's length
SHORTENED = 0.55  # what these hold of the whole length
SLICE = 64  # tickets looked up together: bounds memory whatever a chunk holds
TABLE_BYTES = 64 << 20

_EMPHASIS = np.log(np.maximum(np.arange(MAX_CHARACTERS), 1)).astype(np.float32) + 1


def emphasis(number: int, counts: Sequence[int] | None) -> Floats:
    """Return how much each of a text's words counts: a word said again and again, by the logarithm of how often."""
    return np.ones(number, np.float32) if counts is None else _EMPHASIS[counts]


class _Numbers(dict[str, int]):
    """Numbers words in the order they are met; `new` are those met since it was last emptied."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, word: str) -> int:
        self.new.append(word)
        self[word] = number = len(self)
        return number


class Prediction(NamedTuple):
    """What was found of some texts: the labels' probabilities, the best two, the words that spoke most for the best.

    `foreign` tells which seem to be of a language that the model does not read, `doubtful` which a suspicion may find
    something in.
    """

    chances: Floats
    best: Integers
    runner_up: Integers
    spoke: list[list[str]]
    foreign: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]


class Predictor:
    """What each word met so far adds to a text: a cut-off vector, shares in every label's scores, its rarity.

    Beside these it keeps how a word leans to English, and its traces of what a suspicion looks for.
    """

    def __init__(self, model: Model, suspicion: Suspicion | None = None) -> None:
        self.model = model
        self.suspicion = suspicion or Suspicion(())
        self.required = np.array(self.suspicion.required, np.int64)
        self.guarded = model.english and len(model.labels) > 1
        k = len(model.labels)
        self.by_vector = slice(LENGTH_DIMENSIONS, LENGTH_DIMENSIONS + k)
        self.by_term = slice(LENGTH_DIMENSIONS + k, LENGTH_DIMENSIONS + 2 * k)
        width = LENGTH_DIMENSIONS + 2 * k + 1
        # Never filled at once: the system gives memory only to pages that are written.
        self.room = max(TABLE_BYTES // (4 * width), SLICE * MAX_WORDS)
        self.rows = np.empty((self.room, width), np.float32)
        self.sayable = np.empty(self.room, np.bool_)
        self.leans = np.empty(self.room, np.int8)
        self.traces = np.empty(self.room, np.int64)
        self.shown: list[str] = []
        self.numbers = _Numbers()
        tokenizer, self.embedding = vocabulary()
        self.place = np.zeros(tokenizer.get_vocab_size(), np.int64)  # row 0 is for all tokens never seen in fitting
        self.place[model.tokens] = np.arange(1, len(model.tokens) + 1)
        self.rarity = np.concatenate([[0], model.rarity]).astype(np.float32)
        self.terms = np.concatenate([np.zeros((1, k)), model.terms * model.rarity[:, None]]).astype(np.float32)
        self.whole = {word: number for number, word in enumerate(model.whole_words, start=len(model.tokens) + 1)}

    def look_up(self, texts: Sequence[Sequence[str]]) -> Integers:
        """Return the row numbers of all words in a row, working out those that are new."""
        if len(self.numbers) + SLICE * MAX_WORDS > self.room:
            self.numbers.clear()
            self.shown.clear()
        number = self.numbers.__getitem__
        found = np.fromiter(map(number, chain.from_iterable(texts)), np.int64)
        new = self.numbers.new
        for start in range(0, len(new), 1024):  # bounds the vectors held at once
            self._add(new[start : start + 1024])
        new.clear()
        return found

    def _add(self, found: Sequence[str]) -> None:
        tokens, starts = tokens_of(found)
        vectors = np.add.reduceat(self.embedding[tokens].astype(np.float32), starts)
        place = self.place[tokens]
        span = slice(len(self.shown), len(self.shown) + len(found))
        rows = self.rows[span]
        rows[:, :LENGTH_DIMENSIONS] = vectors[:, :LENGTH_DIMENSIONS]
        rows[:, self.by_vector] = vectors @ self.model.vectors
        whole = [self.whole.get(bare(word), 0) for word in found]
        rows[:, self.by_term] = np.add.reduceat(self.terms[place], starts) + self.terms[whole]
        rows[:, -1] = np.add.reduceat(self.rarity[place] ** 2, starts) + self.rarity[whole] ** 2
        shown = [showable(word) for word in found]
        self.sayable[span] = [bool(word) for word in shown]
        self.leans[span] = [leaning(word) for word in found] if self.guarded else 0
        self.traces[span] = self.suspicion.traces(found)
        self.shown += shown

    def judge(self, texts: Sequence[tuple[list[str], list[int] | None]]) -> Prediction:
        """Return what is found of each text, of which none is empty."""
        numbers = self.look_up([tokens for tokens, _ in texts])
        counts = np.array([len(tokens) for tokens, _ in texts])
        starts = np.cumsum(counts) - counts
        rows = self.rows.take(numbers, axis=0)
        often = chain.from_iterable(repeated or repeat(1, len(tokens)) for tokens, repeated in texts)
        weight = _EMPHASIS[np.fromiter(often, np.int64, len(rows))]
        rows *= weight[:, None]
        rows[:, -1] *= weight
        sums = np.add.reduceat(rows, starts)
        per_vector, per_term = scales(sums[:, :LENGTH_DIMENSIONS], sums[:, -1])
        scores = sums[:, self.by_vector] * per_vector[:, None] + sums[:, self.by_term] * per_term[:, None]
        chances = softmax((scores + self.model.bias).astype(np.float32), self.model.temperature)
        best, runner_up = leaders(chances)
        text = np.repeat(np.arange(len(texts)), counts)
        word = np.arange(len(numbers))

        def lead(part: Floats) -> Floats:
            return part[word, best[text]] - part[word, runner_up[text]]

        pull = lead(rows[:, self.by_vector]) * per_vector[text] + lead(rows[:, self.by_term]) * per_term[text]
        pull[~self.sayable[numbers]] = 0
        apart = 2 * np.abs(pull).max() + 1  # text by text, and in each the strongest first
        order = np.argsort(text * np.float64(apart) - pull, kind="stable")
        ranked = np.where(pull[order] > 0, numbers[order], -1).tolist()
        spoke = [
            list(dict.fromkeys(self.shown[n] for n in ranked[start : start + min(count, 4)] if n >= 0))[:3]
            for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
        ]
        leans = np.add.reduceat(self.leans[numbers], starts, dtype=np.int64)
        traces = np.bitwise_or.reduceat(self.traces[numbers], starts)[:, None]
        doubtful = ((traces & self.required) == self.required).any(axis=1)
        return Prediction(chances, best, runner_up, spoke, foreign(leans, counts), doubtful)


def scales(vectors: Floats, rarities: Floats) -> tuple[Floats, Floats]:
    """Return by what to multiply a text's summed vector and terms, so that its length does not count."""
    length = np.sqrt(np.square(vectors).sum(axis=1))
    weight = np.sqrt(rarities)
    return (
        (SHORTENED / np.maximum(length, np.float32(1e-6))).astype(np.float32),
        np.where(weight > 0, 1 / np.maximum(weight, np.float32(1e-6)), 0).astype(np.float32),
    )


def softmax(scores: Floats, temperature: float) -> Floats:
    """Return scores as probabilities, row by row; a higher temperature makes them more alike."""
    raised: Floats = np.exp((scores - scores.max(axis=1, keepdims=True)) / np.float32(temperature))
    raised /= raised.sum(axis=1, keepdims=True)
    return raised


def leaders(chances: Floats) -> tuple[Integers, Integers]:
    """Return the best and the second-best label of each row; both the same where there is only one."""
    best = chances.argmax(axis=1)
    if chances.shape[1] == 1:
        return best, best
    others = chances.copy()
    others[np.arange(len(best)), best] = -1
    return best, others.argmax(axis=1)


def guesses(model: Model, texts: Sequence[str]) -> list[tuple[str | None, float | None]]:
    """Return each text's likeliest label and its probability; none for a text without words.

    Where the text seems to be of a language that the model does not read, there is no probability.
    """
    table = Predictor(model)
    found: list[tuple[str | None, float | None]] = [(None, None)] * len(texts)
    for start in range(0, len(texts), SLICE):
        kept = {row: text for row in range(start, min(start + SLICE, len(texts))) if (text := words_of(texts[row]))[0]}
        if kept:
            judged = table.judge(list(kept.values()))
            for row, chances, unread in zip(kept, judged.chances, judged.foreign, strict=True):
                found[row] = model.labels[chances.argmax()], None if unread else float(chances.max())
    return found
