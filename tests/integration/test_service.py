"""The use cases over a real store, also with several callers at the same time."""

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.chain import first_break
from tests.support.world import FakeClassifier, World
from triage_cli.classifiers.cascade import Cascade
from triage_cli.destinations.command import CommandDestination
from triage_cli.destinations.file import FileDestination
from triage_cli.domain import chunks, ids, times
from triage_cli.domain.audit.events import Event, EventQuery
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.decisions import Answer, ClassifyPlan, Decided
from triage_cli.domain.deliveries import OutgoingDelivery, Receipt, Routed, RoutePlan, Rule
from triage_cli.domain.errors import (
    AmbiguousError,
    AnswerError,
    DeliveryError,
    InputError,
    NotFoundError,
    RowError,
    UnavailableError,
)
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.runs import Lease, Run
from triage_cli.domain.sources import SourceCursor
from triage_cli.domain.tickets import Rejected, Selection, Ticket, TicketDraft, VerdictDraft
from triage_cli.runtime import occurrence_counter
from triage_cli.runtime.budget import Budget
from triage_cli.runtime.stop import StopControl
from triage_cli.service.intake.identities import foreseen
from triage_cli.stores.sqlite.store import SqliteStore

PLAN = ClassifyPlan()
ALL = Selection()


def a_draft(row: int, external_id: str | None = "", **fields: Any) -> TicketDraft:
    """Return row number `row` of a table; its id is that number unless another, or None, is given."""
    said: dict[str, Any] = {"subject": f"Subject {row}", "description": "Text"} | fields
    named = str(row) if external_id == "" else external_id
    return TicketDraft(row=row, line=row + 2, external_id=named, cells=(str(row),), **said)


def drafts(number: int, **fields: Any) -> list[TicketDraft]:
    return [a_draft(row, **fields) for row in range(number)]


def dids(outcomes: Iterable[Outcome[Any]]) -> list[str]:
    return [o.action for o in outcomes]


def create(world: World, rows: Iterable[TicketDraft | Rejected]) -> list[Outcome[Ticket]]:
    return list(world.triage().create(rows))


def made(world: World, number: int = 1, **fields: Any) -> list[Ticket]:
    outcomes = create(world, drafts(number, **fields))
    assert dids(outcomes) == ["created"] * number
    return [o.value for o in outcomes if o.value]


def classify(world: World, *tickets: Ticket, plan: ClassifyPlan = PLAN) -> list[Outcome[Decided]]:
    selection = Selection(ids=tuple(t.ticket_id for t in tickets)) if tickets else ALL
    return list(world.triage().classify(selection, plan))


def route(world: World, *tickets: Ticket, **plan: Any) -> list[Outcome[Routed]]:
    selection = Selection(ids=tuple(t.ticket_id for t in tickets)) if tickets else ALL
    return list(world.triage().route(selection, RoutePlan(**plan)))


def run(world: World, rows: Iterable[TicketDraft | Rejected]) -> list[Outcome[Routed]]:
    return list(world.triage().run(rows, PLAN))


def now(world: World, ticket: Ticket) -> Ticket:
    (found,) = world.store.find(Selection(ids=(ticket.ticket_id,)))
    return found


def statuses(world: World) -> dict[str | None, str]:
    return {t.external_id: t.status for t in world.store.find(ALL)}


def actions(world: World) -> list[str]:
    return [e.action for e in world.store.events(EventQuery())]


def log_is_whole(world: World) -> bool:
    return first_break(world.store.events(EventQuery())) is None


def last_run(world: World) -> tuple[str, int | None, dict[str, int]]:
    said = "select kind, exit_code, counts from runs order by run_id desc limit 1"
    kind, code, counts = world.store.database.read(said)[0]
    return kind, code, json.loads(counts)


def held(world: World) -> int:
    number: int = world.store.database.read("select count(*) from claims")[0][0]
    return number


# -- create


def test_the_same_import_again_changes_nothing_and_logs_nothing(world: World) -> None:
    rows = [*drafts(600, priority="high", extra={"Kanal": "web"}), a_draft(600, None), a_draft(601, None)]
    assert dids(create(world, rows)) == ["created"] * 602
    before, tickets = actions(world), list(world.store.find(ALL))
    again = create(world, rows)
    assert dids(again) == ["unchanged"] * 602
    assert [o.row for o in again] == list(range(602))
    assert actions(world) == before == ["created"] * 602
    assert list(world.store.find(ALL)) == tickets
    assert last_run(world) == ("create", 0, {"unchanged": 602})


def test_other_fields_update_in_place_and_keep_the_decision(world: World) -> None:
    made(world)
    classify(world)
    (outcome,) = create(world, [a_draft(0, priority="urgent", customer_id="c1")])
    assert outcome.action == "updated"
    ticket = outcome.value
    assert ticket is not None
    assert (ticket.status, ticket.category, ticket.priority, ticket.urgency) == ("classified", "Billing", "urgent", 0)
    event = list(world.store.events(EventQuery()))[-1]
    assert json.loads(event.detail)["fields"] == ["customer_id", "priority"]
    assert dids(create(world, [a_draft(0)])) == ["unchanged"], "a column that an export lacks changes nothing"


def test_another_text_makes_a_ticket_new_again(world: World) -> None:
    (ticket,) = made(world)
    classify(world)
    assert dids(create(world, [a_draft(0, description="Another text")])) == ["updated"]
    after = now(world, ticket)
    assert (after.status, after.category, after.confidence, after.decision_id) == ("new", None, None, None)
    assert dids(classify(world)) == ["classified"]
    assert world.classifier.asked == [ticket.ticket_id] * 2


def test_another_text_leaves_a_verdict_in_force(world: World) -> None:
    (ticket,) = made(world, verdict="General")
    assert dids(create(world, [a_draft(0, description="Another text")])) == ["updated"]
    after = now(world, ticket)
    assert (after.status, after.category, after.verdict, after.description) == (
        "classified", "General", 1, "Another text",
    )  # fmt: skip
    assert classify(world) == []


def test_a_repeated_id_is_unchanged_with_the_same_text_and_rejected_with_another(world: World) -> None:
    rows = [a_draft(0, "7", subject="A"), a_draft(1, "7", subject="A"), a_draft(2, "7", subject="B")]
    outcomes = create(world, rows)
    assert dids(outcomes) == ["created", "unchanged", "rejected"]
    assert outcomes[2].error is not None
    assert outcomes[2].error.message == 'line 4: the id "7" is already in this input, with another text'
    assert outcomes[2].error.hint == "if this column holds no ids, write --map external_id= with nothing behind it"
    assert outcomes[0].value == outcomes[1].value
    assert actions(world) == ["created"]
    assert last_run(world) == ("create", 3, {"created": 1, "rejected": 1, "unchanged": 1})


@pytest.mark.parametrize("in_memory", [50_000, 300])
def test_a_repeated_id_is_noticed_however_far_away(
    world: World, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    """Also where identities have gone to the disk meanwhile."""
    monkeypatch.setattr(occurrence_counter, "IN_MEMORY", in_memory)
    rows = drafts(chunks.CHUNK + 300)
    at = len(rows)
    rows += [a_draft(at, "3", subject="Subject 3"), a_draft(at + 1, "700", subject="Other"), a_draft(at + 2, None)]
    rows += [a_draft(at + 3, None, subject=f"Subject {at + 2}")]
    assert dids(create(world, rows))[at:] == ["unchanged", "rejected", "created", "created"]
    assert dids(create(world, rows)) == ["unchanged"] * (at + 1) + ["rejected"] + ["unchanged"] * 2


def test_rows_without_an_id_are_known_by_content_and_how_often_it_came(world: World) -> None:
    once, twice = a_draft(0, None, subject="A"), a_draft(1, None, subject="A")
    assert dids(create(world, [once])) == ["created"]
    assert dids(create(world, [once, twice])) == ["unchanged", "created"]
    assert dids(create(world, [once, twice])) == ["unchanged"] * 2
    assert dids(create(world, [once._replace(customer_id="other")])) == ["created"]
    assert dids(create(world, [once._replace(source="other")])) == ["created"]
    assert world.store.stats().tickets == 4


def test_the_same_id_of_another_source_is_another_ticket(world: World) -> None:
    assert dids(create(world, [a_draft(0), a_draft(1, "0", source="jira")])) == ["created"] * 2


def test_an_id_that_this_store_made_is_that_ticket(world: World) -> None:
    one, two = made(world, 2)
    rows = [
        a_draft(0, one.ticket_id, subject="Changed"),
        a_draft(1, two.ticket_id, subject=two.subject, source="export"),
        a_draft(2, ids.new_id()),
    ]
    outcomes = create(world, rows)
    assert dids(outcomes) == ["updated", "unchanged", "created"]
    assert [o.value.ticket_id for o in outcomes[:2] if o.value] == [one.ticket_id, two.ticket_id]
    assert now(world, one).subject == "Changed"


def test_a_typed_ticket_is_always_a_new_one_unless_its_external_id_is_known(world: World) -> None:
    typed = TicketDraft(subject="Same", description="Text", origin="typed")
    create(world, [a_draft(0, None, subject="Same")])
    assert dids(create(world, [typed]) + create(world, [typed])) == ["created"] * 2
    named = typed._replace(external_id="X-1")
    assert dids(create(world, [named]) + create(world, [named])) == ["created", "unchanged"]
    assert world.triage().resolve("X-1") == create(world, [named])[0].value.ticket_id  # type: ignore[union-attr]


@pytest.mark.parametrize("field", ["external_id", "customer_id"])
def test_an_id_that_no_index_can_hold_is_its_row_s_own_matter(world: World, field: str) -> None:
    dice = random.Random(7)  # a text that cannot be compressed
    name = "".join(chr(dice.randrange(0x4E00, 0x9FFF)) for _ in range(3000))

    def named(length: int) -> dict[str, Any]:
        return {field: name[:length]}

    rows = [a_draft(n)._replace(**named(length)) for n, length in enumerate((666, 667, 3000, 1))]
    outcomes = list(world.triage().create(rows))
    assert [outcome.action.value for outcome in outcomes] == ["created", "rejected", "rejected", "created"]
    assert [outcome.action for outcome in foreseen(rows, None)] == [outcome.action for outcome in outcomes]
    error = outcomes[2].error
    assert error is not None
    assert error.message == f'line {rows[2].line}: {field} has more than 2,000 bytes: "{name[:80]}…"'


def test_rejected_rows_stand_in_their_place(world: World) -> None:
    bad = Rejected(1, 3, RowError("line 3: no text"))
    outcomes = create(world, [a_draft(0), bad, a_draft(2)])
    assert [(o.row, o.action) for o in outcomes] == [(0, "created"), (1, "rejected"), (2, "created")]
    assert outcomes[1].error is bad.error


def test_an_input_of_rejected_rows_only_or_of_none_is_fine(world: World) -> None:
    assert dids(create(world, [Rejected(0, 2, RowError("no text"))])) == ["rejected"]
    assert create(world, []) == []
    assert last_run(world) == ("create", 0, {})


def test_an_import_of_other_tickets_under_known_ids_stops_before_it_stores(world: World) -> None:
    made(world, 12)
    before = list(world.store.find(ALL))
    others = [a_draft(row, description=f"Quite another {row}") for row in range(20)]
    with pytest.raises(InputError, match='12 of 12 tickets of source "import"'):
        create(world, others)
    assert list(world.store.find(ALL)) == before
    assert last_run(world)[1] == 2
    assert dids(create(world, [o._replace(source="other") for o in others])) == ["created"] * 20


def test_up_to_half_of_the_known_texts_may_change(world: World) -> None:
    made(world, 12)
    edited = [a_draft(row, description="Edited" if row < 6 else "Text") for row in range(12)]
    assert Counter(dids(create(world, edited))) == {"updated": 6, "unchanged": 6}
    few = [a_draft(row, description="Edited again") for row in range(9)]
    assert dids(create(world, few)) == ["updated"] * 9, "of so few no share says anything"


def test_what_was_stored_before_an_import_stops_is_told(world: World) -> None:
    number = chunks.CHUNK + 20
    create(world, [a_draft(row) for row in range(chunks.CHUNK, number)])
    others = [d if d.row < chunks.CHUNK else d._replace(description="Other") for d in drafts(number)]
    told: list[Outcome[Ticket]] = []
    with pytest.raises(InputError):
        told.extend(world.triage().create(others))
    assert dids(told) == ["created"] * chunks.CHUNK
    assert Counter(dids(create(world, drafts(number)))) == {"unchanged": number}


def test_texts_that_no_database_takes_are_mended(world: World) -> None:
    (outcome,) = create(world, [a_draft(0, "\ud800", subject="half \udc00", extra={"x": "\ud83d"})])
    assert outcome.action == "created"
    assert now(world, outcome.value).subject == "half ?"  # type: ignore[arg-type]
    assert dids(create(world, [a_draft(0, "\ud800", subject="half \udc00", extra={"x": "\ud83d"})])) == ["unchanged"]


def test_two_imports_of_the_same_rows_at_once_make_no_twins(world: World) -> None:
    gate = threading.Barrier(3)

    def work(_: int) -> list[Outcome[Ticket]]:
        gate.wait()
        return create(world, [*drafts(1200), a_draft(1200, "5", subject="Subject 5")])

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(work, range(3)))
    assert world.store.stats().tickets == 1200
    assert sum(dids(outcomes).count("created") for outcomes in done) == 1200
    here = {t.ticket_id for t in world.store.find(ALL)}
    for outcomes in done:
        assert {o.value.ticket_id for o in outcomes if o.value} == here
        assert outcomes[1200].value == outcomes[5].value
    assert log_is_whole(world)


class Rival(SqliteStore):
    """A store in which somebody else is faster: before the first save of tickets, theirs are stored."""

    def __init__(self, path: str, theirs: Sequence[TicketDraft]) -> None:
        super().__init__(path)
        self._theirs = list(theirs)

    def save(
        self, changes: Sequence[Change], lease: Lease | None = None, cursor: SourceCursor | None = None
    ) -> list[Conflict | None]:
        if self._theirs:
            theirs, self._theirs = self._theirs, []
            create(World(SqliteStore(self.path)), theirs)
        return super().save(changes, lease, cursor)


def test_a_lost_race_is_decided_again_and_every_row_names_a_ticket_that_exists(tmp_path: Path) -> None:
    store = Rival(str(tmp_path / "triage.db"), [a_draft(0), a_draft(1, subject="Theirs")])
    outcomes = create(World(store), [a_draft(0), a_draft(1), a_draft(2, "0", subject="Subject 0"), a_draft(3)])
    assert dids(outcomes) == ["unchanged", "updated", "unchanged", "created"]
    tickets = {t.external_id: t for t in store.find(ALL)}
    assert [o.value and o.value.ticket_id for o in outcomes] == [tickets[i].ticket_id for i in ("0", "1", "0", "3")]
    assert tickets["1"].subject == "Subject 1"


def test_a_verdict_column_owns_its_tickets(world: World) -> None:
    rows = [a_draft(0, verdict=" billing "), a_draft(1, verdict="Bilingual"), a_draft(2, verdict="zzz"), a_draft(3)]
    outcomes = create(world, rows)
    assert dids(outcomes) == ["created", "rejected", "rejected", "created"]
    assert outcomes[1].error is not None
    assert (
        outcomes[1].error.sentence()
        == 'line 3: no category "Bilingual"; did you mean "Billing"? the categories are Billing, Technical, General'
    )
    assert outcomes[2].error is not None
    assert outcomes[2].error.hint == "the categories are Billing, Technical, General"
    ticket = outcomes[0].value
    assert ticket is not None
    assert (ticket.category, ticket.verdict, ticket.status, ticket.confidence_source) == (
        "Billing", 1, "classified", "human",
    )  # fmt: skip
    assert [c.actor for c in world.store.history(ticket.ticket_id).classifications] == ["tester"]
    assert [t.ticket_id for t in world.store.find(Selection(statuses=frozenset({"new"})))] == [
        outcomes[3].value.ticket_id  # type: ignore[union-attr]
    ]
    assert dids(create(world, rows)) == ["unchanged", "rejected", "rejected", "unchanged"]
    assert dids(create(world, [a_draft(0, verdict="General")])) == ["updated"]
    assert now(world, ticket).category == "General"


def test_a_note_that_cannot_be_stored_as_it_is_is_no_other_note_when_it_comes_again(world: World) -> None:
    made(world)
    draft = VerdictDraft(0, "0", "Billing", "the till\0 is \ud800 broken")
    given = [outcome for _ in range(2) for outcome in world.triage().give_verdicts([draft])]
    assert [outcome.action for outcome in given] == ["verdict", "unchanged"]
    assert given[1].value is not None
    assert given[1].value.reason == "the till\ufffd is ? broken"


def test_an_export_that_says_the_same_again_is_no_later_word_than_a_person_s(world: World) -> None:
    def exported(category: str) -> tuple[str, str | None, int]:
        [outcome] = create(world, [a_draft(0, verdict=category)])
        assert outcome.value is not None
        return outcome.action, outcome.value.category, outcome.value.verdict

    def person(category: str | None) -> None:
        list(world.triage().give_verdicts([VerdictDraft(0, "0", category, "so it is" if category else None)]))

    assert exported("Billing") == ("created", "Billing", 1)
    person("Technical")
    assert exported("Billing") == ("unchanged", "Technical", 1)
    assert exported("General") == ("updated", "General", 1), "a word that has changed is a later one"
    last = json.loads(list(world.store.events(EventQuery()))[-1].detail)
    assert (last["verdict"], last["was"]) == ("General", "Technical"), "and it is told whose place it takes"
    told = (
        "the input gave the verdict General instead of Technical: it says something else than before a person decided"
    )
    assert world.triage().why("0").why[-2].endswith(told)
    assert "General, decided by a person;" in world.triage().why("0").why[0], "whoever decided Technical did not"
    person("Technical")
    assert exported("Technical") == ("updated", "Technical", 1), "it is kept that it says so now"
    [ticket] = world.store.find(ALL)
    assert ticket.reason == "so it is", "and the person's word stays"
    person("Billing")
    assert exported("Technical") == ("unchanged", "Billing", 1)
    person(None)
    assert exported("Technical") == ("unchanged", None, 0), "taken back is a word too"
    assert exported("General") == ("updated", "General", 1)
    assert log_is_whole(world)


def test_an_export_comes_after_a_person_who_was_there_before_it(world: World) -> None:
    create(world, [a_draft(0)])
    list(world.triage().give_verdicts([VerdictDraft(0, "0", "Technical")]))
    outcomes = create(world, [a_draft(0, verdict="Billing")]) + create(world, [a_draft(0, verdict="Billing")])
    assert [(o.action, o.value and o.value.category) for o in outcomes] == [
        ("updated", "Technical"), ("unchanged", "Technical"),
    ]  # fmt: skip
    [told] = [line for line in world.triage().why("0").why if "the input gave the category" in line]
    assert told.endswith("the input gave the category Billing; the verdict of a person stays")
    [outcome] = create(world, [a_draft(0, verdict="General")])
    assert (outcome.action, outcome.value and outcome.value.category) == ("updated", "General")


# -- classify


def answering(world: World, answer: Callable[[Ticket], tuple[str | None, float]], fingerprint: str = "fake-1") -> None:
    world.classifier = FakeClassifier(answer, fingerprint)


def test_a_sure_answer_holds_and_an_unsure_one_is_a_suggestion(world: World) -> None:
    sure, unsure, none = made(world, 3)
    answers: dict[str, tuple[str | None, float]] = {
        sure.ticket_id: ("Billing", 0.6), unsure.ticket_id: ("General", 0.59), none.ticket_id: (None, 0.0),
    }  # fmt: skip
    answering(world, lambda t: answers[t.ticket_id])
    outcomes = classify(world)
    assert [(o.row, o.action) for o in outcomes] == [(0, "classified"), (1, "needs_review"), (2, "needs_review")]
    assert all(o.value and o.value.asked and o.value.now for o in outcomes)
    held_, guessed, abstained = (now(world, t) for t in (sure, unsure, none))
    assert (held_.status, held_.category, held_.suggestion) == ("classified", "Billing", None)
    assert (guessed.status, guessed.category, guessed.suggestion) == ("needs_review", None, "General")
    assert (abstained.status, abstained.category, abstained.suggestion) == ("needs_review", None, None)
    assert held(world) == 0
    assert last_run(world) == ("classify", 0, {"classified": 1, "needs_review": 2})
    assert world.store.history(sure.ticket_id).questions["fake-1"].kind == "fake"


class FailingClassifier(FakeClassifier):
    """Cannot answer tickets with these external ids."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def classify(self, chunks: Iterable[Sequence[Ticket]], _a: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        for chunk in chunks:
            yield [
                Outcome(n, Action.FAILED, None, AnswerError("it timed out"), t)
                if t.external_id in self.names
                else self._one(n, t)
                for n, t in enumerate(chunk)
            ]


def test_a_ticket_that_fails_is_asked_again_and_goes_to_a_person_after_three_runs(world: World) -> None:
    fails, works = made(world, 2)
    world.classifier = FailingClassifier("0")
    outcomes = classify(world)
    assert dids(outcomes) == ["failed", "classified"]
    assert outcomes[0].error is not None
    assert outcomes[0].error.message == f"{ids.short(fails.ticket_id)}: it timed out"
    assert last_run(world)[1] == 3
    assert (now(world, fails).status, now(world, fails).error) == ("failed", "it timed out")
    assert dids(classify(world)) == ["failed"]
    assert dids(classify(world)) == ["needs_review"]
    assert classify(world) == []
    assert (now(world, fails).failures, now(world, works).status) == (3, "classified")
    answering(world, lambda _: ("General", 0.9))
    assert dids(classify(world, fails)) == ["classified"]
    assert (now(world, fails).failures, now(world, fails).error) == (0, None)


def test_a_label_outside_the_list_is_never_stored(world: World) -> None:
    (ticket,) = made(world)
    answering(world, lambda _: ("Sales", 0.99))
    assert dids(classify(world)) == ["failed"]
    history = world.store.history(ticket.ticket_id)
    assert (history.ticket.status, history.ticket.category, history.ticket.suggestion) == ("failed", None, None)
    assert [c.category for c in history.classifications] == [None]
    assert history.ticket.error == "fake answered a category that is not in the list"


def test_a_failure_does_not_take_a_verdict_away_even_with_force(world: World) -> None:
    (ticket,) = made(world, verdict="General")
    world.classifier = FailingClassifier("0")
    assert dids(classify(world, ticket, plan=ClassifyPlan(force=True))) == ["failed"]
    after = now(world, ticket)
    assert (after.status, after.category, after.verdict) == ("classified", "General", 1)


class Meanwhile(FakeClassifier):
    """Lets something happen while it thinks."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self._happens = happens

    def _one(self, n: int, ticket: Ticket) -> Outcome[Answer]:
        self._happens()
        return super()._one(n, ticket)


def test_a_verdict_given_while_the_classifier_thinks_is_not_overwritten(world: World) -> None:
    (ticket,) = made(world)
    world.classifier = Meanwhile(lambda: create(world, [a_draft(0, verdict="General")]))
    (outcome,) = classify(world)
    assert outcome.action == "held"
    assert outcome.value is not None
    assert (outcome.value.ticket.category, outcome.value.ticket.verdict) == ("General", 1)
    history = world.store.history(ticket.ticket_id)
    assert (history.ticket.category, history.ticket.verdict, history.ticket.run_id) == ("General", 1, None)
    assert [c.category for c in history.classifications] == ["General", "Billing"], "the late answer is kept"
    assert json.loads(history.events[-1].detail)["outcome"] == "late"
    assert log_is_whole(world)


def test_an_unchanged_ticket_is_not_asked_again(world: World) -> None:
    tickets = made(world, 3)
    classify(world)
    events = len(actions(world))
    outcomes = classify(world, *tickets)
    assert dids(outcomes) == ["unchanged"] * 3
    assert not any(o.value and o.value.asked for o in outcomes)
    assert len(world.classifier.asked) == 3
    assert len(actions(world)) == events
    assert held(world) == 0
    answering(world, lambda _: ("General", 0.9), "fake-2")
    assert dids(classify(world, *tickets)) == ["classified"] * 3, "another question is asked"
    assert len(world.classifier.asked) == 3


def test_force_asks_again_and_overrules_a_verdict(world: World) -> None:
    settled, ruled = made(world, 2)
    create(world, [a_draft(1, verdict="General")])
    classify(world, settled)
    assert dids(classify(world, settled, ruled)) == ["unchanged", "held"]
    outcomes = classify(world, settled, ruled, plan=ClassifyPlan(force=True))
    assert dids(outcomes) == ["classified"] * 2
    assert (now(world, ruled).category, now(world, ruled).verdict) == ("Billing", 0)
    overruling = "that overrules the verdict General, as --force demands"
    assert world.triage().why(ruled.ticket_id).why[-2].endswith(overruling)
    assert overruling not in "".join(world.triage().why(settled.ticket_id).why)


def test_a_ticket_named_twice_is_asked_about_and_delivered_once(world: World, tmp_path: Path) -> None:
    (ticket,) = made(world)
    assert dids(classify(world, ticket, ticket)) == ["classified"]
    assert world.classifier.asked == [ticket.ticket_id]
    lines = to_file(world, tmp_path)
    assert dids(route(world, ticket, ticket)) == ["routed"]
    assert len(lines()) == 1


def test_tickets_that_another_run_holds_are_left_to_it(world: World) -> None:
    mine, theirs = made(world, 2)
    other = Lease(world.store.begin(Run(ids.new_id(), "classify", "other", "", times.now())).run_id)
    world.store.claim(Selection(ids=(theirs.ticket_id,)), other, 1)
    assert {o.row: o.action for o in classify(world, mine, theirs)} == {0: "classified", 1: "held"}
    assert world.classifier.asked == [mine.ticket_id]
    assert now(world, theirs) == theirs


def test_classify_goes_urgent_first_then_oldest_and_stops_at_its_limit(world: World) -> None:
    create(world, [a_draft(row, priority="urgent" if row == 3 else None) for row in range(5)])
    done = list(world.triage().classify(Selection(limit=3), PLAN))
    assert [o.value.ticket.external_id for o in done if o.value] == ["3", "0", "1"]
    assert Counter(statuses(world).values()) == {"classified": 3, "new": 2}


def test_stop_ends_a_run_between_chunks_and_frees_the_rest(world: World) -> None:
    made(world, chunks.CHUNK + 600)
    world.classifier.chunk_size = 100
    triage = world.triage()
    number = 0
    for number, _ in enumerate(triage.classify(ALL, PLAN), 1):
        if number == 3:
            triage.stop()
    held_at_once = 2 * world.classifier.chunk_size
    left = chunks.CHUNK + 600 - held_at_once
    assert number == held_at_once
    assert Counter(statuses(world).values()) == {"classified": held_at_once, "new": left}
    assert held(world) == 0
    assert dids(classify(world)) == ["classified"] * left


class FirstStep(FakeClassifier):
    """A local step, whose chunks are large; it keeps the sizes of the chunks that it gets."""

    def __init__(self, *, sure: Callable[[Ticket], bool]) -> None:
        super().__init__(lambda ticket: ("Billing", 0.9 if sure(ticket) else 0.1))
        self.sizes: list[int] = []

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        for chunk in chunks:
            self.sizes.append(len(chunk))
            yield from super().classify([chunk], budget)


@pytest.mark.sqlite
@pytest.mark.parametrize("is_named", [False, True])
@pytest.mark.parametrize("unsure", [0, 300, 1500])
def test_a_cascade_claims_few_tickets_at_once_while_a_further_step_is_asked(
    world: World, unsure: int, is_named: bool
) -> None:
    """Answers of a further step take long, and another run shares the work; those of a local one take no time."""
    tickets = made(world, 1500)
    first, last = FirstStep(sure=lambda t: int(t.external_id or 0) >= unsure), FakeClassifier(fingerprint="fake-2")
    last.chunk_size = 16
    world.classifier = Cascade("both", (first, last))  # type: ignore[assignment]
    classify(world, *tickets if is_named else ())
    assert set(statuses(world).values()) == {"classified"}
    sizes = [size for size in first.sizes if size]
    assert sizes[0] == 32
    if unsure:
        assert max(sizes[: unsure // 64]) <= 64
    if unsure < 1500 and not is_named:
        assert max(sizes) >= 400


def test_stop_ends_an_import_and_keeps_what_was_read(world: World) -> None:
    triage = world.triage()

    def rows() -> Iterator[TicketDraft]:
        for row in range(10_000):
            if row == 700:
                triage.stop()
            yield a_draft(row)

    assert dids(triage.create(rows())) == ["created"] * 700
    assert world.store.stats().tickets == 700


@pytest.mark.parametrize("kind", ["create", "classify", "run", "route"])
def test_a_caller_that_leaves_early_ends_the_run_and_frees_its_tickets(world: World, kind: str) -> None:
    world.rules = ()
    if kind != "create":
        made(world, 1200)
    if kind == "route":
        classify(world)
    triage = world.triage()
    starts: dict[str, Callable[[], Iterator[Any]]] = {
        "create": lambda: triage.create(drafts(1200)),
        "classify": lambda: triage.classify(ALL, PLAN),
        "run": lambda: triage.run(drafts(1200), PLAN),
        "route": lambda: triage.route(ALL, RoutePlan()),
    }
    started = starts[kind]()
    next(started)
    assert isinstance(started, Generator)
    started.close()
    assert last_run(world)[:2] == (kind, 130)
    assert held(world) == 0
    assert world.store.database.read("select count(*) from runs where ended_at is null") == [(0,)]
    assert log_is_whole(world)


class Broken(FakeClassifier):
    """Answers one chunk, then its provider is gone or it has a bug."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        source = iter(chunks)
        yield from super().classify([next(source)], budget)
        next(source)
        raise self._error


@pytest.mark.parametrize(
    ("error", "code"),
    [(UnavailableError("gone"), 6), (ZeroDivisionError(), 1), (KeyboardInterrupt(), 130)],
)
def test_what_stops_a_run_keeps_what_finished_and_leaves_the_rest_new(
    world: World, error: BaseException, code: int
) -> None:
    made(world, 500)
    world.classifier = Broken(error)
    world.classifier.chunk_size = 100
    with pytest.raises(type(error)):
        classify(world)
    held_at_once = 2 * world.classifier.chunk_size
    assert Counter(statuses(world).values()) == {"classified": held_at_once, "new": 500 - held_at_once}
    assert held(world) == 0
    assert last_run(world)[:2] == ("classify", code)


class Interrupted(SqliteStore):
    """A store whose save is interrupted by Ctrl-C or breaks at the given call, before or after it is done."""

    def __init__(self, path: str, at: int, error: BaseException, *, after: bool) -> None:
        super().__init__(path)
        self._left = at
        self._error = error
        self._after = after

    def save(
        self, changes: Sequence[Change], lease: Lease | None = None, cursor: SourceCursor | None = None
    ) -> list[Conflict | None]:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise self._error
        answer = super().save(changes, lease, cursor)
        if self._left == 0:
            raise self._error
        return answer


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), UnavailableError("the disk is full")])
@pytest.mark.parametrize("at", [1, *(pytest.param(n, marks=pytest.mark.long) for n in (2, 5)), 3, 6])
def test_an_interruption_at_any_save_loses_and_doubles_nothing(
    tmp_path: Path, at: int, error: BaseException, *, after: bool
) -> None:
    """The same command again finishes the work: every ticket once in the store, once in the file or told again."""
    number = chunks.CHUNK + 50
    rows = drafts(number)
    broken = World(Interrupted(str(tmp_path / "triage.db"), at, error, after=after))
    to_file(broken, tmp_path)
    with pytest.raises(type(error)):
        run(broken, rows)
    assert held(broken) == 0
    assert log_is_whole(broken)
    again = World(SqliteStore(broken.store.path))
    lines = to_file(again, tmp_path)
    outcomes = run(again, rows)
    assert [o.row for o in chunks.in_order(outcomes)] == list(range(number))
    route(again)
    assert set(statuses(again).values()) == {"routed"}
    assert len(statuses(again)) == number
    assert len({line["delivery_id"] for line in lines()}) == number
    assert log_is_whole(again)


# -- run


class Slow(FakeClassifier):
    """Keeps every answer back until it has taken several chunks, as calls in flight do."""

    def classify(self, chunks: Iterable[Sequence[Ticket]], _a: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        waiting: list[Ticket] = []
        for chunk in chunks:
            waiting += chunk
            yield []
        while waiting:
            yield [self._one(n, ticket) for n, ticket in enumerate(waiting[:90])]
            del waiting[:90]


@pytest.mark.parametrize("classifier", [FakeClassifier, Slow])
def test_run_gives_a_row_for_every_row_in_order(world: World, tmp_path: Path, classifier: type[FakeClassifier]) -> None:
    lines = to_file(world, tmp_path)
    rows: list[TicketDraft | Rejected] = [*drafts(1200)]
    rows[7] = Rejected(7, 9, RowError("line 9: no text"))
    rows[1100] = a_draft(1100, verdict="General")
    rows[1150] = a_draft(1150, "3", subject="Subject 3")
    rows[4] = a_draft(4, "3", subject="Subject 3")
    world.classifier = classifier()
    outcomes = list(chunks.in_order(run(world, rows)))
    assert [o.row for o in outcomes] == list(range(1200))
    assert Counter(dids(outcomes)) == {"created": 1197, "rejected": 1, "unchanged": 2}
    tickets = [o.value.ticket if o.value else None for o in outcomes]
    assert [t.status for t in tickets if t] == ["routed"] * 1199
    assert tickets[3] is not None
    assert {t.ticket_id for t in (tickets[3], tickets[4], tickets[1150]) if t} == {tickets[3].ticket_id}
    assert len(world.classifier.asked) == len(set(world.classifier.asked)) == 1196
    assert len(lines()) == 1197
    assert held(world) == 0


def test_run_again_does_only_what_is_left(world: World, tmp_path: Path) -> None:
    lines = to_file(world, tmp_path)
    run(world, drafts(30))
    events = actions(world)
    outcomes = run(world, drafts(40))
    assert Counter(dids(outcomes)) == {"unchanged": 30, "created": 10}
    assert all(o.value and o.value.ticket.status == "routed" for o in outcomes)
    assert len(world.classifier.asked) == len(lines()) == 40
    assert len(actions(world)) == len(events) + 40


def test_run_takes_over_what_a_dead_run_held(world: World, tmp_path: Path) -> None:
    lines = to_file(world, tmp_path)
    dead = world.store.begin(Run(ids.new_id(), "run", "tester", "", times.now()))
    (ticket,) = made(world)
    world.store.claim(ALL, Lease(dead.run_id), 10)
    (outcome,) = run(world, drafts(1))
    assert outcome.value is not None
    assert outcome.value.ticket.status == "new", "while it lives, it is left to it"
    world.store.database.write(
        lambda db: db.execute("update runs set lease_until = 0 where run_id = ?", (dead.run_id,))
    )
    (outcome,) = run(world, drafts(1))
    assert outcome.value is not None
    assert outcome.value.ticket.status == now(world, ticket).status == "routed"
    assert len(lines()) == 1


def test_run_tells_of_what_needs_a_person_fails_or_has_no_route(world: World) -> None:
    world.rules = (Rule("none", ("box",), {"category": ("Technical",)}),)
    answers: dict[str | None, tuple[str | None, float]] = {"0": ("Billing", 0.9), "1": ("Billing", 0.1)}

    class Mixed(FailingClassifier):
        def _one(self, n: int, ticket: Ticket) -> Outcome[Answer]:
            self._answer = lambda t: answers[t.external_id]
            return super()._one(n, ticket)

    world.classifier = Mixed("2")
    outcomes = run(world, drafts(3))
    assert [o.value.ticket.status if o.value else None for o in outcomes] == ["unroutable", "needs_review", "failed"]
    assert [o.error.code if o.error else None for o in outcomes] == ["unroutable", None, "no_answer"]
    assert last_run(world)[:2] == ("run", 3)


# -- route


def to_file(world: World, folder: Path, name: str = "box") -> Callable[[], list[Any]]:
    """Route everything to a file, and return what reads its lines."""
    path = folder / f"{name}.jsonl"
    world.destinations[name] = FileDestination(name, path, 7, (5.0,))
    world.rules = (*world.rules, Rule(f"to {name}", (name,)))
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]


class Box:
    """A destination that keeps what it takes, and fails as it is told."""

    def __init__(self, world: World, name: str, *, max_attempts: int = 3) -> None:
        self.name = name
        self.workers = 16
        self.max_attempts = max_attempts
        self.schedule: tuple[float, ...] = (10.0, 100.0)
        self.taken: list[OutgoingDelivery] = []
        self.tried: list[OutgoingDelivery] = []
        self.fails: DeliveryError | None = None
        self.meanwhile: Callable[[], object] = lambda: None
        world.destinations[name] = self

    def deliver(self, chunks: Iterable[Sequence[OutgoingDelivery]]) -> Iterator[Sequence[Outcome[Receipt]]]:
        for chunk in chunks:
            self.tried += chunk
            self.meanwhile()
            if self.fails is None:
                self.taken += chunk
            action = Action.FAILED if self.fails else Action.DELIVERED
            receipt = None if self.fails else Receipt(200, 0.1)
            yield [Outcome(n, action, receipt, self.fails, outgoing) for n, outgoing in enumerate(chunk)]


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


def ready(world: World, number: int = 1) -> list[Ticket]:
    """Return classified tickets; by default they are Billing."""
    tickets = made(world, number)
    classify(world)
    return tickets


def recategorized(world: World, category: str, row: int = 0) -> None:
    assert dids(create(world, [a_draft(row, verdict=category)])) == ["updated"]


def states(world: World, ticket: Ticket) -> list[tuple[str, str, str]]:
    return [(d.destination, d.category, d.state) for d in world.store.history(ticket.ticket_id).deliveries]


def test_a_file_gets_every_delivery_once(world: World, tmp_path: Path) -> None:
    lines = to_file(world, tmp_path)
    tickets = ready(world, 600)
    assert dids(route(world)) == ["routed"] * 600
    assert [line["ticket"]["ticket_id"] for line in lines()] == [t.ticket_id for t in tickets]
    assert lines()[0]["category"] == lines()[0]["ticket"]["category"] == "Billing"
    assert route(world) == []
    assert dids(route(world, tickets[0])) == ["unchanged"]
    assert len(lines()) == 600
    assert (now(world, tickets[0]).routed_to, held(world)) == ("box", 0)


@pytest.mark.sqlite
def test_half_a_line_at_the_end_of_a_file_swallows_no_delivery(world: World, tmp_path: Path) -> None:
    to_file(world, tmp_path)
    path = tmp_path / "box.jsonl"
    path.write_text('{"whole": 1}\n{"half')
    (ticket,) = ready(world)
    assert dids(route(world)) == ["routed"]
    whole, half, new = path.read_text().splitlines()
    assert (whole, half) == ('{"whole": 1}', '{"half')
    assert json.loads(new)["ticket"]["ticket_id"] == ticket.ticket_id


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


def test_an_equal_answer_sends_nothing_again(world: World) -> None:
    (ticket,) = ready(world)
    box = Box(world, "box")
    world.rules = (Rule("all", ("box",)),)
    route(world)
    assert dids(classify(world, ticket, plan=ClassifyPlan(force=True))) == ["classified"]
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
        Rule("b", ("billing",), {"category": ("Billing",)}),
        Rule("t", ("technical",), {"category": ("Technical",)}),
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
    billing.fails = DeliveryError("down")
    world.rules = (Rule("b", ("billing",), {"category": ("Billing",)}), Rule("all", ("technical",)))
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
    box.fails = DeliveryError("down")
    world.rules = (Rule("b", ("box",), {"category": ("Billing",)}),)
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
    world.rules = (Rule("b", ("slow",), {"category": ("Billing",)}), Rule("all", ("quick",)))
    slow.fails = DeliveryError("down")

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
    box.fails = DeliveryError("down", status=503)
    world.rules = (Rule("all", ("box",)),)
    assert dids(route(world)) == ["routing"]
    assert last_run(world) == ("route", 0, {"routing": 1}), "what is due later is no failure"
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


def owing_two(world: World) -> tuple[Box, Ticket, Ticket]:
    """Return a destination that is up again, and two tickets that it has failed once."""
    named, other = ready(world, 2)
    box = Box(world, "box")
    box.fails = DeliveryError("down", status=503)
    world.rules = (Rule("all", ("box",)),)
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
    box.fails = DeliveryError("down")
    world.rules = (Rule("all", ("box",)),)
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
    box.fails = DeliveryError("no such ticket", final=True, status=404)
    world.rules = (Rule("all", ("box",)),)
    assert dids(route(world)) == ["undeliverable"]
    clock.forward(1e6)
    assert route(world) == []


@pytest.mark.sqlite
def test_a_destination_s_own_wish_to_wait_is_honoured(world: World, clock: Clock) -> None:
    ready(world)
    box = Box(world, "box")
    box.fails = DeliveryError("busy", status=429, retry_after=500.0)
    world.rules = (Rule("all", ("box",)),)
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
    box.fails = DeliveryError("down")
    world.rules = (Rule("all", ("box",)),)
    began = clock()
    box.meanwhile = lambda: setattr(box, "fails", None) if len(box.tried) == 2 else None
    assert dids(route(world, stay=15.0)) == ["routed"], "one outcome a ticket, however often it was tried"
    assert 9 <= clock() - began <= 11


@pytest.mark.sqlite
def test_a_clock_that_is_set_back_does_not_keep_route_for_hours(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(world)
    Box(world, "box").fails = DeliveryError("down")
    world.rules = (Rule("all", ("box",)),)
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
    world.rules = (Rule("all", ("box",)),)
    route(world)
    assert dids(route(world, ticket, again=True)) == ["routed"]
    first, second = (p.delivery for p in box.taken)
    assert first.delivery_id != second.delivery_id
    assert second.replaces == first.delivery_id


@pytest.mark.sqlite
def test_again_takes_the_place_of_what_was_pending_or_dead(world: World, clock: Clock) -> None:
    (ticket,) = ready(world)
    box = Box(world, "box", max_attempts=2)
    box.fails = DeliveryError("down")
    world.rules = (Rule("all", ("box",)),)
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
    down.fails = DeliveryError("down")
    world.rules = (Rule("both", ("up", "down")),)
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
    from triage_cli.domain.errors import ConfigError

    lines = to_file(world, tmp_path)
    ready(world)

    class Gone(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            raise ConfigError(f'no destination "{name}" in the config')

    world.destinations = Gone(world.destinations)
    world.rules = (Rule("both", ("gone", "box")),)
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


def test_a_file_that_cannot_be_written_is_a_failed_attempt(world: World, tmp_path: Path) -> None:
    to_file(world, tmp_path)
    (tmp_path / "box.jsonl").mkdir()
    ready(world)
    (outcome,) = route(world)
    assert outcome.action == "routing"
    assert outcome.error is not None
    assert "cannot append" in outcome.error.message


def test_an_append_that_fails_half_way_leaves_no_half_line(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = to_file(world, tmp_path)
    ready(world, 3)
    route(world, *list(world.store.find(ALL))[:1])
    before = (tmp_path / "box.jsonl").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        outcomes = route(world)
    assert dids(outcomes) == ["routing"] * 2
    assert (tmp_path / "box.jsonl").read_bytes() == before
    assert len(lines()) == 1


def command(world: World, tmp_path: Path, script: str, *, timeout: float = 30.0) -> None:
    path = tmp_path / "script.py"
    path.write_text(script)
    run_ = (sys.executable, str(path), str(tmp_path / "got"))
    world.destinations["page"] = CommandDestination("page", run_, timeout, 3, (10.0,), env=os.environ)
    world.rules = (Rule("all", ("page",)),)


def test_a_command_gets_the_ticket_as_json_on_stdin(world: World, tmp_path: Path) -> None:
    create(world, [a_draft(0, subject="Ünicode; $(touch pwned) `x`")])
    classify(world)
    command(world, tmp_path, "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())")
    assert dids(route(world)) == ["routed"]
    told = json.loads((tmp_path / "got").read_bytes())
    assert told["ticket"]["subject"] == "Ünicode; $(touch pwned) `x`"
    assert (told["category"], told["attempt"], told["replaces"], told["rule"]) == ("Billing", 1, None, "all")


def test_a_command_that_reads_nothing_is_fine(world: World, tmp_path: Path) -> None:
    create(world, [a_draft(0, description="x" * 300_000)])
    classify(world)
    command(world, tmp_path, "")
    assert dids(route(world)) == ["routed"]


def test_what_a_failing_command_says_is_kept(world: World, tmp_path: Path) -> None:
    (ticket,) = ready(world)
    command(world, tmp_path, "import sys; print('x' * 100000); sys.stderr.write('no pager ' * 200); sys.exit(7)")
    (outcome,) = route(world)
    assert outcome.action == "routing"
    (attempt,) = world.store.history(ticket.ticket_id).attempts
    assert attempt.status == 7
    assert attempt.error is not None
    assert f"{sys.executable} exited with 7: no pager no pager" in attempt.error
    assert len(attempt.error) < 700


def test_a_final_exit_of_a_command_is_a_dead_letter_at_once(world: World, tmp_path: Path) -> None:
    tickets = ready(world, 2)
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit(65)")
    run_ = (sys.executable, str(script))
    world.destinations["page"] = CommandDestination("page", run_, 30, 3, (9.0,), env=os.environ, final_exit=(64, 65))
    world.rules = (Rule("all", ("page",)),)
    assert dids(route(world)) == ["undeliverable"] * len(tickets)
    for ticket in tickets:
        (attempt,) = world.store.history(ticket.ticket_id).attempts
        assert attempt.status == 65
        assert attempt.error == f"{sys.executable} exited with 65, which is final"


def test_a_command_that_takes_too_long_or_is_not_there_is_a_failed_attempt(world: World, tmp_path: Path) -> None:
    (ticket,) = ready(world)
    command(world, tmp_path, "import time; time.sleep(60)", timeout=0.2)
    assert dids(route(world)) == ["routing"]
    world.destinations["page"] = CommandDestination(
        "page", (str(tmp_path / "nobody"),), 1.0, 3, (10.0,), env=os.environ
    )
    route(world, ticket, again=True)
    errors = [a.error or "" for a in world.store.history(ticket.ticket_id).attempts]
    assert "took longer than 0.2 s" in errors[0]
    assert "cannot run" in errors[1]


# -- names


def test_a_name_must_fit_exactly_one_ticket(world: World) -> None:
    one, two = made(world, 2)
    triage = world.triage()
    assert triage.resolve("1") == two.ticket_id
    assert triage.history(one.ticket_id[-8:]).ticket == one
    with pytest.raises(NotFoundError, match='no ticket "nobody"'):
        triage.resolve("nobody")
    create(world, [a_draft(0, "1", source="jira", subject="Other")])
    with pytest.raises(AmbiguousError, match='"1" names 2 tickets') as raised:
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
    with pytest.raises(NotFoundError, match=r'no ticket "<a2@mail\.example>"'):
        triage.resolve("<a2@mail.example>")


def test_events_name_actor_and_run(world: World) -> None:
    list(world.triage("ann").create(drafts(1)))
    list(world.triage("bob").classify(ALL, PLAN))
    events = list(world.triage().events(EventQuery()))
    assert [(e.action, e.actor) for e in events] == [("created", "ann"), ("classified", "bob")]
    runs = world.store.database.read("select run_id from runs order by run_id")
    assert [(e.run_id,) for e in events] == runs
    assert isinstance(Event("x", None, None, "a", "b").data, dict)
