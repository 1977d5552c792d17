"""`route`: which deliveries are made, superseded, tried again or given up, and when they are due."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.use_cases import (
    a_draft,
    actions,
    classify,
    create,
    dids,
    last_run,
    log_is_whole,
    made,
    now,
    ready,
    route,
    states,
    statuses,
    to_file,
)
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.runtime import StopControl


class Box:
    """A destination that keeps what it takes, and fails as it is told."""

    def __init__(self, world: World, name: str, *, max_attempts: int = 3) -> None:
        self.name = name
        self.workers = 16
        self.max_attempts = max_attempts
        self.schedule: tuple[float, ...] = (10.0, 100.0)
        self.taken: list[dm.OutgoingDelivery] = []
        self.tried: list[dm.OutgoingDelivery] = []
        self.fails: dm.DeliveryError | None = None
        self.meanwhile: Callable[[], object] = lambda: None
        world.destinations[name] = self

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        for chunk in chunks:
            self.tried += chunk
            self.meanwhile()
            if self.fails is None:
                self.taken += chunk
            action = dm.Action.FAILED if self.fails else dm.Action.DELIVERED
            receipt = None if self.fails else dm.Receipt(200, 0.1)
            yield [dm.Outcome(n, action, receipt, self.fails, outgoing) for n, outgoing in enumerate(chunk)]


class Clock(NamedTuple):
    """The time of day, moved by hand."""

    at: list[float]

    def __call__(self) -> float:
        return self.at[0]

    def forward(self, seconds: float) -> None:
        self.at[0] += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock([time.time()])
    monkeypatch.setattr(time, "time", clock)

    def wait(self: StopControl, seconds: float) -> bool:
        clock.forward(seconds)
        return self.stopping

    monkeypatch.setattr(StopControl, "wait", wait)
    return clock


def recategorized(world: World, category: str, row: int = 0) -> None:
    assert dids(create(world, [a_draft(row, verdict=category)])) == ["updated"]


def test_what_has_no_category_is_not_routed(world: World) -> None:
    (ticket,) = made(world)
    (outcome,) = route(world, ticket)
    assert outcome.error is not None
    assert (outcome.action, outcome.error.code) == ("new", "not_classified")
    assert actions(world) == ["created"]


def test_unroutable_tickets_are_taken_up_when_the_map_changes(world: World, tmp_path: Path) -> None:
    (ticket,) = ready(world)
    (outcome,) = route(world)
    assert (outcome.action, outcome.error.code if outcome.error else "") == ("unroutable", "unroutable")
    events = actions(world)
    assert dids(route(world)) == ["unroutable"]
    assert actions(world) == events, "nothing new, so nothing is logged"
    lines = to_file(world, tmp_path)
    assert dids(route(world)) == ["routed"]
    assert lines()[0]["ticket"]["ticket_id"] == ticket.ticket_id


def test_what_was_decided_below_a_threshold_that_was_raised_since_waits_for_a_person(
    world: World, tmp_path: Path
) -> None:
    world.classifier = FakeClassifier(lambda ticket: ("Billing", 0.9 if ticket.external_id == "0" else 0.7))
    sure, doubtful, decided = ready(world, 3)
    recategorized(world, "Billing", 2)
    lines = to_file(world, tmp_path)
    world.least = {"fake": 0.8}
    nexts = {
        str(ticket.external_id): world.triage().why(ticket.ticket_id).why[-1] for ticket in (sure, doubtful, decided)
    }
    told = "Next: its confidence is below the threshold that holds now, so triage route leaves it to a person."
    assert [external_id for external_id, line in nexts.items() if line == told] == ["1"]
    (preview,) = world.triage().preview_routes(dm.Selection(ids=(doubtful.ticket_id,)), dm.RoutePlan())
    assert (preview.rule, preview.new, preview.why[0].lower()) == (None, (), told.removeprefix("Next: "))
    assert {o.ticket.external_id: o.action for o in route(world)} == {"0": "routed", "1": "doubted", "2": "routed"}
    assert statuses(world) == {"0": "routed", "1": "needs_review", "2": "routed"}
    assert {line["ticket"]["ticket_id"] for line in lines()} == {sure.ticket_id, decided.ticket_id}
    after = now(world, doubtful)
    assert (after.category, after.suggestion, after.verdict) == (None, "Billing", False)
    assert route(world) == []
    world.least = {"fake": 0.95}
    assert dids(route(world, sure)) == ["unchanged"], "what was sent stays as it is"
    assert log_is_whole(world)


def test_an_equal_answer_sends_nothing_again(world: World) -> None:
    (ticket,) = ready(world)
    box = Box(world, "box")
    world.rules = (dm.Rule("all", ("box",)),)
    route(world)
    assert dids(classify(world, ticket, plan=dm.ClassifyPlan(force=True))) == ["classified"]
    assert now(world, ticket).status == "routed"
    recategorized(world, "Billing")
    create(world, [a_draft(0, description="Another text")])
    route(world)
    assert len(box.taken) == 1
    assert now(world, ticket).status == "routed"


def test_another_category_makes_another_delivery_that_names_what_it_replaces(world: World) -> None:
    (ticket,) = ready(world)
    billing, technical = Box(world, "billing"), Box(world, "technical")
    world.rules = (
        dm.Rule("b", ("billing",), {"category": ("Billing",)}),
        dm.Rule("t", ("technical",), {"category": ("Technical",)}),
    )
    route(world)
    recategorized(world, "Technical")
    assert now(world, ticket).status == "classified"
    assert dids(route(world)) == ["routed"]
    first, second = billing.taken[0].delivery, technical.taken[0].delivery
    assert (first.replaces, second.replaces) == (None, first.delivery_id)
    assert first.delivery_id != second.delivery_id
    assert states(world, ticket) == [("billing", "Billing", "accepted"), ("technical", "Technical", "accepted")]


@pytest.mark.sqlite
def test_another_category_supersedes_what_is_still_pending(world: World, clock: Clock) -> None:
    (ticket,) = ready(world)
    billing, technical = Box(world, "billing"), Box(world, "technical")
    billing.fails = dm.DeliveryError("down")
    world.rules = (dm.Rule("b", ("billing",), {"category": ("Billing",)}), dm.Rule("all", ("technical",)))
    assert dids(route(world)) == ["routing"]
    recategorized(world, "General")
    assert dids(route(world)) == ["routed"]
    assert states(world, ticket) == [("billing", "Billing", "superseded"), ("technical", "General", "accepted")]
    clock.forward(1e6)
    assert route(world) == []
    assert (len(billing.tried), len(technical.taken)) == (1, 1)


@pytest.mark.sqlite
def test_a_category_without_a_rule_supersedes_what_is_still_pending(world: World, clock: Clock) -> None:
    (ticket,) = ready(world)
    box = Box(world, "box")
    box.fails = dm.DeliveryError("down")
    world.rules = (dm.Rule("b", ("box",), {"category": ("Billing",)}),)
    route(world)
    recategorized(world, "General")
    assert dids(route(world)) == ["unroutable"]
    clock.forward(1e6)
    assert dids(route(world)) == ["unroutable"]
    assert states(world, ticket) == [("box", "Billing", "superseded")]
    assert len(box.tried) == 1


@pytest.mark.sqlite
def test_a_failure_that_comes_after_the_category_changed_brings_nothing_back(world: World, clock: Clock) -> None:
    """The old destination is down and slow; meanwhile a person says otherwise, and another command routes that."""
    (ticket,) = ready(world)
    slow, quick = Box(world, "slow"), Box(world, "quick")
    world.rules = (dm.Rule("b", ("slow",), {"category": ("Billing",)}), dm.Rule("all", ("quick",)))
    slow.fails = dm.DeliveryError("down")

    def meanwhile() -> None:
        slow.meanwhile = lambda: None
        recategorized(world, "General")
        assert dids(route(world, ticket)) == ["routed"]

    slow.meanwhile = meanwhile
    route(world)
    assert states(world, ticket) == [("slow", "Billing", "superseded"), ("quick", "General", "accepted")]
    assert now(world, ticket).status == "routed"
    clock.forward(1e6)
    assert route(world) == []
    assert (len(slow.tried), len(quick.taken)) == (1, 1)


@pytest.mark.sqlite
def test_attempts_follow_the_schedule_with_one_id_and_end_as_a_dead_letter(world: World, clock: Clock) -> None:
    (ticket,) = ready(world)
    box = Box(world, "box", max_attempts=3)
    box.fails = dm.DeliveryError("down", status=503)
    world.rules = (dm.Rule("all", ("box",)),)
    assert dids(route(world)) == ["routing"]
    assert last_run(world) == ("route", 0, {"routing": 1}), "what is pending is no failure"
    clock.forward(8)
    assert route(world) == []
    clock.forward(4)
    assert dids(route(world)) == ["routing"]
    clock.forward(80)
    assert route(world) == []
    clock.forward(40)
    assert dids(route(world)) == ["undeliverable"]
    assert last_run(world)[:2] == ("route", 3)
    clock.forward(1e6)
    assert route(world) == []
    assert len({p.delivery.delivery_id for p in box.tried}) == 1
    assert [p.delivery.attempts for p in box.tried] == [0, 1, 2]
    history = world.store.history(ticket.ticket_id)
    assert [(a.number, a.status, a.error) for a in history.attempts] == [(n, 503, "down") for n in (1, 2, 3)]
    assert (history.ticket.status, history.deliveries[0].state) == ("undeliverable", "dead")
    assert [e.action for e in history.events][3:] == ["delivery_failed", "delivery_failed", "dead_letter"]


def owing_two(world: World) -> tuple[Box, dm.Ticket, dm.Ticket]:
    """Return a destination that is up again, and two tickets that it has failed once."""
    named, other = ready(world, 2)
    box = Box(world, "box")
    box.fails = dm.DeliveryError("down", status=503)
    world.rules = (dm.Rule("all", ("box",)),)
    assert dids(route(world)) == ["routing", "routing"]
    box.fails = None
    return box, named, other


def test_what_is_due_of_a_named_ticket_is_delivered_and_nothing_else(world: World) -> None:
    box, named, other = owing_two(world)
    assert dids(route(world, named)) == ["routing"], "it is not due yet"
    world.store.database.write(lambda db: db.execute("update deliveries set due_at = 0"))
    assert dids(route(world, named)) == ["routed"]
    assert [p.ticket.ticket_id for p in box.taken] == [named.ticket_id]
    assert now(world, other).status == "routing"


@pytest.mark.sqlite
@pytest.mark.usefixtures("clock")
def test_a_route_of_named_tickets_stays_for_what_is_due_soon(world: World) -> None:
    box, named, other = owing_two(world)
    assert dids(route(world, named, stay=15.0)) == ["routed"]
    assert [p.ticket.ticket_id for p in box.taken] == [named.ticket_id]
    assert now(world, other).status == "routing"


@pytest.mark.sqlite
def test_a_dead_letter_is_tried_again_under_its_id_and_every_attempt_is_kept(world: World, clock: Clock) -> None:
    (ticket,) = ready(world)
    box = Box(world, "box", max_attempts=2)
    box.fails = dm.DeliveryError("down")
    world.rules = (dm.Rule("all", ("box",)),)
    route(world)
    clock.forward(20)
    assert dids(route(world)) == ["undeliverable"]
    assert dids(route(world, retry_dead=True)) == ["routing"]
    clock.forward(20)
    assert dids(route(world)) == ["undeliverable"], "it had as many attempts once more"
    box.fails = None
    assert dids(route(world, retry_dead=True)) == ["routed"]
    assert len({p.delivery.delivery_id for p in box.tried}) == 1
    assert [a.number for a in world.store.history(ticket.ticket_id).attempts] == [1, 2, 3, 4, 5]


@pytest.mark.sqlite
def test_a_final_refusal_is_dead_at_once(world: World, clock: Clock) -> None:
    ready(world)
    box = Box(world, "box")
    box.fails = dm.DeliveryError("no such ticket", final=True, status=404)
    world.rules = (dm.Rule("all", ("box",)),)
    assert dids(route(world)) == ["undeliverable"]
    clock.forward(1e6)
    assert route(world) == []


@pytest.mark.sqlite
def test_a_destination_s_own_wish_to_wait_is_honoured(world: World, clock: Clock) -> None:
    ready(world)
    box = Box(world, "box")
    box.fails = dm.DeliveryError("busy", status=429, retry_after=500.0)
    world.rules = (dm.Rule("all", ("box",)),)
    route(world)
    clock.forward(450)
    assert route(world) == []
    clock.forward(51)
    box.fails = None
    assert dids(route(world)) == ["routed"]


@pytest.mark.sqlite
def test_route_stays_for_attempts_that_fall_due_soon(world: World, clock: Clock) -> None:
    ready(world)
    box = Box(world, "box")
    box.fails = dm.DeliveryError("down")
    world.rules = (dm.Rule("all", ("box",)),)
    began = clock()
    box.meanwhile = lambda: setattr(box, "fails", None) if len(box.tried) == 2 else None
    assert dids(route(world, stay=15.0)) == ["routed"], "one outcome a ticket, however often it was tried"
    assert 9 <= clock() - began <= 11


@pytest.mark.sqlite
def test_a_clock_that_is_set_back_does_not_keep_route_for_hours(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(world)
    Box(world, "box").fails = dm.DeliveryError("down")
    world.rules = (dm.Rule("all", ("box",)),)
    waits: list[float] = []

    def set_back(self: StopControl, seconds: float) -> bool:
        waits.append(seconds)
        assert waits[1:] == []
        clock.forward(-3600.0)
        return self.stopping

    monkeypatch.setattr(StopControl, "wait", set_back)
    assert dids(route(world, stay=15.0)) == ["routing"]


def test_again_sends_anew_under_another_id(world: World) -> None:
    (ticket,) = ready(world)
    box = Box(world, "box")
    world.rules = (dm.Rule("all", ("box",)),)
    route(world)
    assert dids(route(world, ticket, again=True)) == ["routed"]
    first, second = (p.delivery for p in box.taken)
    assert first.delivery_id != second.delivery_id
    assert second.replaces == first.delivery_id


@pytest.mark.sqlite
def test_again_takes_the_place_of_what_was_pending_or_dead(world: World, clock: Clock) -> None:
    (ticket,) = ready(world)
    box = Box(world, "box", max_attempts=2)
    box.fails = dm.DeliveryError("down")
    world.rules = (dm.Rule("all", ("box",)),)
    route(world)
    assert dids(route(world, ticket, again=True)) == ["routing"]
    clock.forward(1e6)
    assert dids(route(world)) == ["undeliverable"]
    box.fails = None
    assert dids(route(world, ticket, again=True)) == ["routed"]
    assert [state for _, _, state in states(world, ticket)] == ["superseded", "superseded", "accepted"]
    clock.forward(1e6)
    assert route(world) == []
    assert len(box.taken) == 1


@pytest.mark.sqlite
def test_a_ticket_of_two_destinations_is_routed_when_both_have_it(world: World, clock: Clock) -> None:
    (ticket,) = ready(world)
    up, down = Box(world, "up"), Box(world, "down")
    down.fails = dm.DeliveryError("down")
    world.rules = (dm.Rule("both", ("up", "down")),)
    assert dids(route(world)) == ["routing"]
    assert states(world, ticket) == [("down", "Billing", "pending"), ("up", "Billing", "accepted")] or states(
        world, ticket
    ) == [("up", "Billing", "accepted"), ("down", "Billing", "pending")]
    down.fails = None
    clock.forward(20)
    assert dids(route(world)) == ["routed"]
    assert (len(up.taken), len(down.taken)) == (1, 1)
    assert now(world, ticket).routed_to == "up, down"


def test_one_destination_that_is_gone_from_the_config_does_not_stop_the_others(world: World, tmp_path: Path) -> None:

    lines = to_file(world, tmp_path)
    ready(world)

    class Gone(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            raise dm.ConfigError(f'no destination "{name}" in the config')

    world.destinations = Gone(world.destinations)
    world.rules = (dm.Rule("both", ("gone", "box")),)
    (outcome,) = route(world)
    assert outcome.action == "routing"
    assert len(lines()) == 1


def test_two_routes_at_once_deliver_each_ticket_once(world: World, tmp_path: Path) -> None:
    lines = to_file(world, tmp_path)
    tickets = ready(world, 1200)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: route(world), range(3)))
    assert Counter(line["ticket"]["ticket_id"] for line in lines()) == {t.ticket_id: 1 for t in tickets}
    assert set(statuses(world).values()) == {"routed"}
    assert log_is_whole(world)
