"""Several classifiers in a row: the next one is asked when the last is unsure, abstains, fails or is not available."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from triage_cli.allowance import Allowance
from triage_cli.errors import AnswerError, TriageError, UnavailableError
from triage_cli.models import POSTPONED, UNFINISHED, Answer, Asking, Classification, Outcome, Ticket
from triage_cli.ports import Classifier

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

    def askings(self) -> tuple[Asking, ...]:
        """Describe what each step asks."""
        return tuple(asking for step in self._steps for asking in step.askings())

    def classify(self, chunks: Iterable[Sequence[Ticket]], allowance: Allowance) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer step by step; sure answers come at the next breath of the steps behind.

        Where the run is stopped, what the steps before the last have in flight ends, and what they were paid for comes
        as `UNFINISHED`.
        """
        sure: list[Outcome[Answer]] = []
        earlier: dict[str, Answer] = {}
        trouble: TriageError | None = None
        over = False

        def taken() -> Iterator[Sequence[Ticket]]:
            source = iter(chunks)
            while not over and (chunk := next(source, None)) is not None:
                yield chunk

        *before, last = self._steps
        passed: Iterator[Sequence[Ticket]] = taken()
        for step in before:
            passed = self._passed_on(self._while_available(step, passed, allowance), sure, earlier)
        try:
            for outcomes in last.classify(passed, allowance):
                ready = [*sure, *(_with_steps(_standing(outcome, earlier), earlier) for outcome in outcomes)]
                sure.clear()
                yield ready
        except TriageError as error:
            trouble = error
        over = True
        try:
            for _ in passed:
                yield []
        except TriageError as error:
            trouble = trouble or error
        if left := sure + [_unfinished(answer) for answer in earlier.values() if _is_paid(answer)]:
            yield left
        if trouble is not None:
            raise trouble

    def _while_available(
        self, step: Classifier, chunks: Iterable[Sequence[Ticket]], allowance: Allowance
    ) -> Iterator[Sequence[Outcome[Answer]]]:
        """Yield a step's outcomes; once it is not available, failures for what it has not answered and all the rest."""
        source, open_ = iter(chunks), dict[str, Ticket]()

        def noted() -> Iterator[Sequence[Ticket]]:
            for chunk in source:
                open_.update((ticket.ticket_id, ticket) for ticket in chunk)
                yield chunk

        try:
            for outcomes in step.classify(noted(), allowance):
                for outcome in outcomes:
                    open_.pop(outcome.ticket.ticket_id, None)
                yield outcomes
        except UnavailableError as error:
            if self._tell is not None:
                self._tell(f"{error.message}; the next step of {self.name} is asked instead")
            yield [_missed(ticket, step) for ticket in open_.values()]
            for chunk in source:
                yield [_missed(ticket, step) for ticket in chunk]

    def _passed_on(
        self,
        stream: Iterable[Sequence[Outcome[Answer]]],
        sure: list[Outcome[Answer]],
        earlier: dict[str, Answer],
    ) -> Iterator[Sequence[Ticket]]:
        for outcomes in stream:
            going_on = []
            for outcome in (_standing(outcome, earlier) for outcome in outcomes):
                ticket, answer = outcome.ticket, outcome.value or Answer(outcome.ticket, (), sure=False)
                is_sure = answer.sure and not outcome.error
                if (is_sure and not self._audited(ticket)) or outcome.did.startswith(POSTPONED):
                    sure.append(_with_steps(outcome, earlier))
                    continue
                earlier[ticket.ticket_id] = answer._replace(steps=_all_steps(outcome, earlier), sure=is_sure)
                going_on.append(ticket)
            yield going_on

    def _audited(self, ticket: Ticket) -> bool:
        drawn = int(hashlib.sha256(ticket.ticket_id.encode()).hexdigest()[:8], 16) % SHARES
        return drawn < self._audit_rate * SHARES


def _missed(ticket: Ticket, step: Classifier) -> Outcome[Answer]:
    return Outcome(0, "failed", None, AnswerError(f"unavailable: {step.name} was not available"), ticket)


def _standing(outcome: Outcome[Answer], earlier: dict[str, Answer]) -> Outcome[Answer]:
    """Return an outcome; where a step failed that was only to confirm a sure answer, that answer stands."""
    before = earlier.get(outcome.ticket.ticket_id)
    if before is None or not before.sure or outcome.error is None:
        return outcome
    del earlier[outcome.ticket.ticket_id]
    failed = outcome.value.steps if outcome.value else ()
    return Outcome(0, "answered", before._replace(steps=failed + before.steps), None, outcome.ticket)


def _all_steps(outcome: Outcome[Answer], earlier: dict[str, Answer]) -> tuple[Classification, ...]:
    """Return an outcome's steps after those of the steps before; these are forgotten."""
    before = earlier.pop(outcome.ticket.ticket_id, None)
    return (before.steps if before else ()) + (outcome.value.steps if outcome.value else ())


def _with_steps(outcome: Outcome[Answer], earlier: dict[str, Answer]) -> Outcome[Answer]:
    """Return an outcome whose answer has the earlier steps too."""
    answer = outcome.value or Answer(outcome.ticket, (), sure=False)
    return outcome._replace(value=answer._replace(steps=_all_steps(outcome, earlier)))


def _is_paid(answer: Answer) -> bool:
    return any(step.input_tokens for step in answer.steps)


def _unfinished(answer: Answer) -> Outcome[Answer]:
    return Outcome(0, UNFINISHED, answer._replace(sure=False), None, answer.ticket)
