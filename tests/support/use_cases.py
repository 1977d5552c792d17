"""Use cases over a world, in a line each, and what they leave in its store."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.chain import first_break
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.destinations import FileDestination
from triage_cli.runtime import Budget

PLAN = dm.ClassifyPlan()
ALL = dm.Selection()


def a_draft(row: int, external_id: str | None = "", **fields: Any) -> dm.TicketDraft:
    """Return row number `row` of a table; its id is that number unless another, or None, is given."""
    values: dict[str, Any] = {"subject": f"Subject {row}", "description": "Text"} | fields
    named = str(row) if external_id == "" else external_id
    return dm.TicketDraft(row=row, line=row + 2, external_id=named, cells=(str(row),), **values)


def drafts(number: int, **fields: Any) -> list[dm.TicketDraft]:
    return [a_draft(row, **fields) for row in range(number)]


def dids(outcomes: Iterable[dm.Outcome[Any]]) -> list[str]:
    return [o.action for o in outcomes]


def create(world: World, rows: Iterable[dm.TicketDraft | dm.Rejected]) -> list[dm.Outcome[dm.Ticket]]:
    return list(world.triage().create(rows))


def made(world: World, number: int = 1, **fields: Any) -> list[dm.Ticket]:
    outcomes = create(world, drafts(number, **fields))
    assert dids(outcomes) == ["created"] * number
    return [o.value for o in outcomes if o.value]


def classify(world: World, *tickets: dm.Ticket, plan: dm.ClassifyPlan = PLAN) -> list[dm.Outcome[dm.Decided]]:
    selection = dm.Selection(ids=tuple(t.ticket_id for t in tickets)) if tickets else ALL
    return list(world.triage().classify(selection, plan))


def route(world: World, *tickets: dm.Ticket, **plan: Any) -> list[dm.Outcome[dm.Routed]]:
    selection = dm.Selection(ids=tuple(t.ticket_id for t in tickets)) if tickets else ALL
    return list(world.triage().route(selection, dm.RoutePlan(**plan)))


def run(world: World, rows: Iterable[dm.TicketDraft | dm.Rejected]) -> list[dm.Outcome[dm.Routed]]:
    return list(world.triage().run(rows, PLAN))


def now(world: World, ticket: dm.Ticket) -> dm.Ticket:
    (found,) = world.store.find(dm.Selection(ids=(ticket.ticket_id,)))
    return found


def statuses(world: World) -> dict[str | None, str]:
    return {t.external_id: t.status for t in world.store.find(ALL)}


def actions(world: World) -> list[str]:
    return [e.action for e in world.store.log.events(dm.EventQuery())]


def log_is_whole(world: World) -> bool:
    return first_break(world.store.log.events(dm.EventQuery())) is None


def last_run(world: World) -> tuple[str, int | None, dict[str, int]]:
    statement = "select kind, exit_code, counts from runs order by run_id desc limit 1"
    kind, code, counts = world.store.database.read(statement)[0]
    return kind, code, json.loads(counts)


def held(world: World) -> int:
    number: int = world.store.database.read("select count(*) from claims")[0][0]
    return number


def answering(
    world: World, answer: Callable[[dm.Ticket], tuple[str | None, float]], fingerprint: str = "fake-1"
) -> None:
    world.classifier = FakeClassifier(answer, fingerprint)


class FailingClassifier(FakeClassifier):
    """Cannot answer tickets with these external ids."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def classify(self, chunks: Iterable[Sequence[dm.Ticket]], _a: Budget) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        for chunk in chunks:
            yield [
                dm.Outcome(n, dm.Action.FAILED, None, dm.AnswerError("it timed out"), t)
                if t.external_id in self.names
                else self._one(n, t)
                for n, t in enumerate(chunk)
            ]


def to_file(world: World, folder: Path, name: str = "box") -> Callable[[], list[Any]]:
    """Route everything to a file, and return what reads its lines."""
    path = folder / f"{name}.jsonl"
    world.destinations[name] = FileDestination(name, path, 7, (5.0,))
    world.rules = (*world.rules, dm.Rule(f"to {name}", (name,)))
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]


def ready(world: World, number: int = 1) -> list[dm.Ticket]:
    """Return classified tickets; by default they are Billing."""
    tickets = made(world, number)
    classify(world)
    return tickets


def states(world: World, ticket: dm.Ticket) -> list[tuple[str, str, str]]:
    return [(d.destination, d.category, d.state) for d in world.store.history(ticket.ticket_id).deliveries]
