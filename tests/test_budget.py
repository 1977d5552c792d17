"""Money: what runs at the same time may spend together, what kills leave on the books, what others settle."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import World
from tests.test_store import a_run, a_ticket, an_event, ended, sql
from triage_cli import ids
from triage_cli.allowance import Allowance, fitting
from triage_cli.classifiers.affording import Purse
from triage_cli.errors import BudgetError
from triage_cli.models import Change, Lease, Run, Spent
from triage_cli.resilience import StoppingError
from triage_cli.service.running import bound, running
from triage_cli.stores.sqlite import SqliteStore

LONG_AGO = "2000"


def kill(store: SqliteStore, lease: Lease) -> None:
    sql(store, "update runs set lease_until = 0 where run_id = ?", (lease.run_id,))


def begun_before_the_day(store: SqliteStore, lease: Lease) -> None:
    sql(store, "update runs set started_at = '2020-01-01T00:00:00Z' where run_id = ?", (lease.run_id,))


def booked(store: SqliteStore) -> list[tuple[float, float]]:
    return [(run.spent, run.reserved) for run in store.runs(None)]


def in_all(store: SqliteStore) -> float:
    return sum(spent + reserved for spent, reserved in booked(store))


# -- what the store grants


def test_sums_are_granted_in_order_while_all_runs_stay_within_the_budget(store: SqliteStore) -> None:
    one, two = (a_run(store)._replace(spent=0.0, reserved=0.0) for _ in range(2))
    assert store.set_aside(one, [1.0, 1.0, 1.0], 2.5, LONG_AGO) == 2
    assert store.set_aside(two, [1.0, 0.5], 2.5, LONG_AGO) == 0, "in their order: the first one has no room"
    assert store.set_aside(two, [0.5], 2.5, LONG_AGO) == 1
    assert in_all(store) == 2.5
    assert store.set_aside(one._replace(spent=0.2), [1.0, 1.0], 2.5, LONG_AGO) == 1, "what was settled leaves room"
    assert sorted(booked(store)) == [(0.0, 0.5), (0.2, 1.0)]


def test_without_a_budget_all_is_granted_and_written_down(store: SqliteStore) -> None:
    lease = a_run(store)
    assert store.set_aside(lease._replace(spent=1.0, reserved=0.5), [2.0, 3.0], None, LONG_AGO) == 2
    assert booked(store) == [(1.0, 5.5)]


def test_what_was_spent_before_the_day_began_leaves_the_budget_alone(store: SqliteStore) -> None:
    old = a_run(store)
    store.renew(old._replace(spent=2.0, reserved=0.0))
    begun_before_the_day(store, old)
    kill(store, old)
    assert store.set_aside(a_run(store)._replace(spent=0.0, reserved=0.0), [2.0], 2.0, ids.ago(86400)) == 1


def test_a_run_that_began_before_the_day_and_still_spends_is_counted(store: SqliteStore) -> None:
    old, new = (a_run(store)._replace(spent=0.0, reserved=0.0) for _ in range(2))
    begun_before_the_day(store, old)
    assert store.set_aside(old._replace(spent=1.0), [0.5], 2.0, ids.ago(86400)) == 1
    assert store.set_aside(new, [0.6], 2.0, ids.ago(86400)) == 0
    assert store.set_aside(new, [0.5], 2.0, ids.ago(86400)) == 1
    assert store.set_aside(old._replace(spent=1.0, reserved=0.5), [0.1], 2.0, ids.ago(86400)) == 0
    assert store.set_aside(old._replace(spent=1.2, reserved=0.0), [0.3], 2.0, ids.ago(86400)) == 1, "itself counts once"


def test_setting_aside_renews_the_lease(store: SqliteStore) -> None:
    lease = a_run(store)
    kill(store, lease)
    store.set_aside(lease, [1.0], 1.0, LONG_AGO)
    assert sql(store, "select lease_until > 0 from runs") == [(1,)]


def test_eight_runs_at_once_are_granted_the_budget_and_not_a_cent_more(store: SqliteStore) -> None:
    together = threading.Barrier(8)

    def spend(_: int) -> int:
        allowance = Allowance()
        with running(store, "classify", "tester", ids.new_id(), allowance) as tally:
            bound(allowance, store, tally.lease, None, 20.0)
            together.wait()
            granted = sum(allowance.set_aside([1.0] * 3) for _ in range(4))
            together.wait()  # what a run has set aside and not spent is free once it has ended
            return granted

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(8))) == 20


# -- a purse: many calls, few writes


def test_calls_that_wait_at_the_same_time_share_one_write() -> None:
    writes: list[Sequence[float]] = []
    allowance = Allowance()

    def grant(_spent: float, _reserved: float, wanted: Sequence[float]) -> int:
        writes.append(list(wanted))
        return len(wanted)

    async def all_at_once() -> None:
        purse = Purse(allowance, lambda: False)
        await asyncio.gather(*(purse.set_aside(0.5) for _ in range(20)))

    allowance.grant = grant
    asyncio.run(all_at_once())
    assert writes == [[0.5] * 20]
    assert allowance.reserved == 10


@pytest.mark.parametrize("granting", [True, False])
def test_who_is_refused_waits_for_what_is_in_flight_and_only_the_last_one_fails(*, granting: bool) -> None:
    allowance = Allowance(limit=1.0)
    allowance.grant = (lambda _spent, _reserved, wanted: len(wanted)) if granting else None

    async def call(purse: Purse) -> None:
        await purse.set_aside(0.8)
        await asyncio.sleep(0)
        allowance.settle(0.8, 0.1)

    async def calls() -> list[BaseException | None]:
        purse = Purse(allowance, lambda: False)
        return await asyncio.gather(*(call(purse) for _ in range(8)), return_exceptions=True)

    ends = asyncio.run(calls())
    assert ends.count(None) == 3, "0.1, 0.2, 0.3: then the worst case has no more room"
    assert all(isinstance(end, BudgetError) for end in ends if end)
    assert allowance.spent == pytest.approx(0.3)


def test_what_the_budget_of_all_runs_refuses_is_said_to_be_that() -> None:
    allowance = Allowance(limit=9.0)
    allowance.per_day = 5.0
    allowance.grant = lambda *_: 0
    with pytest.raises(BudgetError, match=r"budget of \$5 a day"):
        asyncio.run(Purse(allowance, lambda: False).set_aside(1.0))
    with pytest.raises(BudgetError, match=r"limit of \$9"):
        asyncio.run(Purse(allowance, lambda: False).set_aside(10.0))


def test_a_run_that_stops_waits_for_no_money() -> None:
    allowance = Allowance(limit=1.0)
    assert allowance.set_aside([1.0]) == 1

    async def wait() -> None:
        waiting = asyncio.create_task(Purse(allowance, lambda: allowance.stopping).set_aside(1.0))
        await asyncio.sleep(0)
        allowance.stop()
        allowance.settle(1.0, 0.0)
        await waiting

    with pytest.raises(StoppingError):
        asyncio.run(wait())


def test_a_write_that_fails_is_told_to_all_who_wait_and_the_next_one_is_tried() -> None:
    allowance = Allowance()
    fails = True

    def grant(_spent: float, _reserved: float, wanted: Sequence[float]) -> int:
        if fails:
            raise OSError("gone")
        return len(wanted)

    async def calls() -> list[BaseException | None]:
        nonlocal fails
        purse = Purse(allowance, lambda: False)
        ends = await asyncio.gather(*(purse.set_aside(1.0) for _ in range(3)), return_exceptions=True)
        fails = False
        await purse.set_aside(1.0)
        return ends

    allowance.grant = grant
    assert [str(end) for end in asyncio.run(calls())] == ["gone"] * 3
    assert allowance.reserved == 1


def test_whoever_leaves_while_money_is_set_aside_leaves_none_behind() -> None:
    allowance = Allowance()
    at_it, go_on = threading.Event(), threading.Event()

    def grant(_spent: float, _reserved: float, wanted: Sequence[float]) -> int:
        at_it.set()
        assert go_on.wait(10)
        return len(wanted)

    async def leave() -> None:
        purse = Purse(allowance, lambda: False)
        one = asyncio.create_task(purse.set_aside(1.0))
        await asyncio.to_thread(at_it.wait, 10)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        go_on.set()
        await purse.set_aside(2.0)

    allowance.grant = grant
    asyncio.run(leave())
    assert allowance.reserved == 2


def test_what_costs_nothing_writes_nothing() -> None:
    allowance = Allowance()
    allowance.grant = lambda *_: pytest.fail("it was asked")
    asyncio.run(Purse(allowance, lambda: False).set_aside(0.0))


def test_sums_of_floating_point_numbers_fill_a_room_to_the_cent() -> None:
    assert fitting([0.1] * 12, 1.0) == 10
    assert fitting([0.1], 0.0999) == 0


# -- kills


def test_what_killed_runs_of_one_command_spent_bounds_the_next_and_is_counted_once(store: SqliteStore) -> None:
    for spent, before in ((3.0, 0.0), (1.0, 3.25), (0.5, 4.5)):
        run = store.begin(Run(ids.new_id(), "classify", "tester", "classify", ids.now()))
        assert run.spent == before
        store.renew(Lease(run.run_id, spent=spent, reserved=0.25))
        kill(store, Lease(run.run_id))
    assert in_all(store) == 3.25 + 1.25 + 0.75
    last = a_run(store)
    assert store.set_aside(last, [1.0, 1.0], 3.25 + 1.25 + 0.75 + 1.0, LONG_AGO) == 1, "what it inherited counts once"
    ended(store, last)
    assert store.begin(Run(ids.new_id(), "classify", "tester", "classify", ids.now())).spent == 0


@pytest.mark.parametrize(
    ("died", "next_one"),
    [
        (("tester", "classify", 60.0), ("another", "classify")),
        (("tester", "POST /classify", 60.0), ("tester", "POST /classify")),
        (("tester", "classify", 12 * 3600.0), ("tester", "classify")),
    ],
    ids=["of somebody else", "of the server", "of half a day ago"],
)
def test_what_a_killed_run_spent_is_no_other_command_s(
    store: SqliteStore, died: tuple[str, str, float], next_one: tuple[str, str]
) -> None:
    actor, words, seconds = died
    run = store.begin(Run(ids.new_id(), "classify", actor, words, ids.ago(seconds)))
    store.renew(Lease(run.run_id, spent=3.0, reserved=0.0))
    kill(store, Lease(run.run_id))
    assert store.begin(Run(ids.new_id(), "classify", *next_one, ids.now())).spent == 0
    assert in_all(store) == 3


def test_a_limit_holds_over_any_number_of_kills(store: SqliteStore) -> None:
    for _ in range(4):
        allowance = Allowance()
        run = store.begin(Run(ids.new_id(), "classify", "tester", "classify", ids.now()))
        allowance.begin(run.spent)
        bound(allowance, store, Lease(run.run_id), 10.0, None)
        if allowance.set_aside([4.0]):
            allowance.settle(4.0, 4.0)
        with allowance.recording(Lease(run.run_id)) as lease:
            store.renew(lease)
        kill(store, lease)
    assert allowance.brought == in_all(store) == 8


def test_each_run_of_one_command_bears_its_own_cost_and_the_limit_holds_for_all(world: World) -> None:
    allowance = Allowance()
    for _ in range(3):
        with running(world.store, "eval", "tester", "eval", allowance) as tally:
            bound(allowance, world.store, tally.lease, 2.5, 100.0)
            if allowance.set_aside([1.0]):
                with allowance.recording(tally.lease) as lease:
                    assert (lease.spent, lease.reserved) == (0.0, 1.0)
                allowance.settle(1.0, 1.0)
    assert [(run.spent, run.reserved) for run in world.store.runs(None)] == [(0.0, 0.0), (1.0, 0.0), (1.0, 0.0)]


def test_a_kill_in_the_second_run_of_a_command_forgets_nothing_of_the_first(store: SqliteStore) -> None:
    allowance = Allowance()
    with running(store, "eval", "tester", "eval", allowance):
        allowance.book(2.0)
    run = store.begin(Run(ids.new_id(), "eval", "tester", "eval", ids.now(), spent=allowance.brought))
    store.renew(Lease(run.run_id, spent=1.0, reserved=0.0))
    kill(store, Lease(run.run_id))
    assert store.begin(Run(ids.new_id(), "eval", "tester", "eval", ids.now())).spent == 3
    assert in_all(store) == 3


def test_what_is_in_flight_as_a_run_breaks_down_stays_on_its_account(store: SqliteStore) -> None:
    def breaks_down() -> None:
        allowance = Allowance()
        with running(store, "classify", "tester", "classify", allowance):
            assert allowance.set_aside([1.0, 2.0, 4.0]) == 3
            allowance.settle(4.0, 0.5)
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk"):
        breaks_down()
    assert booked(store) == [(3.5, 0.0)]


# -- what others settle


def test_what_others_put_on_a_run_s_account_outlasts_what_it_says_itself(store: SqliteStore) -> None:
    lease = a_run(store)
    store.renew(lease._replace(spent=5.0, reserved=0.0))
    store.save([Change(an_event(a_ticket("1"), "returned"), adds=(Spent(lease.run_id, -1.5),))])
    assert booked(store) == [(3.5, 0.0)]
    store.renew(lease._replace(spent=6.0, reserved=0.5))
    assert booked(store) == [(4.5, 0.5)]
    store.renew(lease)
    assert booked(store) == [(4.5, 0.5)]
    assert store.set_aside(lease._replace(spent=6.0, reserved=0.5), [1.0, 1.0], 6.0, LONG_AGO) == 1
    store.end(Run(lease.run_id, "classify", "tester", "classify", "", ended_at=ids.now(), spent=7.0))
    assert booked(store) == [(5.5, 0.0)]


@pytest.mark.parametrize(
    ("limit", "told"), [(0.00001, "$0.00001"), (0.5, "$0.5"), (5, "$5"), (0.12345, "$0.1235"), (12345.678, "$12345.68")]
)
def test_money_is_told_without_an_exponent(limit: float, told: str) -> None:
    assert f"limit of {told} ($0 spent)" in Allowance(limit=limit).exceeded(2 * limit).message
