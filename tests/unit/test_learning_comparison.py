"""When a new version is taken: by its log loss on held-out labels, and never where it is worse beyond chance."""

from collections.abc import Sequence

import pytest

from triage_cli import domain as dm
from triage_cli.ports import Settings
from triage_cli.service import (
    FEW_LABELLED,
    Comparison,
    HeldOutAnswer,
    InUse,
    Subject,
    compared,
    shared_settings,
    taught_many,
)

SETTINGS = [(3.0, 0.2, (0.7, 1.0, 0.0), 1.0)]
ROWS = [dm.Labelled(f"text {chr(97 + n) * 3}", "ab"[n % 2]) for n in range(20)]


class Memory:
    """A trainer whose models know the texts that they were trained on, and the category of no other."""

    def __init__(self) -> None:
        self.trained: list[set[str]] = [set()]  # the first is the built-in model
        self.set: list[Settings] = []
        self.chosen_on: list[set[str]] = []
        self.begun: list[bytes] = []  # what each training began with

    def settings(self, labelled: Sequence[dm.Labelled], _more: dm.Unlabelled = dm.NOTHING) -> Settings:
        self.chosen_on.append({row.text for row in labelled})
        return [(float(len(labelled)), 1.0, SETTINGS[0][2], 1.0)]

    def fit(
        self,
        labelled: Sequence[dm.Labelled],
        more: dm.Unlabelled = dm.NOTHING,
        settings: Settings = (),
        *,
        to_use: bool = False,
        start: bytes = b"",
    ) -> bytes:
        del to_use
        self.begun.append(start)
        self.set.append(settings or self.settings(labelled, more))
        self.trained.append({row.text for row in labelled} | set(more.texts))
        return str(len(self.trained) - 1).encode()

    def settings_of(self, weights: bytes) -> Settings:
        return [(float(weights), 1.0, SETTINGS[0][2], 1.0)]

    def answers(self, weights: bytes, texts: Sequence[str]) -> list[tuple[str | None, float | None]]:
        known = self.trained[int(weights)]
        return [("a" if text in known else "b", 0.5 + len(known) / 100) for text in texts]

    def chances(self, _weights: bytes, texts: Sequence[str]) -> list[dm.Chances]:
        return [[("a", 1.0)] for _ in texts]

    def losses(self, weights: bytes, labelled: Sequence[dm.Labelled]) -> list[float]:
        return [1 / (1 + len(self.trained[int(weights)])) for _ in labelled]

    def weighed(self, _labelled: Sequence[dm.Labelled], _texts: Sequence[str]) -> dm.Unlabelled:
        return dm.NOTHING

    def built_in(self) -> bytes:
        return b"0"

    def seen(self, weights: bytes, texts: Sequence[str]) -> list[bool]:
        return [text in self.trained[int(weights)] for text in texts]

    def number_learned(self, weights: bytes) -> int:
        return len(self.trained[int(weights)])

    def suits(self, _weights: bytes) -> bool:
        return True

    def is_outdated(self, _weights: bytes, *, of_file: bool) -> bool:
        del of_file
        return False


def in_use(trainer: Memory, rows: Sequence[dm.Labelled], *others: str) -> InUse:
    weights = trainer.fit([*rows, *(dm.Labelled(text, "a") for text in others)])
    known = trainer.seen(weights, [row.text for row in ROWS])
    whole = sum(known) == trainer.number_learned(weights)
    return InUse(weights, known, whole, loses=not whole)


def test_no_answer_is_about_a_text_that_its_model_was_trained_on() -> None:
    trainer = Memory()
    found = compared(trainer, ROWS, dm.NOTHING, (), in_use(trainer, ROWS[:10]), lambda _: None)
    assert (len(found.before), len(found.after)) == (20, 20)
    assert all(row.graded.guess == "b" for row in (*found.before, *found.after))
    assert found.gain[0] > 0, "the new one is trained on more"
    assert not found.loses
    assert found.refusal == ""


def test_what_else_the_model_in_use_has_learned_from_counts_for_it() -> None:
    """Trained again without the rows of a file, it would be worse than it is: only what is new to it compares."""
    trainer = Memory()
    used = in_use(trainer, ROWS[:10], *(f"row {n}" for n in range(100)))
    found = compared(trainer, ROWS, dm.NOTHING, (), used, lambda _: None)
    assert len(found.before) == 10
    assert found.gain[0] < 0
    assert found.loses
    assert "not better" in found.refusal


def test_texts_without_a_label_are_given_to_all_trainings() -> None:
    trainer = Memory()
    used = in_use(trainer, ROWS[:10])
    compared(trainer, ROWS, dm.Unlabelled(("more",), 0.1), SETTINGS, used, lambda _: None)
    assert all("more" in texts for texts in trainer.trained[2:])


@pytest.mark.parametrize("known", [0, 10, 20])
def test_of_few_labels_no_held_out_row_chooses_the_settings_of_its_model(known: int) -> None:
    trainer = Memory()
    used = in_use(trainer, ROWS[:known])
    number = len(trainer.chosen_on)
    compared(trainer, ROWS, dm.NOTHING, shared_settings(trainer, ROWS, dm.NOTHING), used, lambda _: None)
    assert trainer.chosen_on[number:] == trainer.trained[number + 1 :]
    assert all(len(texts) < 20 for texts in trainer.chosen_on[number:])


def test_many_labels_have_one_choice_of_settings() -> None:
    trainer = Memory()
    rows = [dm.Labelled(f"text {n}", "ab"[n % 2]) for n in range(FEW_LABELLED + 1)]
    assert shared_settings(trainer, rows[:FEW_LABELLED], dm.NOTHING) == ()
    assert shared_settings(trainer, rows, dm.NOTHING) == [(FEW_LABELLED + 1, 1.0, SETTINGS[0][2], 1.0)]


def test_shared_settings_are_found_once_for_each_of_the_two_models_compared() -> None:
    trainer = Memory()
    used = in_use(trainer, ROWS[:10])
    compared(trainer, ROWS, dm.NOTHING, SETTINGS, used, lambda _: None)
    assert {tuple(settings) for settings in trainer.set[1:]} == {tuple(SETTINGS), ((10.0, 1.0, SETTINGS[0][2], 1.0),)}


@pytest.mark.parametrize(("known", "anew"), [(20, False), (20, True), (10, False)])
def test_many_labels_are_compared_by_what_proves_and_a_few_new_ones_keep_the_settings(known: int, anew: bool) -> None:
    trainer, question = Memory(), dm.Question("category", values=(dm.Category("a"), dm.Category("b")))
    used, proving = in_use(trainer, ROWS[:known]), [dm.Labelled(f"proof {n}", "b") for n in range(5)]
    chosen = len(trainer.chosen_on)
    attempt = taught_many(Subject(question, trainer), used, ROWS, [*proving, ROWS[0]], lambda *_: None, anew=anew)
    assert attempt.comparison
    assert [answer.graded.truth for answer in attempt.comparison.after] == ["b"] * 5, "what neither has learned"
    assert trainer.trained[int(attempt.fit())] == {row.text for row in ROWS}
    is_near = known == 20 and not anew
    assert trainer.begun[-1] == (used.weights if is_near else b"")
    assert trainer.set[-1] == (trainer.settings_of(used.weights) if is_near else trainer.settings(ROWS))
    assert (len(trainer.chosen_on) == chosen) == is_near


def test_texts_that_say_the_same_cannot_be_held_out() -> None:
    trainer = Memory()
    rows = [dm.Labelled(f"Refund {n}", "ab"[n % 2]) for n in range(20)]
    used = InUse(trainer.built_in(), [False] * 20, whole=False)
    assert compared(trainer, rows, dm.NOTHING, (), used, lambda _: None) == Comparison([], [], [])


def answered(right: Sequence[bool], loss: float) -> list[HeldOutAnswer]:
    return [HeldOutAnswer(dm.Graded("a", "a" if each else "b", 0.9, sure=True), loss) for each in right]


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (answered([True] * 50, 0.5), answered([True] * 50, 0.4), ""),
        (answered([True] * 50, 0.5), answered([True] * 50, 0.5), ""),
        (answered([True] * 50, 0.4), answered([True] * 50, 0.5), "its log loss is higher"),
        (answered([True] * 50, 0.5), answered([True] * 49 + [False], 0.4), ""),
        (
            answered([True] * 50, 0.5),
            answered([True] * 40 + [False] * 10, 0.4),
            "right on 10 fewer of 50 held-out tickets",
        ),
        (answered([False] * 50, 0.5), answered([True] * 50, 0.6), "its log loss is higher"),
    ],
)
def test_what_is_refused(before: list[HeldOutAnswer], after: list[HeldOutAnswer], refused: str) -> None:
    assert_refused(Comparison(before, after, before).refusal, refused)
    lenient = [answer._replace(loss=1.0) for answer in answered([False] * 50, 1.0)]
    assert_refused(Comparison(lenient, after, before).refusal, refused and f"{refused} than")


def assert_refused(found: str, refused: str) -> None:
    assert (refused in found) if refused else not found


def losing(*losses: float) -> list[HeldOutAnswer]:
    return [HeldOutAnswer(dm.Graded("a", "a", 0.9, sure=True), loss) for loss in losses]


@pytest.mark.parametrize(
    ("after", "refused"),
    [
        (losing(0.5, 0.5, 0.5, 0.5), ""),
        (losing(0.3, 0.8, 0.4, 0.7), ""),
        (losing(0.6, 0.6, 0.6, 0.7), "its log loss is higher, by more than chance explains"),
    ],
)
def test_a_version_that_goes_on_is_taken_unless_it_is_worse_beyond_chance(
    after: list[HeldOutAnswer], refused: str
) -> None:
    before = losing(0.5, 0.5, 0.5, 0.5)
    assert_refused(Comparison(before, after, before).refusal, refused)
    assert "its log loss is not lower" in Comparison(before, after, before, loses=True).refusal


def test_a_paired_interval() -> None:
    mean, (low, high) = dm.paired_interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert (low, high) == pytest.approx((2 - 1.959964 / 3**0.5, 2 + 1.959964 / 3**0.5))
    assert dm.paired_interval([0.5]) == (0.5, (0.5, 0.5))
