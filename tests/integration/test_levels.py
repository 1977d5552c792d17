"""Categories in levels: what people set stays as they set it, and a machine's label may become finer."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import product

import pytest

from tests.support.cli import Cli
from tests.support.fake_destination import FakeDestination
from tests.support.llm_server import Asked, Step, chat, refund_logprobs, running_llm_server
from tests.support.records import replace
from tests.support.review_pilot import Reviewer, reviewing
from tests.support.second_look import look
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.cli import PlainReview, ReviewSession, TicketQueue, View
from triage_cli.runtime import Budget
from triage_cli.service import RoutingMap

TREE = (
    dm.Category("Billing"),
    dm.Category("Billing/Refund", parent="Billing"),
    dm.Category("Billing/Refund/Late", parent="Billing/Refund"),
    dm.Category("Technical"),
)
NAMES = [category.name for category in TREE]


@pytest.fixture
def tree(world: World) -> World:
    world.categories = TREE
    return world


def held(world: World) -> dict[str, str | None]:
    return {ticket.subject or "": ticket.category for ticket in world.store.find(dm.Selection())}


def test_no_machine_widens_or_narrows_what_a_person_set(tree: World) -> None:
    pairs = list(product(NAMES, NAMES))
    list(tree.triage().create(dm.TicketDraft(n, n, f"{said} {found}") for n, (said, found) in enumerate(pairs)))
    ids = {ticket.subject: ticket.ticket_id for ticket in tree.store.find(dm.Selection())}
    list(tree.triage().give_verdicts(dm.VerdictDraft(n, ids[f"{s} {f}"], s) for n, (s, f) in enumerate(pairs)))

    def found(ticket: dm.Ticket, sure: float) -> tuple[str, float]:
        return (ticket.subject or "").split()[1], sure

    for sure in (0.9, 0.3):
        tree.classifier = FakeClassifier(partial(found, sure=sure), f"{sure}")
        list(tree.triage().classify(dm.Selection(), dm.ClassifyPlan()))
        list(tree.triage().reclassify(dm.Selection(), dm.ReclassifyPlan(dm.ClassifyPlan(), apply=True, doubted=True)))
        look(tree)
        assert held(tree) == {f"{said} {found}": said for said, found in pairs}


def reclassified(world: World, *, doubted: bool = False, most: str | None = None) -> Counter[str]:
    plan = dm.ReclassifyPlan(dm.ClassifyPlan(), apply=True, doubted=doubted, max_flips=most)
    outcomes: list[dm.Outcome[dm.Flip]] = list(world.triage().reclassify(dm.Selection(), plan))
    return Counter(outcome.action for outcome in outcomes)


def test_finer_labels_are_refined_and_no_flips_and_coarser_ones_change_nothing(tree: World) -> None:
    drafts = [
        dm.TicketDraft(n, n, subject) for n, subject in enumerate(("Billing", "Billing/Refund/Late", "Technical"))
    ]
    list(tree.triage().create(drafts))
    tree.classifier = FakeClassifier(lambda ticket: (ticket.subject, 0.9))
    list(tree.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    tree.classifier = FakeClassifier(
        lambda ticket: ("Technical" if ticket.subject == "Technical" else "Billing/Refund", 0.9), "second"
    )
    assert reclassified(tree, most="0") == {"refined": 1, "unanswered": 1, "confirmed": 1}
    assert held(tree) == {
        "Billing": "Billing/Refund", "Billing/Refund/Late": "Billing/Refund/Late", "Technical": "Technical",
    }  # fmt: skip
    assert reclassified(tree, doubted=True) == {"unchanged": 1, "widened": 1, "confirmed": 1}
    assert held(tree)["Billing/Refund/Late"] == "Billing/Refund", "sure at the level that the answer is sure of"


class Settling(FakeClassifier):
    """Answers with probabilities, at the level at which it is sure."""

    def rejudged(self, answer: dm.Classification, _text: str = "") -> dm.Classification:
        return dm.Levels.of(TREE).settled(answer, lambda _: self.threshold)

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        for outcomes in super().classify(chunks, budget):
            for outcome in outcomes:
                assert outcome.value is not None
                chances = '{"Billing/Refund":0.5,"Billing":0.8,"Technical":0.2}'
                step = self.rejudged(replace(outcome.value.steps[0], probabilities=chances))
                yield [replace(outcome, value=replace(outcome.value, steps=(step,), sure=step.is_sure))]


def test_a_cleared_verdict_leaves_the_level_and_the_guess_below_it(tree: World) -> None:
    list(tree.triage().create([dm.TicketDraft(0, 0, "s")]))

    tree.classifier = Settling(lambda _: ("Billing/Refund", 0.5))
    (outcome,) = tree.triage().classify(dm.Selection(), dm.ClassifyPlan())
    ticket = outcome.value.ticket if outcome.value else None
    assert ticket is not None
    expected = ("classified", "Billing", "Billing/Refund", 0.8)
    assert (ticket.status, ticket.category, ticket.suggestion, ticket.confidence) == expected
    (given,) = tree.triage().give_verdicts([dm.VerdictDraft(0, ticket.ticket_id, "technical")])
    assert given.value is not None
    assert (given.value.category, given.value.suggestion) == ("Technical", None)
    (cleared,) = tree.triage().give_verdicts([dm.VerdictDraft(0, ticket.ticket_id, None)])
    ticket = cleared.value
    assert ticket is not None
    assert (ticket.status, ticket.category, ticket.suggestion, ticket.confidence) == expected


def test_another_threshold_moves_a_stored_answer_to_the_level_that_it_is_sure_of(tree: World) -> None:
    settled(tree)
    for threshold, action, category in (
        (0.4, "refined", "Billing/Refund"), (0.7, "widened", "Billing"), (0.9, "doubted", None),
    ):  # fmt: skip
        tree.classifier.threshold = threshold
        assert reclassified(tree, doubted=True) == {action: 1}
        assert held(tree) == {"s": category}
        assert reclassified(tree, doubted=True) == ({"unchanged": 1} if category else {})
    (ticket,) = tree.store.find(dm.Selection())
    sentences = list(dm.explain(tree.triage().history(ticket.ticket_id)))
    assert "the answer of fake was applied, so Billing, which is above Billing/Refund, holds" in sentences[-3]


def settled(world: World, *, renewed: frozenset[str] = frozenset()) -> None:
    """Classify and route one ticket that is sure at Billing with 0.8, and whose guess below it has 0.5."""
    world.renewed = renewed
    world.destinations = {name: FakeDestination(name) for name in ("team", "others")}
    world.rules = (dm.Rule("team", ("team",), {"category": ("Billing", "Billing/Refund", "Billing/Refund/Late")}),)
    world.classifier = Settling(lambda _: ("Billing/Refund", 0.5))
    list(world.triage().create([dm.TicketDraft(0, 0, "s")]))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))


def taken(world: World) -> int:
    destination = world.destinations["team"]
    assert isinstance(destination, FakeDestination)
    return len(destination.got)


@pytest.mark.parametrize("again", [False, True])
def test_a_refinement_to_the_same_destination_sends_nothing_unless_it_is_to_be_told(tree: World, again: bool) -> None:
    settled(tree, renewed=frozenset({"team"} if again else ()))
    assert taken(tree) == 1
    (ticket,) = tree.store.find(dm.Selection())
    list(tree.triage().give_verdicts([dm.VerdictDraft(0, ticket.ticket_id, "Billing/Refund")]))
    for _ in range(2):
        (outcome,) = tree.triage().route(dm.Selection(ids=(ticket.ticket_id,)), dm.RoutePlan())
        assert outcome.value is not None
        assert (outcome.value.ticket.status, outcome.value.ticket.category) == ("routed", "Billing/Refund")
        assert taken(tree) == 1 + again
    tree.rules = (dm.Rule("refunds", ("others",), {"category": ("Billing/Refund",)}),)
    list(tree.triage().route(dm.Selection(ids=(ticket.ticket_id,)), dm.RoutePlan()))
    others = tree.destinations["others"]
    assert isinstance(others, FakeDestination)
    assert len(others.got) == 1, "another destination gets it"


@pytest.mark.parametrize(("named", "least", "matches"), [
    ("Billing", 0.8, True), ("Billing", 0.81, False), ("Billing/Refund", 0.5, True), ("Billing/Refund", 0.6, False),
])  # fmt: skip
def test_a_rule_looks_at_the_probability_of_the_level_that_it_names(named: str, least: float, matches: bool) -> None:
    levels = dm.Levels.of(TREE)
    accepted = tuple(name for name in NAMES if levels.is_within(name, named))
    routing_map = RoutingMap((dm.Rule("r", ("a",), {"category": accepted}, min_confidence=least),), "", FakeDestination)
    answer = dm.Classification(
        "c", "t", None, "s", "Billing/Refund", 0.5, "model", None, "s", "a", "f", 0.4,
        '{"Billing/Refund":0.5,"Billing":0.8,"Technical":0.2}', "k", "2026-01-01T00:00:00Z",
    )  # fmt: skip
    ticket = replace(dm.Ticket.of_text("x", ticket_id="t", source="s"), category="Billing/Refund", confidence=0.5)
    rule = replace(routing_map, levels=levels).match(ticket, answer, "")
    assert (rule is not None) is matches
    unknown = replace(answer, probabilities=None, confidence=0.9)
    at_child = replace(routing_map, levels=levels).match(replace(ticket, confidence=0.9), unknown, "")
    assert at_child is not None, "without probabilities a parent has its child's confidence"


def test_counts_by_the_first_level_and_what_overrules_a_machine(tree: World) -> None:
    settled(tree)
    list(tree.triage().create([dm.TicketDraft(1, 1, "t"), dm.TicketDraft(2, 2, "u")]))
    list(tree.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    first, second, _ = sorted(ticket.ticket_id for ticket in tree.store.find(dm.Selection()))
    given = [dm.VerdictDraft(0, first, "Billing/Refund/Late"), dm.VerdictDraft(1, second, "Technical")]
    list(tree.triage().give_verdicts(given))
    groups = tree.triage().stats_by(dm.StatsQuery(by=("category:1", "status")))
    assert {(group.keys["category:1"], group.tickets) for group in groups if group.tickets} >= {("Technical", 1)}
    assert sum(group.tickets for group in groups if group.keys["category:1"] == "Billing") == 2
    (week,) = tree.triage().overruled(None, None)
    assert (week.category, week.judged, week.overruled) == ("Billing", 2, 1)


def test_a_review_asks_for_the_first_level_and_then_for_what_is_below(tree: World) -> None:
    tree.classifier = FakeClassifier(lambda _: ("Billing/Refund", 0.3))
    list(tree.triage().create(dm.TicketDraft(n, n, f"s{n}") for n in range(3)))
    list(tree.triage().classify(dm.Selection(), dm.ClassifyPlan()))

    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("1 Billing↵  2 Technical")
        await reviewer.press("1", see="below Billing; 1 is Billing itself, esc goes back")
        await reviewer.sees("2 Billing/Refund↵")
        await reviewer.press("escape", see="1 Billing↵  2 Technical")
        await reviewer.press("1", "1", see=": Billing; u takes it back")
        await reviewer.press("1", "2", see="below Billing/Refund; 1 is Billing/Refund itself")
        await reviewer.press("2", see=": Billing/Refund/Late; u takes it back")

    reviewing(tree.triage(), script)
    assert Counter(held(tree).values()) == {"Billing": 1, "Billing/Refund/Late": 1, None: 1}
    shown: list[str] = []
    session = ReviewSession(tree.triage(), tree.triage().questions())
    PlainReview(
        session, TicketQueue(session.triage, View(), session.category_names), iter(["1", "2", "1"]), shown.append
    ).work()
    assert Counter(held(tree).values()) == {"Billing": 1, "Billing/Refund/Late": 1, "Billing/Refund": 1}


CASCADE = """
categories: [Billing, Billing/Refund, Technical]
classifier: both
classifiers:
  small: {{type: openai, model: small, base_url: "{url}", api_key_env: null, max_retries: 0}}
  large: {{type: openai, model: large, base_url: "{url}", api_key_env: null, max_retries: 0}}
  both: {{type: cascade, steps: [small, large]}}
routes: {{Billing: billing, Technical: technical}}
destinations:
  billing: {{type: file, path: billing.jsonl}}
  technical: {{type: file, path: technical.jsonl}}
"""


def test_a_cascade_goes_on_until_some_level_is_sure(cli: Cli) -> None:
    chances = {"small one": (0.9, 0.55), "small none": (0.5, 0.5), "large": (0.95, 0.95)}

    def script(_n: int, asked: Asked) -> Step:
        key = "large" if asked.body["model"] == "large" else "small one" if "parent" in asked.ticket else "small none"
        return Step(chat('{"category": "Billing/Refund"}', logprobs=refund_logprobs(*chances[key])))

    with running_llm_server(script) as server:
        (cli.folder / "config.yaml").write_text(CASCADE.format(url=server.url))
        ran = cli("run", "-q", stdin="id,description\na,the parent is sure\nb,neither level is\n")
        assert ran.returncode == 0, ran.stderr
        assert [asked.body["model"] for asked in server.asked].count("large") == 1
        (cli.folder / "labelled.csv").write_text("description,label\nthe parent,Billing/Refund\nof none,Technical\n")
        assert cli("eval", "labelled.csv", "--classifier", "small", "--report", "r.html").returncode == 0
    levels = (cli.folder / "r.html").read_text().partition("<h3>By level</h3>")[2].partition("</table>")[0]
    assert re.findall("<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>", levels) == [
        ("1", "2", "50.0%"), ("2", "1", "100.0%"),
    ]  # fmt: skip
    columns = "external_id,category,suggestion,confidence,classifier,routed_to"
    listed = cli("list", "--columns", columns, "-o", "csv", "--sort", "external_id").stdout
    assert listed.splitlines()[1:] == [
        "a,Billing,Billing/Refund,0.9,small,billing",
        "b,Billing/Refund,,0.9025,large,billing",
    ]
    assert (cli.folder / "billing.jsonl").read_text().count("\n") == 2
