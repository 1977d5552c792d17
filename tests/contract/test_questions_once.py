"""A question is paid once, by however many runs ask it at the same time: the others wait for it, or take it over."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import pytest

from tests.support.records import replace
from tests.support.use_cases import a_draft, create
from tests.support.world import FakeClassifier, World, a_budget
from triage_cli import domain as dm
from triage_cli.classifiers import CachedClassifier, Memory


def a_run(world: World) -> dm.Run:
    return world.store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "tester", "classify", dm.times.now()))


def end(world: World, run: dm.Run) -> None:
    world.store.runs.end(replace(run, ended_at=dm.times.now(), exit_code=0))


def key_of(world: World, ticket: dm.Ticket) -> str:
    return dm.ids.answer_key(world.classifier.fingerprint, ticket.text)


class Asking:
    """What a run gets from a paid classifier about tickets; `paid` are the answers that are stored."""

    def __init__(self, world: World, run: dm.Run, tickets: Sequence[dm.Ticket], patience: float = 3600.0) -> None:
        self.paid: dict[str, dm.Classification] = {}
        self.asked = FakeClassifier(fingerprint=world.classifier.fingerprint)
        begin, give_up = (
            partial(world.store.answers.begin, run.run_id),
            partial(world.store.answers.give_up, run.run_id),
        )
        memory = Memory(self._recall, begin, give_up, patience)
        asking = tuple(replace(ticket, asked=("category",)) for ticket in tickets)
        cached = CachedClassifier(self.asked, memory, "tester", run.run_id)
        self._outcomes = cached.classify([asking], a_budget())

    def _recall(self, keys: Sequence[str]) -> Mapping[str, dm.Classification]:
        return {key: self.paid[key] for key in keys if key in self.paid}

    def next(self) -> list[dm.Outcome[dm.Answered]]:
        return list(next(self._outcomes))

    def rest(self) -> Iterator[dm.Outcome[dm.Answered]]:
        for outcomes in self._outcomes:
            yield from outcomes


@pytest.fixture
def tickets(world: World) -> list[dm.Ticket]:
    """Store two tickets with one text, and one with another."""
    texts = ("one text", "one text", "another")
    made = create(world, [a_draft(n, f"T-{n}", subject=text) for n, text in enumerate(texts)])
    return [outcome.value for outcome in made if outcome.value]


def test_what_another_run_asks_is_waited_for_and_delays_nothing_else(world: World, tickets: list[dm.Ticket]) -> None:
    other, own = a_run(world), a_run(world)
    same, _, different = tickets
    assert world.store.answers.begin(other.run_id, [key_of(world, same)]) == frozenset()
    asking = Asking(world, own, tickets)
    assert [outcome.ticket.ticket_id for outcome in asking.next()] == [different.ticket_id]
    assert asking.next() == [], "it waits"
    paid = FakeClassifier()._one(0, same).value
    assert paid is not None
    asking.paid[key_of(world, same)] = paid.steps[-1]
    arrived = list(asking.rest())
    assert [outcome.ticket.ticket_id for outcome in arrived] == [t.ticket_id for t in tickets[:2]]
    assert {outcome.value.steps[-1].reused for outcome in arrived if outcome.value} == {
        paid.steps[-1].classification_id
    }
    assert asking.asked.asked == [different.ticket_id]


@pytest.mark.parametrize("fate", ["ended", "given up", "killed", "silent"])
def test_what_another_run_does_not_answer_is_asked_once(world: World, tickets: list[dm.Ticket], fate: str) -> None:
    other, own = a_run(world), a_run(world)
    key = key_of(world, tickets[0])
    world.store.answers.begin(other.run_id, [key])
    asking = Asking(world, own, tickets, patience=0.0 if fate == "silent" else 3600.0)
    asking.next()
    if fate == "ended":
        end(world, other)
    elif fate == "given up":
        world.store.answers.give_up(other.run_id, [key])
    elif fate == "killed":
        world.store.database.write(
            lambda db: db.execute("update runs set lease_until = 0 where run_id = ?", (other.run_id,))
        )
    arrived = [outcome.ticket.ticket_id for outcome in asking.rest()]
    assert sorted(arrived) == sorted(ticket.ticket_id for ticket in tickets[:2])
    assert asking.asked.asked == [tickets[2].ticket_id, tickets[0].ticket_id]
    world.store.runs.renew(dm.Lease(own.run_id))
    end(world, own)
    left = world.store.database.read("select run_id from being_asked")
    assert [row[0] for row in left] == ([other.run_id] if fate == "silent" else [])


def test_two_runs_that_ask_each_others_questions_wait_for_nothing_in_a_circle(
    world: World, tickets: list[dm.Ticket]
) -> None:
    same, _, different = tickets
    runs = a_run(world), a_run(world)
    first, second = Asking(world, runs[0], [same, different]), Asking(world, runs[1], [different, same])
    second.paid = first.paid
    for outcome in first.next():
        assert outcome.value is not None
        step = outcome.value.steps[-1]
        first.paid[step.answer_key] = step
    assert len(list(second.rest())) == 2
    assert (len(first.asked.asked), second.asked.asked) == (2, [])
