"""Destinations of type `file` and `command`: what is written or handed over, and what a failure leaves."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.support.commands import PATIENCE, until
from tests.support.use_cases import ALL, a_draft, classify, create, dids, held, now, ready, route, to_file
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.destinations import CommandDestination
from triage_cli.runtime import AccessTokens, TokenCommand, access_tokens, began, printed_tokens


def test_a_file_gets_every_delivery_once(world: World, tmp_path: Path) -> None:
    lines = to_file(world, tmp_path)
    tickets = ready(world, 600)
    assert dids(route(world)) == ["routed"] * 600
    assert [line["ticket"]["ticket_id"] for line in lines()] == [t.ticket_id for t in tickets]
    assert lines()[0]["category"] == lines()[0]["ticket"]["category"] == "Billing"
    assert route(world) == []
    assert dids(route(world, tickets[0])) == ["unchanged"]
    assert len(lines()) == 600
    assert (now(world, tickets[0]).routed_to, held(world)) == ("box", 0)


@pytest.mark.sqlite
def test_half_a_line_at_the_end_of_a_file_swallows_no_delivery(world: World, tmp_path: Path) -> None:
    to_file(world, tmp_path)
    path = tmp_path / "box.jsonl"
    path.write_text('{"whole": 1}\n{"half')
    (ticket,) = ready(world)
    assert dids(route(world)) == ["routed"]
    whole, half, new = path.read_text().splitlines()
    assert (whole, half) == ('{"whole": 1}', '{"half')
    assert json.loads(new)["ticket"]["ticket_id"] == ticket.ticket_id


def test_a_file_that_cannot_be_written_is_a_failed_attempt(world: World, tmp_path: Path) -> None:
    to_file(world, tmp_path)
    (tmp_path / "box.jsonl").mkdir()
    ready(world)
    (outcome,) = route(world)
    assert outcome.action == "routing"
    assert outcome.error is not None
    assert "cannot append" in outcome.error.message


def test_an_append_that_fails_half_way_leaves_no_half_line(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = to_file(world, tmp_path)
    ready(world, 3)
    route(world, *list(world.store.find(ALL))[:1])
    before = (tmp_path / "box.jsonl").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        outcomes = route(world)
    assert dids(outcomes) == ["routing"] * 2
    assert (tmp_path / "box.jsonl").read_bytes() == before
    assert len(lines()) == 1


def command(world: World, tmp_path: Path, script: str, *, timeout: float = 30.0) -> None:
    path = tmp_path / "script.py"
    path.write_text(script)
    run_ = (sys.executable, str(path), str(tmp_path / "got"))
    world.destinations["page"] = CommandDestination("page", run_, timeout, 3, (10.0,), env=os.environ)
    world.rules = (dm.Rule("all", ("page",)),)


def test_a_command_gets_the_ticket_as_json_on_stdin(world: World, tmp_path: Path) -> None:
    create(world, [a_draft(0, subject="Ünicode; $(touch pwned) `x`")])
    classify(world)
    command(world, tmp_path, "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())")
    assert dids(route(world)) == ["routed"]
    document = json.loads((tmp_path / "got").read_bytes())
    assert document["ticket"]["subject"] == "Ünicode; $(touch pwned) `x`"
    assert (document["category"], document["attempt"], document["replaces"], document["rule"]) == (
        "Billing",
        1,
        None,
        "all",
    )


def test_a_command_that_reads_nothing_is_fine(world: World, tmp_path: Path) -> None:
    create(world, [a_draft(0, description="x" * 300_000)])
    classify(world)
    command(world, tmp_path, "")
    assert dids(route(world)) == ["routed"]


def test_what_a_failing_command_says_is_kept(world: World, tmp_path: Path) -> None:
    (ticket,) = ready(world)
    command(world, tmp_path, "import sys; print('x' * 100000); sys.stderr.write('no pager ' * 200); sys.exit(7)")
    (outcome,) = route(world)
    assert outcome.action == "routing"
    (attempt,) = world.store.history(ticket.ticket_id).attempts
    assert attempt.status == 7
    assert attempt.error is not None
    assert f"{sys.executable} exited with 7: no pager no pager" in attempt.error
    assert len(attempt.error) < 700


def test_a_final_exit_of_a_command_is_a_dead_letter_at_once(world: World, tmp_path: Path) -> None:
    tickets = ready(world, 2)
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit(65)")
    run_ = (sys.executable, str(script))
    world.destinations["page"] = CommandDestination("page", run_, 30, 3, (9.0,), env=os.environ, final_exit=(64, 65))
    world.rules = (dm.Rule("all", ("page",)),)
    assert dids(route(world)) == ["undeliverable"] * len(tickets)
    for ticket in tickets:
        (attempt,) = world.store.history(ticket.ticket_id).attempts
        assert attempt.status == 65
        assert attempt.error == f"{sys.executable} exited with 65, which is final"


def test_a_command_that_takes_too_long_or_is_not_there_is_a_failed_attempt(world: World, tmp_path: Path) -> None:
    (ticket,) = ready(world)
    command(world, tmp_path, "import time; time.sleep(60)", timeout=0.2)
    assert dids(route(world)) == ["routing"]
    world.destinations["page"] = CommandDestination(
        "page", (str(tmp_path / "nobody"),), 1.0, 3, (10.0,), env=os.environ
    )
    route(world, ticket, again=True)
    errors = [a.error or "" for a in world.store.history(ticket.ticket_id).attempts]
    assert "took longer than 0.2 s" in errors[0]
    assert "cannot run" in errors[1]


def test_a_command_that_prints_no_token_in_time_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_tokens, "SECONDS", 0.5)
    script = tmp_path / "token.sh"
    script.write_text(f"sleep 300 & echo $! > {tmp_path}/child; wait\n")
    tokens = printed_tokens(TokenCommand(("sh", str(script)), (("PATH", os.environ["PATH"]),)))
    with pytest.raises(dm.NoTokenError, match=r"sh printed no token within 0.5 s"):
        tokens.waited_for()
    child = int((tmp_path / "child").read_text())
    until(lambda: not began(child), "the end of what it started")
    script.write_text(f"echo {'x' * 5000}; yes | head -c 3000000\n")
    monkeypatch.setattr(access_tokens, "SECONDS", PATIENCE)
    until(lambda: is_had(tokens), "the pause before it is run again has passed")
    assert tokens.waited_for() == "x" * 5000


def is_had(tokens: AccessTokens) -> bool:
    try:
        return bool(tokens.waited_for())
    except dm.NoTokenError:
        return False
