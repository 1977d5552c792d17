"""Both stores keep what was learned: versions, calibrations, answers paid for by `eval`."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.records import replace
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.ports import Store
from triage_cli.stores import SqlModelRegistry

EVENT = dm.Event("learned", None, None, "ann", "2026-01-01T00:00:00Z")
VERSION = dm.ModelVersion(0, '["A"]', b"\x00weights\xff", "{}", 1, "ann", "2026-01-01T00:00:00Z", based_on=0)


def test_versions_count_up_and_one_is_active(store: Store) -> None:
    shelf = SqlModelRegistry(store)  # type: ignore[arg-type]  # each store has what it needs
    assert shelf.active() is None
    first = shelf.add_version(VERSION, EVENT)
    second = shelf.add_version(replace(VERSION, weights=b"2", based_on=1), EVENT)
    assert [v and v.version for v in (first, second)] == [1, 2]
    assert shelf.active() == second
    assert shelf.newest() == 2
    assert shelf.step_back(EVENT) == first
    assert shelf.step_back(EVENT) is None
    with pytest.raises(LookupError):
        shelf.step_back(EVENT)
    third = shelf.add_version(VERSION, EVENT)
    assert third is not None
    assert third.version == 3
    assert shelf.step_back(EVENT) is None, "what it is based on, not the number before"


def test_each_question_has_the_newest_version_of_the_chain_in_use_and_a_run_steps_back_at_once(store: Store) -> None:
    shelf = SqlModelRegistry(store)  # type: ignore[arg-type]

    def add(question: str, run_id: str | None) -> None:
        version = replace(VERSION, question=question, run_id=run_id, based_on=shelf.newest())
        assert shelf.add_version(version, EVENT) is not None

    def in_use(*questions: str) -> list[int]:
        return [version.version if (version := shelf.active(question)) else 0 for question in questions]

    add("category", None)
    add("urgency", "run 1")
    add("category", "run 2")
    add("mood", "run 2")
    assert (in_use("category", "urgency", "mood", "team"), shelf.newest()) == ([3, 2, 4, 0], 4)
    back = shelf.step_back(EVENT)
    assert (back and back.version, in_use("category", "urgency", "mood")) == (2, [1, 2, 0])
    add("urgency", "run 3")
    assert in_use("category", "urgency") == [1, 5]
    assert [version and version.version for version in (shelf.step_back(EVENT), shelf.step_back(EVENT))] == [2, 1]
    assert in_use("category", "urgency") == [1, 0]


def test_a_version_that_was_compared_with_what_is_no_longer_in_use_is_refused(store: Store) -> None:
    shelf = SqlModelRegistry(store)  # type: ignore[arg-type]
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda _: shelf.add_version(VERSION, EVENT), range(8)))
    assert sorted(v.version for v in added if v) == [1]
    assert shelf.add_version(replace(VERSION, based_on=2), EVENT) is None
    assert [event.action for event in store.log.events(dm.EventQuery())] == ["learned"]


def test_a_rollback_of_what_an_older_program_kept_goes_by_the_numbers(store: Store) -> None:
    shelf = SqlModelRegistry(store)  # type: ignore[arg-type]
    shelf.add_version(VERSION, EVENT)
    shelf.add_version(replace(VERSION, based_on=1), EVENT)
    store.database.write(lambda db: db.execute("update versions set based_on = null"))  # type: ignore[attr-defined]
    before = shelf.step_back(EVENT)
    assert before is not None
    assert (before.version, shelf.step_back(EVENT)) == (1, None)


def test_a_later_calibration_takes_the_place_of_the_earlier(store: Store) -> None:
    shelf = SqlModelRegistry(store)  # type: ignore[arg-type]
    one = dm.Calibration("f", "gpt", "[[0.5,0.4]]", "isotonic", 50, 0.1, 0.02, "2026-01-01T00:00:00Z")
    shelf.keep_calibration(one, EVENT)
    shelf.keep_calibration(replace(one, n=60), EVENT)
    assert shelf.calibration("f") == replace(one, n=60)
    assert shelf.calibration("g") is None
    assert shelf.calibrations() == [replace(one, n=60)]


def test_a_paid_answer_is_kept_without_its_reason(world: World) -> None:
    shelf = SqlModelRegistry(world.store)
    run = world.store.runs.begin(dm.Run(dm.ids.new_id(), "eval", "ann", "eval", dm.times.now()))
    draft = dm.TicketDraft(subject="hello", external_id="X-1")
    (created,) = world.triage().create([draft])
    assert created.value is not None
    step = FakeClassifier()._one(0, created.value).value
    assert step is not None
    answer = replace(step.steps[0], cost=0.5, confidence_source="said")
    shelf.keep_trials([answer, answer], dm.Lease(run.run_id, spent=0.5, reserved=0.0))
    kept = shelf.trials([answer.answer_key, "other"])[answer.answer_key]
    assert (kept.category, kept.confidence, kept.cost, kept.reason) == ("Billing", 0.9, 0.5, None)
    assert kept.classification_id == answer.classification_id
    again = replace(answer, classification_id=dm.ids.new_id(), category="General")
    shelf.keep_trials([again], dm.Lease(run.run_id, spent=1.0, reserved=0.0))
    kept = shelf.trials([answer.answer_key])[answer.answer_key]
    assert (kept.category, kept.classification_id) == ("General", again.classification_id), "it was asked for again"


def test_texts_without_a_verdict_are_the_same_each_time(world: World) -> None:
    drafts = [dm.TicketDraft(subject=f"t{n}", description="more", external_id=f"X-{n}") for n in range(6)]
    list(world.triage().create([replace(drafts[0], verdict="General"), *drafts[1:]]))
    shelf = SqlModelRegistry(world.store)
    texts = shelf.unlabelled(10)
    assert sorted(texts.values()) == [f"t{n}\nmore" for n in range(1, 6)]
    assert list(shelf.unlabelled(3)) == list(texts)[:3]
    assert list(texts) != sorted(texts), "they are in no order of the tickets"


def test_texts_of_verdicts_and_what_machines_said_of_them(world: World) -> None:
    triage = world.triage()
    drafts = [dm.TicketDraft(subject=f"t{n}", description="more", external_id=f"X-{n}") for n in range(3)]
    list(triage.create(drafts))
    list(triage.classify(dm.Selection(), dm.ClassifyPlan()))
    list(triage.create([replace(draft, verdict="General") for draft in drafts[:2]]))
    shelf = SqlModelRegistry(world.store)
    labelled = list(shelf.labelled())
    assert [row[:2] for row in labelled] == [dm.Labelled(f"t{n}\nmore", "General")[:2] for n in range(2)]
    assert shelf.opinions() == {row.ticket_id: {"fake": ("Billing", 0.9)} for row in labelled}
