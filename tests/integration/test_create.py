"""`create`: which rows are new, known or rejected, and what an import changes, also of several at the same time."""

import json
import random
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.records import replace
from tests.support.use_cases import (
    ALL,
    a_draft,
    actions,
    classify,
    create,
    dids,
    drafts,
    last_run,
    log_is_whole,
    made,
    now,
)
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.runtime import occurrence_counter
from triage_cli.service import import_dry_run
from triage_cli.stores import SqliteStore


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
    event = list(world.store.log.events(dm.EventQuery()))[-1]
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
    rows = drafts(dm.chunks.CHUNK + 300)
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
    assert dids(create(world, [replace(once, customer_id="other")])) == ["created"]
    assert dids(create(world, [replace(once, source="other")])) == ["created"]
    assert world.store.stats().tickets == 4


def test_the_same_id_of_another_source_is_another_ticket(world: World) -> None:
    assert dids(create(world, [a_draft(0), a_draft(1, "0", source="jira")])) == ["created"] * 2


def test_an_id_that_this_store_made_is_that_ticket(world: World) -> None:
    one, two = made(world, 2)
    rows = [
        a_draft(0, one.ticket_id, subject="Changed"),
        a_draft(1, two.ticket_id, subject=two.subject, source="export"),
        a_draft(2, dm.ids.new_id()),
    ]
    outcomes = create(world, rows)
    assert dids(outcomes) == ["updated", "unchanged", "created"]
    assert [o.value.ticket_id for o in outcomes[:2] if o.value] == [one.ticket_id, two.ticket_id]
    assert now(world, one).subject == "Changed"


def test_a_typed_ticket_is_always_a_new_one_unless_its_external_id_is_known(world: World) -> None:
    typed = dm.TicketDraft(subject="Same", description="Text", origin="typed")
    create(world, [a_draft(0, None, subject="Same")])
    assert dids(create(world, [typed]) + create(world, [typed])) == ["created"] * 2
    named = replace(typed, external_id="X-1")
    assert dids(create(world, [named]) + create(world, [named])) == ["created", "unchanged"]
    assert world.triage().resolve("X-1") == create(world, [named])[0].value.ticket_id  # type: ignore[union-attr]


@pytest.mark.parametrize("field", ["external_id", "customer_id"])
def test_an_id_that_no_index_can_hold_is_its_row_s_own_matter(world: World, field: str) -> None:
    dice = random.Random(7)  # a text that cannot be compressed
    name = "".join(chr(dice.randrange(0x4E00, 0x9FFF)) for _ in range(3000))

    def named(length: int) -> dict[str, Any]:
        return {field: name[:length]}

    rows = [replace(a_draft(n), **named(length)) for n, length in enumerate((666, 667, 3000, 1))]
    outcomes = list(world.triage().create(rows))
    assert [outcome.action.value for outcome in outcomes] == ["created", "rejected", "rejected", "created"]
    assert [outcome.action for outcome in import_dry_run(rows, None)] == [outcome.action for outcome in outcomes]
    error = outcomes[2].error
    assert error is not None
    assert error.message == f'line {rows[2].line}: {field} has more than 2,000 bytes: "{name[:80]}…"'


def test_rejected_rows_stand_in_their_place(world: World) -> None:
    bad = dm.Rejected(1, 3, dm.RowError("line 3: no text"))
    outcomes = create(world, [a_draft(0), bad, a_draft(2)])
    assert [(o.row, o.action) for o in outcomes] == [(0, "created"), (1, "rejected"), (2, "created")]
    assert outcomes[1].error is bad.error


def test_an_input_of_rejected_rows_only_or_of_none_is_fine(world: World) -> None:
    assert dids(create(world, [dm.Rejected(0, 2, dm.RowError("no text"))])) == ["rejected"]
    assert create(world, []) == []
    assert last_run(world) == ("create", 0, {})


def test_an_import_of_other_tickets_under_known_ids_stops_before_it_stores(world: World) -> None:
    made(world, 12)
    before = list(world.store.find(ALL))
    others = [a_draft(row, description=f"Quite another {row}") for row in range(20)]
    with pytest.raises(dm.InputError, match=r'12 of 12 known ids of source "import" .*; no row was stored'):
        create(world, others)
    assert list(world.store.find(ALL)) == before
    assert last_run(world)[1] == 2
    assert dids(create(world, [replace(o, source="other") for o in others])) == ["created"] * 20


def test_up_to_half_of_the_known_texts_may_change(world: World) -> None:
    made(world, 12)
    edited = [a_draft(row, description="Edited" if row < 6 else "Text") for row in range(12)]
    assert Counter(dids(create(world, edited))) == {"updated": 6, "unchanged": 6}
    (one,) = create(world, [a_draft(0, description="Quite another")])
    assert one.action == "updated", "of a single one no share says anything"


@pytest.mark.parametrize("number", [2, 3, 9])
def test_few_known_ids_are_guarded_too(world: World, number: int) -> None:
    made(world, number)
    with pytest.raises(dm.InputError, match=f"{number} of {number} known ids"):
        create(world, drafts(number, description="Quite another"))
    edited = [
        a_draft(row, description=f"Text\n\nI write again, since nobody has answered {row}") for row in range(number)
    ]
    assert dids(create(world, edited)) == ["updated"] * number, "an edited ticket keeps its words"
    tagged = [a_draft(row, description=f"<p>{d.description}</p>") for row, d in enumerate(edited)]
    assert dids(create(world, tagged)) == ["unchanged"] * number, "and tags are no words"
    same = world.triage().create(drafts(number, description="Quite another"), same_tickets=True)
    assert dids(same) == ["updated"] * number
    assert log_is_whole(world)


def test_rows_without_an_id_say_nothing_about_known_ids(world: World) -> None:
    unnamed = [a_draft(row, None) for row in range(2, 20)]
    create(world, [*drafts(2), *unnamed])
    with pytest.raises(dm.InputError, match="2 of 2 known ids"):
        create(world, [*drafts(2, description="Quite another"), *unnamed])


def test_what_was_stored_before_an_import_stops_is_told(world: World) -> None:
    number = dm.chunks.CHUNK + 20
    create(world, [a_draft(row) for row in range(dm.chunks.CHUNK, number)])
    others = [d if d.row < dm.chunks.CHUNK else replace(d, description="Other") for d in drafts(number)]
    messages: list[dm.Outcome[dm.Ticket]] = []
    with pytest.raises(dm.InputError, match=f"the first {dm.chunks.CHUNK:,} rows were stored, and none after them"):
        messages.extend(world.triage().create(others))
    assert dids(messages) == ["created"] * dm.chunks.CHUNK
    assert Counter(dids(create(world, drafts(number)))) == {"unchanged": number}


def test_texts_that_no_database_takes_are_mended(world: World) -> None:
    (outcome,) = create(world, [a_draft(0, "\ud800", subject="half \udc00", extra={"x": "\ud83d"})])
    assert outcome.action == "created"
    assert now(world, outcome.value).subject == "half ?"  # type: ignore[arg-type]
    assert dids(create(world, [a_draft(0, "\ud800", subject="half \udc00", extra={"x": "\ud83d"})])) == ["unchanged"]


def test_two_imports_of_the_same_rows_at_once_make_no_twins(world: World) -> None:
    gate = threading.Barrier(3)

    def work(_: int) -> list[dm.Outcome[dm.Ticket]]:
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

    def __init__(self, path: str, theirs: Sequence[dm.TicketDraft]) -> None:
        super().__init__(path)
        self._theirs = list(theirs)

    def save(
        self, changes: Sequence[dm.Change], lease: dm.Lease | None = None, cursor: dm.SourceCursor | None = None
    ) -> list[dm.Conflict | None]:
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
    assert [t.ticket_id for t in world.store.find(dm.Selection(statuses=frozenset({"new"})))] == [
        outcomes[3].value.ticket_id  # type: ignore[union-attr]
    ]
    assert dids(create(world, rows)) == ["unchanged", "rejected", "rejected", "unchanged"]
    assert dids(create(world, [a_draft(0, verdict="General")])) == ["updated"]
    assert now(world, ticket).category == "General"


def test_a_note_that_cannot_be_stored_as_it_is_is_no_other_note_when_it_comes_again(world: World) -> None:
    made(world)
    draft = dm.VerdictDraft(0, "0", "Billing", "the till\0 is \ud800 broken")
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
        list(world.triage().give_verdicts([dm.VerdictDraft(0, "0", category, "so it is" if category else None)]))

    assert exported("Billing") == ("created", "Billing", 1)
    person("Technical")
    assert exported("Billing") == ("unchanged", "Technical", 1)
    assert exported("General") == ("updated", "General", 1), "a word that has changed is a later one"
    last = json.loads(list(world.store.log.events(dm.EventQuery()))[-1].detail)
    assert (last["verdict"], last["was"]) == ("General", "Technical"), "and it is told whose place it takes"
    message = (
        "the input gave the verdict General instead of Technical: it says something else than before a person decided"
    )
    assert world.triage().why("0").why[-2].endswith(message)
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
    list(world.triage().give_verdicts([dm.VerdictDraft(0, "0", "Technical")]))
    outcomes = create(world, [a_draft(0, verdict="Billing")]) + create(world, [a_draft(0, verdict="Billing")])
    assert [(o.action, o.value and o.value.category) for o in outcomes] == [
        ("updated", "Technical"), ("unchanged", "Technical"),
    ]  # fmt: skip
    [lines] = [line for line in world.triage().why("0").why if "the input gave the category" in line]
    assert lines.endswith("the input gave the category Billing; the verdict of a person stays")
    [outcome] = create(world, [a_draft(0, verdict="General")])
    assert (outcome.action, outcome.value and outcome.value.category) == ("updated", "General")
