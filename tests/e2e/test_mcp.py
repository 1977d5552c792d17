"""`triage mcp` as an agent's host starts it: the official client over stdio, signals, two at once, what is missing."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE
from tests.support.mcp_client import Agent, ToolFailedError, at_work, over_stdio
from tests.support.pages import ROOT
from tests.support.remotes import RemoteCli

TICKETS = "id,subject,description\nA-1,Refund,I was charged twice\nA-2,Crash,the app crashes on login\n"
HELLO = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
}  # fmt: skip


def test_two_agents_work_on_one_database_and_people_see_what_they_suggest(fitted: Cli) -> None:
    assert fitted("run", "-", "-q", stdin=TICKETS).returncode == 0

    async def outer(agent: Agent) -> None:
        assert (await agent.call("get_stats"))["tickets"] == 2

        async def inner(other: Agent) -> None:
            made = await other.call("create_ticket", subject="Seen in a chat")
            found = await agent.call("search_tickets", text="in a chat")
            assert [ticket["ticket_id"] for ticket in found["tickets"]] == [made["ticket_id"]]
            await other.call("suggest_category", ticket="A-1", category="Technical", reason="it is a bug")

        assert await at_work(fitted, ["--allow-writes"], inner) == ""
        assert (await agent.call("get_ticket", ticket="A-1"))["category"] == "Billing"
        with pytest.raises(ToolFailedError, match="triage mcp --allow-writes offers it"):
            await agent.call("create_ticket", subject="x")

    assert over_stdio(fitted, outer) == ""
    assert "agent claude-code of " in fitted("why", "A-1").stdout
    assert "agent claude-code" in fitted("show", "A-1", "-o", "table").stdout.partition("classifications")[2]
    assert 'suggests Technical: "it is a bug"; that decides nothing' in fitted("why", "A-1").stdout
    assert fitted("audit", "verify").returncode == 0
    (event,) = map(json.loads, fitted("logs", "--action", "suggested", "-o", "jsonl").stdout.splitlines())
    assert event["detail"]["agent"] == "claude-code"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (None, 0)])
def test_it_ends_with_a_signal_and_with_stdin_and_writes_frames_alone(fitted: Cli, sent: int | None, code: int) -> None:
    fitted("create", "-q", "--subject", "x")
    process = fitted.start("mcp")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(HELLO).encode() + b"\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    assert (answer["id"], answer["result"]["serverInfo"]["name"]) == (1, "triage")
    if sent is None:
        process.stdin.close()
    else:
        process.send_signal(sent)
    assert process.wait(PATIENCE) == code
    assert (process.stdout.read(), process.stderr and process.stderr.read()) == (b"", b"")


def test_a_call_with_half_an_emoji_is_answered(fitted: Cli) -> None:
    fitted("create", "-q", "--subject", "x")
    process = fitted.start("mcp", "--allow-writes")
    frames, answers = process.stdin, process.stdout
    assert frames is not None
    assert answers is not None

    def answer(frame: str) -> Any:
        frames.write(f"{frame}\n".encode())
        frames.flush()
        return json.loads(answers.readline())

    def call(number: int, tool: str, arguments: str) -> Any:
        params = f'{{"name": "{tool}", "arguments": {arguments}}}'
        return answer(f'{{"jsonrpc": "2.0", "id": {number}, "method": "tools/call", "params": {params}}}')

    assert answer(json.dumps(HELLO))["id"] == 1
    frames.write(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
    made = call(2, "create_ticket", r'{"subject": "half \ud83d of \\ud83d and \ud83d\ude00", "description": "\udc80"}')
    assert (made["id"], made["result"].get("isError", False)) == (2, False)
    found = call(3, "search_tickets", r'{"text": "\udfff"}')
    assert (found["id"], found["result"].get("isError", False)) == (3, False)
    frames.close()
    assert process.wait(PATIENCE) == 0
    assert "half \ufffd of \\ud83d and \U0001f600" in fitted("list", "-o", "csv", "--columns", "subject").stdout


def test_a_remote_is_served_and_its_key_is_told_nobody(tmp_path: Path, fitted_database: Path) -> None:
    cli = RemoteCli(tmp_path, fitted_database).serve()
    try:
        assert cli("create", "-q", "-", stdin=TICKETS).returncode == 0
        answers: list[dict[str, Any]] = []

        async def script(agent: Agent) -> None:
            for tool, arguments in (("get_ticket", {"ticket": "A-1"}), ("list_waiting", {}), ("explain_category", {})):
                answers.append(await agent.call(tool, **arguments))
            answers.append(await agent.call("classify_text", text="I was charged twice"))
            answers.append(await agent.call("suggest_category", ticket="A-2", category="Technical"))

        messages = over_stdio(cli, script, "--allow-writes", "--insecure")
        assert answers[0]["untrusted"]["subject"] == "Refund"
        assert answers[3]["category"] == "Billing"
        (event,) = map(json.loads, cli("logs", "--action", "suggested", "-o", "jsonl").stdout.splitlines())
        assert (event["actor"], event["detail"]["agent"]) == ("ada", "claude-code")
        assert cli.env["TRIAGE_API_KEY"] not in json.dumps(answers) + messages
    finally:
        cli.close()


def test_what_is_missing_is_told_in_a_sentence(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mcp.py").write_text("raise ImportError\n")
    done = cli("mcp", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the MCP server is not installed; pip install '.[mcp]' in a clone of its")
    assert "pipx inject triage-cli 'mcp" in done.stderr
    done = cli("mcp")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no database at " in done.stderr


def test_who_starts_it_on_a_terminal_is_told_what_it_is(fitted: Cli) -> None:
    fitted("create", "-q", "--subject", "x")
    shown = subprocess.run(
        ["script", "-qec", f"{sys.executable} -m triage_cli mcp", "/dev/null"],
        cwd=fitted.folder, env=fitted.env, input=b"\x04", capture_output=True, check=False, timeout=PATIENCE,
    ).stdout  # fmt: skip
    assert b"an agent's host is to start it" in shown


def test_the_configurations_of_the_page_are_taken(cli: Cli) -> None:
    text = (ROOT / "docs" / "howto" / "agents.md").read_text(encoding="utf-8")
    found = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert len(found) == 4
    for configuration in found:
        (server,) = (configuration.get("mcpServers") or configuration["servers"]).values()
        assert server["command"].rpartition("/")[2] == "triage"
        assert cli(*server["args"], "--help").returncode == 0


@pytest.mark.parametrize("verbose", [True, False])
def test_an_unexpected_error_is_told_by_its_class_and_with_v_its_places(fitted: Cli, *, verbose: bool) -> None:
    """Not by its message, nor with what a library logs: these may hold words of a ticket, and keys."""
    assert fitted("create", "-q", stdin=TICKETS).returncode == 0
    with closing(sqlite3.connect(fitted.db)) as db, db:
        db.execute("update tickets set extra = '[\"Refund\"'")

    async def script(agent: Agent) -> None:
        with pytest.raises(ToolFailedError, match="get_ticket failed unexpectedly with JSONDecodeError"):
            await agent.call("get_ticket", ticket="A-1")

    said = over_stdio(fitted, script, *(["-v"] if verbose else [])).splitlines()
    failed = said.index("triage.mcp: get_ticket failed unexpectedly with JSONDecodeError")
    places = said[failed + 1 :]
    assert bool(places) is verbose
    assert all(re.fullmatch(r"  \w+\.py:\d+ \S+", line) for line in places)
