"""Output is the same with and without a terminal on stderr, and progress bars leave nothing on the terminal."""

import csv
import importlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, is_pending, raw_terminal, until, until_gone
from tests.support.every_command import check_rows, every_command
from tests.support.llm_server import Asked, LlmServer, Step, chat, verdict
from tests.support.watched_terminal import Came, lasting_text, unwatched, watched
from triage_cli import domain as dm
from triage_cli.cli import COMMANDS, live_line, progress
from triage_cli.readers import BLOCK

FORMATS = ("csv", "tsv", "json", "jsonl", "id", "table")
FEW = ("csv", "table")  # they are written by one module: all of them are tried where chunks and where answers come
# Markup that ends a run or vanishes in one, escapes, a clipboard, an 8-bit CSI, an override, emoji, a very long line.
TEXTS = (
    "Please help [/b] with my order", "[red]refund[/red] and [link=http://e.example]this[/link]", "\x1b[31mred\x1b[0m",
    "\x1b]52;c;cm0gLXJm\x07 refund", "\x9b31m invoice \u202egnp.exe", "🧾 refund 👩‍👩‍👧 :smile:",
    "refund " + "x" * 20_000, "tab\tcr\rend of invoice", 'two\nlines, "quoted" [bold', "\\[ 100% {} %s",
    "login error " * 30,
)  # fmt: skip
ROUTED = len(TEXTS) - 1  # one of them hides something and waits for a person
# Of what is piped in, whole blocks are read, and a chunk is handed on once the next one is there: then records come.
BEFORE = 3 * BLOCK + 1
CONFIG = """
classifier: slow
classifiers:
  slow: {{type: openai, model: m, base_url: "{url}/v1", api_key_env: null, workers: 1}}
  other: {{type: openai, model: n, base_url: "{url}/v1", api_key_env: null, workers: 1}}
destinations:
  page: {{type: command, run: [./page.sh]}}
  file: {{type: file, path: queues/all.jsonl}}
routes: [{{when: {{priority: urgent}}, to: page}}, {{to: file}}]
sources:
  tap: {{type: command, run: [./tap.sh], fields: {{subject: text, external_id: id}}}}
"""
TAP = "#!/bin/sh\nhead -n 2 records.jsonl\nuntil [ -e go ]; do sleep 0.01; done\ntail -n +3 records.jsonl\n"
PAGE = "#!/bin/sh\ncat > /dev/null\nuntil [ -e go ]; do sleep 0.01; done\n"
VERDICTS = "external_id,category\nx1,Billing\nx2,General\n"
# What differs between two runs: ids, keys, hashes and times that are made anew.
VARYING = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|msg_[0-9a-f]{32}|\b[0-9a-f]{64}\b|(?m:^[0-9a-f]{8} )|trg_[\w-]+"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?Z?)?|(?<=\"seconds\": )[\d.]+"
)


class Job(NamedTuple):
    """How a command is called in a copy of a folder; what its bar says, if it has one; what is piped in."""

    args: str
    folder: str = "decided"
    bar: str = ""
    stdin: str = ""
    formats: Sequence[str] = FEW
    varies: str = "$^"


JOBS = {
    "create": Job("create -", "empty", "creating", "rows.csv", FORMATS),
    "pull": Job("pull", "new", "pulling tap"),
    "run": Job("run -", "large", "running", "rows.csv", ("csv", "jsonl", "table")),
    "classify": Job("classify", "new", "classifying", formats=FORMATS),
    "route": Job("route", "decided", "routing"),
    "reclassify": Job("reclassify --classifier other", "decided", "comparing"),
    "plan": Job("plan config.yaml", "decided"),
    "spikes": Job("spikes", formats=("json", "csv")),
    "drift": Job("drift"),
    "verdict": Job("verdict -", stdin="verdicts.csv"),
    "list": Job("list"),
    "show": Job("show x3"),
    "why": Job("why x3"),
    "similar": Job("similar x3"),
    "logs": Job("logs"),
    "runs": Job("runs"),
    "stats": Job("stats"),
    "undo": Job("undo last --yes", formats=("json", "csv")),
    "forget": Job("forget --customer-id C-1 --yes"),
    "doctor": Job("doctor"),
    "learn": Job("learn few.csv", "new", formats=("csv",)),
    "eval": Job("eval labelled.csv", varies=r"\b\d+\.(?:\d{9,}|\d\b)"),
    "suspects": Job("suspects few.csv", "new", formats=("csv",)),
    "audit verify": Job("audit verify"),
    "audit head": Job("audit head"),
    "config check": Job("config check"),
    "config show": Job("config show"),
    "keys create": Job("keys create second --role reader"),
    "keys list": Job("keys list"),
    "keys revoke": Job("keys revoke first"),
    "keys rotate": Job("keys rotate first"),
}


class Desk:
    """Folders to copy, and what holds a job back: until it is let go, three answers come and no delivery is taken."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._number = 0
        self._answers = 0
        self._let_go = threading.Event()
        self.server = LlmServer(self._answer)

    def _answer(self, _n: int, asked: Asked) -> Step:
        self._answers += 1
        if self._answers > 3:
            self._let_go.wait(PATIENCE)
        return Step(chat(verdict("Technical" if asked.body["model"] == "n" else "Billing", reason=asked.ticket[:40])))

    def copy(self, name: str, *, held: bool) -> Cli:
        self._number += 1
        cli = Cli(self.root / f"copy{self._number:05}")
        shutil.copytree(self.root / name, cli.folder)
        self._answers = 0
        self._let_go.clear()
        if not held:
            self.let_go(cli)
        return cli

    def let_go(self, cli: Cli) -> bytes:
        (cli.folder / "go").touch()
        self._let_go.set()
        return b""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, fitted_database: Path) -> Iterator[Desk]:
    """Folders of tickets that are new, decided, or many and routed: in all of them the texts are hostile."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    try:
        few = [(f"x{n}", text, f"C-{n}", "" if n else "urgent") for n, text in enumerate(TEXTS)]
        room = (3 * BLOCK - sum(map(len, TEXTS)) * 4) // (2 * dm.CHUNK)
        refunds = [(f"r{n}", f"refund {n} {'please ' * 80}"[: room - 12], "", "") for n in range(2 * dm.CHUNK + 100)]
        for name, tickets in (("new", few), ("large", few + refunds)):
            cli = Cli(desk.root / name)
            cli.db.parent.mkdir(parents=True)
            shutil.copy(fitted_database, cli.db)
            shutil.copy(f"{fitted_database}.head", f"{cli.db}.head")
            text = io.StringIO(newline="")
            csv.writer(text).writerows([("id", "description", "customer", "priority"), *tickets])
            (cli.folder / "rows.csv").write_text(text.getvalue(), newline="")
            (cli.folder / "verdicts.csv").write_text(VERDICTS)
            labelled = Path("samples/tickets.csv").read_text()
            (cli.folder / "labelled.csv").write_text(labelled)
            some = labelled.splitlines(keepends=True)[:4]  # too few to learn from, which takes seconds
            (cli.folder / "few.csv").write_text("".join(some))
            if name == "new":
                (cli.folder / "page.sh").write_text(PAGE)
                (cli.folder / "page.sh").chmod(0o755)
                (cli.folder / "tap.sh").write_text(TAP)
                (cli.folder / "tap.sh").chmod(0o755)
                records = [
                    {"type": "RECORD", "stream": "tickets", "record": {"id": n, "text": t}} for n, _, t, *_ in few
                ]
                (cli.folder / "records.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
                (cli.folder / "config.yaml").write_text(CONFIG.format(url=desk.server.root))
                assert cli("create", "-q", "rows.csv").returncode == 0
                assert cli("keys", "create", "first", "--role", "agent", "-q").returncode == 0
                decided = desk.copy("new", held=False)
                assert decided("classify", "-q").returncode == 0
                (decided.folder / "go").unlink()
                decided.folder.rename(desk.root / "decided")
            else:
                shutil.copytree(cli.folder, desk.root / "empty")
                assert cli("run", "-q", "rows.csv").returncode == 0
        yield desk
    finally:
        desk.server.close()


def same(data: bytes, cli: Cli, job: Job) -> str:
    text = data.decode(errors="surrogateescape").replace(str(cli.folder), "FOLDER")
    return re.sub(job.varies, "<varies>", VARYING.sub("<varies>", text))


def watch(desk: Desk, job: Job, output: str, *more: str, bar: bool = True) -> tuple[Came, Cli]:
    """Run a job with a terminal on stderr, where its bar is seen before it is let go."""
    cli = desk.copy(job.folder, held=True)
    data = (cli.folder / job.stdin).read_bytes() if job.stdin else b""

    def then() -> bytes:
        desk.let_go(cli)
        return data[BEFORE:]

    sees = job.bar if bar else ""
    return watched(cli, *job.args.split(), "-o", output, *more, given=data[:BEFORE], sees=sees, then=then), cli


def test_no_command_that_prints_records_is_forgotten_here_nor_one_with_a_bar() -> None:
    printing = {words for words, command in every_command() if any(param.name == "output" for param in command.params)}
    no_records = {"categories", "discover", "init"}  # they make a configuration
    check_rows(JOBS, "JOBS", __file__, printing - no_records)
    modules = {
        name: importlib.import_module(f"triage_cli.cli.commands.{listed.place.partition(':')[0]}")
        for name, listed in COMMANDS.items()
        if listed.place
    }
    barred = {name for name, job in JOBS.items() if job.bar}
    assert barred == {name for name, module in modules.items() if hasattr(module, "ProgressBar")}


@pytest.mark.parametrize("name", JOBS)
def test_unknown_column_stops_a_command_before_it_does_anything(desk: Desk, name: str) -> None:
    job = JOBS[name]
    cli = desk.copy(job.folder, held=True)
    stdin = (cli.folder / job.stdin).read_bytes() if job.stdin else b""
    before = cli("audit", "head").stdout
    done = unwatched(cli, *job.args.split(), "--columns", "nonsense", given=stdin)
    assert (done.code, done.stdout) == (2, b"")
    assert b'error: no column "nonsense"; the columns are ' in done.stderr
    assert cli("audit", "head").stdout == before


@pytest.mark.parametrize(("name", "output"), [(name, output) for name, job in JOBS.items() for output in job.formats])
def test_a_file_holds_the_same_with_a_terminal_beside_it(desk: Desk, name: str, output: str) -> None:
    job = JOBS[name]
    plain = desk.copy(job.folder, held=False)
    stdin = (plain.folder / job.stdin).read_bytes() if job.stdin else b""
    alone = unwatched(plain, *job.args.split(), "-o", output, given=stdin)
    came, cli = watch(desk, job, output)
    assert came.code == alone.code
    there, here = (
        same(printed, where, job).splitlines() for printed, where in ((came.stdout, cli), (alone.stdout, plain))
    )
    if name == "route":  # whose tickets come as their deliveries end: that of a command may be first or last
        there, here = (sorted(line.rstrip(",") for line in lines) for lines in (there, here))
    assert there == here
    assert came.stdout, "something is printed"
    assert job.bar in came.shown, came.shown


# -- what is told while a bar is there


def test_what_is_told_under_a_bar_is_told_as_it_is_elsewhere(desk: Desk) -> None:
    """No markup is taken for such, nothing is lost; a terminal as wide as a line breaks none."""
    ids = [f"{n} {text[:300]}" for n, text in enumerate(TEXTS)]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("id", "description"), *((i, "one") for i in ids), *((i, "two") for i in ids)])
    refunds = "".join(f"r{n},{'please ' * 57}\n" for n in range(2 * dm.CHUNK))
    data = (text.getvalue() + refunds).encode()
    alone = unwatched(desk.copy("empty", held=False), "create", "-", "-o", "id", given=data)
    came = watched(
        desk.copy("empty", held=False), "create", "-", "-o", "id",
        given=data[:BEFORE], sees="creating", then=lambda: data[BEFORE:], columns=2000,
    )  # fmt: skip
    assert (came.code, alone.code) == (3, 3)
    assert alone.stderr.count(b"rejected: line") == len(TEXTS)
    next_step = (
        f"next: triage classify; {len(TEXTS)} rejected: --rejects FILE keeps such rows; triage undo takes this back\n"
    )
    expected = alone.stderr.decode() + next_step
    assert lasting_text(came.shown).split() == expected.split(), "a long line is wrapped at words"


@pytest.mark.parametrize(("term", "columns"), [("xterm", 120), ("xterm", 1), ("xterm", 0), ("dumb", 120)])
def test_a_bar_never_wraps_and_leaves_nothing(desk: Desk, term: str, columns: int) -> None:
    cli = desk.copy("decided", held=True)
    if term == "dumb":  # shows nothing that could be waited for
        threading.Timer(0.5, desk.let_go, [cli]).start()
        came = watched(cli, "route", "-o", "id", columns=columns, TERM=term)
    else:
        came = watched(
            cli,
            "route",
            "-o",
            "id",
            sees=live_line.CLEAR,
            times=3,
            then=partial(desk.let_go, cli),
            columns=columns,
            TERM=term,
        )
    drawn = [part for part in came.shown.split(live_line.CLEAR) if part and part[0] in progress.SPINNER]
    assert (len(drawn) > 1) == (term == "xterm" and columns != 1)
    assert all(len(line) < (columns or live_line.UNKNOWN_WIDTH) for line in drawn)
    assert lasting_text(came.shown).startswith(f"{ROUTED} routed to ")
    assert ("\x1b" in came.shown) == (term == "xterm")
    assert "\x1b[?25l" not in came.shown, "the cursor stays visible, whatever becomes of the process"


@pytest.mark.parametrize("name", ["create", "route"])
def test_quiet_is_quiet_on_a_terminal_too(desk: Desk, name: str) -> None:
    job = JOBS[name]
    cli = desk.copy(job.folder, held=False)
    came = watched(cli, *job.args.split(), "-q", "-o", "id", given=(cli.folder / "rows.csv").read_bytes())
    assert (came.code, came.shown) == (0, "")
    assert came.stdout.count(b"\n") >= ROUTED


@pytest.mark.parametrize("name", [name for name, job in JOBS.items() if job.bar])
def test_a_terminal_that_gets_records_shows_no_bar(desk: Desk, name: str) -> None:
    """Also where stderr is a file: the default format goes by stdout alone, the next step and the bar by stderr."""
    job = JOBS[name]
    cli = desk.copy(job.folder, held=False)
    given = (cli.folder / job.stdin).read_bytes() if job.stdin else b""
    came = watched(cli, *job.args.split(), "-o", "id", on=("stdout",), given=given)
    ids = re.fullmatch(r"(?:[0-9a-f-]{36}\n)+", came.shown)
    assert ids, came.shown
    assert b"next" not in came.stderr
    assert live_line.CLEAR.encode() not in came.stderr
    both = watched(
        desk.copy(job.folder, held=False), *job.args.split(), "-o", "id", on=("stdout", "stderr"), given=given
    )
    assert live_line.CLEAR not in both.shown


@pytest.mark.parametrize("command", ["classify x5", "route x5"])
def test_one_named_ticket_is_shown_once_its_bar_is_gone(desk: Desk, command: str) -> None:
    cli = desk.copy("new" if command.startswith("classify") else "decided", held=True)
    came = watched(cli, *command.split(), on=("stdout", "stderr"), sees=live_line.CLEAR, then=partial(desk.let_go, cli))
    assert came.code == 0
    table = came.shown.index("priority")
    assert live_line.CLEAR not in came.shown[table:]


# -- processes that end while a bar is there


@pytest.fixture
def held(desk: Desk) -> Iterator[tuple["subprocess.Popen[bytes]", int, Path]]:
    """A command whose bar stands on a terminal, and that waits; with the terminal's other end, and its folder."""
    cli = desk.copy("decided", held=True)
    ours, theirs = raw_terminal()
    with (cli.folder / "out").open("wb") as out:
        process = cli.start("route", "-o", "id", stdin=subprocess.DEVNULL, stdout=out, stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"routing" not in shown:
        shown += os.read(ours, 1 << 16)
    yield process, ours, cli.folder
    process.kill()
    process.wait(PATIENCE)


def taken(process: "subprocess.Popen[bytes]", number: int) -> bool:
    return process.poll() is not None or not is_pending(process.pid, number)


@pytest.mark.parametrize(
    ("numbers", "code"),
    [((signal.SIGINT,), 130), ((signal.SIGTERM,), 143), ((signal.SIGINT, signal.SIGTERM), 130)],
)
def test_a_signal_takes_the_bar_away(
    held: tuple["subprocess.Popen[bytes]", int, Path], numbers: tuple[int, ...], code: int
) -> None:
    process, ours, folder = held
    for number in numbers:
        process.send_signal(number)
        until(partial(taken, process, number), "the signal")
    (folder / "go").touch()  # else its delivery is waited for as long as its timeout says
    shown = until_gone(ours)
    assert process.wait(PATIENCE) == code
    assert lasting_text(shown.removesuffix(live_line.CLEAR)) == lasting_text(shown)
    assert not shown.split(live_line.CLEAR)[-1].startswith(tuple(progress.SPINNER)), "the bar is gone"
    os.close(ours)


def test_a_terminal_that_goes_away_ends_no_work(held: tuple["subprocess.Popen[bytes]", int, Path]) -> None:
    process, ours, folder = held
    os.close(ours)
    (folder / "go").touch()
    assert process.wait(PATIENCE) == 0
    assert (folder / "out").read_bytes().count(b"\n") == ROUTED
