"""A category that is renamed keeps its tickets, verdicts, deliveries and model, and nobody is asked again."""

import json
from collections import Counter

import pytest

from tests.commands import TICKETS, is_whole, many, rows
from tests.conftest import CATEGORIES, Cli, FakeClassifier, World
from tests.llm_server import LlmServer, serving
from triage_cli.errors import DeliveryError
from triage_cli.models import Category, ClassifyPlan, Renamed, RoutePlan, Rule, Selection, TicketDraft
from triage_cli.ports import Destination
from triage_cli.service.delivering import Map
from triage_cli.service.local import LocalTriage, Parts
from triage_cli.service.renaming import root_of, rooted

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
    assert (check.returncode, check.stdout) == (0, "")
    assert "warning" not in check.stderr
    done = fitted("reclassify", "-q", "--apply", "--reroute", "-o", "jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert holding(fitted) == {("routed", "Money"): 2, ("routed", "General"): 1}
    assert rows(fitted.db, "select distinct category from verdicts") == [("Money",)]
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


def test_a_paid_answer_is_still_known_by_the_new_name(cli: Cli) -> None:
    with serving() as server:
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


def test_pending_deliveries_of_the_default_queue_follow(world: World) -> None:
    def down(name: str) -> Destination:
        raise DeliveryError(f"{name} is down")

    map_ = Map((Rule("r", ("Billing",), {"category": ("Billing",)}),), "map-1", down)
    list(world.triage().create([TicketDraft(0, 2, "x", external_id="1", cells=())]))
    list(world.triage().classify(Selection(), ClassifyPlan()))
    list(
        LocalTriage(Parts(world.store, CATEGORIES, lambda *_: world.classifier, map_), "x").route(
            Selection(), RoutePlan()
        )
    )
    world.categories = (Category("Money", was=("Billing",)), Category("Other"))
    world.rules = (Rule("r", ("Money",), {"category": ("Money",)}),)
    list(world.triage().classify(Selection(), ClassifyPlan()))
    [ticket] = world.store.find(Selection())
    [delivery] = world.store.deliveries([ticket.ticket_id])[ticket.ticket_id]
    assert (delivery.category, delivery.destination) == ("Money", "Money")


def test_a_run_that_read_a_ticket_before_does_not_write_the_old_name_back(world: World) -> None:
    list(world.triage().create([TicketDraft(0, 2, "x", external_id="1", cells=())]))
    list(world.triage().classify(Selection(), ClassifyPlan()))

    def said(_: object) -> tuple[str, float]:
        world.categories = (Category("Money", was=("Billing",)), Category("General"))
        list(world.triage().classify(Selection(), ClassifyPlan()))
        return "Billing", 0.9

    world.classifier = FakeClassifier(said, "second")
    world.categories = (Category("Billing"), Category("General"))
    named = Selection(ids=tuple(t.ticket_id for t in world.store.find(Selection())))
    assert [o.did for o in world.triage().classify(named, ClassifyPlan(force=True))] == ["held"]
    assert [t.category for t in world.store.find(Selection())] == ["Money"]


def test_a_name_may_come_back_and_chains_keep_their_root(world: World) -> None:
    def now(name: str, *was: str) -> tuple[str | None, str]:
        world.categories = (Category(name, was=was), Category("General"))
        list(world.triage().classify(Selection(), ClassifyPlan()))
        [ticket] = world.store.find(Selection())
        return ticket.category, root_of(name, world.store.renames())

    list(world.triage().create([TicketDraft(0, 2, "x", external_id="1", cells=())]))
    assert now("Billing") == ("Billing", "Billing")
    assert now("Money", "Billing") == ("Money", "Billing")
    assert now("Payments", "Billing", "Money") == ("Payments", "Billing")
    assert now("Payments") == ("Payments", "Billing")
    assert now("Billing", "Payments", "Money") == ("Billing", "Billing")
    assert now("Cash", "Billing") == ("Cash", "Billing")


def test_a_former_name_that_was_never_seen_here_is_no_root() -> None:
    renames = [Renamed("Older", "Money", "Older", 0), Renamed("Billing", "Money", "Billing", 7)]
    assert [c.root for c in rooted([Category("Money"), Category("General")], renames)] == ["Billing", "General"]


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
