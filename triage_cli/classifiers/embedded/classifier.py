"""The embedded classifier: static word vectors and a linear model, which runs offline with numpy alone.

A text is treated as the set of its lower-case words. What a word adds to the score of each label is computed when the
word first occurs, and kept in a table; answering means looking words up and adding. `fit` fits the model.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from hashlib import sha256
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from triage_cli.classifiers.embedded.encoder import Encoder
from triage_cli.classifiers.embedded.inference import Prediction, Predictor, replace, steps
from triage_cli.classifiers.embedded.tokens import MAX_CHARACTERS, tokens_of
from triage_cli.classifiers.embedded.weights import METHOD, VECTORS, Model, described, fingerprint, knows
from triage_cli.domain.decisions import Answer, Classification, QuestionSpec
from triage_cli.domain.errors import TriageError
from triage_cli.domain.hostile_text.invisible import is_plain
from triage_cli.domain.hostile_text.prompt_injection import Suspicion
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.tickets import Category, Ticket
from triage_cli.runtime.budget import Budget

KEPT_LABELS = 10  # labels whose probability is stored
# An encoder is asked about unsure texts that it may make sure (their confidence has this share of the threshold), or
# whose best two labels are this close. The others would cost nearly as much again, and gain a fifth.
IN_REACH, TIED = 0.75, 0.05


class _Guess(NamedTuple):
    label: str | None
    confidence: float | None
    reason: str
    probabilities: str | None
    doubtful: bool


_FOREIGN = "seems to be in a language that this model was not taught"
_VAGUE = "too few words that say something"
_NO_WORDS = _Guess(None, None, "no words to go by", None, doubtful=True)


class LocalClassifier:
    """Implements `ports.Classifier` with a fitted model; every answer is the best guess, sure or not."""

    chunk_size = 512

    def __init__(  # noqa: PLR0913 - wiring hands over what it knows, by name
        self, name: str, model: Model, categories_fingerprint: str, min_confidence: float, *, actor: str,
        run_id: str | None, categories: Sequence[Category], clock: Callable[[], str], new_id: Callable[[], str],
        version: str = "", overlapping: bool = True, encoder: Encoder | None = None,
    ) -> None:  # fmt: skip
        if not model.fingerprint == categories_fingerprint == fingerprint(categories):
            raise TriageError("the fitted model is for other categories", hint="fit it again")
        self.name = name
        # A trained model keeps its fingerprint if categories get other names and descriptions.
        named = model.learned or model.fingerprint
        beside = model.beside if encoder is not None else None
        if not knows(model, encoder.fingerprint if encoder else ""):
            raise TriageError("the fitted model is for another encoder", hint="fit it again")
        with_encoder = f"\0{beside.encoder}" if beside else ""
        self.fingerprint = sha256(f"{METHOD}\0{named}{with_encoder}".encode()).hexdigest()
        self._model = model
        self._categories = categories
        self._min_confidence = min_confidence
        self._actor = actor
        self._run_id = run_id
        self._clock = clock
        self._new_id = new_id
        self._version = version
        self._overlapping = overlapping
        self._suspicion = Suspicion(model.labels)
        self._table = Predictor(model, self._suspicion)
        self._encoder = encoder
        self._beside = Predictor(beside) if beside else None
        self._keys = [json.dumps(label, ensure_ascii=False).replace("%", "%%") + ":%.3f" for label in model.labels]
        self._all_probabilities = "{" + ",".join(self._keys) + "}"
        self._plain = ["".join(c if c.isprintable() else " " for c in label) for label in model.labels]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Return its only fingerprint."""
        return (self.fingerprint,)

    def askings(self) -> tuple[QuestionSpec, ...]:
        """Return the question, for the record."""
        return (self.asking(),)

    def asking(self) -> QuestionSpec:
        """Return the question, for the record."""
        options = {"method": METHOD, "learned": self._model.learned or None, "calibration": self._model.calibration}
        if self._encoder is not None:
            options["encoder"] = self._encoder.fingerprint
        model = f"{VECTORS}, {self._version}" if self._version else VECTORS
        return QuestionSpec(self.fingerprint, "local", model, "", "", described(self._categories),
                      json.dumps(options), self._clock())  # fmt: skip

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer with the confidence and the threshold that it would have now."""
        return answer.at_threshold(self._min_confidence)

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer each chunk while the caller saves the one before; it costs nothing.

        The next chunk is taken while nothing is being answered, because a busy thread would delay SQLite at every row.
        Without `overlapping`, the caller's own thread answers.
        """
        del budget
        if not self._overlapping:
            yield from map(self._answers, chunks)
            return
        with ThreadPoolExecutor(1, "answering") as thread:
            answering: Future[Sequence[Outcome[Answer]]] | None = None
            for chunk in chunks:
                outcomes = answering.result() if answering else ()
                answering = thread.submit(self._answers, chunk) if chunk else None
                yield outcomes
                wait([answering] if answering else ())
            if answering:
                yield answering.result()

    def _answers(self, chunk: Sequence[Ticket]) -> Sequence[Outcome[Answer]]:
        outcomes: list[Outcome[Answer]] = []
        texts = [ticket.text for ticket in chunk]
        for rows in steps(texts):
            step = slice(rows.start, rows.stop)
            self._answer(chunk[step], texts[step], outcomes)
        return outcomes

    def _answer(self, tickets: Sequence[Ticket], texts: Sequence[str], outcomes: list[Outcome[Answer]]) -> None:
        judged = self._judge(texts)
        answered_at, key, least = self._clock(), self.fingerprint.encode() + b"\0", self._min_confidence
        for ticket, text, (label, confidence, reason, certainty, doubtful) in zip(tickets, texts, judged, strict=True):
            answer_key = sha256(key + text.encode("utf-8", "surrogatepass")).hexdigest()
            answer = Classification(
                self._new_id(), ticket.ticket_id, self._run_id, self.name, label, confidence, "model", reason,
                self.name, self._actor, self.fingerprint, least, certainty, answer_key, answered_at,
            )  # fmt: skip
            sure = label is not None and confidence is not None and confidence >= least
            # Checked in this thread, because the saving thread has more to do. Words that were cut off, or that contain
            # invisible characters, have no traces.
            has_traces = doubtful or not is_plain(text) or len(text) > MAX_CHARACTERS if sure else False
            doubts = self._suspicion.found(text) if has_traces else ()
            outcomes.append(
                Outcome(len(outcomes), Action.ANSWERED, Answer(ticket, (answer,), sure, doubts), None, ticket)
            )

    def _judge(self, texts: Sequence[str]) -> list[_Guess]:
        guesses = [_NO_WORDS] * len(texts)
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
                    guesses[row] = _Guess(self._model.labels[best], None, reason, None, doubtful=True)
                    continue
                guesses[row] = _Guess(
                    self._model.labels[best], round(chances[best], 4),
                    self._reason(strongest, runner_up, chances[runner_up]),
                    self._probabilities_json(chances), doubtful,
                )  # fmt: skip
        return guesses

    def _ask_encoder(self, judged: Prediction, texts: Sequence[str], tokens: Sequence[Sequence[str]]) -> None:
        """Replace unsure predictions that the model beside the encoder can change by its own."""
        every = np.arange(len(judged.best))
        first, second = judged.chances[every, judged.best], judged.chances[every, judged.runner_up]
        open_ = (first >= IN_REACH * self._min_confidence) | (first - second < TIED)
        chosen = np.flatnonzero((first < self._min_confidence) & open_ & ~judged.foreign & ~judged.vague)
        if self._encoder is not None and self._beside is not None and len(chosen):
            rows = chosen.tolist()
            encoded = self._encoder.vectors([texts[row] for row in rows])
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
