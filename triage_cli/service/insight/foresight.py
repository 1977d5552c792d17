"""Foresees what would become of drafts: their category, whether that would be sure, and where they would be sent.

Nothing is stored and nothing is sent.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

from triage_cli.domain import (
    CATEGORY,
    Action,
    Answer,
    Category,
    Classification,
    Foreseen,
    Levels,
    Outcome,
    Ticket,
    TicketDraft,
    bounded,
    dedup,
    ids,
    in_order,
    times,
)
from triage_cli.ports import Classifier, Store
from triage_cli.runtime import Budget
from triage_cli.service.answers import Arrived, answered_ticket, answers, steps_within, text_doubts
from triage_cli.service.category_renames import CategoryNames, current_names
from triage_cli.service.decisions.precedents import Precedents
from triage_cli.service.decisions.recorder import held, suspicion_of
from triage_cli.service.delivery.routing import RoutingMap
from triage_cli.service.runs import TrialRecorder


class Foresight:
    """Foresees by one classifier, and by a routing map unless it is None.

    `likely_cost` estimates what asking about a ticket would cost in USD.
    """

    def __init__(
        self,
        classifier: Classifier,
        routing_map: RoutingMap | None,
        categories: Sequence[Category],
        likely_cost: Callable[[Ticket], float | None],
        store: Store,
    ) -> None:
        self._classifier = classifier
        self._routing_map = routing_map
        self._labels = Levels.of(categories)
        self._category_names = CategoryNames(categories)
        self._likely_cost = likely_cost
        self._suspicion = suspicion_of(self._labels)
        self._precedents = Precedents(
            store, {CATEGORY: self._labels}, self._suspicion, {CATEGORY: current_names(categories)}
        )

    def over(
        self, drafts: Iterable[TicketDraft], budget: Budget, trials: TrialRecorder | None = None
    ) -> Iterator[Outcome[Foreseen]]:
        """Yield what would become of drafts, in their order; `trials` saves answers that were paid for."""
        rows = count()
        asked_about: dict[str, tuple[int, TicketDraft]] = {}
        judged: list[Outcome[Foreseen]] = []

        def chunks() -> Iterator[Sequence[Ticket]]:
            for chunk in bounded(drafts, self._classifier.chunk_size):
                to_ask = []
                for draft in chunk:
                    row, ticket = next(rows), dedup.new_ticket(dedup.identify(draft), ids.new_id(), times.now(), None)
                    if verdict := self._category_names.match(draft.verdict or ""):
                        verdict_ticket = ticket._replace(
                            status="classified",
                            category=verdict,
                            confidence=1.0,
                            confidence_source="human",
                            classifier="verdict",
                            verdict=1,
                        )
                        judged.append(_outcome(row, draft, self._routed(verdict_ticket, None)))
                    else:
                        asked_about[ticket.ticket_id] = row, draft
                        to_ask.append(ticket)
                yield to_ask

        def foreseen() -> Iterator[Outcome[Foreseen]]:
            save_steps = trials.save_steps if trials else None
            for arrived in answers(self._classifier, chunks(), budget, save_steps, self._known):
                if trials is not None:
                    trials.save(arrived.final)
                for ticket_id, ticket_foreseen in self._foreseen(arrived):
                    yield _outcome(*asked_about.pop(ticket_id), ticket_foreseen)
                yield from judged
                judged.clear()
            yield from judged

        yield from in_order(foreseen())

    def _known(self, tickets: Sequence[Ticket]) -> list[Answer]:
        return self._precedents.answers(tickets, None, "")

    def _foreseen(self, arrived: Arrived) -> Iterator[tuple[str, Foreseen]]:
        for outcome in arrived.final:
            ticket, answer = outcome.ticket, outcome.value
            steps = steps_within(answer, self._labels)
            doubts = text_doubts(self._suspicion, ticket, answer)
            is_sure = bool(answer and answer.sure and not doubts)
            answered = answered_ticket(
                ticket, steps, outcome.error, self._labels, sure=is_sure, language=answer.language if answer else None
            )
            if doubts:
                answered = answered._replace(reason=held(doubts, answered.reason))
            yield ticket.ticket_id, self._routed(answered, steps[-1] if steps else None)
        for earlier in (each for waiting in arrived.postponed.values() for each in waiting):
            yield earlier.ticket.ticket_id, Foreseen(status="new", cost_usd=self._likely_cost(earlier.ticket))

    def _routed(self, ticket: Ticket, answer: Classification | None) -> Foreseen:
        """Return what is foreseen of a ticket that was answered: also where its category leads."""
        destinations: tuple[str, ...] = ()
        status = ticket.status
        if self._routing_map is not None and ticket.category is not None:
            rule = self._routing_map.match(ticket, answer, times.now())
            status, destinations = ("unroutable", ()) if rule is None else (status, rule.to)
        return Foreseen(
            status=status,
            category=ticket.category,
            suggestion=ticket.suggestion,
            confidence=ticket.confidence,
            confidence_source=ticket.confidence_source,
            classifier=ticket.classifier,
            reason=ticket.reason,
            error=ticket.error,
            routed_to=", ".join(destinations) or None,
        )


def _outcome(row: int, draft: TicketDraft, foreseen: Foreseen) -> Outcome[Foreseen]:
    return Outcome(row, Action.PREVIEWED, foreseen, item=draft)
