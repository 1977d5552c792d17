"""What holds of further questions on a ticket: how it is kept, reset, and how it holds a ticket for review."""

import pytest

from tests.support.records import replace
from triage_cli import domain as dm

NOW = dm.GivenAnswer("now", None, 0.9, "model", "local", "down", verdict=False, state="answered", decision_id="a-1")
LATER = dm.GivenAnswer("later", None, 1.0, "human", "verdict", "ada said so", verdict=True, state="answered")


def test_a_cell_means_what_the_map_or_a_value_says() -> None:
    question = dm.Question(
        "urgency",
        (dm.Category("now"), dm.Category("soon")),
        column="Priority",
        map={"P1": "now", "3 - Moderate": "soon"},
    )
    cells = ["P1", " p1 ", "3 - moderate", "SOON", 1, "P9", "", ["now"]]
    assert [question.label_of(cell) for cell in cells] == ["now", "now", "soon", "soon", None, None, None, None]
    assert dm.Question("n", (dm.Category("1"), dm.Category("2"))).label_of(1) == "1"


def test_a_cell_lists_the_values_that_hold_of_which_a_part_is_one() -> None:
    yes_or_no = (dm.Category("yes"), dm.Category("no"))
    meanings = {"app": "yes", "ship": "no", "none": "no", "Mobile phone": "yes"}
    part = dm.Question("topics.app", yes_or_no, column="Tags", map=meanings)
    cells = [
        "app",
        "ship, APP",
        "ship;mobile phone",
        ["ship", "app"],
        "ship",
        "NONE",
        "other, ship",
        "other",
        "",
        "yes",
    ]
    assert [part.label_of(cell) for cell in cells] == ["yes"] * 4 + ["no"] * 3 + [None] * 3


PARTS = ("urgency", "topics.ship", "topics.app", "topicsx")


@pytest.mark.parametrize(
    ("said", "ship", "app"),
    [("app", "no", "yes"), (" APP ; ship,", "yes", "yes"), ("None", "no", "no"), ("", None, None), (None, None, None)],
)
def test_what_is_said_of_a_question_is_said_of_each_of_its_parts(
    said: str | None, ship: str | None, app: str | None
) -> None:
    assert dm.spread("topics", said, PARTS) == {"topics.ship": ship, "topics.app": app}
    assert dm.spread("urgency", said, PARTS) == {"urgency": said}
    assert dm.spread("topics.app", said, PARTS) == {"topics.app": said}
    assert dm.whole_names(PARTS) == ("urgency", "topics", "topicsx")


@pytest.mark.parametrize("said", ["ap", "app,none", ",", "yes", "app\0", "topics.app", "ß" * 99, "app,'; drop table"])
def test_what_is_no_list_of_values_says_nothing(said: str) -> None:
    with pytest.raises(dm.UsageError) as refused:
        dm.spread("topics", said, PARTS)
    assert refused.value.hint == "name one or several of ship,app with commas between them, or none"
    assert len(refused.value.message) < 80


def a_part(value: str | None, confidence: float | None = 0.9, suggestion: str | None = None) -> dm.GivenAnswer:
    state = "answered" if value else "unsure" if suggestion else "unanswered"
    return dm.GivenAnswer(value, suggestion, confidence, "model", "local", state=state)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ship", "app", "whole", "held"),
    [
        (a_part("yes"), a_part("yes", 0.7), ("ship,app", None, 0.7, "answered"), ("ship", "app")),
        (a_part("no"), a_part("no", 0.8), ("none", None, 0.8, "answered"), ("none",)),
        (a_part("yes"), a_part(None, 0.4, "yes"), (None, "ship,app", 0.4, "unsure"), ("ship", None)),
        (a_part("no"), a_part(None, 0.4, "no"), (None, None, 0.4, "unsure"), (None,)),
        (a_part("yes"), dm.GivenAnswer(), (None, "ship", None, "unanswered"), ("ship", None)),
    ],
)
def test_the_whole_is_as_sure_as_its_least_sure_part(
    ship: dm.GivenAnswer, app: dm.GivenAnswer, whole: tuple[object, ...], held: tuple[str | None, ...]
) -> None:
    ticket = dm.with_given(a_ticket(), {"topics.ship": ship, "topics.app": app, "topicsx": NOW})
    given = dm.given_answer(ticket, "topics")
    assert (given.value, given.suggestion, given.confidence, given.state) == whole
    assert dm.held_values(ticket, "topics") == held
    assert list(dm.answer_records(ticket)) == ["topics", "topics.ship", "topics.app", "topicsx"]
    assert dm.held_values(ticket, "topicsx") == ("now",)


def a_ticket(**fields: object) -> dm.Ticket:
    return replace(dm.Ticket.of_text("the shop is down", ticket_id="t-1", source="test"), **fields)


def test_answers_are_kept_with_the_ticket_and_an_open_one_makes_it_unanswered() -> None:
    ticket = dm.with_given(a_ticket(), {"urgency": NOW, "mood": dm.GivenAnswer()})
    assert dm.all_given(ticket, ("urgency", "mood")) == {"urgency": NOW, "mood": dm.GivenAnswer()}
    assert ticket.unanswered == 1
    assert dm.with_given(ticket, {"mood": LATER}).unanswered == 0
    assert '"urgency":{"value":"now",' in ticket.answers  # the value stands first, where a list looks for it


@pytest.mark.parametrize(("failures", "unanswered"), [(1, 1), (2, 1), (3, 0)])
def test_a_question_that_fails_three_times_is_not_asked_again_by_itself(failures: int, unanswered: int) -> None:
    assert (
        dm.with_given(a_ticket(), {"mood": dm.GivenAnswer(state="failed", failures=failures)}).unanswered == unanswered
    )


def test_another_text_opens_all_questions_but_those_that_a_person_answered() -> None:
    ticket = dm.reset(dm.with_given(a_ticket(), {"urgency": NOW, "mood": LATER}))
    assert (dm.given_answer(ticket, "urgency"), dm.given_answer(ticket, "mood")) == (dm.GivenAnswer(), LATER)
    assert ticket.unanswered == 1


def test_a_forgotten_ticket_keeps_no_reasons() -> None:
    forgotten = dm.without_reasons(dm.with_given(a_ticket(), {"urgency": NOW, "mood": dm.GivenAnswer()}))
    assert dm.given_answer(forgotten, "urgency") == replace(NOW, reason=None)
    assert (forgotten.unanswered, "down" in forgotten.answers) == (0, False)


@pytest.mark.parametrize("state", ["unsure", "failed", "unanswered"])
def test_an_open_required_question_holds_a_ticket_that_has_a_category(state: str) -> None:
    ticket = dm.with_given(a_ticket(status="classified", category="Billing"), {"urgency": dm.GivenAnswer(state=state)})  # type: ignore[arg-type]
    held = dm.settled_by(ticket, ("urgency",))
    assert (held.status, held.category) == ("needs_review", "Billing")
    assert dm.settled_by(dm.with_given(held, {"urgency": NOW}), ("urgency",)).status == "classified"
    assert dm.settled_by(ticket, ()).status == "classified"


def test_the_category_is_a_question_whose_answer_stands_in_columns() -> None:
    ticket = a_ticket(category="Billing", confidence=0.8, classifier="local", decision_id="a-2", status="classified")
    assert dm.given_answer(ticket, "category")[:3] == ("Billing", None, 0.8)
    assert dm.given_answer(ticket, "category").state == "answered"
    assert dm.given_answer(a_ticket(), "category").state == "unanswered"
