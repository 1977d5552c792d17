"""`run`: an input passes through create, classify and route at once; a row comes out when it has gone all the way."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from triage_cli.domain.deliveries import Routed
from triage_cli.domain.errors import TriageError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.streams import CHUNK
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.service.claims import TO_CLASSIFY, TO_ROUTE
from triage_cli.service.classification.decisions import DecisionRecorder
from triage_cli.service.delivery.route import Delivering
from triage_cli.service.run_context import RunContext


class Pipeline:
    """One pass. `stopped` is what ended it too early, `cut` that there are tickets which nobody was asked about."""

    def __init__(self, context: RunContext, deciding: DecisionRecorder, delivering: Delivering) -> None:
        self.stopped: list[TriageError] = []
        self.cut = False
        self._context = context
        self._deciding = deciding
        self._delivering = delivering

    def through(self, created: Iterable[list[Outcome[Ticket]]]) -> Iterator[list[Outcome[Routed]]]:
        """Yield what became of tickets that were just stored, in lists that are sorted by row."""
        return self._routed(self._classified(created))

    def _classified(self, created: Iterable[list[Outcome[Ticket]]]) -> Iterator[list[Outcome[Ticket]]]:
        """Ask about the tickets that need it; the others pass at the classifier's next breath.

        What stops the run is put aside until what was created has passed too.
        """
        passing: list[Outcome[Ticket]] = []
        asked: dict[str, list[Outcome[Ticket]]] = {}  # a ticket that stands in the input twice is asked about once

        def ask() -> Iterator[Sequence[Ticket]]:
            for outcomes in created:
                claimed = self._hold(outcomes, asked)
                asked.update((ticket_id, []) for ticket_id in claimed)
                for outcome in outcomes:
                    waits = asked.get(outcome.value.ticket_id) if outcome.value else None
                    (passing if waits is None else waits).append(outcome)
                yield list(claimed.values())
                yield []  # the input may pause here: what has come is answered first

        try:
            for answers in self._deciding.decide(ask()):
                ready = passing[:]
                passing.clear()
                for answer in answers:
                    for outcome in asked.pop(answer.ticket.ticket_id):
                        ticket = answer.value.ticket if answer.value else outcome.value
                        ready.append(outcome._replace(value=ticket, error=answer.error))
                yield sorted(ready, key=lambda o: o.place)
        except TriageError as error:
            self.stopped.append(error)
        self.cut = bool(asked)
        if left := passing + [outcome for waiting in asked.values() for outcome in waiting]:
            yield sorted(left, key=lambda o: o.place)

    def _hold(self, outcomes: Sequence[Outcome[Ticket]], asked: Collection[str]) -> dict[str, Ticket]:
        """Return the tickets of a chunk that this run is to classify: those it has made, and those it can claim."""
        todo = [o for o in outcomes if o.value and o.value.status in TO_CLASSIFY]
        created = {o.value.ticket_id: o.value for o in todo if o.value and o.action == Action.CREATED}
        others = {o.value.ticket_id for o in todo if o.value} - created.keys() - set(asked)
        undecided = Selection(ids=tuple(others), statuses=TO_CLASSIFY)
        claimed = self._context.claim(undecided, CHUNK) if others else []
        return created | {t.ticket_id: t for t in claimed}

    def _routed(self, classified: Iterable[list[Outcome[Ticket]]]) -> Iterator[list[Outcome[Routed]]]:
        """Send on the tickets that have a category; the others pass at the post's next breath."""
        passing: list[Outcome[Routed]] = []
        due: dict[str, list[Outcome[Ticket]]] = {}

        def chunks() -> Iterator[Sequence[Ticket]]:
            for outcomes in classified:
                claimed = []
                for outcome in outcomes:
                    ticket = outcome.value
                    if ticket is not None and ticket.ticket_id in due:
                        due[ticket.ticket_id].append(outcome)
                    elif ticket is not None and ticket.status in TO_ROUTE:
                        due[ticket.ticket_id] = [outcome]
                        claimed.append(ticket)
                    else:
                        passing.append(outcome._replace(value=Routed(ticket) if ticket else None))  # type: ignore[arg-type]
                yield claimed

        for routed in self._delivering.route(chunks()):
            ready = passing[:]
            passing.clear()
            for after in routed:
                ready += (
                    Outcome(before.row, before.action, after.value, before.error or after.error, before.item)
                    for before in due.pop(after.ticket.ticket_id)
                )
            yield sorted(ready, key=lambda o: o.place)
        if passing:
            yield passing
