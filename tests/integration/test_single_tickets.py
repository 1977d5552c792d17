"""Single tickets of concurrent callers: few transactions, no run for each, and the records and guards of a run."""

import json
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.commands import PATIENCE, until
from tests.support.counted_anew import kept_and_anew
from tests.support.fake_destination import FakeDestination
from tests.support.records import replace
from tests.support.stored_tickets import POSTED, a_run, sql
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.service import Callers, request_id

BOTH = ("classify", "route")


def a_new_ticket(singles: Callers) -> dm.Ticket:
    ticket = singles.create(POSTED, "ada").value
    assert ticket
    return ticket


def events_of(world: World, ticket_id: str) -> list[tuple[str, str]]:
    return [(e.action, e.actor) for e in world.store.log.events(dm.EventQuery(ticket_id=ticket_id))]


ALL_STEPS = [(action, "ada") for action in ("created", "classified", "routed", "delivered")]


def test_one_call_records_what_three_calls_record(world: World, singles: Callers) -> None:
    stored, classified, routed = singles.process(POSTED, "ada", None, BOTH, dm.ClassifyPlan())
    assert stored.value
    assert classified
    assert classified.value
    assert routed
    assert routed.value
    ticket = a_new_ticket(singles)
    decided = singles.classify(ticket, dm.ClassifyPlan(), "ada")
    assert decided
    assert decided.value
    sent = singles.route(decided.value.ticket, "ada")
    assert sent
    assert sent.value
    once, thrice = (world.store.history(t) for t in (stored.value.ticket_id, ticket.ticket_id))
    for history in (once, thrice):
        assert [(e.action, e.actor) for e in history.events] == ALL_STEPS
        assert (history.ticket.status, history.ticket.routed_to, history.ticket.category) == (
            "routed", "outlet", "Billing",
        )  # fmt: skip
        assert [(a.actor, a.run_id) for a in history.classifications] == [("ada", once.events[1].run_id)]
        assert [(d.state, d.attempts, d.revision, d.run_id) for d in history.deliveries] == [("accepted", 1, 3, None)]
        assert history.deliveries[0].classification_id == history.classifications[0].classification_id
        assert len(history.attempts) == 1
    assert once.ticket.revision == thrice.ticket.revision == stored.value.revision
    assert (routed.value.ticket, routed.value.deliveries) == (once.ticket, once.deliveries)


def test_each_step_takes_one_transaction_and_a_delivery_another_and_no_run(
    world: World, singles: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    singles.process(POSTED, "ada", None, BOTH, dm.ClassifyPlan())  # begins what all share
    calls: Counter[str] = Counter()

    def counted(part: object, name: str) -> Any:
        real = getattr(part, name)

        def count(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return real(*args, **options)

        return count

    store = world.store
    for part, names in (
        (store, ("save",)),
        (store.runs, ("begin", "end", "claim", "hold", "renew")),
        (store.deliveries, ("due", "let_go", "switch")),
        (store.answers, ("record_asking",)),
    ):
        for name in names:
            monkeypatch.setattr(part, name, counted(part, name))
    threads = threading.active_count()
    ticket = a_new_ticket(singles)
    assert calls == {"save": 1}
    classified = singles.classify(ticket, dm.ClassifyPlan(), "ada")
    assert calls == {"save": 2}
    assert classified
    assert classified.value
    singles.route(classified.value.ticket, "ada")
    assert calls == {"save": 4}
    singles.process(POSTED, "ada", None, BOTH, dm.ClassifyPlan())
    assert calls == {"save": 8}
    assert threading.active_count() == threads


def test_its_run_is_recorded_once_and_ended(world: World, singles: Callers) -> None:
    for _ in range(3):
        singles.process(POSTED, "ada", None, BOTH, dm.ClassifyPlan())
    singles.close()
    (run,) = world.store.runs.latest(None)
    assert (run.kind, run.actor, run.command_line, run.exit_code) == ("serve", "serve", "POST /tickets", 0)
    assert (run.served, bool(run.ended_at)) == (1, True)
    assert run.counts == '{"classified":3,"created":3,"routed":3}'


def test_concurrent_callers_share_transactions_and_each_delivery_is_made_once(
    world: World, outlet: FakeDestination, singles: Callers
) -> None:
    def steps(number: int) -> str:
        actor = f"caller-{number % 3}"
        if number % 2:
            stored = singles.process(POSTED, actor, None, BOTH, dm.ClassifyPlan()).stored.value
            assert stored
            return stored.ticket_id
        ticket = singles.create(POSTED, actor).value
        assert ticket
        classified = singles.classify(ticket, dm.ClassifyPlan(), actor)
        assert classified
        assert classified.value
        singles.route(classified.value.ticket, actor)
        return ticket.ticket_id

    with ThreadPoolExecutor(8) as threads:
        ticket_ids = list(threads.map(steps, range(40)))
    for number, ticket_id in enumerate(ticket_ids):
        actor = f"caller-{number % 3}"
        assert events_of(world, ticket_id) == [(action, actor) for action, _ in ALL_STEPS]
    assert len(outlet.got) == len(set(outlet.got)) == 40
    kept, anew = kept_and_anew(world.store)
    assert kept == anew
    assert world.store.gauges().by_status == {"routed": 40}


def test_each_event_of_a_shared_transaction_names_its_own_request(world: World, singles: Callers) -> None:
    def serve(number: int) -> str:
        request_id.set(f"request-{number}")
        stored = singles.process(POSTED, f"caller-{number}", None, BOTH, dm.ClassifyPlan()).stored.value
        assert stored
        return stored.ticket_id

    with ThreadPoolExecutor(8) as threads:
        ticket_ids = list(threads.map(serve, range(24)))
    for number, ticket_id in enumerate(ticket_ids):
        events = list(world.store.log.events(dm.EventQuery(ticket_id=ticket_id)))
        assert {json.loads(event.detail)["request"] for event in events} == {f"request-{number}"}
        assert [(event.action, event.actor) for event in events] == [(a, f"caller-{number}") for a, _ in ALL_STEPS]


def test_a_ticket_that_many_classify_at_once_is_asked_about_once(world: World, singles: Callers) -> None:
    ticket = a_new_ticket(singles)
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(lambda _: singles.classify(ticket, dm.ClassifyPlan(), "ada"), range(8)))
    assert all(outcome and outcome.value and outcome.value.ticket.category == "Billing" for outcome in outcomes)
    history = world.store.history(ticket.ticket_id)
    assert history.ticket.revision == 2  # the others' answers came too late
    again = singles.classify(history.ticket, dm.ClassifyPlan(), "ada")
    assert again
    assert again.value
    assert (again.action, again.value.asked) == ("unchanged", False)


def test_a_verdict_stays_unless_forced(world: World, singles: Callers) -> None:
    ticket_id = a_new_ticket(singles).ticket_id
    list(world.triage("eve").give_verdicts([dm.VerdictDraft(0, ticket_id, "Technical")]))
    (ticket,) = world.store.find(dm.Selection(ids=(ticket_id,)))
    kept = singles.classify(ticket, dm.ClassifyPlan(), "ada")
    assert kept
    assert kept.value
    assert (kept.action, kept.value.ticket.category, kept.value.asked) == ("held", "Technical", False)
    forced = singles.classify(ticket, dm.ClassifyPlan(force=True), "ada")
    assert forced
    assert forced.value
    assert (forced.action, forced.value.ticket.category) == ("classified", "Billing")


def test_a_verdict_that_comes_meanwhile_holds(world: World, singles: Callers) -> None:
    ticket = a_new_ticket(singles)

    def overtaken(_: dm.Ticket) -> tuple[str, float]:
        list(world.triage("eve").give_verdicts([dm.VerdictDraft(0, ticket.ticket_id, "Technical")]))
        return "Billing", 0.9

    world.classifier = FakeClassifier(overtaken)
    late = singles.classify(ticket, dm.ClassifyPlan(), "ada")
    assert late
    assert late.value
    assert (late.action, late.value.ticket.category) == ("held", "Technical")
    assert events_of(world, ticket.ticket_id)[-1] == ("classified", "ada")


def test_a_ticket_is_classified_as_it_is_then(world: World, singles: Callers) -> None:
    ticket = a_new_ticket(singles)
    list(world.triage("eve").give_verdicts([dm.VerdictDraft(0, ticket.ticket_id, "Technical")]))
    held = singles.classify(ticket, dm.ClassifyPlan(), "ada")  # the caller read it before the verdict
    assert held
    assert held.value
    assert (held.action, held.value.asked) == ("held", False)
    assert events_of(world, ticket.ticket_id)[-1] == ("verdict", "eve")


def test_callers_go_on_while_the_destination_of_one_hangs(world: World) -> None:
    hanging, quick = FakeDestination("hanging"), FakeDestination("quick")
    hanging.hangs = True
    world.destinations = {"hanging": hanging, "quick": quick}
    world.rules = (dm.Rule("stuck", ("hanging",), {"customer_id": ("C-0",)}), dm.Rule("all", ("quick",)))
    singles = Callers(world.services())
    with ThreadPoolExecutor(1) as callers:
        stuck = callers.submit(
            singles.process, replace(POSTED, customer_id="C-0"), "ada", None, BOTH, dm.ClassifyPlan()
        )
        until(lambda: len(hanging.got) == 1, "the attempt")
        for _ in range(3):
            routed = singles.process(replace(POSTED, customer_id="C-1"), "ada", None, BOTH, dm.ClassifyPlan()).routed
            assert routed
            assert routed.action == "routed"
        assert not stuck.done()
        hanging.hangs = False
        assert stuck.result(PATIENCE).routed
    singles.close()


def test_a_ticket_that_changes_while_it_is_routed_is_decided_on_as_it_is_then(
    world: World, outlet: FakeDestination, singles: Callers
) -> None:
    draft = replace(POSTED, external_id="A-1")
    before = singles.create(draft, "ada").value
    assert before
    decided = singles.classify(before, dm.ClassifyPlan(), "ada")
    assert decided
    assert decided.value
    singles.create(replace(draft, priority="urgent"), "ada")
    routed = singles.route(decided.value.ticket, "ada")
    assert routed
    assert routed.value
    assert (routed.action, routed.value.ticket.status, routed.value.ticket.priority) == ("routed", "routed", "urgent")
    assert len(outlet.got) == 1
    assert [a for a, _ in events_of(world, before.ticket_id)] == [
        "created", "classified", "updated", "routed", "delivered",
    ]  # fmt: skip


def test_a_ticket_that_changes_at_every_try_is_left_to_others(
    world: World, outlet: FakeDestination, singles: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, tries = world.store.save, Counter[str]()

    def overtaken(changes: Sequence[dm.Change], *more: Any) -> Sequence[dm.Conflict | None]:
        tries.update(change.event.action for change in changes)
        if changes[0].event.action == "routed":
            return [dm.Conflict(changes[0].ticket)]
        return save(changes, *more)

    decided = singles.classify(a_new_ticket(singles), dm.ClassifyPlan(), "ada")
    assert decided
    assert decided.value
    monkeypatch.setattr(world.store, "save", overtaken)
    routed = singles.route(replace(decided.value.ticket, status="classified"), "ada")
    assert routed
    assert (routed.action, outlet.got) == ("held", [])
    assert 1 < tries["routed"] < 10


def test_an_unsure_answer_waits_for_a_person_and_is_sent_nowhere(
    world: World, outlet: FakeDestination, singles: Callers
) -> None:
    world.classifier = FakeClassifier(lambda _: ("Billing", 0.4))
    stored, classified, routed = singles.process(POSTED, "ada", None, BOTH, dm.ClassifyPlan())
    assert stored.value
    assert classified
    assert (stored.value.status, stored.value.suggestion, classified.action) == (
        "needs_review",
        "Billing",
        "needs_review",
    )
    assert routed is None
    refused = singles.route(stored.value, "ada")
    assert refused
    assert isinstance(refused.error, dm.NotClassifiedError)
    assert outlet.got == []


def test_a_ticket_without_a_rule_is_unroutable(world: World, outlet: FakeDestination) -> None:
    world.rules = (dm.Rule("technical", ("outlet",), {"category": ("Technical",)}),)
    singles = Callers(world.services())
    stored, _, routed = singles.process(POSTED, "ada", None, BOTH, dm.ClassifyPlan())
    singles.close()
    assert stored.value
    assert routed
    assert (stored.value.status, outlet.got) == ("unroutable", [])
    assert isinstance(routed.error, dm.NoRouteError)


def test_a_failed_attempt_is_due_later_and_held_by_nobody(
    world: World, outlet: FakeDestination, singles: Callers
) -> None:
    down = FakeDestination("outlet", lambda _: dm.DeliveryError("down"))
    world.destinations["outlet"] = down
    stored, _, routed = singles.process(POSTED, "ada", None, BOTH, dm.ClassifyPlan())
    assert stored.value
    assert routed
    assert routed.value
    (delivery,) = routed.value.deliveries
    assert (stored.value.status, delivery.state, delivery.attempts, delivery.run_id) == ("routing", "pending", 1, None)
    assert str(routed.error) == "down"
    assert singles.route(stored.value, "ada") is None  # what is due is sent by a run
    assert outlet.got == []


def test_a_destination_that_cannot_be_opened_leaves_the_delivery_to_the_next(
    world: World, outlet: FakeDestination, singles: Callers
) -> None:
    del world.destinations["outlet"]
    with pytest.raises(KeyError):
        singles.process(POSTED, "ada", None, BOTH, dm.ClassifyPlan())
    world.destinations["outlet"] = outlet
    singles.process(POSTED, "ada", None, BOTH, dm.ClassifyPlan())
    assert len(outlet.got) == 1
    singles.close()  # ends the run that held the other one
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    assert len(set(outlet.got)) == 2


def test_a_ticket_that_a_run_holds_is_left_to_it(world: World, singles: Callers) -> None:
    ticket = a_new_ticket(singles)
    lease = a_run(world.store)  # type: ignore[arg-type]
    world.store.runs.claim(dm.Selection(ids=(ticket.ticket_id,)), lease, 1)
    held = singles.classify(ticket, dm.ClassifyPlan(), "ada")
    assert held
    assert (held.action, world.classifier.asked) == ("held", [])
    sql(world.store, "update runs set lease_until = 1 where run_id = ?", (lease.run_id,))  # its time is up
    taken = singles.classify(ticket, dm.ClassifyPlan(), "ada")
    assert taken
    assert taken.action == "classified"


def test_a_repeated_call_finds_the_ticket_of_the_first(singles: Callers) -> None:
    first = singles.process(POSTED, "ada", "key:1", BOTH, dm.ClassifyPlan())
    again = singles.process(POSTED, "ada", "key:1", BOTH, dm.ClassifyPlan())
    assert first.stored.value
    assert again.stored.value
    assert (again.stored.action, again.classified) == ("unchanged", None)
    assert again.stored.value.ticket_id == first.stored.value.ticket_id


def test_of_two_at_once_with_one_external_id_one_is_stored(world: World, singles: Callers) -> None:
    draft = replace(POSTED, external_id="A-1")
    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(lambda _: singles.process(draft, "ada", None, BOTH, dm.ClassifyPlan()), range(8)))
    assert Counter(p.stored.action for p in done) == {"created": 1, "unchanged": 7}
    (ticket,) = world.store.find(dm.Selection())
    assert events_of(world, ticket.ticket_id) == ALL_STEPS


def test_a_ticket_that_fails_unexpectedly_fails_no_other_caller(
    world: World, singles: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, begun, gathered = world.store.save, threading.Event(), threading.Event()

    def held_up(changes: Sequence[dm.Change], *more: Any) -> Sequence[dm.Conflict | None]:
        if not begun.is_set():
            begun.set()
            assert gathered.wait(PATIENCE)
        if any(change.ticket and change.ticket.subject == "odd" for change in changes):
            raise TypeError("odd")
        return save(changes, *more)

    monkeypatch.setattr(world.store, "save", held_up)
    with ThreadPoolExecutor(5) as callers:
        first = callers.submit(singles.create, POSTED, "ada")
        assert begun.wait(PATIENCE)
        subjects = ("a", "odd", "b", "c")
        rest = {s: callers.submit(singles.create, replace(POSTED, subject=s), "ada") for s in subjects}
        until(lambda: singles.waiting == len(subjects), "the second chunk")
        gathered.set()
        assert first.result(PATIENCE).action == "created"
        with pytest.raises(TypeError):
            rest.pop("odd").result(PATIENCE)
        assert {call.result(PATIENCE).action for call in rest.values()} == {"created"}
