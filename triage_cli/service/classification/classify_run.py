"""`classify`: claims tickets, decides them chunk by chunk, and yields an outcome for each."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from triage_cli.domain.chunks import bounded
from triage_cli.domain.decisions import Decided
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.tickets import Selection, Ticket
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
        self._unasked: list[Outcome[Decided]] = []  # outcomes of tickets that need no classifier
        self._rows: dict[str, int] = {}  # of the tickets that are being classified
        self._claimed_all = False

    def decided(self, selection: Selection, decide: Decide, row: int = 0) -> Iterator[Outcome[Decided]]:
        """Yield the outcomes of the selected tickets; `decide` classifies them, and rows count from `row`."""
        for outcomes in decide(self._to_ask(selection, row)):
            finished = self._unasked + [Outcome(self._rows.pop(o.ticket.ticket_id), *o[1:]) for o in outcomes]
            self._unasked.clear()
            self._recorder.add(finished)
            yield from finished
        self._recorder.add(self._unasked)
        yield from self._unasked
        self.completed = self._claimed_all and not self._rows

    def _to_ask(self, selection: Selection, row: int) -> Iterator[Sequence[Ticket]]:
        """Claim tickets chunk by chunk; those that need no classifier are added to `_unasked`."""
        for chunk in self._ticket_claimer.chunks(selection, TO_CLASSIFY, self._decision_recorder.next_claim_size):
            lost = {ticket.ticket_id for ticket in chunk if self._ticket_claimer.lost(ticket)}
            settled = self._decision_recorder.settled([ticket for ticket in chunk if ticket.ticket_id not in lost])
            ask = []
            for ticket in chunk:
                action = Action.HELD if ticket.ticket_id in lost else settled.get(ticket.ticket_id)
                if action:
                    self._unasked.append(Outcome(row, action, Decided(ticket, None, False), None, ticket))
                else:
                    self._rows[ticket.ticket_id] = row
                    ask.append(ticket)
                row += 1
            yield ask
        self._claimed_all = not self._ticket_claimer.stopping


def to_ask(decision_recorder: DecisionRecorder, selection: Selection) -> Iterator[Ticket]:
    """Yield the tickets that a run would ask about, in its order, without claiming them."""
    ordered = selection._replace(statuses=selection.statuses or TO_CLASSIFY, order="urgent")
    for chunk in bounded(decision_recorder.context.store.find(selection if selection.ids is not None else ordered)):
        settled = decision_recorder.settled(chunk)
        yield from (ticket for ticket in chunk if ticket.ticket_id not in settled)
