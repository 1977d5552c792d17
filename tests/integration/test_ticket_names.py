"""By which names tickets are found, and what events name."""

import pytest

from tests.support.use_cases import ALL, PLAN, a_draft, answering, classify, create, drafts, made
from tests.support.world import World
from triage_cli import domain as dm


def test_a_name_must_fit_exactly_one_ticket(world: World) -> None:
    one, two = made(world, 2)
    triage = world.triage()
    assert triage.resolve("1") == two.ticket_id
    assert triage.history(one.ticket_id[-8:]).ticket == one
    with pytest.raises(dm.NotFoundError, match='no ticket "nobody"'):
        triage.resolve("nobody")
    create(world, [a_draft(0, "1", source="jira", subject="Other")])
    with pytest.raises(dm.AmbiguousError, match='"1" names 2 tickets') as raised:
        triage.resolve("1")
    assert f"{two.ticket_id} (import 1)" in raised.value.message
    assert "ticket_id" in raised.value.hint


def test_the_next_step_names_a_ticket_by_a_name_that_no_other_has(world: World) -> None:
    answering(world, lambda _: ("Billing", 0.3))
    (ticket,) = made(world)
    classify(world)
    assert "triage verdict 0 CATEGORY" in world.triage().why(ticket.ticket_id).why[-1]
    create(world, [a_draft(0, source="jira", subject="Other")])
    assert f"triage verdict {ticket.ticket_id[-8:]} CATEGORY" in world.triage().why(ticket.ticket_id).why[-1]


def test_a_message_id_is_found_with_its_angle_brackets(world: World) -> None:
    create(world, [a_draft(0, "a1@mail.example", subject="Mail"), a_draft(1, "<kept>", subject="Other")])
    triage = world.triage()
    assert triage.resolve("<a1@mail.example>") == triage.resolve("a1@mail.example")
    assert triage.history("<kept>").ticket.external_id == "<kept>"  # one that is stored with them
    with pytest.raises(dm.NotFoundError, match=r'no ticket "<a2@mail\.example>"'):
        triage.resolve("<a2@mail.example>")


def test_events_name_actor_and_run(world: World) -> None:
    list(world.triage("ann").create(drafts(1)))
    list(world.triage("bob").classify(ALL, PLAN))
    events = list(world.triage().events(dm.EventQuery()))
    assert [(e.action, e.actor) for e in events] == [("created", "ann"), ("classified", "bob")]
    runs = world.store.database.read("select run_id from runs order by run_id")
    assert [(e.run_id,) for e in events] == runs
    assert isinstance(dm.Event("x", None, None, "a", "b").data, dict)
