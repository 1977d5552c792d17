"""Texts that change after they were sent, on both sides of the wire: told, and sent again where that is set."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.api_server import running_server
from tests.support.online import ONLINE
from tests.support.records import replace
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.destinations import FileDestination
from triage_cli.extensions.remote import Address, RemoteTriage
from triage_cli.ports import Triage

NUMBER = 3


class Box(FileDestination):
    """A file that refuses what `refuses` says; `taken` is called with each delivery that it gets."""

    def __init__(self, path: Path) -> None:
        super().__init__("box", path, 1, ())
        self.path = path
        self.refuses = False
        self.taken: Callable[[dm.OutgoingDelivery], None] = lambda _: None

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        for chunk in chunks:
            for outgoing in chunk:
                self.taken(outgoing)
            for outcomes in super().deliver([chunk]):
                error = dm.DeliveryError("box: no", final=True) if self.refuses else None
                yield [replace(o, value=None, error=error) if error else o for o in outcomes]

    @property
    def got(self) -> list[tuple[str, str | None]]:
        """Return the texts that came, each with the delivery that it replaces."""
        sent = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [(one["ticket"]["subject"], one["replaces"]) for one in sent]


class Side:
    def __init__(self, world: World, make: Callable[[], Triage], box: Box) -> None:
        self.world = world
        self.make = make
        self.box = box

    def run(self, *texts: str) -> list[dm.Outcome[dm.Routed]]:
        return list(self.make().run(rows(*texts), dm.ClassifyPlan()))


@pytest.fixture(params=["local", "remote"])
def side(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Iterator[Side]:
    world.rules = (dm.Rule("r", ("box",)),)
    world.destinations["box"] = box = Box(tmp_path / "box.jsonl")
    if request.param == "local":
        yield Side(world, world.triage, box)
        return
    with ExitStack() as stack:
        running = stack.enter_context(running_server(tmp_path, services=world.services()))

        def make() -> Triage:
            running.served.services = replace(world.services(), served=True)  # as the world is configured by now
            triage = RemoteTriage(Address(running.url, running.keys["agent"]), ONLINE)
            stack.callback(triage.close)
            return triage

        yield Side(world, make, box)


def rows(*texts: str) -> list[dm.TicketDraft]:
    return [dm.TicketDraft(n, n + 2, text, external_id=f"E-{n}", cells=()) for n, text in enumerate(texts)]


def test_a_text_that_changed_after_it_was_sent_is_told(side: Side) -> None:
    assert {o.outdated for o in side.run("the app crashes", "cannot log in", "refund please")} == {None}
    outcomes = side.run("the app crashes on start", "cannot log in", "refund please, I wait")
    assert [(o.action, o.outdated) for o in outcomes] == [
        ("updated", ("box",)), ("unchanged", None), ("updated", ("box",)),
    ]  # fmt: skip
    assert {o.value.ticket.status for o in outcomes if o.value} == {"routed"}
    counts = json.loads(next(iter(side.world.store.runs.latest(1))).counts)
    assert counts == {"updated": 2, "unchanged": 1, "outdated": 2}, "not one of them was sent, now or again"
    assert len(side.box.got) == NUMBER
    created = list(side.make().create(rows("the app crashes on start up", "cannot log in")))
    assert [(o.action, o.outdated) for o in created] == [("updated", ("box",)), ("unchanged", None)]
    assert {o.outdated for o in side.run("the app crashes on start up", "cannot log in")} == {None}, "it was told"


def test_why_says_that_a_destination_has_an_earlier_text(side: Side) -> None:
    side.run("the app crashes", "cannot log in", "refund please")
    earlier = "Its text changed after it was sent: box has an earlier one."
    assert earlier not in side.make().why("E-0").why
    side.run("the app crashes on start", "cannot log in", "refund please")
    *_, routed, told, following = side.make().why("E-0").why
    assert "rule r sends it to box, which has it already, with an earlier text (map" in routed
    assert told == earlier
    assert following.startswith("Next: nothing; triage route E-0 --again sends the present text")
    assert earlier not in side.make().why("E-1").why
    list(side.make().give_verdicts([dm.VerdictDraft(0, "E-0", "Billing")]))
    list(side.make().create(rows("the app crashes on the start")))
    *_, told, following = side.make().why("E-0").why
    assert (told, side.make().why("E-0").status) == (earlier, "classified")
    assert following.startswith("Next: nothing; triage route E-0 --again sends the present text"), (
        "route alone does not"
    )
    list(side.run("the app crashes on start"))
    name = side.make().resolve("E-0")
    list(side.make().route(dm.Selection(ids=(name,)), dm.RoutePlan(again=True)))
    assert side.box.got[-1][0] == "the app crashes on start"
    assert side.make().why("E-0").why[-1] == "Next: nothing; it is where it belongs."


def test_a_destination_with_on_change_again_gets_each_text_once(side: Side) -> None:
    side.world.renewed = frozenset({"box"})
    side.run("the app crashes", "cannot log in")
    tickets = [t.ticket_id for t in side.world.store.find(dm.Selection())]
    first = {name: delivery.delivery_id for name, (delivery,) in side.world.store.deliveries.of(tickets).items()}
    texts = ("the app crashes on start", "cannot log in")
    outcomes = side.run(*texts)
    assert [(o.action, o.outdated) for o in outcomes] == [("updated", ()), ("unchanged", None)]
    assert side.box.got[2:] == [("the app crashes on start", first[outcomes[0].value.ticket.ticket_id])]  # type: ignore[union-attr]
    for _ in range(2):
        side.run(*texts)
        everything = dm.Selection(ids=tuple(first))
        list(side.make().route(everything, dm.RoutePlan()))
    assert len(side.box.got) == NUMBER, "never twice for the same text"
    assert side.make().why("E-0").why[-1] == "Next: nothing; it is where it belongs."


def test_a_text_that_a_person_decided_is_sent_again_too(side: Side) -> None:
    """Its category holds, so only routing is left to be done."""
    side.world.renewed = frozenset({"box"})
    side.run("the app crashes")
    list(side.make().give_verdicts([dm.VerdictDraft(0, "E-0", "Technical")]))
    list(side.make().route(dm.Selection(), dm.RoutePlan()))
    (created,) = side.make().create(rows("the app crashes on start"))
    assert created.value is not None
    assert (created.value.status, created.outdated) == ("classified", ("box",))
    list(side.make().route(dm.Selection(), dm.RoutePlan()))
    assert [text for text, _ in side.box.got] == ["the app crashes", "the app crashes", "the app crashes on start"]
    (ticket,) = side.world.store.find(dm.Selection())
    assert (ticket.status, ticket.category) == ("routed", "Technical")


def test_a_refused_text_is_a_dead_letter_once_and_sent_when_it_is_tried_again(side: Side) -> None:
    side.world.renewed = frozenset({"box"})
    side.run("the app crashes")
    side.box.refuses = True
    for _ in range(2):
        side.run("the app crashes on start")
        list(side.make().route(dm.Selection(), dm.RoutePlan()))
    (ticket,) = side.world.store.find(dm.Selection())
    deliveries = side.world.store.deliveries.of([ticket.ticket_id])[ticket.ticket_id]
    assert [d.state for d in deliveries] == ["accepted", "dead"]
    side.box.refuses = False
    list(side.make().route(dm.Selection(), dm.RoutePlan(retry_dead=True)))
    deliveries = side.world.store.deliveries.of([ticket.ticket_id])[ticket.ticket_id]
    assert [d.state for d in deliveries] == ["accepted", "accepted"]
    assert deliveries[1].content_hash == ticket.content_hash


def test_a_text_that_changes_while_it_is_sent_counts_as_changed_after_it(side: Side) -> None:
    """The destination has the text that it was handed, whatever is stored by the time that it accepts."""

    def change(_: dm.OutgoingDelivery) -> None:
        side.box.taken = lambda _: None
        list(side.world.triage().create(rows("the app crashes on start")))

    side.box.taken = change
    side.run("the app crashes")
    side.world.renewed = frozenset({"box"})
    assert "Its text changed after it was sent: box has an earlier one." in side.make().why("E-0").why
    side.run("the app crashes on start")
    assert [text for text, _ in side.box.got] == ["the app crashes", "the app crashes on start"]


def test_a_forgotten_ticket_keeps_no_trace_of_the_text_that_was_sent(side: Side) -> None:
    draft = replace(rows("the app crashes")[0], customer_id="C-1")
    list(side.make().run([draft], dm.ClassifyPlan()))
    list(side.world.triage().forget("C-1"))
    (ticket,) = side.world.store.find(dm.Selection())
    (delivery,) = side.world.store.deliveries.of([ticket.ticket_id])[ticket.ticket_id]
    assert delivery.content_hash is None
