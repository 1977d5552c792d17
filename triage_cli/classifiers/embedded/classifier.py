"""The embedded classifier: static word vectors and a linear model, which runs offline with numpy alone.

A text is treated as the set of its lower-case words. What a word adds to the score of each label is computed when the
word first occurs, and kept in a table; answering means looking words up and adding. `fit` fits the model.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.fitted_model import METHOD, VECTORS_NAME, Model, described_categories, fingerprint
from triage_cli.classifiers.embedded.guess_ahead import GuessAhead
from triage_cli.classifiers.embedded.guesses import Guess, Guesser
from triage_cli.runtime import Budget


def question_fingerprint(model_name: str, question: dm.Question) -> str:
    """Return the fingerprint of a question to a model, by the name of each, and by whether its values are in levels."""
    # As long as there was one question alone, it had no name.
    levels = "\0levels" if question.labels.parents else ""
    further = levels + ("" if question.name == dm.CATEGORY else f"\0{question.name}")
    return sha256(f"{METHOD}\0{model_name}{further}".encode()).hexdigest()


class Head(NamedTuple):
    """What answers one question: a model of its values, sure from `min_confidence` on; `version` says what it learned.

    The question is the category, or a further one. `measured` is what set the threshold, if held-out answers did.
    """

    model: Model
    min_confidence: float
    categories: Sequence[dm.Category]
    question: str = dm.CATEGORY
    version: str = ""
    measured: dm.MeasuredThreshold | None = None

    @property
    def levels(self) -> dm.Levels:
        """Return the names of the values, with the levels that they are in."""
        return dm.Levels.of(self.categories)

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the question as the model is asked it."""
        # A trained model keeps its fingerprint if categories get other names and descriptions.
        question = dm.Question(self.question, tuple(self.categories))
        return question_fingerprint(self.model.learned or self.model.fingerprint, question)


class LocalClassifier:
    """Implements `ports.Classifier` with fitted models; every answer is the best guess, sure or not.

    Each model answers one question; all of them about the same texts, which are read once.
    """

    chunk_size = 512

    def __init__(
        self, name: str, heads: Sequence[Head], *, actor: str, run_id: str | None, overlaps: bool = True
    ) -> None:
        if any(head.model.fingerprint != fingerprint(head.categories) for head in heads):
            raise dm.TriageError("the fitted model is for other categories", hint="fit it again")
        self.name = name
        self._heads = heads
        self._fingerprints = [head.fingerprint for head in heads]
        self.fingerprint = self._fingerprints[0]
        self._actor = actor
        self._run_id = run_id
        self._overlaps = overlaps
        guessers: list[Guesser] = []
        for head in heads:
            lead = guessers[0] if guessers else None
            guessers.append(Guesser(head.model, head.min_confidence, head.levels, lead=lead))
        self.guesser = guessers[0]  # which the others follow

    def fingerprints_of(self, question: str) -> tuple[str, ...]:
        pairs = zip(self._heads, self._fingerprints, strict=True)
        return tuple(head_fingerprint for head, head_fingerprint in pairs if head.question == question)

    def askings(self) -> tuple[dm.Asking, ...]:
        return tuple(map(self._asking, self._heads, self._fingerprints))

    def _asking(self, head: Head, head_fingerprint: str) -> dm.Asking:
        options: dict[str, object] = {
            "method": METHOD,
            "learned": head.model.learned or None,
            "calibration": head.model.calibration,
        }
        if head.levels.parents:
            options["levels"] = True
        if head.measured is not None:
            options["measured"] = head.measured
        return dm.Asking(
            fingerprint=head_fingerprint,
            kind="local",
            model=f"{VECTORS_NAME}, {head.version}" if head.version else VECTORS_NAME,
            endpoint="",
            prompt="",
            categories=described_categories(head.categories),
            options=json.dumps(options),
            first_at=dm.times.now(),
        )

    def rejudged(self, answer: dm.Classification, _text: str) -> dm.Classification:
        head = next(head for head in self._heads if head.question == answer.question)
        answer = answer.at_threshold(head.min_confidence)
        return head.levels.settled(answer, lambda _: head.min_confidence) if head.levels.parents else answer

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        """Answer each chunk by the embedded model while the caller saves the one before; it costs nothing.

        Without `overlaps`, the caller's own thread answers.
        """
        del budget
        if not self._overlaps:
            for chunk in chunks:
                yield self._answers(chunk, self.guesser.guesses([ticket.text for ticket in chunk]))
            return
        with GuessAhead(self.guesser, self._answers) as ahead:
            for chunk in chunks:
                if not chunk and not isinstance(chunk, dm.FlushNow):
                    yield ()  # the input may pause: a later step of a cascade has its turn
                    continue
                outcomes = ahead.answers()
                ahead.begin(chunk)
                yield outcomes
                ahead.finish()
            yield ahead.answers()

    def _answers(self, tickets: Sequence[dm.Ticket], guesses: Sequence[Guess]) -> Sequence[dm.Outcome[dm.Answer]]:
        answered_at = dm.times.now()
        outcomes: list[dm.Outcome[dm.Answer]] = []
        for ticket, guess in zip(tickets, guesses, strict=True):
            heads = zip(self._heads, self._fingerprints, (guess, *guess.further), strict=True)
            for head, asked_fingerprint, of_question in heads:
                min_confidence, question = head.min_confidence, head.question
                if question not in ticket.asked:
                    continue
                label, confidence, reason, chances, sure, doubts, language, _ = of_question
                answer_key = dm.ids.answer_key(asked_fingerprint, ticket.text)
                classification = dm.Classification(
                    dm.ids.new_id(), ticket.ticket_id, self._run_id, self.name, label, confidence, "model", reason,
                    self.name, self._actor, asked_fingerprint, min_confidence, chances, answer_key, answered_at,
                    question=question,
                )  # fmt: skip
                answer = dm.Answer(ticket, (classification,), sure, tuple(doubts), question, language)
                outcomes.append(dm.Outcome(len(outcomes), dm.Action.ANSWERED, answer, None, ticket))
        return outcomes
