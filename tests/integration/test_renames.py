"""A category that is renamed keeps its tickets, verdicts, deliveries and model, and nobody is asked again."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.cli import Cli
from tests.support.commands import TICKETS, is_whole, many, rows
from tests.support.http_stub import HttpStub, a_delivery
from tests.support.llm_server import LlmServer, Step, chat, running_llm_server, verdict
from tests.support.records import replace
from tests.support.world import CATEGORIES, FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.ports import Destination
from triage_cli.service import LocalTriage, RoutingMap, root_of, rooted
from triage_cli.stores import BEARS_CATEGORY

HEIR = "[{name: Money, was: [Billing], description: 'Invoices, charges, payments, refunds, subscriptions'}, \
{name: Technical, description: 'Errors, bugs, logins, outages, performance, integrations'}, \
{name: General, description: 'Everything else: questions, feedback, orders, accounts, how-tos'}]"


def configure(cli: Cli, categories: str = "", server: LlmServer | None = None) -> None:
    text = f"categories: {categories}\n" if categories else "offline: false\n"
    if server is not None:
        text += "classifier: gpt\nclassifiers:\n"
        text += f"  gpt: {{type: openai, model: m, base_url: {server.url}, api_key_env: null}}\n"
    (cli.folder / "config.yaml").write_text(text)


def holding(cli: Cli) -> Counter[tuple[str, str | None]]:
    return Counter((t["status"], t["category"]) for t in map(json.loads, cli("list").stdout.splitlines()))


def test_tickets_verdicts_and_the_embedded_model_follow(fitted: Cli) -> None:
    configure(fitted)
    assert fitted("run", "-q", stdin=TICKETS).returncode == 0
    assert fitted("verdict", "A-2", "Billing", "-q").returncode == 0
    assert fitted("route", "-q").returncode == 0
    before = rows(fitted.db, "select count(*) from classifications")
    models = rows(fitted.db, "select fingerprint from models")
    configure(fitted, HEIR)
    check = fitted("config", "check")
    assert check.returncode == 0
    assert "warning" not in check.stderr
    done = fitted("reclassify", "-q", "--apply", "--reroute", "-o", "jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert holding(fitted) == {("routed", "Money"): 2, ("routed", "General"): 1}
    assert rows(fitted.db, "select distinct value from verdicts_v") == [("Money",)]
    assert rows(fitted.db, "select count(*) from classifications") == before, "nobody was asked"
    assert rows(fitted.db, "select fingerprint from models") == models, "and no model was fitted"
    [event] = map(json.loads, fitted("logs", "--action", "renamed").stdout.splitlines())
    assert event["detail"] == {"from": "Billing", "to": "Money", "tickets": 2}
    assert fitted("route", "A-1", "-q").returncode == 0
    assert len(json.loads(fitted("show", "A-1").stdout)["deliveries"]) == 1, "what was accepted is not sent again"
    assert fitted("run", "-q", stdin=many(2)).returncode == 0
    assert holding(fitted)["routed", "Money"] == 4, "the same model answers by the new name"
    assert rows(fitted.db, "select count(*) from models") == [(len(models),)]
    assert rows(fitted.db, "select count(*) from events where action = 'renamed'") == [(1,)]
    assert is_whole(fitted.db)


def test_what_only_reads_tells_the_new_name_before_any_run_has_carried_the_rename_out(fitted: Cli) -> None:
    configure(fitted)
    assert fitted("run", "-q", stdin=TICKETS).returncode == 0
    assert fitted("verdict", "A-2", "Billing", "-q").returncode == 0
    assert holding(fitted) == {("routed", "Billing"): 1, ("classified", "Billing"): 1, ("routed", "General"): 1}
    before = rows(fitted.db, "select count(*) from events")
    configure(fitted, HEIR)
    assert holding(fitted) == {("routed", "Money"): 1, ("classified", "Money"): 1, ("routed", "General"): 1}
    for name in ("Money", "Billing"):
        found = list(map(json.loads, fitted("list", "--category", name).stdout.splitlines()))
        assert [t["external_id"] for t in found] == ["A-2", "A-1"]
        assert {t["category"] for t in found} == {"Money"}
    assert json.loads(fitted("list", "--category", "Money", "--limit", "1").stdout)["external_id"] == "A-2"
    assert json.loads(fitted("stats").stdout)["by_category"] == {"Money": 2, "General": 1}
    assert json.loads(fitted("show", "A-1").stdout)["category"] == "Money"
    explanation = fitted("why", "A-1").stdout
    assert "· Money at " in explanation
    assert "Next: nothing; it is where it belongs." in explanation
    assert '"category":"Money"' in fitted("route", "--dry-run").stdout
    assert rows(fitted.db, "select count(*) from events") == before, "reading carries nothing out"
    assert fitted("reclassify", "--category", "Billing", "-o", "id").stderr == (
        "0 would flip, 0 confirmed, 1 unchanged, 1 locked by a verdict\n"
    )


def test_a_verdict_by_a_former_name_is_not_asked_about_again(world: World) -> None:
    [made] = world.triage().create([dm.TicketDraft(0, 0, "refund", None, None, None, None, "A-1", "import")])
    assert made.value is not None
    list(world.triage().give_verdicts([dm.VerdictDraft(0, made.value.ticket_id, "Billing")]))
    world.categories = (dm.Category("Money", was=("Billing",)), dm.Category("General"))
    assert list(world.triage().find(dm.Selection(order="review"))) == []


def test_a_paid_answer_is_still_known_by_the_new_name(cli: Cli) -> None:
    with running_llm_server() as server:
        configure(cli, server=server)
        assert cli("create", "-q", stdin=many(4)).returncode == 0
        assert cli("classify", "-q").returncode == 0
        assert len(server.asked) == 4
        configure(cli, HEIR, server)
        assert cli("create", "-q", stdin=many(4, "C")).returncode == 0
        assert cli("classify", "-q").returncode == 0
        assert cli("reclassify", "-q", "--apply").returncode == 0
        assert holding(cli) == {("classified", "Money"): 8}
        assert len(server.asked) == 4
        configure(cli, HEIR.replace("was: [Billing], ", ""), server)
        assert cli("reclassify", "-q", "--apply").returncode == 0
        assert len(server.asked) == 4, "that the former name is forgotten in the config changes no question either"


def test_a_configuration_from_before_a_rename_gets_its_own_category_back(fitted: Cli) -> None:
    configure(fitted)
    assert fitted("run", "-q", stdin=TICKETS).returncode == 0
    before = holding(fitted)
    configure(fitted, HEIR)
    assert fitted("reclassify", "-q", "--apply").returncode == 0
    configure(fitted)
    assert "Next: triage reclassify A-1 --apply asks about it again, since Money is no category any more." in (
        fitted("why", "A-1").stdout
    )
    assert fitted("reclassify", "-q", "--apply").returncode == 0
    assert holding(fitted) == before


def test_a_paid_answer_under_a_name_that_is_gone_is_asked_for_again(cli: Cli) -> None:
    with running_llm_server() as server:
        configure(cli, server=server)
        assert cli("create", "-q", stdin=many(4)).returncode == 0
        assert cli("classify", "-q").returncode == 0
        configure(cli, HEIR, server)
        assert cli("reclassify", "-q", "--apply").returncode == 0
        configure(cli, server=server)
        assert cli("create", "-q", stdin=many(4, "C")).returncode == 0
        assert cli("classify", "-q", "-o", "id").returncode == 0
        assert cli("reclassify", "-q", "--apply").returncode == 0
        assert holding(cli) == {("classified", "Billing"): 8}
        assert len(server.asked) == 8, "once for each text"


@pytest.fixture
def stub() -> Iterator[HttpStub]:
    with closing(HttpStub()) as stub:
        yield stub


def test_a_label_is_taken_back_by_the_name_that_it_was_sent_with(fitted: Cli, stub: HttpStub) -> None:
    def use(categories: str) -> None:
        desk = f"""desk: {{type: http, url: '{stub.root}', method: PUT, body: {{label: '{{{{ category }}}}'}},
            undo: {{endpoint: /label, body: {{label: '{{{{ replaced.category }}}}'}}}}}}"""
        configure(fitted, categories)
        with (fitted.folder / "config.yaml").open("a") as file:
            file.write(f"destinations: {{{desk}}}\nroutes: [{{to: desk}}]\n")

    def decide(category: str) -> None:
        assert fitted("verdict", "A-1", category, "-q").returncode == 0
        assert fitted("route", "-q").returncode == 0

    use("")
    assert fitted("create", "-q", stdin=TICKETS).returncode == 0
    decide("Billing")
    use(HEIR)
    decide("General")
    decide("Money")
    assert [(got.method, got.json["label"]) for got in stub.got] == [
        ("PUT", "Billing"), ("DELETE", "Billing"), ("PUT", "General"), ("DELETE", "General"), ("PUT", "Money"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("made_as", "done_at", "sent_as"),
    [
        ("Billing", "2026-11-01", "Billing"),
        ("Charges", "2026-11-01", "Charges"),  # two names were merged: the id tells
        ("Billing", "2026-11-03", "Money"),  # it waited until after the rename
        ("Billing", "2026-11-05", "Payments"),
        ("Payments", "2026-11-01", "Payments"),
    ],
)
def test_the_name_that_a_delivery_was_sent_with(made_as: str, done_at: str, sent_as: str) -> None:
    renames = [
        dm.Renamed("Billing", "Money", "Billing", at="2026-11-02"),
        dm.Renamed("Charges", "Money", "Charges", at="2026-11-02"),
        dm.Renamed("Money", "Payments", "Billing", at="2026-11-04"),
        dm.Renamed("Bugs", "Technical", "Bugs", at="2026-11-04"),
    ]
    made = a_delivery(1, category="Payments", done_at=done_at)
    made = replace(made, delivery_id=dm.delivery_id(made.ticket_id, made_as, made.destination, 1))
    assert dm.as_sent(made, renames) == replace(made, category=sent_as)


def test_pending_deliveries_of_the_default_queue_follow(world: World) -> None:
    def down(name: str) -> Destination:
        raise dm.DeliveryError(f"{name} is down")

    routing_map = RoutingMap((dm.Rule("r", ("Billing",), {"category": ("Billing",)}),), "map-1", down)
    list(world.triage().create([dm.TicketDraft(0, 2, "x", external_id="1", cells=())]))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    services = world.services()._replace(categories=CATEGORIES, routing_map=routing_map)
    list(LocalTriage(services, "x").route(dm.Selection(), dm.RoutePlan()))
    world.categories = (dm.Category("Money", was=("Billing",)), dm.Category("Other"))
    world.rules = (dm.Rule("r", ("Money",), {"category": ("Money",)}),)
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    [ticket] = world.store.find(dm.Selection())
    [delivery] = world.store.deliveries.of([ticket.ticket_id])[ticket.ticket_id]
    assert (delivery.category, delivery.destination) == ("Money", "Money")


def test_a_run_that_read_a_ticket_before_does_not_write_the_old_name_back(world: World) -> None:
    list(world.triage().create([dm.TicketDraft(0, 2, "x", external_id="1", cells=())]))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))

    def answer(_: object) -> tuple[str, float]:
        world.categories = (dm.Category("Money", was=("Billing",)), dm.Category("General"))
        list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
        return "Billing", 0.9

    world.classifier = FakeClassifier(answer, "second")
    world.categories = (dm.Category("Billing"), dm.Category("General"))
    named = dm.Selection(ids=tuple(t.ticket_id for t in world.store.find(dm.Selection())))
    assert [o.action for o in world.triage().classify(named, dm.ClassifyPlan(force=True))] == ["held"]
    assert [t.category for t in world.store.find(dm.Selection())] == ["Money"]


def test_a_name_may_come_back_and_chains_keep_their_root(world: World) -> None:
    def now(name: str, *was: str) -> tuple[str | None, str]:
        world.categories = (dm.Category(name, was=was), dm.Category("General"))
        list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
        [ticket] = world.store.find(dm.Selection())
        return ticket.category, root_of(name, world.store.categories.renames())

    list(world.triage().create([dm.TicketDraft(0, 2, "x", external_id="1", cells=())]))
    assert now("Billing") == ("Billing", "Billing")
    assert now("Money", "Billing") == ("Money", "Billing")
    assert now("Payments", "Billing", "Money") == ("Payments", "Billing")
    assert now("Payments") == ("Payments", "Billing")
    assert now("Billing", "Payments", "Money") == ("Billing", "Billing")
    assert now("Cash", "Billing") == ("Cash", "Billing")


def test_a_former_name_that_was_never_seen_here_is_no_root() -> None:
    renames = [dm.Renamed("Older", "Money", "Older", 0), dm.Renamed("Billing", "Money", "Billing", 7)]
    assert [c.root for c in rooted([dm.Category("Money"), dm.Category("General")], renames)] == ["Billing", "General"]


def test_a_rename_that_is_not_carried_out_yet_has_its_root_already() -> None:
    renames = [dm.Renamed("Billing", "Money", "Billing", 7)]
    categories = [dm.Category("Cash", was=("Money", "Billing")), dm.Category("Other", was=("General",))]
    assert [c.root for c in rooted(categories, renames)] == ["Billing", "General"]


@pytest.mark.parametrize("verdict", [False, True])
def test_a_category_that_is_gone_is_told_with_counts(fitted: Cli, verdict: bool) -> None:
    assert fitted("run", "-q", stdin=TICKETS).returncode == 0
    if verdict:
        assert fitted("verdict", "A-1", "Billing", "-q").returncode == 0
    configure(fitted, "[Technical, General]")
    done = fitted("config", "check")
    assert done.returncode == 0
    whose = "people of 1 (triage review lists them)" if verdict else "a machine said it of 1 ticket"
    assert f'warning: "Billing" is no category now: {whose}' in done.stderr


def test_answers_of_an_evaluation_follow(cli: Cli) -> None:
    with running_llm_server(lambda _n, _asked: Step(chat(verdict("Money")))) as server:
        configure(cli, "[Money, Technical]", server)
        (cli.folder / "labelled.csv").write_text("subject,label\nI was charged twice,Money\n")
        assert cli("create", "-q", stdin="subject\n").returncode == 0
        assert cli("eval", "labelled.csv", "-q").returncode == 0
        configure(cli, "[{name: Billing, was: [Money]}, Technical]", server)
        assert cli("create", "-q", stdin="id,subject\nT-1,I was charged twice\n").returncode == 0
        assert cli("classify", "-q").returncode == 0
        assert holding(cli) == {("classified", "Billing"): 1}
        assert len(server.asked) == 1


def test_probabilities_are_read_under_the_names_of_today(world: World) -> None:
    class ReportingClassifier(FakeClassifier):
        def _one(self, n: int, ticket: dm.Ticket) -> dm.Outcome[dm.Answer]:
            outcome = super()._one(n, ticket)
            if outcome.value is None:
                return outcome
            [step] = outcome.value.steps
            known = dict.fromkeys([c.name for c in world.categories], 0.25)
            step = replace(step, probabilities=json.dumps(known))
            return replace(outcome, value=replace(outcome.value, steps=(step,)))

    def chances(number: int) -> list[str]:
        return list(world.store.history(tickets[number].ticket_id).classifications[-1].chances)

    def answered(number: int, *categories: dm.Category) -> None:
        world.categories = categories
        world.classifier = ReportingClassifier(lambda _: (categories[-1].name, 0.9), f"fake-{number}")
        list(world.triage().classify(dm.Selection(ids=(tickets[number].ticket_id,)), dm.ClassifyPlan()))

    list(world.triage().create([dm.TicketDraft(n, n + 2, f"s{n}", external_id=str(n), cells=()) for n in range(3)]))
    tickets = list(world.store.find(dm.Selection()))
    answered(0, dm.Category("General"), dm.Category("Billing"))
    assert chances(0) == ["General", "Billing"]
    answered(1, dm.Category("General"), dm.Category("Money", was=("Billing",)))
    assert chances(0) == chances(1) == ["General", "Money"]
    (found,) = world.store.answers.about([tickets[0].ticket_id], ["fake-0"])
    assert (found.category, found.chances["Money"]) == ("Money", 0.25)
    answered(2, dm.Category("Billing"), dm.Category("Money"))
    assert chances(2) == ["Billing", "Money"], "a name that is given to another category means that one from then on"


def test_an_old_name_that_a_process_with_the_old_configuration_gave_follows_too(world: World) -> None:
    old = (dm.Category("Billing"), dm.Category("General"))
    new = (dm.Category("Money", was=("Billing",)), dm.Category("General"))
    list(world.triage().create([dm.TicketDraft(n, n + 2, f"s{n}", external_id=str(n), cells=()) for n in range(4)]))

    def given(categories: tuple[dm.Category, ...], name: str, category: str) -> None:
        world.categories = categories
        [outcome] = world.triage().give_verdicts([dm.VerdictDraft(0, name, category)])
        assert outcome.error is None

    given(old, "0", "Billing")
    given(new, "1", "Money")
    given(old, "2", "Billing")
    given(new, "3", "General")
    found = {t.external_id: t.category for t in world.store.find(dm.Selection())}
    assert found == {"0": "Money", "1": "Money", "2": "Money", "3": "General"}
    assert [replace(r, at="") for r in world.store.categories.renames()] == [
        dm.Renamed("Billing", "Money", "Billing", 2)
    ]
    world.categories = old
    world.classifier = FakeClassifier(lambda _: ("Billing", 0.3))
    list(world.triage().create([dm.TicketDraft(0, 2, "s4", external_id="4", cells=())]))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    given(new, "3", "General")
    assert [t.suggestion for t in world.store.find(dm.Selection()) if t.external_id == "4"] == ["Money"]
    renamed = [json.loads(e.detail)["tickets"] for e in world.store.log.events(dm.EventQuery(actions=("renamed",)))]
    assert renamed == [1, 1, 1]


def test_why_tells_of_the_name_that_was_asked_for(fitted: Cli) -> None:
    configure(fitted)
    assert fitted("run", "-q", stdin=TICKETS).returncode == 0
    configure(fitted, HEIR)
    assert fitted("run", "-q", stdin="id,subject\nB-1,I was charged twice please refund it\n").returncode == 0
    for name in ("A-1", "B-1"):
        explanation = fitted("why", name).stdout
        assert "out of Billing, Technical, General, as one of these is named today" in explanation
        assert "answered Money at " in explanation


def test_a_healed_rename_keeps_its_root(world: World) -> None:
    def now(*categories: dm.Category) -> None:
        world.categories = categories
        list(world.triage().classify(dm.Selection(), dm.ClassifyPlan(force=True)))

    list(world.triage().create([dm.TicketDraft(0, 2, "x", external_id="1", cells=())]))
    now(dm.Category("Billing"))
    payments = dm.Category("Payments", was=("Billing", "Money"))
    now(dm.Category("Money", was=("Billing",)))
    now(payments)
    before = list(world.store.categories.renames())
    world.store.database.write(lambda db: db.execute("update tickets set category = 'Money'"))
    now(payments)
    assert [(r.old, r.new, r.root) for r in world.store.categories.renames()] == [
        (r.old, r.new, r.root) for r in before
    ]
    assert root_of("Payments", world.store.categories.renames()) == "Billing"


@pytest.mark.sqlite
def test_whether_an_old_name_is_still_borne_is_answered_by_indexes(world: World) -> None:
    world.categories = (dm.Category("Money", was=("Billing",)), dm.Category("General"))
    list(world.triage().create([dm.TicketDraft(0, 2, "x", external_id="1", cells=())]))
    steps = " ".join(
        row[3] for row in world.store.database.read(f"explain query plan {BEARS_CATEGORY}", {"name": "Billing"})
    )
    assert "tickets_by_category" in steps
    assert "tickets_to_review" in steps


def test_a_value_of_a_question_is_renamed_in_its_answers_alone(world: World) -> None:
    """A category and a value of another question may have the same name."""
    values = {"urgency": ["now", "Billing"], "mood": ["Billing", "calm"]}
    world.further = tuple(dm.Question(name, tuple(map(dm.Category, names))) for name, names in values.items())
    drafts = [dm.TicketDraft(n, n, "a refund", external_id=str(n)) for n in range(3)]
    tickets = [outcome.value for outcome in world.triage().create(drafts)]
    given = [dm.VerdictDraft(n, ticket.ticket_id, "Billing", question=name) for ticket in tickets if ticket
             for n, name in enumerate(("category", "urgency", "mood"))]  # fmt: skip
    list(world.triage().give_verdicts(given))
    world.further = (
        replace(world.further[0], values=(dm.Category("now"), dm.Category("soon", was=("Billing",)))),
        world.further[1],
    )
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    for ticket in world.triage().find(dm.Selection()):
        assert (ticket.category, {name: each.value for name, each in dm.given_answers(ticket).items()}) == (
            "Billing", {"urgency": "soon", "mood": "Billing"},
        )  # fmt: skip
        values_of = {each.question: each.category for each in world.triage().history(ticket.ticket_id).classifications}
        assert values_of == {"category": "Billing", "urgency": "soon", "mood": "Billing"}
    (renamed,) = [json.loads(each.detail) for each in world.triage().events(dm.EventQuery(actions=("renamed",)))]
    assert (renamed["question"], renamed["from"], renamed["to"], renamed["tickets"]) == (
        "urgency",
        "Billing",
        "soon",
        3,
    )
    assert [each.new for each in world.store.categories.renames("urgency")] == ["soon"]
    assert list(world.store.categories.renames()) == []
