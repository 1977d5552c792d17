"""Compares a new configuration with the present one on stored tickets; nothing is saved and nothing is sent."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Classifier, Store
from triage_cli.runtime import Budget, StopControl
from triage_cli.service import (
    Arrived,
    Gathering,
    Precedents,
    RoutingMap,
    TrialRecorder,
    answer_given,
    ask_classifier,
    category_renames,
    steps_within,
    text_doubts,
    unasked_budget,
)

# Tickets that a configuration has decided on.
DECIDED_STATUSES = dm.DECIDED | {"needs_review"}
COST_SAMPLE = 500  # tickets without an answer by which the cost of asking about all is estimated


class ConfigurationSide(NamedTuple):
    """One of the two compared configurations: its classifier, its routing map and the names of its categories.

    `questions` are the further ones on which it depends where a ticket goes.
    """

    classifier: Classifier
    routing_map: RoutingMap
    categories: dm.Levels
    questions: Sequence[dm.Question] = ()

    def destinations(self, ticket: dm.Ticket, answer: dm.Classification | None) -> tuple[str, ...]:
        """Return where a ticket goes: to a person without a category, or while a required question is open."""
        known = dm.given_answers(ticket)  # one that was never asked holds no ticket
        required = [question.name for question in self.questions if question.required and question.name in known]
        if ticket.category is None or dm.open_required(ticket, required):
            return (dm.PERSON,)
        rule = self.routing_map.match(ticket, answer, ticket.stored_at)
        return (dm.NOWHERE,) if rule is None else rule.to


class NewNames(NamedTuple):
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
        self,
        store: Store,
        old: ConfigurationSide,
        new: ConfigurationSide,
        names: NewNames,
        pagers: frozenset[str],
        learned: Callable[[Sequence[str]], Sequence[bool]],
    ) -> None:
        self._store = store
        self._old_side = old
        self._new_side = new
        self._names = names
        self._pagers = pagers
        self._learned = learned
        self._suspicion = dm.Suspicion(new.categories)
        self._precedents = Precedents(
            store,
            {dm.CATEGORY: new.categories} | {question.name: question.labels for question in new.questions},
            self._suspicion,
            {dm.CATEGORY: {**names.present, **names.categories}},
        )
        self._gathering = Gathering()
        self._volumes_before: Counter[str] = Counter()
        self._volumes_after: Counter[str] = Counter()
        self._moves: list[dm.Move] = []
        self._compared_tickets = 0
        self._number_unasked = 0
        self._number_refined = 0  # tickets whose category alone gets finer
        self._answered_verdicts: dict[str, tuple[dm.Ticket, dm.Classification]] = {}  # tickets with a verdict
        self.unasked: list[dm.Ticket] = []

    def compare(self, selection: dm.Selection, budget: Budget, trials: TrialRecorder | None = None) -> dm.Plan:
        """Ask the new classifier about the tickets of a selection, and return what would change.

        `trials` saves answers that were paid for. Raises `BudgetError`.
        """
        selection = selection._replace(statuses=DECIDED_STATUSES)
        decided_groups = self._store.stats_by(dm.StatsQuery(selection._replace(written_since=None)))
        tickets = category_renames.find(self._store, selection, self._names.present)
        classifier = self._new_side.classifier
        names = (question.name for question in self._new_side.questions)
        asked = (dm.CATEGORY, *(name for name in names if classifier.fingerprints_of(name)))
        chunks = dm.chunked((ticket._replace(asked=asked) for ticket in tickets), classifier.chunk_size)
        save_steps = trials.save_steps if trials else None
        for arrived in ask_classifier(classifier, chunks, budget, save_steps, self._precedents.answers):
            if trials is not None:
                trials.save(arrived.final)
            self._compare(arrived)
        moves = tuple(sorted(self._moves, key=lambda move: (not move.pages, move.ticket_id)))
        category_moves = Counter((move.old, move.new) for move in moves if move.old != move.new)
        older_tickets = max(0, sum(group.tickets for group in decided_groups) - self._compared_tickets)
        return dm.Plan(
            tickets=self._compared_tickets,
            older=older_tickets,
            moved=len(moves) - self._number_refined,
            unasked=self._number_unasked,
            cost_usd=0.0,
            destinations=dm.volumes(self._volumes_before, self._volumes_after, self._pagers),
            matrix=tuple((old, new, n) for (old, new), n in category_moves.most_common()),
            accuracy=self._accuracy(),
            moves=moves,
        )

    def _compare(self, arrived: Arrived) -> None:
        """Compare what arrived; tickets that failed or that a batch would answer count as not asked about."""
        compared = list(self._gathering.whole(arrived))
        old_answers = self._old_side.routing_map.answers(self._store, [ticket for ticket, _ in compared])
        self._compared_tickets += len(compared)
        for ticket, by_question in compared:
            outcome = by_question[dm.CATEGORY]
            new_answer = None if outcome is None or outcome.error else outcome.value
            last_step = new_answer.steps[-1] if new_answer and new_answer.steps else None
            if ticket.verdict and last_step is not None and last_step.category:
                self._answered_verdicts[ticket.ticket_id] = ticket, last_step
            new_ticket = self._with_new_name(ticket)
            if new_answer is None and not ticket.verdict:
                self._number_unasked += 1
                if len(self.unasked) < COST_SAMPLE:
                    self.unasked.append(ticket)
            elif new_answer is not None and not ticket.verdict:
                new_ticket = self._decided_by_new(new_ticket, new_answer, last_step)
            old = old_answers.get(ticket.decision_id or "")
            old_to = tuple(self._names.destinations.get(n, n) for n in self._old_side.destinations(ticket, old))
            deciding = old if new_answer is None or ticket.verdict else last_step
            new_to = self._new_side.destinations(self._with_new_answers(new_ticket, by_question), deciding)
            self._count_move(ticket, new_ticket, old_to, new_to)

    def _with_new_name(self, ticket: dm.Ticket) -> dm.Ticket:
        """Return a ticket with the name that its category has in the new configuration; None if it is gone."""
        new_name = self._names.categories.get(ticket.category or "", ticket.category)
        return ticket._replace(category=new_name if new_name in self._new_side.categories else None)

    def _decided_by_new(
        self, ticket: dm.Ticket, new_answer: dm.Answer, last_step: dm.Classification | None
    ) -> dm.Ticket:
        """Return a ticket after the answer of the new classifier."""
        _, sure = text_doubts(self._suspicion, ticket, new_answer)
        has_category = last_step is not None and last_step.category in self._new_side.categories
        return ticket._replace(
            category=last_step.category if last_step and has_category and sure else None,
            confidence=last_step.confidence if last_step else None,
            confidence_source=last_step.confidence_source if last_step else None,
            classifier=last_step.classifier if last_step else self._new_side.classifier.name,
            reason=last_step.reason if last_step else None,
        )

    def _with_new_answers(
        self, ticket: dm.Ticket, by_question: Mapping[str, dm.Outcome[dm.Answer] | None]
    ) -> dm.Ticket:
        """Return a ticket with what would hold of further questions; what nobody was asked stays as it is."""
        given = {}
        for question in self._new_side.questions:
            name, outcome, labels = question.name, by_question.get(question.name), question.labels
            present = dm.given_answer(ticket, name)
            if present.verdict:
                value = category_renames.current_names(question.values).get(present.value or "", present.value)
                given[name] = present._replace(value=value) if value in labels else dm.UNANSWERED
            elif outcome is not None:
                steps = steps_within(outcome.value, labels)
                _, sure = text_doubts(self._suspicion, ticket, outcome.value)
                given[name] = answer_given(dm.UNANSWERED, steps, outcome.error, labels, sure=sure)
        return dm.with_given(ticket, given)

    def _count_move(
        self, ticket: dm.Ticket, new_ticket: dm.Ticket, old_to: tuple[str, ...], new_to: tuple[str, ...]
    ) -> None:
        self._volumes_before.update(old_to)
        self._volumes_after.update(new_to)
        old_category = self._names.categories.get(ticket.category or "", ticket.category)
        if old_category == new_ticket.category and set(old_to) == set(new_to):
            return
        is_refined = self._new_side.categories.refines(new_ticket.category, old_category)
        self._number_refined += is_refined and set(old_to) == set(new_to)
        pages = bool(self._pagers & set(new_to) - set(old_to))
        self._moves.append(
            dm.Move(
                ticket_id=ticket.ticket_id,
                external_id=ticket.external_id,
                status=ticket.status,
                old=ticket.category,
                new=new_ticket.category,
                old_to=old_to,
                new_to=new_to,
                pages=pages,
                old_confidence=ticket.confidence,
                new_confidence=new_ticket.confidence,
                classifier=new_ticket.classifier,
                reason=new_ticket.reason,
            )
        )

    def _accuracy(self) -> dm.PlanAccuracy:
        """Compare both classifiers with the verdicts, on tickets that both have answered and none has learned."""
        judged_tickets = [ticket._replace(asked=(dm.CATEGORY,)) for ticket, _ in self._answered_verdicts.values()]
        was_learned = self._learned([ticket.text for ticket in judged_tickets])
        old_answers = {ticket.ticket_id: answer for ticket, answer in self._old_answers(judged_tickets)}
        compared = old_right = new_right = 0
        for (ticket, new), learned in zip(self._answered_verdicts.values(), was_learned, strict=True):
            old = old_answers.get(ticket.ticket_id)
            if old is None or (learned and "model" in (new.confidence_source, old.confidence_source)):
                continue
            compared += 1
            old_right += self._old_side.categories.is_guessed(old, ticket.category)
            new_right += self._new_side.categories.is_guessed(new, self._with_new_name(ticket).category)
        return dm.PlanAccuracy(compared, old_right, new_right)

    def _old_answers(self, tickets: Iterable[dm.Ticket]) -> Iterator[tuple[dm.Ticket, dm.Classification]]:
        """Yield the answers of the present classifier, as far as they cost nothing."""
        classifier = self._old_side.classifier
        chunks = dm.chunked(tickets, classifier.chunk_size)
        for arrived in ask_classifier(classifier, chunks, unasked_budget(StopControl())):
            for outcome in arrived.final:
                if outcome.value and outcome.value.steps:
                    yield outcome.ticket, outcome.value.steps[-1]
