"""`classify`: claims tickets, decides them chunk by chunk, and yields an outcome for each."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from triage_cli.domain.chunks import bounded
from triage_cli.domain.decisions import Decided
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.service.classification.decision_recorder import DecisionRecorder
from triage_cli.service.runs import TO_CLASSIFY, RunRecorder, TicketClaimer

Decide = Callable[[Iterable[Sequence[Ticket]]], Iterator[list[Outcome[Decided]]]]


class ClassifyRun:
    """Decides the selected tickets of one run. `through` is true at the end if all of them were decided."""

    def __init__(self, deciding: DecisionRecorder, recorder: RunRecorder) -> None:
        self.through = False
        self._deciding = deciding
        self._claiming = TicketClaimer(deciding.context)
        self._recorder = recorder
        self._aside: list[Outcome[Decided]] = []  # outcomes of tickets that need no classifier
        self._rows: dict[str, int] = {}  # of the tickets that are being classified
        self._claimed_all = False

    def decided(self, selection: Selection, decide: Decide, row: int = 0) -> Iterator[Outcome[Decided]]:
        """Yield the outcomes of the selected tickets; `decide` classifies them, and rows count from `row`."""
        for outcomes in decide(self._to_ask(selection, row)):
            finished = self._aside + [Outcome(self._rows.pop(o.ticket.ticket_id), *o[1:]) for o in outcomes]
            self._aside.clear()
            self._recorder.add(finished)
            yield from finished
        self._recorder.add(self._aside)
        yield from self._aside
        self.through = self._claimed_all and not self._rows

    def _to_ask(self, selection: Selection, row: int) -> Iterator[Sequence[Ticket]]:
        """Claim tickets chunk by chunk; those that need no classifier are added to `_aside`."""
        for chunk in self._claiming.chunks(selection, TO_CLASSIFY, self._deciding.next_handful):
            lost = {ticket.ticket_id for ticket in chunk if self._claiming.lost(ticket)}
            settled = self._deciding.settled([ticket for ticket in chunk if ticket.ticket_id not in lost])
            ask = []
            for ticket in chunk:
                action = Action.HELD if ticket.ticket_id in lost else settled.get(ticket.ticket_id)
                if action:
                    self._aside.append(Outcome(row, action, Decided(ticket, None, False), None, ticket))
                else:
                    self._rows[ticket.ticket_id] = row
                    ask.append(ticket)
                row += 1
            yield ask
        self._claimed_all = not self._claiming.stopping


def to_ask(deciding: DecisionRecorder, selection: Selection) -> Iterator[Ticket]:
    """Yield the tickets that a run would ask about, in its order, without claiming them."""
    ordered = selection._replace(statuses=selection.statuses or TO_CLASSIFY, order="urgent")
    for chunk in bounded(deciding.context.store.find(selection if selection.ids is not None else ordered)):
        settled = deciding.settled(chunk)
        yield from (ticket for ticket in chunk if ticket.ticket_id not in settled)
