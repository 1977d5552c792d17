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
from triage_cli.domain.decisions import Answer, ClassifyPlan, ReclassifyPlan
from triage_cli.domain.deliveries import OutgoingDelivery, Receipt, RoutePlan, Rule
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.tickets import Selection, Ticket, TicketDraft
from triage_cli.runtime.async_bridge import bridge
from triage_cli.runtime.budget import Budget
from triage_cli.runtime.stop import StopControl
from triage_cli.service.local_triage import LocalTriage
from triage_cli.service.run_context import RENEW
from triage_cli.service.runs import running
from triage_cli.stores.postgres.store import PostgresStore
from triage_cli.stores.sqlite.store import SqliteStore


def sql(store: SqliteStore | PostgresStore, said: str) -> list[Any]:
    return on_sqlite(store, said)  # type: ignore[arg-type]


class Waiting:
    """The time, and what happens while somebody waits: the lease is nearly over, and a breath later it is not."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = 0.0
        self.meanwhile: Callable[[], object] = lambda: None

    def triage(self) -> LocalTriage:
        triage = self.world.triage()
        triage._allowance = StopControl(clock=lambda: self.now)
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

    def __init__(self, waiting: Waiting) -> None:
        super().__init__()
        self.waiting = waiting

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        for outcomes in super().classify(chunks, budget):
            if outcomes:
                yield from self.waiting.breaths()  # type: ignore[misc]
            yield outcomes


class SlowBox:
    """A destination that takes its time."""

    name = "box"
    workers = 1
    max_attempts = 3
    schedule: tuple[float, ...] = (10.0,)

    def __init__(self, waiting: Waiting) -> None:
        self.waiting = waiting
        self.taken: list[str] = []
        waiting.world.destinations[self.name] = self
        waiting.world.rules = (Rule("all", (self.name,)),)

    def deliver(self, chunks: Iterable[Sequence[OutgoingDelivery]]) -> Iterator[Sequence[Outcome[Receipt]]]:
        for chunk in chunks:
            self.taken += [outgoing.delivery.delivery_id for outgoing in chunk]
            if chunk:
                yield from self.waiting.breaths()  # type: ignore[misc]
            yield [Outcome(n, Action.DELIVERED, Receipt(200, 0.1), None, outgoing) for n, outgoing in enumerate(chunk)]


@pytest.fixture
def waiting(world: World) -> Waiting:
    list(world.triage().create([TicketDraft(0, 2, "charged twice", external_id="1")]))
    return Waiting(world)


def test_tickets_stay_with_a_run_that_waits_for_a_slow_model(waiting: Waiting) -> None:
    world, others = waiting.world, []
    world.classifier = Slow(waiting)
    waiting.meanwhile = lambda: others.append(world.store.claim(Selection(), a_run(world.store), 9))  # type: ignore[arg-type]
    (outcome,) = waiting.triage().classify(Selection(), ClassifyPlan())
    assert (outcome.action, others) == ("classified", [[]])


def test_tickets_stay_with_a_run_that_waits_to_compare(waiting: Waiting) -> None:
    world, others = waiting.world, []
    list(world.triage().classify(Selection(), ClassifyPlan()))
    world.classifier = Slow(waiting)
    world.classifier.fingerprint = "fake-2"
    waiting.meanwhile = lambda: others.append(world.store.claim(Selection(), a_run(world.store), 9))  # type: ignore[arg-type]
    (outcome,) = waiting.triage().reclassify(Selection(), ReclassifyPlan(ClassifyPlan()))
    assert (outcome.action, others) == ("confirmed", [[]])


def test_deliveries_stay_with_a_run_that_waits_for_a_slow_destination(waiting: Waiting) -> None:
    world, others = waiting.world, []
    list(world.triage().classify(Selection(), ClassifyPlan()))
    box = SlowBox(waiting)
    waiting.meanwhile = lambda: others.append(world.store.due("box", a_run(world.store), 9, horizon=99.0))  # type: ignore[arg-type]
    (outcome,) = waiting.triage().route(Selection(), RoutePlan())
    assert (outcome.action, others, len(box.taken)) == ("routed", [[]], 1)


def test_what_is_due_stays_with_a_run_that_waits_for_a_slow_destination(waiting: Waiting) -> None:
    world, others = waiting.world, []
    list(world.triage().classify(Selection(), ClassifyPlan()))
    box = SlowBox(waiting)
    list(waiting.triage().route(Selection(), RoutePlan()))
    sql(world.store, "update deliveries set state = 'pending', due_at = 0, run_id = null")
    waiting.meanwhile = lambda: others.append(world.store.due("box", a_run(world.store), 9, horizon=99.0))  # type: ignore[arg-type]
    list(waiting.triage().route(Selection(limit=0), RoutePlan()))
    assert (others[-1], len(box.taken)) == ([], 2)


def test_most_breaths_write_nothing(world: World) -> None:
    now, allowance = 0.0, StopControl(clock=lambda: now)
    with running(world.store, "classify", "tester", "classify", allowance) as tally:
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

    def breathe() -> None:
        breaths.append(1)
        if len(breaths) == 3:
            enough.set()

    assert bridge().run(call(), breathe, tick=0.001) == "done"
    assert len(breaths) >= 3
