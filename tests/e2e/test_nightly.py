"""The nightly job: silent when all is well, killed, overlapped, cut off or out of money without loss or double work."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.clock import CLOCK
from tests.support.commands import PATIENCE, is_whole, listens, rows, until
from tests.support.http_stub import HttpStub
from tests.support.llm_server import Asked, Step, chat, running_llm_server, verdict
from tests.support.nightly import WORKERS, case, configure, tickets
from tests.support.records import replace
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.runtime import StopControl

SAMPLES = Path(__file__).parents[2] / "samples" / "nightly"
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "nightly.md"
NAMES = ("Billing", "Technical", "General")
SHARING = "select distinct run_id from classifications where run_id in (select run_id from runs where ended_at is null)"


def by_number(_n: int, asked: Asked) -> Step:
    """Answer by the ticket alone."""
    return Step(chat(verdict(NAMES[case(asked) * 7 % 3])))


def holding(cli: Cli) -> dict[int, tuple[str, str | None]]:
    return {int(i): (status, c) for i, status, c in rows(cli.db, "select external_id, status, category from tickets")}


def statuses(cli: Cli) -> Counter[str]:
    return Counter(status for status, _ in holding(cli).values())


def test_killed_overlapped_and_cut_off_it_ends_as_an_undisturbed_night(cli: Cli) -> None:
    number, answered, gone, seconds = 500, Counter[int](), False, 0.02

    def script(n: int, asked: Asked) -> Step:
        if gone:
            return Step(cut=-1)
        answered[case(asked)] += 1
        return replace(by_number(n, asked), delay=seconds)

    with running_llm_server(script) as server:
        configure(cli, server, retries=5)
        tickets(cli, number)
        first = cli.start("classify", "-q")
        until(lambda: answered.total() >= 50, "50 answers")
        first.kill()
        first.communicate()
        two = [cli.start("classify", "-q", "--max-wait", "0s")]
        until(lambda: answered.total() >= 100, "100 answers")
        seconds = 0.2  # so that work is left when the second has begun, on a busy machine too
        two.append(cli.start("classify", "-q", "--max-wait", "0s"))
        until(lambda: len(rows(cli.db, SHARING)) == 2, "both at work")
        gone = True
        outputs = [process.communicate() for process in two]
        assert [process.returncode for process in two] == [6, 6]
        assert all(out == b"" and err.count(b"\n") == 1 and b"try again later" in err for out, err in outputs)
        left = statuses(cli)
        assert set(left) <= {"new", "classified"}, "an outage is no ticket's fault"
        gone, seconds = False, 0.02
        last = cli("classify", "-q")
        assert (last.returncode, last.stdout, last.stderr) == (0, "", "")
    assert answered.total() <= number + 3 * WORKERS
    assert holding(cli) == {n: ("classified", NAMES[n * 7 % 3]) for n in range(number)}
    assert is_whole(cli.db)
    ended = [json.loads(line)["exit_code"] for line in cli("runs", "--kind", "classify").stdout.splitlines()]
    assert ended == [0, 6, 6, 137]


def test_the_budget_holds_over_five_restarts_with_kills(cli: Cli) -> None:
    """A call costs 1.61; whatever is killed, and with whatever in flight, what is spent never passes the budget."""

    def dear(_n: int, asked: Asked) -> Step:
        usage = {"prompt_tokens": 1600, "completion_tokens": 10}
        return Step(chat(verdict(NAMES[case(asked) * 7 % 3]), usage=usage))

    with running_llm_server(dear) as server:
        configure(cli, server, "budget: {per_day: 90.0}\n")
        tickets(cli, 120)
        for restart in range(4):
            process = cli.start("classify", "-q")
            until(lambda: len(server.asked) >= 6 * (restart + 1) or process.poll() is not None, "some calls")  # noqa: B023
            process.kill()
            process.communicate()
        codes = [cli("classify", "-q").returncode for _ in range(2)]
        assert codes == [7, 7]
        spent = 1.61 * len(server.asked)
        assert 40.0 < spent <= 90.0  # a call in flight at a kill counts as the worst case
        assert set(statuses(cli)) == {"new", "classified"}


def test_poison_ends_in_review_after_three_nights(cli: Cli) -> None:
    def script(n: int, asked: Asked) -> Step:
        return Step(chat("prose, no JSON")) if case(asked) == 3 else by_number(n, asked)

    with running_llm_server(script) as server:
        configure(cli, server)
        tickets(cli, 6)
        assert [cli("classify", "-q").returncode for _ in range(3)] == [3, 3, 0], "what needs a person is no failure"
        assert holding(cli)[3] == ("needs_review", None)
        asked = len(server.asked)
        assert cli("classify", "-q").returncode == 0
        assert len(server.asked) == asked


def test_a_deadline_ends_it_cleanly_and_leaves_the_rest_new(cli: Cli) -> None:
    with running_llm_server(lambda n, asked: replace(by_number(n, asked), delay=0.3)) as server:
        configure(cli, server)
        tickets(cli, 100)
        done = cli("classify", "--deadline", "2s", "-o", "id")
        assert done.returncode == 6, done.stderr
        assert "error: stopped at --deadline, after 2 s; the same command does the rest" in done.stderr
        asked = len(server.asked)
        assert asked < 100
        assert statuses(cli) == +Counter({"classified": asked, "new": 100 - asked})
        assert json.loads(cli("runs", "last").stdout)["exit_code"] == 6


def test_what_a_deadline_left_is_done_by_the_next_run(world: World) -> None:
    now, late = 0.0, "150"

    def answer(ticket: dm.Ticket) -> tuple[str, float]:
        nonlocal now
        now += int(ticket.external_id == late)
        return "Billing", 0.9

    world.classifier = FakeClassifier(answer)
    world.classifier.chunk_size = 100
    drafts = (dm.TicketDraft(n, n + 2, f"s{n}", external_id=str(n), cells=()) for n in range(1000))
    list(world.triage().create(drafts))
    triage = world.triage()
    triage._stop_control = StopControl(clock=lambda: now)
    outcomes: list[dm.Outcome[dm.Decided]] = []
    with pytest.raises(dm.UnavailableError, match="--deadline"):
        outcomes.extend(triage.classify(dm.Selection(), dm.ClassifyPlan(deadline=0.5)))
    assert len(world.classifier.asked) == 200, "two handfuls of a hundred: the one in work was ended"
    triage = world.triage()
    triage._stop_control = StopControl(clock=lambda: now)
    assert len(list(triage.classify(dm.Selection(), dm.ClassifyPlan(deadline=0.5)))) == 800, (
        "all in time, so that all is well"
    )
    world.classifier, late = FakeClassifier(answer, "another"), "850"
    world.classifier.chunk_size = 100
    triage = world.triage()
    triage._stop_control = StopControl(clock=lambda: now)
    with pytest.raises(dm.UnavailableError, match="--deadline"):
        list(triage.reclassify(dm.Selection(), dm.ReclassifyPlan(dm.ClassifyPlan(deadline=0.5), apply=True)))
    assert {t.decision_id for t in world.store.find(dm.Selection())} & proposals(world) == set(), "all or none"


def test_a_run_that_its_deadline_ends_says_so(world: World) -> None:
    now = 0.0

    def answer(ticket: dm.Ticket) -> tuple[str, float]:
        nonlocal now
        now += int(ticket.external_id == "1500")
        return "Billing", 0.3

    world.classifier = FakeClassifier(answer)
    drafts = [dm.TicketDraft(n, n + 2, f"s{n}", external_id=str(n), cells=()) for n in range(6000)]
    triage = world.triage()
    triage._stop_control = StopControl(clock=lambda: now)
    with pytest.raises(dm.UnavailableError, match="--deadline"):
        list(triage.run(drafts, dm.ClassifyPlan(deadline=0.5)))
    done = Counter(t.status for t in world.store.find(dm.Selection()))
    assert 1500 < done["needs_review"] < 6000
    assert len(list(world.triage().run(drafts, dm.ClassifyPlan()))) == 6000
    assert Counter(t.status for t in world.store.find(dm.Selection())) == {"needs_review": 6000}


def proposals(world: World) -> set[object]:
    statement = "select classification_id from classifications where fingerprint = 'another'"
    return {row[0] for row in world.store.database.read(statement)}


def test_sigterm_keeps_what_is_in_flight_and_is_143(cli: Cli) -> None:
    with running_llm_server(lambda n, asked: replace(by_number(n, asked), delay=0.05)) as server:
        configure(cli, server)
        tickets(cli, 60)
        process = cli.start("classify", "-q")
        until(lambda: len(server.asked) >= 8 and listens(process), "8 calls")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
        assert (process.returncode, out, err) == (143, b"", b"")
        assert json.loads(cli("runs", "last").stdout)["exit_code"] == 143
        assert statuses(cli)["classified"] == len(server.asked) < 60
        assert rows(cli.db, "select count(*) from claims") == [(0,)]
        assert cli("classify", "-q").returncode == 0
        assert len(server.asked) == 60


def test_the_record_of_a_run_tells_what_cost_how_long_and_how_it_ended(cli: Cli) -> None:
    with running_llm_server(by_number) as server:
        configure(cli, server)
        tickets(cli, 5)
        assert cli("classify", "-q").returncode == 0
    done = cli("runs", "last", "-o", "json")
    record = json.loads(done.stdout)
    assert list(record) == [
        "run_id", "kind", "words", "actor", "host", "pid", "started_at", "ended_at", "seconds", "counts", "cost_usd",
        "exit_code",
    ]  # fmt: skip
    assert (record["kind"], record["words"], record["exit_code"]) == ("classify", "classify -q", 0)
    assert record["counts"] == {"classified": 5}
    assert record["cost_usd"] == pytest.approx(0.55)
    assert 0 < record["seconds"] < 60
    assert [json.loads(line)["kind"] for line in cli("runs").stdout.splitlines()] == ["classify", "create"]
    assert cli("runs", "--limit", "1", "-o", "id").stdout == record["run_id"] + "\n"
    assert "classify -q" in cli("runs", "-o", "table").stdout


def test_without_a_run_there_is_no_last_one(cli: Cli) -> None:
    assert cli("runs").stdout == ""
    done = cli("runs", "last")
    assert (done.returncode, done.stdout) == (5, "")


def test_a_run_that_works_has_no_end_yet_and_a_killed_one_is_told_as_such(cli: Cli) -> None:
    with running_llm_server(lambda n, asked: replace(by_number(n, asked), delay=0.05)) as server:
        configure(cli, server)
        tickets(cli, 200)
        cli.env["COLUMNS"] = "200"
        process = cli.start("classify", "-q")
        until(lambda: len(server.asked) > 4, "calls")
        assert json.loads(cli("runs", "last").stdout)["exit_code"] is None
        assert "still at work" in cli("runs", "last", "-o", "table").stdout
        process.kill()
        process.communicate()
        record = json.loads(cli("runs", "last").stdout)
        assert (record["exit_code"], record["ended_at"], record["seconds"]) == (137, None, None)
        assert record["counts"] == {}
        assert "killed before it counted" in cli("runs", "last", "-o", "table").stdout


# -- the crontab and the timer, as they are written


def environment(cli: Cli, given: dict[str, str]) -> dict[str, str]:
    """What a scheduler would set, but for where the program and its configuration are here."""
    bare = {k: v for k, v in cli.env.items() if k in ("HOME", "XDG_DATA_HOME", "PYTHONWARNINGS")}
    return CLOCK | bare | given | {
        "PATH": f"{Path(sys.executable).parent}:{given.get('PATH', os.defpath)}",
        "TRIAGE_CONFIG": str(cli.folder / "config.yaml"),
    }  # fmt: skip


def placed(text: str, folder: Path) -> str:
    """Return a sample with what an administrator puts into /etc/triage in a folder of the test's own."""
    home = folder / "etc"
    home.mkdir(exist_ok=True)
    (home / "secrets").write_text("SHOP_KEY=canary\n")
    for script in SAMPLES.glob("*.sh"):
        shutil.copy(script, home)
    text = text.replace("/usr/local/bin/triage", str(Path(sys.executable).parent / "triage"))
    return text.replace("/etc/triage/config.yaml", str(folder / "config.yaml")).replace("/etc/triage", str(home))


def test_the_crontab_runs_silently_as_it_is_written(fitted: Cli) -> None:
    variables, commands = {}, []
    for line in placed((SAMPLES / "crontab").read_text(), fitted.folder).splitlines():
        if re.match(r"\w+=", line):
            name, _, value = line.partition("=")
            variables[name] = value
        elif not line.startswith("#"):
            # As cron reads a file of /etc/cron.d: five fields, a user, then a command in which a bare per cent sign is
            # a new line.
            command = line.split(maxsplit=6)[6]
            assert not re.search(r"(?<!\\)%", command)
            commands.append(command.replace("\\%", "%"))
    assert {"PATH", "TRIAGE_CONFIG", "TRIAGE_DB", "MAILTO"} == set(variables)
    variables |= {"TRIAGE_DB": str(fitted.db), "SENDMAIL": str(fitted.folder / "sendmail")}
    (fitted.folder / "sendmail").write_text('#!/bin/sh\nexec cat > "$HOME/sent.eml"\n')
    (fitted.folder / "sendmail").chmod(0o755)
    _runs_silently(fitted, [["/bin/sh", "-c", command] for command in commands], environment(fitted, variables))
    mail = message_from_bytes((fitted.folder / "sent.eml").read_bytes(), policy=default)
    assert (mail["To"], mail.get_filename()) == ("support-team@example.com", "tickets.html")
    assert "<h1>Tickets from " in mail.get_content()


def test_the_service_runs_silently_as_it_is_written(fitted: Cli) -> None:
    text = placed((SAMPLES / "triage.service").read_text(), fitted.folder)
    settings = [line.partition("=")[::2] for line in text.splitlines() if "=" in line]
    words = [word for name, value in settings if name == "Environment" for word in shlex.split(value)]
    variables = dict(word.split("=", 1) for word in words) | {"TRIAGE_DB": str(fitted.db)}
    commands = [shlex.split(value) for name, value in settings if name == "ExecStart"]
    assert len(commands) == 1
    _runs_silently(fitted, commands, environment(fitted, variables))
    timer = (SAMPLES / "triage.timer").read_text()
    assert "OnCalendar=" in timer
    assert "Persistent=true" in timer


def test_a_night_ends_with_its_gravest_code_and_does_the_later_steps(fitted: Cli) -> None:
    """`classify` cannot reach its provider (6); what has a category is routed all the same, and `check` looks (8)."""
    (fitted.folder / "config.yaml").write_text(
        "classifier: gpt\n"
        "classifiers:\n"
        "  gpt: {type: openai, model: m, base_url: 'http://127.0.0.1:9/v1', api_key_env: null, max_retries: 0}\n"
        "nightly: {deadline: 1s, max_age: 0s}\n"
    )
    two = "id,subject,verdict\n1,x,Billing\n2,y,\n"
    assert fitted("create", "-q", "--map", "verdict=verdict", stdin=two).returncode == 0
    done = fitted("nightly", "-q", "missing.csv")
    assert done.returncode == 2, done.stderr
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == ["error:", "error:"]
    assert "missing.csv" in done.stderr
    assert done.stdout.startswith("exceeded: ticket 2 is not classified")
    assert statuses(fitted) == {"routed": 1, "new": 1}
    assert fitted("nightly", "-q").returncode == 6


def test_a_missing_database_is_told_once_a_file_makes_one_and_a_good_night_is_told_to_who_watches(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text("nightly: {heartbeat: {url_env: BEAT}}\n")
    with closing(HttpStub()) as watcher:
        fitted.env["BEAT"] = f"{watcher.root}/ping/a-secret"
        done = fitted("nightly", "-q", "--db", "other.db")
        assert (done.returncode, done.stdout, done.stderr.count("\n"), watcher.calls) == (2, "", 1, [])
        (fitted.folder / "export.csv").write_text("id,subject\n1,I was charged twice\n")
        done = fitted("nightly", "-q", "--db", "other.db", "export.csv")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert watcher.calls == ["GET /ping/a-secret"]
        assert rows(fitted.folder / "other.db", "select status from tickets") == [("routed",)]
        done = fitted("nightly", "-q", "--db", "other.db", "--offline")
        assert (done.returncode, done.stderr, len(watcher.calls)) == (0, "", 1)
    done = fitted("nightly", "-q", "--db", "other.db")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "", 1)
    assert done.stderr.startswith("warning: the heartbeat cannot be reached: ")
    assert "secret" not in done.stderr


def test_a_signal_ends_the_step_of_a_night_as_it_ends_a_command_and_no_other_begins(cli: Cli) -> None:
    with running_llm_server(lambda n, asked: replace(by_number(n, asked), delay=0.05)) as server:
        configure(cli, server)
        tickets(cli, 60)
        night = cli.start("nightly", "-q")
        until(lambda: len(server.asked) >= 8, "8 calls")
        night.send_signal(signal.SIGTERM)
        out, err = night.communicate()
        assert (night.returncode, out, err) == (143, b"", b"")
        assert statuses(cli)["classified"] == len(server.asked) < 60
        assert [json.loads(line)["kind"] for line in cli("runs").stdout.splitlines()] == ["classify", "create"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_units_are_sound_and_closed(tmp_path: Path) -> None:
    units = [*SAMPLES.glob("*.service"), *SAMPLES.glob("*.timer"), *(SAMPLES.parent / "server").glob("*.service")]
    assert len(units) == 4
    for unit in units:
        text = re.sub(r"(?m)^ExecStart=.*", "ExecStart=/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text.replace("User=triage", "User=root"))
    check = ["systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in units)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("triage.service", "triage-serve.service"):
        closed = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(tmp_path / name)]
        done = subprocess.run(closed, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


# Runs a command: what its filter does with other system calls, those that it lets pass, the command.
FILTERED = """
import ctypes, os, sys

seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
rules = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(int(sys.argv[1]))))
for name in sys.argv[2].split():
    seccomp.seccomp_rule_add(rules, ctypes.c_uint32(0x7FFF0000), seccomp.seccomp_syscall_resolve_name(name.encode()), 0)
assert seccomp.seccomp_load(rules) == 0
os.execv(sys.argv[3], sys.argv[3:])
"""
KILL, ANSWER_EPERM = 0x80000000, 0x00050001


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_embedded_model_answers_under_the_system_calls_of_the_units(cli: Cli) -> None:
    units = [SAMPLES / "triage.service", SAMPLES.parent / "server" / "triage-serve.service"]
    night, server = ([line for line in unit.read_text().splitlines() if "SystemCall" in line] for unit in units)
    assert night == server
    others = ANSWER_EPERM if "SystemCallErrorNumber=EPERM" in night else KILL
    calls = _calls("@system-service") - _calls("@privileged") - _calls("@resources") | _calls("@default")
    command = [sys.executable, "-c", FILTERED, str(others), " ".join(calls), sys.executable, "-m", "triage_cli"]
    done = subprocess.run(
        [*command, "--db", "night.db", "run", "-q", "-"], input="subject\nI was charged twice\n", cwd=cli.folder,
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert rows(cli.folder / "night.db", "select status from tickets") == [("routed",)]


def _calls(group: str) -> set[str]:
    """Return the system calls of one of systemd's groups."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    names = [line.strip() for line in listed.stdout.splitlines()[1:] if "#" not in line]
    return {call for name in names if name for call in (_calls(name) if name[0] == "@" else {name})}


def _runs_silently(cli: Cli, commands: list[list[str]], env: dict[str, str]) -> None:
    (cli.folder / "config.yaml").write_text("classifiers: {local: {type: local, min_confidence: 0.3}}\n")
    tickets(cli, 3)
    for command in commands:
        done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), command
    assert statuses(cli) == {"routed": 3}


def test_what_the_page_shows_of_them_is_what_is_tested() -> None:
    pages = PAGE.read_text(encoding="utf-8") + (PAGE.parent / "server.md").read_text(encoding="utf-8")
    files = [path.read_text() for folder in (SAMPLES, SAMPLES.parent / "server") for path in folder.iterdir()]
    shown = re.findall(r"```(crontab|nginx|sh)\n(.*?)```", pages, re.DOTALL)
    found = [kind for kind, block in shown if any(block in text for text in files)]
    assert sorted(found) == ["crontab", "nginx"]


@pytest.mark.parametrize(
    ("words", "stdin", "code"),
    [
        (["create", "-", "--max-rejects", "1"], "id,subject\n9,a\n9,b\n", 0),
        (["create", "-"], "id,subject\n9,a\n9,b\n", 3),
        (["create", "-", "--strict"], "id,subject\n9,a\n9,b\n", 3),
        (["classify", "-"], "1\nnobody\n", 3),
    ],
)
def test_the_record_of_a_run_has_the_exit_code_of_its_command(
    fitted: Cli, words: list[str], stdin: str, code: int
) -> None:
    fitted("create", "-q", stdin="id,subject\n1,refund\n")
    done = fitted(*words, "-q", stdin=stdin)
    assert (done.returncode, json.loads(fitted("runs", "last").stdout)["exit_code"]) == (code, code)
