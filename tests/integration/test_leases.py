"""A run that waits keeps what it holds: for a slow model, a slow destination, a slow provider of batches."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from tests.support.commands import PATIENCE
from tests.support.stored_tickets import a_run
from tests.support.stored_tickets import sql as on_sqlite
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore
from triage_cli.runtime import Budget, StopControl, bridge
from triage_cli.service import RENEW, LocalTriage, recorded_run
from triage_cli.stores import SqliteStore


def sql(store: SqliteStore | PostgresStore, statement: str) -> list[Any]:
    return on_sqlite(store, statement)


class LateAnswers:
    """The time, and what happens while somebody waits: the lease is nearly over, and a breath later it is not."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = 0.0
        self.meanwhile: Callable[[], object] = lambda: None

    def triage(self) -> LocalTriage:
        triage = self.world.triage()
        triage._stop_control = StopControl(clock=lambda: self.now)
        return triage

    def leases(self) -> list[bool]:
        """Tell of each run that has not ended whether its lease is good for a while."""
        return [until > 9 for (until,) in sql(self.world.store, "select lease_until from runs where ended_at is null")]

    def breaths(self) -> Iterator[list[object]]:
        """Wait as others do, an empty chunk a breath."""
        for _ in range(3):  # a claim may come in between, and renew it too
            sql(self.world.store, "update runs set lease_until = 1 where ended_at is null")
            self.now += RENEW
            yield []
        assert self.leases() == [True]
        self.meanwhile()


class Slow(FakeClassifier):
    """A model that takes its time."""

    def __init__(self, late_answers: LateAnswers) -> None:
        super().__init__()
        self.late_answers = late_answers

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        for outcomes in super().classify(chunks, budget):
            if outcomes:
                yield from self.late_answers.breaths()  # type: ignore[misc]
            yield outcomes


class SlowBox:
    """A destination that takes its time."""

    name = "box"
    workers = 1
    max_attempts = 3
    schedule: tuple[float, ...] = (10.0,)

    def __init__(self, late_answers: LateAnswers) -> None:
        self.late_answers = late_answers
        self.taken: list[str] = []
        late_answers.world.destinations[self.name] = self
        late_answers.world.rules = (dm.Rule("all", (self.name,)),)

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        for chunk in chunks:
            self.taken += [outgoing.delivery.delivery_id for outgoing in chunk]
            if chunk:
                yield from self.late_answers.breaths()  # type: ignore[misc]
            yield [
                dm.Outcome(n, dm.Action.DELIVERED, dm.Receipt(200, 0.1), None, outgoing)
                for n, outgoing in enumerate(chunk)
            ]


@pytest.fixture
def late_answers(world: World) -> LateAnswers:
    list(world.triage().create([dm.TicketDraft(0, 2, "charged twice", external_id="1")]))
    return LateAnswers(world)


def test_tickets_stay_with_a_run_that_waits_for_a_slow_model(late_answers: LateAnswers) -> None:
    world, others = late_answers.world, []
    world.classifier = Slow(late_answers)
    late_answers.meanwhile = lambda: others.append(world.store.runs.claim(dm.Selection(), a_run(world.store), 9))  # type: ignore[arg-type]
    (outcome,) = late_answers.triage().classify(dm.Selection(), dm.ClassifyPlan())
    assert (outcome.action, others) == ("classified", [[]])


def test_tickets_stay_with_a_run_that_waits_to_compare(late_answers: LateAnswers) -> None:
    world, others = late_answers.world, []
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    world.classifier = Slow(late_answers)
    world.classifier.fingerprint = "fake-2"
    late_answers.meanwhile = lambda: others.append(world.store.runs.claim(dm.Selection(), a_run(world.store), 9))  # type: ignore[arg-type]
    (outcome,) = late_answers.triage().reclassify(dm.Selection(), dm.ReclassifyPlan(dm.ClassifyPlan()))
    assert (outcome.action, others) == ("confirmed", [[]])


def test_deliveries_stay_with_a_run_that_waits_for_a_slow_destination(late_answers: LateAnswers) -> None:
    world, others = late_answers.world, []
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    box = SlowBox(late_answers)
    late_answers.meanwhile = lambda: others.append(world.store.deliveries.due("box", a_run(world.store), 9))  # type: ignore[arg-type]
    (outcome,) = late_answers.triage().route(dm.Selection(), dm.RoutePlan())
    assert (outcome.action, others, len(box.taken)) == ("routed", [[]], 1)


def test_what_is_due_stays_with_a_run_that_waits_for_a_slow_destination(late_answers: LateAnswers) -> None:
    world, others = late_answers.world, []
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    box = SlowBox(late_answers)
    list(late_answers.triage().route(dm.Selection(), dm.RoutePlan()))
    sql(world.store, "update deliveries set state = 'pending', due_at = 0, run_id = null")
    late_answers.meanwhile = lambda: others.append(world.store.deliveries.due("box", a_run(world.store), 9))  # type: ignore[arg-type]
    list(late_answers.triage().route(dm.Selection(limit=0), dm.RoutePlan()))
    assert (others[-1], len(box.taken)) == ([], 2)


def test_most_breaths_write_nothing(world: World) -> None:
    now, stop_control = 0.0, StopControl(clock=lambda: now)
    with recorded_run(world.store, "classify", "tester", "classify", stop_control) as tally:
        for later, renewed in ((RENEW - 1, False), (1, True), (RENEW - 1, False), (1, True)):
            sql(world.store, "update runs set lease_until = 1")
            tally.context.budget.book(0.5)
            now += later
            tally.context.heartbeat()
            ((until, spent),) = sql(world.store, "select lease_until, spent from runs")
            assert (until > 1, spent == tally.context.budget.spent) == (renewed, renewed)


def test_a_long_call_is_waited_for_with_a_breath_now_and_then() -> None:
    breaths, enough = [], threading.Event()

    async def call() -> str:
        await asyncio.to_thread(enough.wait, PATIENCE)
        return "done"

    def heartbeat() -> None:
        breaths.append(1)
        if len(breaths) == 3:
            enough.set()

    assert bridge().run(call(), heartbeat, tick=0.001) == "done"
    assert len(breaths) >= 3
