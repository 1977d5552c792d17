"""What the embedded model guesses about texts: a label with its confidence, its reason, and doubts about the text."""

import json
from collections.abc import Sequence
from hashlib import sha256
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from triage_cli.classifiers.embedded.encoder import Encoder
from triage_cli.classifiers.embedded.fitted_model import Model
from triage_cli.classifiers.embedded.inference import Prediction, Predictor, inference_steps, replace
from triage_cli.classifiers.embedded.tokens import MAX_CHARACTERS, tokens_of
from triage_cli.domain.hostile_text.invisible import is_plain
from triage_cli.domain.hostile_text.prompt_injection import Suspicion

KEPT_LABELS = 10  # labels whose probability is stored
# An encoder is asked about unsure texts that it may make sure (their confidence has this share of the threshold), or
# whose best two labels are this close. The others would cost nearly as much again, and gain a fifth.
IN_REACH, TIED = 0.75, 0.05

_FOREIGN = "seems to be in a language that this model was not taught"
_VAGUE = "too few words that say something"


class Guess(NamedTuple):
    """The best label for a text; `doubts` are kinds of text that is addressed to a classifier, where it is sure."""

    label: str | None
    confidence: float | None
    reason: str
    probabilities: str | None
    answer_key: str
    is_sure: bool
    doubts: Sequence[str]


class _Judged(NamedTuple):
    label: str | None
    confidence: float | None
    reason: str
    probabilities: str | None
    doubtful: bool


_NO_WORDS = _Judged(None, None, "no words to go by", None, doubtful=True)


class Guesser:
    """Guesses with a fitted model, and an encoder where that is unsure; `fingerprint` is that of the question."""

    def __init__(
        self, model: Model, fingerprint: str, min_confidence: float, encoder: Encoder | None = None
    ) -> None:  # fmt: skip
        self.model = model
        self.fingerprint = fingerprint
        self.min_confidence = min_confidence
        self.encoder = encoder
        self._suspicion = Suspicion(model.labels)
        self._table = Predictor(model, self._suspicion)
        self._beside = Predictor(model.beside) if model.beside and encoder is not None else None
        self._keys = [json.dumps(label, ensure_ascii=False).replace("%", "%%") + ":%.3f" for label in model.labels]
        self._all_probabilities = "{" + ",".join(self._keys) + "}"
        self._plain = ["".join(c if c.isprintable() else " " for c in label) for label in model.labels]

    def guesses(self, texts: Sequence[str]) -> list[Guess]:
        """Return a guess about each text."""
        return [
            self._guess(texts[row], judged)
            for rows in inference_steps(texts)
            for row, judged in zip(rows, self._judge(texts[rows.start : rows.stop]), strict=True)
        ]

    def _guess(self, text: str, judged: _Judged) -> Guess:
        answer_key = sha256(f"{self.fingerprint}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
        label, confidence, reason, probabilities, doubtful = judged
        is_sure = label is not None and confidence is not None and confidence >= self.min_confidence
        # Words that were cut off, or that contain invisible characters, have no traces.
        has_traces = is_sure and (doubtful or not is_plain(text) or len(text) > MAX_CHARACTERS)
        doubts = self._suspicion.found(text) if has_traces else ()
        return Guess(label, confidence, reason, probabilities, answer_key, is_sure, doubts)

    def _judge(self, texts: Sequence[str]) -> list[_Judged]:
        results = [_NO_WORDS] * len(texts)
        tokens_by_row = {row: tokens for row, text in enumerate(texts) if (tokens := tokens_of(text))}
        if tokens_by_row:
            judged = self._table.judge(list(tokens_by_row.values()))
            if self._beside is not None:
                self._ask_encoder(judged, [texts[row] for row in tokens_by_row], list(tokens_by_row.values()))
            columns = zip(
                tokens_by_row, judged.chances.tolist(), judged.best.tolist(), judged.runner_up.tolist(), judged.spoke,
                judged.foreign.tolist(), judged.vague.tolist(), judged.doubtful.tolist(), strict=True,
            )  # fmt: skip
            for row, chances, best, runner_up, strongest, is_foreign, is_vague, doubtful in columns:
                if is_foreign or is_vague:
                    reason = f"{_FOREIGN if is_foreign else _VAGUE}; next: {self._plain[runner_up]}"
                    results[row] = _Judged(self.model.labels[best], None, reason, None, doubtful=True)
                    continue
                results[row] = _Judged(
                    self.model.labels[best], round(chances[best], 4),
                    self._reason(strongest, runner_up, chances[runner_up]),
                    self._probabilities_json(chances), doubtful,
                )  # fmt: skip
        return results

    def _ask_encoder(self, judged: Prediction, texts: Sequence[str], tokens: Sequence[Sequence[str]]) -> None:
        """Replace unsure predictions that the model beside the encoder can change by its own."""
        every = np.arange(len(judged.best))
        first, second = judged.chances[every, judged.best], judged.chances[every, judged.runner_up]
        open_ = (first >= IN_REACH * self.min_confidence) | (first - second < TIED)
        chosen = np.flatnonzero((first < self.min_confidence) & open_ & ~judged.foreign & ~judged.vague)
        if self.encoder is not None and self._beside is not None and len(chosen):
            rows = chosen.tolist()
            encoded = self.encoder.vectors([texts[row] for row in rows])
            replace(judged, chosen, self._beside.judge([tokens[row] for row in rows], encoded))

    def _reason(self, because: Sequence[str], runner_up: int, chance: float) -> str:
        if len(self._plain) == 1:
            return "the only category"
        return f"{', '.join(because) or 'no single word'}; next: {self._plain[runner_up]} {chance:.2f}"

    def _probabilities_json(self, probabilities: Sequence[float]) -> str:
        if len(self._keys) <= KEPT_LABELS:
            return self._all_probabilities % tuple(probabilities)
        pairs = sorted(zip(self._keys, probabilities, strict=True), key=itemgetter(1), reverse=True)[:KEPT_LABELS]
        keys, probabilities = zip(*pairs, strict=True)
        return ("{" + ",".join(keys) + "}") % tuple(probabilities)


def likeliest_labels(model: Model, texts: Sequence[str]) -> list[tuple[str | None, float | None]]:
    """Return the likeliest label of each text with its probability; (None, None) for a text without words.

    A text that seems to be in another language, or says too little, has a label without a probability.
    """
    predictor = Predictor(model)
    results: list[tuple[str | None, float | None]] = [(None, None)] * len(texts)
    for rows in inference_steps(texts):
        tokens_by_row = {row: tokens for row in rows if (tokens := tokens_of(texts[row]))}
        if tokens_by_row:
            predictions = predictor.judge(list(tokens_by_row.values()))
            unsaid = predictions.foreign | predictions.vague
            for row, chances, is_unsaid in zip(tokens_by_row, predictions.chances, unsaid, strict=True):
                results[row] = model.labels[chances.argmax()], None if is_unsaid else float(chances.max())
    return results
