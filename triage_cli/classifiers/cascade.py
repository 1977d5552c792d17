"""Several classifiers in a row: the next one is asked when the last is unsure, abstains, fails or is not available."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from triage_cli.domain.decisions import Answer, Postponed, QuestionSpec, Unfinished
from triage_cli.domain.errors import AnswerError, TakenOverError, TriageError, UnavailableError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.streams import FlushNow
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.adapters import Classifier
from triage_cli.runtime.budget import Budget

SHARES = 10_000


class Cascade:
    """Implements `ports.Classifier`; every step's answer is kept, the last one decides.

    `audit_rate` is the share of sure answers that go on to the next step all the same, as a control; which ones, their
    ids decide. A step that is not available is passed over for the rest of the run, and `tell` is told; without the
    last one the run ends.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[Classifier],
        audit_rate: float = 0.0,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.fingerprints = tuple(fingerprint for step in steps for fingerprint in step.fingerprints)
        self.fingerprint = hashlib.sha256("\0".join(self.fingerprints).encode()).hexdigest()
        self.appetite = steps[0].appetite
        self._steps = tuple(steps)
        self._audit_rate = audit_rate
        self._tell = tell

    def askings(self) -> tuple[QuestionSpec, ...]:
        """Describe what each step asks."""
        return tuple(asking for step in self._steps for asking in step.askings())

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer step by step; sure answers come at the next breath of the steps behind.

        So does, as `Unfinished`, what a step was paid for that hands its ticket on. Where the run is stopped, what the
        steps before the last have in flight ends.
        """
        turn = _CascadeState()
        trouble: TriageError | None = None
        over = False

        def taken() -> Iterator[Sequence[Ticket]]:
            source = iter(chunks)
            while not over and (chunk := FlushNow() if turn.is_crowded else next(source, None)) is not None:
                yield chunk

        *before, last = self._steps
        passed: Iterator[Sequence[Ticket]] = taken()
        for step in before:
            passed = self._passed_on(self._while_available(step, passed, budget, turn), turn)
        try:
            for outcomes in self._looking_back(last, passed, budget, turn):
                yield turn.ready(outcomes)
        except TriageError as error:
            trouble = error
        over = True
        try:
            for _ in passed:
                yield turn.ready()
        except TriageError as error:
            trouble = trouble or error
        if left := turn.ready():
            yield left
        if trouble is not None:
            raise trouble

    def _while_available(
        self, step: Classifier, chunks: Iterator[Sequence[Ticket]], budget: Budget, turn: "_CascadeState"
    ) -> Iterator[Sequence[Outcome[Answer]]]:
        """Yield a step's outcomes; once it is not available, failures for what it has not answered and all the rest."""
        open_: dict[str, Ticket] = {}

        def noted() -> Iterator[Sequence[Ticket]]:
            for chunk in chunks:
                open_.update((ticket.ticket_id, ticket) for ticket in chunk)
                yield chunk

        try:
            for outcomes in self._looking_back(step, noted(), budget, turn):
                for outcome in outcomes:
                    open_.pop(outcome.ticket.ticket_id, None)
                yield outcomes
        except TakenOverError:
            raise  # no step is to be asked any more
        except UnavailableError as error:
            if self._tell is not None:
                self._tell(f"{error.message}; the next step of {self.name} is asked instead")
            yield [_missed(ticket, step) for ticket in open_.values()]
            for chunk in chunks:
                yield [_missed(ticket, step) for ticket in chunk]

    @staticmethod
    def _looking_back(
        step: Classifier, chunks: Iterator[Sequence[Ticket]], budget: Budget, turn: "_CascadeState"
    ) -> Iterator[Sequence[Outcome[Answer]]]:
        """Yield a step's outcomes; while it takes nothing, what those before it have answered comes all the same."""
        ahead = _Ahead(chunks, turn)
        turn.ahead.append(ahead)
        try:
            for outcomes in step.classify(ahead, budget):
                ahead.look()
                yield outcomes
        finally:
            turn.ahead.remove(ahead)

    def _passed_on(
        self, stream: Iterable[Sequence[Outcome[Answer]]], turn: "_CascadeState"
    ) -> Iterator[Sequence[Ticket]]:
        for outcomes in stream:
            going_on = []
            for outcome in map(turn.standing, outcomes):
                is_sure = bool(outcome.value and outcome.value.sure and not outcome.error)
                if (is_sure and not self._audited(outcome.ticket)) or isinstance(outcome.value, Postponed):
                    turn.sure.append(turn.with_steps(outcome))
                    continue
                turn.hand_on(outcome, sure=is_sure)
                going_on.append(outcome.ticket)
            # What was paid for is saved before this step gives more, so that a kill loses what is in flight.
            yield FlushNow(going_on) if turn.unsaved else going_on

    def _audited(self, ticket: Ticket) -> bool:
        drawn = int(hashlib.sha256(ticket.ticket_id.encode()).hexdigest()[:8], 16) % SHARES
        return drawn < self._audit_rate * SHARES


class _CascadeState:
    """One call of `classify`: `sure` answers that are to be told, and those of tickets that are with a later step.

    `unsaved` are the tickets of which such an answer was paid for and is still to be told, `ahead` is what each step
    takes from those before it.
    """

    def __init__(self) -> None:
        self.sure: list[Outcome[Answer]] = []
        self.unsaved: dict[str, None] = {}
        self.ahead: list[_Ahead] = []
        self.is_looking = False
        self._earlier: dict[str, Answer] = {}

    @property
    def is_crowded(self) -> bool:
        """Tell whether the first step is to get no more: a later one has no room."""
        return self.is_looking or any(ahead.waiting for ahead in self.ahead)

    def ready(self, outcomes: Iterable[Outcome[Answer]] = ()) -> list[Outcome[Answer]]:
        """Return all that is to be told, the last step's outcomes with it; a ticket is in it once."""
        finished = [*self.sure, *[self.with_steps(self.standing(outcome)) for outcome in outcomes]]
        finished += [_unfinished(self._earlier[i]) for i in self.unsaved if i in self._earlier]
        self.sure.clear()
        self.unsaved.clear()
        return finished

    def standing(self, outcome: Outcome[Answer]) -> Outcome[Answer]:
        """Return an outcome; where a step failed that was only to confirm a sure answer, that answer stands."""
        before = self._earlier.get(outcome.ticket.ticket_id)
        if before is None or not before.sure or outcome.error is None:
            return outcome
        del self._earlier[outcome.ticket.ticket_id]
        failed = outcome.value.steps if outcome.value else ()
        return Outcome(0, Action.ANSWERED, before._replace(steps=failed + before.steps), None, outcome.ticket)

    def with_steps(self, outcome: Outcome[Answer]) -> Outcome[Answer]:
        """Return an outcome whose answer has the earlier steps too; these are forgotten."""
        answer = outcome.value or Answer(outcome.ticket, (), sure=False)
        before = self._earlier.pop(outcome.ticket.ticket_id, None)
        return outcome._replace(value=answer._replace(steps=(before.steps if before else ()) + answer.steps))

    def hand_on(self, outcome: Outcome[Answer], *, sure: bool) -> None:
        """Keep the answer of a ticket that goes on to the next step."""
        ticket_id = outcome.ticket.ticket_id
        if outcome.value and _is_paid(outcome.value):
            self.unsaved[ticket_id] = None
        answer = self.with_steps(outcome).value
        if answer is not None:
            self._earlier[ticket_id] = answer._replace(sure=sure)


class _Ahead(Iterator[Sequence[Ticket]]):
    """What a step takes from those before it, and what is `waiting` for it to have room."""

    def __init__(self, chunks: Iterator[Sequence[Ticket]], turn: _CascadeState) -> None:
        self.waiting: deque[Sequence[Ticket]] = deque()
        self._chunks = chunks
        self._turn = turn
        self._trouble: Exception | None = None
        self._taken = False

    def __next__(self) -> Sequence[Ticket]:
        self._taken = True
        if self.waiting:
            return self.waiting.popleft()
        if self._trouble is not None:
            raise self._trouble
        return next(self._chunks)

    def look(self) -> None:
        """Look what there is, where nothing was taken since the last look."""
        if not self._taken and self._trouble is None:
            self._turn.is_looking = True
            try:
                if chunk := next(self._chunks, ()):
                    self.waiting.append(chunk)
            except Exception as error:  # noqa: BLE001 - raised where the step takes it, which ends what is in flight
                self._trouble = error
            self._turn.is_looking = False
        self._taken = False


def _missed(ticket: Ticket, step: Classifier) -> Outcome[Answer]:
    return Outcome(0, Action.FAILED, None, AnswerError(f"unavailable: {step.name} was not available"), ticket)


def _is_paid(answer: Answer) -> bool:
    return any(step.input_tokens for step in answer.steps)


def _unfinished(answer: Answer) -> Outcome[Answer]:
    return Outcome(0, Action.ANSWERED, Unfinished(answer.ticket, answer.steps, sure=False), None, answer.ticket)
