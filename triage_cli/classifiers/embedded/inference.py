"""Inference with the embedded model: the labels of texts, from what each of their words adds to the scores."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.encoder import encoded, kept_encoded, say_nothing
from triage_cli.classifiers.embedded.fitted_model import Floats, Integers, Model
from triage_cli.classifiers.embedded.label_tree import LabelTree
from triage_cli.classifiers.embedded.language_guard import are_plainly_english, told_by_letters
from triage_cli.classifiers.embedded.tokens import (
    COUNT_WEIGHTS,
    MAX_CHARACTERS,
    MAX_WORDS,
    length_scales,
    read_number,
    tokens_of,
)
from triage_cli.classifiers.embedded.word_table import WordTable, is_readable, is_vague, small_words_of

# Texts and their characters that are in one step of inference: as much as a processor's second cache holds.
STEP_TEXTS, STEP_CHARACTERS = 96, 64_000
INDEX_BITS, NUMBER_BITS = 18, 24  # of numbers that are sorted as one key: enough for a step of inference


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

    If labels are in levels, the probability of one is that of all below it, too, and the best one is the guess.
    `languages` are those of the texts, where they are clear. `unread` marks texts in a language that was not taught,
    `vague` those that say too little for a probability, `doubtful` those that `Suspicion.found` must check.
    """

    chances: Floats
    best: Integers
    runner_up: Integers
    strongest_words: list[list[str]]
    languages: list[str | None]
    unread: NDArray[np.bool_]
    vague: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]


class Predictor:
    """Predicts labels of texts with a fitted model, by a table of the words that occurred so far.

    One that follows another, `lead`, predicts for the texts that this has just predicted for: words are looked up once.
    With `any_language`, the model is one of the encoder's vectors (`Model.multilingual`). Without `explains`, nobody
    reads the strongest words, for which each word of a text in another language would be encoded, and the texts are
    labelled ones, which are asked about again and again.
    """

    def __init__(
        self,
        model: Model,
        suspicion: dm.Suspicion | None = None,
        levels: dm.Levels | None = None,
        lead: "Predictor | None" = None,
        *,
        any_language: bool = False,
        explains: bool = True,
    ) -> None:
        self.model = model
        self._explains = explains
        self.tree = LabelTree(model, levels) if levels is not None and levels.parents else None
        suspicion = suspicion or dm.Suspicion(())
        self.required_traces = np.array(suspicion.required, np.int64)
        self.any_language = any_language
        self._levels = levels
        self.read_languages = dm.READ_LANGUAGES.union(model.languages)
        self.word_table: WordTable = WordTable(
            model,
            suspicion,
            STEP_CHARACTERS,
            lead.word_table if lead else None,
            any_language=any_language,
            explains=explains,
        )
        own = () if model.own is None else model.own.tolist()
        self._own_rows = dict(zip(own, range(len(own)), strict=True))
        self._lead = lead
        # Of the texts that it has predicted for last, for those that follow.
        self._last_words: tuple[Integers, Integers, Floats]
        self._vector_scales: Floats

    @cached_property
    def multilingual(self) -> "Predictor | None":
        """What predicts for texts in other languages than English: None if nothing does."""
        model = self.model.multilingual
        if len(self.model.wording) > 1:
            from triage_cli.classifiers.embedded.fit import fitted_to_wording  # takes time and scipy

            model = fitted_to_wording(self.model.wording)
        if model is None:
            return None
        # Labels may have got other names since it was fitted.
        model = model._replace(labels=self.model.labels)
        return Predictor(model, levels=self._levels, any_language=True, explains=self._explains)

    def over(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], Prediction]]:
        """Yield the predictions for texts step by step, with their indexes; texts without words are left out."""
        for rows in inference_steps(texts):
            words = {row: tokens for row in rows if (tokens := tokens_of(texts[row]))}
            if words:
                yield [*words], self.predict([*words.values()], [texts[row] for row in words])

    def predict(self, words: Sequence[Sequence[str]], texts: Sequence[str]) -> Prediction:
        """Return the predictions for texts, given by their words and as they are, none of which is without words."""
        word_numbers, text_indexes, word_weights = self._last_words = self._words(words)
        word_counts = np.bincount(text_indexes, minlength=len(texts))
        text_starts = np.cumsum(word_counts) - word_counts
        word_rows = self.word_table.rows.take(word_numbers, axis=0)
        word_rows *= word_weights[:, None]
        word_rows[:, -1] *= word_weights
        text_sums = np.add.reduceat(word_rows, text_starts)
        vector_scales, term_scales = length_scales(text_sums[:, self.word_table.length_columns], text_sums[:, -1])
        if self._lead is not None:
            vector_scales = self._lead._vector_scales  # noqa: SLF001 - of its own kind
        self._vector_scales = vector_scales
        mark_sums = np.add.reduceat(self.word_table.marks[word_numbers], text_starts, dtype=np.int64)
        vague = is_vague(mark_sums)
        if self.any_language:
            text_vectors = (encoded if self._explains else kept_encoded)(texts)
            vector_scores = text_vectors @ self.model.vectors
            vector_scales = (1 / word_counts).astype(np.float32)  # of a word's share in them
            vague |= say_nothing(text_vectors)
        else:
            vector_scores = text_sums[:, self.word_table.vector_columns] * vector_scales[:, None]
        scores = vector_scores + text_sums[:, self.word_table.term_columns] * term_scales[:, None] + self.model.bias
        if self._own_rows and self.model.own_scores is not None:
            own_rows = np.array([self._own_rows.get(read_number(text), -1) for text in texts])
            scores[own_rows >= 0] = self.model.own_scores[own_rows[own_rows >= 0]]
        shifts = self.model.distance.shifts(word_counts, small_words_of(mark_sums))
        label_chances = self.model.calibration.chances(scores.astype(np.float32), shifts)
        if self.tree is None:
            best, runner_up = best_two_labels(label_chances)
        else:
            own_chances = label_chances
            label_chances, best = self.tree.read(own_chances)
            runner_up = self.tree.next_to(best, own_chances)
        word_indexes = np.arange(len(word_numbers))

        def lead(columns: slice) -> Floats:
            label_scores = word_rows[:, columns]
            return label_scores[word_indexes, best[text_indexes]] - label_scores[word_indexes, runner_up[text_indexes]]

        vector_leads = lead(self.word_table.vector_columns) * vector_scales[text_indexes]
        advantages = vector_leads + lead(self.word_table.term_columns) * term_scales[text_indexes]
        traces = np.bitwise_or.reduceat(self.word_table.traces[word_numbers], text_starts)[:, None]
        doubtful = ((traces & self.required_traces) == self.required_traces).any(axis=1) | (word_counts == MAX_WORDS)
        strongest_words = self._strongest_words(word_numbers, text_indexes, advantages, len(texts))
        unread, languages = np.zeros(len(texts), np.bool_), list[str | None](["en"] * len(texts))
        prediction = Prediction(label_chances, best, runner_up, strongest_words, languages, unread, vague, doubtful)
        if not self.any_language:
            leanings = np.add.reduceat(self.word_table.leanings[word_numbers], text_starts, dtype=np.int64)
            self._read_foreign_texts(prediction, words, texts, are_plainly_english(leanings, word_counts))
            unread &= ~is_readable(mark_sums, word_counts)
        if len(self.model.labels) == 1:
            unread[:] = vague[:] = False
        return prediction

    def _read_foreign_texts(
        self, prediction: Prediction, words: Sequence[Sequence[str]], texts: Sequence[str], english: NDArray[np.bool_]
    ) -> None:
        """Tell the languages of texts that are not plainly English, and ask the multilingual model where it reads."""
        foreign = np.full(len(texts), not self.model.english)
        for row in np.flatnonzero(~english).tolist():
            told = told_by_letters(texts[row])
            prediction.languages[row] = told.language
            foreign[row] |= told.foreign
            prediction.unread[row] = told.foreign and (told.language or "en") not in self.read_languages
        rows = np.flatnonzero(foreign)
        if len(rows) and self.multilingual is not None:
            asked = rows.tolist()
            by_vectors = self.multilingual.predict([words[row] for row in asked], [texts[row] for row in asked])
            for name in ("chances", "best", "runner_up", "vague"):
                getattr(prediction, name)[rows] = getattr(by_vectors, name)
            for row, strongest_words in zip(asked, by_vectors.strongest_words, strict=True):
                prediction.strongest_words[row] = strongest_words

    def _words(self, texts: Sequence[Sequence[str]]) -> tuple[Integers, Integers, Floats]:
        if self._lead is None:
            return self._distinct_words(texts)
        self.word_table.follow()
        return self._lead._last_words  # noqa: SLF001 - of its own kind

    def _distinct_words(self, words: Sequence[Sequence[str]]) -> tuple[Integers, Integers, Floats]:
        """Return for each distinct word of each text, in order, its table row, the text's index, and its weight."""
        word_numbers = self.word_table.look_up(words)
        occurrences = np.arange(len(word_numbers))
        text_indexes = np.repeat(np.arange(len(words)), [len(tokens) for tokens in words])
        word_keys = (text_indexes << NUMBER_BITS | word_numbers) << INDEX_BITS | occurrences
        word_keys.sort()  # puts equal words of a text side by side, the first one first
        first_occurrences = np.flatnonzero(np.diff(word_keys >> INDEX_BITS, prepend=-1))
        repeats = np.zeros(len(word_keys), np.int64)  # at the index of each word's first occurrence
        counts = np.diff(first_occurrences, append=len(word_keys))
        repeats[word_keys[first_occurrences] & (1 << INDEX_BITS) - 1] = counts
        distinct = np.flatnonzero(repeats)
        return word_numbers[distinct], text_indexes[distinct], COUNT_WEIGHTS[repeats[distinct]]

    def _strongest_words(
        self, word_numbers: Integers, text_indexes: Integers, advantages: Floats, text_count: int
    ) -> list[list[str]]:
        """Return for each text the three words that can be shown and speak most for its label."""
        candidates = np.flatnonzero(self.word_table.is_showable[word_numbers] & (advantages > 0))
        candidate_texts = text_indexes[candidates]
        # The bits of positive floats are in the order of their values; these are to descend within a text.
        descending_keys = (1 << 32) - 1 - advantages[candidates].astype(np.float32).view(np.uint32).astype(np.int64)
        sort_keys = (candidate_texts << 32 | descending_keys) << INDEX_BITS | candidates
        sort_keys.sort()
        ranked_words = word_numbers[sort_keys & (1 << INDEX_BITS) - 1].tolist()
        ends = np.cumsum(np.bincount(candidate_texts, minlength=text_count)).tolist()
        shown_words = self.word_table.shown_words
        return [
            list(dict.fromkeys([shown_words[number] for number in ranked_words[start : min(start + 4, end)]]))[:3]
            for start, end in zip([0, *ends], ends, strict=False)
        ]


def best_two_labels(chances: Floats) -> tuple[Integers, Integers]:
    """Return the best and second-best label of each text of (texts, labels); the same if there is only one label."""
    best_labels = chances.argmax(axis=1)
    return best_labels, second_label(chances, best_labels) if chances.shape[1] > 1 else best_labels


def second_label(chances: Floats, best_labels: Integers) -> Integers:
    """Return the likeliest label of each text that is not the best one."""
    other_chances = chances.copy()
    other_chances[np.arange(len(best_labels)), best_labels] = -1
    second_labels: Integers = other_chances.argmax(axis=1)
    return second_labels
