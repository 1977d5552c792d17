"""Which rule takes a ticket, and which deliveries a decision makes."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.records import replace
from triage_cli import domain as dm

# The extra of a mail whose text is left out from the fourth character on.
QUOTED = '{"mail":{"message_id":"<1@a>","left_out":[[3,11]]}}'


def a_ticket(**fields: Any) -> dm.Ticket:
    ticket = dm.Ticket(
        "0190-t", "1\timport", "import", "1", "hash", "Subject", "Text", "c1", "high", 1, None,
        "2024-01-01T00:00:00.000Z", category="Billing", confidence=0.8, status="classified",
    )  # fmt: skip
    return replace(ticket, **fields)


@pytest.mark.parametrize(
    ("when", "min_confidence", "fields", "holds"),
    [
        ({}, None, {}, True),
        ({"category": ("Billing", "General")}, None, {}, True),
        ({"category": ("General",)}, None, {}, False),
        ({"category": ("Billing",), "priority": ("urgent", "high")}, None, {}, True),
        ({"category": ("Billing",), "priority": ("urgent",)}, None, {}, False),
        ({"priority": ("normal",)}, None, {"priority": None}, False),
        ({"customer_id": ("c1",), "source": ("import",)}, None, {}, True),
        ({"external_id": ("1", "2")}, None, {}, True),
        ({"external_id": ("2",)}, None, {}, False),
        ({"source": ("jira",)}, None, {}, False),
        ({"extra.plan": ("gold", "silver")}, None, {"extra": '{"plan":"gold"}'}, True),
        ({"extra.plan": ("gold",)}, None, {"extra": '{"plan":"Gold"}'}, False),
        ({"extra.plan": ("gold",)}, None, {"extra": "{}"}, False),
        ({"extra.plan": ("null", "")}, None, {"extra": '{"plan":null}'}, False),
        ({"extra.a.b": ("1",)}, None, {"extra": '{"a.b":1,"a":{"b":2}}'}, True),
        ({"extra.vip": ("true",)}, None, {"extra": '{"vip":true}'}, True),
        ({"extra.tags": ("vip",)}, None, {"extra": '{"tags":["new","vip"]}'}, True),
        ({"extra.tags": ("vip",)}, None, {"extra": '{"tags":[null,"new"]}'}, False),
        ({"text": dm.Words(("outage",))}, None, {"subject": "OUTAGE!"}, True),
        ({"text": dm.Words(("outage",))}, None, {"description": "two outages"}, False),
        ({"text": dm.Words(("x", "cannot log in"))}, None, {"description": "We Cannot\n log  in"}, True),
        ({"subject": dm.Words(("text",))}, None, {}, False),
        ({"subject": dm.Words(("straße",))}, None, {"subject": "STRASSE 5"}, True),
        ({"text": dm.Words(("障害",))}, None, {"description": "重大障害発生"}, True),
        ({"text": dm.Words(("outage",))}, None, {"description": "系统outage了"}, True),
        ({"text": dm.Words(("out",))}, None, {"description": "out_of_office"}, False),
        ({"text": dm.Words(("c++",))}, None, {"description": "our C++code"}, True),
        ({"text": dm.Words(("café",))}, None, {"description": "cafe\u0301"}, True),
        ({"text": dm.Words(("outage",))}, None, {"description": "out\u200bage"}, True),
        ({"text": dm.Words(("outage",))}, None, {"subject": None, "description": None}, False),
        ({"text": dm.Words(("outage",))}, None, {"description": "Hi\n> outage", "extra": QUOTED}, False),
        ({"subject": dm.Match(r"INC-\d+")}, None, {"subject": "see INC-77"}, True),
        ({"subject": dm.Match(r"INC-\d+")}, None, {"subject": "inc-77", "description": "INC-77"}, False),
        ({"text": dm.Match(r"(?i)inc-\d+")}, None, {"description": "INC-77"}, True),
        ({"text": dm.Match("outage")}, None, {"description": "Hi\n> outage", "extra": QUOTED}, False),
        ({"extra.n": dm.Bounds(over=100)}, None, {"extra": '{"n":"100.5"}'}, True),
        ({"extra.n": dm.Bounds(over=100)}, None, {"extra": '{"n":100}'}, False),
        ({"extra.n": dm.Bounds(at_least=100, under=200)}, None, {"extra": '{"n":100}'}, True),
        ({"extra.n": dm.Bounds(at_most=-1.5)}, None, {"extra": '{"n":" -1.5 "}'}, True),
        ({"extra.n": dm.Bounds(over=0)}, None, {"extra": '{"n":"1,000"}'}, False),
        ({"extra.n": dm.Bounds(over=0)}, None, {"extra": '{"n":"1e5"}'}, False),
        ({"extra.n": dm.Bounds(over=0)}, None, {"extra": '{"n":true}'}, False),
        ({"extra.n": dm.Bounds(over=0)}, None, {"extra": '{"n":"2026-11-30"}'}, False),
        ({"extra.n": dm.Bounds(under=0)}, None, {"extra": "{}"}, False),
        ({"extra.n": dm.Bounds(over=0)}, None, {"extra": '{"n":["x",-1,5]}'}, True),
        ({"extra.n": dm.Bounds(over=0)}, None, {"extra": f'{{"n":1{"0" * 400}}}'}, True),
        ({"extra.due": dm.Bounds(under="2026-11-30T10:00:00+01:00")}, None, {"extra": '{"due":"2026-11-30"}'}, True),
        ({"extra.due": dm.Bounds(over="2026-11-30")}, None, {"extra": '{"due":"2026-11-30T00:00:01Z"}'}, True),
        ({"extra.due": dm.Bounds(over="2026-11-30")}, None, {"extra": '{"due":"soon"}'}, False),
        ({"extra.due": dm.Bounds(over="2026-11-30")}, None, {"extra": '{"due":5}'}, False),
        ({"verdict": (True,)}, None, {"verdict": 1}, True),
        ({"verdict": (True,)}, None, {}, False),
        ({"verdict": (False,)}, None, {}, True),
        ({}, 0.8, {}, True),
        ({}, 0.81, {}, False),
        ({}, 0.81, {"verdict": 1}, True),
        ({}, 0.0, {"confidence": None}, False),
    ],
)
def test_a_rule_holds_when_all_its_conditions_do(
    when: dict[str, dm.Condition], min_confidence: float | None, fields: dict[str, Any], *, holds: bool
) -> None:
    assert dm.routing_rules.holds(dm.Rule("r", ("box",), when, min_confidence), a_ticket(**fields)) is holds


def test_conditions_are_said_in_words() -> None:
    when: dict[str, dm.Condition] = {
        "text": dm.Words(("outage", "cannot log in")),
        "subject": dm.Match(r"INC-\d+"),
        "extra.n": dm.Bounds(over=1.5, at_most=9),
        "verdict": (False,),
        "language": (None, "de"),
        "urgency": (None,),
    }
    assert dm.routing_rules.conditions(dm.Rule("r", ("a",), when)) == (
        'text has "outage" or "cannot log in", subject matches INC-\\d+, extra.n is over 1.5 and at most 9, '
        "verdict is false, language is unclear or de, urgency is open"
    )


def test_the_first_rule_that_matches_wins() -> None:
    rules = [dm.Rule("no", ("a",), {"category": ("General",)}), dm.Rule("yes", ("b",)), dm.Rule("late", ("c",))]
    assert dm.routing_rules.match(rules, a_ticket()) is rules[1]
    assert dm.routing_rules.match(rules[:1], a_ticket()) is None
    assert dm.routing_rules.match([], a_ticket()) is None


def test_a_category_reaches_what_stands_before_a_rule_that_takes_all_of_it() -> None:
    rules = (
        dm.Rule("sure", ("a",), {"category": ("Billing",)}, 0.9),
        dm.Rule("gold", ("b", "a"), {"extra.plan": ("gold",)}),
        dm.Rule("rest", ("c",), {"category": ("Billing", "General")}),
        dm.Rule("never", ("d",), {"category": ("Billing",)}),
        dm.Rule("verdict", ("e",), {"verdict": (True,)}),
    )
    assert dm.routing_rules.reach(rules, "Billing") == ("Billing", rules[:3], True)
    assert dm.routing_rules.reach(rules, "Billing").destinations == ("a", "b", "c")
    assert dm.routing_rules.reach(rules, "Technical") == ("Technical", (rules[1], rules[4]), False)
    assert dm.routing_rules.reach((), "Technical") == ("Technical", (), False)


def needed_deliveries(
    existing: Sequence[dm.Delivery], *to: str, again: bool = False, category: str = "Billing"
) -> dm.routing.RoutingDecision:
    return dm.routing.needed_deliveries(
        a_ticket(category=category), dm.Rule("r", to or ("box",)), existing, again=again, config_hash="m", at="now",
        due_at=1.0, run_id="run",
    )  # fmt: skip


def a_delivery(destination: str, state: str, category: str = "Billing", nth: int = 0) -> dm.Delivery:
    """Return a delivery as an older version left it: nothing says what else was decided with it."""
    (made,) = needed_deliveries([], destination, category=category).new
    name = dm.ids.delivery_id("0190-t", category, destination, nth)
    return replace(made, state=state, delivery_id=name, run_id=None, revision=0, targets=None)


@pytest.mark.parametrize(
    ("existing", "to", "again", "new", "superseded", "status"),
    [
        ([], ("box",), False, ["box"], [], "routing"),
        ([], ("a", "b"), False, ["a", "b"], [], "routing"),
        ([("box", "accepted")], ("box",), False, [], [], "routed"),
        ([("box", "pending")], ("box",), False, [], [], "routing"),
        ([("box", "dead")], ("box",), False, [], [], "undeliverable"),
        ([("box", "superseded")], ("box",), False, ["box"], [], "routing"),
        ([("box", "accepted")], ("box",), True, ["box"], [], "routing"),
        ([("box", "pending")], ("box",), True, ["box"], ["box"], "routing"),
        ([("box", "dead")], ("box",), True, ["box"], ["box"], "routing"),
        ([("old", "pending")], ("box",), False, ["box"], ["old"], "routing"),
        ([("old", "dead")], ("box",), False, ["box"], ["old"], "routing"),
        ([("old", "accepted")], ("box",), False, ["box"], [], "routing"),
        ([("box", "accepted", "General")], ("box",), False, ["box"], [], "routing"),
        ([("box", "pending", "General")], ("box",), False, ["box"], ["box"], "routing"),
        ([("a", "accepted"), ("b", "dead")], ("a", "b"), False, [], [], "undeliverable"),
        ([("a", "accepted"), ("b", "dead")], ("a",), False, [], ["b"], "routed"),
        ([("a", "dead"), ("b", "pending")], ("a", "b"), False, [], [], "routing"),
        ([("a", "accepted"), ("b", "accepted", "General")], ("a",), False, ["a"], [], "routing"),
        ([("a", "accepted"), ("b", "superseded", "General")], ("a",), False, [], [], "routed"),
    ],
)
def test_what_a_destination_is_owed(
    existing: list[tuple[str, str]], to: tuple[str, ...], new: list[str], superseded: list[str], status: str, *,
    again: bool,
) -> None:  # fmt: skip
    deliveries = [a_delivery(*verdict) for verdict in existing]
    answer = needed_deliveries(deliveries, *to, again=again)
    assert [d.destination for d in answer.new] == new
    assert [d.destination for d in answer.superseded] == superseded
    assert {d.state for d in answer.superseded} <= {"superseded"}
    after = (*dm.with_changes(deliveries, answer.superseded), *answer.new)
    assert dm.routing.status_of(after, "Billing") == status


def test_an_id_from_before_a_category_was_renamed_is_not_given_again() -> None:
    (first,) = needed_deliveries([]).new
    renamed = replace(first, category="Money", state="accepted")
    (second,) = needed_deliveries([renamed]).new
    assert second.delivery_id != first.delivery_id
    (third,) = needed_deliveries([renamed, replace(second, state="accepted")], again=True).new
    assert third.delivery_id not in {first.delivery_id, second.delivery_id}


def test_a_delivery_s_id_is_that_of_ticket_category_destination_and_how_often_it_was_asked_for() -> None:
    (first,) = needed_deliveries([]).new
    assert first == needed_deliveries([]).new[0]
    assert re.fullmatch(r"msg_[0-9a-f]{32}", first.delivery_id)
    (second,) = needed_deliveries([replace(first, state="accepted")], again=True).new
    (other,) = needed_deliveries([replace(first, state="accepted")], category="General").new
    assert len({first.delivery_id, second.delivery_id, other.delivery_id}) == 3
    assert (first.replaces, second.replaces, other.replaces) == (None, first.delivery_id, first.delivery_id)


@pytest.mark.parametrize(
    ("existing", "is_renewed"),
    [
        ([("accepted", "earlier")], True),
        ([("accepted", "present")], False),
        ([("accepted", None)], False),  # of before texts were noted
        ([("pending", "earlier")], False),  # it is sent with the present text
        ([("dead", "earlier")], False),  # so it is, once it is tried again
        ([("accepted", "earlier"), ("dead", "present")], False),
        ([("accepted", "present"), ("accepted", "earlier")], True),  # the text came back
        ([("accepted", "earlier"), ("accepted", "present")], False),
    ],
)
def test_a_destination_with_on_change_again_gets_a_changed_text_once(
    existing: list[tuple[str, str | None]], *, is_renewed: bool
) -> None:
    ticket = a_ticket(category="Billing", content_hash="present")
    deliveries = [
        replace(a_delivery("box", state, nth=n), content_hash=text, revision=n)
        for n, (state, text) in enumerate(existing)
    ]

    def new(*renewed: str) -> tuple[dm.Delivery, ...]:
        return dm.routing.needed_deliveries(
            ticket, dm.Rule("r", ("box",)), deliveries, again=False, renewed=renewed, config_hash="m", at="now",
            due_at=1.0, run_id="run",
        ).new  # fmt: skip

    assert new() == new("another") == (), "by default it keeps what it has"
    assert [(d.replaces, d.content_hash) for d in new("box")] == (
        [(deliveries[-1].delivery_id, "present")] if is_renewed else []
    )


def test_only_what_was_accepted_with_another_text_is_outdated() -> None:
    ticket = a_ticket(category="Billing", content_hash="present")
    earlier, present = replace(a_delivery("a", "accepted"), content_hash="earlier"), a_delivery("b", "accepted")
    assert dm.outdated([earlier, replace(present, content_hash="present")], ticket) == ("a",)
    assert dm.outdated([replace(earlier, content_hash=None)], ticket) == ()
    for state, names in (("pending", ()), ("accepted", ()), ("dead", ("a",)), ("superseded", ("a",))):
        later = replace(a_delivery("a", state, nth=1), content_hash="present")
        assert dm.outdated([earlier, later], ticket) == names


DELIVERIES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["pending", "accepted", "dead", "superseded"]),
        st.sampled_from(["Billing", "General"]),
    ),
    max_size=6,
)


@settings(examples(40, 150), derandomize=True)
@given(DELIVERIES, st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, unique=True), st.booleans())
def test_after_any_decision_each_destination_has_its_delivery_and_ids_differ(
    decision: list[tuple[str, str, str]], to: list[str], again: bool
) -> None:
    existing = [
        a_delivery(d, state, category, sum((x, c) == (d, category) for x, _, c in decision[:n]))
        for n, (d, state, category) in enumerate(decision)
    ]
    answer = needed_deliveries(existing, *to, again=again)
    after = {d.delivery_id: d for d in (*existing, *answer.superseded, *answer.new)}
    assert len(after) == len(existing) + len(answer.new)
    for destination in to:
        standing = [d for d in after.values() if d.destination == destination and d.state != "superseded"]
        assert standing[-1].category == "Billing"
    assert not [d for d in after.values() if d.state in ("pending", "dead") and d.destination not in to]
    assert all(
        d.state in ("pending", "dead") for d in existing if d.delivery_id in {s.delivery_id for s in answer.superseded}
    )


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([], "routed"),
        (["accepted"], "routed"),
        (["superseded"], "routed"),
        (["accepted", "pending"], "routing"),
        (["dead", "pending"], "routing"),
        (["accepted", "dead"], "undeliverable"),
    ],
)
def test_the_status_of_deliveries(states: list[str], status: str) -> None:
    deliveries = [a_delivery("box", state) for state in states]
    assert dm.routing.status_of([*deliveries, a_delivery("box", "dead", "General")], "Billing") == status
