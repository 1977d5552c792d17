"""Lets the model version in use decide again what embedded classifiers decided, as far as nothing was delivered.

A label that it is not sure of waits for a person, what waited and is clear now does not. What it confirms gets its
answer too, where nothing was decided about a destination yet: so the confidence that is shown, and that rules and
thresholds read, is of the version in use. A repetition does only what is left.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile

from triage_cli import domain as dm
from triage_cli.service.answers import answers, steps_within
from triage_cli.service.decisions.flips import judge
from triage_cli.service.decisions.recorder import DecisionRecorder
from triage_cli.service.runs import RunContext

UNDELIVERED = frozenset({"classified", "needs_review", "routing", "unroutable", "undeliverable"})


Look = Callable[[RunContext, str], dm.Looked]


class SecondLook:
    """One second look at the answers to a question, for one run, with the recorders of embedded classifiers.

    `hysteresis` is by the names of these.
    """

    def __init__(
        self,
        embedded_recorders: Iterator[DecisionRecorder],
        hysteresis: Mapping[str, float],
        question: str = dm.CATEGORY,
    ) -> None:
        self._embedded_recorders = embedded_recorders
        self._hysteresis = hysteresis
        self._question = question

    def over_all(self) -> dm.Looked:
        """Take a second look at all tickets of which embedded classifiers answered, until the run is to stop."""
        look_counts: Counter[str] = Counter()
        for recorder in self._embedded_recorders:
            for tickets, changes in self._look_with(recorder):
                look_counts["tickets"] += tickets
                look_counts.update(changes)
        return dm.Looked(**look_counts)

    def _look_with(self, recorder: DecisionRecorder) -> Iterator[tuple[int, Iterator[str]]]:
        """Yield the number of tickets of each chunk, and what became of those that are decided again."""
        context, classifier = recorder.context, recorder.classifier
        chunks = takewhile(lambda _: not context.stop.stopping, dm.bounded(self._answered_by(recorder)))
        for arrived in answers(classifier, chunks, context.budget):
            context.heartbeat()
            yield len(arrived.final), self._decide_again(recorder, arrived.final)

    def _answered_by(self, recorder: DecisionRecorder) -> Iterator[dm.Ticket]:
        """Yield the tickets of which the recorder's classifier gave the answer, each to be asked this question."""
        name, find = recorder.classifier.name, recorder.context.store.find
        if self._question == dm.CATEGORY:
            yield from find(dm.Selection(statuses=UNDELIVERED, classifier=name, verdict=False))
            return
        for ticket in find(dm.Selection(statuses=UNDELIVERED)):
            given = dm.given_answer(ticket, self._question)
            if given.classifier == name and not given.verdict:
                yield ticket._replace(asked=(self._question,))

    def _decide_again(self, recorder: DecisionRecorder, outcomes: Sequence[dm.Outcome[dm.Answer]]) -> Iterator[str]:
        """Save the new answers that differ from what holds; yield what became of their tickets."""
        differing = {o.ticket.ticket_id: o for o in outcomes if self._is_news(recorder, o)}
        unsettled_ids = self._unsettled_ids(recorder, [o.ticket for o in differing.values()])
        if not unsettled_ids:
            return
        is_decided = False if self._question == dm.CATEGORY else None
        unsettled = dm.Selection(ids=tuple(unsettled_ids), statuses=UNDELIVERED, verdict=is_decided)
        claimed = {ticket.ticket_id: ticket for ticket in recorder.context.claim(unsettled, dm.CHUNK)}
        yield from ("held" for ticket_id in unsettled_ids if ticket_id not in claimed)
        held = [claimed[ticket_id] for ticket_id in unsettled_ids if ticket_id in claimed]
        unchanged = [t for t in held if self._rests_on(t) == self._rests_on(differing[t.ticket_id].ticket)]
        current = [_about_claimed(ticket, differing[ticket.ticket_id]) for ticket in unchanged]
        for before, after in zip(current, recorder.save(current), strict=True):
            if result := self._look_result(before.ticket, after):
                yield result

    def _unsettled_ids(self, recorder: DecisionRecorder, tickets: Sequence[dm.Ticket]) -> list[str]:
        """Return the ids of tickets whose answer does not rest on what the classifier would be asked now."""
        if self._question == dm.CATEGORY:
            settled = recorder.settled(tickets)
            return [ticket.ticket_id for ticket in tickets if ticket.ticket_id not in settled]
        asking = recorder.asking(tickets, [ticket.ticket_id for ticket in tickets])
        return [ticket.ticket_id for ticket in asking if self._question in ticket.asked]

    def _rests_on(self, ticket: dm.Ticket) -> str | None:
        return dm.given_answer(ticket, self._question).decision_id

    def _is_news(self, recorder: DecisionRecorder, outcome: dm.Outcome[dm.Answer]) -> bool:
        """Return whether a new answer is to hold in place of the old one."""
        labels = recorder.labels_of(self._question)
        ticket, steps = outcome.ticket, steps_within(outcome.value, labels)
        if dm.given_answer(ticket, self._question).value is None or not steps or not steps[-1].is_sure:
            return True
        least_margin = self._hysteresis.get(recorder.classifier.name, 0.0)
        action = judge(ticket, steps[-1], labels, least_margin)
        return ticket.status == "classified" if action == dm.Action.CONFIRMED else action != dm.Action.WITHIN

    def _look_result(self, before: dm.Ticket, outcome: dm.Outcome[dm.Decided]) -> str:
        """Return what became of a ticket; empty if its answer is confirmed."""
        if outcome.action == dm.Action.HELD:
            return "held"
        was = dm.given_answer(before, self._question).value
        now = dm.given_answer(outcome.value.ticket if outcome.value else before, self._question).value
        if now is None:
            return "waiting" if was is None else "doubted"
        if was is None:
            return "settled"
        return "" if was == now else "flipped"


def _about_claimed(ticket: dm.Ticket, outcome: dm.Outcome[dm.Answer]) -> dm.Outcome[dm.Answer]:
    """Return the answer of the second look about a ticket as it was claimed."""
    return outcome._replace(item=ticket, value=outcome.value and outcome.value._replace(ticket=ticket))
