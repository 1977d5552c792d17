"""Use cases over a store of the test's own, with a fake classifier and destinations."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore
from triage_cli.ports import Destination
from triage_cli.runtime import Budget, BudgetLimits, Grant, StopControl
from triage_cli.service import LocalTriage, RoutingMap, Services, never_promised
from triage_cli.stores import SqliteStore, SqlModelRegistry

CATEGORIES = (dm.Category("Billing"), dm.Category("Technical"), dm.Category("General"))


NAMES = dm.compact([[category.name, ""] for category in CATEGORIES])


def a_budget(
    limit: float | None = None,
    *,
    stop_control: StopControl | None = None,
    per_day: float | None = None,
    grant: Grant | None = None,
) -> Budget:
    """Return a budget that no run stands behind."""
    return Budget(stop_control or StopControl(), BudgetLimits(limit, per_day, 0.0), grant)


class FakeClassifier:
    """Answers by a function of the ticket: (category, confidence), or an exception; keeps what it was asked."""

    def __init__(
        self, answer: Callable[[dm.Ticket], tuple[str | None, float]] | None = None, fingerprint: str = "fake-1"
    ) -> None:
        self.name = "fake"
        self.fingerprint = fingerprint
        self.chunk_size = 1000
        self.threshold = 0.6
        self.asked: list[str] = []
        self._answer = answer or (lambda _: ("Billing", 0.9))

    def askings(self) -> tuple[dm.Asking, ...]:
        return (dm.Asking(self.fingerprint, "fake", "m", "", "", NAMES, "{}", dm.times.now()),)

    def fingerprints_of(self, question: str) -> tuple[str, ...]:
        return (self.fingerprint,) if question == "category" else ()

    def rejudged(self, answer: dm.Classification, _text: str) -> dm.Classification:
        return answer.at_threshold(self.threshold)

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], _budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        for chunk in chunks:
            yield [self._one(n, ticket) for n, ticket in enumerate(chunk)]

    def _one(self, n: int, ticket: dm.Ticket) -> dm.Outcome[dm.Answer]:
        self.asked.append(ticket.ticket_id)
        category, confidence = self._answer(ticket)
        step = dm.Classification(
            dm.ids.new_id(), ticket.ticket_id, None, "fake", category, confidence, "model", "because", "fake", "test",
            self.fingerprint, self.threshold, None, dm.ids.answer_key(self.fingerprint, ticket.text), dm.times.now(),
        )  # fmt: skip
        return dm.Outcome(n, dm.Action.ANSWERED, dm.Answer(ticket, (step,), confidence >= self.threshold), None, ticket)


class World:
    """A store with use cases on it, a fake classifier and destinations of the test's choice."""

    def __init__(self, store: SqliteStore | PostgresStore) -> None:
        self.store = store
        self.classifier = FakeClassifier()
        self.destinations: dict[str, Destination] = {}
        self.rules: tuple[dm.Rule, ...] = ()
        self.categories: tuple[dm.Category, ...] = CATEGORIES
        self.further: tuple[dm.Question, ...] = ()  # questions beside that for the category
        self.renewed: frozenset[str] = frozenset()  # the destinations with on_change: again
        self.hysteresis: dict[str, float] = {}
        self.promised: Callable[[dm.Classification, str, dm.Rule, str], float] = never_promised
        self.additions: tuple[dm.AdditionRule, ...] = ()
        self.tell: Callable[[str], None] = lambda _: None  # gets notes about additions
        self.least: dict[str, float] = {}  # the configured min_confidence by classifier
        self.thresholds: Callable[[str], Mapping[str, float | None]] = lambda _: {}

    def services(self) -> Services:
        from triage_cli.classifiers import most_representative

        routing_map = RoutingMap(
            self.rules, "map-1", lambda name: self.destinations[name], renewed=self.renewed, promised=self.promised,
            additions=self.additions, tell=self.tell, levels=dm.Levels.of(self.categories), least=self.least,
        )  # fmt: skip
        return Services(
            self.store, self.categories, lambda *_: self.classifier, routing_map,
            lambda: SqlModelRegistry(self.store), None, self.hysteresis,
            instant_classifier=lambda _: self.classifier, thresholds=self.thresholds, ranked=most_representative,
            further=self.further,
        )  # fmt: skip

    def triage(self, actor: str = "tester") -> LocalTriage:
        return LocalTriage(self.services(), actor, "test")
