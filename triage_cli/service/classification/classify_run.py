"""A run of `classify`: claims tickets, has each chunk of them decided, and yields an outcome for each."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from triage_cli.domain import Action, Decided, Outcome, Selection, Ticket, bounded
from triage_cli.service.classification.decision_recorder import DecisionRecorder
from triage_cli.service.run_recorder import RunRecorder
from triage_cli.service.ticket_claimer import TO_CLASSIFY, TicketClaimer

Decide = Callable[[Iterable[Sequence[Ticket]]], Iterator[list[Outcome[Decided]]]]


class ClassifyRun:
    """Decides the selected tickets of one run. `completed` is true at the end if all of them were decided."""

    def __init__(self, decision_recorder: DecisionRecorder, recorder: RunRecorder) -> None:
        self.completed = False
        self._decision_recorder = decision_recorder
        self._ticket_claimer = TicketClaimer(decision_recorder.context)
        self._recorder = recorder
        self._unasked_outcomes: list[Outcome[Decided]] = []  # outcomes of tickets that need no classifier
        self._rows_by_ticket: dict[str, int] = {}  # of the tickets that are being classified
        self._claimed_all = False

    def decided(self, selection: Selection, decide: Decide, row: int = 0) -> Iterator[Outcome[Decided]]:
        """Claim and classify the selected tickets, and yield their outcomes; `decide` asks, rows count from `row`."""
        for outcomes in decide(self._claimed_to_classify(selection, row)):
            finished = self._unasked_outcomes + [
                Outcome(self._rows_by_ticket.pop(o.ticket.ticket_id), *o[1:]) for o in outcomes
            ]
            self._unasked_outcomes.clear()
            self._recorder.add(finished)
            yield from finished
        self._recorder.add(self._unasked_outcomes)
        yield from self._unasked_outcomes
        self.completed = self._claimed_all and not self._rows_by_ticket

    def _claimed_to_classify(self, selection: Selection, row: int) -> Iterator[Sequence[Ticket]]:
        """Claim tickets chunk by chunk; those that need no classifier are added to `_unasked_outcomes`."""
        for chunk in self._ticket_claimer.chunks(selection, TO_CLASSIFY, self._decision_recorder.next_claim_size):
            lost_ids = {ticket.ticket_id for ticket in chunk if self._ticket_claimer.lost(ticket)}
            settled = self._decision_recorder.settled([ticket for ticket in chunk if ticket.ticket_id not in lost_ids])
            to_classify = []
            for ticket in chunk:
                action = Action.HELD if ticket.ticket_id in lost_ids else settled.get(ticket.ticket_id)
                if action:
                    self._unasked_outcomes.append(Outcome(row, action, Decided(ticket, None, False), None, ticket))
                else:
                    self._rows_by_ticket[ticket.ticket_id] = row
                    to_classify.append(ticket)
                row += 1
            yield to_classify
        self._claimed_all = not self._ticket_claimer.stopping


def to_ask(decision_recorder: DecisionRecorder, selection: Selection) -> Iterator[Ticket]:
    """Yield the tickets that a run of `classify` would ask about, in its order, without claiming them."""
    by_urgency = selection._replace(statuses=selection.statuses or TO_CLASSIFY, order="urgent")
    for chunk in bounded(decision_recorder.context.store.find(selection if selection.ids is not None else by_urgency)):
        settled = decision_recorder.settled(chunk)
        yield from (ticket for ticket in chunk if ticket.ticket_id not in settled)
