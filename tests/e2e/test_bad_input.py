"""Bad input and bad surroundings: one sentence (what, why, what next), the right exit code, nothing lost."""

import json
import re
import resource
import subprocess

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, TICKETS, is_whole, many, rows

ERROR = re.compile(r"error: [^\n]+; [^\n]+\n")
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n"
RAGGED = "id,subject\n1,fine\n2\n3,short too\n4,more,than there are columns\n"


@pytest.mark.parametrize("command", ["create", "run"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("<!DOCTYPE html><html><body>Log in</body></html>", "web page"),
        (POINTER, "git lfs pull"),
        ("foo,bar\n1,2\n3,4\n", "its columns are foo, bar"),
        ("PK\x03\x04 and so on", "save the sheet as CSV"),
        ('[{"foo": 1}]', "--map"),
    ],
)
def test_what_is_no_table_of_tickets_is_exit_2_in_one_sentence(cli: Cli, command: str, text: str, message: str) -> None:
    done = cli(command, stdin=text)
    assert (done.returncode, done.stdout) == (2, "")
    assert ERROR.fullmatch(done.stderr)
    assert message in done.stderr
    assert not cli.db.exists()


@pytest.mark.parametrize("command", ["create", "run"])
def test_a_header_alone_is_nothing_to_do(fitted: Cli, command: str) -> None:
    done = fitted(command, stdin="id,subject\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert "\n0 created, 0 updated, 0 unchanged, 0 rejected" in done.stderr
    assert json.loads(fitted(command, "-o", "json", stdin="id,subject\n").stdout) == []


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("id,subject\n1,\n2,ok\n", 2, "neither subject nor description"),
        ("id,subject\n2,ok\n3,x,more\n", 3, "extra ones hold text"),
        ('id,subject\n1,"never closed\n2,ok\n', 2, "never closed"),
        ("id,subject\n1,a\0b\n2,ok\n", 2, "NUL"),
        (f"id,subject\n1,{'x' * 1_100_000}\n2,ok\n", 2, "over 1 MB"),
        ("id,subject\n2,ok\n2,another text\n", 3, "with another text"),
    ],
)
def test_a_bad_row_is_told_with_its_line_and_stops_nothing(cli: Cli, text: str, line: int, message: str) -> None:
    done = cli("create", stdin=text)
    assert done.returncode == 3
    (rejected_rows,) = (row for row in done.stderr.splitlines() if row.startswith("rejected: "))
    assert rejected_rows.startswith(f"rejected: line {line}: ")
    assert message in rejected_rows
    assert done.stderr.endswith("\n1 created, 0 updated, 0 unchanged, 1 rejected\n")
    assert rows(cli.db, "select external_id, subject from tickets") == [("2", "ok")]


@pytest.mark.parametrize("args", [("create", "-q"), ("verdict", "-", "-q"), ("classify", "-", "-q")])
def test_a_cell_is_as_long_as_a_row_may_be(fitted: Cli, args: tuple[str, ...]) -> None:
    """In a process of its own: the csv module's limit is one for all of a process."""
    assert fitted("create", "-q", stdin="id,subject\n1,a\n").returncode == 0
    text = f"ticket_id,category,subject,description,note\n1,Billing,a,,{'x ' * 70_000}\n"
    with fitted.start(*args) as process:
        _, stderr = process.communicate(text.encode())
    assert (process.returncode, stderr.count(b"rejected"), stderr.count(b"error")) == (0, 0, 0)


def test_short_rows_and_empty_extra_cells_are_fine(cli: Cli) -> None:
    done = cli("create", stdin="id,subject,note\n1,fine\n2,fine,,,\n\n3,fine,x\n")
    assert done.returncode == 0
    assert done.stderr.endswith("\n3 created, 0 updated, 0 unchanged, 0 rejected\n")


def test_rejects_get_the_rows_as_they_were(cli: Cli) -> None:
    text = 'id,subject\n1,fine\n2,,\n 3 ,"x, y",z\n4,"open\n5,also fine\n'
    assert cli("create", "-q", "--rejects", "bad.csv", stdin=text).returncode == 3
    assert (cli.folder / "bad.csv").read_text() == 'id,subject\n2,,\n 3 ,"x, y",z\n4,"open\n'
    mended = (cli.folder / "bad.csv").read_text().replace("2,,", "2,now").replace(",z", "").replace('"open', "closed")
    done = cli("create", "--rejects", "bad2.csv", stdin=mended)
    assert done.stderr.endswith("\n3 created, 0 updated, 0 unchanged, 0 rejected\n")
    assert rows(cli.db, "select count(*) from tickets") == [(5,)]


def test_a_rejected_row_of_several_lines_can_be_read_again(cli: Cli) -> None:
    text = 'id;subject\n1;"a\nb"\n1;"a\rc"\n1;"a\n""d"""\n'
    assert cli("create", "-q", "--rejects", "bad.csv", stdin=text).returncode == 3
    assert (cli.folder / "bad.csv").read_bytes() == b'id;subject\n1;"a\rc"\n1;"a\n""d"""\n'


def test_rejects_of_json_are_json_lines(cli: Cli) -> None:
    text = '{"id": "1", "subject": "a"}\n{"foo": 1}\n{"id": "1", "subject": "b", "foo": 0}\nnot json\n'
    assert cli("create", "-q", "--rejects", "bad.jsonl", stdin=text).returncode == 3
    assert (cli.folder / "bad.jsonl").read_text() == '{"foo": 1}\n{"id": "1", "subject": "b", "foo": 0}\nnot json\n'


def test_rejects_of_rows_without_a_header_have_none(cli: Cli) -> None:
    text = "1,my printer is on fire today,a\n2,,b\n3,the second printer is on fire,c\n"
    for options in ([], ["--no-header"]):
        assert cli("create", "-q", "--rejects", "bad.csv", *options, stdin=text).returncode == 3
        assert (cli.folder / "bad.csv").read_text() == "2,,b\n"


@pytest.mark.parametrize("command", ["create", "run"])
def test_rejects_of_files_with_different_columns_are_refused(fitted: Cli, command: str) -> None:
    (fitted.folder / "a.csv").write_text("id,subject\n1,\n")
    (fitted.folder / "b.csv").write_text("nr;betreff\n1;\n")
    done = fitted(command, "a.csv", "b.csv", "--rejects", "bad.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert "these files have different columns" in done.stderr
    assert not (fitted.folder / "bad.csv").exists()
    assert fitted(command, "a.csv", "a.csv", "--rejects", "bad.csv", "-o", "jsonl").returncode == 3
    assert (fitted.folder / "bad.csv").read_text() == "id,subject\n1,\n1,\n"


def test_the_limit_is_one_for_all_files(cli: Cli) -> None:
    for name in "abc":
        (cli.folder / f"{name}.csv").write_text(f"id,subject\n{name}1,x\n{name}2,y\n")
    done = cli("create", "a.csv", "b.csv", "c.csv", "--limit", "3", "-o", "jsonl")
    assert [json.loads(line)["external_id"] for line in done.stdout.splitlines()] == ["a1", "a2", "b1"]
    assert done.stderr.endswith("\n3 created, 0 updated, 0 unchanged, 0 rejected\n")


def test_rejects_hold_this_run_only_and_are_never_the_input(cli: Cli) -> None:
    (cli.folder / "in.csv").write_text(RAGGED)
    assert cli("create", "in.csv", "--rejects", "bad.csv").returncode == 3
    assert (cli.folder / "bad.csv").read_text() != ""
    assert cli("create", "--rejects", "bad.csv", stdin=TICKETS).returncode == 0
    assert (cli.folder / "bad.csv").read_text() == ""
    done = cli("create", "in.csv", "--rejects", "in.csv")
    assert done.returncode == 2
    assert ERROR.fullmatch(done.stderr.split("\n", 1)[1])
    assert (cli.folder / "in.csv").read_text() == RAGGED
    assert cli("create", "in.csv", "--rejects", "no/such/folder.csv").returncode == 2


OWN = "is a file of triage's own and would be overwritten"


@pytest.mark.parametrize("command", ["create", "run"])
def test_rejects_overwrite_neither_what_is_redirected_nor_what_is_triages_own(fitted: Cli, command: str) -> None:
    """A queue's file of the built-in routes too, and what is not there yet."""
    (fitted.folder / "in.csv").write_text(RAGGED)
    assert fitted("run", "-q", stdin=TICKETS).returncode == 0
    (fitted.folder / "config.yaml").write_text("offline: true\n")
    beside = [f"{fitted.db}{suffix}" for suffix in (".head", "-wal", "-journal")]
    queues = [str(path) for path in sorted((fitted.db.parent / "queues").iterdir())]
    assert len(queues) == 3
    kept = fitted("list").stdout
    for name in ("in.csv", "config.yaml", str(fitted.db), *beside, *queues):
        path = fitted.folder / name
        before = path.read_bytes() if path.exists() else None
        with (fitted.folder / "in.csv").open("rb") as stdin:
            started = fitted.start(command, "-q", "--rejects", name, stdin=stdin)
            _, output = started.communicate(timeout=PATIENCE)
        why = (
            "is read and would be written" if name == "in.csv" else "is a file of triage's own and would be overwritten"
        )
        assert (started.returncode, output.decode()) == (2, f"error: {name} {why}; name another with --rejects\n")
        assert before == (path.read_bytes() if path.exists() else None)
    assert fitted("list").stdout == kept


def test_no_backup_and_no_report_is_a_file_of_triages_own(cli: Cli) -> None:
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    head = f"{cli.db}-journal"
    done = cli("db", "backup", head)
    assert (done.returncode, done.stderr) == (
        2, f"error: {head} {OWN}; name another with triage db backup FILE\n"
    )  # fmt: skip
    done = cli("eval", "-", "--report", f"{cli.db}.head", stdin="description,label\nrefund,Billing\n")
    assert "name another with --report" in done.stderr
    for option in (("db", "backup"), ("create", "--rejects"), ("eval", "--report")):
        done = cli(*option, "-", stdin="description,label\nrefund,Billing\n")
        assert (done.returncode, done.stdout) == (2, "")
        assert "error: - names no file to write; " in done.stderr
    assert not (cli.folder / "-").exists()
    assert cli("audit", "verify").returncode == 0


@pytest.mark.parametrize(("most", "code"), [("0", 3), ("1", 3), ("2", 0), ("49%", 3), ("50%", 0), ("100%", 0)])
def test_max_rejects(cli: Cli, most: str, code: int) -> None:
    """Of the four rows two are rejected."""
    assert cli("create", "-q", "--max-rejects", most, stdin=RAGGED).returncode == code


def test_max_rejects_counts_for_run_too(fitted: Cli) -> None:
    assert fitted("run", "-q", "--max-rejects", "1", stdin=RAGGED).returncode == 3
    assert fitted("run", "-q", "--max-rejects", "50%", stdin=RAGGED).returncode == 0
    assert fitted("create", "-q", "--max-rejects", "some", stdin=RAGGED).returncode == 2


@pytest.mark.parametrize("command", ["create", "run"])
def test_strict_stops_at_the_first_rejected_row_and_keeps_what_went_before(fitted: Cli, command: str) -> None:
    done = fitted(command, "--strict", stdin=RAGGED)
    assert done.returncode == 3
    assert done.stderr.endswith(
        "\nerror: stopped at a rejected row, as --strict asks; mend it and run the same again\n"
    )
    assert done.stderr.count("rejected: line") == 1
    assert rows(fitted.db, "select external_id from tickets") == [("1",)]
    assert fitted(command, "--strict", stdin=TICKETS).returncode == 0


@pytest.mark.parametrize("command", ["create", "run"])
def test_strict_ends_its_run_before_the_database_is_closed(fitted: Cli, command: str) -> None:
    assert fitted("create", "-q", stdin=TICKETS).returncode == 0
    done = fitted(command, "--strict", stdin=RAGGED)
    assert done.stderr.splitlines()[-1].startswith("error: stopped at a rejected row")
    latest, *_ = json.loads(fitted("runs", "-o", "json").stdout)
    assert (latest["kind"], latest["exit_code"]) == (command, 3)
    assert latest["ended_at"] is not None


def test_limit_and_dry_run(cli: Cli) -> None:
    assert len(cli("create", "--limit", "2", stdin=TICKETS).stdout.splitlines()) == 2
    done = cli("create", "--dry-run", "--source", "x", "--rejects", "bad.csv", stdin=many(10))
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["external_id"] for r in shown] == ["B-0", "B-1", "B-2"]
    assert all(r["ticket_id"] is None for r in shown)
    assert "subject ← subject" in done.stderr
    assert done.stderr.endswith("\n10 tickets, 0 rejected\nnothing was stored (--dry-run)\n")
    assert rows(cli.db, "select count(*) from tickets") == [(2,)]
    assert not (cli.folder / "bad.csv").exists()


@pytest.mark.parametrize("command", ["create", "run"])
def test_a_dry_run_reads_all_rows_and_ends_as_the_real_one(cli: Cli, command: str) -> None:
    text = many(10) + "1,fine,\n2\n3,short\n4,more than,there,are columns\n"
    done = cli(command, "--dry-run", stdin=text)
    assert (done.returncode, len(done.stdout.splitlines())) == (3, 12 if command == "run" else 3)
    assert done.stderr.count("rejected: line") == 2
    assert "\n12 tickets, 2 rejected\n" in done.stderr
    assert cli(command, "--dry-run", "-q", "--max-rejects", "2", stdin=text).returncode == 0
    strict = cli(command, "--dry-run", "--strict", stdin=text)
    assert (strict.returncode, strict.stderr.count("rejected: line")) == (3, 1)


@pytest.mark.parametrize("command", ["create", "run"])
def test_a_dry_run_finds_ids_that_come_twice(fitted: Cli, command: str) -> None:
    text = "id,subject\n1,Refund\n2,Login\n1,Refund\n2,Log out\n2,Login\n2,Log out\n,Refund\n,Refund\n"
    done = fitted(command, "--dry-run", "-o", "id", stdin=text)
    assert (done.returncode, done.stderr.count("is already in this input, with another text")) == (3, 2)
    assert "\n4 tickets, 2 repeated, 2 rejected\n" in done.stderr
    stored = fitted("create", "-o", "id", stdin=text)
    assert (stored.returncode, stored.stderr.splitlines()[-1]) == (3, "4 created, 0 updated, 2 unchanged, 2 rejected")
    rejected = [[line for line in d.stderr.splitlines() if line.startswith("rejected")] for d in (done, stored)]
    assert rejected[0] == rejected[1]


@pytest.mark.parametrize("command", ["create", "run"])
def test_a_dry_run_finds_verdicts_that_are_no_category(fitted: Cli, command: str) -> None:
    text = "id,subject,verdict\n1,Refund,Sales\n2,Login,billing\n1,Refund,Billing\n2,Login,Sales\n"
    done, stored = (fitted(command, *given, "--map", "verdict=verdict", stdin=text) for given in (["--dry-run"], []))
    assert (done.returncode, stored.returncode) == (3, 3)
    assert "\n2 tickets, 2 rejected\n" in done.stderr
    rejected = [[line for line in d.stderr.splitlines() if line.startswith("rejected")] for d in (done, stored)]
    assert rejected[0] == rejected[1]
    assert "line 5: no category" in rejected[0][1]


def test_a_dry_run_makes_no_database(cli: Cli) -> None:
    assert cli("create", "--dry-run", stdin=TICKETS).returncode == 0
    assert not cli.db.exists()


def test_map_names_what_is_there(cli: Cli) -> None:
    for mapped, reason in (
        ("subject=Betreff", "its columns are Id, Subject, Body"),
        ("title=Subject", "the fields are subject"),
        ("subject", 'has no "="'),
        ("category=My team", "--map verdict='My team' takes it as people's decisions, which are sent; triage learn"),
    ):
        done = cli("create", "--map", mapped, stdin=TICKETS)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(r"error: [^\n]+\n", done.stderr)
        assert reason in done.stderr


def test_options_of_reading_that_cannot_be(cli: Cli) -> None:
    for option in (("--format", "xlsx"), ("--encoding", "klingon"), ("--delimiter", "ab")):
        done = cli("create", *option, stdin=TICKETS)
        assert done.returncode == 2
        assert ERROR.fullmatch(done.stderr)
        assert option[1] in done.stderr


def test_a_file_that_cannot_be_read(cli: Cli) -> None:
    for name in ("none.csv", "."):
        done = cli("create", name)
        assert done.returncode == 2
        assert ERROR.fullmatch(done.stderr)
        assert name in done.stderr


# -- configuration


def test_all_mistakes_of_a_routing_map_are_told_with_line_and_way_out(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(
        "categories: [{name: Billing}, {name: Technical}]\n"
        "destinations:\n  files: {type: file, path: q.jsonl}\n"
        "routes:\n  Biling: files\n  Technical: fils\n"
    )
    for command in (("list",), ("run",), ("config", "check")):
        done = cli(*command, stdin=TICKETS)
        assert (done.returncode, done.stdout) == (2, "")
        assert 'config.yaml:5: routes.Biling: no category "Biling"; did you mean "Billing"?' in done.stderr
        assert 'config.yaml:6: routes.Technical: no destination "fils"; did you mean "files"?' in done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert "2 mistakes" in done.stderr
    done = cli("list", "-o", "json")
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "config"
    assert not cli.db.exists()


def test_a_yaml_syntax_error_is_told_with_its_line(cli: Cli) -> None:
    (cli.folder / "broken.yaml").write_text("categories:\n  - name: [Billing\nroutes: }\n")
    done = cli("list", "--config", "broken.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("broken.yaml:3: ")
    assert "Traceback" not in done.stderr
    done = cli("list", "--config", "none.yaml")
    assert done.returncode == 2
    assert ERROR.fullmatch(done.stderr)


# -- databases


def test_a_database_that_is_none_is_left_as_it_is(cli: Cli) -> None:
    file = cli.folder / "notes.txt"
    file.write_text("this is no database, but somebody's notes\n" * 50)
    for command in (("list",), ("create",), ("run",), ("logs",), ("stats",)):
        done = cli(*command, "--db", "notes.txt", stdin=TICKETS)
        assert (done.returncode, done.stdout) == (2, "")
        assert ERROR.fullmatch(done.stderr.splitlines(keepends=True)[-1])
        assert "notes.txt" in done.stderr
    assert file.read_text() == "this is no database, but somebody's notes\n" * 50


def test_a_database_in_a_place_that_cannot_be(cli: Cli) -> None:
    (cli.folder / "file").write_text("x")
    (cli.folder / "folder").mkdir()
    for place in ("file/triage.db", "folder"):
        done = cli("list", "--db", place)
        assert (done.returncode, done.stdout) == (2, "")
        assert ERROR.fullmatch(done.stderr)
        assert place.split("/", maxsplit=1)[0] in done.stderr


def test_a_newer_schema_is_refused_and_untouched(cli: Cli) -> None:
    cli("create", "-q", stdin=TICKETS)
    rows(cli.db, "pragma user_version = 99")
    before = cli.db.read_bytes()
    for command in (("list",), ("create",), ("run",)):
        done = cli(*command, stdin=TICKETS)
        assert (done.returncode, done.stdout) == (2, "")
        assert "newer triage" in done.stderr
        assert "install a newer triage: git pull in a clone" in done.stderr
    assert cli.db.read_bytes() == before


def test_a_server_that_is_not_there_is_exit_6_and_no_password_is_shown(cli: Cli) -> None:
    done = cli("list", "--db", "postgresql://me:hunter2@127.0.0.1:9/triage")
    assert done.returncode == 6
    assert ERROR.fullmatch(done.stderr)
    assert "hunter2" not in done.stderr


# -- a full disk


def limited(cli: Cli, size: int, *args: str) -> "subprocess.Popen[bytes]":
    """Start a command none of whose files can be longer than so many bytes.

    It writes no bytecode: Python keeps what it could write of it, and no later process could import the module.
    """
    cli.env["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        return cli.start(
            *args,
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)),
        )
    finally:
        del cli.env["PYTHONDONTWRITEBYTECODE"]


@pytest.mark.parametrize("size", [40_000, 400_000, 900_000])
def test_a_full_disk_is_exit_6_and_the_same_command_finishes_later(cli: Cli, size: int) -> None:
    text = many(3000)
    (cli.folder / "in.csv").write_text(text)
    with limited(cli, size, "create", "-q", "in.csv") as process:
        assert process.stderr is not None
        stderr = process.stderr.read().decode()
    assert process.returncode == 6
    assert ERROR.fullmatch(stderr)
    assert "run the same command again" in stderr
    if rows(cli.db, "select name from sqlite_master where name = 'tickets'"):
        kept = rows(cli.db, "select count(*) from tickets")[0][0]
        assert kept < 3000
        assert is_whole(cli.db)
    assert cli("create", "-q", "in.csv").returncode == 0
    assert rows(cli.db, "select count(*), count(distinct external_id) from tickets") == [(3000, 3000)]
    assert is_whole(cli.db)


def test_a_full_disk_during_run_loses_nothing(fitted: Cli) -> None:
    (fitted.folder / "in.csv").write_text(many(3000))
    with limited(fitted, 900_000, "run", "-q", "in.csv") as process:
        assert process.stderr is not None
        stderr = process.stderr.read().decode()
    assert process.returncode == 6
    assert "Traceback" not in stderr
    assert is_whole(fitted.db)
    assert fitted("run", "-q", "in.csv").returncode == 0
    assert rows(fitted.db, "select status, count(*) from tickets group by 1") == [("routed", 3000)]
    assert rows(fitted.db, "select count(*), count(distinct ticket_id) from deliveries") == [(3000, 3000)]
    assert is_whole(fitted.db)


def test_a_backup_that_finds_the_disk_full_leaves_nothing_and_is_made_by_the_same_command(cli: Cli) -> None:
    assert cli("create", "-q", stdin=many(1000)).returncode == 0
    with limited(cli, 100_000, "db", "backup", "copy.db") as process:
        assert process.stderr is not None
        stderr = process.stderr.read().decode()
    assert process.returncode == 6
    assert ERROR.fullmatch(stderr)
    assert "cannot write copy.db: " in stderr
    assert "run the same command again" in stderr
    assert not list(cli.folder.glob("copy.db*"))
    assert cli("db", "backup", "copy.db").returncode == 0
    assert cli("audit", "verify", "--db", "copy.db").returncode == 0


def test_a_backup_is_as_private_as_the_database_and_there_only_when_it_is_whole(cli: Cli) -> None:
    assert cli("create", "-q", stdin=many(10)).returncode == 0
    cli.db.chmod(0o600)
    (cli.folder / "copy.db.part").write_text("of one that was killed")
    assert cli("db", "backup", "copy.db").returncode == 0
    assert (cli.folder / "copy.db").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in cli.folder.glob("copy.db*")) == ["copy.db", "copy.db.head"]


def test_a_first_configuration_that_finds_the_disk_full_is_not_left_half_written(cli: Cli) -> None:
    with limited(cli, 100, "config", "init") as process:
        assert process.stderr is not None
        assert "cannot write config.yaml: " in process.stderr.read().decode()
    assert process.returncode != 0
    assert cli("config", "init").returncode == 0
