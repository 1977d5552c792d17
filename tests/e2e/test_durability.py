"""Killed, interrupted, run twice at once: nothing finished is lost, nothing is done twice, the log stays whole."""

import random
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, is_whole, listens, many, rows, until
from tests.support.llm_server import Asked, Step, good, running_llm_server
from tests.support.stored_tickets import a_run, ended
from triage_cli import domain as dm
from triage_cli.stores import SqliteStore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
NUMBER = 4000
SILENT = [("create",), ("create", "-"), ("run",), ("classify", "-"), ("route", "-")]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text(many(NUMBER))
    return path


def printed(process: "subprocess.Popen[bytes]", number: int) -> list[str]:
    """Return so many lines of what a process prints; when they are here, it is in the midst of its work."""
    assert process.stdout is not None
    return [process.stdout.readline().decode().strip() for _ in range(number)]


def rest(process: "subprocess.Popen[bytes]") -> tuple[str, str]:
    """Return what else a process prints on stdout, and all of its stderr, which is little."""
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdout.read().decode(), process.stderr.read().decode()


def write(pipe: IO[bytes], data: bytes) -> None:
    with suppress(BrokenPipeError):
        pipe.write(data)
        pipe.flush()


def states(cli: Cli) -> dict[str, int]:
    return dict(rows(cli.db, "select status, count(*) from tickets group by 1"))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_import_that_is_killed_loses_nothing_it_told_of(cli: Cli, source: Path, seed: int) -> None:
    moment = random.Random(seed).randrange(1, NUMBER // 2)
    with cli.start("create", "-o", "id", str(source)) as process:
        printed_ids = printed(process, moment)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    stored = {row[0] for row in rows(cli.db, "select ticket_id from tickets")}
    assert set(printed_ids) <= stored
    assert is_whole(cli.db)
    assert cli("create", "-q", str(source)).returncode == 0
    assert rows(cli.db, "select count(*), count(distinct external_id) from tickets") == [(NUMBER, NUMBER)]
    assert set(printed_ids) <= {row[0] for row in rows(cli.db, "select ticket_id from tickets")}
    assert is_whole(cli.db)


@pytest.mark.parametrize("seed", [4, 5])
def test_a_run_that_is_killed_is_finished_by_the_next(fitted: Cli, source: Path, seed: int) -> None:
    moment = random.Random(seed).randrange(1, NUMBER // 3)
    with fitted.start("run", "-o", "id", str(source)) as process:
        printed_ids = printed(process, moment)
        process.kill()
    done = states(fitted)
    assert done["routed"] >= moment
    answers = dict(rows(fitted.db, "select ticket_id, count(*) from classifications group by 1"))
    assert set(printed_ids) <= set(answers)
    assert is_whole(fitted.db)
    assert fitted("run", "-q", str(source)).returncode == 0
    assert fitted("route", "-q").returncode == 0
    assert states(fitted) == {"routed": NUMBER}
    assert rows(fitted.db, "select count(*), count(distinct ticket_id) from classifications") == [(NUMBER, NUMBER)]
    assert rows(fitted.db, "select count(*), count(distinct ticket_id) from deliveries") == [(NUMBER, NUMBER)]
    assert rows(fitted.db, "select count(*) from claims") == [(0,)]
    assert is_whole(fitted.db)


def test_what_a_killed_run_held_is_free_at_once(fitted: Cli, source: Path) -> None:
    assert fitted("create", "-q", str(source)).returncode == 0
    with fitted.start("classify", "-o", "id") as process:
        printed(process, 1)
        process.kill()
    done = fitted("classify", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert states(fitted) == {"classified": NUMBER}
    assert rows(fitted.db, "select count(*) from classifications") == [(NUMBER,)]


@pytest.mark.long
def test_what_a_killed_run_was_asking_is_asked_by_the_one_that_waits(fitted: Cli) -> None:
    """Two tickets with one text: the second run waits for the answer that the first one never gets."""
    answered = threading.Event()

    def script(n: int, asked: Asked) -> Step:
        return good(n, asked)._replace(wait=None if n else answered)

    with running_llm_server(script) as server:
        config = fitted.folder / "config.yaml"
        config.write_text(
            f"database: {fitted.db}\nclassifier: gpt\nclassifiers:\n"
            f"  gpt: {{type: openai, model: m, base_url: {server.url}, api_key_env: null}}\n"
        )
        config.chmod(0o600)
        assert fitted("create", "-q", stdin="id,subject\n1,the same text\n2,the same text\n").returncode == 0
        with fitted.start("classify", "1", "-q") as killed:
            until(lambda: server.asked, "the question")
            with fitted.start("classify", "2", "-q") as waits:
                until(lambda: rows(fitted.db, "select count(*) from runs where kind = 'classify'") == [(2,)], "both")
                killed.kill()
                assert waits.wait(PATIENCE) == 0
        answered.set()
        assert len(server.asked) == 2
    assert rows(fitted.db, "select count(*) from being_asked") == [(0,)]


def test_run_names_the_tickets_that_another_run_holds(fitted: Cli) -> None:
    assert fitted("create", "-q", stdin=many(5)).returncode == 0
    store = SqliteStore(str(fitted.db))
    assert len(store.runs.claim(dm.Selection(), a_run(store), 2)) == 2
    done = fitted("run", stdin=many(5))
    assert done.returncode == 0
    assert "; 3 routed, 0 need review, 0 failed; as before: 2 new\n" in done.stderr
    assert done.stderr.endswith("note: 2 new tickets are held by another run, which does the rest\n")


def test_classify_says_that_another_run_holds_what_is_new(fitted: Cli) -> None:
    fitted("create", "-q", stdin=many(3))
    store = SqliteStore(str(fitted.db))
    assert len(store.runs.claim(dm.Selection(statuses=frozenset({"new"})), a_run(store), 3)) == 3
    note = "note: 3 tickets are still new: another run holds them, or they have just come"
    assert fitted("classify").stderr.splitlines() == ["0 classified, 0 need review, 0 failed", note]
    assert fitted("classify", "-q").stderr == ""
    ticket = rows(fitted.db, "select ticket_id from tickets")[0][0]
    assert "is at work on it" in fitted("why", ticket).stdout
    store.close()
    assert note not in fitted("classify", "--limit", "1").stderr


def test_route_says_that_another_run_holds_what_it_leaves(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    (cli.folder / "config.yaml").write_text(
        'destinations: {down: {type: command, run: ["false"], retry_schedule: [600]}}\nroutes: [{to: down}]\n'
    )
    judged = "id,subject,v\n1,refund,Billing\n2,invoice,Billing\n"
    assert cli("create", "-q", "--map", "verdict=v", stdin=judged).returncode == 0
    store = SqliteStore(str(cli.db))
    lease = a_run(store)
    assert len(store.runs.claim(dm.Selection(statuses=frozenset({"classified"})), lease, 3)) == 2
    note = "note: 2 tickets are still classified: another run holds them, or they have just come"
    assert cli("route").stderr.splitlines() == ["0 routed", note]
    assert cli("route", "-q").stderr == ""
    assert note not in cli("route", "--limit", "1").stderr
    ended(store, lease)
    store.close()
    assert cli("route", "--no-wait").stderr.splitlines()[-1] == "0 routed, 2 pending", "it has said so of each"
    note = "note: 2 tickets are still pending: another run holds them, or their next attempts come later"
    assert cli("route").stderr.splitlines() == ["0 routed", f"{note}: triage why ID says why, and when"]


def test_two_imports_of_the_same_file_at_once_make_each_ticket_once(cli: Cli, source: Path) -> None:
    cli("list")
    both = [cli.start("create", str(source), "-q", stdin=subprocess.DEVNULL) for _ in range(2)]
    for process in both:
        assert process.communicate(timeout=PATIENCE) == (b"", b"")
        assert process.returncode == 0
    assert rows(cli.db, "select count(*), count(distinct external_id) from tickets") == [(NUMBER, NUMBER)]
    assert is_whole(cli.db)


def test_two_first_commands_at_once_build_one_database(cli: Cli) -> None:
    all_ = [cli.start("create", "--subject", f"hello {n}", "-q", stdin=subprocess.DEVNULL) for n in range(6)]
    for process in all_:
        assert process.communicate(timeout=PATIENCE) == (b"", b"")
        assert process.returncode == 0
    assert rows(cli.db, "select count(*) from tickets") == [(6,)]
    assert is_whole(cli.db)


def test_two_runs_at_once_share_the_work(fitted: Cli, source: Path) -> None:
    both = [fitted.start("run", str(source), "-q", stdin=subprocess.DEVNULL) for _ in range(2)]
    for process in both:
        assert process.communicate(timeout=PATIENCE) == (b"", b"")
        assert process.returncode == 0
    assert fitted("run", "-q", str(source)).returncode == 0
    assert states(fitted) == {"routed": NUMBER}
    assert rows(fitted.db, "select count(*) from classifications") == [(NUMBER,)]
    assert rows(fitted.db, "select count(*) from deliveries") == [(NUMBER,)]
    queue = fitted.db.parent / "queues" / "Billing.jsonl"
    assert (
        len(queue.read_text().splitlines())
        == rows(fitted.db, "select count(*) from deliveries where destination = 'Billing'")[0][0]
    )
    assert is_whole(fitted.db)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
@pytest.mark.parametrize("command", ["create", "run"])
def test_one_signal_keeps_what_is_finished(fitted: Cli, source: Path, command: str, sent: int, code: int) -> None:
    with fitted.start(command, "-o", "id", str(source)) as process:
        printed_ids = printed(process, 1)
        process.send_signal(sent)
        out, err = rest(process)
    printed_ids += out.split()
    assert process.returncode == code
    assert "Traceback" not in err
    assert " created, 0 updated, 0 unchanged, 0 rejected" in err.splitlines()[-1]
    stored = {row[0] for row in rows(fitted.db, "select ticket_id from tickets")}
    assert set(printed_ids) == stored
    assert len(stored) < NUMBER
    assert set(states(fitted)) <= ({"new"} if command == "create" else {"new", "routing", "routed"})
    assert rows(fitted.db, "select count(*) from claims") == [(0,)]
    assert rows(fitted.db, "select count(*) from runs where ended_at is null") == [(0,)]
    assert is_whole(fitted.db)
    assert fitted(command, "-q", str(source)).returncode == 0
    assert rows(fitted.db, "select count(*) from tickets") == [(NUMBER,)]
    assert command == "create" or fitted("route", "-q").returncode == 0
    assert set(states(fitted)) == ({"new"} if command == "create" else {"routed"})


@pytest.mark.parametrize("command", ["classify", "route"])
def test_one_signal_ends_classify_and_route_between_two_tickets(fitted: Cli, source: Path, command: str) -> None:
    fitted("create", "-q", str(source))
    if command == "route":
        fitted("classify", "-q")
    with fitted.start(command, "-o", "id") as process:
        printed(process, 1)
        process.send_signal(signal.SIGINT)
        _, err = rest(process)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert rows(fitted.db, "select count(*) from claims") == [(0,)]
    assert is_whole(fitted.db)
    assert fitted(command, "-q").returncode == 0
    assert states(fitted) == {("classified" if command == "classify" else "routed"): NUMBER}


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", SILENT, ids=" ".join)
def test_a_signal_while_a_silent_pipe_is_waited_for_ends_at_once(
    cli: Cli, command: tuple[str, ...], sent: int, code: int
) -> None:
    with cli.start(*command) as process:
        until(lambda: listens(process), "the handler of signals")
        process.send_signal(sent)
        assert process.wait(PATIENCE) == code
        assert process.stderr is not None
        stderr = process.stderr.read()
    assert b"Traceback" not in stderr
    assert b"error" not in stderr


@pytest.mark.parametrize(("command", "number"), [("create", 8_000), ("run", 12_000)])
def test_a_signal_while_a_pipe_pauses_keeps_the_rows_that_came(fitted: Cli, command: str, number: int) -> None:
    """What came is more than is looked at first, and the pipe stays open; `run` guesses while it saves a chunk."""
    with fitted.start(command, "-o", "id") as process:
        assert process.stdin is not None
        writing = threading.Thread(target=write, args=(process.stdin, many(number).encode()))
        writing.start()
        printed_ids = printed(process, 2000)  # of what was read at first, in the midst of a chunk
        process.send_signal(signal.SIGINT)
        printed_ids += rest(process)[0].split()
        assert process.wait(PATIENCE) == 130
        writing.join()
        with suppress(BrokenPipeError):
            process.stdin.close()
    assert len(printed_ids) < number
    assert set(printed_ids) == {row[0] for row in rows(fitted.db, "select ticket_id from tickets")}
    assert is_whole(fitted.db)


def test_ids_from_a_pipe_that_pauses_can_be_interrupted(fitted: Cli) -> None:
    fitted("create", "-q", "--subject", "hello", "--external-id", "X-1")
    with fitted.start("classify", "-") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"nothing-like-it\n")
        process.stdin.flush()
        assert b"nothing-like-it" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        process.stdin.close()
    assert states(fitted) == {"new": 1}


def test_the_second_signal_ends_at_once_even_where_nobody_reads(cli: Cli, source: Path) -> None:
    """The first is waiting for a reader of stdout; the second does not."""
    with cli.start("create", "-o", "jsonl", str(source)) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)  # and no more: the pipe fills up
        until(lambda: rows(cli.db, "select count(*) from tickets")[0][0] >= 500, "some work")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) in (130, 143)
        process.stdout.close()
    assert is_whole(cli.db)
    assert cli("create", "-q", str(source)).returncode == 0
    assert rows(cli.db, "select count(*) from tickets") == [(NUMBER,)]


def test_nohup_stays_in_force(cli: Cli) -> None:
    """A signal that the caller has told us to ignore is ignored."""
    with cli.start("create", "-o", "id", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:
        until(lambda: listens(process), "the handler of signals")
        process.send_signal(signal.SIGHUP)
        out, _ = process.communicate(b"id,subject\n1,hello\n", timeout=PATIENCE)
    assert process.returncode == 0
    assert len(out.split()) == 1
