"""Deliveries beside the routing map, on every kind of store: each once a ticket, however many programs add them."""

import threading
from collections import Counter

import pytest

from tests.support.fake_destination import FakeDestination, drafts
from tests.support.records import replace
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.service import AdditionWatch

EVERYTHING = dm.Selection(limit=0)
WORDS = dm.AdditionRule(dm.AdditionKind.BEFORE, dm.Rule("routes[0]", ("pager",), {"text": dm.Words(("ticket 1",))}))
LATE = dm.AdditionRule(
    dm.AdditionKind.ESCALATION, dm.Rule("late", ("lead",), {"status": ("new", "routing"), "age": dm.Age(-1.0)})
)


@pytest.fixture
def desk(world: World) -> World:
    world.rules = (dm.Rule("rest", ("box",)),)
    world.destinations = {name: FakeDestination(name) for name in ("box", "pager", "lead")}
    return world


def got(world: World, name: str) -> list[str]:
    destination = world.destinations[name]
    assert isinstance(destination, FakeDestination)
    return destination.got


def added(world: World) -> Counter[str]:
    """Return how often deliveries were added for each ticket, as the log has it."""
    return Counter(event.ticket_id or "" for event in world.store.log.events(dm.EventQuery(actions=("added",))))


def test_several_programs_at_once_add_a_delivery_once(desk: World) -> None:
    desk.additions = (LATE,)
    list(desk.triage().route(EVERYTHING, dm.RoutePlan()))  # sees the rule
    list(desk.triage().create(drafts(150)))
    together = threading.Barrier(4)

    def route() -> None:
        triage = desk.triage()
        together.wait()
        list(triage.route(EVERYTHING, dm.RoutePlan()))

    threads = [threading.Thread(target=route) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got(desk, "lead")) == len(set(got(desk, "lead"))) == 150
    assert set(added(desk).values()) == {1}
    list(desk.triage().route(EVERYTHING, dm.RoutePlan()))
    assert len(got(desk, "lead")) == 150


def test_tickets_that_are_older_are_passed_over_until_an_import_changes_them(desk: World) -> None:
    list(desk.triage().create(drafts(3)))
    desk.additions = (WORDS, LATE)
    notes: list[str] = []
    desk.tell = notes.append
    for _ in range(2):
        list(desk.triage().route(EVERYTHING, dm.RoutePlan()))
    assert notes == [
        "note: routes[0] is new, and passes over 3 tickets that are older",
        "note: late is new, and passes over 3 tickets that are older",
    ]
    assert not added(desk)
    changed = [replace(draft, description="more") for draft in drafts(3)]
    list(desk.triage().create(changed))
    list(desk.triage().route(EVERYTHING, dm.RoutePlan()))
    assert len(got(desk, "pager")) == 1
    assert got(desk, "lead") == []


def test_a_page_goes_before_the_classification_and_the_ticket_its_own_way(desk: World) -> None:
    desk.additions = (WORDS,)
    handed: list[tuple[str, dm.Ticket]] = []

    def answer(ticket: dm.Ticket) -> tuple[str, float]:
        assert ticket.subject != "ticket 1" or len(got(desk, "pager")) == 1
        handed.append(("asked", ticket))
        return "Billing", 0.9

    desk.classifier._answer = answer
    outcomes = list(desk.triage().run(drafts(3), dm.ClassifyPlan()))
    assert [o.value.ticket.status for o in outcomes if o.value] == ["routed"] * 3
    assert len(got(desk, "pager")) == 1
    assert len(got(desk, "box")) == 3
    (paged,) = [o.value.ticket for o in outcomes if o.value and o.value.ticket.subject == "ticket 1"]
    kinds = {d.destination: (d.category, d.state) for d in desk.store.deliveries.of([paged.ticket_id])[paged.ticket_id]}
    assert kinds == {"pager": ("", "accepted"), "box": ("Billing", "accepted")}
    # A new category moves what was decided, and leaves what was added alone.
    desk.rules = (dm.Rule("other", ("lead",), {"category": ("General",)}), *desk.rules)
    list(desk.triage().give_verdicts([dm.VerdictDraft(0, paged.ticket_id, "General")]))
    list(desk.triage().route(dm.Selection(), dm.RoutePlan()))
    assert (len(got(desk, "pager")), len(got(desk, "lead"))) == (1, 1)


def test_what_never_met_run_or_route_before_is_paged_when_it_is_routed(desk: World) -> None:
    desk.additions = (WORDS,)
    list(desk.triage().route(EVERYTHING, dm.RoutePlan()))
    list(desk.triage().create(drafts(3)))
    list(desk.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(desk.triage().decide_routes(dm.Selection()))
    assert got(desk, "pager") == []
    list(desk.triage().route(EVERYTHING, dm.RoutePlan()))
    assert len(got(desk, "pager")) == 1


def test_a_dead_addition_changes_no_status(desk: World) -> None:
    desk.additions = (WORDS,)
    desk.destinations["pager"] = FakeDestination("pager", lambda _: dm.DeliveryError("no", final=True))
    notes: list[str] = []
    desk.tell = notes.append
    outcomes = list(desk.triage().run(drafts(2), dm.ClassifyPlan()))
    assert [(o.value.ticket.status, o.error) for o in outcomes if o.value] == [("routed", None)] * 2
    assert "warning: a delivery beside the routing map was not accepted: no" in notes


def test_a_model_that_is_down_holds_no_page_up(desk: World) -> None:
    desk.additions = (WORDS,)

    def down(_: dm.Ticket) -> tuple[str, float]:
        raise dm.UnavailableError("down")

    desk.classifier._answer = down
    with pytest.raises(dm.UnavailableError):
        list(desk.triage().run(drafts(3), dm.ClassifyPlan()))
    assert len(got(desk, "pager")) == 1
    assert set(desk.store.stats().by_status) == {"new"}


def test_a_server_finds_what_rules_add(desk: World) -> None:
    desk.additions = (WORDS, LATE)
    watch = AdditionWatch(desk.store, desk.services().routing_map)
    assert not watch.finds()
    list(desk.triage().create(drafts(2)))
    assert watch.finds()
    list(desk.triage().route(EVERYTHING, dm.RoutePlan()))
    assert not watch.finds()
