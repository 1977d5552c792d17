"""The embedded classifier: static word vectors and a linear model, which runs offline with numpy alone.

A text is treated as the set of its lower-case words. What a word adds to the score of each label is computed when the
word first occurs, and kept in a table; answering means looking words up and adding. `fit` fits the model.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from triage_cli.classifiers.embedded.encoder import Encoder
from triage_cli.classifiers.embedded.fitted_model import (
    METHOD,
    VECTORS_NAME,
    Model,
    described_categories,
    fingerprint,
    knows_encoder,
)
from triage_cli.classifiers.embedded.guess_ahead import GuessAhead
from triage_cli.classifiers.embedded.guesses import Guess, Guesser
from triage_cli.domain import (
    CATEGORY,
    Action,
    Answer,
    Category,
    Classification,
    Levels,
    Outcome,
    QuestionSpec,
    Ticket,
    TriageError,
    ids,
    times,
)
from triage_cli.runtime import Budget


def question_fingerprint(model_name: str, encoder: str = "", *, levels: bool = False) -> str:
    """Return the fingerprint of what a model is asked, by its name and the fingerprint of the encoder beside it.

    `levels` says whether its labels are in levels.
    """
    further = (f"\0{encoder}" if encoder else "") + ("\0levels" if levels else "")
    return sha256(f"{METHOD}\0{model_name}{further}".encode()).hexdigest()


class LocalClassifier:
    """Implements `ports.Classifier` with a fitted model; every answer is the best guess, sure or not."""

    chunk_size = 512

    def __init__(  # noqa: PLR0913 - wiring hands over what it knows, by name
        self,
        name: str,
        model: Model,
        min_confidence: float,
        *,
        actor: str,
        run_id: str | None,
        categories: Sequence[Category],
        version: str = "",
        overlaps: bool = True,
        encoder: Encoder | None = None,
    ) -> None:
        if model.fingerprint != fingerprint(categories):
            raise TriageError("the fitted model is for other categories", hint="fit it again")
        self.name = name
        if not knows_encoder(model, encoder.fingerprint if encoder else ""):
            raise TriageError("the fitted model is for another encoder", hint="fit it again")
        beside = model.beside if encoder is not None else None
        # A trained model keeps its fingerprint if categories get other names and descriptions.
        self.levels = Levels.of(categories)
        self.fingerprint = question_fingerprint(
            model.learned or model.fingerprint, beside.encoder if beside else "", levels=bool(self.levels.parents)
        )
        self._model = model
        self._categories = categories
        self._min_confidence = min_confidence
        self._actor = actor
        self._run_id = run_id
        self._version = version
        self._overlaps = overlaps
        self.guesser = Guesser(model, self.fingerprint, min_confidence, encoder, self.levels)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Return the fingerprint of the embedded model's only question."""
        return (self.fingerprint,)

    def fingerprints_of(self, question: str) -> tuple[str, ...]:
        """Return the fingerprint of a question that it answers."""
        return self.fingerprints if question == CATEGORY else ()

    def questions(self) -> tuple[QuestionSpec, ...]:
        """Return the question that the embedded model answers, for the record."""
        options: dict[str, object] = {
            "method": METHOD,
            "learned": self._model.learned or None,
            "calibration": self._model.calibration,
        }
        if self.guesser.encoder is not None:
            options["encoder"] = self.guesser.encoder.fingerprint
        if self.levels.parents:
            options["levels"] = True
        question = QuestionSpec(
            fingerprint=self.fingerprint,
            kind="local",
            model=f"{VECTORS_NAME}, {self._version}" if self._version else VECTORS_NAME,
            endpoint="",
            prompt="",
            categories=described_categories(self._categories),
            options=json.dumps(options),
            first_at=times.now(),
        )
        return (question,)

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer of the embedded model with the threshold that it would have now."""
        answer = answer.at_threshold(self._min_confidence)
        return self.levels.settled(answer, lambda _: self._min_confidence) if self.levels.parents else answer

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
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
                if not chunk:  # asks for the answers so far: what costs nothing is not lost, and may come later
                    yield ()
                    continue
                outcomes = ahead.answers()
                ahead.begin(chunk)
                yield outcomes
                ahead.finish()
            yield ahead.answers()

    def _answers(self, tickets: Sequence[Ticket], guesses: Sequence[Guess]) -> Sequence[Outcome[Answer]]:
        answered_at = times.now()
        outcomes: list[Outcome[Answer]] = []
        for ticket, (label, confidence, reason, chances, answer_key, sure, doubts) in zip(
            tickets, guesses, strict=True
        ):
            classification = Classification(
                ids.new_id(), ticket.ticket_id, self._run_id, self.name, label, confidence, "model", reason,
                self.name, self._actor, self.fingerprint, self._min_confidence, chances, answer_key, answered_at,
            )  # fmt: skip
            answer = Answer(ticket, (classification,), sure, tuple(doubts))
            outcomes.append(Outcome(len(outcomes), Action.ANSWERED, answer, None, ticket))
        return outcomes
