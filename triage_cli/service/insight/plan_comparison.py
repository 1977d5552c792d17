"""Compares a new configuration with the present one on stored tickets; nothing is saved and nothing is sent."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain.chunks import chunked
from triage_cli.domain.decisions import Answer, Classification, Postponed
from triage_cli.domain.hostile_text.prompt_injection import Suspicion
from triage_cli.domain.insight.plans import NOWHERE, PERSON, Move, Plan, PlanAccuracy, volumes
from triage_cli.domain.insight.stats import StatsQuery
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.ports.classifiers import Classifier
from triage_cli.ports.storage import Store
from triage_cli.runtime.budget import Bounds, Budget
from triage_cli.runtime.stop import StopControl
from triage_cli.service import category_renames
from triage_cli.service.delivery.routing_map import RoutingMap

# Tickets that a configuration has decided on.
DECIDED = frozenset({"classified", "needs_review", "routing", "routed", "unroutable", "undeliverable"})
SAMPLE = 500  # tickets without an answer by which the cost of asking about all is estimated

Stream = Iterator[Sequence[Outcome[Answer]]]


def unasked_budget(stop: StopControl) -> Budget:
    """Return a budget for classifiers that postpone what would cost something; no price need be known for it."""
    return Budget(stop, Bounds(None, None, 0.0), None)


class Side(NamedTuple):
    """One of the two configurations: its classifier, its routing map and the names of its categories."""

    classifier: Classifier
    routing_map: RoutingMap
    categories: frozenset[str]


class Names(NamedTuple):
    """The names that the new configuration gives to present categories and destinations.

    `present` are those that the present one gives to stored categories, where a rename is yet to be carried out.
    """

    categories: Mapping[str, str]
    destinations: Mapping[str, str]
    present: Mapping[str, str] = {}


class PlanComparison:
    """Compares two configurations; `learned` tells which texts the embedded model was trained on.

    `unasked` holds the first tickets about which the new classifier has no stored answer.
    """

    def __init__(
        self, store: Store, old: Side, new: Side, names: Names, pagers: frozenset[str],
        learned: Callable[[Sequence[str]], Sequence[bool]],
    ) -> None:  # fmt: skip
        self._store = store
        self._old = old
        self._new = new
        self._names = names
        self._pagers = pagers
        self._learned = learned
        self._suspicion = Suspicion(new.categories)
        self._before: Counter[str] = Counter()
        self._after: Counter[str] = Counter()
        self._moves: list[Move] = []
        self._tickets = 0
        self._number_unasked = 0
        self._answered: dict[str, tuple[Ticket, Classification]] = {}  # tickets with a verdict
        self.unasked: list[Ticket] = []

    def compare(self, selection: Selection, budget: Budget, recorded: Callable[[Stream], Stream] = iter) -> Plan:
        """Ask the new classifier about the tickets of a selection, and return what would change.

        `recorded` stores answers that were paid for. Raises `BudgetError`.
        """
        selection = selection._replace(statuses=DECIDED)
        decided = self._store.stats_by(StatsQuery(selection._replace(written_since=None)))
        tickets = category_renames.find(self._store, selection, self._names.present)
        for outcomes in recorded(
            self._new.classifier.classify(chunked(tickets, self._new.classifier.chunk_size), budget)
        ):
            self._take(outcomes)
        moves = tuple(sorted(self._moves, key=lambda move: (not move.pages, move.ticket_id)))
        matrix = Counter((move.old, move.new) for move in moves if move.old != move.new)
        older = max(0, sum(group.tickets for group in decided) - self._tickets)
        return Plan(
            self._tickets, older, len(moves), self._number_unasked, 0.0,
            volumes(self._before, self._after, self._pagers),
            tuple((old, new, n) for (old, new), n in matrix.most_common()), self._accuracy(), moves,
        )  # fmt: skip

    def _take(self, outcomes: Sequence[Outcome[Answer]]) -> None:
        answers = self._old.routing_map.answers(self._store, [outcome.ticket for outcome in outcomes])
        for outcome in outcomes:
            before, answer = outcome.ticket, outcome.value
            self._tickets += 1
            last = answer.steps[-1] if answer and answer.steps and not outcome.error else None
            unasked = outcome.error is not None or isinstance(answer, Postponed)
            if before.verdict and last is not None and last.category and not unasked:
                self._answered[before.ticket_id] = before, last
            after = self._renamed(before)
            if unasked and not before.verdict:
                self._number_unasked += 1
                if len(self.unasked) < SAMPLE:
                    self.unasked.append(before)
            elif not before.verdict and answer is not None:
                after = self._decided(after, answer, last)
            old_answer = answers.get(before.decision_id or "")
            old_to = tuple(
                self._names.destinations.get(n, n) for n in self._to(self._old.routing_map, before, old_answer)
            )
            new_to = self._to(self._new.routing_map, after, old_answer if unasked or before.verdict else last)
            self._count(before, after, old_to, new_to)

    def _renamed(self, ticket: Ticket) -> Ticket:
        """Return a ticket with the name that its category has in the new configuration; None if it is gone."""
        name = self._names.categories.get(ticket.category or "", ticket.category)
        return ticket._replace(category=name if name in self._new.categories else None)

    def _decided(self, ticket: Ticket, answer: Answer, last: Classification | None) -> Ticket:
        """Return a ticket after the answer of the new classifier."""
        doubts = self._suspicion.found(ticket.text) if answer.sure and answer.doubts is None else answer.doubts
        sure = answer.sure and not doubts and last is not None and last.category in self._new.categories
        return ticket._replace(
            category=last.category if sure and last else None,
            confidence=last.confidence if last else None,
            classifier=last.classifier if last else self._new.classifier.name,
            reason=last.reason if last else None,
        )

    @staticmethod
    def _to(routing_map: RoutingMap, ticket: Ticket, answer: Classification | None) -> tuple[str, ...]:
        if ticket.category is None:
            return (PERSON,)
        rule = routing_map.match(ticket, answer)
        return (NOWHERE,) if rule is None else rule.to

    def _count(self, before: Ticket, after: Ticket, old_to: tuple[str, ...], new_to: tuple[str, ...]) -> None:
        self._before.update(old_to)
        self._after.update(new_to)
        old = self._names.categories.get(before.category or "", before.category)
        if old == after.category and set(old_to) == set(new_to):
            return
        pages = bool(self._pagers & set(new_to) - set(old_to))
        self._moves.append(
            Move(
                before.ticket_id, before.external_id, before.status, before.category, after.category, old_to, new_to,
                pages, before.confidence, after.confidence, after.classifier, after.reason,
            )
        )  # fmt: skip

    # -- accuracy

    def _accuracy(self) -> PlanAccuracy:
        """Compare both classifiers with the verdicts, on tickets that both have answered and none has learned."""
        tickets = [ticket for ticket, _ in self._answered.values()]
        seen = self._learned([ticket.text for ticket in tickets])
        old = {ticket.ticket_id: answer for ticket, answer in self._old_answers(tickets)}
        n = before = after = 0
        for (ticket, new), known in zip(self._answered.values(), seen, strict=True):
            earlier = old.get(ticket.ticket_id)
            if earlier is None or (known and "model" in (new.confidence_source, earlier.confidence_source)):
                continue
            n += 1
            before += earlier.category == ticket.category
            after += new.category == self._renamed(ticket).category
        return PlanAccuracy(n, before, after)

    def _old_answers(self, tickets: Iterable[Ticket]) -> Iterator[tuple[Ticket, Classification]]:
        """Yield the answers of the present classifier, as far as they cost nothing."""
        classifier = self._old.classifier
        for outcomes in classifier.classify(chunked(tickets, classifier.chunk_size), unasked_budget(StopControl())):
            for outcome in outcomes:
                if outcome.value and outcome.value.steps and not isinstance(outcome.value, Postponed):
                    yield outcome.ticket, outcome.value.steps[-1]
