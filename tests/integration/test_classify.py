"""`classify`: what an answer makes of its ticket, what is asked again, and what stops, kills and verdicts leave."""

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.use_cases import (
    ALL,
    PLAN,
    FailingClassifier,
    a_draft,
    actions,
    answering,
    classify,
    create,
    dids,
    drafts,
    held,
    last_run,
    log_is_whole,
    made,
    now,
    route,
    run,
    statuses,
    to_file,
)
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.classifiers import Cascade
from triage_cli.runtime import Budget
from triage_cli.stores import SqliteStore


def test_a_sure_answer_holds_and_an_unsure_one_is_a_suggestion(world: World) -> None:
    sure, unsure, none = made(world, 3)
    answers: dict[str, tuple[str | None, float]] = {
        sure.ticket_id: ("Billing", 0.6), unsure.ticket_id: ("General", 0.59), none.ticket_id: (None, 0.0),
    }  # fmt: skip
    answering(world, lambda t: answers[t.ticket_id])
    outcomes = classify(world)
    assert [(o.row, o.action) for o in outcomes] == [(0, "classified"), (1, "needs_review"), (2, "needs_review")]
    assert all(o.value and o.value.asked and o.value.now for o in outcomes)
    held_, guessed, abstained = (now(world, t) for t in (sure, unsure, none))
    assert (held_.status, held_.category, held_.suggestion) == ("classified", "Billing", None)
    assert (guessed.status, guessed.category, guessed.suggestion) == ("needs_review", None, "General")
    assert (abstained.status, abstained.category, abstained.suggestion) == ("needs_review", None, None)
    assert held(world) == 0
    assert last_run(world) == ("classify", 0, {"classified": 1, "needs_review": 2})
    assert world.store.history(sure.ticket_id).questions["fake-1"].kind == "fake"


def test_a_ticket_that_fails_is_asked_again_and_goes_to_a_person_after_three_runs(world: World) -> None:
    fails, works = made(world, 2)
    world.classifier = FailingClassifier("0")
    outcomes = classify(world)
    assert dids(outcomes) == ["failed", "classified"]
    assert outcomes[0].error is not None
    assert outcomes[0].error.message == f"{dm.ids.short(fails.ticket_id)}: it timed out"
    assert last_run(world)[1] == 3
    assert (now(world, fails).status, now(world, fails).error) == ("failed", "it timed out")
    assert dids(classify(world)) == ["failed"]
    assert dids(classify(world)) == ["needs_review"]
    assert classify(world) == []
    assert (now(world, fails).failures, now(world, works).status) == (3, "classified")
    answering(world, lambda _: ("General", 0.9))
    assert dids(classify(world, fails)) == ["classified"]
    assert (now(world, fails).failures, now(world, fails).error) == (0, None)


def test_a_label_outside_the_list_is_never_stored(world: World) -> None:
    (ticket,) = made(world)
    answering(world, lambda _: ("Sales", 0.99))
    assert dids(classify(world)) == ["failed"]
    history = world.store.history(ticket.ticket_id)
    assert (history.ticket.status, history.ticket.category, history.ticket.suggestion) == ("failed", None, None)
    assert [c.category for c in history.classifications] == [None]
    assert history.ticket.error == "fake answered a category that is not in the list"


def test_a_failure_does_not_take_a_verdict_away_even_with_force(world: World) -> None:
    (ticket,) = made(world, verdict="General")
    world.classifier = FailingClassifier("0")
    assert dids(classify(world, ticket, plan=dm.ClassifyPlan(force=True))) == ["failed"]
    after = now(world, ticket)
    assert (after.status, after.category, after.verdict) == ("classified", "General", 1)


class Meanwhile(FakeClassifier):
    """Lets something happen while it thinks."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self._happens = happens

    def _one(self, n: int, ticket: dm.Ticket) -> dm.Outcome[dm.Answer]:
        self._happens()
        return super()._one(n, ticket)


def test_a_verdict_given_while_the_classifier_thinks_is_not_overwritten(world: World) -> None:
    (ticket,) = made(world)
    world.classifier = Meanwhile(lambda: create(world, [a_draft(0, verdict="General")]))
    (outcome,) = classify(world)
    assert outcome.action == "held"
    assert outcome.value is not None
    assert (outcome.value.ticket.category, outcome.value.ticket.verdict) == ("General", 1)
    history = world.store.history(ticket.ticket_id)
    assert (history.ticket.category, history.ticket.verdict, history.ticket.run_id) == ("General", 1, None)
    assert [c.category for c in history.classifications] == ["General", "Billing"], "the late answer is kept"
    assert json.loads(history.events[-1].detail)["outcome"] == "late"
    assert log_is_whole(world)


def test_an_unchanged_ticket_is_not_asked_again(world: World) -> None:
    tickets = made(world, 3)
    classify(world)
    events = len(actions(world))
    outcomes = classify(world, *tickets)
    assert dids(outcomes) == ["unchanged"] * 3
    assert not any(o.value and o.value.asked for o in outcomes)
    assert len(world.classifier.asked) == 3
    assert len(actions(world)) == events
    assert held(world) == 0
    answering(world, lambda _: ("General", 0.9), "fake-2")
    assert dids(classify(world, *tickets)) == ["classified"] * 3, "another question is asked"
    assert len(world.classifier.asked) == 3


def test_force_asks_again_and_overrules_a_verdict(world: World) -> None:
    settled, ruled = made(world, 2)
    create(world, [a_draft(1, verdict="General")])
    classify(world, settled)
    assert dids(classify(world, settled, ruled)) == ["unchanged", "held"]
    outcomes = classify(world, settled, ruled, plan=dm.ClassifyPlan(force=True))
    assert dids(outcomes) == ["classified"] * 2
    assert (now(world, ruled).category, now(world, ruled).verdict) == ("Billing", 0)
    overruling = "that overrules the verdict General, as --force demands"
    assert world.triage().why(ruled.ticket_id).why[-2].endswith(overruling)
    assert overruling not in "".join(world.triage().why(settled.ticket_id).why)


def test_a_ticket_named_twice_is_asked_about_and_delivered_once(world: World, tmp_path: Path) -> None:
    (ticket,) = made(world)
    assert dids(classify(world, ticket, ticket)) == ["classified"]
    assert world.classifier.asked == [ticket.ticket_id]
    lines = to_file(world, tmp_path)
    assert dids(route(world, ticket, ticket)) == ["routed"]
    assert len(lines()) == 1


def test_tickets_that_another_run_holds_are_left_to_it(world: World) -> None:
    taken, theirs = made(world, 2)
    other = dm.Lease(world.store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "other", "", dm.times.now())).run_id)
    world.store.runs.claim(dm.Selection(ids=(theirs.ticket_id,)), other, 1)
    assert {o.row: o.action for o in classify(world, taken, theirs)} == {0: "classified", 1: "held"}
    assert world.classifier.asked == [taken.ticket_id]
    assert now(world, theirs) == theirs


def test_classify_goes_urgent_first_then_oldest_and_stops_at_its_limit(world: World) -> None:
    create(world, [a_draft(row, priority="urgent" if row == 3 else None) for row in range(5)])
    done = list(world.triage().classify(dm.Selection(limit=3), PLAN))
    assert [o.value.ticket.external_id for o in done if o.value] == ["3", "0", "1"]
    assert Counter(statuses(world).values()) == {"classified": 3, "new": 2}


def test_stop_ends_a_run_between_chunks_and_frees_the_rest(world: World) -> None:
    made(world, dm.chunks.CHUNK + 600)
    world.classifier.chunk_size = 100
    triage = world.triage()
    number = 0
    for number, _ in enumerate(triage.classify(ALL, PLAN), 1):
        if number == 3:
            triage.stop()
    held_at_once = 2 * world.classifier.chunk_size
    left = dm.chunks.CHUNK + 600 - held_at_once
    assert number == held_at_once
    assert Counter(statuses(world).values()) == {"classified": held_at_once, "new": left}
    assert held(world) == 0
    assert dids(classify(world)) == ["classified"] * left


class FirstStep(FakeClassifier):
    """A local step, whose chunks are large; it keeps the sizes of the chunks that it gets."""

    def __init__(self, *, sure: Callable[[dm.Ticket], bool]) -> None:
        super().__init__(lambda ticket: ("Billing", 0.9 if sure(ticket) else 0.1))
        self.sizes: list[int] = []

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        for chunk in chunks:
            self.sizes.append(len(chunk))
            yield from super().classify([chunk], budget)


@pytest.mark.sqlite
@pytest.mark.parametrize("is_named", [False, True])
@pytest.mark.parametrize("unsure", [0, 300, 1500])
def test_a_cascade_claims_few_tickets_at_once_while_a_further_step_is_asked(
    world: World, unsure: int, is_named: bool
) -> None:
    """Answers of a further step take long, and another run shares the work; those of a local one take no time."""
    tickets = made(world, 1500)
    first, last = FirstStep(sure=lambda t: int(t.external_id or 0) >= unsure), FakeClassifier(fingerprint="fake-2")
    last.chunk_size = 16
    world.classifier = Cascade("both", (first, last))  # type: ignore[assignment]
    classify(world, *tickets if is_named else ())
    assert set(statuses(world).values()) == {"classified"}
    sizes = [size for size in first.sizes if size]
    assert sizes[0] == 32
    if unsure:
        assert max(sizes[: unsure // 64]) <= 64
    if unsure < 1500 and not is_named:
        assert max(sizes) >= 400


def test_stop_ends_an_import_and_keeps_what_was_read(world: World) -> None:
    triage = world.triage()

    def rows() -> Iterator[dm.TicketDraft]:
        for row in range(10_000):
            if row == 700:
                triage.stop()
            yield a_draft(row)

    assert dids(triage.create(rows())) == ["created"] * 700
    assert world.store.stats().tickets == 700


@pytest.mark.parametrize("kind", ["create", "classify", "run", "route"])
def test_a_caller_that_leaves_early_ends_the_run_and_frees_its_tickets(world: World, kind: str) -> None:
    world.rules = ()
    if kind != "create":
        made(world, 1200)
    if kind == "route":
        classify(world)
    triage = world.triage()
    starts: dict[str, Callable[[], Iterator[Any]]] = {
        "create": lambda: triage.create(drafts(1200)),
        "classify": lambda: triage.classify(ALL, PLAN),
        "run": lambda: triage.run(drafts(1200), PLAN),
        "route": lambda: triage.route(ALL, dm.RoutePlan()),
    }
    started = starts[kind]()
    next(started)
    assert isinstance(started, Generator)
    started.close()
    assert last_run(world)[:2] == (kind, 130)
    assert held(world) == 0
    assert world.store.database.read("select count(*) from runs where ended_at is null") == [(0,)]
    assert log_is_whole(world)


class Broken(FakeClassifier):
    """Answers one chunk, then its provider is gone or it has a bug."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        source = iter(chunks)
        yield from super().classify([next(source)], budget)
        next(source)
        raise self._error


@pytest.mark.parametrize(
    ("error", "code"),
    [(dm.UnavailableError("gone"), 6), (ZeroDivisionError(), 1), (KeyboardInterrupt(), 130)],
)
def test_what_stops_a_run_keeps_what_finished_and_leaves_the_rest_new(
    world: World, error: BaseException, code: int
) -> None:
    made(world, 500)
    world.classifier = Broken(error)
    world.classifier.chunk_size = 100
    with pytest.raises(type(error)):
        classify(world)
    held_at_once = 2 * world.classifier.chunk_size
    assert Counter(statuses(world).values()) == {"classified": held_at_once, "new": 500 - held_at_once}
    assert held(world) == 0
    assert last_run(world)[:2] == ("classify", code)


class Interrupted(SqliteStore):
    """A store whose save is interrupted by Ctrl-C or breaks at the given call, before or after it is done."""

    def __init__(self, path: str, at: int, error: BaseException, *, after: bool) -> None:
        super().__init__(path)
        self._left = at
        self._error = error
        self._after = after

    def save(
        self, changes: Sequence[dm.Change], lease: dm.Lease | None = None, cursor: dm.SourceCursor | None = None
    ) -> list[dm.Conflict | None]:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise self._error
        answer = super().save(changes, lease, cursor)
        if self._left == 0:
            raise self._error
        return answer


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), dm.UnavailableError("the disk is full")])
@pytest.mark.parametrize("at", [1, *(pytest.param(n, marks=pytest.mark.long) for n in (2, 5)), 3, 6])
def test_an_interruption_at_any_save_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException, *, after: bool
) -> None:
    """The same command again finishes the work: every ticket once in the store, once in the file or told again."""
    monkeypatch.setattr(dm.chunks, "CHUNK", 100)
    number = dm.chunks.CHUNK + 50
    rows = drafts(number)
    broken = World(Interrupted(str(tmp_path / "triage.db"), at, error, after=after))
    to_file(broken, tmp_path)
    with pytest.raises(type(error)):
        run(broken, rows)
    assert held(broken) == 0
    assert log_is_whole(broken)
    again = World(SqliteStore(broken.store.path))
    lines = to_file(again, tmp_path)
    outcomes = run(again, rows)
    assert [o.row for o in dm.in_order(outcomes)] == list(range(number))
    route(again)
    assert set(statuses(again).values()) == {"routed"}
    assert len(statuses(again)) == number
    assert len({line["delivery_id"] for line in lines()}) == number
    assert log_is_whole(again)
