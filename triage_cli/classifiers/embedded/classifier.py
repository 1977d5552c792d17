"""The embedded classifier: static word vectors and a small linear model, answered offline with numpy alone.

A text is its distinct lower-case words. Each word's share in every label's score is worked out once, when the word is
first met, and kept in a table: answering is then looking up and adding up. Fitting is in `training`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from hashlib import sha256
from operator import itemgetter
from typing import NamedTuple

from triage_cli.classifiers.embedded.inference import SLICE, Predictor
from triage_cli.classifiers.embedded.tokens import MAX_CHARACTERS, MAX_WORDS, words_of
from triage_cli.classifiers.embedded.weights import METHOD, Model, described, fingerprint
from triage_cli.domain.decisions import Answer, Classification, QuestionSpec
from triage_cli.domain.errors import TriageError
from triage_cli.domain.invisible import is_plain
from triage_cli.domain.prompt_injection import Suspicion
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.tickets import Category, Ticket
from triage_cli.runtime.budget import Budget

TOLD = 10  # labels whose probability is kept


class _Guess(NamedTuple):
    label: str | None
    confidence: float | None
    reason: str
    probabilities: str | None
    doubtful: bool


_SPEECHLESS = _Guess(None, None, "no words to go by", None, doubtful=True)


class LocalClassifier:
    """Answers from a fitted model, without a network; every answer is the best guess, sure or not."""

    appetite = 512

    def __init__(  # noqa: PLR0913 - wiring hands over what it knows, by name
        self, name: str, model: Model, categories_fingerprint: str, min_confidence: float, *, actor: str,
        run_id: str | None, categories: Sequence[Category], clock: Callable[[], str], new_id: Callable[[], str],
        version: str = "",
    ) -> None:  # fmt: skip
        if not model.fingerprint == categories_fingerprint == fingerprint(categories):
            raise TriageError("the fitted model is for other categories", hint="fit it again")
        self.name = name
        # What was learned stays what it is under other names and descriptions of the same categories.
        named = model.learned or model.fingerprint
        self.fingerprint = sha256(f"{METHOD}\0{named}".encode()).hexdigest()
        self._model = model
        self._categories = categories
        self._min_confidence = min_confidence
        self._actor = actor
        self._run_id = run_id
        self._clock = clock
        self._new_id = new_id
        self._version = version
        self._suspicion = Suspicion(model.labels)
        self._table = Predictor(model, self._suspicion)
        self._keys = [json.dumps(label, ensure_ascii=False) + ":" for label in model.labels]
        self._plain = ["".join(c if c.isprintable() else " " for c in label) for label in model.labels]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Return all it asks by: one."""
        return (self.fingerprint,)

    def askings(self) -> tuple[QuestionSpec, ...]:
        """Describe what is asked, for the record."""
        return (self.asking(),)

    def asking(self) -> QuestionSpec:
        """Describe what is asked."""
        options = {"method": METHOD, "learned": self._model.learned or None, "temperature": self._model.temperature}
        model = f"l2_supercat_256, {self._version}" if self._version else "l2_supercat_256"
        return QuestionSpec(self.fingerprint, "local", model, "", "", described(self._categories),
                      json.dumps(options), self._clock())  # fmt: skip

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer each chunk while the one before it is saved, or at once where an empty one follows; it costs nothing.

        The next chunk is taken when nothing is being answered: SQLite hands over rows one by one, and a thread at work
        would make it wait at each.
        """
        del budget
        with ThreadPoolExecutor(1, "answering") as thread:
            answering: Future[Sequence[Outcome[Answer]]] | None = None
            for chunk in chunks:
                done = answering.result() if answering else ()
                answering = thread.submit(self._answers, chunk) if chunk else None
                yield done
                wait([answering] if answering else ())
            if answering:
                yield answering.result()

    def _answers(self, chunk: Sequence[Ticket]) -> Sequence[Outcome[Answer]]:
        done: list[Outcome[Answer]] = []
        for start in range(0, len(chunk), SLICE):
            self._answer(chunk[start : start + SLICE], done)
        return done

    def _answer(self, tickets: Sequence[Ticket], done: list[Outcome[Answer]]) -> None:
        texts = [ticket.text for ticket in tickets]
        judged = self._judge(texts)
        at, key = self._clock(), self.fingerprint.encode() + b"\0"
        for ticket, text, (label, confidence, reason, certainty, doubtful) in zip(tickets, texts, judged, strict=True):
            answer_key = sha256(key + text.encode("utf-8", "surrogatepass")).hexdigest()
            answer = Classification(
                self._new_id(), ticket.ticket_id, self._run_id, self.name, label, confidence, "model", reason,
                self.name, self._actor, self.fingerprint, self._min_confidence, certainty, answer_key, at,
            )  # fmt: skip
            sure = label is not None and confidence is not None and confidence >= self._min_confidence
            # Here, since the thread that saves has more to do.
            doubts = self._suspicion.found(text) if sure and doubtful else ()
            done.append(Outcome(len(done), Action.ANSWERED, Answer(ticket, (answer,), sure, doubts), None, ticket))

    def _judge(self, texts: Sequence[str]) -> list[_Guess]:
        guesses = [_SPEECHLESS] * len(texts)
        kept = {row: found for row, text in enumerate(texts) if (found := words_of(text))[0]}
        if kept:
            judged = self._table.judge(list(kept.values()))
            columns = zip(
                kept, judged.chances.tolist(), judged.best.tolist(), judged.runner_up.tolist(), judged.spoke,
                judged.foreign.tolist(), judged.doubtful.tolist(), strict=True,
            )  # fmt: skip
            for row, chances, best, next_, because, unread, doubtful in columns:
                if unread:
                    guesses[row] = _Guess(self._model.labels[best], None, self._unread(next_), None, doubtful=True)
                    continue
                text = texts[row]
                guesses[row] = _Guess(
                    self._model.labels[best], round(chances[best], 4), self._reason(because, next_, chances[next_]),
                    self._told(chances),
                    # Of a text that is cut not all words are known, and what hides in one that is not plain is no word.
                    doubtful or not is_plain(text) or len(text) > MAX_CHARACTERS or len(kept[row][0]) == MAX_WORDS,
                )  # fmt: skip
        return guesses

    def _reason(self, because: Sequence[str], runner_up: int, chance: float) -> str:
        if len(self._plain) == 1:
            return "the only category"
        return f"{', '.join(because) or 'no single word'}; next: {self._plain[runner_up]} {chance:.2f}"

    def _unread(self, runner_up: int) -> str:
        return f"seems not to be English, the only language this model reads; next: {self._plain[runner_up]}"

    def _told(self, probabilities: Sequence[float]) -> str:
        pairs: Iterable[tuple[str, float]] = zip(self._keys, probabilities, strict=True)
        if len(self._keys) > TOLD:
            pairs = sorted(pairs, key=itemgetter(1), reverse=True)[:TOLD]
        return "{" + ",".join([f"{key}{chance:.3f}" for key, chance in pairs]) + "}"
