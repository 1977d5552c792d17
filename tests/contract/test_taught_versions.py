"""What learned versions have of tickets whose text is erased: ended or told, on both stores, here and over HTTP."""

import json
from io import BytesIO

import numpy as np
import pytest

from tests.support.records import replace
from tests.support.use_cases import create, log_is_whole
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.classifiers import Model, fitted_model
from triage_cli.classifiers import fit_model as fit
from triage_cli.config import DEFAULT_CATEGORIES
from triage_cli.ports import ModelRegistry, Triage
from triage_cli.stores import FILLED, SqlModelRegistry

EVENT = dm.Event("learned", None, None, "ann", "2026-01-01T00:00:00Z")
LEARN = "next: triage learn makes one without them"


@pytest.fixture
def registry(world: World) -> ModelRegistry:
    return SqlModelRegistry(world.store)


def imported(world: World, name: str, number: int) -> list[str]:
    """Import tickets of a customer of this name; return their ids."""
    rows = (dm.TicketDraft(n, n + 2, f"{name} {n}", external_id=f"{name}-{n}", customer_id=name) for n in range(number))
    return [outcome.value.ticket_id for outcome in create(world, rows) if outcome.value]


def learned(registry: ModelRegistry, question: str = "category", **teachers: list[str]) -> int:
    """Add a version that learned from tickets with `labels`, and from others of which it read the `texts`."""
    all_teachers = dict.fromkeys(teachers.get("texts", ()), False) | dict.fromkeys(teachers.get("labels", ()), True)
    version = dm.ModelVersion(0, '["A"]', b"weights", "{}", 1, "ann", EVENT.at, registry.newest(), question)
    added = registry.add_version(version, EVENT, all_teachers)
    return added.version if added else 0


def in_use(registry: ModelRegistry, *questions: str) -> list[int]:
    return [version.version if (version := registry.active(question)) else 0 for question in questions]


def test_undo_ends_the_versions_that_learned_its_labels_and_no_others(
    world: World, registry: ModelRegistry, door: tuple[Triage, list[str]]
) -> None:
    triage, told = door
    right, wrong = imported(world, "right", 3), imported(world, "wrong", 4)
    assert learned(registry, labels=right) == 1
    assert learned(registry, labels=[*right, *wrong]) == 2
    assert learned(registry, "urgency", labels=right, texts=wrong[:2]) == 3
    run = str(world.store.database.read("select max(run_id) from runs where kind = 'create'")[0][0])

    list(triage.undo(run, dry_run=True))
    assert told == [
        "note: learned model version 2 has learned the labels of 4 of these tickets and would be out of use"
    ]
    assert in_use(registry, "category", "urgency") == [2, 3]
    told.clear()
    list(triage.undo(run))
    again = "again; next: triage learn learns from the labels that are left, and looks again at what it decided"
    assert told == [
        f"note: learned model version 2 had learned the labels of 4 of these tickets, so version 1 answers {again}",
        f"note: learned model version 3 of urgency has learned from 2 of these tickets, and keeps no word; {LEARN}",
    ]
    assert in_use(registry, "category", "urgency") == [1, 3]
    kept = world.store.database.read("select version, weights from versions order by version")
    assert [(version, bytes(weights)) for version, weights in kept] == [(1, b"weights"), (2, b""), (3, b"weights")]
    assert registry.taught_by_erased(3) == dm.Taught(3, "urgency", 2, 0)

    assert learned(registry, labels=wrong[:1]) == 0, "who has read it before may not add what it learned"
    told.clear()
    list(triage.undo(run))
    assert told == [], "it is done"
    back = [registry.step_back(EVENT), registry.step_back(EVENT)]
    assert [version and version.version for version in back] == [1, None], "no step leads to what was ended"
    assert log_is_whole(world)


def test_where_no_version_is_left_the_built_in_model_answers(
    world: World, registry: ModelRegistry, door: tuple[Triage, list[str]]
) -> None:
    triage, told = door
    assert learned(registry, labels=imported(world, "wrong", 2)) == 1
    list(triage.undo(str(world.store.database.read("select max(run_id) from runs")[0][0])))
    assert ["so the built-in model answers again" in note for note in told] == [True]
    assert (in_use(registry, "category"), registry.newest(), registry.has_learned()) == ([0], 0, True)


def test_forget_keeps_a_version_that_learned_from_a_person_and_tells_how_to_make_another(
    world: World, registry: ModelRegistry, door: tuple[Triage, list[str]]
) -> None:
    """One of many thousands: without the version all others' tickets would be decided worse until the next one."""
    triage, told = door
    others, person = imported(world, "others", 5), imported(world, "person", 3)
    assert learned(registry, labels=[*others, *person[:1]], texts=person[1:]) == 1
    assert len(list(triage.forget("person"))) == 3
    assert told == [f"note: learned model version 1 has learned from 3 of these tickets, and keeps no word; {LEARN}"]
    assert registry.taught_by_erased(1) == dm.Taught(1, "category", 3, 1)
    assert (in_use(registry, "category"), learned(registry, labels=person[:1])) == ([1], 0)
    told.clear()
    list(triage.forget("nobody"))
    assert told == []
    assert [t.status for t in triage.find(dm.Selection(ids=tuple(person)))] == ["forgotten"] * 3


def test_models_of_before_lose_their_words_and_get_to_know_their_tickets(world: World, registry: ModelRegistry) -> None:
    """As a database of version 25 is brought forward: its models have readable words, and no list of their tickets."""
    ids = imported(world, "florin", 4)
    texts = [ticket.text for ticket in world.store.find(dm.Selection(ids=tuple(ids)))]
    model = replace(fit(DEFAULT_CATEGORIES, [(text, "Billing") for text in texts[:3]]), multilingual=None)
    version = dm.ModelVersion(0, "[]", with_readable_words(model.to_bytes()), "{}", 1, "ann", EVENT.at, 0)
    assert registry.add_version(version, EVENT) is not None
    assert registry.add_version(replace(version, weights=b"no model", based_on=1), EVENT) is not None
    world.store.database.write(lambda db: FILLED["twenty-sixth"](db.execute))
    hashed, unreadable = (
        bytes(row[0]) for row in world.store.database.read("select weights from versions order by version")
    )
    assert unreadable == b"no model"
    assert (
        Model.from_bytes(hashed).to_bytes()
        == replace(model, whole_words=fitted_model.word_numbers(READABLE)).to_bytes()
    )
    noted = world.store.database.read("select version, ticket_id, labelled from learned_from order by ticket_id")
    assert [tuple(row) for row in noted] == [(1, ticket_id, 1) for ticket_id in ids[:3]]


READABLE = ("ducat", "florin", "groß")


def with_readable_words(weights: bytes) -> bytes:
    """Return a model as earlier releases stored it."""
    buffer = BytesIO()
    with np.load(BytesIO(weights)) as arrays:
        kept = {name: array for name, array in arrays.items() if name != "words"}
    head = json.loads(kept.pop("head").tobytes())
    head[3] = READABLE
    np.savez_compressed(buffer, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **kept)
    return buffer.getvalue()
