"""Further questions: what is asked about a ticket, what is kept of the answers, and what a stop or a person leaves."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import running_server
from tests.support.records import replace
from tests.support.use_cases import (
    ALL,
    PLAN,
    a_draft,
    classify,
    create,
    drafts,
    log_is_whole,
    made,
    now,
    route,
    run,
    to_file,
)
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.extensions.postgres import ServerTrail
from triage_cli.runtime import Budget
from triage_cli.stores import SqliteStore, trail

URGENCY = dm.Question("urgency", (dm.Category("now"), dm.Category("soon"), dm.Category("later")))
MOOD = dm.Question("mood", (dm.Category("calm"), dm.Category("upset")))


class Panel(FakeClassifier):
    """Answers each question with a value of its own; `unsure` and `failing` name questions, `late` is answered last."""

    def __init__(self, unsure: Sequence[str] = (), failing: Sequence[str] = (), late: str = "") -> None:
        super().__init__()
        self.values = {"category": "Billing", "urgency": "now", "mood": "calm"}
        self.unsure, self.failing, self.late = set(unsure), set(failing), late
        self.stops_before_late = False
        self.questions_asked: list[tuple[str | None, tuple[str, ...]]] = []

    def fingerprints_of(self, question: str) -> tuple[str, ...]:
        return (self.fingerprint if question == "category" else f"{self.fingerprint} {question}",)

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], _budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        for chunk in chunks:
            self.questions_asked += [(t.external_id, t.asked) for t in chunk]
            first = [(t, question) for t in chunk for question in t.asked if question != self.late]
            yield [self._answer_to(t, question) for t, question in first]
            if self.stops_before_late and chunk:
                raise dm.UnavailableError("the provider is gone")
            yield [self._answer_to(t, self.late) for t in chunk if self.late in t.asked]

    def _answer_to(self, ticket: dm.Ticket, question: str) -> dm.Outcome[dm.Answer]:
        if question in self.failing:
            answer = dm.Answer(ticket, (), sure=False, question=question)
            return dm.Outcome.failed(ticket, dm.AnswerError("it said nothing"), answer)
        confidence = 0.3 if question in self.unsure else 0.9
        (fingerprint,) = self.fingerprints_of(question)
        step = dm.Classification(
            dm.ids.new_id(), ticket.ticket_id, None, "fake", self.values[question], confidence, "model", "because",
            "fake", "test", fingerprint, self.threshold, None,
            dm.ids.answer_key(fingerprint, ticket.text), dm.times.now(),
            question=question,
        )  # fmt: skip
        answer = dm.Answer(ticket, (step,), confidence >= self.threshold, question=question)
        return dm.Outcome(0, dm.Action.ANSWERED, answer, None, ticket)


def asking(world: World, panel: Panel | None = None, *questions: dm.Question) -> Panel:
    world.further = questions or (URGENCY, MOOD)
    panel = panel or Panel()
    world.classifier = panel
    return panel


def answers(world: World, ticket: dm.Ticket) -> dict[str, dm.GivenAnswer]:
    return dm.all_given(now(world, ticket), [question.name for question in world.further])


def values(world: World, ticket: dm.Ticket) -> dict[str, str | None]:
    return {name: answer.value for name, answer in answers(world, ticket).items()}


def states(world: World, ticket: dm.Ticket) -> dict[str, str]:
    return {name: answer.state for name, answer in answers(world, ticket).items()}


def undescribed(value: Any, schema: dict[str, Any], description: dict[str, Any]) -> list[str]:
    """Return the keys in a JSON value that its schema does not name."""
    if "$ref" in schema:
        schema = description["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return min((undescribed(value, each, description) for each in schema["anyOf"]), key=len)
    if isinstance(value, list):
        return [key for item in value for key in undescribed(item, schema.get("items", {}), description)]
    if not isinstance(value, dict) or not (properties := schema.get("properties")):
        return []
    unknown = [key for key in value if key not in properties]
    return unknown + [
        k for key in value.keys() & properties for k in undescribed(value[key], properties[key], description)
    ]


def test_all_questions_are_asked_together_and_decided_in_one_change(world: World) -> None:
    panel = asking(world)
    (ticket,) = made(world)
    assert states(world, ticket) == {"urgency": "unanswered", "mood": "unanswered"}
    (outcome,) = classify(world)
    assert panel.questions_asked == [("0", ("category", "urgency", "mood"))]
    assert outcome.value
    assert outcome.value.now
    assert (outcome.value.now.category, outcome.value.ticket.category) == ("Billing", "Billing")
    assert values(world, ticket) == {"urgency": "now", "mood": "calm"}
    history = world.triage().history(ticket.ticket_id)
    assert sorted(answer.question for answer in history.classifications) == ["category", "mood", "urgency"]
    assert [event.action for event in history.events] == ["created", "classified"]
    assert log_is_whole(world)
    assert classify(world) == []


def test_the_api_tells_the_category_and_beside_it_the_answers_to_further_questions(
    world: World, tmp_path: Path
) -> None:
    panel = asking(world, Panel(failing=("mood",)))
    (ticket,) = made(world)
    path = f"/tickets/{ticket.ticket_id}/classify"
    with running_server(tmp_path, services=world.services()) as server, server.client() as client:
        told = client.post(path).json()
        assert [told[key] for key in ("classification", "reason", "classifier")] == ["Billing", "because", "fake"]
        assert {name: answer["state"] for name, answer in told["answers"].items()} == {
            "urgency": "answered",
            "mood": "failed",
        }
        panel.failing.clear()
        told = client.post(path).json()
        assert (told["classification"], told["answers"]["mood"]["value"], told["asked"]) == ("Billing", "calm", True)
        assert [sorted(category) for category in client.get("/categories").json()] == [
            ["description", "examples", "name", "was"]
        ] * len(world.categories)


def test_no_answer_of_the_api_has_a_key_that_the_description_lacks(world: World, tmp_path: Path) -> None:
    asking(world)
    (ticket,) = made(world)
    paths = {
        "/tickets/{ticket_id}": f"/tickets/{ticket.ticket_id}",
        "/tickets": "/tickets",
        "/stats/groups": "/stats/groups?by=language",
        "/categories": "/categories",
        "/questions": "/questions",
    }
    with running_server(tmp_path, services=world.services()) as server, server.client() as client:
        description = client.get("/openapi.json").json()
        line = json.loads(client.post("/classify").text.partition("\n")[0])
        assert undescribed(line, {"$ref": "#/components/schemas/Line"}, description) == []
        for path, requested in paths.items():
            schema = description["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            assert undescribed(client.get(requested).json(), schema, description) == [], path


def test_the_category_is_saved_before_the_answer_that_a_stop_leaves_open_and_the_next_run_asks_that_alone(
    world: World,
) -> None:
    panel = asking(world, Panel(late="urgency"))
    panel.stops_before_late = True
    (ticket,) = made(world)
    outcomes = []
    with pytest.raises(dm.UnavailableError):
        outcomes += list(world.triage().classify(dm.Selection(), PLAN))
    half = now(world, ticket)
    assert (half.status, half.category, half.unanswered) == ("classified", "Billing", 1)
    assert values(world, ticket) == {"urgency": None, "mood": "calm"}
    panel.stops_before_late = False
    panel.questions_asked.clear()
    (outcome,) = classify(world)
    assert panel.questions_asked == [("0", ("urgency",))]
    assert (outcome.action, values(world, ticket)) == ("classified", {"urgency": "now", "mood": "calm"})
    assert classify(world) == []
    assert log_is_whole(world)


def test_a_row_of_run_comes_out_with_its_last_answer_or_where_the_run_ends(world: World, tmp_path: Path) -> None:
    lines = to_file(world, tmp_path)
    asking(world, Panel(late="mood"))
    outcomes = run(world, drafts(3))
    assert [o.row for o in outcomes] == [0, 1, 2]
    assert all(values(world, o.value.ticket) == {"urgency": "now", "mood": "calm"} for o in outcomes if o.value)
    assert [line["ticket"]["answers"]["mood"]["value"] for line in lines()] == ["calm"] * 3


@pytest.mark.parametrize("failures", [1, 3])
def test_a_failing_question_fails_no_ticket_and_is_given_up_after_three_failures(world: World, failures: int) -> None:
    panel = asking(world, Panel(failing=["mood"]))
    (ticket,) = made(world)
    for _ in range(failures):
        (outcome,) = classify(world)
        assert (outcome.action, outcome.error) == ("classified", None)
    assert answers(world, ticket)["mood"][7:10] == ("failed", failures, "it said nothing")
    assert panel.questions_asked[1:] == [("0", ("mood",))] * (failures - 1)
    assert bool(classify(world)) == (failures < 3)


@pytest.mark.parametrize("state", ["unsure", "failed"])
def test_an_open_required_question_holds_the_ticket_until_a_person_answers_it(world: World, state: str) -> None:
    panel = Panel(unsure=["urgency", "mood"]) if state == "unsure" else Panel(failing=["urgency", "mood"])
    asking(world, panel, replace(URGENCY, required=True), MOOD)
    (ticket,) = made(world)
    (outcome,) = classify(world)
    assert (outcome.action, now(world, ticket).category) == ("needs_review", "Billing")
    assert world.triage().why("0").why[-1].endswith("what is required: triage verdict 0 urgency=VALUE.")
    judge(world, ticket, "Technical")
    assert now(world, ticket).status == "needs_review"  # a verdict on the category does not release it
    judge(world, ticket, "later", "urgency")
    assert (now(world, ticket).status, now(world, ticket).category) == ("classified", "Technical")
    judge(world, ticket, None, "urgency")
    assert now(world, ticket).status == "needs_review"
    judge(world, ticket, None)
    assert (now(world, ticket).status, now(world, ticket).category) == ("needs_review", "Billing")


def judge(world: World, ticket: dm.Ticket, value: str | None, question: str = "category") -> None:
    (outcome,) = world.triage().give_verdicts([dm.VerdictDraft(0, ticket.ticket_id, value, question=question)])
    assert outcome.error is None, outcome.error


def test_no_machine_changes_what_a_person_answered_question_by_question(world: World) -> None:
    panel = asking(world)
    (ticket,) = made(world)
    judge(world, ticket, "later", "urgency")
    classify(world)
    assert panel.questions_asked == [("0", ("category", "mood"))]
    assert values(world, ticket) == {"urgency": "later", "mood": "calm"}
    (unknown,) = world.triage().give_verdicts([dm.VerdictDraft(0, ticket.ticket_id, "never", question="urgency")])
    assert str(unknown.error) == '0: no urgency "never"'.replace("0", ticket.ticket_id, 1)
    (unasked,) = world.triage().give_verdicts([dm.VerdictDraft(0, ticket.ticket_id, "x", question="colour")])
    assert unasked.error
    assert unasked.error.hint == "the questions are urgency, mood"


def test_several_verdicts_on_a_ticket_in_one_input_are_all_kept(world: World) -> None:
    asking(world)
    tickets = made(world, 3)
    given = [
        dm.VerdictDraft(2 * n + k, t.ticket_id, value, question=question)
        for n, t in enumerate(tickets)
        for k, (question, value) in enumerate([("urgency", "soon"), ("category", "General")])
    ]
    assert [o.action for o in world.triage().give_verdicts(given)] == ["verdict"] * 6
    assert [(now(world, t).category, values(world, t)["urgency"]) for t in tickets] == [("General", "soon")] * 3
    assert log_is_whole(world)


def test_a_decided_ticket_is_asked_what_is_still_open(world: World) -> None:
    """As one whose category an import brings, or a person gave before any classifier was asked."""
    panel = asking(world)
    (ticket,) = create(world, drafts(1, verdict="Technical"))
    assert ticket.value
    classify(world)
    assert panel.questions_asked == [("0", ("urgency", "mood"))]
    assert (now(world, ticket.value).category, values(world, ticket.value)["urgency"]) == ("Technical", "now")


def test_another_text_opens_what_no_person_answered(world: World) -> None:
    panel = asking(world)
    (ticket,) = made(world)
    classify(world)
    judge(world, ticket, "Technical")
    judge(world, ticket, "upset", "mood")
    panel.questions_asked.clear()
    create(world, drafts(1, description="Another text"))
    assert states(world, ticket) == {"urgency": "unanswered", "mood": "answered"}
    classify(world)
    assert panel.questions_asked == [("0", ("urgency",))]


def test_a_question_added_later_is_asked_of_named_tickets_alone_and_by_itself(world: World) -> None:
    panel = asking(world, None, MOOD)
    (ticket,) = made(world)
    classify(world)
    asking(world, panel)
    panel.questions_asked.clear()
    assert classify(world) == []  # what was decided before is asked when somebody names it
    shown = next(world.triage().find(dm.Selection()))
    assert json.loads(shown.answers)["urgency"] == {"value": None}
    classify(world, ticket)
    assert panel.questions_asked == [("0", ("urgency",))]


def test_rules_look_at_answers_and_null_is_an_open_one(world: World, tmp_path: Path) -> None:
    asking(world, Panel(unsure=["mood"]))
    boxes = {name: to_file(world, tmp_path, name) for name in ("fast", "open", "rest")}
    for name in boxes:
        (tmp_path / f"{name}.jsonl").touch()
    (ticket,) = made(world)
    classify(world)
    world.rules = (
        dm.Rule("routes[0]", ("fast",), {"category": ("Billing",), "urgency": ("now", "soon")}),
        dm.Rule("routes[1]", ("open",), {"mood": (None,)}),
        dm.Rule("routes[2]", ("rest",)),
    )
    route(world)
    assert [len(box()) for box in boxes.values()] == [1, 0, 0]
    judge(world, ticket, "later", "urgency")
    route(world)
    assert [len(box()) for box in boxes.values()] == [1, 1, 0]
    judge(world, ticket, "calm", "mood")
    route(world)
    assert [len(box()) for box in boxes.values()] == [1, 1, 1]


def test_lists_and_counts_know_answers(world: World) -> None:
    asking(world, Panel(unsure=["mood"]))
    tickets = made(world, 3)
    classify(world)
    judge(world, tickets[1], "later", "urgency")
    triage = world.triage()

    def found(*named: str) -> set[str | None]:
        return {t.external_id for t in triage.find(dm.Selection(answers=named))}

    assert found("urgency=now") == {"0", "2"}
    assert found("urgency=later", "mood=") == {"1"}
    assert found("mood=calm") == set()

    groups = triage.stats_by(dm.StatsQuery(by=("urgency", "mood")))
    assert [(group.keys, group.tickets) for group in groups] == [
        ({"urgency": "later", "mood": None}, 1), ({"urgency": "now", "mood": None}, 2),
    ]  # fmt: skip


YES_OR_NO = (dm.Category("yes"), dm.Category("no"))
SHIP, APP = dm.Question("topics.ship", YES_OR_NO), dm.Question("topics.app-2", YES_OR_NO)


def test_of_a_question_with_several_values_each_is_decided_for_itself(world: World, tmp_path: Path) -> None:
    panel = Panel(unsure=["topics.app-2"])
    panel.values |= {"topics.ship": "yes", "topics.app-2": "no"}
    asking(world, panel, SHIP, APP)
    names = {"open": (None,), "ship": ("ship",), "none": ("none",), "rest": ()}
    boxes = {name: to_file(world, tmp_path, name) for name in names}
    for name in boxes:
        (tmp_path / f"{name}.jsonl").touch()
    several = ("none", "app-2")
    rules = [
        dm.Rule("routes[0]", ("none",), {"topics": several}),
        dm.Rule("routes[1]", ("ship",), {"topics": ("ship",)}),
    ]
    world.rules = (*rules, dm.Rule("routes[2]", ("open",), {"topics": (None,)}), dm.Rule("routes[3]", ("rest",)))
    (ticket,) = made(world)
    classify(world)
    route(world)
    judge(world, ticket, "no", "topics.ship")
    route(world)
    judge(world, ticket, "no", "topics.app-2")
    route(world)
    assert [len(box()) for box in boxes.values()] == [1, 1, 1, 0]
    told = boxes["none"]()[0]["ticket"]["answers"]
    assert (told["topics"]["value"], told["topics"]["verdict"], told["topics.ship"]["value"]) == ("none", True, "no")

    (group,) = world.triage().stats_by(dm.StatsQuery(by=("topics.ship", "topics.app-2")))
    assert (group.keys, group.tickets) == ({"topics.ship": "no", "topics.app-2": "no"}, 1)
    assert len(list(world.triage().find(dm.Selection(answers=("topics.app-2=no",))))) == 1
    assert log_is_whole(world)


def test_forgetting_erases_the_reasons_of_answers(world: World) -> None:
    asking(world)
    (ticket,) = made(world, customer_id="C-1")
    classify(world)
    list(world.triage().forget("C-1"))
    assert "because" not in now(world, ticket).answers
    assert [a.reason for a in world.triage().history(ticket.ticket_id).classifications] == [None] * 3


ALARM, AGAIN = "Volume nearly full on host 17", "on HOST 3: volume nearly full"


def stored(world: World, draft: dm.TicketDraft) -> list[dm.Ticket]:
    return [o.value for o in create(world, [replace(draft, subject="Disk alarm")]) if o.value]


def decide(world: World, ticket: dm.Ticket, question: str, value: str | None, actor: str = "ada") -> None:
    list(world.triage(actor).give_verdicts([dm.VerdictDraft(0, ticket.ticket_id, value, question=question)]))


def decided_alarm(world: World) -> dm.Ticket:
    """Store a ticket about whose urgency a person decides, and of which a classifier tells the rest."""
    (ticket,) = stored(world, a_draft(0, "V-1", customer_id="C-1", description=ALARM))
    classify(world)
    decide(world, ticket, "urgency", "later")
    return ticket


def follower(world: World, name: str = "F-1") -> dm.Ticket:
    (ticket,) = stored(world, a_draft(1, name, description=AGAIN))
    classify(world)
    return now(world, ticket)


def why(world: World, ticket: dm.Ticket) -> str:
    return "\n".join(world.triage().why(ticket.ticket_id).why)


def test_a_verdict_on_a_question_holds_for_the_same_text_and_the_rest_is_asked(world: World) -> None:
    panel = asking(world)
    precedent = decided_alarm(world)
    panel.questions_asked.clear()
    ticket = follower(world)
    assert panel.questions_asked == [("F-1", ("category", "mood"))]
    given = answers(world, ticket)["urgency"]
    assert (given.value, given.confidence, given.confidence_source, given.verdict, given.state) == (
        "later", None, "precedent", False, "answered",
    )  # fmt: skip
    assert values(world, ticket) == {"urgency": "later", "mood": "calm"}
    sentence = "urgency: later, without asking a classifier: same text as V-1, which ada decided"
    assert sentence in why(world, ticket)
    assert "urgency: 1 ticket with the same text got this answer" in why(world, precedent)
    assert [o.action for o in classify(world, ticket)] == ["unchanged"], "it is asked nothing again"
    assert classify(world, ticket, plan=dm.ClassifyPlan(force=True))
    assert values(world, ticket)["urgency"] == "now"
    assert "urgency: A person decided the same text (V-1: later)" in why(world, ticket)
    classify(world, ticket)
    assert values(world, ticket)["urgency"] == "later"
    assert log_is_whole(world)


@pytest.mark.parametrize("end", ["cleared", "changed", "disputed", "forced", "forgotten"])
def test_what_follows_a_verdict_on_a_question_ends_with_it(world: World, tmp_path: Path, end: str) -> None:
    lines = to_file(world, tmp_path)
    panel = asking(world)
    precedent = decided_alarm(world)
    ticket = follower(world)
    route(world)
    sent = len(lines())
    panel.questions_asked.clear()
    if end == "cleared":
        decide(world, precedent, "urgency", None)
    elif end == "changed":
        decide(world, precedent, "urgency", "soon")
    elif end == "disputed":
        (second,) = stored(world, a_draft(2, "V-2", description=AGAIN))
        decide(world, second, "urgency", "soon", "bob")
        assert "urgency: People decided this text differently (V-1: later, V-2: soon)" in why(world, ticket)
    elif end == "forced":
        classify(world, precedent, plan=dm.ClassifyPlan(force=True))
        panel.questions_asked.clear()
    else:
        list(world.triage().forget("C-1"))
        told = "select reason, '' from classifications union all select answers, reason from tickets"
        assert not any("V-1" in str(row) for row in world.store.database.read(told))
    classify(world)
    expected = ("soon", "precedent") if end == "changed" else ("now", "model")
    given = answers(world, ticket)["urgency"]
    assert (given.value, given.confidence_source) == expected
    asked = {name: questions for name, questions in panel.questions_asked if name == "F-1"}
    assert asked == ({} if end == "changed" else {"F-1": ("urgency",)})
    route(world)
    assert len([line for line in lines() if line["ticket"]["external_id"] in ("V-1", "F-1")]) == sent
    assert world.store.precedents.changed() == []
    assert log_is_whole(world)


def test_a_required_answer_that_ends_with_its_precedent_holds_its_ticket(world: World) -> None:
    asking(world, None, replace(URGENCY, required=True))
    precedent = decided_alarm(world)
    ticket = follower(world)
    assert ticket.status == "classified"
    decide(world, precedent, "urgency", None)
    held = now(world, ticket)
    assert (held.status, held.category, states(world, ticket)) == ("needs_review", "Billing", {"urgency": "unanswered"})
    assert "urgency: ada: the verdict on the same text holds no more, so it is not later any more" in why(world, held)
    classify(world)
    assert now(world, ticket).status == "classified"


def test_an_answer_that_is_gone_from_its_table_is_missed_by_audit_verify(world: World) -> None:
    asking(world)
    made(world)
    classify(world)
    assert missing(world) == []
    world.store.database.write(lambda db: db.execute("delete from classifications where question = 'mood'"))
    (sentence,) = missing(world)
    assert sentence.endswith("to a further question is gone from the table of classifications")


def again(world: World, question: str = "urgency", selection: dm.Selection = ALL, **plan: Any) -> Counter[str]:
    """Ask a question again, and return how many tickets had which outcome."""
    outcomes = world.triage().reclassify(selection, dm.ReclassifyPlan(question=question, **plan))
    return Counter(outcome.action for outcome in outcomes)


def another(unsure: Sequence[str] = (), **instead: str) -> Panel:
    """Return a panel that is another classifier, with other answers."""
    panel = Panel(unsure)
    panel.fingerprint, panel.values = "fake-2", panel.values | instead
    return panel


def test_reclassify_asks_one_question_again_and_changes_all_machines_answers_or_none(
    world: World, tmp_path: Path
) -> None:
    asking(world)
    boxes = {name: to_file(world, tmp_path, name) for name in ("fast", "rest")}
    (tmp_path / "rest.jsonl").touch()
    world.rules = (dm.Rule("routes[0]", ("fast",), {"urgency": ("now",)}), dm.Rule("routes[1]", ("rest",)))
    tickets = made(world, 3)
    classify(world)
    judge(world, tickets[2], "now", "urgency")
    route(world)
    decisions = [now(world, ticket).decision_id for ticket in tickets]
    panel = asking(world, another(category="Technical", urgency="later", mood="upset"))
    assert again(world) == {"flip": 2, "locked": 1}
    assert Counter(panel.questions_asked) == {("0", ("urgency",)): 1, ("1", ("urgency",)): 1}
    with pytest.raises(dm.CheckError, match="2 of 2 tickets would flip"):
        again(world, apply=True, max_flips="1")
    assert [values(world, ticket)["urgency"] for ticket in tickets] == ["now"] * 3
    assert again(world, apply=True, max_flips="2") == {"flipped": 2, "locked": 1}
    assert len(panel.questions_asked) == 2, "what was answered is kept"
    assert [values(world, ticket) for ticket in tickets] == [
        *[{"urgency": "later", "mood": "calm"}] * 2, {"urgency": "now", "mood": "calm"},
    ]  # fmt: skip
    assert [now(world, ticket).decision_id for ticket in tickets] == decisions, "the category is another question"
    assert [now(world, ticket).status for ticket in tickets] == ["routed"] * 3, "what was sent stays where it is"
    assert again(world, apply=True) == {"unchanged": 2, "locked": 1}
    told = why(world, tickets[0])
    assert "urgency: fake answered later at 0.90, because of: because\n" in told
    assert "urgency: that confirms" not in told
    assert "urgency: the answer of fake was applied, so later holds instead of now" in told
    judge(world, tickets[0], "soon", "urgency")
    judge(world, tickets[0], None, "urgency")
    assert values(world, tickets[0])["urgency"] == "later", "the last answer that was applied holds again"
    assert again(world, "mood", apply=True, reroute=True) == {"flipped": 3}
    assert [len(box()) for box in boxes.values()] == [3, 1], "with reroute, what was sent and changed is sent on"
    route(world)
    assert [len(box()) for box in boxes.values()] == [3, 2], "and by the next route what a verdict had changed"
    assert log_is_whole(world)
    assert missing(world) == []


@pytest.mark.parametrize("required", [True, False])
def test_reclassify_compares_known_answers_with_another_threshold(world: World, required: bool) -> None:
    """What is not sure any more is open with `doubted`, and holds its ticket where the question is required."""
    panel = asking(world, None, replace(URGENCY, required=required))
    (ticket,) = made(world)
    classify(world)
    panel.threshold = 0.95
    assert again(world, apply=True) == {"unanswered": 1}
    assert again(world, apply=True, doubted=True) == {"doubted": 1}
    doubted = answers(world, ticket)["urgency"]
    assert (doubted.value, doubted.suggestion, doubted.state) == (None, "now", "unsure")
    assert now(world, ticket).status == ("needs_review" if required else "classified")
    assert "so now is in doubt: below its threshold of 0.95, so it is a suggestion" in why(world, ticket)
    panel.threshold = 0.6
    assert again(world, max_flips="0") == {"settled": 1}
    assert again(world, apply=True) == {"settled": 1}
    assert (now(world, ticket).status, values(world, ticket)) == ("classified", {"urgency": "now"})
    assert again(world, apply=True) == {"unchanged": 1}
    assert len(panel.questions_asked) == 1


def test_reclassify_leaves_a_question_alone_that_was_never_asked_and_refuses_one_that_is_none(world: World) -> None:
    asking(world, None, MOOD)
    made(world)
    classify(world)
    panel = asking(world)
    assert again(world, apply=True) == {"unanswered": 1}
    assert panel.questions_asked == []
    with pytest.raises(dm.UsageError, match='no question "colour"'):
        again(world, "colour")


def test_a_verdict_that_is_given_while_reclassify_asks_holds(world: World) -> None:
    asking(world)
    (ticket,) = made(world)
    classify(world)

    class Interrupted(Panel):
        def classify(
            self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
        ) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
            for outcomes in super().classify(chunks, budget):
                if outcomes:
                    judge(world, ticket, "soon", "urgency")
                yield outcomes

    panel = asking(world, Interrupted())
    panel.fingerprint, panel.values["urgency"] = "fake-2", "later"
    assert again(world, apply=True) == {"held": 1}
    assert values(world, ticket)["urgency"] == "soon"


def missing(world: World) -> list[str]:
    if isinstance(world.store, SqliteStore):
        with trail(str(world.store.path)) as sqlite_trail:
            return list(sqlite_trail.strays())
    return list(ServerTrail(world.store).strays())
