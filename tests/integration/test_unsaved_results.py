"""Results of deliveries of single tickets that cannot be saved, and requests that outlive their server."""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.commands import PATIENCE, until
from tests.support.fake_destination import FakeDestination
from tests.support.stored_tickets import POSTED
from tests.support.world import World
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.classifications import ClassifyPlan
from triage_cli.domain.deliveries import Delivery, Routed, RoutePlan
from triage_cli.domain.errors import ExhaustedError, TriageError, UnavailableError, UsageError
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.runs import Lease
from triage_cli.domain.tickets import Selection
from triage_cli.service.concurrent_callers import dispatch_thread, group_delivery
from triage_cli.service.concurrent_callers.single_tickets import SingleTickets


def process(singles: SingleTickets, subject: str = "Refund?") -> Outcome[Routed]:
    """Take a new ticket through all steps, and return how its routing went."""
    draft = POSTED._replace(subject=subject)
    routed = singles.process(draft, "ada", None, ("classify", "route"), ClassifyPlan()).routed
    assert routed is not None
    return routed


def delivery_of(world: World, routed: Outcome[Routed]) -> Delivery:
    """Return the only delivery of a ticket as it is stored."""
    assert routed.value
    (delivery,) = world.store.deliveries([routed.value.ticket.ticket_id])[routed.value.ticket.ticket_id]
    return delivery


class ResultSaves:
    """The store's `save`, which does with results of deliveries what `refuse` says: raise, or return conflicts."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused = 0
        self._real = world.store.save
        monkeypatch.setattr(world.store, "save", self._save)

    def refuse(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Return the changes to refuse with a conflict; the first time raise instead."""
        if self.refused == 0:
            self.refused += len(changes)
            raise UnavailableError("the disk is full")
        return ()

    def _save(self, changes: Sequence[Change], *more: Any) -> list[Conflict | None]:
        results = [change for change in changes if change.event.action == "delivered"]
        refused = self.refuse(results) if results else ()
        conflicts = iter(self._real([change for change in changes if change not in refused], *more))
        return [Conflict(change.ticket) if change in refused else next(conflicts) for change in changes]


def test_a_result_that_cannot_be_saved_frees_its_delivery_which_may_have_arrived(
    world: World, outlet: FakeDestination, singles: SingleTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    ResultSaves(world, monkeypatch)
    routed = process(singles)
    assert isinstance(routed.error, UnavailableError)
    delivery = delivery_of(world, routed)
    assert (delivery.state, delivery.attempts, delivery.run_id, delivery.doubtful) == ("pending", 0, None, 1)
    list(world.triage().route(Selection(), RoutePlan()))
    assert delivery_of(world, routed).state == "accepted"
    assert outlet.got == [delivery.delivery_id] * 2


@pytest.mark.parametrize("error", [UnavailableError("the disk is full"), UsageError("the database is read-only")])
def test_a_delivery_that_cannot_be_freed_at_once_is_freed_later(
    world: World, singles: SingleTickets, monkeypatch: pytest.MonkeyPatch, error: TriageError
) -> None:
    monkeypatch.setattr(dispatch_thread, "IDLE_SECONDS", 0.01)
    ResultSaves(world, monkeypatch)
    down, let_go = True, world.store.let_go

    def freeing(delivery_ids: Sequence[str], lease: Lease, why: str | None = None, **more: Any) -> None:
        if down:
            raise error
        let_go(delivery_ids, lease, why, **more)

    monkeypatch.setattr(world.store, "let_go", freeing)
    routed = process(singles)
    assert isinstance(routed.error, UnavailableError)
    assert delivery_of(world, routed).run_id
    down = False
    until(lambda: delivery_of(world, routed).run_id is None, "the delivery")
    assert delivery_of(world, routed).doubtful


def test_a_request_that_ends_unexpectedly_is_not_waited_for_at_the_end(
    world: World, singles: SingleTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise TypeError

    ResultSaves(world, monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(world.store, "let_go", failing)
        with pytest.raises(TypeError):
            process(singles)
    began = time.monotonic()
    singles.close()
    assert time.monotonic() - began < group_delivery.CLOSE_SECONDS / 2


def test_a_ticket_that_keeps_conflicting_fails_no_other_caller(
    world: World, singles: SingleTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, gathered, others = threading.Event(), threading.Event(), ("plain 1", "contested", "plain 2")
    deliveries = world.store.deliveries

    class Contested(ResultSaves):
        def refuse(self, changes: Sequence[Change]) -> Sequence[Change]:
            return [change for change in changes if change.ticket and change.ticket.subject == "contested"]

    def held_up(ticket_ids: Sequence[str]) -> Mapping[str, tuple[Delivery, ...]]:
        if threading.current_thread().name == "writer":
            reached.set()
            assert gathered.wait(PATIENCE)
        return deliveries(ticket_ids)

    Contested(world, monkeypatch)
    monkeypatch.setattr(world.store, "deliveries", held_up)
    with ThreadPoolExecutor(4) as callers:
        first = callers.submit(process, singles, "first")  # its result is being saved, so that the others' gather
        assert reached.wait(PATIENCE)
        rest = [callers.submit(process, singles, subject) for subject in others]
        until(lambda: singles._committer._worker._thread.queue.qsize() == len(others), "the second group")
        gathered.set()
        assert first.result().error is None
        routed = {subject: one.result() for subject, one in zip(others, rest, strict=True)}
    assert {subject: type(one.error) for subject, one in routed.items()} == {
        "plain 1": type(None), "contested": UnavailableError, "plain 2": type(None)
    }  # fmt: skip
    assert [delivery_of(world, one).state for one in routed.values()] == ["accepted", "pending", "accepted"]


def freed_unsent(world: World) -> Delivery:
    """Return the only delivery that no run holds, and that certainly did not arrive."""
    ids = [ticket.ticket_id for ticket in world.store.find(Selection())]
    (delivery,) = [d for several in world.store.deliveries(ids).values() for d in several if d.state == "pending"]
    assert (delivery.run_id, delivery.doubtful, delivery.attempts) == (None, 0, 0)
    return delivery


def leave_decisions_unconfirmed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the store save all changes, and then raise for those that route a ticket."""
    save = world.store.save

    def unconfirmed(changes: Sequence[Change], *more: Any) -> list[Conflict | None]:
        conflicts = save(changes, *more)
        if any(event.action == "routed" for change in changes for event in (change.event, *change.further)):
            raise UnavailableError("the connection was lost while something was being stored")
        return conflicts

    monkeypatch.setattr(world.store, "save", unconfirmed)


def check_that_the_next_run_sends_it(
    world: World, outlet: FakeDestination, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    delivery = freed_unsent(world)
    monkeypatch.undo()
    list(world.triage().route(Selection(ids=(delivery.ticket_id,)), RoutePlan()))
    assert outlet.got == [delivery.delivery_id]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_decision_whose_commit_is_not_confirmed_leaves_its_delivery_to_the_next_run(
    at_once: bool, world: World, outlet: FakeDestination, singles: SingleTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    classified = singles.process(POSTED, "ada", None, ("classify",), ClassifyPlan()).stored.value
    assert classified
    leave_decisions_unconfirmed(world, monkeypatch)
    with pytest.raises(UnavailableError):
        process(singles) if at_once else singles.route(classified, "ada")
    check_that_the_next_run_sends_it(world, outlet, monkeypatch)


def test_what_cannot_be_freed_after_the_first_request_is_freed_later(
    world: World, singles: SingleTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_thread, "IDLE_SECONDS", 0.01)
    let_go = world.store.let_go

    def freeing(*given: Any, **more: Any) -> None:
        if threading.current_thread().name != "dispatching":
            raise UnavailableError("the database cannot be reached")
        let_go(*given, **more)

    leave_decisions_unconfirmed(world, monkeypatch)
    monkeypatch.setattr(world.store, "let_go", freeing)
    with pytest.raises(UnavailableError):
        process(singles)
    until(lambda: not singles._group_deliveries._held_deliveries._to_free, "the delivery")
    freed_unsent(world)


def test_without_a_thread_to_send_a_delivery_it_is_left_to_the_next_run_and_later_ones_are_sent(
    world: World, outlet: FakeDestination, singles: SingleTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "dispatching":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(ExhaustedError):
            process(singles)
    freed_unsent(world)
    assert delivery_of(world, process(singles)).state == "accepted"
    assert len(outlet.got) == 1


def test_nothing_is_sent_whose_result_might_find_no_room(
    world: World, outlet: FakeDestination, singles: SingleTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise UnavailableError("the disk is nearly full")

    monkeypatch.setattr(world.store, "check_room", full)
    assert isinstance(process(singles).error, UnavailableError)
    check_that_the_next_run_sends_it(world, outlet, monkeypatch)


def test_a_result_that_cannot_be_handed_on_fails_its_caller(
    world: World, singles: SingleTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: Any) -> None:
        raise ExhaustedError("this process cannot start another thread")

    monkeypatch.setattr(singles._committer, "put", lacking)
    with ThreadPoolExecutor(1) as callers:
        request = callers.submit(process, singles)
        until(request.done, "the answer")
        assert isinstance(request.result().error, ExhaustedError)
    monkeypatch.undo()
    assert delivery_of(world, process(singles)).state == "accepted"


def test_a_failed_read_of_what_is_switched_off_concerns_no_delivery_in_flight(
    world: World, outlet: FakeDestination, singles: SingleTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> frozenset[str]:
        raise UnavailableError("the database cannot be reached")

    outlet.hangs = True
    with ThreadPoolExecutor(1) as callers:
        first = callers.submit(process, singles)
        until(lambda: len(outlet.got) == 1, "the attempt")
        with monkeypatch.context() as patched:
            patched.setattr(singles._group_deliveries._dispatch_thread, "_off", unreadable)
            second = process(singles)
        outlet.hangs = False
        assert first.result(PATIENCE).error is None
    assert isinstance(second.error, UnavailableError)
    assert freed_unsent(world) == delivery_of(world, second)
    assert outlet.got == [delivery_of(world, first.result()).delivery_id]


def test_a_lease_that_cannot_be_renewed_ends_no_attempt(
    world: World, outlet: FakeDestination, singles: SingleTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Lease] = []

    def failing(lease: Lease) -> None:
        tries.append(lease)
        raise UnavailableError("the database cannot be reached")

    outlet.hangs = True
    monkeypatch.setattr("triage_cli.service.run_context.RENEW", 0.0)
    monkeypatch.setattr(world.store, "renew", failing)
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


def test_the_end_waits_for_a_request_that_has_a_result_to_save(world: World, singles: SingleTickets) -> None:
    world.destinations["outlet"] = slow = SlowCaller()
    with ThreadPoolExecutor(1) as callers:
        request = callers.submit(process, singles)
        assert slow.reached.wait(PATIENCE)
        closing = threading.Thread(target=singles.close)
        closing.start()
        until(lambda: "dispatching" not in {thread.name for thread in threading.enumerate()}, "the last attempt")
        closing.join(0.1)
        assert closing.is_alive()
        slow.go.set()
        routed = request.result(PATIENCE)
        closing.join(PATIENCE)
    assert routed.error is None
    assert delivery_of(world, routed).state == "accepted"


def test_a_request_that_outlives_the_end_is_answered_and_sends_nothing(
    world: World, outlet: FakeDestination, singles: SingleTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triage_cli.service.concurrent_callers.group_delivery.CLOSE_SECONDS", 0.0)
    save, reached, go = world.store.save, threading.Event(), threading.Event()

    def held_up(*given: Any) -> list[Conflict | None]:
        reached.set()
        assert go.wait(PATIENCE)
        return save(*given)

    monkeypatch.setattr(world.store, "save", held_up)
    with ThreadPoolExecutor(2) as callers:
        request = callers.submit(process, singles)
        assert reached.wait(PATIENCE)
        closing = callers.submit(singles.close)
        until(lambda: singles._group_deliveries._dispatch_thread._thread._closed, "the end of the deliveries")
        go.set()
        closing.result(PATIENCE)
        delivery = delivery_of(world, request.result(PATIENCE))
    assert (delivery.state, delivery.run_id, delivery.doubtful, outlet.got) == ("pending", None, 0, [])
    with pytest.raises(UnavailableError):
        singles.create(POSTED, "ada")
    with pytest.raises(UnavailableError):
        process(singles)
