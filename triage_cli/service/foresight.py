"""Foresees what would become of drafts: their category, whether that would be sure, and where they would be sent.

Nothing is stored and nothing is sent.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count

from triage_cli import domain as dm
from triage_cli.ports import Classifier, Store
from triage_cli.runtime import Budget, BudgetLimits, StopControl
from triage_cli.service.answers import Gathering, answer_given, answered_ticket, answers, steps_within, text_doubts
from triage_cli.service.category_renames import CategoryNames, current_names
from triage_cli.service.decisions.precedents import Precedents
from triage_cli.service.decisions.recorder import held, suspicion_of
from triage_cli.service.delivery.routing import RoutingMap
from triage_cli.service.runs import TrialRecorder


def unasked_budget(stop: StopControl) -> Budget:
    """Return the budget of who asks nothing: classifiers postpone what would cost something."""
    return Budget(stop, BudgetLimits(None, None, 0.0), None)


class Foresight:
    """Foresees by one classifier, and by a routing map unless it is None.

    `likely_cost` estimates what asking about a ticket would cost in USD.
    """

    def __init__(
        self,
        classifier: Classifier,
        routing_map: RoutingMap | None,
        categories: Sequence[dm.Category],
        likely_cost: Callable[[dm.Ticket], float | None],
        store: Store,
        further: Sequence[dm.Question] = (),
    ) -> None:
        self._classifier = classifier
        self._routing_map = routing_map
        self._further = tuple(question.name for question in further)
        self._labels = {dm.CATEGORY: dm.Levels.of(categories)} | {
            question.name: question.labels for question in further
        }
        self._required = tuple(question.name for question in further if question.required)
        self._asked = (dm.CATEGORY, *(name for name in self._further if classifier.fingerprints_of(name)))
        self._gathering = Gathering()
        self._category_names = CategoryNames(categories)
        self._likely_cost = likely_cost
        self._suspicion = suspicion_of(self._labels[dm.CATEGORY])
        self._precedents = Precedents(store, self._labels, self._suspicion, {dm.CATEGORY: current_names(categories)})

    def over(
        self, drafts: Iterable[dm.TicketDraft], budget: Budget, trials: TrialRecorder | None = None
    ) -> Iterator[dm.Outcome[dm.Foreseen]]:
        """Yield what would become of drafts, in their order; `trials` saves answers that were paid for."""
        rows = count()
        asked_about: dict[str, tuple[int, dm.TicketDraft]] = {}
        judged: list[dm.Outcome[dm.Foreseen]] = []

        def chunks() -> Iterator[Sequence[dm.Ticket]]:
            for chunk in dm.bounded(drafts, self._classifier.chunk_size):
                to_ask = []
                for draft in chunk:
                    row, ticket = (
                        next(rows),
                        dm.dedup.new_ticket(dm.dedup.identify(draft), dm.ids.new_id(), dm.times.now(), None),
                    )
                    ticket = dm.with_questions(ticket, self._further)._replace(asked=self._asked)
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

        def foreseen() -> Iterator[dm.Outcome[dm.Foreseen]]:
            save_steps = trials.save_steps if trials else None
            for arrived in answers(self._classifier, chunks(), budget, save_steps, self._precedents.answers):
                if trials is not None:
                    trials.save(arrived.final)
                for ticket, by_question in self._gathering.whole(arrived):
                    yield _outcome(*asked_about.pop(ticket.ticket_id), self._of_ticket(ticket, by_question))
                yield from judged
                judged.clear()
            yield from judged

        yield from dm.in_order(foreseen())

    def _of_ticket(self, ticket: dm.Ticket, by_question: Mapping[str, dm.Outcome[dm.Answer] | None]) -> dm.Foreseen:
        decisive: dm.Classification | None = None
        for question, outcome in by_question.items():
            if outcome is None:
                continue
            answer, labels = outcome.value, self._labels[question]
            steps = steps_within(answer, labels)
            doubts, sure = text_doubts(self._suspicion, ticket, answer)
            if question == dm.CATEGORY:
                language, decisive = answer.language if answer else None, steps[-1] if steps else None
                ticket = answered_ticket(ticket, steps, outcome.error, labels, sure=sure, language=language)
                ticket = ticket._replace(reason=held(doubts, ticket.reason)) if doubts else ticket
            else:
                given = answer_given(dm.UNANSWERED, steps, outcome.error, labels, sure=sure)
                given = given._replace(reason=held(doubts, given.reason)) if doubts else given
                ticket = dm.with_given(ticket, {question: given})
        if by_question[dm.CATEGORY] is None:
            cost = self._likely_cost(ticket)
            return dm.Foreseen(status="new", cost_usd=cost, answers=dm.answer_records(ticket))
        return self._routed(dm.settled_by(ticket, self._required), decisive)

    def _routed(self, ticket: dm.Ticket, answer: dm.Classification | None) -> dm.Foreseen:
        """Return what is foreseen of a ticket that was answered: also where its category leads."""
        destinations: tuple[str, ...] = ()
        status = ticket.status
        if self._routing_map is not None and ticket.category is not None:
            rule = self._routing_map.match(ticket, answer, dm.times.now())
            status, destinations = ("unroutable", ()) if rule is None else (status, rule.to)
        return dm.Foreseen(
            status=status,
            category=ticket.category,
            suggestion=ticket.suggestion,
            confidence=ticket.confidence,
            confidence_source=ticket.confidence_source,
            classifier=ticket.classifier,
            reason=ticket.reason,
            error=ticket.error,
            routed_to=", ".join(destinations) or None,
            answers=dm.answer_records(ticket),
        )


def _outcome(row: int, draft: dm.TicketDraft, foreseen: dm.Foreseen) -> dm.Outcome[dm.Foreseen]:
    return dm.Outcome(row, dm.Action.PREVIEWED, foreseen, item=draft)
