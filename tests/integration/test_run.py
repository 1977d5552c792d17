"""`run`: a result for every row, in order; it does what is left, also what a dead run held."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.use_cases import (
    ALL,
    FailingClassifier,
    a_draft,
    actions,
    dids,
    drafts,
    held,
    last_run,
    made,
    now,
    run,
    to_file,
)
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.runtime import Budget


class Slow(FakeClassifier):
    """Keeps every answer back until it has taken several chunks, as calls in flight do."""

    def classify(self, chunks: Iterable[Sequence[dm.Ticket]], _a: Budget) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        waiting: list[dm.Ticket] = []
        for chunk in chunks:
            waiting += chunk
            yield []
        while waiting:
            yield [self._one(n, ticket) for n, ticket in enumerate(waiting[:90])]
            del waiting[:90]


@pytest.mark.parametrize("classifier", [FakeClassifier, Slow])
def test_run_gives_a_row_for_every_row_in_order(world: World, tmp_path: Path, classifier: type[FakeClassifier]) -> None:
    lines = to_file(world, tmp_path)
    rows: list[dm.TicketDraft | dm.Rejected] = [*drafts(1200)]
    rows[7] = dm.Rejected(7, 9, dm.RowError("line 9: no text"))
    rows[1100] = a_draft(1100, verdict="General")
    rows[1150] = a_draft(1150, "3", subject="Subject 3")
    rows[4] = a_draft(4, "3", subject="Subject 3")
    world.classifier = classifier()
    outcomes = list(dm.in_order(run(world, rows)))
    assert [o.row for o in outcomes] == list(range(1200))
    assert Counter(dids(outcomes)) == {"created": 1197, "rejected": 1, "unchanged": 2}
    tickets = [o.value.ticket if o.value else None for o in outcomes]
    assert [t.status for t in tickets if t] == ["routed"] * 1199
    assert tickets[3] is not None
    assert {t.ticket_id for t in (tickets[3], tickets[4], tickets[1150]) if t} == {tickets[3].ticket_id}
    assert len(world.classifier.asked) == len(set(world.classifier.asked)) == 1196
    assert len(lines()) == 1197
    assert held(world) == 0


def test_run_again_does_only_what_is_left(world: World, tmp_path: Path) -> None:
    lines = to_file(world, tmp_path)
    run(world, drafts(30))
    events = actions(world)
    outcomes = run(world, drafts(40))
    assert Counter(dids(outcomes)) == {"unchanged": 30, "created": 10}
    assert all(o.value and o.value.ticket.status == "routed" for o in outcomes)
    assert len(world.classifier.asked) == len(lines()) == 40
    assert len(actions(world)) == len(events) + 40


def test_run_takes_over_what_a_dead_run_held(world: World, tmp_path: Path) -> None:
    lines = to_file(world, tmp_path)
    dead = world.store.runs.begin(dm.Run(dm.ids.new_id(), "run", "tester", "", dm.times.now()))
    (ticket,) = made(world)
    world.store.runs.claim(ALL, dm.Lease(dead.run_id), 10)
    (outcome,) = run(world, drafts(1))
    assert outcome.value is not None
    assert outcome.value.ticket.status == "new", "while it lives, it is left to it"
    world.store.database.write(
        lambda db: db.execute("update runs set lease_until = 0 where run_id = ?", (dead.run_id,))
    )
    (outcome,) = run(world, drafts(1))
    assert outcome.value is not None
    assert outcome.value.ticket.status == now(world, ticket).status == "routed"
    assert len(lines()) == 1


def test_run_tells_of_what_needs_a_person_fails_or_has_no_route(world: World) -> None:
    world.rules = (dm.Rule("none", ("box",), {"category": ("Technical",)}),)
    answers: dict[str | None, tuple[str | None, float]] = {"0": ("Billing", 0.9), "1": ("Billing", 0.1)}

    class Mixed(FailingClassifier):
        def _one(self, n: int, ticket: dm.Ticket) -> dm.Outcome[dm.Answer]:
            self._answer = lambda t: answers[t.external_id]
            return super()._one(n, ticket)

    world.classifier = Mixed("2")
    outcomes = run(world, drafts(3))
    assert [o.value.ticket.status if o.value else None for o in outcomes] == ["unroutable", "needs_review", "failed"]
    assert [o.error.code if o.error else None for o in outcomes] == ["unroutable", None, "no_answer"]
    assert last_run(world)[:2] == ("run", 3)
