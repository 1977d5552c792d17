"""This process lacks file descriptors or memory: no attempt of a delivery is counted, and the error says what lacks."""

import errno
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, rows
from tests.support.fake_destination import FakeDestination
from tests.support.llm_server import running_llm_server
from tests.support.records import replace
from tests.support.webhook_receiver import Receiver, outgoing
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.cli import as_triage_error
from triage_cli.destinations import FileDestination
from triage_cli.runtime import AsyncBridge, resource_exhaustion

TICKETS = "id,subject,description,verdict\n" + "".join(f"T-{n},Refund,invoice {n},Billing\n" for n in range(40))
MANY = "this process has too many open files; raise its limit (ulimit -n) and run the same command again"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    it = Receiver()
    yield it
    it.close()


def limited(cli: Cli, files: int, *args: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command that may have so many files open."""
    process = cli.start(*args, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
    out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(args, process.returncode, out, err)


@pytest.fixture
def owing(cli: Cli, receiver: Receiver) -> Cli:
    """Tickets that a webhook, a command or a file is owed, by the name of the configuration; each has one attempt."""
    types = {
        "hook": f"{{type: webhook, url: '{receiver.url}', max_attempts: 1}}",
        "page": "{type: command, run: [sh, -c, 'cat >> paged.jsonl'], max_attempts: 1}",
        "file": "{type: file, path: kept.jsonl, max_attempts: 1}",
    }
    for name, written in types.items():
        (cli.folder / f"{name}.yaml").write_text(f"destinations: {{{name}: {written}}}\nroutes: [{{to: {name}}}]\n")
    assert cli("create", "-q", "--map", "verdict=verdict", stdin=TICKETS).returncode == 0
    return cli


def test_threads_that_run_at_the_end_need_no_file() -> None:
    script = """
import resource, sys, threading, time
from triage_cli.cli import app
def work():
    while True:
        time.sleep(0.0005)
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
sys.argv = ["triage", "--version"]
app.main()
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (dm.ExitCode.UNAVAILABLE, f"error: {MANY}; nothing is lost\n")


@pytest.mark.parametrize(
    ("name", "files"),
    [("hook", 6), ("hook", 8), ("hook", 10), ("hook", 13), ("page", 10), ("page", 20), ("file", 8),
     *(pytest.param("hook", files, marks=pytest.mark.long) for files in (7, 9, 11))],
)  # fmt: skip
def test_too_few_files_cost_no_attempt_and_are_told(owing: Cli, receiver: Receiver, name: str, files: int) -> None:
    done = limited(owing, files, "route", "-q", "--config", f"{name}.yaml")
    stderr = done.stderr.decode()
    assert done.returncode == dm.ExitCode.UNAVAILABLE, stderr
    assert MANY in stderr
    for noise in ("Traceback", "Exception ignored", "check the rights", "Error:"):
        assert noise not in stderr
    assert len(stderr.splitlines()) <= 2
    states = dict(rows(owing.db, "select state, sum(attempts) from deliveries group by 1"))
    assert states.get("pending", 0) == 0
    assert "dead" not in states
    assert owing("route", "-q", "--config", f"{name}.yaml").returncode == 0
    assert {s["status"] for s in map(json.loads, owing("list").stdout.splitlines())} == {"routed"}
    assert dict(rows(owing.db, "select state, max(attempts) from deliveries group by 1")) == {"accepted": 1}
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == (40 if name == "hook" else 0)


@pytest.mark.parametrize("files", [6, pytest.param(7, marks=pytest.mark.long)])
def test_a_database_that_cannot_be_opened_for_it_is_told_so(owing: Cli, files: int) -> None:
    for args in (("list",), ("create", "--subject", "x"), ("stats",)):
        done = limited(owing, files, *args)
        assert done.returncode == dm.ExitCode.UNAVAILABLE
        assert MANY in done.stderr.decode()
    assert len(owing("list").stdout.splitlines()) == 40


def test_a_question_that_cannot_be_asked_for_it_leaves_its_ticket_new(cli: Cli) -> None:
    with running_llm_server() as server:
        (cli.folder / "config.yaml").write_text(
            f"classifiers: {{m: {{type: openai, model: m, base_url: '{server.url}', api_key_env: null, workers: 64}}}}"
        )
        assert cli("create", "-q", stdin=TICKETS).returncode == 0
        done = limited(cli, 24, "classify", "-q")
    assert done.returncode == dm.ExitCode.UNAVAILABLE
    assert MANY in done.stderr.decode()
    assert set(rows(cli.db, "select distinct status, failures from tickets")) <= {("new", 0), ("classified", 0)}


def test_it_is_no_attempt_whatever_lacks(world: World) -> None:
    class ExhaustedDestination(FakeDestination):
        def deliver(
            self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]
        ) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
            for outcomes in super().deliver(chunks):
                yield [replace(o, error=o.error and resource_exhaustion.lack_of(o.error)) for o in outcomes]

    def lack(outgoing: object) -> dm.DeliveryError | None:
        del outgoing
        if len(page.got) <= 3:
            return None
        error = dm.DeliveryError("x")
        error.__cause__ = OSError(errno.ENOMEM, "Cannot allocate memory")
        return error

    page = ExhaustedDestination("page", lack)
    page.workers = 1
    world.destinations["page"] = page
    world.rules = (dm.Rule("r", ("page",), {}),)
    triage = world.triage()
    list(triage.create(dm.TicketDraft(n, n + 2, f"refund {n}", external_id=str(n)) for n in range(30)))
    list(triage.classify(dm.Selection(), dm.ClassifyPlan()))
    outcomes = list(triage.route(dm.Selection(), dm.RoutePlan()))
    lacking = [o.error for o in outcomes if o.error]
    assert {type(error) for error in lacking} == {dm.ExhaustedError}
    assert len(lacking) < 30
    assert len(page.got) < 10, "nothing more is handed over then"
    (run,) = (run for run in triage.runs(None) if run.kind == "route")
    assert run.exit_code == dm.ExitCode.UNAVAILABLE
    found = [d for t in world.store.find(dm.Selection()) for d in world.store.deliveries.of([t.ticket_id])[t.ticket_id]]
    assert {(d.state, d.attempts) for d in found} == {("accepted", 1), ("pending", 0)}
    page._answer = lambda _: None
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    assert {t.status for t in world.store.find(dm.Selection())} == {"routed"}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EMFILE, "x"), "this process has too many open files"),
        (OSError(errno.ENFILE, "x"), "the system has too many open files"),
        (OSError(errno.ENOMEM, "x"), "there is not enough memory"),
        (RuntimeError("can't start new thread"), "this process cannot start another thread"),
        (MemoryError(), "there is not enough memory"),
        (ImportError("libx.so: cannot open shared object file: Too many open files"), "this process has too many"),
        (ImportError("libx.so: failed to map segment from shared object"), "there is not enough memory"),
        (ExceptionGroup("several", [OSError(errno.EMFILE, "x")]), "this process has too many open files"),
    ],
)
def test_what_we_lack_is_known_by_its_cause(error: Exception, message: str) -> None:
    outer = RuntimeError("a library's own")
    outer.__cause__ = error
    for each in (error, outer):
        lack = resource_exhaustion.lack_of(each)
        assert lack is not None
        assert message in lack.message


def test_other_errors_are_none_of_it() -> None:
    for error in (OSError(errno.ENOENT, "x"), ConnectionRefusedError(), socket.gaierror(-2, "x"), ValueError()):
        assert resource_exhaustion.lack_of(error) is None
        assert resource_exhaustion.lack_of(error, is_probe=True) is None
    assert resource_exhaustion.lack_of_files() is None


def test_a_library_that_fails_without_an_error_of_its_own_lacks_memory_if_there_is_none() -> None:
    script = f"""
import resource
from {as_triage_error.__module__} import as_triage_error
error = SystemError("error return without exception set")
print(as_triage_error(error).code)
resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))
held = []
try:
    while True:
        held.append(bytearray(1 << 20))
except MemoryError:
    print(as_triage_error(error).code)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.split() == ["unexpected", "exhausted"]


def a_loop_is_not_begun(folder: Path) -> None:
    del folder
    with pytest.raises(dm.ExhaustedError):
        AsyncBridge()


def a_file_that_cannot_be_opened_has_taken_nothing(folder: Path) -> None:
    (outcomes,) = FileDestination("kept", folder / "kept.jsonl", 1, (5.0,)).deliver([[outgoing(1), outgoing(2)]])
    assert [type(o.error) for o in outcomes] == [dm.ExhaustedError, dm.ExhaustedError]


@pytest.mark.parametrize("then", [a_loop_is_not_begun, a_file_that_cannot_be_opened_has_taken_nothing])
def test_where_no_file_can_be_opened(tmp_path: Path, then: Callable[[Path], None]) -> None:
    """In a process of its own, since the limit is one of a whole process."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
            then(tmp_path)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
