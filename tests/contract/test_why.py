"""The explanation of a ticket in sentences, over the history that each kind of store keeps."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.records import replace
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.destinations import FileDestination

ANSWERED = "fake (fake m) answered"
BECAUSE = "out of Billing, Technical, General, because of: because"


def story(world: World, ticket: dm.Ticket, *, hide: bool = True) -> list[str]:
    """Tell why, with what differs from run to run made equal."""
    history: dm.History = world.store.history(ticket.ticket_id)
    lines = [line.replace(dm.ids.short(ticket.ticket_id), "IDIDIDID") for line in dm.explain(history)]
    return [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME", line) for line in lines] if hide else lines


def stored(world: World, **fields: Any) -> dm.Ticket:
    draft = dm.TicketDraft(0, 2, "Refund", "Where is it?", external_id="T-1", cells=("",), **fields)
    (outcome,) = world.triage("ann").create([draft])
    assert outcome.value is not None
    return outcome.value


def classified(world: World, answer: Callable[[dm.Ticket], tuple[str | None, float]]) -> None:
    world.classifier = FakeClassifier(answer)
    list(world.triage("cron").classify(dm.Selection(), dm.ClassifyPlan()))


def routed(world: World, folder: Path) -> None:
    world.destinations["box"] = FileDestination("box", folder / "box.jsonl", 7, (5.0,))
    world.rules = (dm.Rule("all to the box", ("box",)),)
    list(world.triage("cron").route(dm.Selection(), dm.RoutePlan()))


def test_why_tells_of_a_routed_ticket(world: World, tmp_path: Path) -> None:
    ticket = stored(world)
    classified(world, lambda _: ("Billing", 0.9))
    routed(world, tmp_path)
    assert story(world, ticket) == [
        "T-1 · Refund · Billing at 0.90; routed",
        "TIME  stored from import, line 2, by ann",
        f"TIME  {ANSWERED} Billing at 0.90, {BECAUSE}; its threshold of 0.60 is reached, so it holds",
        "TIME  rule all to the box sent it to box (map map-1)",
        "TIME  box accepted it at the first attempt",
        "Next: nothing; it is where it belongs.",
    ]


def test_why_tells_of_a_ticket_that_needs_review(world: World) -> None:
    ticket = stored(world)
    classified(world, lambda _: ("General", 0.55))
    assert story(world, ticket)[0] == "T-1 · Refund · no category; the best guess is General at 0.55; needs review"
    assert story(world, ticket)[-2:] == [
        f"TIME  {ANSWERED} General at 0.55, {BECAUSE}; below its threshold of 0.60, so a person decides",
        "Next: a person decides: triage verdict T-1 CATEGORY, or triage review.",
    ]


def test_why_says_once_what_the_present_answer_is_based_on(world: World) -> None:
    ticket = stored(world)
    classified(world, lambda _: ("General", 0.55))
    world.classifier = FakeClassifier(lambda _: ("Billing", 0.9))
    list(world.triage("cron").classify(dm.Selection(ids=(ticket.ticket_id,)), dm.ClassifyPlan(force=True)))
    assert story(world, ticket)[2:4] == [
        f"TIME  {ANSWERED} General at 0.55; below its threshold of 0.60, so a person decides",
        f"TIME  {ANSWERED} Billing at 0.90, {BECAUSE}; its threshold of 0.60 is reached, so it holds",
    ]


def test_why_shows_how_far_a_confidence_is_below_a_threshold_that_rounds_to_the_same(world: World) -> None:
    ticket = stored(world)
    classified(world, lambda _: ("General", 0.5977))
    assert story(world, ticket)[-2].endswith("; 0.598 is below its threshold of 0.600, so a person decides")


def test_why_tells_when_a_delivery_is_due(world: World, tmp_path: Path) -> None:
    ticket = stored(world)
    classified(world, lambda _: ("Billing", 0.9))
    (tmp_path / "box.jsonl").mkdir()  # so that it cannot be written
    routed(world, tmp_path)
    history = world.store.history(ticket.ticket_id)
    (delivery,) = history.deliveries
    *_, last = dm.explain(replace(history, deliveries=(replace(delivery, due_at=32_503_680_000.5),)))
    assert last == "Next: triage route delivers what is due (box after 1 attempt, due at 3000-01-01 00:00:00Z)."


def test_why_tells_each_failed_attempt_with_its_own_error(world: World, tmp_path: Path) -> None:
    ticket = stored(world)
    classified(world, lambda _: ("Billing", 0.9))
    (tmp_path / "box.jsonl").mkdir()
    routed(world, tmp_path)
    world.store.database.write(lambda db: db.execute("update deliveries set due_at = 0"))
    (tmp_path / "a file").touch()
    routed(world, tmp_path / "a file")
    assert [line for line in story(world, ticket) if "did not take it" in line] == [
        f"TIME  box did not take it at the first attempt: cannot append to {tmp_path}/box.jsonl: Is a directory",
        f"TIME  box did not take it at the second attempt: cannot append to {tmp_path}/a file/box.jsonl: File exists",
    ]


def test_why_tells_of_verdicts(world: World) -> None:
    ticket = stored(world, verdict="Technical")
    stored(world, verdict="General")
    assert story(world, ticket) == [
        "T-1 · Refund · General, decided by a person; classified",
        "TIME  stored from import, line 2, by ann",
        "TIME  the input gave the verdict Technical",
        "TIME  imported again by ann",
        "TIME  the input gave the verdict General",
        "Next: triage route sends it on.",
    ]


def test_why_does_not_say_that_a_late_answer_holds(world: World) -> None:
    ticket = stored(world)

    def answer(_: dm.Ticket) -> tuple[str | None, float]:
        stored(world, verdict="General")
        return "Billing", 0.9

    classified(world, answer)
    lines = story(world, ticket)
    assert lines[0] == "T-1 · Refund · General, decided by a person; classified"
    assert lines[-2].endswith("; that came late: the ticket had changed meanwhile, so it changed nothing")
    assert not any("so it holds" in line for line in lines)
