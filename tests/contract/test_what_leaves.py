"""What waits in a run is looked at again when it leaves, on every kind of store, whatever brought it there."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.fake_destination import FakeDestination
from tests.support.http_stub import HttpStub, configured
from tests.support.mail_server import MailStub
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.ports import Destination
from triage_cli.runtime import lease_clock
from triage_cli.service import RunContext
from triage_cli.wiring import open_destination

EVERYTHING = dm.Selection(limit=0)
NUMBER = 5
BEFORE = dm.AdditionRule(dm.AdditionKind.BEFORE, dm.Rule("routes[0]", ("page",), {}))
ESCALATION = dm.AdditionRule(
    dm.AdditionKind.ESCALATION, dm.Rule("late", ("page",), {"status": ("new",), "age": dm.Age(-1.0)})
)


def drafts(text: str = "hello") -> list[dm.TicketDraft]:
    return [dm.TicketDraft(n, n + 2, f"{text} {n}", "text", "C-1", external_id=f"E-{n}") for n in range(NUMBER)]


def others(world: World, first: str) -> list[str]:
    return [ticket.ticket_id for ticket in world.store.find(dm.Selection()) if ticket.ticket_id != first]


def forget(world: World, _: str) -> None:
    list(world.triage().forget("C-1"))


def undo(world: World, _: str) -> None:
    list(world.triage().undo("last"))


def move(world: World, first: str) -> None:
    list(world.triage().give_verdicts([dm.VerdictDraft(n, i, "Technical") for n, i in enumerate(others(world, first))]))


def rewrite(world: World, _: str) -> None:
    list(world.triage().create(drafts("another text")))


def switch_off(world: World, _: str) -> None:
    world.store.deliveries.switch("page", off=True)


def routed(world: World) -> None:
    world.rules = (dm.Rule("all", ("page",)),)
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))


def due(world: World) -> None:
    world.rules = (dm.Rule("all", ("page",)),)
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    page, world.destinations = world.destinations, {"page": FakeDestination("page", lambda _: dm.DeliveryError("down"))}
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    world.destinations = page
    world.store.database.write(lambda db: db.execute("update deliveries set due_at = 0"))
    list(world.triage().route(EVERYTHING, dm.RoutePlan()))


def added(world: World) -> None:
    list(world.triage().route(EVERYTHING, dm.RoutePlan()))


@pytest.mark.parametrize("meanwhile", [forget, undo, move, rewrite, switch_off])
@pytest.mark.parametrize(
    ("send", "addition"),
    [(routed, None), (due, None), (added, BEFORE), (added, ESCALATION)],
    ids=["routed", "due", "before", "escalation"],
)
def test_nothing_leaves_that_became_wrong_while_it_waited(
    world: World,
    send: Callable[[World], None],
    addition: dm.AdditionRule | None,
    meanwhile: Callable[[World, str], None],
) -> None:
    """The change comes while the first of several deliveries is attempted; that one cannot be called back."""
    sent: list[str] = []

    def answer(outgoing: dm.OutgoingDelivery) -> dm.DeliveryError | None:
        sent.append(f"{outgoing.ticket.subject} {outgoing.delivery.category}")
        if len(sent) == 1:
            # The one whose attempt has begun is waited for, which this thread cannot do for itself.
            world.store.database.write(lambda db: db.execute("update deliveries set begun_by = null"))
            meanwhile(World(world.store), outgoing.ticket.ticket_id)
        return None

    page = FakeDestination("page", answer)
    page.workers = 1
    world.classifier = FakeClassifier(lambda _: ("Billing", 0.9))
    world.destinations = {"page": page}
    if addition:
        world.additions = (addition,)
        list(world.triage().route(EVERYTHING, dm.RoutePlan()))  # sees the rule
    list(world.triage().create(drafts()))
    send(world)
    if meanwhile is move and addition:  # no rule asks for the decision, so what was read anew is sent
        assert len(sent) == NUMBER
        return
    assert [text for text in sent[1:] if "hello" in text] == []
    if meanwhile in {forget, undo, switch_off}:
        assert len(sent) == 1
    assert world.store.database.read("select count(*) from deliveries where begun_by is not null")[0][0] == 0


class Watched:
    """A destination that lets something happen between the mark of its first attempt and that attempt."""

    def __init__(self, real: Destination, meanwhile: Callable[[], None]) -> None:
        self.name, self.workers = real.name, 1
        self.max_attempts, self.schedule = real.max_attempts, real.schedule
        self._real, self._meanwhile = real, meanwhile
        self._is_first = True

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        return self._real.deliver(self._watched(chunks))

    def _watched(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.OutgoingDelivery]]:
        for chunk in chunks:
            if chunk and self._is_first:
                self._is_first = False
                self._meanwhile()
            yield chunk


@pytest.mark.parametrize("sleeps", [False, True], ids=["erased", "asleep"])
@pytest.mark.parametrize("kind", ["webhook", "http", "mail", "file", "command"])
def test_no_type_of_destination_sends_what_another_has_in_hand_by_then(
    world: World, tmp_path: Path, kind: str, *, sleeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was erased while it waited, or the machine fell asleep after the mark, for longer than the lease."""
    script = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
    with closing(HttpStub()) as http, closing(MailStub()) as mail:
        spec = {
            "webhook": f"url: {http.root}",
            "http": f'url: {http.root}, body: "{{{{ ticket.subject }}}}"',
            "mail": f"host: 127.0.0.1, port: {mail.port}, from: a@example.com, to: [b@example.com]",
            "file": "path: got.txt",
            "command": f"run: {json.dumps([sys.executable, '-c', script, str(tmp_path / 'got.txt')])}",
        }[kind]
        real = open_destination(configured(tmp_path, f"{{type: {kind}, {spec}}}", "page"), "page")

        def erase() -> None:  # the attempt that has begun would be waited for
            world.store.database.write(lambda db: db.execute("update deliveries set begun_by = null"))
            forget(World(world.store), "")

        def sleep() -> None:
            monkeypatch.setattr(
                sys.modules[RunContext.__module__], "lease_clock", lambda: lease_clock() + dm.LEASE_SECONDS
            )

        world.destinations = {"page": Watched(real, sleep if sleeps else erase)}
        list(world.triage().create(drafts()))
        routed(world)
        got = tmp_path / "got.txt"
        texts = [*(each.body.decode() for each in http.got), *(each.raw.decode() for each in mail.got)]
        texts += got.read_text().splitlines() if got.exists() else []
    assert len(texts) == (0 if sleeps else 1), texts
    assert all("hello" in text for text in texts)
    if sleeps:
        left = world.store.database.read("select distinct state, begun_by, attempts from deliveries")
        assert left == [("pending", None, 0)]
