"""Deliveries through the use cases and the command line: never lost, never doubled under another id."""

import itertools
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, is_pending, many, rows, until
from tests.support.fake_destination import FakeDestination, drafts, run
from tests.support.online import ONLINE
from tests.support.records import replace
from tests.support.webhook_receiver import Receiver, target
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.destinations import CommandDestination
from triage_cli.extensions.http import WebhookDestination
from triage_cli.extensions.server import server_state
from triage_cli.runtime import StopControl, bridge
from triage_cli.service import AttemptRecorder, RetryPolicy, RunContext, queue
from triage_cli.service import run as delivery_run


def test_one_dead_among_three_takes_nothing_from_the_others(world: World, three: dict[str, FakeDestination]) -> None:
    three["b"]._answer = lambda _: dm.DeliveryError("b is down", status=500)
    statuses = Counter(run(world, 3000))
    assert statuses == {"routed": 2000, "routing": 1000}
    assert len(three["a"].got) == len(three["c"].got) == 1000
    handed = queue.FAILURES + 2 * three["b"].workers
    assert len(three["b"].got) <= handed, "left alone once it had failed ten times in a row"


def test_one_that_hangs_does_not_stop_the_others(
    world: World, three: dict[str, FakeDestination], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "STUCK_SECONDS", 0.05)
    three["b"].hangs = True
    triage = world.triage()
    seen: Counter[str] = Counter()
    number = 6 * queue.QUEUE_LIMIT  # a third is for the one that hangs: twice what its queue holds
    for outcome in triage.run(drafts(number), dm.ClassifyPlan()):
        seen[outcome.value.ticket.status if outcome.value else ""] += 1
        if seen["routed"] == 2 * number // 3:
            break
    assert seen["routed"] == 2 * number // 3


def test_a_ticket_that_is_due_later_has_the_error_of_what_is_still_due(
    world: World, three: dict[str, FakeDestination]
) -> None:
    downs = {name: dm.DeliveryError(f"{name} is down", status=503) for name in ("a", "b")}
    world.rules = (dm.Rule("r", ("a", "b")),)
    three["b"]._answer = lambda _: downs["b"]
    run(world, 1)
    [ticket] = world.store.find(dm.Selection())

    def failed(error: dm.DeliveryError | None) -> tuple[dm.Failure, ...]:
        """Return the failure of the delivery to the destination of an error."""
        deliveries = world.store.deliveries.of([ticket.ticket_id])[ticket.ticket_id]
        return tuple(dm.Failure(d.delivery_id, error) for d in deliveries if error and error is downs[d.destination])

    def reported(*errors: dm.DeliveryError | None) -> object:
        """Return the error that is reported after these results, of which all but the first are of another try."""
        first, *later = [
            dm.Outcome(0, dm.Action.ROUTING, dm.Routed(ticket, failures=failed(error)), error, ticket)
            for error in errors
        ]
        [last] = delivery_run.last_outcome_per_ticket(world.store, [first], lambda _ids: later)
        return last.error

    assert reported(downs["b"], None) is downs["b"], "what was accepted after it hides no failure"
    assert reported(downs["b"], downs["a"]) is downs["b"]
    assert str(reported(downs["a"], None)) == "b is down", "a has accepted it since, and b failed before"


def test_a_ticket_that_was_not_tried_since_its_destination_keeps_failing_has_that_as_its_error(
    world: World, three: dict[str, FakeDestination]
) -> None:
    three["b"]._answer = lambda _: dm.DeliveryError("b is down", status=503)
    outcomes = world.triage().run(drafts(300), dm.ClassifyPlan())
    routing = [o for o in outcomes if o.value and o.value.ticket.status == "routing"]
    errors = Counter(o.error.sentence() if o.error else "" for o in routing)
    paused = "b keeps failing (last status 503), so it is paused for 30 s; the next triage route tries it again"
    assert errors == {"b is down": len(three["b"].got), paused: 100 - len(three["b"].got)}
    deliveries = world.store.deliveries.of([o.value.ticket.ticket_id for o in routing if o.value])
    kept = Counter(d.last_error for own in deliveries.values() for d in own if d.state == "pending")
    assert kept == errors, "show and why tell it too"


def test_what_is_due_soon_elsewhere_does_not_wait_for_one_that_is_left_alone(
    world: World, three: dict[str, FakeDestination]
) -> None:
    three["b"]._answer = lambda _: dm.DeliveryError("b is down", status=503)
    downs = iter([dm.DeliveryError("a is down", status=503)])
    three["a"]._answer = lambda _: next(downs, None)
    three["a"].schedule = (1.0,)
    assert Counter(run(world, 300)) == {"routed": 199, "routing": 101}
    statuses = Counter(o.action for o in world.triage().route(dm.Selection(), dm.RoutePlan(stay=3)))
    assert statuses[dm.Action.ROUTED] == 1


def test_a_ticket_tells_of_each_destination_that_did_not_take_it(
    world: World, three: dict[str, FakeDestination]
) -> None:
    world.rules = (dm.Rule("r", ("a", "b", "c")),)
    three["a"]._answer = lambda _: dm.DeliveryError("z is down", hint="wait", status=503)
    three["b"]._answer = lambda _: dm.DeliveryError("b is down", hint="wait", status=503)
    [outcome] = world.triage().run(drafts(1), dm.ClassifyPlan())
    assert outcome.error is not None
    assert outcome.error.sentence() == "b is down; z is down; wait", (
        "the same for all such tickets, whichever was first"
    )


def test_a_ticket_is_undeliverable_for_a_reason_whichever_delivery_ends_last(
    world: World, three: dict[str, FakeDestination]
) -> None:
    world.rules = (dm.Rule("r", ("a", "b")),)
    downs = iter([dm.DeliveryError("b is down", status=503)])
    three["a"]._answer = lambda _: dm.DeliveryError("a refused it", status=422, final=True)
    three["b"]._answer = lambda _: next(downs, None)
    three["b"].schedule = (0.1,)
    list(world.triage().create(drafts(1)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    [outcome] = world.triage().route(dm.Selection(), dm.RoutePlan(stay=PATIENCE))
    assert (outcome.action, str(outcome.error)) == (dm.Action.UNDELIVERABLE, "a refused it")


def test_a_ticket_that_was_refused_before_is_undeliverable_for_that_reason_still(
    world: World, three: dict[str, FakeDestination]
) -> None:
    world.rules = (dm.Rule("r", ("a", "b")),)
    three["a"]._answer = lambda _: dm.DeliveryError("a refused it", status=422, final=True)
    three["b"]._answer = lambda _: dm.DeliveryError("b is down", status=503)
    run(world, 1)
    three["b"]._answer = lambda _: None
    world.store.database.write(lambda db: db.execute("update deliveries set due_at = 0 where state = 'pending'"))
    [outcome] = world.triage().route(dm.Selection(), dm.RoutePlan())
    assert (outcome.action, str(outcome.error)) == (dm.Action.UNDELIVERABLE, "a refused it")


def test_a_mistake_of_the_configuration_is_not_hidden_by_a_destination_that_fails(cli: Cli, receiver: Receiver) -> None:
    receiver.answer = lambda _: (503, {})
    (cli.folder / "config.yaml").write_text(
        f"destinations:\n  hook: {{type: webhook, url: {receiver.url}, retry_schedule: [0.1, 600]}}\n"
        "  other: {type: webhook, url: 'https://x.example/', secret_env: HOOK_SECRET}\n"
        "routes:\n  - to: [hook, other]\n"
    )
    cli("create", "-q", "--map", "verdict=v", stdin="id,subject,v\n1,refund,Billing\n")
    done = cli("route")
    assert done.returncode == 2
    assert "HOOK_SECRET, which is not set" in done.stderr


def test_why_tells_a_refusal_for_good_from_attempts_that_are_used_up(
    world: World, three: dict[str, FakeDestination]
) -> None:
    world.rules = (dm.Rule("r", ("a", "b")),)
    three["a"]._answer = lambda _: dm.DeliveryError("a does not know it", status=404, final=True)
    three["b"]._answer = lambda _: dm.DeliveryError("b: ada@example.com is refused", status=503)
    three["b"].max_attempts = 1
    assert run(world, 1) == ["undeliverable"]
    [ticket] = world.store.find(dm.Selection())
    sentences = [line.partition("Z  ")[2] for line in world.triage().why(ticket.ticket_id).why]
    assert "a refused it for good at the first attempt: a does not know it" in sentences
    assert "b did not take it at the first attempt, the last one: ada@example.com is refused" in sentences


def test_why_does_not_claim_that_a_destination_has_what_is_tried_again_or_due(
    world: World, three: dict[str, FakeDestination]
) -> None:
    world.rules = (dm.Rule("r", ("a", "b")),)
    three["a"]._answer = lambda _: dm.DeliveryError("a refused it", status=422, final=True)
    three["b"]._answer = lambda _: dm.DeliveryError("b is down", status=503)
    run(world, 1)
    [ticket] = world.store.find(dm.Selection())
    named = dm.Selection(ids=(ticket.ticket_id,))

    def decisions() -> list[str]:
        lines = [line.partition("Z  ")[2] for line in world.triage().why(ticket.ticket_id).why]
        return [line for line in lines if line.startswith("rule r ")]

    list(world.triage().route(named, dm.RoutePlan(retry_dead=True)))
    list(world.triage().give_verdicts([dm.VerdictDraft(0, ticket.ticket_id, "Billing", None)]))
    list(world.triage().route(named, dm.RoutePlan()))
    assert decisions() == [
        "rule r sent it to a, b (map map-1)",
        "rule r sends it to a, b; its dead letter to a is tried again (map map-1)",
        "rule r sends it to a, b, as before (map map-1)",
    ]


def test_a_named_ticket_that_is_due_later_says_why(world: World, three: dict[str, FakeDestination]) -> None:
    three["a"]._answer = lambda _: dm.DeliveryError("a is down", status=503)
    run(world, 1)
    [ticket] = world.store.find(dm.Selection())
    [outcome] = world.triage().route(dm.Selection(ids=(ticket.ticket_id,)), dm.RoutePlan())
    assert outcome.error is not None
    assert outcome.error.sentence() == "a is down; triage why tells when it is tried again"
    world.store.database.write(lambda db: db.execute("update deliveries set due_at = 0 where state = 'pending'"))
    three["a"]._answer = lambda _: dm.DeliveryError("a is down still", status=503)
    [outcome] = world.triage().route(dm.Selection(ids=(ticket.ticket_id,)), dm.RoutePlan())
    assert str(outcome.error) == "a is down still"


def test_a_dead_letter_is_tried_again_though_another_delivery_of_its_ticket_is_due_later(
    world: World, three: dict[str, FakeDestination]
) -> None:
    world.rules = (dm.Rule("r", ("a", "b")),)
    three["a"]._answer = lambda _: dm.DeliveryError("a refused it", status=422, final=True)
    three["b"]._answer = lambda _: dm.DeliveryError("b is down", status=503)
    assert run(world, 3) == ["routing"] * 3
    three["a"]._answer = lambda _: None
    outcomes = list(world.triage().route(dm.Selection(), dm.RoutePlan(retry_dead=True)))
    assert sorted((o.action, str(o.error)) for o in outcomes) == [(dm.Action.ROUTING, "b is down")] * 3, (
        "each with its reason"
    )
    assert len(three["a"].got) == 6
    assert len(three["b"].got) == 3, "their next attempt is later"


def test_what_was_left_alone_is_delivered_once_it_is_back(world: World, three: dict[str, FakeDestination]) -> None:
    three["b"]._answer = lambda _: dm.DeliveryError("b is down", status=503)
    run(world, 90)
    three["b"]._answer = lambda _: None
    world.store.database.write(lambda db: db.execute("update deliveries set due_at = 0 where state = 'pending'"))
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    assert {t.status for t in world.store.find(dm.Selection())} == {"routed"}
    assert set(Counter(three["a"].got).values()) == {1}
    assert len(set(three["b"].got)) == 30


def test_a_destination_that_is_gone_is_switched_off_until_dead_letters_are_retried(
    world: World, three: dict[str, FakeDestination]
) -> None:
    three["b"]._answer = lambda _: dm.DeliveryError("gone", status=410, final=True, gone=True)
    assert Counter(run(world, 3))["undeliverable"] == 1
    more = [dm.TicketDraft(0, 2, "one more", None, None, None, None, "4")]
    (outcome,) = world.triage().run(more, dm.ClassifyPlan())
    assert outcome.value is not None
    assert outcome.value.ticket.status == "undeliverable"
    assert len(three["b"].got) == 1, "not asked again"
    (named,) = world.triage().route(dm.Selection(ids=(outcome.value.ticket.ticket_id,)), dm.RoutePlan())
    assert (named.action, str(named.error)) == ("undeliverable", "b said that it is gone (410) and was switched off")
    assert len(three["b"].got) == 1, "nor asked again where it is named"
    assert world.store.deliveries.switched_off() == {"b"}
    three["b"]._answer = lambda _: None
    list(world.triage().route(dm.Selection(), dm.RoutePlan(retry_dead=True)))
    assert world.store.deliveries.switched_off() == frozenset()
    assert {t.status for t in world.store.find(dm.Selection())} == {"routed"}


@pytest.mark.sqlite
def test_the_next_attempt_is_due_as_planned_or_as_the_receiver_asks(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    world.destinations["hook"] = WebhookDestination(target(receiver.url), ONLINE)
    world.rules = (dm.Rule("r", ("hook",)),)
    receiver.answer = lambda n: [(500, {}), (429, {"Retry-After": "600"})][n - 1]
    run(world, 1)
    due = world.store.deliveries.next_due()
    assert due is not None
    assert 4.5 <= due - now <= 5.5
    now = due
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    assert world.store.deliveries.next_due() == now + 600
    first, second = (headers for headers, _ in receiver.got)
    assert first["webhook-id"] == second["webhook-id"]


def until_next(world: World, error: dm.DeliveryError, *, first_at: float, number: int) -> Iterator[tuple[str, float]]:
    """Yield a delivery's state, and the seconds to the next attempt, after each of so many failures."""
    list(world.triage().create(drafts(1)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().decide_routes(dm.Selection()))
    outgoing = holding(world)[1]
    delivery = outgoing.delivery
    for _ in range(number):
        outcome = dm.Outcome(0, dm.Action.DELIVERED, dm.Receipt(error.status), error, outgoing)
        delivery, _ = RetryPolicy(3).after(outcome, dm.times.now(), delivery, dm.times.from_seconds(int(first_at)))
        yield delivery.state, delivery.due_at - time.time()


@pytest.mark.sqlite
@pytest.mark.usefixtures("three")
def test_a_rate_limit_that_names_its_time_uses_up_no_step(world: World) -> None:
    limited = dm.DeliveryError("slow down", status=429, retry_after=20.0, limited=True)
    waits = list(until_next(world, limited, first_at=time.time(), number=30))
    assert {state for state, _ in waits} == {"pending"}
    assert all(19 < seconds <= 20 for _, seconds in waits[:14])
    assert 59 < waits[-1][1] <= 60, "a destination that says nothing else is asked once a minute in the end"


@pytest.mark.sqlite
@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("hours", "wait"), [(24, 20.0), (0, 90_000.0), (0, None)])
def test_a_rate_limit_of_more_than_a_day_or_no_named_time_uses_up_the_schedule(
    world: World, hours: int, wait: float | None
) -> None:
    limited = dm.DeliveryError("slow down", status=429, retry_after=wait, limited=True)
    first_at = time.time() - hours * 3600
    states = [state for state, _ in until_next(world, limited, first_at=first_at, number=3)]
    assert states == ["pending", "pending", "dead"]


def test_two_short_limits_in_a_row_delay_a_delivery_by_their_own_time(cli: Cli, receiver: Receiver) -> None:
    receiver.answer = lambda n: (429, {"Retry-After": "1"}) if n in (1, 2) else (503, {}) if n == 3 else (200, {})
    config = {"destinations": {"out": {"type": "webhook", "url": receiver.url}}, "routes": [{"to": "out"}]}
    (cli.folder / "config.yaml").write_text(json.dumps(config))
    cli("create", "-q", "--map", "verdict=v", stdin="id,subject,v\n1,refund,Billing\n")
    done = cli("route", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(cli("show", "1").stdout)["status"] == "routed", "the third failure took the first step, of 5 s"
    assert rows(cli.db, "select attempts, paced from deliveries") == [(4, 2)]


def test_what_a_limit_holds_up_for_a_while_is_waited_for(world: World, three: dict[str, FakeDestination]) -> None:
    """Longer than `route` stays for other attempts: else a night's last labels are those of the next night."""
    answers = iter([dm.DeliveryError("slow down", status=429, retry_after=2.0, limited=True)])
    three["a"]._answer = lambda _: next(answers, None)
    list(world.triage().create(drafts(1)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    (outcome,) = world.triage().route(dm.Selection(), dm.RoutePlan(stay=0.5))
    assert outcome.action == "routed"


def test_what_was_to_be_sent_waits_for_the_next_decision_once_its_ticket_has_changed(
    world: World, three: dict[str, FakeDestination]
) -> None:
    three["a"]._answer = lambda _: dm.DeliveryError("a is down", status=503)
    run(world, 6)
    world.store.database.write(lambda db: db.execute("update deliveries set due_at = 0 where state = 'pending'"))
    three["a"]._answer = lambda _: None
    three["a"].got.clear()
    judged, rewritten = (t for t in world.store.find(dm.Selection()) if t.external_id in ("3", "0"))
    list(world.triage().give_verdicts([dm.VerdictDraft(0, judged.ticket_id, "Technical")]))
    list(world.triage().create([dm.TicketDraft(0, 2, "another text", None, None, None, None, rewritten.external_id)]))
    assert world.store.deliveries.next_due() is None
    run(world, 0)
    assert three["a"].got == []
    before = len(three["b"].got)
    list(world.triage().route(dm.Selection(), dm.RoutePlan(stay=60)))
    assert (three["a"].got, len(three["b"].got) - before) == ([], 1), "the decision of now holds, and there is no wait"
    states = {t.external_id: t.status for t in world.store.find(dm.Selection())}
    assert (states["3"], states["0"]) == ("routed", "new")
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    assert len(three["a"].got) == 1, "what is decided alike again is sent after all"


def test_kill_9_at_random_moments_loses_nothing(cli: Cli, receiver: Receiver) -> None:
    """Every delivery arrives; where one arrives twice, it does so under the same id."""
    number = 300
    rows = "".join(f"{n},I was charged twice for order {n}\n" for n in range(number))
    (cli.folder / "in.csv").write_text("id,subject\n" + rows)
    (cli.folder / "config.yaml").write_text(f"routes:\n  - to: {receiver.url}\n")
    assert cli("create", "in.csv", "-q").returncode == 0
    assert cli("classify", "-q").returncode == 0
    chance = random.Random(3)
    for _ in range(3):
        before = len(receiver.got)
        process = cli.start("route", "-q")
        moment = chance.randrange(1, 60)
        while len(receiver.got) < before + moment and process.poll() is None:
            os.sched_yield()
        process.kill()
        process.communicate()
    done = cli("route", "-o", "id")
    assert done.returncode == 0, done.stderr
    ids_of: dict[str, set[str]] = {}
    for headers, body in receiver.got:
        ids_of.setdefault(json.loads(body)["ticket"]["external_id"], set()).add(headers["webhook-id"])
    routed = {json.loads(line)["external_id"] for line in cli("list", "--status", "routed").stdout.splitlines()}
    assert len(routed) > number * 0.8, "the others wait for a person"
    assert set(ids_of) == routed
    assert {len(ids) for ids in ids_of.values()} == {1}


def test_a_missing_secret_names_its_variable(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "destinations:\n  hook: {type: webhook, url: 'https://x.example/', secret_env: HOOK_SECRET}\n"
        "routes:\n  - to: hook\n"
    )
    done = cli("run", stdin="subject\nI was charged twice, please refund\nWhere is the refund of my invoice?\n")
    assert done.returncode == 2
    why = 'pending: destination "hook" needs the secret in HOOK_SECRET, which is not set; export HOOK_SECRET'
    stderr = done.stderr.splitlines()
    assert stderr[-2] == why
    assert done.stderr.count(why) == 1
    assert "2 pending" in stderr[-1]
    again = cli("route", "-o", "id")
    assert (again.returncode, len(again.stdout.splitlines())) == (2, 2)
    assert rows(cli.db, "select state, attempts from deliveries") == [("pending", 0)] * 2, "it costs no attempt"
    nothing_in_it = {"HOOK_SECRET": "whsec_"}
    cut = cli("route", "-o", "id", **nothing_in_it)
    why = 'pending: destination "hook": HOOK_SECRET has nothing after whsec_; copy it again'
    assert (cut.returncode, why in cut.stderr) == (2, True)
    assert rows(cli.db, "select state, attempts from deliveries") == [("pending", 0)] * 2


def test_check_and_doctor_tell_of_destinations_that_cannot_work(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(
        "destinations:\n  hook: {type: webhook, url: 'https://x.example/secret', secret_env: HOOK_SECRET}\n"
        "  pager: {type: command, run: [./nowhere.sh]}\n"
        "  box: {type: file, path: routed/box.jsonl}\n"
        "routes:\n  - {when: {category: Billing}, to: hook}\n"
        "  - {when: {category: General, priority: urgent}, to: pager}\n"
    )
    (cli.folder / "routed").touch()  # a file where the folder is to be
    cannot = f"cannot write {cli.folder}/routed/box.jsonl: {cli.folder}/routed is no folder that this user may write in"
    done = cli("config", "check")
    assert done.returncode == 0
    reached = {record["category"]: record for record in map(json.loads, done.stdout.splitlines())}
    assert reached["General"] == {
        "category": "General",
        "destinations": ["pager"],
        "rules": ["routes[1]"],
        "covered": False,
    }
    assert (reached["Billing"]["destinations"], reached["Billing"]["covered"]) == (["hook"], True)
    assert (reached["Technical"]["destinations"], reached["Technical"]["covered"]) == ([], False)
    assert re.search(r"(?m)^Technical +none +false$", cli("config", "check", "-o", "table").stdout)
    assert "warning: no rule takes every ticket of Technical, General, so some end as unroutable" in done.stderr
    assert "warning: destinations.hook.secret_env: HOOK_SECRET is not set here; export HOOK_SECRET" in done.stderr
    assert f"warning: destinations.box.path: {cannot}; " in done.stderr
    done = cli("doctor", "-o", "csv")
    assert done.returncode == 8
    assert f"destination box,false,{cannot},change" in done.stdout
    assert (
        'destination hook,false,"destination ""hook"" needs the secret in HOOK_SECRET, which is not set"' in done.stdout
    )
    assert "destination pager,false," in done.stdout
    secret = "whsec_" + "A" * 32
    assert (
        'destination hook,,"posts to x.example, signed by HOOK_SECRET; not asked",triage doctor --send hook'
        in cli("doctor", "-o", "csv", HOOK_SECRET=secret).stdout
    )


def test_doctor_says_of_no_receiver_that_it_works_but_how_the_last_attempts_went(cli: Cli, receiver: Receiver) -> None:
    (cli.folder / "config.yaml").write_text(
        f"destinations:\n  hook: {{type: webhook, url: '{receiver.url}'}}\n"
        "  pager: {type: command, run: ['true']}\n  box: {type: file, path: box.jsonl}\n"
        "routes: [{to: [hook, pager, box]}]\n"
    )

    def checks() -> dict[str, tuple[bool | None, str, str]]:
        found = map(json.loads, cli("doctor").stdout.splitlines())
        return {r["what"]: (r["works"], r["said"].partition("; not ")[2], r["next"]) for r in found}

    send = "triage doctor --send hook"
    assert checks()["destination hook"] == (None, "asked", send)
    cli("run", "-q", stdin=many(1))
    on = dm.now()[:10]
    assert checks()["destination hook"] == (None, f"asked; last attempt accepted on {on}", send)
    receiver.answer = lambda _: (400, {})
    cli("run", "-q", stdin="id,subject\nX-8,I was charged twice\n")
    assert checks()["destination hook"] == (None, "asked; last attempt failed", send)
    receiver.answer = lambda _: (503, {})
    cli("run", "-q", stdin="id,subject\nX-9,I was charged twice and want a refund\n")
    works, told, _ = checks()["destination hook"]
    assert (works, told.partition(": ")[0]) == (None, "asked; last 2 attempts failed; 1 pending delivery")
    assert "503" in told
    assert checks()["destination pager"] == (
        None,
        f"asked; last attempt accepted on {on}",
        "triage doctor --send pager",
    )
    assert checks()["destination box"] == (True, "", "")


@pytest.mark.parametrize(
    ("destination", "private"),
    [
        ("type: webhook, url: 'http://127.0.0.1:9/hook'", True),
        ("type: webhook, url: 'http://localhost:9/hook'", True),
        ("type: webhook, url: 'https://[fd00::1]/hook'", True),
        ("type: http, url_env: HOOK", True),
        ("type: mail, host: 10.0.0.7, from: a@b.example, to: c@d.example", True),
        ("type: webhook, url: 'http://127.0.0.1:9/hook', allow_private: true", False),
        ("type: webhook, url: 'https://93.184.216.34/hook'", False),
        ("type: webhook, url: 'https://x.example/hook'", False),
    ],
)
def test_check_and_doctor_tell_of_addresses_that_serve_does_not_send_to(
    cli: Cli, destination: str, *, private: bool
) -> None:
    cli.env["HOOK"] = "http://127.0.0.1:9/hook"
    (cli.folder / "config.yaml").write_text(f"destinations:\n  hook: {{{destination}}}\nroutes: [{{to: hook}}]\n")
    warning = (
        "warning: destinations.hook: its address is private, so triage serve sends nothing there; set allow_private"
    )
    assert (warning in cli("config", "check").stderr) == private
    assert (
        "; triage serve sends nothing to a private address without allow_private" in cli("doctor").stdout
    ) == private


def test_check_says_where_an_address_in_routes_may_be_allowed(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text("routes: [{to: 'http://127.0.0.1:9/hook'}]\n")
    assert (
        "warning: routes: http://127.0.0.1:9/hook is a private address, so triage serve sends nothing there; "
        "if that is meant, make it a destination of its own with allow_private: true"
    ) in cli("config", "check").stderr


def test_check_warns_of_names_that_look_the_same(cli: Cli) -> None:
    names = [
        "Billing",
        "\u0412illing",
        "\uff22illing",
        "Bill  Pay",
        "bill pay",
        "Bild",
        "B\u00fcro",
        "\u0411\u0438\u043b",
    ]
    (cli.folder / "config.yaml").write_text(json.dumps({"categories": names}))
    told = [line for line in cli("config", "check").stderr.splitlines() if "look the same" in line]
    assert [line.rpartition("they are spelled ")[2] for line in told] == [
        r"'Billing' and '\u0412illing'", r"'Billing' and '\uff22illing'", "'Bill  Pay' and 'bill pay'",
    ]  # fmt: skip
    values = {"questions": {"urgency": {"values": ["n\u043ew", "now", "later"]}}}
    (cli.folder / "config.yaml").write_text(json.dumps(values))
    told = [line for line in cli("config", "check").stderr.splitlines() if "look the same" in line]
    assert told == ["warning: urgency: \"n\u043ew\" and \"now\" look the same; they are spelled 'n\\u043ew' and 'now'"]


def test_check_needs_no_database_that_answers(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text("database: postgresql://nobody@127.0.0.1:9/x\n")
    done = cli("config", "check")
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == (
        "warning: categories of stored tickets were not looked at: postgresql://nobody@127.0.0.1:9/x cannot be "
        "reached: Connection refused"
    )


def test_check_warns_of_a_destination_that_nothing_names(cli: Cli) -> None:
    pager = "destinations:\n  pager: {type: file, path: pager.jsonl}\n"
    (cli.folder / "config.yaml").write_text(pager)
    assert "warning: no category reaches pager; " in cli("config", "check").stderr
    (cli.folder / "config.yaml").write_text(pager + "spikes: {to: pager}\n")
    assert "warning: " not in cli("config", "check").stderr


def test_a_dry_run_warns_of_variables_that_are_not_set(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(
        "destinations:\n  chat: {type: http, url_env: CHAT_URL}\n  other: {type: http, url_env: OTHER_URL}\n"
        "routes:\n  - {when: {category: Billing}, to: chat}\n  - {to: other}\n"
    )
    cli("run", "-q", stdin="id,subject\n1,I was charged twice please refund\n2,Refund my invoice please\n")
    done = cli("route", "--dry-run")
    assert done.stdout.count("POST ") == 2
    assert done.stderr.count("warning: destinations.chat.url_env: CHAT_URL is not set here; export CHAT_URL") == 1
    assert "OTHER_URL" not in done.stderr
    assert "warning" not in cli("route", "--dry-run", CHAT_URL="http://127.0.0.1:9/").stderr


def test_a_dry_run_prints_what_is_due_dead_or_asked_for_again(cli: Cli, receiver: Receiver) -> None:
    (cli.folder / "config.yaml").write_text(
        f"destinations:\n  hook: {{type: webhook, url: {receiver.url}, retry_schedule: [0.001], max_attempts: 2}}\n"
        "routes: [{to: hook}]\n"
    )
    cli("run", "-q", stdin="id,subject\n1,I was charged twice please refund\n")
    assert cli("route", "1", "--dry-run").stdout == ""
    assert cli("route", "1", "--dry-run", "--again").stdout.startswith(f"POST {receiver.url}")
    receiver.answer = lambda _: (500, {})
    cli("run", "-q", stdin="id,subject\n2,I was charged twice please refund now\n")
    assert cli("route", "--dry-run").stdout.count("POST ") == 1, "the one that is due"
    assert cli("route", "-q").returncode == 3
    assert cli("route", "--dry-run").stdout == ""
    assert cli("route", "--dry-run", "--retry-dead").stdout.count("POST ") == 1
    assert len(receiver.got) == 3


def test_what_is_owed_to_a_destination_that_was_renamed_goes_on_as_the_error_says(cli: Cli, receiver: Receiver) -> None:
    config = cli.folder / "config.yaml"
    receiver.answer = lambda _: (503, {})
    config.write_text(f"destinations: {{old: {{type: webhook, url: '{receiver.url}'}}}}\nroutes: [{{to: old}}]\n")
    assert cli("run", "-q", stdin=many(3)).returncode == 0
    with closing(sqlite3.connect(cli.db, isolation_level=None)) as db:
        db.execute("update deliveries set due_at = 0")
    receiver.answer = lambda _: (200, {})
    config.write_text(config.read_text().replace("old", "new"))
    done = cli("route", "-q")
    assert done.returncode == 2
    hint = re.search(r'no destination "old" in the config; .*: (triage list .* \| triage route -)', done.stderr)
    assert hint is not None, done.stderr
    typed = hint[1].replace("triage", f"{sys.executable} -m triage_cli")
    done = subprocess.run(["sh", "-c", typed], cwd=cli.folder, env=cli.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "3 routed")
    assert rows(cli.db, "select destination, state, count(*) from deliveries group by 1, 2 order by 1") == [
        ("new", "accepted", 3), ("old", "superseded", 3),
    ]  # fmt: skip
    assert cli("route", "-q").returncode == 0


def test_doctor_names_what_is_owed_to_destinations_that_left_the_configuration(cli: Cli, receiver: Receiver) -> None:
    config = cli.folder / "config.yaml"
    receiver.answer = lambda _: (503, {})
    hooks = f"{{type: webhook, url: '{receiver.url}'}}"
    config.write_text(f"destinations: {{down: {hooks}, old: {hooks}}}\nroutes: [{{to: [down, old]}}]\n")
    cli("run", "-q", stdin=many(1))
    receiver.answer = lambda _: (400, {})
    config.write_text(config.read_text().replace("down", "refuses"))
    cli("run", "-q", stdin="id,subject\nX-9,I was charged twice and want a refund\n")
    with closing(sqlite3.connect(cli.db, isolation_level=None)) as db:
        db.execute("update deliveries set due_at = 0")
    receiver.answer = lambda _: (200, {})
    config.write_text(f"destinations: {{new: {hooks}}}\nroutes: [{{to: new}}]\n")
    done = cli("doctor")
    owed = {r["what"]: r for r in map(json.loads, done.stdout.splitlines()) if r["what"].startswith("destination ")}
    findings = {
        "destination down": "not in the config, but has 1 pending delivery",
        "destination old": "not in the config, but has 1 pending delivery, 1 dead letter",
        "destination refuses": "not in the config, but has 1 dead letter",
    }
    assert {what: record["said"] for what, record in owed.items() if record["works"] is False} == findings
    assert done.returncode == 8
    hint = owed["destination refuses"]["next"]
    typed = hint.partition(": ")[2].replace("triage", f"{sys.executable} -m triage_cli")
    done = subprocess.run(["sh", "-c", typed], cwd=cli.folder, env=cli.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "2 routed")
    assert cli("doctor").returncode == 0


def test_doctor_names_a_destination_that_is_switched_off(cli: Cli, receiver: Receiver) -> None:
    receiver.answer = lambda _: (410, {})
    (cli.folder / "config.yaml").write_text(
        f"destinations: {{hook: {{type: webhook, url: '{receiver.url}'}}}}\nroutes: [{{to: hook}}]\n"
    )
    cli("create", "-q", "--map", "verdict=v", stdin="id,subject,v\n1,refund,Billing\n")
    assert cli("route", "-q").returncode == 3
    done = cli("doctor", "-o", "csv")
    assert done.returncode == 8
    assert "destination hook,false,it answered that it is gone (410) and is switched off,triage route --retry-dead" in (
        done.stdout
    )
    receiver.answer = lambda _: (200, {})
    assert cli("route", "-q", "--retry-dead").returncode == 0
    assert cli("doctor", "-o", "csv").returncode == 0


def test_a_mistaken_destination_holds_up_no_other(cli: Cli, receiver: Receiver) -> None:
    (cli.folder / "config.yaml").write_text(
        f"destinations:\n  hook: {{type: webhook, url: {receiver.url}}}\n"
        "  other: {type: webhook, url: 'https://x.example/', secret_env: HOOK_SECRET}\n"
        "routes:\n  - to: [other, hook]\n"
    )
    assert cli("run", "-q", stdin=many(20)).returncode == 2
    assert len(receiver.got) == 20


def test_what_is_due_later_is_well_and_so_quiet(cli: Cli, receiver: Receiver) -> None:
    receiver.answer = lambda _: (503, {})
    (cli.folder / "config.yaml").write_text(
        f"destinations: {{hook: {{type: webhook, url: '{receiver.url}', retry_schedule: [600]}}}}\n"
        "routes: [{to: hook, when: {category: Billing}}]\n"
    )
    cli("create", "-q", "--map", "verdict=v", stdin="id,subject,v\n1,refund,Billing\n")
    for words in (["route", "-q"], ["run", "-q"]):
        done = cli(*words, stdin="id,subject\n1,refund\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert rows(cli.db, "select status from tickets") == [("routing",)]


def test_show_lists_failed_attempts_with_status_time_and_error(cli: Cli, receiver: Receiver) -> None:
    receiver.answer = lambda _: (503, {})
    (cli.folder / "config.yaml").write_text(f"routes:\n  - to: {receiver.url}\n")
    done = cli("run", stdin="id,subject\nX-1,I was charged twice for my order and want a refund\n")
    assert done.returncode == 0, "a delivery that is pending is no failure"
    shown = cli("show", "X-1", "-o", "table").stdout
    assert "failed attempts" in shown
    assert "503" in shown
    (delivery,) = json.loads(cli("show", "X-1").stdout)["deliveries"]
    assert (delivery["state"], delivery["tries"][0]["status"], delivery["tries"][0]["number"]) == ("pending", 503, 1)


def test_what_a_destination_was_not_handed_is_not_begun_once_told_to_stop(
    world: World, three: dict[str, FakeDestination], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "STUCK_SECONDS", 0.0)
    three["a"].hangs = True
    triage, seen = world.triage(), 0
    for outcome in triage.run(drafts(600), dm.ClassifyPlan()):
        seen += outcome.value is not None and outcome.value.ticket.status == "routed"
        if seen == 10:
            triage.stop()
            three["a"].hangs = False
    assert 0 < len(three["a"].got) <= 2 * three["a"].workers
    assert set(rows_of(world, "a")) == {("accepted", 1), ("pending", 0)}


def rows_of(world: World, destination: str) -> list[tuple[str, int]]:
    """Return state and attempts of a destination's deliveries."""
    tickets = [t.ticket_id for t in world.store.find(dm.Selection())]
    found = world.store.deliveries.of(tickets).values()
    return [(d.state, d.attempts) for some in found for d in some if d.destination == destination]


def test_one_that_hangs_is_passed_by_while_few_of_its_parcels_are_kept(
    world: World, three: dict[str, FakeDestination]
) -> None:
    run(world, 1)
    (ticket,) = world.store.find(dm.Selection())
    (found,) = world.store.deliveries.of([ticket.ticket_id]).values()
    outgoing, now = dm.OutgoingDelivery(replace(found[0], destination="a"), ticket), 0.0
    post = queue.Dispatcher(lambda _: three["a"], clock=lambda: now)
    post.put([outgoing] * queue.QUEUE_LIMIT)
    assert post.full
    now = queue.STUCK_SECONDS + 1
    assert not post.full
    post.put([outgoing] * (queue.STUCK_QUEUE_LIMIT - queue.QUEUE_LIMIT))
    assert post.full


def test_one_that_was_left_alone_is_tried_by_one_parcel(world: World, three: dict[str, FakeDestination]) -> None:
    now = 0.0
    post = queue.Dispatcher(lambda _: three["a"], clock=lambda: now)
    run(world, 90)
    found = [
        d
        for some in world.store.deliveries.of([t.ticket_id for t in world.store.find(dm.Selection())]).values()
        for d in some
    ]
    ticket = next(iter(world.store.find(dm.Selection())))
    three["a"]._answer = lambda _: dm.DeliveryError("down", status=503)
    three["a"].got.clear()
    post.put(dm.OutgoingDelivery(replace(d, destination="a"), ticket) for d in found)
    while post.open:
        post.collect()
    three["a"].got.clear()
    now = queue.PAUSE + 1
    post.put(dm.OutgoingDelivery(replace(d, destination="a"), ticket) for d in found)
    while post.open:
        post.collect()
    assert len(three["a"].got) == 1


def owed_to(world: World, destination: FakeDestination, number: int) -> list[dm.OutgoingDelivery]:
    """Return so many deliveries that are owed to a destination."""
    run(world, number)
    tickets = {ticket.ticket_id: ticket for ticket in world.store.find(dm.Selection())}
    owed = [some[0] for some in world.store.deliveries.of(list(tickets)).values()]
    return [dm.OutgoingDelivery(replace(d, destination=destination.name), tickets[d.ticket_id]) for d in owed]


LIMITED = dm.DeliveryError("slow down", status=429, retry_after=1.0, limited=True)


def test_a_limit_by_the_minute_is_waited_for(world: World, three: dict[str, FakeDestination]) -> None:
    """As of Zendesk and GitHub: else a night's labels end with the first minute's."""
    now = 0.0
    post = queue.Dispatcher(lambda _: three["a"], clock=lambda: now)
    passed = Counter[float]()

    def answer(_: dm.OutgoingDelivery) -> dm.DeliveryError | None:
        passed[now // 60] += 1
        if passed[now // 60] <= 25:
            return None
        return dm.DeliveryError("too many", status=429, retry_after=60 - now % 60, limited=True)

    three["a"]._answer = answer
    post.put(owed_to(world, three["a"], 60))
    accepted = 0
    while post.open:
        accepted += sum(outcome.error is None for results in post.collect() for outcome in results.outcomes)
        now += 1
    assert accepted > 40
    assert not post.paused()


def test_a_rate_limit_is_a_failure_for_who_does_not_wait(world: World, three: dict[str, FakeDestination]) -> None:
    post = queue.Dispatcher(lambda _: three["a"], clock=lambda: 0.0)
    post.waits = False
    three["a"]._answer = lambda _: LIMITED
    post.put(owed_to(world, three["a"], 12))
    assert sum(len(results.outcomes) for results in post.collect()) == 12
    assert post.paused() == ["a"]


def test_after_a_rate_limit_the_others_wait_instead_of_being_refused_too(
    world: World, three: dict[str, FakeDestination]
) -> None:
    """As of a chat that takes a burst of 25 messages, and then one a second."""
    now, room = 0.0, 25.0
    post = queue.Dispatcher(lambda _: three["a"], clock=lambda: now)
    owed = owed_to(world, three["a"], 60)

    def answer(_: dm.OutgoingDelivery) -> dm.DeliveryError | None:
        nonlocal room
        if room < 1:
            return LIMITED
        room -= 1
        return None

    three["a"]._answer = answer
    post.put(owed)
    refusals: Counter[str] = Counter()
    accepted: list[str] = []
    while post.open:
        for outcome in [outcome for results in post.collect() for outcome in results.outcomes]:
            delivery_id = outcome.outgoing.delivery.delivery_id
            if outcome.error:
                refusals[delivery_id] += 1
                post.put([outcome.outgoing])  # due again
            else:
                accepted.append(delivery_id)
        now, room = now + 0.1, min(25.0, room + 0.1)
    assert sorted(accepted) == sorted(o.delivery.delivery_id for o in owed)
    assert now < 60
    assert refusals.total() < 20
    assert not post.paused(), "too many is no failure"


def test_a_rate_limit_without_an_end_is_a_failure(world: World, three: dict[str, FakeDestination]) -> None:
    now = 0.0
    post = queue.Dispatcher(lambda _: three["a"], clock=lambda: now)
    owed = owed_to(world, three["a"], 12)
    three["a"]._answer = lambda _: LIMITED
    post.put(owed)
    while post.open:
        post.put([outcome.outgoing for results in post.collect() for outcome in results.outcomes])
        now += 1
    assert 120 < now < 180
    assert post.paused() == ["a"]


def test_a_rate_limit_that_asks_for_a_long_wait_is_a_failure(world: World, three: dict[str, FakeDestination]) -> None:
    post = queue.Dispatcher(lambda _: three["a"], clock=lambda: 0.0)
    three["a"]._answer = lambda _: dm.DeliveryError("come back later", status=429, retry_after=61.0, limited=True)
    post.put(owed_to(world, three["a"], 12))
    while not post.paused():
        assert post.collect(), "none waits in the queue"


def test_what_a_rate_limit_holds_up_is_let_go_once_told_to_stop(
    world: World, three: dict[str, FakeDestination]
) -> None:
    post = queue.Dispatcher(lambda _: three["a"], clock=lambda: 0.0)
    owed = owed_to(world, three["a"], 5)
    three["a"]._answer = lambda _: LIMITED
    post.put(owed[:1])
    assert len(post.collect()) == 1
    post.put(owed[1:])
    assert post.collect() == []
    post.stop()
    (results,) = post.collect()
    assert {o.delivery.delivery_id for o in results.parked} == {o.delivery.delivery_id for o in owed[1:]}
    assert not post.open


@pytest.mark.parametrize(
    ("first", "second", "code"), [(signal.SIGINT, signal.SIGTERM, 130), (signal.SIGTERM, signal.SIGHUP, 143)]
)
def test_a_second_signal_ends_the_command_of_a_destination_too(cli: Cli, first: int, second: int, code: int) -> None:
    script, begun = cli.folder / "slow.sh", cli.folder / "begun"
    script.write_text("#!/bin/sh\necho $$ > begun\nsleep 60 &\nwait\n")
    script.chmod(0o755)
    (cli.folder / "config.yaml").write_text(
        "destinations: {pager: {type: command, run: [./slow.sh], timeout: 60}}\nroutes: [{to: pager}]\n"
    )
    (cli.folder / "config.yaml").chmod(0o600)
    cli("create", "-q", "--map", "verdict=v", stdin="id,subject,v\n1,refund,Billing\n")
    process = cli.start("route", "-q", "--no-wait")
    until(lambda: begun.exists() and begun.read_text().endswith("\n"), "the command")
    began = time.monotonic()
    process.send_signal(first)
    until(lambda: not is_pending(process.pid, first), "the first signal")  # else threads may take them in any order
    process.send_signal(second)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert time.monotonic() - began < 50

    def gone() -> bool:
        try:
            os.killpg(int(begun.read_text()), 0)
        except ProcessLookupError:
            return True
        return False

    until(gone, "the end of all that it has started")


@pytest.mark.sqlite
def test_commands_have_threads_of_their_own(world: World) -> None:
    """The loop's own, in which names are looked up, are all taken here; and slow commands take none of them."""
    loop, free = bridge().loop, threading.Event()

    async def taken() -> list[Any]:
        return [loop.run_in_executor(None, free.wait) for _ in range(50)]

    world.destinations["pager"] = CommandDestination("pager", ("true",), 10.0, 1, (5.0,), env=os.environ)
    world.rules = (dm.Rule("r", ("pager",)),)
    waiting = bridge().run(taken())
    late = threading.Timer(15, free.set)
    late.start()
    try:
        assert run(world, 1) == ["routed"]
        assert not free.is_set()
    finally:
        late.cancel()
        free.set()
        until(lambda: all(future.done() for future in waiting), "the threads")


@pytest.fixture
def working(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[server_state.BackgroundWorker]:
    """The background of a server that does not wait between two looks."""
    monkeypatch.setattr(server_state, "LOOK", 0.02)
    monkeypatch.setattr(delivery_run, "DUE_QUERY_SECONDS", 0.02)
    monkeypatch.setattr(server_state, "RETRY_AFTER_ERROR", 0.0)
    working = server_state.BackgroundWorker(world.services(), {"desk": ("classify", "route")})
    yield working
    working.stop()
    working.join()


def arrives(world: World, external_id: str) -> str:
    """Store a ticket of the source `desk`."""
    draft = dm.TicketDraft(0, 2, f"ticket {external_id}", None, None, None, None, external_id, "desk")
    (outcome,) = world.triage().create([draft])
    assert outcome.value is not None
    return outcome.value.ticket_id


def status(world: World, ticket_id: str) -> str:
    (ticket,) = world.store.find(dm.Selection(ids=(ticket_id,)))
    return ticket.status


def test_one_that_hangs_holds_up_neither_new_tickets_nor_what_others_are_owed(
    world: World, three: dict[str, FakeDestination], working: server_state.BackgroundWorker
) -> None:
    three["a"].schedule = (0.3, 0.3)
    three["a"]._answer = lambda _: dm.DeliveryError("a is down", status=503) if len(three["a"].got) < 2 else None
    three["b"].hangs = True
    stuck = arrives(world, "1")
    working.start()
    until(lambda: bool(three["b"].got), "the request that hangs")
    later = [arrives(world, name) for name in "02"]
    for ticket_id in later:
        working.put("desk", ticket_id)
    until(lambda: {status(world, ticket_id) for ticket_id in later} == {"routed"}, "what came later")
    assert len(three["a"].got) == 2, "the second attempt was made in time"
    assert status(world, stuck) == "routing"
    three["b"].hangs = False
    until(lambda: status(world, stuck) == "routed", "what was slow")


def test_the_background_leaves_one_that_keeps_failing_alone_over_all_its_looks(
    world: World, three: dict[str, FakeDestination], working: server_state.BackgroundWorker
) -> None:
    three["b"]._answer = lambda _: dm.DeliveryError("b is down", status=503)
    run(world, 900)
    three["b"].got.clear()
    working.start()
    until(lambda: bool(three["b"].got), "a first look")
    for name in range(900, 915):
        ticket_id = arrives(world, f"{name}")
        working.put("desk", ticket_id)
        expected = "routing" if name % 3 == 1 else "routed"
        until(lambda: status(world, ticket_id) == expected, "what came later")  # noqa: B023 - called here only
    assert len(three["b"].got) <= queue.FAILURES + 2 * three["b"].workers


def test_a_mistaken_destination_holds_up_nothing_in_the_background(
    world: World, three: dict[str, FakeDestination], monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(name: str) -> FakeDestination:
        if name == "b":
            raise dm.ConfigError("b needs a secret")
        return three[name]

    for module in (server_state, queue):
        monkeypatch.setattr(module, "PAUSE", 3600.0)
    monkeypatch.setattr(server_state, "LOOK", 0.02)
    monkeypatch.setattr(delivery_run, "DUE_QUERY_SECONDS", 0.02)
    services = world.services()
    mistaken = server_state.BackgroundWorker(
        replace(services, routing_map=replace(services.routing_map, destination=opened)),
        {"desk": ("classify", "route")},
    )
    three["a"].schedule = (0.3, 0.3)
    three["a"]._answer = lambda _: dm.DeliveryError("a is down", status=503) if len(three["a"].got) < 2 else None
    stuck = arrives(world, "1")
    mistaken.start()
    until(lambda: status(world, stuck) == "routing", "the one that cannot be sent")
    for name in "023":
        ticket_id = arrives(world, name)
        mistaken.put("desk", ticket_id)
        until(lambda: status(world, ticket_id) == "routed", "what came later, at its second attempt too")  # noqa: B023
    mistaken.stop()
    mistaken.join()


def test_news_of_deliveries_that_were_sent_already_delay_no_second_attempt(
    world: World,
    three: dict[str, FakeDestination],
    working: server_state.BackgroundWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever sends may find a new delivery by itself, before it hears of it."""
    monkeypatch.setattr(server_state, "PAUSE", 3600.0)
    three["a"].schedule = (0.5, 0.5)
    three["a"]._answer = lambda _: dm.DeliveryError("a is down", status=503) if len(three["a"].got) < 2 else None
    assert run(world, 1) == ["routing"]
    working._has_new_deliveries = True
    working._send_due()
    working.start()
    (ticket,) = world.store.find(dm.Selection())
    until(lambda: status(world, ticket.ticket_id) == "routed", "the second attempt")


def test_a_ticket_that_something_unexpected_befell_is_taken_up_again(
    world: World, three: dict[str, FakeDestination], working: server_state.BackgroundWorker
) -> None:
    answers = iter([RuntimeError("a bug")])

    def answer(_: dm.Ticket) -> tuple[str, float]:
        for error in answers:
            raise error
        return "Billing", 0.9

    world.classifier = FakeClassifier(answer)
    working.start()
    ticket_id = arrives(world, "0")
    working.put("desk", ticket_id)
    until(lambda: status(world, ticket_id) == "routed", "the ticket")
    assert len(three["a"].got) == 1


def holding(world: World) -> tuple[AttemptRecorder, dm.OutgoingDelivery]:
    """Begin a run that takes hold of what destination a is owed; return what tells of its attempts, and the parcel."""
    run = world.store.runs.begin(dm.Run(dm.ids.new_id(), "route", "test", dm.ids.new_id(), dm.times.now()))
    (outgoing,) = world.store.deliveries.due("a", dm.Lease(run.run_id), 10)
    return AttemptRecorder(RunContext(world.store, run, StopControl())), outgoing


def taken_over(
    world: World,
) -> tuple[tuple[AttemptRecorder, dm.OutgoingDelivery], tuple[AttemptRecorder, dm.OutgoingDelivery]]:
    """Return a run that lost its lease while a delivery was under way, and the one that has taken this over."""
    list(world.triage().create(drafts(1)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().decide_routes(dm.Selection()))
    early = holding(world)
    world.store.database.write(lambda db: db.execute("update runs set lease_until = 1"))
    return early, holding(world)


def record_outcome(run: tuple[AttemptRecorder, dm.OutgoingDelivery], error: dm.DeliveryError | None = None) -> None:
    attempts, outgoing = run
    outcome = dm.Outcome(0, dm.Action.DELIVERED, dm.Receipt(None if error else 200), error, outgoing)
    list(attempts.record([outcome], {outgoing.delivery.destination: RetryPolicy(2)}))


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("final", [True, False])
def test_a_failure_that_comes_late_takes_back_no_acceptance(world: World, final: bool) -> None:
    late, now = taken_over(world)
    record_outcome(now)
    record_outcome(late, dm.DeliveryError("too slow", final=final))
    history = world.store.history(late[1].ticket.ticket_id)
    assert history.ticket.status == "routed"
    assert [(d.state, d.attempts, d.last_status, d.last_error) for d in history.deliveries] == [
        ("accepted", 2, 200, None)
    ]
    assert [(a.number, a.error) for a in history.attempts] == [(1, None), (2, "too slow")]
    assert [e.action for e in history.events][-2:] == ["delivered", "delivery_failed"]


@pytest.mark.usefixtures("three")
def test_a_failure_that_comes_late_revives_no_dead_letter(world: World) -> None:
    late, now = taken_over(world)
    record_outcome(now, dm.DeliveryError("never", final=True))
    record_outcome(late, dm.DeliveryError("too slow"))
    assert rows_of(world, "a") == [("dead", 2)]
    assert status(world, late[1].ticket.ticket_id) == "undeliverable"


@pytest.mark.usefixtures("three")
def test_a_failure_that_comes_late_leaves_a_delivery_with_the_run_that_has_it(world: World) -> None:
    late, now = taken_over(world)
    record_outcome(late, dm.DeliveryError("too slow"))
    (delivery,) = world.store.deliveries.of([now[1].ticket.ticket_id])[now[1].ticket.ticket_id]
    assert (delivery.state, delivery.attempts, delivery.run_id) == ("pending", 1, now[1].delivery.run_id)
    record_outcome(now)
    assert rows_of(world, "a") == [("accepted", 2)]


@pytest.mark.usefixtures("three")
def test_an_attempt_that_ends_after_its_ticket_has_another_text_leaves_it_new(world: World) -> None:
    list(world.triage().create(drafts(1)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().decide_routes(dm.Selection()))
    under_way = holding(world)
    list(world.triage().create([dm.TicketDraft(0, 2, "another text", None, None, None, None, "0")]))
    record_outcome(under_way)
    assert status(world, under_way[1].ticket.ticket_id) == "new"
    assert rows_of(world, "a") == [("accepted", 1)]


@pytest.mark.usefixtures("three")
def test_an_attempt_that_ends_after_its_ticket_has_another_category_leaves_it_to_be_routed(world: World) -> None:
    list(world.triage().create(drafts(1)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().decide_routes(dm.Selection()))
    under_way = holding(world)
    list(world.triage().give_verdicts([dm.VerdictDraft(0, under_way[1].ticket.ticket_id, "General")]))
    record_outcome(under_way)
    assert status(world, under_way[1].ticket.ticket_id) == "classified"


def test_a_success_has_a_destination_s_failures_counted_anew(world: World, three: dict[str, FakeDestination]) -> None:
    run(world, 1)
    (ticket,) = world.store.find(dm.Selection())
    (delivery,) = world.store.deliveries.of([ticket.ticket_id])[ticket.ticket_id]
    three["a"].got.clear()
    number = 3 * queue.FAILURES
    three["a"]._answer = lambda _: None if next(nth) % queue.FAILURES == 0 else dm.DeliveryError("down", status=503)
    nth, parked = itertools.count(1), list[dm.OutgoingDelivery]()
    post = queue.Dispatcher(lambda _: three["a"])
    post.put([dm.OutgoingDelivery(delivery, ticket)] * number)
    while post.open:
        parked += [outgoing for arrived in post.collect() for outgoing in arrived.parked]
    assert (len(three["a"].got), parked) == (number, [])
    assert post.room("a") == queue.QUEUE_LIMIT
