"""A cascade of classifiers: each next one is asked if the last one is unsure, abstains, fails or is unavailable."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from triage_cli.domain import (
    Action,
    Answer,
    Answered,
    AnswerError,
    Classification,
    FlushNow,
    Outcome,
    Postponed,
    QuestionSpec,
    TakenOverError,
    Ticket,
    TriageError,
    UnavailableError,
    Unfinished,
)
from triage_cli.ports import Classifier
from triage_cli.runtime import Budget

AUDIT_SHARES = 10_000


class Cascade:
    """Implements `ports.Classifier`; the answers of all steps are kept, the last one decides.

    `audit_rate` is the share of sure answers, chosen by ticket id, that the next step is asked to confirm. A step that
    is unavailable is skipped for the rest of the run, and `warn` gets a message; if the last one is, the run ends.
    """

    def __init__(
        self, name: str, steps: Sequence[Classifier], audit_rate: float = 0.0, warn: Callable[[str], None] | None = None
    ) -> None:
        self.name = name
        self.fingerprints = tuple(fingerprint for step in steps for fingerprint in step.fingerprints)
        self.fingerprint = hashlib.sha256("\0".join(self.fingerprints).encode()).hexdigest()
        self.chunk_size = steps[0].chunk_size
        self._steps = tuple(steps)
        self._audit_rate = audit_rate
        self._warn = warn

    def fingerprints_of(self, question: str) -> tuple[str, ...]:
        """Return the fingerprints by which the steps of the cascade ask a question."""
        return tuple(fingerprint for step in self._steps for fingerprint in step.fingerprints_of(question))

    def questions(self) -> tuple[QuestionSpec, ...]:
        """Return the questions of all steps of the cascade."""
        return tuple(question for step in self._steps for question in step.questions())

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer as the step of the cascade that gave it would judge it now."""
        step = next(step for step in self._steps if answer.fingerprint in step.fingerprints)
        return step.rejudged(answer)

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answered]]]:
        """Answer step by step; sure answers of earlier steps are yielded with the next outcomes of the later ones.

        Paid answers of earlier steps are yielded with them as `Unfinished`. If the run is stopped, calls in flight at
        the earlier steps are completed.
        """
        cascade_state = _CascadeState()
        error_to_raise: TriageError | None = None
        is_over = False

        def first_step_chunks() -> Iterator[Sequence[Ticket]]:
            source = iter(chunks)
            while not is_over and (chunk := FlushNow() if cascade_state.is_crowded else next(source, None)) is not None:
                yield chunk

        *earlier_steps, last_step = self._steps
        stream: Iterator[Sequence[Ticket]] = first_step_chunks()
        for step in earlier_steps:
            stream = self._for_next_step(self._while_available(step, stream, budget, cascade_state), cascade_state)
        try:
            for outcomes in self._with_lookahead(last_step, stream, budget, cascade_state):
                yield cascade_state.ready_outcomes(outcomes)
        except TriageError as error:
            error_to_raise = error
        is_over = True
        try:
            for _ in stream:
                yield cascade_state.ready_outcomes()
        except TriageError as error:
            error_to_raise = error_to_raise or error
        if last_outcomes := cascade_state.ready_outcomes():
            yield last_outcomes
        if error_to_raise is not None:
            raise error_to_raise

    def _while_available(
        self, step: Classifier, chunks: Iterator[Sequence[Ticket]], budget: Budget, cascade_state: "_CascadeState"
    ) -> Iterator[Sequence[Outcome[Answered]]]:
        """Yield a step's outcomes; once the step is unavailable, failures for all unanswered and remaining tickets."""
        tickets_at_step: dict[str, Ticket] = {}

        def chunks_for_step() -> Iterator[Sequence[Ticket]]:
            for chunk in chunks:
                tickets_at_step.update((ticket.ticket_id, ticket) for ticket in chunk)
                yield chunk

        try:
            for outcomes in self._with_lookahead(step, chunks_for_step(), budget, cascade_state):
                for outcome in outcomes:
                    tickets_at_step.pop(outcome.ticket.ticket_id, None)
                yield outcomes
        except TakenOverError:
            raise  # the run ends, so no next step is asked
        except UnavailableError as error:
            if self._warn is not None:
                self._warn(f"warning: {error.message}; the next step of {self.name} is asked instead")
            yield [_unavailable_outcome(ticket, step) for ticket in tickets_at_step.values()]
            for chunk in chunks:
                yield [_unavailable_outcome(ticket, step) for ticket in chunk]

    @staticmethod
    def _with_lookahead(
        step: Classifier, chunks: Iterator[Sequence[Ticket]], budget: Budget, cascade_state: "_CascadeState"
    ) -> Iterator[Sequence[Outcome[Answered]]]:
        """Yield a step's outcomes; while the step takes no tickets, the earlier ones continue."""
        lookahead = _Lookahead(chunks, cascade_state)
        cascade_state.lookaheads.append(lookahead)
        try:
            for outcomes in step.classify(lookahead, budget):
                lookahead.look()
                yield outcomes
        finally:
            cascade_state.lookaheads.remove(lookahead)

    def _for_next_step(
        self, stream: Iterable[Sequence[Outcome[Answered]]], cascade_state: "_CascadeState"
    ) -> Iterator[Sequence[Ticket]]:
        for outcomes in stream:
            tickets_for_next_step = []
            for outcome in map(cascade_state.effective_outcome, outcomes):
                is_sure = isinstance(outcome.value, Answer) and outcome.value.sure and not outcome.error
                if (is_sure and not self._is_audited(outcome.ticket)) or isinstance(outcome.value, Postponed):
                    cascade_state.sure_outcomes.append(cascade_state.with_earlier_steps(outcome))
                    continue
                cascade_state.pass_to_next_step(outcome, sure=is_sure)
                tickets_for_next_step.append(outcome.ticket)
            # Paid answers are saved before a step yields more, so that a kill loses only calls in flight.
            yield FlushNow(tickets_for_next_step) if cascade_state.unsaved_ids else tickets_for_next_step

    def _is_audited(self, ticket: Ticket) -> bool:
        audit_draw = int(hashlib.sha256(ticket.ticket_id.encode()).hexdigest()[:8], 16) % AUDIT_SHARES
        return audit_draw < self._audit_rate * AUDIT_SHARES


class _CascadeState:
    """The state of one call of `Cascade.classify`: sure outcomes to yield, earlier answers of tickets at a later step.

    `unsaved_ids` are those of tickets with a paid earlier answer that is still to be yielded; `lookaheads` are what
    the steps take tickets from.
    """

    def __init__(self) -> None:
        self.sure_outcomes: list[Outcome[Answered]] = []
        self.unsaved_ids: dict[str, None] = {}
        self.lookaheads: list[_Lookahead] = []
        self.is_fetching_ahead = False
        self._earlier_answers: dict[str, Answer] = {}

    @property
    def is_crowded(self) -> bool:
        """Return whether the cascade's first step is to get no tickets, because a later one has no room."""
        return self.is_fetching_ahead or any(lookahead.fetched for lookahead in self.lookaheads)

    def ready_outcomes(self, outcomes: Iterable[Outcome[Answered]] = ()) -> list[Outcome[Answered]]:
        """Return all outcomes that the cascade is to yield, with those of the last step; each ticket occurs once."""
        finished = [*self.sure_outcomes]
        finished += [self.with_earlier_steps(self.effective_outcome(outcome)) for outcome in outcomes]
        unsaved = map(self._earlier_answers.get, self.unsaved_ids)
        finished += [_unfinished(answer) for answer in unsaved if answer is not None]
        self.sure_outcomes.clear()
        self.unsaved_ids.clear()
        return finished

    def effective_outcome(self, outcome: Outcome[Answered]) -> Outcome[Answered]:
        """Return the outcome that counts: if a step failed that was to confirm a sure answer, that sure answer."""
        sure_answer = self._earlier_answers.get(outcome.ticket.ticket_id)
        if sure_answer is None or not sure_answer.sure or outcome.error is None:
            return outcome
        del self._earlier_answers[outcome.ticket.ticket_id]
        failed_steps = outcome.value.steps if outcome.value else ()
        answer = sure_answer._replace(steps=failed_steps + sure_answer.steps)
        return Outcome(0, Action.ANSWERED, answer, None, outcome.ticket)

    def with_earlier_steps(self, outcome: Outcome[Answered]) -> Outcome[Answered]:
        """Return an outcome whose answer includes those of the earlier steps, and drop these from the state."""
        answer = outcome.value or Answer(outcome.ticket, (), sure=False)
        return outcome._replace(value=answer._replace(steps=self._steps_so_far(outcome)))

    def _steps_so_far(self, outcome: Outcome[Answered]) -> tuple[Classification, ...]:
        earlier_answer = self._earlier_answers.pop(outcome.ticket.ticket_id, None)
        earlier_steps = earlier_answer.steps if earlier_answer else ()
        return earlier_steps + (outcome.value.steps if outcome.value else ())

    def pass_to_next_step(self, outcome: Outcome[Answered], *, sure: bool) -> None:
        """Store the answer of a ticket that goes on to the next step of the cascade."""
        ticket, answer = outcome.ticket, outcome.value
        if answer and any(step.is_paid for step in answer.steps):
            self.unsaved_ids[ticket.ticket_id] = None
        doubts = answer.doubts if isinstance(answer, Answer) else None
        self._earlier_answers[ticket.ticket_id] = Answer(ticket, self._steps_so_far(outcome), sure, doubts)


class _Lookahead(Iterator[Sequence[Ticket]]):
    """The chunks that a step takes from the earlier steps; `fetched` are those taken before the step had room."""

    def __init__(self, chunks: Iterator[Sequence[Ticket]], cascade_state: _CascadeState) -> None:
        self.fetched: deque[Sequence[Ticket]] = deque()
        self._chunks = chunks
        self._cascade_state = cascade_state
        self._earlier_error: Exception | None = None
        self._has_taken = False

    def __next__(self) -> Sequence[Ticket]:
        self._has_taken = True
        if self.fetched:
            return self.fetched.popleft()
        if self._earlier_error is not None:
            raise self._earlier_error
        return next(self._chunks)

    def look(self) -> None:
        """Fetch a chunk of the earlier steps ahead, if the step took none since the last call."""
        if not self._has_taken and self._earlier_error is None:
            self._cascade_state.is_fetching_ahead = True
            try:
                if chunk := next(self._chunks, ()):
                    self.fetched.append(chunk)
            except Exception as error:  # noqa: BLE001 - raised when the cascade's step takes the next chunk
                self._earlier_error = error
            self._cascade_state.is_fetching_ahead = False
        self._has_taken = False


def _unavailable_outcome(ticket: Ticket, step: Classifier) -> Outcome[Answered]:
    return Outcome.failed(ticket, AnswerError(f"unavailable: {step.name} was not available"))


def _unfinished(answer: Answer) -> Outcome[Answered]:
    return Outcome(0, Action.ANSWERED, Unfinished(answer.steps), None, answer.ticket)
