"""The record of a run has the exit code of its command, however that ended."""

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, rows, until
from tests.support.llm_server import Asked, Step, chat, good, running_llm_server, verdict
from tests.support.records import replace

LABELLED = "subject,label\n" + "".join(f"What about case {n}?,Billing\n" for n in range(8))


def configure(cli: Cli, url: str) -> None:
    (cli.folder / "config.yaml").write_text(
        "classifier: gpt\nclassifiers:\n"
        f"  gpt: {{type: openai, model: m, base_url: {url}, api_key_env: null, workers: 1, max_retries: 0,\n"
        "        price: {input: 1, output: 1}}\n"
    )
    (cli.folder / "labelled.csv").write_text(LABELLED)


def recorded(cli: Cli) -> list[tuple[str, int]]:
    return rows(cli.db, "select kind, exit_code from runs where kind <> 'create' order by run_id")


def test_an_accuracy_that_is_missed(fitted: Cli) -> None:
    with running_llm_server(lambda _n, _asked: Step(chat(verdict("General")))) as server:
        configure(fitted, server.url)
        assert fitted("eval", "labelled.csv", "--min-accuracy", "0.5").returncode == 8
    assert recorded(fitted) == [("eval", 8)]


def test_tickets_that_get_no_answer_in_an_evaluation(fitted: Cli) -> None:
    with running_llm_server(lambda n, asked: good(n, asked) if n else Step(chat("prose"))) as server:
        configure(fitted, server.url)
        assert fitted("eval", "labelled.csv", "-o", "json").returncode == 3
    assert recorded(fitted) == [("eval", 3)]


def test_an_evaluation_that_is_terminated(fitted: Cli) -> None:
    gate = threading.Event()
    with running_llm_server(lambda n, asked: replace(good(n, asked), wait=gate if n else None)) as server:
        configure(fitted, server.url)
        with fitted.start("eval", "labelled.csv", "-q", "-o", "json") as process:
            until(lambda: len(server.asked) > 1, "a second question")
            process.send_signal(signal.SIGTERM)
            gate.set()
            assert process.wait(PATIENCE) == 143
    assert recorded(fitted) == [("eval", 143)]


def test_a_plan_that_would_move_too_much(fitted: Cli) -> None:
    with running_llm_server() as server:
        configure(fitted, server.url)
        new = (fitted.folder / "config.yaml").read_text() + "routes: [{to: elsewhere}]\n"
        new += "destinations: {elsewhere: {type: file, path: elsewhere.jsonl}}\n"
        (fitted.folder / "new.yaml").write_text(new)
        assert fitted("run", "-q", "labelled.csv").returncode == 0
        done = fitted("plan", "new.yaml", "--ask", "--max-cost", "1", "--max-moved", "0", "-q", "-o", "id")
        assert done.returncode == 8, done.stderr
    assert recorded(fitted) == [("run", 0), ("plan", 8)]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the device is Linux's")  # noqa: PTH110
@pytest.mark.parametrize("command", [("classify",), ("run", "labelled.csv"), ("run", "labelled.csv", "-o", "csv")])
def test_a_full_disk_under_stdout_leaves_no_paid_answer_unsaved(fitted: Cli, command: tuple[str, ...]) -> None:
    def slow(number: int, asked: Asked) -> Step:
        return replace(good(number, asked), delay=0.05)  # so that others are in flight while one is written

    with running_llm_server(slow) as server:
        configure(fitted, server.url)
        fitted("create", "-q", "labelled.csv")
        with Path("/dev/full").open("wb") as full, fitted.start(*command, stdout=full) as process:
            assert process.wait(PATIENCE) == 6
        assert recorded(fitted) == [(command[0], 6)]
        asked = len(server.asked)
        assert asked or "csv" in command  # a header may be refused before anything is asked
        assert rows(fitted.db, "select count(*) from classifications") == [(asked,)]
