"""A ticket that comes back to where it was: whatever happened in between, the last decision is what its receivers know.

Receivers are modelled by what they were handed: a delivery takes the ticket away from whom the decision behind it does
not name, and one that comes twice under one id is the same.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.cli import Cli
from tests.support.commands import rows
from tests.support.examples import examples
from tests.support.records import replace
from tests.support.remotes import RemoteCli
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.config import COLUMN, WHEN

BILLING, GENERAL, URGENT = {"category": ("Billing",)}, {"category": ("General",)}, {"priority": ("urgent",)}
MAPS = {
    "plain": (dm.Rule("b", ("a",), BILLING), dm.Rule("g", ("b",), GENERAL), dm.Rule("rest", ("c",))),
    "several": (dm.Rule("b", ("a", "b"), BILLING), dm.Rule("g", ("b", "c"), GENERAL), dm.Rule("rest", ("c", "a"))),
    "one for all": (dm.Rule("all", ("a",)),),
    "urgent": (dm.Rule("u", ("a", "c"), URGENT), dm.Rule("b", ("a",), BILLING), dm.Rule("rest", ("b",))),
    "elsewhere": (dm.Rule("b", ("c",), BILLING), dm.Rule("g", ("a",), GENERAL), dm.Rule("rest", ("b",))),
    "no rule": (dm.Rule("b", ("a",), BILLING),),
}


class Killed(BaseException):
    """The process ends while it hands something over: nothing of it is saved."""


class Receivers(dict[str, Any]):
    """What stands behind the destinations a, b and c: what each holds, and how each takes what it is handed."""

    def __init__(self) -> None:
        super().__init__((name, Receiver(name, self)) for name in "abc")
        self.unset: set[str] = set()
        self.begin()

    def begin(self, name: str = "") -> None:
        """Begin with the ticket of this name; what is left of others is taken and forgotten."""
        self.about = name
        self.named: tuple[str, ...] = ()  # by the last decision
        self.holding: dict[str, str] = {}
        self.seen: set[str] = set()
        self.twice: list[dm.OutgoingDelivery] = []
        self.unset.clear()
        for receiver in self.values():
            receiver.mode = "up"

    def __getitem__(self, name: str) -> Any:
        if name in self.unset:
            raise dm.ConfigError(f'destination "{name}" needs its secret')
        return super().__getitem__(name)

    def take(self, outgoing: dm.OutgoingDelivery) -> None:
        delivery = outgoing.delivery
        if delivery.delivery_id in self.seen:
            return
        self.seen.add(delivery.delivery_id)
        if self.holding.get(delivery.destination) == delivery.category:
            self.twice.append(outgoing)
        self.holding = {name: held for name, held in self.holding.items() if name in self.named}
        self.holding[delivery.destination] = delivery.category


class Receiver:
    """A destination: up | down (refuses) | lost (takes, and its answer is lost) | killed before or after it took."""

    workers, max_attempts, schedule = 16, 2, (0.0,)

    def __init__(self, name: str, among: Receivers) -> None:
        self.name = name
        self.mode = "up"
        self.among = among

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        for chunk in chunks:
            outcomes: list[dm.Outcome[dm.Receipt]] = []
            for n, outgoing in enumerate(chunk):
                if outgoing.ticket.external_id != self.among.about:
                    outcomes.append(dm.Outcome(n, dm.Action.DELIVERED, dm.Receipt(), None, outgoing))
                    continue
                if self.mode in ("up", "lost", "killed after"):
                    self.among.take(outgoing)
                if self.mode.startswith("killed"):
                    self.mode = "up"
                    raise Killed
                error = None if self.mode == "up" else dm.DeliveryError("no", doubtful=self.mode == "lost")
                outcomes.append(dm.Outcome(n, dm.Action.DELIVERED, None if error else dm.Receipt(), error, outgoing))
            yield outcomes


class Desk:
    """One ticket and what is done with it."""

    def __init__(self, world: World, receivers: Receivers, name: str) -> None:
        self.world, self.receivers, self.name = world, receivers, name
        self.doubt = False
        self.done: list[tuple[str, str]] = []
        receivers.begin(name)
        world.rules = MAPS["plain"]
        self.imports("low", "Billing")

    @property
    def ticket(self) -> dm.Ticket:
        return self.world.store.named(self.name, 1)[0]

    def imports(self, priority: str, verdict: str | None = None) -> None:
        draft = dm.TicketDraft(0, 2, "a case", "x", priority=priority, external_id=self.name, cells=(), verdict=verdict)
        list(self.world.triage().create([draft]))

    def judges(self, category: str) -> None:
        list(self.world.triage().give_verdicts([dm.VerdictDraft(0, self.name, category)]))

    def routes(self, *, named: bool = False, retry_dead: bool = False) -> None:
        ticket = self.ticket
        if named or ticket.status in dm.TO_ROUTE or (retry_dead and ticket.status == "undeliverable"):
            rule = dm.routing_rules.match(self.world.rules, ticket)
            self.receivers.named = rule.to if rule else ()
        self.world.store.database.write(
            lambda db: db.execute("update deliveries set due_at = 0 where state = 'pending'")
        )
        selection = dm.Selection(ids=(ticket.ticket_id,)) if named else dm.Selection()
        with suppress(Killed):
            list(self.world.triage().route(selection, dm.RoutePlan(retry_dead=retry_dead)))

    def step(self, what: str, more: str) -> None:
        self.done.append((what, more))
        if what == "verdict":
            self.judges(more)
        elif what == "import":
            self.imports(more)
        elif what == "map":
            self.world.rules = MAPS[more]
        elif what == "route":
            self.routes(named=more == "named", retry_dead=more == "dead")
        elif what == "unset":
            self.receivers.unset ^= {more}
        else:
            dict.__getitem__(self.receivers, what).mode = more
            self.doubt |= more not in ("up", "down")

    def ends(self) -> None:
        """Let all receivers work, and look who holds the ticket once all is delivered."""
        self.receivers.unset.clear()
        for receiver in self.receivers.values():
            receiver.mode = "up"
        self.routes()
        self.routes(retry_dead=True)
        ticket, receivers = self.ticket, self.receivers
        if not self.doubt:
            assert receivers.twice == [], f"sent twice by {self.done}"
        if ticket.status == "unroutable":
            return
        assert ticket.status == "routed", self.done
        assert {name: receivers.holding.get(name) for name in receivers.named} == dict.fromkeys(
            receivers.named, ticket.category
        ), f"lost by {self.done}"
        assert set(receivers.holding.values()) == {ticket.category}, f"left behind by {self.done}"


CATEGORIES = ("Billing", "General", "Technical")
STEPS = st.one_of(
    st.tuples(st.just("verdict"), st.sampled_from(CATEGORIES)),
    st.tuples(st.just("route"), st.sampled_from(["all", "all", "named", "dead"])),
    st.tuples(st.just("map"), st.sampled_from(sorted(MAPS))),
    st.tuples(st.just("import"), st.sampled_from(["low", "urgent"])),
    st.tuples(st.just("unset"), st.sampled_from("abc")),
    st.tuples(st.sampled_from("abc"), st.sampled_from(["up", "down", "lost", "killed before", "killed after"])),
)
ROUTE = ("route", "all")
THERE_AND_BACK = [ROUTE, ("verdict", "General"), ROUTE, ("verdict", "Billing"), ROUTE]


@settings(
    examples(25, 100),
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=3, max_size=14))
@example(steps=THERE_AND_BACK)
@example(steps=[("map", "several"), *THERE_AND_BACK])
@example(steps=[("map", "one for all"), *THERE_AND_BACK])
@example(steps=[ROUTE, ("map", "elsewhere"), ("route", "named"), ("map", "plain"), ("route", "named")])
@example(steps=[("b", "down"), *THERE_AND_BACK])
@example(steps=[("unset", "b"), *THERE_AND_BACK])
@example(steps=[("b", "lost"), *THERE_AND_BACK])
@example(steps=[("b", "killed after"), *THERE_AND_BACK])
@example(steps=[("b", "killed after"), *THERE_AND_BACK[:3], ("b", "down"), ROUTE, ROUTE, *THERE_AND_BACK[3:]])
@example(steps=[("map", "urgent"), ROUTE, ("import", "urgent"), ROUTE, ("import", "low"), ROUTE])
def test_the_last_decision_is_what_receivers_know(world: World, steps: list[tuple[str, str]]) -> None:
    receivers = world.destinations
    if not isinstance(receivers, Receivers):
        receivers = world.destinations = Receivers()
    number = sum(1 for _ in world.store.find(dm.Selection()))
    desk = Desk(world, receivers, f"case-{number}")
    for what, more in steps:
        desk.step(what, more)
    desk.ends()


def lines(queue: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in queue.read_text().splitlines()]


@pytest.fixture(params=["local", "remote"])
def either(request: pytest.FixtureRequest, cli: Cli, tmp_path: Path) -> Iterator[Cli | RemoteCli]:
    """The command line, on a database here or on another instance."""
    if request.param == "local":
        yield cli
        return
    remote = RemoteCli(tmp_path / "remote").serve()
    yield remote
    remote.close()


def test_a_correction_back_is_delivered(either: Cli | RemoteCli) -> None:
    made = either("create", "--subject", "Refund?", "--description", "charged twice", "--external-id", "E1", "-q")
    assert made.returncode == 0, made.stderr
    for category in ("Billing", "General", "Billing"):
        assert either("verdict", "E1", category, "-q").returncode == 0
        done = either("route")
        assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "1 routed")
    queues = either.db.parent / "queues"
    (first, last), (between,) = lines(queues / "Billing.jsonl"), lines(queues / "General.jsonl")
    assert [m["replaces"] for m in (first, between, last)] == [None, first["delivery_id"], between["delivery_id"]]
    assert len({first["delivery_id"], last["delivery_id"]}) == 2
    assert either("route", "E1").returncode == either("route").returncode == 0
    assert len(lines(queues / "Billing.jsonl")) == 2, "nothing has changed since"


def test_texts_that_changed_after_they_were_sent_are_told_at_the_end(either: Cli | RemoteCli) -> None:
    table = "id,subject,description\n1,Refund?,charged twice in May\n2,Invoice,the invoice is wrong\n"
    assert either("run", "-q", stdin=table).returncode == 0
    done = either("run", "-o", "id", stdin=table.replace("in May", "in May and in June"))
    assert done.returncode == 0
    *_, counts, note = done.stderr.splitlines()
    assert counts.endswith(
        "0 created, 1 updated, 1 unchanged, 0 rejected; "
        "0 routed, 0 need review, 0 failed, 1 not sent again; as before: 1 routed"
    )
    assert note.startswith("note: 1 text changed after it was sent; the earlier one is still at Billing (1); ")
    assert re.search(r"triage( --\S+ \S+)* route ID --again sends the present one, and on_change: again", note)
    done = either("create", "-o", "id", stdin=table.replace("in May", "in May or in June"))
    assert done.stderr.splitlines()[-1].startswith(
        "note: 1 text changed after it was sent; the earlier one is still at"
    )
    either("run", "-q", stdin=table)
    assert len(lines(either.db.parent / "queues" / "Billing.jsonl")) == 2
    assert "it is where it belongs" in either("why", "1").stdout, "the text that was sent is back"


def test_on_change_again_sends_a_changed_text_again(cli: Cli) -> None:
    queue = "destinations: {q: {type: file, path: q.jsonl, on_change: again}}\nroutes: [{to: q}]\n"
    (cli.folder / "config.yaml").write_text(queue)
    table = "id,subject,description\n1,Refund?,charged twice in May\n2,Invoice,the invoice is wrong\n"
    assert cli("run", "-q", stdin=table).returncode == 0
    for said in ("; 1 routed, 0 need review, 0 failed; as before: 1 routed", "; as before: 2 routed"):
        assert said in cli("run", "-o", "id", stdin=table.replace("in May", "in May and in June")).stderr
    first, _, again = lines(cli.folder / "q.jsonl")
    assert again["ticket"]["description"] == "charged twice in May and in June"
    assert again["replaces"] == first["delivery_id"]
    cli("create", "-q", stdin=table)
    cli("classify", "-q")
    assert "charged twice in May" in cli("route", "--dry-run").stdout, "it would be sent once more"
    assert "the invoice is wrong" not in cli("route", "--dry-run").stdout
    done = cli("run", "-o", "id", stdin=table.replace("in May", "in May or in June"))
    assert done.stderr.splitlines()[-1] == "note: 1 text changed after it was sent, and was sent again"


def answering(category: str, confidence: float = 0.9) -> FakeClassifier:
    return FakeClassifier(lambda _: (category, confidence), f"{category} at {confidence}")


@pytest.mark.parametrize("way", ["cleared", "asked again"])
def test_what_a_machine_takes_back_is_delivered(world: World, way: str) -> None:
    receivers = world.destinations = Receivers()
    world.rules = MAPS["plain"]
    receivers.begin("1")
    list(world.triage().create([dm.TicketDraft(0, 2, "a case", "x", external_id="1", cells=())]))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    for category in ("General", "Billing"):
        receivers.named = {"General": ("b",), "Billing": ("a",)}[category]
        if way == "cleared":
            list(world.triage().give_verdicts([dm.VerdictDraft(0, "1", category if category == "General" else None)]))
            list(world.triage().route(dm.Selection(), dm.RoutePlan()))
        else:
            world.classifier = answering(category)
            list(world.triage().reclassify(dm.Selection(), dm.ReclassifyPlan(apply=True, reroute=True)))
        assert receivers.holding == {receivers.named[0]: category}


def test_what_was_taken_by_whom_kill_9_cut_off_is_replaced(cli: Cli) -> None:
    """The destination takes the ticket, and kills who delivers it before its answer is there."""
    page = cli.folder / "page.py"
    page.write_text(
        "import json, os, signal, sys\n"
        "taken = json.load(sys.stdin)\n"
        "open('taken.jsonl', 'a').write(json.dumps(taken) + chr(10))\n"
        "os.path.exists('deadly') and os.kill(os.getppid(), signal.SIGKILL)\n"
    )
    (cli.folder / "config.yaml").write_text(
        f"destinations:\n  pager: {{type: command, run: ['{sys.executable}', page.py]}}\n"
        "  box: {type: file, path: box.jsonl}\nroutes: {Billing: box, Technical: box, General: pager}\n"
    )
    assert cli("create", "--subject", "Refund?", "--external-id", "E1", "-q").returncode == 0
    cli("verdict", "E1", "Billing", "-q")
    assert cli("route", "-q").returncode == 0
    cli("verdict", "E1", "General", "-q")
    (cli.folder / "deadly").touch()
    killed = cli.start("route", "-q")
    killed.communicate()
    assert killed.returncode == -9
    assert rows(cli.db, "select state, attempts from deliveries where destination = 'pager'") == [("pending", 0)]
    cli("verdict", "E1", "Billing", "-q")
    assert cli("route", "-q").returncode == 0
    (taken,) = lines(cli.folder / "taken.jsonl")
    assert [m["replaces"] for m in lines(cli.folder / "box.jsonl")] == [None, taken["delivery_id"]]


def routed(world: World) -> dm.Ticket:
    """Return an urgent-to-be ticket that lies in the box."""
    world.destinations = receivers = Receivers()
    receivers.begin("1")
    receivers.named = tuple("abc")
    world.rules = (dm.Rule("u", ("a", "b"), URGENT), dm.Rule("sure", ("b", "c"), {}, 0.95), dm.Rule("rest", ("b",)))
    list(world.triage().create([dm.TicketDraft(0, 2, "a case", "x", "C-1", "low", external_id="1", cells=())]))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    (ticket,) = world.store.find(dm.Selection())
    assert (ticket.status, receivers.holding) == ("routed", {"b": "Billing"})
    return ticket


@pytest.mark.parametrize(
    ("what", "holding"),
    [
        ("import", {"a", "b"}),
        ("column", {"a", "b"}),
        ("verdict", {"b", "c"}),
        ("taken back", {"b"}),
        ("confidence", {"b", "c"}),
    ],
)
def test_what_a_rule_reads_puts_a_ticket_up_for_routing(world: World, what: str, holding: set[str]) -> None:
    ticket = routed(world)
    world.rules = (dm.Rule("gold", ("a",), {"extra.plan": ("gold",), "verdict": (False,)}), *world.rules)
    draft = dm.TicketDraft(0, 2, "a case", "x", "C-1", "low", external_id="1", cells=())
    if what == "column":
        list(world.triage().create([replace(draft, extra={"plan": "gold"})]))
    elif what == "import":
        list(world.triage().create([replace(draft, priority="urgent")]))
    elif what == "confidence":
        world.classifier = answering("Billing", 0.99)
        list(world.triage().classify(dm.Selection(ids=(ticket.ticket_id,)), dm.ClassifyPlan(force=True)))
    else:
        list(world.triage().give_verdicts([dm.VerdictDraft(0, "1", "Billing")]))
    if what == "taken back":
        list(world.triage().give_verdicts([dm.VerdictDraft(0, "1", None)]))
    stays = "triage route sends nothing, since it is in b already."
    following = stays if what == "taken back" else "triage route sends it on."
    assert world.triage().why("1").why[-1] == f"Next: {following}"
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    receivers = world.destinations
    assert isinstance(receivers, Receivers)
    assert (set(receivers.holding), receivers.twice) == (holding, [])
    (ticket,) = world.store.find(dm.Selection())
    assert (ticket.status, world.triage().why("1").why[-1]) == ("routed", "Next: nothing; it is where it belongs.")


@pytest.mark.parametrize(
    ("state", "change", "told"),
    [
        ("pending", {"description": "y"}, "Next: triage route delivers what is due (b after 1 attempt, due at "),
        (
            "dead",
            {"description": "y"},
            "Next: triage route --retry-dead tries its dead letters again, or a rule sends ",
        ),
        ("accepted", {"description": "y"}, "Next: nothing; triage route 1 --again sends the present text"),
        ("accepted", {"customer_id": "C-2"}, "Next: triage route sends nothing, since it is in "),
    ],
)
def test_why_tells_of_a_changed_ticket_what_route_will_find(
    world: World, state: str, change: dict[str, str], told: str
) -> None:
    routed(world)
    draft = dm.TicketDraft(0, 2, "a case", "x", "C-1", "urgent", external_id="1", cells=())
    list(world.triage().create([draft]))
    list(world.triage().give_verdicts([dm.VerdictDraft(0, "1", "Billing")]))  # which a changed text leaves
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))  # to a, too
    of_b = "update deliveries set state = ?, attempts = 1 where destination = 'b'"
    world.store.database.write(lambda db: db.execute(of_b, (state,)))
    list(world.triage().create([replace(draft, **change)]))
    explanation = world.triage().why("1")
    assert (explanation.status, explanation.why[-1][: len(told)]) == ("classified", told)
    world.rules = (dm.Rule("low", ("a",), {"priority": ("low",)}),)
    takes = "Next: rule low takes Billing where priority is low; change it, or add a rule to routes in the config; "
    assert world.triage().why("1").why[-1].startswith(takes)


def test_an_echo_and_what_no_rule_reads_route_nothing(world: World) -> None:
    before = routed(world)
    draft = dm.TicketDraft(0, 2, "a case", "x", "C-1", "low", external_id="1", cells=())
    list(world.triage().create([draft]))
    assert list(world.store.find(dm.Selection())) == [before]
    list(world.triage().create([replace(draft, created_at="2026-03-01T08:00:00Z")]))
    (after,) = world.store.find(dm.Selection())
    assert (after.status, after.revision) == ("routed", before.revision + 1)
    assert list(world.triage().route(dm.Selection(), dm.RoutePlan())) == []


def test_a_changed_map_leaves_what_was_routed_and_why_tells_it(world: World) -> None:
    ticket = routed(world)
    world.rules = (dm.Rule("rest", ("c", "b")),)
    assert list(world.triage().route(dm.Selection(), dm.RoutePlan())) == []
    assert world.triage().why("1").why[-1] == "Next: triage route 1 sends it to c, as the routing map has it now."
    world.rules = (dm.Rule("u", ("a",), URGENT),)
    message = "Next: nothing; it stays where it is, though no rule of the routing map matches it now."
    assert world.triage().why("1").why[-1] == message
    world.rules = (dm.Rule("rest", ("c", "b")),)
    list(world.triage().route(dm.Selection(ids=(ticket.ticket_id,)), dm.RoutePlan()))
    assert world.triage().why("1").why[-1] == "Next: nothing; it is where it belongs."


class Read:
    """A ticket that notes which of its fields are read."""

    def __init__(self, ticket: dm.Ticket) -> None:
        self.ticket = ticket
        self.fields: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.fields.add(name)
        return getattr(self.ticket, name)


def test_all_that_a_rule_can_read_wakes_routing(world: World) -> None:
    """A condition that is added to the configuration is to be added to what wakes routing.

    Another text wakes it by its hash, and hours are judged once.
    """
    read = Read(replace(routed(world), extra='{"COLUMN":"gold"}'))
    others = {
        "text": dm.Match("."),
        "subject": dm.Match("."),
        "hours": dm.Hours(dm.Calendar("always", "UTC", ((0, 1440),))),
    }
    for condition in WHEN:
        accepted = "gold" if condition == COLUMN else getattr(read.ticket, condition, None)
        when: Any = {condition: others.get(condition, (accepted,))}
        if condition in ("min_confidence", "max_error"):
            when = {}
        rule = dm.Rule("r", ("a",), when, 0.0)
        assert dm.routing_rules.holds(rule, read, at=dm.times.now())  # type: ignore[arg-type]
    a_question = dm.Rule("r", ("a",), {"urgency": ("now",)}, 0.0)
    assert not dm.routing_rules.holds(a_question, read, at=dm.times.now())  # type: ignore[arg-type]
    assert read.fields == {*dm.routing.READ, "text", "subject"}
