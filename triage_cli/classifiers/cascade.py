"""A cascade of classifiers: each next one is asked if the last one is unsure, abstains, fails or is unavailable."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from triage_cli import domain as dm
from triage_cli.ports import Classifier
from triage_cli.runtime import Budget

AUDIT_SHARES = 10_000


class Cascade:
    """Implements `ports.Classifier`; the answers of all steps are kept, the last one decides.

    Each step is asked those questions about a ticket that it answers and that the earlier ones left open.
    `audit_rate` is the share of sure categories, chosen by ticket id, that the next step is asked to confirm. A step
    that is unavailable is skipped for the rest of the run, and `warn` gets a message; if the last one is, the run ends.
    """

    def __init__(
        self, name: str, steps: Sequence[Classifier], audit_rate: float = 0.0, warn: Callable[[str], None] | None = None
    ) -> None:
        self.name = name
        self.chunk_size = steps[0].chunk_size
        self._steps = tuple(steps)
        self._audit_rate = audit_rate
        self._warn = warn

    def fingerprints_of(self, question: str) -> tuple[str, ...]:
        return tuple(fingerprint for step in self._steps for fingerprint in step.fingerprints_of(question))

    def askings(self) -> tuple[dm.Asking, ...]:
        return tuple(asking for step in self._steps for asking in step.askings())

    def rejudged(self, answer: dm.Classification, text: str) -> dm.Classification:
        step = next(each for each in self._steps if answer.fingerprint in each.fingerprints_of(answer.question))
        return step.rejudged(answer, text)

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answered]]]:
        """Answer step by step; sure answers of earlier steps are yielded with the next outcomes of the later ones.

        Paid answers of earlier steps are yielded with them as `Unfinished`. If the run is stopped, calls in flight at
        the earlier steps are completed.
        """
        cascade_state = _CascadeState()
        error_to_raise: dm.TriageError | None = None
        is_over = False

        def first_step_chunks() -> Iterator[Sequence[dm.Ticket]]:
            source = iter(chunks)
            while (
                not is_over and (chunk := dm.FlushNow() if cascade_state.is_crowded else next(source, None)) is not None
            ):
                yield chunk

        *earlier_steps, last_step = self._steps
        stream: Iterator[Sequence[dm.Ticket]] = first_step_chunks()
        for number, step in enumerate(earlier_steps, 1):
            stage = _Stage(step, self._steps[number:])
            answered = self._while_available(stage, stage.taken_from(stream), budget, cascade_state)
            stream = self._for_next_step(stage, answered, cascade_state)
        try:
            for outcomes in self._with_lookahead(last_step, stream, budget, cascade_state):
                yield cascade_state.ready_outcomes(outcomes)
        except dm.TriageError as error:
            error_to_raise = error
        is_over = True
        try:
            for _ in stream:
                yield cascade_state.ready_outcomes()
        except dm.TriageError as error:
            error_to_raise = error_to_raise or error
        if last_outcomes := cascade_state.ready_outcomes():
            yield last_outcomes
        if error_to_raise is not None:
            raise error_to_raise

    def _while_available(
        self, stage: "_Stage", chunks: Iterator[Sequence[dm.Ticket]], budget: Budget, cascade_state: "_CascadeState"
    ) -> Iterator[Sequence[dm.Outcome[dm.Answered]]]:
        """Yield a step's outcomes; once the step is unavailable, failures of all unanswered and remaining questions."""
        step = stage.step
        try:
            yield from self._with_lookahead(step, chunks, budget, cascade_state)
        except dm.TakenOverError:
            raise  # the run ends, so no next step is asked
        except dm.UnavailableError as error:
            if self._warn is not None:
                self._warn(f"warning: {error.message}; the next step of {self.name} is asked instead")
            yield [_unavailable_outcome(ticket, step, question) for ticket, question in stage.unanswered()]
            for chunk in chunks:
                yield [_unavailable_outcome(ticket, step, question) for ticket in chunk for question in ticket.asked]

    @staticmethod
    def _with_lookahead(
        step: Classifier, chunks: Iterator[Sequence[dm.Ticket]], budget: Budget, cascade_state: "_CascadeState"
    ) -> Iterator[Sequence[dm.Outcome[dm.Answered]]]:
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
        self, stage: "_Stage", stream: Iterable[Sequence[dm.Outcome[dm.Answered]]], cascade_state: "_CascadeState"
    ) -> Iterator[Sequence[dm.Ticket]]:
        for outcomes in stream:
            tickets_for_next_step = stage.passed_by()
            for outcome in map(cascade_state.effective_outcome, outcomes):
                question = _question_of(outcome)
                is_sure = isinstance(outcome.value, dm.Answer) and outcome.value.sure and not outcome.error
                is_audited = question == dm.CATEGORY and self._is_audited(outcome.ticket)
                is_last = not stage.is_answered_later(question)
                if is_last or (is_sure and not is_audited) or isinstance(outcome.value, dm.Postponed):
                    cascade_state.sure_outcomes.append(cascade_state.with_earlier_steps(outcome))
                else:
                    cascade_state.pass_to_next_step(outcome, sure=is_sure)
                    stage.go_on(outcome.ticket, question)
                if ticket := stage.answered(outcome.ticket, question):
                    tickets_for_next_step.append(ticket)
            # Paid answers are saved before a step yields more, so that a kill loses only calls in flight.
            yield dm.FlushNow(tickets_for_next_step) if cascade_state.unsaved_ids else tickets_for_next_step

    def _is_audited(self, ticket: dm.Ticket) -> bool:
        audit_draw = int(hashlib.sha256(ticket.ticket_id.encode()).hexdigest()[:8], 16) % AUDIT_SHARES
        return audit_draw < self._audit_rate * AUDIT_SHARES


class _Stage:
    """The tickets at one step of a cascade: which questions it is asked about each, and which go on behind it."""

    def __init__(self, step: Classifier, later_steps: Sequence[Classifier]) -> None:
        self.step = step
        self._later_steps = later_steps
        self._is_answered_later: dict[str, bool] = {}
        self._at_step: dict[str, tuple[dm.Ticket, list[str], list[str]]] = {}  # what is asked, and what goes on
        self._passed_by: list[dm.Ticket] = []  # about which this step is asked nothing

    def taken_from(self, chunks: Iterator[Sequence[dm.Ticket]]) -> Iterator[Sequence[dm.Ticket]]:
        """Yield chunks with the questions that the step answers; the others wait for its answers, to go on together."""
        for chunk in chunks:
            taken = []
            for ticket in chunk:
                asked = [question for question in ticket.asked if self.step.fingerprints_of(question)]
                if not asked:
                    self._passed_by.append(ticket)
                    continue
                going_on = [question for question in ticket.asked if question not in asked]
                self._at_step[ticket.ticket_id] = ticket, list(asked), going_on
                taken.append(ticket._replace(asked=tuple(asked)) if going_on else ticket)
            yield dm.FlushNow(taken) if isinstance(chunk, dm.FlushNow) else taken

    def is_answered_later(self, question: str) -> bool:
        """Return whether a later step answers a question."""
        if question not in self._is_answered_later:
            answers = (step.fingerprints_of(question) for step in self._later_steps)
            self._is_answered_later[question] = any(answers)
        return self._is_answered_later[question]

    def passed_by(self) -> list[dm.Ticket]:
        """Return the tickets that go on without having been asked about, once."""
        passed_by, self._passed_by = self._passed_by, []
        return passed_by

    def go_on(self, ticket: dm.Ticket, question: str) -> None:
        """Let a question go on to the next step."""
        self._at_step[ticket.ticket_id][2].append(question)

    def answered(self, ticket: dm.Ticket, question: str) -> dm.Ticket | None:
        """Note an answer; with the last one about a ticket, return it for the next step if there is anything to ask."""
        ticket, asked, going_on = self._at_step[ticket.ticket_id]
        asked.remove(question)
        if asked:
            return None
        del self._at_step[ticket.ticket_id]
        return ticket._replace(asked=tuple(q for q in ticket.asked if q in going_on)) if going_on else None

    def unanswered(self) -> list[tuple[dm.Ticket, str]]:
        """Return the questions that the step has not answered."""
        return [(ticket, question) for ticket, asked, _ in self._at_step.values() for question in asked]


_Key = tuple[str, str]  # the id of a ticket, and a question


def _question_of(outcome: dm.Outcome[dm.Answered]) -> str:
    return dm.CATEGORY if outcome.value is None else outcome.value.question


def _key_of(outcome: dm.Outcome[dm.Answered]) -> _Key:
    return outcome.ticket.ticket_id, _question_of(outcome)


class _CascadeState:
    """The state of one call of `Cascade.classify`: finished outcomes to yield, earlier answers of what is asked later.

    `unsaved_ids` are those of tickets with a paid earlier answer that is still to be yielded; `lookaheads` are what
    the steps take tickets from.
    """

    def __init__(self) -> None:
        self.sure_outcomes: list[dm.Outcome[dm.Answered]] = []
        self.unsaved_ids: dict[_Key, None] = {}
        self.lookaheads: list[_Lookahead] = []
        self.is_fetching_ahead = False
        self._earlier_answers: dict[_Key, dm.Answer] = {}

    @property
    def is_crowded(self) -> bool:
        """Return whether the cascade's first step is to get no tickets, because a later one has no room."""
        return self.is_fetching_ahead or any(lookahead.fetched for lookahead in self.lookaheads)

    def ready_outcomes(self, outcomes: Iterable[dm.Outcome[dm.Answered]] = ()) -> list[dm.Outcome[dm.Answered]]:
        """Return all outcomes that the cascade is to yield, with those of the last step; each answer occurs once."""
        finished = [*self.sure_outcomes]
        finished += [self.with_earlier_steps(self.effective_outcome(outcome)) for outcome in outcomes]
        unsaved = map(self._earlier_answers.get, self.unsaved_ids)
        finished += [
            dm.Outcome(0, dm.Action.ANSWERED, dm.Unfinished(a.steps), None, a.ticket) for a in unsaved if a is not None
        ]
        self.sure_outcomes.clear()
        self.unsaved_ids.clear()
        return finished

    def effective_outcome(self, outcome: dm.Outcome[dm.Answered]) -> dm.Outcome[dm.Answered]:
        """Return the outcome that counts: if a step failed that was to confirm a sure answer, that sure answer."""
        sure_answer = self._earlier_answers.get(_key_of(outcome))
        if sure_answer is None or not sure_answer.sure or outcome.error is None:
            return outcome
        del self._earlier_answers[_key_of(outcome)]
        failed_steps = outcome.value.steps if outcome.value else ()
        answer = sure_answer._replace(steps=failed_steps + sure_answer.steps)
        return dm.Outcome(0, dm.Action.ANSWERED, answer, None, outcome.ticket)

    def with_earlier_steps(self, outcome: dm.Outcome[dm.Answered]) -> dm.Outcome[dm.Answered]:
        """Return an outcome whose answer includes those of the earlier steps, and drop these from the state."""
        answer = outcome.value or dm.Answer(outcome.ticket, (), sure=False)
        return outcome._replace(value=answer._replace(steps=self._steps_so_far(outcome)))

    def _steps_so_far(self, outcome: dm.Outcome[dm.Answered]) -> tuple[dm.Classification, ...]:
        earlier_answer = self._earlier_answers.pop(_key_of(outcome), None)
        earlier_steps = earlier_answer.steps if earlier_answer else ()
        return earlier_steps + (outcome.value.steps if outcome.value else ())

    def pass_to_next_step(self, outcome: dm.Outcome[dm.Answered], *, sure: bool) -> None:
        """Store the answer of a ticket that goes on to the next step of the cascade."""
        key, answer = _key_of(outcome), outcome.value
        if answer and any(step.is_paid for step in answer.steps):
            self.unsaved_ids[key] = None
        doubts, language = (answer.doubts, answer.language) if isinstance(answer, dm.Answer) else (None, None)
        steps = self._steps_so_far(outcome)
        self._earlier_answers[key] = dm.Answer(outcome.ticket, steps, sure, doubts, _question_of(outcome), language)


class _Lookahead(Iterator[Sequence[dm.Ticket]]):
    """The chunks that a step takes from the earlier steps; `fetched` are those taken before the step had room."""

    def __init__(self, chunks: Iterator[Sequence[dm.Ticket]], cascade_state: _CascadeState) -> None:
        self.fetched: deque[Sequence[dm.Ticket]] = deque()
        self._chunks = chunks
        self._cascade_state = cascade_state
        self._earlier_error: Exception | None = None
        self._has_taken = False

    def __next__(self) -> Sequence[dm.Ticket]:
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


def _unavailable_outcome(ticket: dm.Ticket, step: Classifier, question: str) -> dm.Outcome[dm.Answered]:
    error = dm.AnswerError(f"unavailable: {step.name} was not available")
    return dm.Outcome.failed(ticket, error, dm.Answer(ticket, (), sure=False, question=question))
