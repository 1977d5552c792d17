"""The budget: what parallel runs may spend together, what a killed run had reserved, what other runs book."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.commands import PATIENCE
from tests.support.records import replace
from tests.support.stored_tickets import a_run, a_ticket, an_event, changed, ended, filled, sql
from tests.support.world import World, a_budget
from triage_cli import domain as dm
from triage_cli.extensions.llm import BudgetReserver
from triage_cli.runtime import StopControl, StoppingError, number_that_fits
from triage_cli.service import RunContext, recorded_run
from triage_cli.stores import DAY, SqliteStore


def kill(store: SqliteStore, lease: dm.Lease) -> None:
    sql(store, "update runs set lease_until = ? where run_id = ?", (time.time() - 1, lease.run_id))


def a_day_later(store: SqliteStore) -> None:
    """Let a day pass over all that was booked, and all that was set aside."""
    sql(store, "update bookings set minute = ?", (dm.times.ago(DAY + 120)[:16],))
    sql(store, "update runs set lease_until = lease_until - ?", (DAY + 120,))


def booked(store: SqliteStore) -> list[tuple[float, float]]:
    return [(run.spent, run.reserved) for run in store.runs.latest(None)]


def in_all(store: SqliteStore) -> float:
    return sum(spent + reserved for spent, reserved in booked(store))


# -- what the store grants


def a_paid_answer(ticket: dm.Ticket) -> dm.Classification:
    return dm.Classification(
        dm.ids.new_id(), ticket.ticket_id, None, "m", "Billing", 0.9, "said", None, "m", "tester", "f", 0.5, None,
        dm.ids.new_id(), dm.times.now(), input_tokens=5,
    )  # fmt: skip


def test_an_answer_is_unsaved_until_it_is_saved_itself(store: SqliteStore) -> None:
    """Those of a batch are saved too, but a provider keeps them: they did not come by the budget."""
    one, two = filled(store, a_ticket("1"), a_ticket("2"))
    context = RunContext(
        store,
        store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "tester", "classify", dm.times.now())),
        StopControl(),
    )
    answer, of_a_batch = a_paid_answer(one), a_paid_answer(two)
    context.budget.answered(dm.Outcome(0, dm.Action.ANSWERED, dm.Answer(one, (answer,), True), None, one))
    context.save([replace(changed(two), adds=(of_a_batch,))])
    assert context.budget.unsaved_answers == 1
    context.save([replace(changed(one), adds=(answer,))])
    assert context.budget.unsaved_answers == 0


def test_sums_are_granted_in_order_while_all_runs_stay_within_the_budget(store: SqliteStore) -> None:
    one, two = (replace(a_run(store), spent=0.0, reserved=0.0) for _ in range(2))
    assert store.runs.set_aside(one, [1.0, 1.0, 1.0], 2.5) == 2
    assert store.runs.set_aside(two, [1.0, 0.5], 2.5) == 0, "in their order: the first one has no room"
    assert store.runs.set_aside(two, [0.5], 2.5) == 1
    assert in_all(store) == 2.5
    assert store.runs.set_aside(replace(one, spent=0.2), [1.0, 1.0], 2.5) == 1, "what was settled leaves room"
    assert sorted(booked(store)) == [(0.0, 0.5), (0.2, 1.0)]


def test_without_a_budget_all_is_granted_and_written_down(store: SqliteStore) -> None:
    lease = a_run(store)
    assert store.runs.set_aside(replace(lease, spent=1.0, reserved=0.5), [2.0, 3.0], None) == 2
    assert booked(store) == [(1.0, 5.5)]


def test_sums_of_costs_have_no_noise(store: SqliteStore) -> None:
    for spent in (0.1, 0.2):
        store.runs.renew(replace(a_run(store), spent=spent))
    lease = a_run(store)
    store.runs.renew(replace(lease, spent=0.0, reserved=0.3))
    assert store.stats().cost_usd == 0.6
    assert [dm.run_record(run)["cost_usd"] for run in store.runs.latest(None)] == [0.3, 0.2, 0.1]


def test_what_was_spent_before_the_day_began_leaves_the_budget_alone(store: SqliteStore) -> None:
    old = a_run(store)
    store.runs.renew(replace(old, spent=1.0, reserved=1.0))
    kill(store, old)
    new = replace(a_run(store), spent=0.0, reserved=0.0)
    assert store.runs.set_aside(new, [0.1], 2.0) == 0, "the calls of a killed run may be billed"
    a_day_later(store)
    assert store.runs.set_aside(new, [2.0], 2.0) == 1


def test_the_day_goes_by_the_time_of_each_booking_and_not_by_the_begin_of_its_run(store: SqliteStore) -> None:
    old, new = replace(a_run(store), spent=0.0, reserved=0.0), replace(a_run(store), spent=0.0, reserved=0.0)
    store.runs.renew(replace(old, spent=1.0))
    a_day_later(store)
    assert store.runs.set_aside(replace(old, spent=1.5), [0.5], 2.0) == 1, "of what it has spent, 0.5 counts today"
    assert store.runs.set_aside(new, [1.1], 2.0) == 0
    assert store.runs.set_aside(new, [1.0], 2.0) == 1
    assert store.runs.set_aside(replace(old, spent=1.5, reserved=0.5), [0.1], 2.0) == 0
    assert store.runs.set_aside(replace(old, spent=1.7, reserved=0.0), [0.3], 2.0) == 1, "itself counts once"
    store.runs.end(dm.Run(old.run_id, "classify", "tester", "classify", "", ended_at=dm.times.now(), spent=2.0))
    assert store.runs.set_aside(replace(new, spent=1.0), [0.1], 2.0) == 0, "also once it has ended"


def test_what_a_batch_was_set_aside_for_counts_no_more_when_its_answers_are_booked(store: SqliteStore) -> None:
    """The answers count when they are booked; what was set aside goes from the day in which the batch was gathered."""
    old, new = replace(a_run(store), spent=0.0, reserved=0.0), replace(a_run(store), spent=0.0, reserved=0.0)
    store.runs.renew(replace(old, spent=3.0))
    a_day_later(store)
    opened = dm.times.ago(DAY + 120)
    store.save([dm.Change(an_event(a_ticket("1"), "classified"), adds=(dm.Spent(old.run_id, 1.0, 3.0, opened),))])
    assert store.runs.set_aside(new, [1.1], 2.0) == 0
    assert store.runs.set_aside(new, [1.0], 2.0) == 1, "what was given back makes no room in another day"


def test_setting_aside_renews_the_lease(store: SqliteStore) -> None:
    lease = a_run(store)
    kill(store, lease)
    store.runs.set_aside(lease, [1.0], 1.0)
    assert sql(store, "select lease_until > 0 from runs") == [(1,)]


def test_eight_runs_at_once_are_granted_the_budget_and_not_a_cent_more(store: SqliteStore) -> None:
    together = threading.Barrier(8)

    def spend(_: int) -> int:
        with recorded_run(store, "classify", "tester", dm.ids.new_id(), StopControl()) as tally:
            budget = tally.context.open_budget(None, 20.0)
            together.wait()
            granted = sum(budget.set_aside([1.0] * 3) for _ in range(4))
            together.wait()  # what a run has set aside and not spent is free once it has ended
            return granted

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(8))) == 20


def test_a_used_up_budget_of_a_day_names_what_all_runs_of_the_day_spent(store: SqliteStore) -> None:
    with recorded_run(store, "classify", "tester", "", StopControl()) as earlier:
        budget = earlier.context.open_budget(None, 2.0)
        assert budget.set_aside([1.5]) == 1
        budget.settle(1.5, 1.25)
    with recorded_run(store, "classify", "tester", "", StopControl()) as later:
        budget = later.context.open_budget(10.0, 2.0)
        assert budget.set_aside([1.0]) == 0
        of_the_day, own = budget.exceeded(1.0), budget.exceeded(11.0)
        assert of_the_day.message.endswith("the budget of $2 a day ($1.25 spent or set aside in the last 24 hours)")
        assert of_the_day.hint.endswith("; raise budget.per_day, or run it again tomorrow"), "--max-cost does not help"
        assert own.message.endswith("the limit of $10 ($0 spent)")
        assert own.hint.endswith("; raise --max-cost, or run it again")


# -- a purse: many calls, few writes


def test_calls_that_wait_at_the_same_time_share_one_write() -> None:
    writes: list[Sequence[float]] = []

    def grant(_spent: float, _reserved: float, amounts: Sequence[float]) -> int:
        writes.append(list(amounts))
        return len(amounts)

    async def all_at_once() -> None:
        purse = BudgetReserver(budget, lambda: False)
        await asyncio.gather(*(purse.set_aside(0.5) for _ in range(20)))

    budget = a_budget(grant=grant)
    asyncio.run(all_at_once())
    assert writes == [[0.5] * 20]
    assert budget.reserved == 10


@pytest.mark.parametrize("granting", [True, False])
def test_who_is_refused_waits_for_what_is_in_flight_and_only_the_last_one_fails(*, granting: bool) -> None:
    budget = a_budget(1.0, grant=(lambda _spent, _reserved, amounts: len(amounts)) if granting else None)

    async def call(purse: BudgetReserver) -> None:
        await purse.set_aside(0.8)
        await asyncio.sleep(0)
        budget.settle(0.8, 0.1)

    async def calls() -> list[BaseException | None]:
        purse = BudgetReserver(budget, lambda: False)
        return await asyncio.gather(*(call(purse) for _ in range(8)), return_exceptions=True)

    ends = asyncio.run(calls())
    assert ends.count(None) == 3, "0.1, 0.2, 0.3: then the worst case has no more room"
    assert all(isinstance(end, dm.BudgetError) for end in ends if end)
    assert budget.spent == pytest.approx(0.3)


def test_what_the_budget_of_all_runs_refuses_is_said_to_be_that() -> None:
    budget = a_budget(9.0, per_day=5.0, grant=lambda *_: 0)
    with pytest.raises(dm.BudgetError, match=r"budget of \$5 a day"):
        asyncio.run(BudgetReserver(budget, lambda: False).set_aside(1.0))
    with pytest.raises(dm.BudgetError, match=r"limit of \$9"):
        asyncio.run(BudgetReserver(budget, lambda: False).set_aside(10.0))


def test_a_run_that_stops_waits_for_no_money() -> None:
    stop_control = StopControl()
    budget = a_budget(1.0, stop_control=stop_control)
    assert budget.set_aside([1.0]) == 1

    async def wait() -> None:
        waiting = asyncio.create_task(BudgetReserver(budget, lambda: budget.stopping).set_aside(1.0))
        await asyncio.sleep(0)
        stop_control.stop()
        budget.settle(1.0, 0.0)
        await waiting

    with pytest.raises(StoppingError):
        asyncio.run(wait())


def test_a_write_that_fails_is_told_to_all_who_wait_and_the_next_one_is_tried() -> None:
    fails = True

    def grant(_spent: float, _reserved: float, amounts: Sequence[float]) -> int:
        if fails:
            raise OSError("gone")
        return len(amounts)

    async def calls() -> list[BaseException | None]:
        nonlocal fails
        purse = BudgetReserver(budget, lambda: False)
        ends = await asyncio.gather(*(purse.set_aside(1.0) for _ in range(3)), return_exceptions=True)
        fails = False
        await purse.set_aside(1.0)
        return ends

    budget = a_budget(grant=grant)
    assert [str(end) for end in asyncio.run(calls())] == ["gone"] * 3
    assert budget.reserved == 1


def test_whoever_leaves_while_money_is_set_aside_leaves_none_behind() -> None:
    at_it, go_on = threading.Event(), threading.Event()

    def grant(_spent: float, _reserved: float, amounts: Sequence[float]) -> int:
        at_it.set()
        assert go_on.wait(PATIENCE)
        return len(amounts)

    async def leave() -> None:
        purse = BudgetReserver(budget, lambda: False)
        one = asyncio.create_task(purse.set_aside(1.0))
        await asyncio.to_thread(at_it.wait, 10)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        go_on.set()
        await purse.set_aside(2.0)

    budget = a_budget(grant=grant)
    asyncio.run(leave())
    assert budget.reserved == 2


def test_what_costs_nothing_writes_nothing() -> None:
    budget = a_budget(grant=lambda *_: pytest.fail("it was asked"))
    asyncio.run(BudgetReserver(budget, lambda: False).set_aside(0.0))


def test_sums_of_floating_point_numbers_fill_a_room_to_the_cent() -> None:
    assert number_that_fits([0.1] * 12, 1.0) == 10
    assert number_that_fits([0.1], 0.0999) == 0


# -- kills


def test_what_killed_runs_of_one_command_spent_bounds_the_next_and_is_counted_once(store: SqliteStore) -> None:
    for spent, before in ((3.0, 0.0), (1.0, 3.25), (0.5, 4.5)):
        run = store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "tester", "classify", dm.times.now()))
        assert run.spent == before
        store.runs.renew(dm.Lease(run.run_id, spent=spent, reserved=0.25))
        kill(store, dm.Lease(run.run_id))
    assert in_all(store) == 3.25 + 1.25 + 0.75
    last = a_run(store)
    assert store.runs.set_aside(last, [1.0, 1.0], 3.25 + 1.25 + 0.75 + 1.0) == 1, "what it inherited counts once"
    ended(store, last)
    assert store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "tester", "classify", dm.times.now())).spent == 0


@pytest.mark.parametrize(
    ("died", "next_one"),
    [
        (("tester", "classify", 60.0), ("another", "classify")),
        (("tester", "classify", 60.0), ("tester", "classify")),
        (("tester", "classify", 12 * 3600.0), ("tester", "classify")),
    ],
    ids=["of somebody else", "of the server", "of half a day ago"],
)
def test_what_a_killed_run_spent_is_no_other_command_s(
    store: SqliteStore, request: pytest.FixtureRequest, died: tuple[str, str, float], next_one: tuple[str, str]
) -> None:
    actor, words, seconds = died
    served = int("of the server" in request.node.name)
    run = store.runs.begin(dm.Run(dm.ids.new_id(), "classify", actor, words, dm.times.ago(seconds), served=served))
    store.runs.renew(dm.Lease(run.run_id, spent=3.0, reserved=0.0))
    kill(store, dm.Lease(run.run_id))
    assert store.runs.begin(dm.Run(dm.ids.new_id(), "classify", *next_one, dm.times.now(), served=served)).spent == 0
    assert in_all(store) == 3


def test_a_request_that_comes_again_goes_on_with_what_its_earlier_tries_have_spent(store: SqliteStore) -> None:
    def begun(parcel: str, spent: float = 0.0) -> dm.Run:
        request = dm.Run(
            dm.ids.new_id(), "run", "tester", "POST /x", dm.times.now(), spent=spent, parcel=parcel, served=1
        )
        return store.runs.begin(request)

    first = begun("p", spent=10.0)
    assert first.spent == 10, "what earlier requests of the command have spent"
    store.runs.end(replace(first, ended_at=dm.times.now(), spent=2.0))
    second = begun("p", spent=10.0)
    assert second.spent == 12
    store.runs.renew(dm.Lease(second.run_id, spent=1.0, reserved=0.5))
    kill(store, dm.Lease(second.run_id))
    assert begun("p", spent=10.0).spent == 13.5, "its calls may be billed"
    assert (begun("").spent, begun("q").spent) == (0, 0)


def test_a_limit_holds_over_any_number_of_kills(store: SqliteStore) -> None:
    for _ in range(4):
        run = store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "tester", "classify", dm.times.now()))
        budget = RunContext(store, run, StopControl()).open_budget(10.0, None)
        if budget.set_aside([4.0]):
            budget.settle(4.0, 4.0)
        with budget.recording(dm.Lease(run.run_id)) as lease:
            store.runs.renew(lease)
        kill(store, lease)
    assert budget.spent_by_command == in_all(store) == 8


def test_each_run_of_one_command_bears_its_own_cost_and_the_limit_holds_for_all(world: World) -> None:
    brought = 0.0
    for _ in range(3):
        with recorded_run(world.store, "eval", "tester", "eval", StopControl(), dm.InputPart(spent=brought)) as tally:
            budget = tally.context.open_budget(2.5, 100.0)
            if budget.set_aside([1.0]):
                with budget.recording(tally.context.lease) as lease:
                    assert (lease.spent, lease.reserved) == (0.0, 1.0)
                budget.settle(1.0, 1.0)
            brought = budget.spent_by_command
    assert [(run.spent, run.reserved) for run in world.store.runs.latest(None)] == [(0.0, 0.0), (1.0, 0.0), (1.0, 0.0)]


def test_a_kill_in_the_second_run_of_a_command_forgets_nothing_of_the_first(store: SqliteStore) -> None:
    with recorded_run(store, "eval", "tester", "eval", StopControl()) as tally:
        tally.context.open_budget(None, None).book(2.0)
    run = store.runs.begin(
        dm.Run(dm.ids.new_id(), "eval", "tester", "eval", dm.times.now(), spent=tally.context.budget.spent_by_command)
    )
    store.runs.renew(dm.Lease(run.run_id, spent=1.0, reserved=0.0))
    kill(store, dm.Lease(run.run_id))
    assert store.runs.begin(dm.Run(dm.ids.new_id(), "eval", "tester", "eval", dm.times.now())).spent == 3
    assert in_all(store) == 3


def test_what_is_in_flight_as_a_run_breaks_down_stays_on_its_account(store: SqliteStore) -> None:
    def breaks_down() -> None:
        with recorded_run(store, "classify", "tester", "classify", StopControl()) as tally:
            budget = tally.context.open_budget(None, None)
            assert budget.set_aside([1.0, 2.0, 4.0]) == 3
            budget.settle(4.0, 0.5)
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk"):
        breaks_down()
    assert booked(store) == [(3.5, 0.0)]


# -- what others settle


def test_what_others_put_on_a_run_s_account_outlasts_what_it_says_itself(store: SqliteStore) -> None:
    lease = a_run(store)
    store.runs.renew(replace(lease, spent=5.0, reserved=0.0))
    store.save(
        [dm.Change(an_event(a_ticket("1"), "returned"), adds=(dm.Spent(lease.run_id, 0.5, 2.0, dm.times.now()),))]
    )
    assert booked(store) == [(3.5, 0.0)]
    store.runs.renew(replace(lease, spent=6.0, reserved=0.5))
    assert booked(store) == [(4.5, 0.5)]
    store.runs.renew(lease)
    assert booked(store) == [(4.5, 0.5)]
    assert store.runs.set_aside(replace(lease, spent=6.0, reserved=0.5), [1.0, 1.0], 6.0) == 1
    store.runs.end(dm.Run(lease.run_id, "classify", "tester", "classify", "", ended_at=dm.times.now(), spent=7.0))
    assert booked(store) == [(5.5, 0.0)]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(0.00001, "$0.00001"), (0.5, "$0.5"), (5, "$5"), (0.12345, "$0.1235"), (12345.678, "$12345.68")],
)
def test_money_is_told_without_an_exponent(limit: float, expected: str) -> None:
    assert f"limit of {expected} ($0 spent)" in a_budget(limit).exceeded(2 * limit).message
