"""The second look after `learn`: tickets that the new version doubts wait for a person."""

from collections import Counter

import pytest

from tests.support.second_look import look
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.cli import learning_summary, step_after_learning
from triage_cli.runtime import StopControl
from triage_cli.service import recorded_run

Answers = dict[str, tuple[str | None, float]]
TEXTS = {"sure": "alpha", "doubt": "beta", "flip": "gamma", "wait": "delta", "clear": "omega", "person": "sigma"}
BEFORE: Answers = {
    "sure": ("Billing", 0.9), "doubt": ("Billing", 0.8), "flip": ("Billing", 0.7), "wait": ("Billing", 0.5),
    "clear": ("General", 0.4), "person": ("Billing", 0.9),
}  # fmt: skip
AFTER: Answers = {
    "sure": ("Billing", 0.95), "doubt": ("Technical", 0.5), "flip": ("Technical", 0.9), "wait": ("General", 0.3),
    "clear": ("Technical", 0.9), "person": ("Technical", 0.2),
}  # fmt: skip


def answering(answers: Answers, fingerprint: str) -> FakeClassifier:
    return FakeClassifier(lambda ticket: answers[ticket.external_id or ""], fingerprint)


@pytest.fixture
def decided(world: World) -> World:
    """Six tickets, of which an earlier version decided all and a person one; a new version has other answers."""
    world.classifier = answering(BEFORE, "version-1")
    drafts = (dm.TicketDraft(n, n + 2, text, external_id=name) for n, (name, text) in enumerate(TEXTS.items()))
    list(world.triage().create(drafts))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().give_verdicts([dm.VerdictDraft(0, "person", "General")]))
    world.classifier = answering(AFTER, "version-2")
    return world


def standing(world: World) -> dict[str | None, tuple[str, str | None, str | None]]:
    return {t.external_id: (t.status, t.category, t.suggestion) for t in world.store.find(dm.Selection())}


def decisions(world: World) -> Counter[str]:
    return Counter(event.action for event in world.store.log.events(dm.EventQuery()))


def test_what_is_doubted_waits_and_what_is_clear_does_not(decided: World) -> None:
    classified = decisions(decided)["classified"]
    assert look(decided) == dm.Looked(tickets=5, doubted=1, settled=1, flipped=1, waiting=1)
    assert standing(decided) == {
        "sure": ("classified", "Billing", None), "doubt": ("needs_review", None, "Technical"),
        "flip": ("classified", "Technical", None), "wait": ("needs_review", None, "General"),
        "clear": ("classified", "Technical", None), "person": ("classified", "General", None),
    }  # fmt: skip
    assert decisions(decided)["classified"] == classified + 5, "what it confirms is of this version now"
    sure = next(t for t in decided.store.find(dm.Selection()) if t.external_id == "sure")
    (answer,) = decided.store.answers.decisions([sure.decision_id or ""]).values()
    assert (sure.confidence, answer.fingerprint) == (0.95, "version-2"), "rules and thresholds read this confidence"
    waiting = [t.external_id for t in decided.triage().find(dm.Selection(order="review"))]
    assert sorted(str(name) for name in waiting) == ["doubt", "wait"]
    assert all(t.run_id is None for t in decided.store.find(dm.Selection()))


def test_a_second_time_nothing_is_left_to_do(decided: World) -> None:
    look(decided)
    events, before = decisions(decided), standing(decided)
    assert look(decided) == dm.Looked(tickets=5)
    assert (decisions(decided), standing(decided)) == (events, before)


def test_an_interrupted_look_is_finished_by_the_next(decided: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dm, "bounded", lambda tickets: ([ticket] for ticket in tickets))
    left = iter(range(2))

    def stops(ticket: dm.Ticket) -> tuple[str | None, float]:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return AFTER[ticket.external_id or ""]

    decided.classifier = FakeClassifier(stops, "version-2")
    with pytest.raises(KeyboardInterrupt):
        look(decided)
    decided.classifier = answering(AFTER, "version-2")
    found = look(decided)
    assert 0 < found.doubted + found.settled + found.flipped + found.waiting < 4
    assert standing(decided)["doubt"] == ("needs_review", None, "Technical")
    assert standing(decided)["clear"] == ("classified", "Technical", None)


def test_what_another_run_holds_is_left_alone(decided: World) -> None:
    with recorded_run(decided.store, "route", "other", "route", StopControl()) as tally:
        doubted = next(t for t in decided.store.find(dm.Selection()) if t.external_id == "doubt")
        decided.store.runs.claim(dm.Selection(ids=(doubted.ticket_id,)), dm.Lease(tally.context.run.run_id), 1)
        assert look(decided) == dm.Looked(tickets=5, settled=1, flipped=1, waiting=1, held=1)
    assert look(decided) == dm.Looked(tickets=5, doubted=1)


def test_a_verdict_given_meanwhile_stays(decided: World) -> None:
    def while_answering(ticket: dm.Ticket) -> tuple[str | None, float]:
        if ticket.external_id == "doubt":
            list(decided.triage("ann").give_verdicts([dm.VerdictDraft(0, "doubt", "General")]))
        return AFTER[ticket.external_id or ""]

    decided.classifier = FakeClassifier(while_answering, "version-2")
    assert look(decided).held == 1
    assert standing(decided)["doubt"] == ("classified", "General", None)


def test_a_flip_within_the_hysteresis_changes_nothing(decided: World) -> None:
    assert look(decided, fake=0.5) == dm.Looked(tickets=5, doubted=1, settled=1, waiting=1)
    assert standing(decided)["flip"] == ("classified", "Billing", None)


@pytest.mark.usefixtures("three")
def test_what_was_delivered_stays_and_what_no_rule_takes_is_looked_at(decided: World) -> None:
    decided.classifier = answering(BEFORE, "version-1")
    decided.rules = (dm.Rule("all", ("a",), {"category": ("Billing",)}),)
    list(decided.triage().route(dm.Selection(), dm.RoutePlan()))
    assert {name: status for name, (status, *_) in standing(decided).items()} == {
        "sure": "routed", "doubt": "routed", "flip": "routed", "wait": "needs_review", "clear": "needs_review",
        "person": "unroutable",
    }  # fmt: skip
    decided.classifier = answering(AFTER, "version-2")
    assert look(decided) == dm.Looked(tickets=2, settled=1, waiting=1)
    assert standing(decided)["doubt"] == ("routed", "Billing", None)


def test_labels_of_other_classifiers_are_not_touched(decided: World) -> None:
    decided.classifier.name = "another"
    assert look(decided) == dm.Looked()


@pytest.mark.parametrize(
    ("looked", "following"),
    [
        (dm.Looked(9, settled=2), "next: triage route"),
        (dm.Looked(9, flipped=1, waiting=1), "next: triage route; triage review"),
        (dm.Looked(9, doubted=1), "next: triage review"),
        (dm.Looked(9), ""),
    ],
)
def test_what_got_a_category_is_sent_next_and_what_is_in_doubt_is_decided(looked: dm.Looked, following: str) -> None:
    lesson = dm.TrainingReport(
        1, "learned", "", 9, 9, 0, 0, None, dm.Figures(9, 1.0, (0.7, 1.0), 1.0, 0.1), looked=looked
    )
    assert step_after_learning(lesson, lambda: "triage route") == following


@pytest.mark.parametrize(
    ("accuracy", "log_loss", "how_good"),
    [
        (0.9, 0.4, "which is better"),
        (0.7, 0.4, "as good as the one before, as far as 9 held-out tickets can tell"),
        (0.9, 0.6, "as good as the one before, as far as 9 held-out tickets can tell"),
    ],
)
def test_a_version_that_is_taken_says_first_whether_it_is_better(
    accuracy: float, log_loss: float, how_good: str
) -> None:
    before, after = dm.Figures(9, 0.8, (0.7, 1.0), 1.0, 0.5), dm.Figures(9, accuracy, (0.7, 1.0), 1.0, log_loss)
    (line,) = learning_summary(dm.TrainingReport(2, "learned", "so much", 9, 9, 0, 0, before, after), dm.CATEGORY)
    assert line == f"version 2 is in use, {how_good}: so much; learned from 9"
