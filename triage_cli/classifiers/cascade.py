"""Several classifiers in a row: the next one is asked when the last is unsure, abstains or fails."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from triage_cli.allowance import Allowance
from triage_cli.models import POSTPONED, Answer, Asking, Classification, Outcome, Ticket
from triage_cli.ports import Classifier

SHARES = 10_000


class Cascade:
    """Implements `ports.Classifier`; every step's answer is kept, the last one decides.

    `audit_rate` is the share of sure answers that go on to the next step all the same, as a control; which ones, their
    ids decide.
    """

    def __init__(self, name: str, steps: Sequence[Classifier], audit_rate: float = 0.0) -> None:
        self.name = name
        self.fingerprints = tuple(fingerprint for step in steps for fingerprint in step.fingerprints)
        self.fingerprint = hashlib.sha256("\0".join(self.fingerprints).encode()).hexdigest()
        self.appetite = steps[0].appetite
        self._steps = tuple(steps)
        self._audit_rate = audit_rate

    def askings(self) -> tuple[Asking, ...]:
        """Describe what each step asks."""
        return tuple(asking for step in self._steps for asking in step.askings())

    def classify(self, chunks: Iterable[Sequence[Ticket]], allowance: Allowance) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer step by step; sure answers come at the next breath of the steps behind."""
        sure: list[Outcome[Answer]] = []
        earlier: dict[str, tuple[Classification, ...]] = {}
        stream = self._steps[0].classify(chunks, allowance)
        for step in self._steps[1:]:
            stream = step.classify(self._passed_on(stream, sure, earlier), allowance)
        for outcomes in stream:
            ready = [*sure, *(_with_steps(outcome, earlier) for outcome in outcomes)]
            sure.clear()
            yield ready
        if sure:
            yield sure

    def _passed_on(
        self,
        stream: Iterable[Sequence[Outcome[Answer]]],
        sure: list[Outcome[Answer]],
        earlier: dict[str, tuple[Classification, ...]],
    ) -> Iterator[Sequence[Ticket]]:
        for outcomes in stream:
            going_on = []
            for outcome in outcomes:
                ticket = _ticket(outcome)
                settled = outcome.value and outcome.value.sure and not outcome.error and not self._audited(ticket)
                if settled or outcome.did.startswith(POSTPONED):
                    sure.append(_with_steps(outcome, earlier))
                    continue
                steps = outcome.value.steps if outcome.value else ()
                earlier[ticket.ticket_id] = earlier.get(ticket.ticket_id, ()) + steps
                going_on.append(ticket)
            yield going_on

    def _audited(self, ticket: Ticket) -> bool:
        drawn = int(hashlib.sha256(ticket.ticket_id.encode()).hexdigest()[:8], 16) % SHARES
        return drawn < self._audit_rate * SHARES


def _ticket(outcome: Outcome[Answer]) -> Ticket:
    if not isinstance(outcome.item, Ticket):
        raise TypeError(outcome)
    return outcome.item


def _with_steps(outcome: Outcome[Answer], earlier: dict[str, tuple[Classification, ...]]) -> Outcome[Answer]:
    """Return an outcome whose answer has the earlier steps too."""
    ticket = _ticket(outcome)
    before = earlier.pop(ticket.ticket_id, ())
    answer = outcome.value or Answer(ticket, (), sure=False)
    return outcome._replace(value=answer._replace(steps=before + answer.steps))
