"""The pure parts: routing, the hash chain, names, import decisions, order, and `why` in words."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.chain import first_break
from tests.support.examples import examples
from tests.support.world import FakeClassifier, World
from triage_cli.destinations.file import FileDestination
from triage_cli.domain import dedup, ids, routing, serialization, times
from triage_cli.domain.audit import hash_chain
from triage_cli.domain.audit.events import Event, EventQuery, LoggedEvent
from triage_cli.domain.chunks import chunked, in_order
from triage_cli.domain.decisions import ClassifyPlan
from triage_cli.domain.deliveries import Delivery, RoutePlan, Rule
from triage_cli.domain.exit_codes import EARLY_END
from triage_cli.domain.explanation import early_end
from triage_cli.domain.explanation.explain import explain
from triage_cli.domain.json_paths import has_place, lookup
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.runs import Run
from triage_cli.domain.tickets import URGENCY, Category, Selection, Ticket, TicketDraft
from triage_cli.domain.views import History
from triage_cli.service.verdicts import Verdicts

quick = settings(examples(40, 150), derandomize=True)
TEXTS = st.text(st.characters(exclude_categories=[]), max_size=20)  # halves of surrogate pairs too


def a_ticket(**fields: Any) -> Ticket:
    ticket = Ticket(
        "0190-t", "1\timport", "import", "1", "hash", "Subject", "Text", "c1", "high", 1, None,
        "2024-01-01T00:00:00.000Z", category="Billing", confidence=0.8, status="classified",
    )  # fmt: skip
    return ticket._replace(**fields)


# -- routing


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
    when: dict[str, tuple[str | bool, ...]], min_confidence: float | None, fields: dict[str, Any], *, holds: bool
) -> None:
    assert routing.holds(Rule("r", ("box",), when, min_confidence), a_ticket(**fields)) is holds


def test_the_first_rule_that_matches_wins() -> None:
    rules = [Rule("no", ("a",), {"category": ("General",)}), Rule("yes", ("b",)), Rule("late", ("c",))]
    assert routing.match(rules, a_ticket()) is rules[1]
    assert routing.match(rules[:1], a_ticket()) is None
    assert routing.match([], a_ticket()) is None


def test_a_category_reaches_what_stands_before_a_rule_that_takes_all_of_it() -> None:
    rules = (
        Rule("sure", ("a",), {"category": ("Billing",)}, 0.9),
        Rule("gold", ("b", "a"), {"extra.plan": ("gold",)}),
        Rule("rest", ("c",), {"category": ("Billing", "General")}),
        Rule("never", ("d",), {"category": ("Billing",)}),
        Rule("verdict", ("e",), {"verdict": (True,)}),
    )
    assert routing.reach(rules, "Billing") == ("Billing", rules[:3], True)
    assert routing.reach(rules, "Billing").destinations == ("a", "b", "c")
    assert routing.reach(rules, "Technical") == ("Technical", (rules[1], rules[4]), False)
    assert routing.reach((), "Technical") == ("Technical", (), False)


def needed_deliveries(
    existing: Sequence[Delivery], *to: str, again: bool = False, category: str = "Billing"
) -> routing.RoutingDecision:
    return routing.needed_deliveries(
        a_ticket(category=category), Rule("r", to or ("box",)), existing, again=again, config_hash="m", at="now",
        due_at=1.0, run_id="run",
    )  # fmt: skip


def a_delivery(destination: str, state: str, category: str = "Billing", nth: int = 0) -> Delivery:
    """Return a delivery as an older version left it: nothing says what else was decided with it."""
    (made,) = needed_deliveries([], destination, category=category).new
    name = ids.delivery_id("0190-t", category, destination, nth)
    return made._replace(state=state, delivery_id=name, run_id=None, revision=0, targets=None)


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
    deliveries = [a_delivery(*said) for said in existing]
    answer = needed_deliveries(deliveries, *to, again=again)
    assert [d.destination for d in answer.new] == new
    assert [d.destination for d in answer.superseded] == superseded
    assert {d.state for d in answer.superseded} <= {"superseded"}
    after = (*routing.with_changes(deliveries, answer.superseded), *answer.new)
    assert routing.status_of(after, "Billing") == status


def test_an_id_from_before_a_category_was_renamed_is_not_given_again() -> None:
    (first,) = needed_deliveries([]).new
    renamed = first._replace(category="Money", state="accepted")
    (second,) = needed_deliveries([renamed]).new
    assert second.delivery_id != first.delivery_id
    (third,) = needed_deliveries([renamed, second._replace(state="accepted")], again=True).new
    assert third.delivery_id not in {first.delivery_id, second.delivery_id}


def test_a_delivery_s_id_is_that_of_ticket_category_destination_and_how_often_it_was_asked_for() -> None:
    (first,) = needed_deliveries([]).new
    assert first == needed_deliveries([]).new[0]
    assert re.fullmatch(r"msg_[0-9a-f]{32}", first.delivery_id)
    (second,) = needed_deliveries([first._replace(state="accepted")], again=True).new
    (other,) = needed_deliveries([first._replace(state="accepted")], category="General").new
    assert len({first.delivery_id, second.delivery_id, other.delivery_id}) == 3
    assert (first.replaces, second.replaces, other.replaces) == (None, first.delivery_id, first.delivery_id)


DELIVERIES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["pending", "accepted", "dead", "superseded"]),
        st.sampled_from(["Billing", "General"]),
    ),
    max_size=6,
)


@quick
@given(DELIVERIES, st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, unique=True), st.booleans())
def test_after_any_decision_each_destination_has_its_delivery_and_ids_differ(
    said: list[tuple[str, str, str]], to: list[str], again: bool
) -> None:
    existing = [
        a_delivery(d, state, category, sum((x, c) == (d, category) for x, _, c in said[:n]))
        for n, (d, state, category) in enumerate(said)
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
    assert routing.status_of([*deliveries, a_delivery("box", "dead", "General")], "Billing") == status


# -- the hash chain


def chain_of(number: int) -> list[LoggedEvent]:
    events: list[LoggedEvent] = []
    prev = hash_chain.GENESIS
    for seq in range(1, number + 1):
        data = {"z": seq, "ä": ['quote " and \\', None, 0.1], "a": {"deep": True}}
        ticket = None if seq % 3 == 0 else f"ticket-{seq % 2}"
        event = Event("created", ticket, None if seq % 4 == 0 else "run-1", 'Ann "Ä" O\\Neil', f"2024-01-0{seq}", data)
        detail = hash_chain.canonical(data)
        link = hash_chain.link(prev, seq, event, detail)
        events.append(LoggedEvent(seq, event.at, event.action, ticket, event.actor, event.run_id, detail, prev, link))
        prev = link
    return events


def independent_break(records: Sequence[dict[str, Any]]) -> int | None:
    """Check a log as anybody could, from `triage logs -o jsonl` and the documented rule alone."""
    prev = "0" * 64
    for number, record in enumerate(records, 1):
        said = {k: v for k, v in record.items() if k not in ("prev", "hash")}
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(f"{prev}\n{text}".encode()).hexdigest()
        if record["seq"] != number or record["prev"] != prev or record["hash"] != digest:
            return number
        prev = digest
    return None


def replaced(event: LoggedEvent, field: str, value: object) -> LoggedEvent:
    return LoggedEvent(**(event._asdict() | {field: value}))


def verdicts(events: list[LoggedEvent]) -> tuple[int | None, int | None]:
    return first_break(events), independent_break([serialization.event_record(e) for e in events])


def test_a_whole_chain_has_no_break() -> None:
    assert verdicts(chain_of(9)) == (None, None)
    assert verdicts([]) == (None, None)


@settings(examples(100, 400), derandomize=True)
@given(st.data())
def test_any_one_change_of_a_log_is_found_where_it_was_made(data: st.DataObject) -> None:
    """Flip a letter of any field, delete, swap, insert, or cut off the beginning."""
    events = chain_of(8)
    kind = data.draw(st.sampled_from(["flip", "delete", "swap", "insert", "seq", "null"]))
    at = data.draw(st.integers(0, 7))
    if kind == "flip":
        field = data.draw(st.sampled_from(["timestamp", "action", "ticket_id", "actor", "run_id", "prev", "hash"]))
        text = getattr(events[at], field) or "x"
        place = data.draw(st.integers(0, len(text) - 1))
        letter = data.draw(st.sampled_from([c for c in '0aZä"\\' if c != text[place]]))
        was = getattr(events[at], field)
        events[at] = replaced(events[at], field, f"{text[:place]}{letter}{text[place + 1 :]}" if was else "x")
    elif kind == "null":
        field = data.draw(st.sampled_from(["ticket_id", "run_id"]))
        events[at] = replaced(events[at], field, None if getattr(events[at], field) else "null")
    elif kind == "seq":
        events[at] = events[at]._replace(seq=events[at].seq + data.draw(st.sampled_from([-1, 1, 10])))
    elif kind == "delete":
        at = data.draw(st.integers(0, 6))  # the last one is missed by nobody but a head kept elsewhere
        del events[at]
    elif kind == "swap":
        other = data.draw(st.integers(0, 7).filter(lambda n: n != at))
        events[at], events[other] = events[other], events[at]
        at = min(at, other)
    else:
        source = data.draw(st.integers(0, 7))
        events.insert(at, events[source]._replace(seq=at + 1))
        if source == at:  # a copy in front of itself is the thing itself; what follows is the surplus
            at += 1
    assert verdicts(events) == (at + 1, at + 1)


@settings(examples(40, 150), derandomize=True)
@given(st.data())
def test_any_letter_of_a_detail_counts(data: st.DataObject) -> None:
    events = chain_of(4)
    at = data.draw(st.integers(0, 3))
    text = events[at].detail
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from([c for c in "0 aä}" if c != text[place]]))
    events[at] = events[at]._replace(detail=f"{text[:place]}{letter}{text[place + 1 :]}")
    assert first_break(events) == at + 1


@pytest.mark.parametrize("renumbered", [True, False])
def test_a_gap_is_found_though_every_hash_fits_its_own_event(*, renumbered: bool) -> None:
    """Whoever takes an event out and mends the numbers, or the chain, but not both, is found."""
    one, two, three = chain_of(3)
    seq, prev = (2, three.prev) if renumbered else (3, one.hash)
    event = Event(three.action, three.ticket_id, three.run_id, three.actor, three.timestamp)
    forged = three._replace(seq=seq, prev=prev, hash=hash_chain.link(prev, seq, event, three.detail))
    assert hash_chain.holds(forged, prev, None)
    assert verdicts([one, forged]) == (2, 2)
    assert verdicts([one, two, three]) == (None, None)


def test_the_store_s_own_log_passes_the_independent_check(world: World) -> None:
    list(world.triage('Ann "Ä" \\').run([TicketDraft(0, 2, "Ü", "text", external_id="1")], ClassifyPlan()))
    records = [
        json.loads(serialization.to_json(serialization.event_record(e))) for e in world.store.events(EventQuery())
    ]
    assert len(records) == 3
    assert independent_break(records) is None


# -- names


def test_ids_are_uuids_of_version_7_that_sort_by_age_and_never_repeat() -> None:
    made = [ids.new_id() for _ in range(100_000)]
    assert len(set(made)) == 100_000
    assert made == sorted(made)
    shape = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(shape.fullmatch(i) for i in made)
    assert ids.is_ticket_id(made[0])
    assert len({ids.short(i) for i in made[:2000]}) == 2000


def test_ids_differ_over_threads() -> None:
    made: list[str] = []

    def work() -> None:
        mine = [ids.new_id() for _ in range(3000)]
        assert mine == sorted(mine)
        made.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 12_000


@pytest.mark.parametrize("text", ["", "12345", "ABC-7", "0" * 36, "a-b-c-d-" + "7" * 27])
def test_what_is_no_ticket_id(text: str) -> None:
    assert not ids.is_ticket_id(text)


def test_now_is_utc_with_milliseconds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", times.now())


@quick
@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_identities_of_different_kinds_never_meet(source: str, external: str, customer: str, content: str) -> None:
    named = ids.external_identity(source, external)
    unnamed = ids.content_identity(source, content, customer, None)
    assert "\t" in named
    assert "\t" not in unnamed
    assert named != unnamed


# -- imports


DRAFTS = st.builds(
    TicketDraft,
    cells=st.none(),
    row=st.just(0),
    line=st.just(2),
    subject=TEXTS | st.none(),
    description=TEXTS,
    customer_id=TEXTS | st.none(),
    priority=st.sampled_from(["low", "normal", "high", "urgent", None]),
    created_at=st.sampled_from([None, "2024-01-01T00:00:00Z"]),
    external_id=TEXTS | st.none(),
    extra=st.dictionaries(TEXTS, TEXTS | st.none() | st.integers(), max_size=3),
)


@quick
@given(DRAFTS)
def test_what_was_imported_says_nothing_new_and_can_be_stored(draft: TicketDraft) -> None:
    item = dedup.identify(draft)
    ticket = dedup.new_ticket(item, ids.new_id(), times.now(), None)
    assert dedup.updated_ticket(ticket, dedup.identify(draft)) is None
    assert dedup.identify(draft) == item
    for value in ticket:
        if isinstance(value, str):
            value.encode()
    json.loads(ticket.extra)
    assert ticket.urgency == URGENCY[draft.priority]


@quick
@given(DRAFTS, DRAFTS, st.booleans())
def test_an_update_changes_what_the_draft_says_and_nothing_else(old: TicketDraft, new: TicketDraft, held: bool) -> None:
    before = dedup.new_ticket(dedup.identify(old), ids.new_id(), times.now(), None)._replace(
        status="routed", category="Billing", confidence=0.9, verdict=int(held), revision=5
    )
    item = dedup.identify(new)
    after = dedup.updated_ticket(before, item)
    if after is None:
        assert item.content == before.content_hash
        return
    assert dedup.updated_ticket(after, item) is None, "twice is once"
    kept = ("ticket_id", "identity", "source", "external_id", "stored_at", "verdict", "routed_to", "cost_usd")
    assert [getattr(after, f) for f in kept] == [getattr(before, f) for f in kept]
    assert after.revision == 6
    rewritten = item.content != before.content_hash
    assert (after.status, after.category) == (("new", None) if rewritten and not held else ("routed", "Billing"))
    assert after.customer_id == (item.draft.customer_id or before.customer_id)
    assert dedup.changed_fields(before, after)


@pytest.mark.parametrize(
    ("met", "rewritten", "stops"), [(0, 0, False), (9, 9, False), (10, 5, False), (10, 6, True), (1000, 501, True)]
)
def test_when_an_import_is_doubted(met: int, rewritten: int, *, stops: bool) -> None:
    assert (dedup.RewriteGuard(met, rewritten).doubt("import") is not None) is stops


# -- order


@quick
@given(st.permutations(range(30)))
def test_outcomes_come_back_in_the_order_of_their_rows(rows: list[int]) -> None:
    assert [o.row for o in in_order(Outcome[int](row, Action.CREATED) for row in rows)] == list(range(30))


def test_order_is_given_as_soon_as_it_can_be() -> None:
    source = iter([1, 0, 3, 2])
    ordered = in_order(Outcome[int](row, Action.CREATED) for row in source)
    assert (next(ordered).row, next(ordered).row) == (0, 1)
    assert list(source) == [3, 2]


def test_rows_after_a_gap_still_come() -> None:
    assert [o.row for o in in_order(Outcome[int](row, Action.CREATED) for row in (5, 0, 3))] == [0, 3, 5]


def test_chunks_hold_everything_once_and_are_no_larger_than_asked() -> None:
    assert list(chunked(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunked([], 3)) == []


# -- why


ANSWERED = "fake (fake m) answered"
BECAUSE = "out of Billing, Technical, General, because of: because"


def story(world: World, ticket: Ticket, *, hide: bool = True) -> list[str]:
    """Tell why, with what differs from run to run made equal."""
    history: History = world.store.history(ticket.ticket_id)
    lines = [line.replace(ids.short(ticket.ticket_id), "IDIDIDID") for line in explain(history)]
    return [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME", line) for line in lines] if hide else lines


def stored(world: World, **fields: Any) -> Ticket:
    draft = TicketDraft(0, 2, "Refund", "Where is it?", external_id="T-1", cells=("",), **fields)
    (outcome,) = world.triage("ann").create([draft])
    assert outcome.value is not None
    return outcome.value


def classified(world: World, answer: Callable[[Ticket], tuple[str | None, float]]) -> None:
    world.classifier = FakeClassifier(answer)
    list(world.triage("cron").classify(Selection(), ClassifyPlan()))


def routed(world: World, folder: Path) -> None:
    world.destinations["box"] = FileDestination("box", folder / "box.jsonl", 7, (5.0,))
    world.rules = (Rule("all to the box", ("box",)),)
    list(world.triage("cron").route(Selection(), RoutePlan()))


def test_why_tells_of_a_routed_ticket(world: World, tmp_path: Path) -> None:
    ticket = stored(world)
    classified(world, lambda _: ("Billing", 0.9))
    routed(world, tmp_path)
    assert story(world, ticket) == [
        "T-1 · Refund · Billing at 0.90; routed",
        "TIME  stored from import, line 2, by ann",
        f"TIME  {ANSWERED} Billing at 0.90, {BECAUSE}; its threshold of 0.60 is reached, so it holds",
        "TIME  rule all to the box sent it to box (map map-1)",
        "TIME  box accepted it at the first attempt",
        "Next: nothing; it is where it belongs.",
    ]


def test_why_tells_of_a_ticket_that_needs_review(world: World) -> None:
    ticket = stored(world)
    classified(world, lambda _: ("General", 0.55))
    assert story(world, ticket)[0] == "T-1 · Refund · no category; the best guess is General at 0.55; needs review"
    assert story(world, ticket)[-2:] == [
        f"TIME  {ANSWERED} General at 0.55, {BECAUSE}; below its threshold of 0.60, so a person decides",
        "Next: a person decides: triage verdict T-1 CATEGORY, or triage review.",
    ]


def test_why_shows_how_far_a_confidence_is_below_a_threshold_that_rounds_to_the_same(world: World) -> None:
    ticket = stored(world)
    classified(world, lambda _: ("General", 0.5977))
    assert story(world, ticket)[-2].endswith("; 0.598 is below its threshold of 0.600, so a person decides")


def test_why_names_a_ticket_as_it_can_be_typed(world: World) -> None:
    history = world.store.history(stored(world).ticket_id)
    review = history.ticket._replace(status="needs_review")
    for named, typed in (
        ("T-1", "T-1"),
        (None, "IDIDIDID"),
        ("-f", "IDIDIDID"),
        ("a b", "IDIDIDID"),
        ("$x", "IDIDIDID"),
    ):
        *_, last = explain(history._replace(ticket=review._replace(external_id=named)))
        told = f"Next: a person decides: triage verdict {typed} CATEGORY, or triage review."
        assert last.replace(ids.short(review.ticket_id), "IDIDIDID") == told


def test_why_tells_when_a_delivery_is_due(world: World, tmp_path: Path) -> None:
    ticket = stored(world)
    classified(world, lambda _: ("Billing", 0.9))
    (tmp_path / "box.jsonl").mkdir()  # so that it cannot be written
    routed(world, tmp_path)
    history = world.store.history(ticket.ticket_id)
    (delivery,) = history.deliveries
    *_, last = explain(history._replace(deliveries=(delivery._replace(due_at=1_800_000_000.5),)))
    assert last == "Next: triage route delivers what is due (box after 1 attempt, due at 2027-01-15 08:00:00Z)."


def test_why_tells_each_failed_attempt_with_its_own_error(world: World, tmp_path: Path) -> None:
    ticket = stored(world)
    classified(world, lambda _: ("Billing", 0.9))
    (tmp_path / "box.jsonl").mkdir()
    routed(world, tmp_path)
    world.store.database.write(lambda db: db.execute("update deliveries set due_at = 0"))
    (tmp_path / "a file").touch()
    routed(world, tmp_path / "a file")
    assert [line for line in story(world, ticket) if "did not take it" in line] == [
        f"TIME  box did not take it at the first attempt: cannot append to {tmp_path}/box.jsonl: Is a directory",
        f"TIME  box did not take it at the second attempt: cannot append to {tmp_path}/a file/box.jsonl: File exists",
    ]


@pytest.mark.parametrize(
    ("code", "reason", "following"),
    [
        (1, "ended with an unexpected error", "triage classify asks about it; if that ends so again, run it with -v"),
        (4, "ended because a key was missing or refused", "triage doctor tells which key is missing or wrong; then tr"),
        (6, "ended because a provider or the disk was unavailable", "triage doctor tells whether everything answers"),
        (7, "ended because the next call might have passed its", "triage classify asks about it, as far as the budget"),
        (130, "was interrupted", "triage classify asks about it."),
        (143, "was terminated", "triage classify asks about it."),
        (137, "was killed", "triage classify asks about it."),
    ],
)
def test_why_tells_of_a_run_that_ended_early_and_what_to_do(
    world: World, code: int, reason: str, following: str
) -> None:
    history = world.store.history(stored(world).ticket_id)
    run = Run("0" * 28 + "1234ABCD", "classify", "cron", "", "2026-01-02T03:04:05.6Z", exit_code=code)
    *_, told, last = explain(history._replace(ended_early=run))
    at = "2026-01-02 03:04:05Z"
    assert told.startswith(f"{at}  triage classify (run 1234ABCD, begun at {at}) {reason}")
    assert told.endswith(f"before it was done with this ticket (exit code {code})")
    assert last.startswith(f"Next: {following}")


def test_why_names_the_run_that_is_at_work_on_a_ticket(world: World) -> None:
    history = world.store.history(stored(world).ticket_id)
    run = Run("0" * 28 + "1234ABCD", "classify", "cron", "", "2026-01-02T03:04:05.6Z")
    held = "Next: triage classify (run 1234ABCD, begun at 2026-01-02 03:04:05Z) is at work on it."
    assert list(explain(history._replace(holder=run)))[-1] == held
    failed = history.ticket._replace(status="failed", failures=1, error="refused")
    *_, last = explain(history._replace(ticket=failed))
    assert last == "Next: the next triage classify asks again (it failed once: refused)."


def test_each_exit_code_of_an_early_end_has_its_sentence() -> None:
    assert early_end.REASONS.keys() == EARLY_END


def test_a_used_up_budget_keeps_no_classified_ticket_from_its_destination(world: World) -> None:
    history = world.store.history(stored(world).ticket_id)
    run = Run(ids.new_id(), "run", "cron", "", times.now(), ended_at=times.now(), exit_code=7)
    classified = history._replace(ticket=history.ticket._replace(status="classified"), ended_early=run)
    assert list(explain(classified))[-1] == "Next: triage route sends it on."


def test_why_tells_of_verdicts(world: World) -> None:
    ticket = stored(world, verdict="Technical")
    stored(world, verdict="General")
    assert story(world, ticket) == [
        "T-1 · Refund · General, decided by a person; classified",
        "TIME  stored from import, line 2, by ann",
        "TIME  the input gave the verdict Technical",
        "TIME  imported again by ann",
        "TIME  the input gave the verdict General",
        "Next: triage route sends it on.",
    ]


def test_why_does_not_say_that_a_late_answer_holds(world: World) -> None:
    ticket = stored(world)

    def answer(_: Ticket) -> tuple[str | None, float]:
        stored(world, verdict="General")
        return "Billing", 0.9

    classified(world, answer)
    told = story(world, ticket)
    assert told[0] == "T-1 · Refund · General, decided by a person; classified"
    assert told[-2].endswith("; that came late: the ticket had changed meanwhile, so it changed nothing")
    assert not any("so it holds" in line for line in told)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.0.id", 360012),
        ("a.360012.value", "x"),
        ("a.1.value", "y"),
        ("a.7.value", "y"),
        ("a.9.value", None),
        ("b.key", None),
        ("c", None),
    ],
)
def test_a_path_picks_by_key_by_index_and_else_by_id(path: str, value: object) -> None:
    assert lookup({"a": [{"id": 360012, "value": "x"}, {"id": "7", "value": "y"}], "b": ["key"]}, path) == value


DOTTED = {"fields": {"System.Title": "t", "Team": {"Rev": 3}, "Custom.Area": [{"id": "7", "v.w": "x"}]}, "a.b": None}


@pytest.mark.parametrize(
    ("path", "value", "has"),
    [
        ("fields.System.Title", "t", True),
        ("fields.Team.Rev", 3, True),
        ("fields.Custom.Area.7.v.w", "x", True),
        ("fields.Custom.Area.0.v.w", "x", True),
        ("a.b", None, True),
        ("fields.System.State", None, False),
        ("fields.Custom", None, False),
        ("fields.Custom.Area.9.v.w", None, False),
        ("a.b.c", None, False),
    ],
)
def test_a_key_of_a_path_may_hold_dots(path: str, value: object, has: bool) -> None:
    """As `System.Title` of Azure DevOps, and `caller_id.email` of ServiceNow."""
    assert (lookup(DOTTED, path), has_place(DOTTED, path)) == (value, has)


def test_a_category_is_known_by_its_name_however_its_letters_are_encoded() -> None:
    composed, decomposed = "St\u00f6rungen", "Sto\u0308rungen"  # the second as macOS writes it
    assert Verdicts([Category(composed)], "").category(f" {decomposed.upper()} ") == composed
    assert Verdicts([Category(decomposed)], "").category(composed) == decomposed
