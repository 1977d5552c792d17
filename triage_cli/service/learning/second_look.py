"""Lets the model version in use decide again what embedded classifiers decided, as far as nothing was delivered.

A label that it is not sure of waits for a person, what waited and is clear now does not. Whatever it confirms stays as
it is and is not written, so that a repetition does only what is left.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile

from triage_cli.domain import CHUNK, Action, Answer, Decided, Looked, Outcome, Selection, Ticket, bounded
from triage_cli.service.answers import answers, steps_within
from triage_cli.service.decisions.flips import judge
from triage_cli.service.decisions.recorder import DecisionRecorder
from triage_cli.service.runs import RunContext

UNDELIVERED = frozenset({"classified", "needs_review", "routing", "unroutable", "undeliverable"})


Look = Callable[[RunContext], Looked]


class SecondLook:
    """One second look for one run, with the recorders of embedded classifiers; `hysteresis` is by their names."""

    def __init__(self, embedded_recorders: Iterator[DecisionRecorder], hysteresis: Mapping[str, float]) -> None:
        self._embedded_recorders = embedded_recorders
        self._hysteresis = hysteresis

    def over_all(self) -> Looked:
        """Take a second look at all tickets that embedded classifiers decided, until the run is to stop."""
        look_counts: Counter[str] = Counter()
        for recorder in self._embedded_recorders:
            for tickets, changes in self._look_with(recorder):
                look_counts["tickets"] += tickets
                look_counts.update(changes)
        return Looked(**look_counts)

    def _look_with(self, recorder: DecisionRecorder) -> Iterator[tuple[int, Iterator[str]]]:
        """Yield the number of tickets of each chunk, and what became of those that are decided again."""
        context, classifier = recorder.context, recorder.classifier
        selection = Selection(statuses=UNDELIVERED, classifier=classifier.name, verdict=False)

        chunks = takewhile(lambda _: not context.stop.stopping, bounded(context.store.find(selection)))
        for arrived in answers(classifier, chunks, context.budget):
            context.heartbeat()
            yield len(arrived.final), self._decide_again(recorder, arrived.final)

    def _decide_again(self, recorder: DecisionRecorder, outcomes: Sequence[Outcome[Answer]]) -> Iterator[str]:
        """Save the new answers that differ from what holds; yield what became of their tickets."""
        differing = {o.ticket.ticket_id: o for o in outcomes if self._differs(recorder, o)}
        settled = recorder.settled([o.ticket for o in differing.values()])
        unsettled_ids = [ticket_id for ticket_id in differing if ticket_id not in settled]
        if not unsettled_ids:
            return
        unsettled = Selection(ids=tuple(unsettled_ids), statuses=UNDELIVERED, verdict=False)
        claimed = {ticket.ticket_id: ticket for ticket in recorder.context.claim(unsettled, CHUNK)}
        yield from ("held" for ticket_id in unsettled_ids if ticket_id not in claimed)
        held = [claimed[ticket_id] for ticket_id in unsettled_ids if ticket_id in claimed]
        unchanged = [t for t in held if t.decision_id == differing[t.ticket_id].ticket.decision_id]
        current = [_about_claimed(ticket, differing[ticket.ticket_id]) for ticket in unchanged]
        for before, after in zip(current, recorder.save(current), strict=True):
            yield _look_result(before.ticket, after)

    def _differs(self, recorder: DecisionRecorder, outcome: Outcome[Answer]) -> bool:
        ticket, steps = outcome.ticket, steps_within(outcome.value, recorder.labels)
        if ticket.category is None or not steps or not steps[-1].is_sure:
            return True
        least_margin = self._hysteresis.get(recorder.classifier.name, 0.0)
        return judge(ticket, steps[-1], recorder.labels, least_margin) not in (Action.CONFIRMED, Action.WITHIN)


def _about_claimed(ticket: Ticket, outcome: Outcome[Answer]) -> Outcome[Answer]:
    """Return the answer of the second look about a ticket as it was claimed."""
    return outcome._replace(item=ticket, value=outcome.value and outcome.value._replace(ticket=ticket))


def _look_result(before: Ticket, outcome: Outcome[Decided]) -> str:
    after = outcome.value.ticket if outcome.value else before
    if outcome.action == Action.HELD:
        return "held"
    if after.category is None:
        return "waiting" if before.category is None else "doubted"
    return "settled" if before.category is None else "flipped"
