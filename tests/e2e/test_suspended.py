"""A suspended run (SIGSTOP) keeps its tickets, and one that lost its lease meanwhile pays for nothing more."""

import os
import signal
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import pg_server
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, until
from tests.support.llm_server import Asked, LlmServer, Step, chat, running_llm_server, verdict
from tests.support.nightly import WORKERS, case, configure, tickets
from tests.support.webhook_receiver import Receiver
from triage_cli.extensions.llm import VALID_SECONDS
from triage_cli.runtime import alive, began, lease_clock

NUMBER = 40
EARLY = 8  # calls that are answered before the provider makes everybody wait


class Night(NamedTuple):
    """A command line over either database, and a provider that waits at call `EARLY` until it is `released`."""

    cli: Cli
    sql: Callable[[str], list[Any]]
    server: LlmServer
    released: threading.Event

    def suspended(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command, and suspend it while it waits for as many answers as it can and has nothing to write."""
        self.cli.fresh = True  # only a child of one's own tells that it is suspended
        process = self.cli.start(*words)
        self.cli.fresh = False
        until(lambda: len(self.server.asked) == EARLY + WORKERS, "calls in flight")
        done = "select count(*) from tickets where status = 'classified'"
        until(lambda: self.sql(done) == [(EARLY,)], "the early answers are saved")
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        self.sql("update runs set lease_until = 1 where ended_at is null")
        self.released.set()
        return process

    def asked(self) -> Counter[int]:
        return Counter(case(asked) for asked in self.server.asked)

    def runs(self) -> list[Any]:
        return self.sql("select exit_code from runs where kind = 'classify' order by run_id")


SAME, OTHER = ("classify", "-q"), ("classify", "-q", "--workers", "2")
PAIRS = pytest.mark.parametrize(
    ("night", "words"), [("sqlite", SAME), ("sqlite", OTHER), ("postgres", SAME)], indirect=["night"]
)


@pytest.fixture
def night(request: pytest.FixtureRequest, cli: Cli) -> Iterator[Night]:
    released = threading.Event()

    def answer(number: int, _asked: Asked) -> Step:
        return Step(chat(verdict()), wait=released if number >= EARLY else None)

    def sql(statement: str) -> list[Any]:
        with closing(sqlite3.connect(cli.db, isolation_level=None, timeout=PATIENCE)) as db:
            return db.execute(statement).fetchall()

    if request.param == "postgres":
        url = cli.env["TRIAGE_DB"] = request.getfixturevalue("pg_url")

        def sql(statement: str) -> list[Any]:
            return pg_server.sql(url, statement)

    with running_llm_server(answer) as server:
        configure(cli, server)
        tickets(cli, NUMBER)
        yield Night(cli, sql, server, released)
        released.set()


@PAIRS
def test_a_suspended_run_keeps_what_it_holds_and_goes_on(night: Night, words: tuple[str, ...]) -> None:
    first = night.suspended("classify", "-q")
    second = night.cli(*words)
    assert (second.returncode, second.stderr) == (0, "")
    first.send_signal(signal.SIGCONT)
    assert first.communicate()[1] == b""
    assert first.returncode == 0
    assert night.asked() == dict.fromkeys(range(NUMBER), 1), "nobody is paid twice"
    assert night.sql("select status, count(*) from tickets group by 1") == [("classified", NUMBER)]
    assert night.runs() == [(0,), (0,)]


@pytest.mark.parametrize("night", ["sqlite"], indirect=True)
def test_answers_that_came_while_a_run_was_suspended_for_longer_than_its_timeout_are_not_paid_for_again(
    night: Night,
) -> None:
    config = night.cli.folder / "config.yaml"
    config.write_text(config.read_text().replace("model: m,", "model: m, timeout: 2,"))
    first = night.suspended("classify", "-q")
    since = lease_clock()
    until(lambda: lease_clock() > since + 8, "the end of the timeout, and of the client's own")
    first.send_signal(signal.SIGCONT)
    assert (first.communicate()[1], first.returncode) == (b"", 0)
    assert night.asked() == dict.fromkeys(range(NUMBER), 1)


def test_an_acceptance_that_came_meanwhile_is_no_reason_to_send_again(cli: Cli) -> None:
    with closing(Receiver()) as receiver:
        receiver.hold.clear()
        (cli.folder / "config.yaml").write_text(
            f"destinations: {{hook: {{type: webhook, url: {receiver.url}, timeout: 2, retry_schedule: [0.05]}}}}\n"
            "routes: [{to: hook}]\n"
        )
        assert cli("create", "-q", "--subject", "x", "--external-id", "x").returncode == 0
        assert cli("verdict", "x", "Billing", "-q").returncode == 0
        cli.fresh = True
        process = cli.start("route", "-q")
        until(lambda: receiver.got, "the delivery")
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        receiver.hold.set()
        since = lease_clock()
        until(lambda: lease_clock() > since + 3, "the end of the timeout")
        process.send_signal(signal.SIGCONT)
        assert (process.communicate()[1], process.returncode) == (b"", 0)
        assert len(receiver.got) == 1


@PAIRS
def test_a_run_that_was_taken_for_dead_elsewhere_pays_for_nothing_more(night: Night, words: tuple[str, ...]) -> None:
    """From another machine its process cannot be seen: once its lease is over, others take what it held."""
    first = night.suspended("classify", "-q")
    night.sql("update runs set place = 'another machine'")
    second = night.cli(*words)
    assert (second.returncode, second.stderr) == (0, "")
    assert sum(night.asked().values()) == NUMBER + WORKERS, "what was in flight is asked again"
    began_waiting = lease_clock()
    until(lambda: lease_clock() > began_waiting + VALID_SECONDS, "its last look at its lease is too old")
    first.send_signal(signal.SIGCONT)
    stderr = first.communicate()[1].decode()
    assert (first.returncode, "another one has taken over its work" in stderr) == (
        (6, True) if words == SAME else (0, False)
    ), stderr
    assert sum(night.asked().values()) == NUMBER + WORKERS, "and nothing more is paid for"
    assert night.sql("select status, count(*) from tickets group by 1") == [("classified", NUMBER)]


def test_a_process_is_known_by_its_beginning_and_is_gone_when_it_has_ended() -> None:
    """Its number may be another one's by now; one that was killed keeps it until its parent asks."""
    process = subprocess.Popen(["sleep", "60"])
    since = began(process.pid)
    assert since
    assert alive(process.pid, since)
    assert not alive(process.pid, f"{int(since) - 1}")
    process.send_signal(signal.SIGSTOP)
    assert alive(process.pid, since)
    process.kill()
    until(lambda: not alive(process.pid, since), "the process is gone")
    assert Path(f"/proc/{process.pid}").exists()
    process.wait()
    assert not alive(process.pid, since)
