"""The guesses of the embedded model about texts: a label with its confidence, its reason, and doubts about the text."""

import json
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.fitted_model import Model
from triage_cli.classifiers.embedded.inference import Predictor, inference_steps
from triage_cli.classifiers.embedded.tokens import MAX_CHARACTERS, tokens_of

KEPT_LABELS = 10  # of a guess whose probability is stored
_UNREAD = "seems to be in {}, which this model was not taught"
_VAGUE = "too few words that say something"


class Guess(NamedTuple):
    """The best label for a text, and its language, None where that is not clear.

    Of labels in levels, it is the lowest one that is sure; `probabilities` then begin with the guess. `doubts` are
    kinds of text that is addressed to a classifier, where the guess is sure. `further` are the guesses about the text
    of the models that answer further questions.
    """

    label: str | None
    confidence: float | None
    reason: str
    probabilities: str | None
    is_sure: bool
    doubts: Sequence[str]
    language: str | None
    further: "Sequence[Guess]" = ()


class _JudgedText(NamedTuple):
    label: str | None
    confidence: float | None
    reason: str
    probabilities: str | None
    doubtful: bool
    language: str | None
    above: Sequence[tuple[str, float]] = ()  # the levels above the label, with their probabilities


_WITHOUT_WORDS = _JudgedText(None, None, "no words to go by", None, doubtful=True, language=None)


class Guesser:
    """Guesses with a fitted model.

    Those that are to follow one another answer further questions about the texts of the first one: it reads them, and
    looks up their words, for all.
    """

    def __init__(
        self, model: Model, min_confidence: float, levels: dm.Levels, *, lead: "Guesser | None" = None
    ) -> None:
        self.model = model
        self.min_confidence = min_confidence
        self._suspicion = dm.Suspicion(model.labels)
        self.levels = levels
        lead_predictor = lead._predictor if lead else None  # noqa: SLF001
        self._predictor: Predictor = Predictor(model, self._suspicion, levels, lead_predictor)
        self.followers: list[Guesser] = []
        if lead is not None:
            lead.followers.append(self)
        json_labels = [json.dumps(label, ensure_ascii=False) for label in model.labels]
        number = ":%.3f" if self._predictor.tree is None else ":%.4f"  # as a confidence, which it may become
        self._label_keys = [json_label.replace("%", "%%") + number for json_label in json_labels]
        self._all_probabilities = "{" + ",".join(self._label_keys) + "}"
        self._plain_labels = ["".join(c if c.isprintable() else " " for c in label) for label in model.labels]

    def guesses(self, texts: Sequence[str]) -> list[Guess]:
        """Return a guess about each text."""
        guesses: list[Guess] = []
        for rows in inference_steps(texts):
            step_texts = texts[rows.start : rows.stop]
            tokens_by_row = {row: tokens for row, text in enumerate(step_texts) if (tokens := tokens_of(text))}
            step_guesses = self._step_guesses(step_texts, tokens_by_row)
            if self.followers:
                further = [each._step_guesses(step_texts, tokens_by_row) for each in self.followers]  # noqa: SLF001
                step_guesses = [
                    guess._replace(further=others) for guess, *others in zip(step_guesses, *further, strict=True)
                ]
            guesses += step_guesses
        return guesses

    def _step_guesses(self, texts: Sequence[str], tokens_by_row: Mapping[int, Sequence[str]]) -> list[Guess]:
        judged_texts = self._judged_texts(texts, tokens_by_row)
        return [self._guess(text, judged) for text, judged in zip(texts, judged_texts, strict=True)]

    def _guess(self, text: str, judged: _JudgedText) -> Guess:
        label, confidence, reason, probabilities, doubtful, language, above = judged
        if above and confidence is not None and confidence < self.min_confidence:
            sure_levels = (level for level in above if level[1] >= self.min_confidence)
            label, confidence = next(sure_levels, (label, confidence))
        is_sure = label is not None and confidence is not None and confidence >= self.min_confidence
        # Words that were cut off, or that contain invisible characters, have no traces.
        has_traces = is_sure and (doubtful or not dm.is_plain(text) or len(text) > MAX_CHARACTERS)
        doubts = self._suspicion.found(text) if has_traces else ()
        return Guess(label, confidence, reason, probabilities, is_sure, doubts, language)

    def _judged_texts(self, texts: Sequence[str], tokens_by_row: Mapping[int, Sequence[str]]) -> list[_JudgedText]:
        judged_texts, tree = [_WITHOUT_WORDS] * len(texts), self._predictor.tree
        if tokens_by_row:
            predicted = self._predictor.predict(list(tokens_by_row.values()), [texts[row] for row in tokens_by_row])
            predictions = zip(
                tokens_by_row, predicted.chances.tolist(), predicted.best.tolist(), predicted.runner_up.tolist(),
                predicted.strongest_words, predicted.languages, predicted.unread.tolist(), predicted.vague.tolist(),
                predicted.doubtful.tolist(), strict=True,
            )  # fmt: skip
            for row, chances, best, runner_up, strongest_words, language, is_unread, is_vague, doubtful in predictions:
                if is_unread or is_vague:
                    why = _UNREAD.format(dm.LANGUAGES.get(language or "", "a language")) if is_unread else _VAGUE
                    reason = f"{why}; next: {self._plain_labels[runner_up]}"
                    judged_texts[row] = _JudgedText(
                        self.model.labels[best], None, reason, None, doubtful=True, language=language
                    )
                    continue
                reason = self._guess_reason(strongest_words, runner_up, chances[runner_up])
                path = () if tree is None else tree.path(best)
                chances_json, chance = self._probabilities_json(chances, path), round(chances[best], 4)
                above = [(self.model.labels[each], round(chances[each], 4)) for each in path[1:]] if path else ()
                judged_texts[row] = _JudgedText(
                    self.model.labels[best], chance, reason, chances_json, doubtful, language, above
                )
        return judged_texts

    def _guess_reason(self, strongest_words: Sequence[str], runner_up: int, chance: float) -> str:
        if len(self._plain_labels) == 1:
            return "the only category"
        return f"{', '.join(strongest_words) or 'no single word'}; next: {self._plain_labels[runner_up]} {chance:.2f}"

    def _probabilities_json(self, probabilities: Sequence[float], first: Sequence[int]) -> str:
        """Return the highest probabilities, those of the levels of the guess `first`, and before the others."""
        if len(self._label_keys) <= KEPT_LABELS and not first:
            return self._all_probabilities % tuple(probabilities)
        pairs = sorted(zip(self._label_keys, probabilities, strict=True), key=itemgetter(1), reverse=True)
        if first:
            path = [(self._label_keys[label], probabilities[label]) for label in first]
            pairs = path + [pair for pair in pairs[: KEPT_LABELS + len(path)] if pair not in path]
        keys, probabilities = zip(*pairs[:KEPT_LABELS], strict=True)
        return ("{" + ",".join(keys) + "}") % tuple(probabilities)


def likeliest_labels(
    model: Model, texts: Sequence[str], levels: dm.Levels | None = None
) -> list[tuple[str | None, float | None]]:
    """Return the likeliest label of each text with its probability; (None, None) for a text without words.

    A text that seems to be in another language, or says too little, has a label without a probability.
    """
    guesses: list[tuple[str | None, float | None]] = [(None, None)] * len(texts)
    for rows, predicted in Predictor(model, levels=levels, explains=False).over(texts):
        is_unread = predicted.unread | predicted.vague
        for row, chances, best, unread in zip(rows, predicted.chances, predicted.best, is_unread, strict=True):
            guesses[row] = model.labels[best], None if unread else float(chances[best])
    return guesses
