"""Results of deliveries of single tickets that cannot be saved, and requests that outlive their server."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.commands import PATIENCE, until
from tests.support.fake_destination import FakeDestination
from tests.support.records import replace
from tests.support.rooms import module_of
from tests.support.stored_tickets import POSTED, sql
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.service import Callers, recorded_run


def process(singles: Callers, subject: str = "Refund?") -> dm.Outcome[dm.Routed]:
    """Take a new ticket through all steps, and return how its routing went."""
    draft = replace(POSTED, subject=subject)
    routed = singles.process(draft, "ada", None, ("classify", "route"), dm.ClassifyPlan()).routed
    assert routed is not None
    return routed


def delivery_of(world: World, routed: dm.Outcome[dm.Routed]) -> dm.Delivery:
    """Return the only delivery of a ticket as it is stored."""
    assert routed.value
    (delivery,) = world.store.deliveries.of([routed.value.ticket.ticket_id])[routed.value.ticket.ticket_id]
    return delivery


class ResultSaves:
    """The store's `save`, which does with results of deliveries what `refuse` says: raise, or return conflicts."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused = 0
        self._real = world.store.save
        monkeypatch.setattr(world.store, "save", self._save)

    def refuse(self, changes: Sequence[dm.Change]) -> Sequence[dm.Change]:
        """Return the changes to refuse with a conflict; the first time raise instead."""
        if self.refused == 0:
            self.refused += len(changes)
            raise dm.UnavailableError("the disk is full")
        return ()

    def _save(self, changes: Sequence[dm.Change], *more: Any) -> list[dm.Conflict | None]:
        results = [change for change in changes if change.event.action == "delivered"]
        refused = self.refuse(results) if results else ()
        conflicts = iter(self._real([change for change in changes if change not in refused], *more))
        return [dm.Conflict(change.ticket) if change in refused else next(conflicts) for change in changes]


def test_a_result_that_cannot_be_saved_frees_its_delivery_which_may_have_arrived(
    world: World, outlet: FakeDestination, singles: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    ResultSaves(world, monkeypatch)
    routed = process(singles)
    assert isinstance(routed.error, dm.UnavailableError)
    delivery = delivery_of(world, routed)
    assert (delivery.state, delivery.attempts) == ("pending", 0)
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    sent = delivery_of(world, routed)
    assert (sent.state, sent.doubtful) == ("accepted", 1)
    assert outlet.got == [delivery.delivery_id] * 2
    assert delivery_of(world, process(singles)).state == "accepted"


def test_a_run_that_cannot_be_ended_is_over_with_its_lease(
    world: World, outlet: FakeDestination, singles: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: dm.Run) -> None:
        raise dm.UnavailableError("the database cannot be reached")

    with monkeypatch.context() as patched:
        ResultSaves(world, patched)
        patched.setattr(world.store.runs, "end", failing)
        routed = process(singles)
    assert isinstance(routed.error, dm.UnavailableError)
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    assert delivery_of(world, routed).state == "pending"
    sql(world.store, "update runs set lease_until = 1 where kind = 'serve'")
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    assert delivery_of(world, routed).state == "accepted"
    assert len(outlet.got) == 2


def unsent(world: World) -> dm.Delivery:
    """Return the only delivery that is still to be made."""
    ids = [ticket.ticket_id for ticket in world.store.find(dm.Selection())]
    (delivery,) = [d for several in world.store.deliveries.of(ids).values() for d in several if d.state == "pending"]
    assert delivery.attempts == 0
    return delivery


def leave_decisions_unconfirmed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the store save all changes, and then raise for those that route a ticket."""
    save = world.store.save

    def unconfirmed(changes: Sequence[dm.Change], *more: Any) -> list[dm.Conflict | None]:
        conflicts = save(changes, *more)
        if any(event.action == "routed" for change in changes for event in change.events):
            raise dm.UnavailableError("the connection was lost while something was being stored")
        return conflicts

    monkeypatch.setattr(world.store, "save", unconfirmed)


def check_that_the_next_run_sends_it(
    world: World, outlet: FakeDestination, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    delivery = unsent(world)
    monkeypatch.undo()
    list(world.triage().route(dm.Selection(ids=(delivery.ticket_id,)), dm.RoutePlan()))
    assert outlet.got == [delivery.delivery_id]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_decision_whose_commit_is_not_confirmed_leaves_its_delivery_to_the_next_run(
    at_once: bool, world: World, outlet: FakeDestination, singles: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    classified = singles.process(POSTED, "ada", None, ("classify",), dm.ClassifyPlan()).stored.value
    assert classified
    leave_decisions_unconfirmed(world, monkeypatch)
    if at_once:
        assert isinstance(process(singles).error, dm.UnavailableError)  # its caller learns that the ticket is stored
    else:
        with pytest.raises(dm.UnavailableError):
            singles.route(classified, "ada")
    check_that_the_next_run_sends_it(world, outlet, monkeypatch)


def test_without_a_thread_nothing_is_stored_and_later_callers_are_served(
    world: World, outlet: FakeDestination, singles: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "callers":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(dm.ExhaustedError):
            process(singles)
    assert list(world.store.find(dm.Selection())) == []
    assert delivery_of(world, process(singles)).state == "accepted"
    assert len(outlet.got) == 1


def test_nothing_is_sent_whose_result_might_find_no_room(
    world: World, outlet: FakeDestination, singles: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise dm.UnavailableError("the disk is nearly full")

    monkeypatch.setattr(world.store, "check_room", full)
    assert isinstance(process(singles).error, dm.UnavailableError)
    check_that_the_next_run_sends_it(world, outlet, monkeypatch)


def test_a_chunk_that_fails_concerns_no_delivery_in_flight(
    world: World, outlet: FakeDestination, singles: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> frozenset[str]:
        raise dm.UnavailableError("the database cannot be reached")

    outlet.hangs = True
    with ThreadPoolExecutor(1) as callers:
        first = callers.submit(process, singles)
        until(lambda: len(outlet.got) == 1, "the attempt")
        with monkeypatch.context() as patched:
            patched.setattr(world.store.deliveries, "switched_off", unreadable)
            second = process(singles)
        assert isinstance(second.error, dm.UnavailableError)
        assert second.ticket.status == "classified"
        third = callers.submit(process, singles)  # of the next run
        outlet.hangs = False
        assert first.result(PATIENCE).error is third.result(PATIENCE).error is None
    assert len(outlet.got) == len(set(outlet.got)) == 2


def test_a_lease_that_cannot_be_renewed_ends_no_attempt(
    world: World, outlet: FakeDestination, singles: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[dm.Lease] = []

    def failing(lease: dm.Lease) -> None:
        tries.append(lease)
        raise dm.UnavailableError("the database cannot be reached")

    outlet.hangs = True
    monkeypatch.setattr(module_of(recorded_run), "RENEW", 0.0)
    monkeypatch.setattr(world.store.runs, "renew", failing)
    with ThreadPoolExecutor(1) as callers:
        first = callers.submit(process, singles)
        until(lambda: first.done() or (outlet.got and len(tries) >= 3), "the renewals")
        outlet.hangs = False
        assert first.result(PATIENCE).error is None
    assert len(outlet.got) == 1


class SlowCaller(FakeDestination):
    """A destination that holds the caller up between the attempt at a delivery and the saving of its result."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        super().__init__("outlet")

    @property
    def max_attempts(self) -> int:
        self.reached.set()
        assert self.go.wait(PATIENCE)
        return 3

    @max_attempts.setter
    def max_attempts(self, _: int) -> None: ...


def test_the_end_waits_for_a_request_that_has_a_result_to_save(world: World, singles: Callers) -> None:
    world.destinations["outlet"] = slow = SlowCaller()
    with ThreadPoolExecutor(1) as callers:
        request = callers.submit(process, singles)
        assert slow.reached.wait(PATIENCE)
        closing = threading.Thread(target=singles.close)
        closing.start()
        closing.join(0.1)
        assert closing.is_alive()
        slow.go.set()
        routed = request.result(PATIENCE)
        closing.join(PATIENCE)
    assert routed.error is None
    assert delivery_of(world, routed).state == "accepted"


def test_a_request_at_the_end_is_answered_and_sends_nothing(
    world: World, outlet: FakeDestination, singles: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, reached, go = world.store.save, threading.Event(), threading.Event()

    def held_up(*given: Any) -> list[dm.Conflict | None]:
        reached.set()
        assert go.wait(PATIENCE)
        return save(*given)

    monkeypatch.setattr(world.store, "save", held_up)
    with ThreadPoolExecutor(2) as callers:
        request = callers.submit(process, singles)
        assert reached.wait(PATIENCE)
        singles.stop()
        closing = callers.submit(singles.close)
        go.set()
        closing.result(PATIENCE)
        delivery = delivery_of(world, request.result(PATIENCE))
    assert (delivery.state, delivery.run_id, delivery.doubtful, outlet.got) == ("pending", None, 0, [])
    with pytest.raises(dm.UnavailableError):
        singles.create(POSTED, "ada")
    with pytest.raises(dm.UnavailableError):
        process(singles)
