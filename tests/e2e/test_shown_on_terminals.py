"""What a person sees on terminals of any width: nothing twice, nothing padded, bars that fit."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from rich.cells import cell_len

from tests.support.cli import Cli
from tests.support.commands import TICKETS, many
from tests.support.labelled_tickets import csv, rows
from tests.support.watched_terminal import STREAMS, lasting_text, watched
from triage_cli.cli import SPINNER

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def shown(cli: Cli, *args: str, columns: int = 80) -> str:
    """Return what a terminal shows, without colours."""
    came = watched(cli, *args, on=STREAMS, columns=columns, NO_COLOR="")
    lines = [CODES.sub("", line) for line in lasting_text(came.shown).splitlines()]
    assert [line for line in lines if line != line.rstrip()] == [], "no line is padded"
    return "\n".join(lines)


LONG = "https://shop.example.com/orders/" + "7" * 80
HOSTILE = {
    "id": "H-1", "subject": "\x1b[31mrefund\x1b[0m \u202egnp.exe\nsecond line 🧾👩‍👩‍👧", "plan": LONG,
    "description": "I was charged twice\tfor my invoice \x9b2J " + "w" * 300, "customer_id": "C-1",
}  # fmt: skip


@pytest.fixture
def hostile(fitted: Cli) -> Cli:
    """A ticket with escape codes, an override, emoji, long words and line breaks; a person decided it."""
    assert fitted("run", "-q", stdin=json.dumps(HOSTILE)).returncode in (0, 3)
    assert fitted("verdict", "H-1", "Billing", "--note", "an invoice", "-q").returncode == 0
    return fitted


@pytest.fixture
def three(fitted: Cli) -> Cli:
    assert fitted("run", "-q", stdin=TICKETS).returncode == 0
    return fitted


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_bars_of_stats_are_on_one_scale_and_fit(three: Cli, columns: int) -> None:
    assert three("create", "-q", stdin=many(5)).returncode == 0
    lines = shown(three, "stats", columns=columns).splitlines()
    assert max(map(cell_len, lines)) <= columns
    bars = {line.split()[0]: line.count("█") for line in lines if "█" in line}
    (whole,) = {line.count("█") for line in lines if "100%" in line} or {0}
    new, routed = bars["new"], bars["routed"]
    assert whole >= new > routed > 0
    assert len([line for line in lines if line.strip("█ ") == "" and "█" in line]) == 0, "no bar wraps"


@pytest.mark.parametrize("args", [["list"], ["show", "A-1"], ["why", "A-1"], ["logs"], ["runs"]])
def test_no_line_is_padded(three: Cli, args: list[str]) -> None:
    assert shown(three, *args)


def test_what_was_learned_is_told_once(fitted: Cli) -> None:
    assert fitted("create", "-q", stdin=many(3)).returncode == 0
    screen = shown(fitted, "learn", columns=200)
    assert screen.count("too few labelled tickets") == 1
    assert "kept" in screen


def test_too_few_labels_lead_to_more(fitted: Cli) -> None:
    assert fitted("create", "-q", stdin=many(3)).returncode == 0
    (fitted.folder / "few.csv").write_text("description,label\n")
    output = shown(fitted, "learn", "few.csv", columns=200)
    assert "note: few.csv has a header and no rows" in output
    assert output.endswith("next: give verdicts in triage review, or name a labelled file: triage learn FILE")


def test_a_hint_for_rejected_rows_is_printed_once_and_the_next_step_keeps_them(fitted: Cli) -> None:
    (fitted.folder / "same.csv").write_text("id,subject\n1,a\n1,b\n1,c\n2,\n")
    output = shown(fitted, "create", "same.csv", columns=200)
    assert output.count("is already in this input") == 2
    assert output.count("if this column holds no ids") == 1
    assert output.endswith(
        "next: triage classify; 3 rejected: --rejects FILE keeps such rows; triage undo takes this back"
    )
    assert shown(fitted, "run", "same.csv", columns=200).endswith("3 rejected: --rejects FILE keeps such rows")
    kept = shown(fitted, "create", "same.csv", "--rejects", "bad.csv", columns=200)
    assert "--rejects" not in kept


def test_taking_back_a_verdict_that_is_not_there_says_so(three: Cli) -> None:
    assert "A-1 has no verdict" in three("verdict", "A-1", "--clear", "-o", "id").stderr
    assert three("verdict", "A-1", "General", "-q").returncode == 0
    assert "no verdict" not in three("verdict", "A-1", "--clear").stderr
    assert three("verdict", "A-1", "--clear", "-q").stderr == ""


def test_where_tickets_went_is_told_once(three: Cli) -> None:
    assert three("verdict", "A-1", "General", "-q").returncode == 0
    screen = shown(three, "route", "-o", "id")
    assert [line for line in screen.splitlines() if "routed" in line] == [
        "1 routed to General (data/triage/queues/General.jsonl)"
    ]
    assert three("route", "-o", "id").stderr == "0 routed\n"


def test_who_finds_nothing_to_do_says_what_the_tickets_wait_for(cli: Cli) -> None:
    create = ("create", "--subject", "Hello", "-q", "--external-id")
    assert cli(*create, "A-1").returncode == 0
    assert shown(cli, "route", "-o", "id") == "0 routed\n1 has no answer yet: triage classify"
    assert shown(cli, "review") == "nothing waits for a person; 1 has no answer yet: triage classify"
    assert cli("classify", "-q").returncode == cli(*create, "A-2").returncode == 0
    assert (
        shown(cli, "route", "-o", "id").splitlines()[1]
        == "1 has no answer yet: triage classify; 1 needs you: triage review"
    )
    assert cli("classify", "-q").returncode == cli("verdict", "A-1", "General", "-q").returncode == 0
    assert (
        shown(cli, "classify", "-o", "id").splitlines()[1]
        == "next: 1 needs you: triage review; 1 classified: triage route"
    )
    assert cli("route").stderr == "1 routed\n", "a script reads counts alone"


def test_a_mistake_is_told_before_a_database_is_missed(cli: Cli) -> None:
    done = cli("runs", "--kind", "clasify")
    assert (done.returncode, done.stderr) == (2, 'error: no kind "clasify"; did you mean classify?\n')
    assert cli("runs", "--kind", "").stderr.startswith('error: no kind ""; one of create, ')


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("command", ["list", "show H-1", "why H-1", "logs", "runs", "stats", "doctor", "suspects"])
def test_a_hostile_ticket_stays_inside_its_lines(hostile: Cli, command: str, columns: int) -> None:
    lines = shown(hostile, *command.split(), columns=columns).splitlines()
    assert max(map(cell_len, lines)) <= columns
    assert not re.search("[\x00-\x1f\x80-\x9f\u202a-\u202e\u2066-\u2069]", "".join(lines))


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_nothing_of_a_history_is_cut_on_a_narrow_terminal(hostile: Cli, columns: int) -> None:
    whole = "".join(shown(hostile, "show", "H-1", columns=columns).split())
    assert whole.count(LONG) == 1
    for command in ("show", "logs"):
        lines = shown(hostile, command, "H-1", columns=columns).splitlines()
        timed = [line for line in lines if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", line)]
        assert len(timed) >= 3, lines
        assert "Billing" in " ".join(lines[lines.index(timed[-1]) :])


def test_runs_are_lines_of_key_and_value_on_a_narrow_terminal(three: Cli) -> None:
    lines = shown(three, "runs", columns=40).splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["id", "started_at", "kind", "seconds"]
    assert "3 created, 3 routed" in " ".join(" ".join(lines).split())
    assert shown(three, "runs", columns=110).splitlines()[0].split()[:3] == ["id", "started_at", "kind"]


@pytest.mark.parametrize("columns", [70, 80, 90])
def test_headers_and_ordinary_words_of_runs_are_not_broken(three: Cli, columns: int) -> None:
    assert three("reclassify", "-q").returncode == 0
    output = shown(three, "runs", columns=columns)
    assert {"started_at", "exit_code", "counts", "words"} <= set(output.splitlines()[0].split())
    assert {"reclassify", "unchanged"} <= set(output.split())


def test_keys_of_the_configuration_are_not_broken(fitted: Cli) -> None:
    lines = shown(fitted, "config", "show", columns=80).splitlines()
    assert "destinations.Technical.retry_schedule" in [line.split(" ")[0] for line in lines]


CATEGORIES = ("Orders", "Accounts", "Payments", "Deliveries", "Invoices", "Refunds", "Newsletters", "Complaints")


@pytest.mark.parametrize("columns", [40, 60, 72, 80])
@pytest.mark.parametrize("names", [CATEGORIES[:3], CATEGORIES], ids=["three categories", "eight categories"])
def test_no_figure_of_an_evaluation_is_cut(cli: Cli, columns: int, names: tuple[str, ...]) -> None:
    listed = ", ".join(f"{{name: {name}}}" for name in names)
    outlet = "destinations: {all: {type: file, path: all.jsonl}}\nroutes: [{to: all}]\n"
    (cli.folder / "config.yaml").write_text(f"categories: [{listed}]\n{outlet}")
    confused = zip(names, (*names[1:], names[0]), strict=True)
    rows = "".join(f"a question about {topic},{label}\n" * 3 for topic, label in confused)
    (cli.folder / "labelled.csv").write_text(f"description,label\n{rows}")
    output = shown(cli, "eval", "labelled.csv", columns=columns)
    lines = output[output.index("classifier  ") :].splitlines()
    assert [line for line in lines if "…" in line] == []
    assert max(map(cell_len, lines)) <= columns


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_the_start_screen_is_wrapped_at_words(three: Cli, columns: int) -> None:
    lines = shown(three, columns=columns).splitlines()
    paths = [line for line in lines if len(line) >= columns]
    assert [path for path in paths if " " in path.strip()] == []
    assert {"destinations", "newest", "command"} & set(" ".join(lines).replace(",", " ").split())


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_headers_of_failed_attempts_are_not_broken(fitted: Cli, columns: int) -> None:
    (fitted.folder / "config.yaml").write_text("routes: [{to: 'http://localhost:9/tickets'}]\n")
    assert fitted("run", "-q", "--offline", stdin="id,subject\nR-1,refund my invoice\n").returncode == 0
    assert fitted("route", "-q", "--no-wait").returncode == 0
    output = shown(fitted, "show", "R-1", columns=columns)
    assert {"destination", "attempts", "answer", "seconds"} <= set(output.split())


def test_a_path_is_shown_whole_by_doctor(three: Cli) -> None:
    whole = "".join(shown(three, "doctor", columns=40).split())
    assert "/queues/Billing.jsonl" in whole


def test_a_long_name_is_shown_whole_by_doctor(cli: Cli) -> None:
    name = "quarantine-of-the-billing-team-in-vienna"
    outlet = f"destinations: {{{name}: {{type: file, path: q.jsonl}}}}\nroutes: [{{to: {name}}}]\n"
    (cli.folder / "config.yaml").write_text(outlet)
    output = shown(cli, "doctor", columns=40)
    assert "…" not in output
    assert max(map(cell_len, output.splitlines())) <= 40


@pytest.mark.parametrize("columns", [40, 200])
def test_no_column_that_was_asked_for_is_cut_where_there_is_no_room(three: Cli, columns: int) -> None:
    typed = "external_id,status,category,confidence,description"
    output = shown(three, "list", "--columns", typed, columns=columns)
    assert "…" not in output
    assert max(map(cell_len, output.splitlines())) <= columns
    assert {"external_id", "confidence", "A-1", "routed"} <= set(output.split())


def test_what_waits_for_a_person_can_be_read_on_white(hostile: Cli) -> None:
    """The yellow of many terminals has a contrast below 2 there."""
    assert hostile("verdict", "H-1", "--clear", "-q").returncode == 0
    assert hostile("create", "--subject", "???", "--priority", "high", "-q").returncode == 0
    assert hostile("classify", "-q").returncode == 0
    for command in ("list", "stats"):
        came = watched(hostile, command, on=STREAMS, NO_COLOR="")
        assert "38;5;136m" in came.shown
        assert "\x1b[33m" not in came.shown


def test_no_header_of_a_plan_is_cut(three: Cli) -> None:
    (three.folder / "new.yaml").write_text("destinations: {all: {type: file, path: q.jsonl}}\nroutes: [{to: all}]\n")
    output = shown(three, "plan", "new.yaml", columns=40)
    assert output.startswith("destination  before  after  change\n")


def test_a_spike_began_in_local_time(fitted: Cli) -> None:
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
    week_ago = began - timedelta(weeks=1)
    lines = [f"{week_ago.isoformat()},B-{n},{chr(97 + n) * 7} {chr(107 + n) * 7}" for n in range(10)]
    lines += [f"{began.isoformat()},C-{n},the turnstile squeaks" for n in range(12)]
    assert fitted("create", "-q", stdin="\n".join(["created_at,customer_id,subject", *lines])).returncode == 0
    fitted.env["TZ"] = "Etc/GMT-5"
    output = shown(fitted, "spikes", columns=200)
    assert f"since {began.astimezone(timezone(timedelta(hours=5))):%Y-%m-%d %H:%M:%S}," in output
    assert "(local time)" in output


@pytest.mark.slow
def test_work_of_unknown_length_shows_how_long_it_takes(fitted: Cli) -> None:
    assert fitted("create", "-q", stdin=TICKETS).returncode == 0
    (fitted.folder / "labelled.csv").write_text(csv(rows(4)))
    came = watched(fitted, "suspects", "labelled.csv")
    assert re.search(rf"[{SPINNER}] comparing the labels 0:00:\d\d", came.shown)
    assert "comparing" not in lasting_text(came.shown)


def test_records_that_go_to_a_file_are_counted_on_the_terminal(cli: Cli) -> None:
    assert cli("create", "-q", stdin="subject\n" + "refund\n" * 20_000).returncode == 0
    for command in ("list", "logs"):
        came = watched(cli, command, "-o", "jsonl")
        assert re.search(rf"[{SPINNER}] reading( [\d,]+ at [\d,]+/s)? 0:00:\d\d", came.shown), command
        assert (lasting_text(came.shown), came.stdout.count(b"\n")) == ("", 20_000)


def test_empty_columns_that_were_asked_for_take_no_room_from_texts(three: Cli) -> None:
    known = ["external_id", "created_at", "suggestion", "error", "subject", "description"]
    lines = shown(three, "list", "--columns", ",".join(known), columns=60).splitlines()
    assert lines[0].split() == ["external_id", "subject", "description"]
    assert lines[-1] == "(nothing in created_at, suggestion, error)"
    assert shown(three, "list", "--columns", ",".join(known), columns=200).split()[: len(known)] == known


@pytest.mark.parametrize("columns", [70, 80, 100, 120])
def test_no_character_of_a_long_command_is_lost_in_the_table_of_runs(fitted: Cli, columns: int) -> None:
    folder = fitted.folder / "exports-of-november"
    folder.mkdir()
    path = folder / "tickets-export-2026-11-30-0123456789.csv"
    path.write_text(TICKETS)
    assert fitted("run", str(path), "-q").returncode == 0
    lines = shown(fitted, "runs", columns=columns).splitlines()
    start = lines[0].index("words")
    assert "".join(line[start:] for line in lines[1:-1]).replace(" ", "") == f"run{path}-qcreate-q"


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_dry_run_of_route_is_a_table_with_counts(fitted: Cli, columns: int) -> None:
    """In a pipe, and with a format for programs, it is each request."""
    assert fitted("create", "-q", stdin=TICKETS).returncode == fitted("classify", "-q").returncode == 0
    assert fitted("verdict", "A-1", "Billing", "-q").returncode == 0
    (fitted.folder / "config.yaml").write_text("classifiers: {local: {type: local, min_confidence: 0.9999}}\n")
    for output in ((), ("-o", "table"), ("-q",)):
        head, *lines = shown(fitted, "route", "--dry-run", *output, columns=columns).splitlines()
        confidence = ["confidence"] if columns > 60 else []
        assert head.split() == ["id", "category", *confidence, "destination", "text"]
        (sent,) = (line for line in lines if line.startswith("A-1"))
        assert sent.split()[1] == "Billing"
        assert sum(" below toda" in line for line in lines[:3]) == 2, lines
        assert max(map(cell_len, lines)) <= columns
    counts = "1 request would be made: Billing (1); 2 below today's min_confidence, so a person decides (--dry-run)"
    came = watched(fitted, "route", "--dry-run", on=STREAMS, columns=columns)
    ends = f" {counts} triage route --dry-run | less shows each request whole"
    assert " ".join(came.shown.split()).endswith(ends), "a line may be wrapped"
    (request,) = fitted("route", "--dry-run").stdout.splitlines()
    assert json.loads(request)["ticket"]["external_id"] == "A-1"
    printed = json.loads(shown(fitted, "route", "--dry-run", "-o", "json", columns=columns).partition("\n]")[0] + "]")
    assert sorted(each["request"] or "" for each in printed) == ["", "", request]
