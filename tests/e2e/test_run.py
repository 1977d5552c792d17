"""`triage run`: rows in are rows out, the input's own cells untouched, seven columns added."""

import csv
import io
import json
import re
import string
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.commands import TICKETS, many, rows
from tests.support.remotes import RemoteCli

ADDED = [
    "triage_ticket_id", "triage_category", "triage_suggestion", "triage_confidence", "triage_status",
    "triage_routed_to", "triage_error",
]  # fmt: skip


def parsed(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def test_rows_in_are_rows_out_in_order_with_seven_columns(fitted: Cli) -> None:
    done = fitted("run", "-o", "csv", stdin=TICKETS)
    came, went = parsed(TICKETS), parsed(done.stdout)
    assert went[0] == came[0] + ADDED
    assert [row[: len(came[0])] for row in went[1:]] == came[1:]
    assert [row[6] for row in went[1:]] == ["Billing", "Technical", "General"]
    assert [row[9:] for row in went[1:]] == [["routed", place, ""] for place in ("Billing", "Technical", "General")]
    assert [row[5] for row in went[1:]] == [
        row[0] for row in rows(fitted.db, "select ticket_id from tickets order by external_id")
    ]
    assert done.stderr.endswith("\n3 created, 0 updated, 0 unchanged, 0 rejected; 3 routed, 0 need review, 0 failed\n")
    assert "\r" not in done.stdout


def test_columns_have_the_names_that_other_commands_give_them(fitted: Cli) -> None:
    chosen = ("--columns", "external_id,category,extra.plan,triage_status,routed_to", "-o", "csv")
    given = "id,description,plan,category\n1,I was charged twice this month please refund it,gold,mine\n2,,,\n"
    ran = fitted("run", *chosen, stdin=given)
    assert ran.stdout.splitlines()[1:] == ["1,mine,gold,routed,Billing", ",,,rejected,"]  # the input's come first
    listed = fitted("list", *chosen[:1], chosen[1].replace("triage_", ""), *chosen[2:])
    assert listed.stdout.splitlines()[1:] == ["1,Billing,gold,routed,Billing"]
    assert "in tables that is external_id, or ticket_id where there is none" in fitted("list", "--columns", "id").stderr


def test_plain_cells_are_the_same_bytes(fitted: Cli) -> None:
    """What needs no quotes comes out as it went in, blanks and numbers and all."""
    text = "id,subject,n,when\n1,  spaced out  ,007,2026-1-2\n2,Größe → 漢字 🎫,1e5,\n3,x,-0,N/A\n"
    lines = fitted("run", "-o", "csv", stdin=text).stdout.splitlines()
    assert all(out.startswith(line + ",") for out, line in zip(lines, text.splitlines(), strict=True))


def test_quoted_cells_parse_back_equal(fitted: Cli) -> None:
    cells = [
        'say "hi"',
        "a,b",
        "line one\nline two",
        "line one\r\nline two",
        "one\rtwo",
        "'",
        "\t tab",
        "",
        " ",
        "=1+1",
        '"',
    ]
    text = io.StringIO(newline="")
    csv.writer(text).writerows(
        [["id", "subject", "note"], *([str(n), f"hello {n}", cell] for n, cell in enumerate(cells))]
    )
    went = parsed(fitted("run", "-o", "csv", stdin=text.getvalue()).stdout)
    assert [row[2] for row in went[1:]] == cells


def test_headers_are_kept_as_they_are_even_twice_or_empty(fitted: Cli) -> None:
    text = "id,subject,Note,Note,, Odd \n1,hello,a,b,c,d\n"
    went = parsed(fitted("run", "-o", "csv", stdin=text).stdout)
    assert went[0] == ["id", "subject", "Note", "Note", "", " Odd ", *ADDED]
    assert went[1][:6] == ["1", "hello", "a", "b", "c", "d"]
    record = json.loads(fitted("run", "-o", "jsonl", stdin=text).stdout)
    assert list(record)[:6] == ["id", "subject", "Note", "Note (2)", "column 5", "Odd"]


def test_rejected_rows_stand_in_their_place(fitted: Cli) -> None:
    text = 'id,subject\n1,fine\n2\n3,fine too,extra\n4,"open\n5,last\n'
    done = fitted("run", "-o", "csv", stdin=text)
    went = parsed(done.stdout)[1:]
    assert done.returncode == 3
    assert [row[0] for row in went] == ["1", "2", "3", '4,"open\n', "5"]
    assert [row[6] for row in went if row[6] == "rejected"] == ["rejected"] * 3
    assert all(len(row) == 9 for row in went)
    assert [bool(row[2]) for row in went] == [True, False, False, False, True]
    assert "extra ones hold text" in went[2][8]
    assert "2 created, 0 updated, 0 unchanged, 3 rejected" in done.stderr


def test_many_rows_keep_their_order_across_chunks(fitted: Cli) -> None:
    text = many(1300)
    went = parsed(fitted("run", "-q", "-o", "csv", stdin=text).stdout)
    assert [row[0] for row in went] == [row[0] for row in parsed(text)]


def test_the_same_file_twice_gives_the_same_output(fitted: Cli) -> None:
    for output in ("csv", "jsonl", "json"):
        first = fitted("run", "-o", output, stdin=TICKETS)
        again = fitted("run", "-o", output, stdin=TICKETS)
        assert again.stdout == first.stdout
        assert again.stderr.endswith(
            "\n0 created, 0 updated, 3 unchanged, 0 rejected; 0 routed, 0 need review, 0 failed; as before: 3 routed\n"
        )
    assert json.loads(fitted("runs", "last", "-o", "json").stdout)["counts"] == {"unchanged": 3}
    assert rows(fitted.db, "select count(*) from deliveries") == [(3,)]
    assert rows(fitted.db, "select count(*) from classifications") == [(3,)]


def test_a_row_twice_in_one_input_is_answered_twice(fitted: Cli) -> None:
    went = parsed(fitted("run", "-o", "csv", stdin="id,subject\n1,refund my invoice\n1,refund my invoice\n").stdout)
    assert went[1] == went[2]
    went = parsed(fitted("run", "-o", "csv", stdin="subject\nrefund me\nrefund me\n").stdout)
    assert went[1][1] != went[2][1]
    assert rows(fitted.db, "select count(*) from tickets") == [(3,)]


def test_an_unsure_answer_is_a_suggestion(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text(
        f"database: {fitted.db}\nclassifiers: {{local: {{type: local, min_confidence: 1.0}}}}\n"
    )
    done = fitted("run", "-o", "jsonl", stdin=TICKETS)
    first = json.loads(done.stdout.splitlines()[0])
    assert done.returncode == 0
    assert (first["triage_status"], first["triage_category"], first["triage_suggestion"]) == (
        "needs_review",
        None,
        "Billing",
    )
    assert first["triage_routed_to"] is None
    assert 0 < first["triage_confidence"] < 1
    assert done.stderr.endswith("; 0 routed, 3 need review, 0 failed\n")


def test_jsonl_and_json(fitted: Cli) -> None:
    lines = [json.loads(line) for line in fitted("run", "-o", "jsonl", stdin=TICKETS).stdout.splitlines()]
    assert list(lines[0]) == ["Id", "Subject", "Body", "Customer", "Priority", *ADDED]
    assert lines[0]["triage_error"] is None
    assert lines[0]["triage_confidence"] > 0.6
    assert json.loads(fitted("run", "-o", "json", stdin=TICKETS).stdout) == lines
    ids = fitted("run", "-o", "id", stdin=TICKETS).stdout.split()
    assert ids == [line["triage_ticket_id"] for line in lines]
    shown = fitted("run", "-o", "table", stdin=TICKETS).stdout
    assert all(line["Id"] in shown for line in lines)


def test_json_in(fitted: Cli) -> None:
    items = [
        {"id": "1", "subject": "refund my invoice", "tags": ["a", "b"], "n": 3},
        {"id": "2", "subject": "it crashes", "when": None},
        {"nothing": "here"},
    ]
    for text in (json.dumps(items), "".join(json.dumps(item) + "\n" for item in items)):
        done = fitted("run", "-o", "jsonl", stdin=text)
        went = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == 3
        assert [r["triage_status"] for r in went] == ["routed", "routed", "rejected"]
        assert [r["subject"] for r in went[:2]] == ["refund my invoice", "it crashes"]
        assert parsed(fitted("run", "-o", "csv", stdin=text).stdout)[0][-7:] == ADDED


def test_what_run_printed_is_an_input_again_and_comes_out_the_same(fitted: Cli) -> None:
    """The seven columns that it added are renewed, not added once more."""
    first = {output: fitted("run", "-q", "-o", output, stdin=TICKETS).stdout for output in ("csv", "json", "jsonl")}
    for output, text in first.items():
        for given in first.values():
            done = fitted("run", "-o", output, stdin=given)
            assert (done.returncode, done.stdout) == (0, text)
            assert "\n0 created, 0 updated, 3 unchanged" in done.stderr
    fitted("verdict", "A-1", "General", "-q")
    again = parsed(fitted("run", "-q", "-o", "csv", stdin=first["csv"]).stdout)
    assert again[1][-7:-3] == [parsed(first["csv"])[1][-7], "General", "", "1.0"]
    own = first["csv"].replace("Priority,", "Priority,triage_status,", 1)
    own = re.sub("(?<=high,)|(?<=urgent,)|(?<=low,)", "mine,", own)
    kept = parsed(fitted("run", "-q", "-o", "csv", stdin=own).stdout)
    assert [row[5] for row in kept] == ["triage_status", "mine", "mine", "mine"]
    assert [row[6:] for row in kept] == [row[5:] for row in again]


@pytest.mark.parametrize(
    "given", ["id,subject,triage_status\n1,refund me,mine\n", '{"id": 1, "subject": "refund me", "triage_status": 1}']
)
def test_a_column_of_the_inputs_own_is_never_overwritten(fitted: Cli, given: str) -> None:
    for output in ("json", "jsonl"):
        done = fitted("run", "-o", output, stdin=given)
        assert (done.returncode, done.stdout) == (2, "")
        assert json.loads(done.stderr.splitlines()[-1])["error"]["message"] == (
            'the input has a column "triage_status" of its own, which run adds'
        )
    assert rows(fitted.db, "select count(*) from tickets") == [(0,)], "before any work"
    done = fitted("run", "-o", "csv", stdin=given)
    header, row = parsed(done.stdout)
    assert (header[2], row[2] in ("mine", "1"), header[3:], row[7]) == ("triage_status", True, list(ADDED), "routed")
    assert fitted("run", "-q", stdin=given).returncode == 0


def test_two_files_of_the_same_columns_are_one_output(fitted: Cli) -> None:
    header, one, two, three = TICKETS.splitlines(keepends=True)
    (fitted.folder / "a.csv").write_text(header + one + two)
    (fitted.folder / "b.csv").write_text(header + three)
    assert [row[0] for row in parsed(fitted("run", "a.csv", "b.csv", "-o", "csv").stdout)] == [
        "Id",
        "A-1",
        "A-2",
        "A-3",
    ]


def test_files_of_different_columns_are_united_in_csv(fitted: Cli) -> None:
    (fitted.folder / "a.csv").write_text("Id,Subject,,Note,Note\nA-1,refund me,x,one,two\nA-2\n")
    (fitted.folder / "b.jsonl").write_text('{"Note": "three", "subject": "bad invoice", "id": "9"}\n{"id": "10"}\n')
    done = fitted("run", "a.csv", "b.jsonl", "-o", "csv")
    header, *went = parsed(done.stdout)
    assert done.returncode == 3
    assert header == ["Id", "Subject", "column 3", "Note", "Note (2)", "subject", "id", *ADDED]
    assert [row[:7] for row in went] == [
        ["A-1", "refund me", "x", "one", "two", "", ""],
        ["A-2", "", "", "", "", "", ""],
        ["", "", "", "three", "", "bad invoice", "9"],
        ["", "", "", "", "", "", "10"],
    ]
    assert [row[11] for row in went] == ["routed", "rejected", "routed", "rejected"]
    again = fitted("run", "-q", "-o", "csv", stdin=done.stdout)
    assert parsed(again.stdout)[0] == header
    assert len(fitted("run", "a.csv", "b.jsonl", "-o", "jsonl").stdout.splitlines()) == 4


@pytest.mark.parametrize("output", ["csv", "jsonl", "json", "table"])
def test_the_columns_of_a_run_on_another_database_are_never_overwritten(fitted: Cli, output: str) -> None:
    given = fitted("run", "-q", "-o", "csv" if output == "table" else output, stdin=TICKETS).stdout
    for arguments in (("-",), ("-", "--dry-run")):
        done = fitted("run", *arguments, "-o", output, "--db", "other.db", stdin=given)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert "of a run on another database" in done.stderr
        assert "--prefix triage2_" in done.stderr
    assert not (fitted.folder / "other.db").exists() or rows(fitted.folder / "other.db", "select * from tickets") == []
    if output == "table":
        return
    second = ["run", "-q", "-o", output, "--db", "other.db", "--prefix", "b_"]
    done = fitted(*second, stdin=given)
    assert done.returncode == 0
    if output == "csv":
        assert parsed(done.stdout)[0] == [*parsed(given)[0], *(name.replace("triage_", "b_") for name in ADDED)]
        assert [row[:12] for row in parsed(done.stdout)] == parsed(given)
    else:
        went, came = (
            json.loads(f"[{','.join(x.splitlines())}]" if output == "jsonl" else x) for x in (done.stdout, given)
        )
        assert [{**row, **each} for row, each in zip(went, came, strict=True)] == went
    (extra,) = rows(fitted.folder / "other.db", "select extra from tickets where external_id = 'A-1'")[0]
    assert json.loads(extra)["triage_category"] == "Billing"
    assert fitted(*second, stdin=done.stdout).stdout == done.stdout, "its own columns are renewed"
    refused = fitted("run", "-o", output, "--prefix", "b_", stdin=done.stdout)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--prefix b2_" in refused.stderr


def test_rows_of_another_database_behind_own_ones_end_the_run_before_they_are_printed(fitted: Cli) -> None:
    own = fitted("run", "-q", "-o", "csv", stdin=TICKETS).stdout
    foreign = fitted(
        "run", "-q", "-o", "csv", "--db", "other.db", stdin="Id,Subject,Body,Customer,Priority\n7,it crashes,,,\n"
    )
    done = fitted("run", "-o", "csv", stdin=own + foreign.stdout.partition("\n")[2])
    assert done.returncode == 2
    assert "of a run on another database" in done.stderr
    assert parsed(done.stdout)[:4] == parsed(own)
    assert foreign.stdout.splitlines()[1] not in done.stdout


def test_a_remote_that_does_not_know_the_ids_overwrites_nothing(tmp_path: Path) -> None:
    cli = RemoteCli(tmp_path)
    cli.serve()
    try:
        given = cli("run", "-q", "-o", "csv", stdin=TICKETS).stdout
        assert cli("run", "-q", "-o", "csv", stdin=given).stdout == given
        foreign = given.replace(parsed(given)[1][5], "01a22b27-86c4-7000-8e5a-ab4d677bf38a")
        refused = cli("run", "-o", "csv", stdin=foreign)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "--prefix triage2_" in refused.stderr
        named = parsed(cli("run", "-q", "-o", "csv", "--prefix", "b_", stdin=foreign).stdout)
        assert [row[:12] for row in named] == parsed(foreign)
    finally:
        cli.close()


def test_a_prefix_that_begins_no_name_is_refused(fitted: Cli) -> None:
    for prefix in ("", "a b", "x" * 41):
        assert fitted("run", "--prefix", prefix, stdin=TICKETS).returncode == 2


FORMULAS = (
    "=1+1", "+1", "-1", "@SUM(A1)", "\t1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201", "  =1", "\u00a0=1",
)  # fmt: skip
HARMLESS = ("a=1", "1-1", "x@y.z", "", "plain")


def test_excel_has_bom_crlf_and_disarmed_formulas(fitted: Cli) -> None:
    text = io.StringIO(newline="")
    cells = [*FORMULAS, *HARMLESS]
    csv.writer(text).writerows(
        [["id", "subject", "note"], *([str(n), f"hello {n}", cell] for n, cell in enumerate(cells))]
    )
    plain = parsed(fitted("run", "-o", "csv", stdin=text.getvalue()).stdout)
    assert [row[2] for row in plain[1:]] == cells
    for flags in (("--excel",), ("--excel", "-o", "csv"), ("--excel", "-q")):
        done = fitted("run", *flags, stdin=text.getvalue()).stdout
        assert done.startswith("\ufeffid,subject,note,")
        went = parsed(done.removeprefix("\ufeff"))
        assert [row[2] for row in went[1:]] == [*(f"'{cell}" for cell in FORMULAS), *HARMLESS]
        assert done.count("\r\n") >= len(cells) + 1
        assert done.endswith("\r\n")


def test_excel_is_csv_and_nothing_else(fitted: Cli) -> None:
    for command in ("run", "create", "list", "logs"):
        done = fitted(command, "--excel", "-o", "json", stdin=TICKETS)
        assert (done.returncode, done.stdout) == (2, "")
    assert rows(fitted.db, "select count(*) from tickets") == [(0,)]


def test_excel_on_other_commands(fitted: Cli) -> None:
    fitted("run", "-q", stdin="id,subject\n=1,@refund\n")
    for command in (("list",), ("logs",), ("classify", "=1"), ("route", "=1"), ("create",)):
        done = fitted(*command, "--excel", stdin="id,subject\n=1,@refund\n").stdout
        assert done.startswith("\ufeff")
        assert done.endswith("\r\n")
        if command != ("logs",):
            (row,) = csv.DictReader(io.StringIO(done.removeprefix("\ufeff"), newline=""))
            assert (row["external_id"], row["subject"]) == ("'=1", "'@refund")


@pytest.mark.parametrize(
    ("delimiter", "encoding", "end"), [(";", "cp1252", "\n"), (",", "cp1252", "\r\n"), (";", "utf-8", "\n")]
)
def test_an_export_that_a_spreadsheet_saved_again_is_the_same_tickets(
    fitted: Cli, delimiter: str, encoding: str, end: str
) -> None:
    fitted("create", "-q", stdin="id,subject\n1,=1+1 für dich\n")
    made = parsed(fitted("list", "--excel").stdout.removeprefix("\ufeff"))
    saved = io.StringIO(newline="")
    csv.writer(saved, delimiter=delimiter, lineterminator=end).writerows(made)
    (fitted.folder / "saved.csv").write_bytes(saved.getvalue().encode(encoding))
    assert "0 updated, 1 unchanged" in fitted("create", "saved.csv").stderr


def test_a_header_that_is_a_formula_is_disarmed_too(fitted: Cli) -> None:
    done = fitted("run", "--excel", stdin="id,subject,=HYPERLINK(1)\n1,x,y\n").stdout
    assert parsed(done.removeprefix("\ufeff"))[0][2] == "'=HYPERLINK(1)"


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_output_is_comma_csv_whatever_came_in(fitted: Cli, delimiter: str) -> None:
    text = TICKETS.replace(",", delimiter)
    went = parsed(fitted("run", "-o", "csv", stdin=text).stdout)
    assert [row[:5] for row in went] == parsed(TICKETS)


def test_limit_reads_no_further(fitted: Cli) -> None:
    went = parsed(fitted("run", "--limit", "2", "-o", "csv", stdin=TICKETS).stdout)
    assert [row[0] for row in went[1:]] == ["A-1", "A-2"]
    assert rows(fitted.db, "select count(*) from tickets") == [(2,)]


def test_every_printable_character_comes_back(fitted: Cli) -> None:
    cell = string.printable.replace("\r", "").replace("\n", "").replace("\x0b", "").replace("\x0c", "")
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["id", "subject"], ["1", cell]])
    assert parsed(fitted("run", "-o", "csv", stdin=text.getvalue()).stdout)[1][1] == cell


def test_what_run_printed_is_the_same_tickets_where_it_is_read_again(fitted: Cli) -> None:
    printed_ = fitted("run", "-o", "csv", stdin="subject,description\nRefund,pleas refnd my invoice\n").stdout
    (before,) = map(json.loads, fitted("list").stdout.splitlines())
    assert "1 unchanged" in fitted("create", stdin=printed_).stderr
    assert "1 updated" in fitted("create", stdin=printed_.replace("pleas refnd", "please refund")).stderr
    (after,) = map(json.loads, fitted("list").stdout.splitlines())
    assert (after["ticket_id"], after["extra"]) == (before["ticket_id"], {})
    assert after["description"] == "please refund my invoice"


def test_a_dry_run_shows_what_would_be_stored_and_does_nothing(cli: Cli) -> None:
    done = cli("run", "--dry-run", "-o", "csv", stdin=TICKETS)
    assert [row[1] for row in parsed(done.stdout)[1:]] == [row[0] for row in parsed(TICKETS)[1:]]
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "nothing was stored (--dry-run)")
    assert not cli.db.exists()


DOWN = """destinations: {down: {type: command, run: ["false"], retry_schedule: [0], max_attempts: 2}}
routes: {Billing: down}
"""
DEAD = re.compile(r"undeliverable: [^\n]*\(1\)\n")


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_dead_letter_of_what_an_earlier_run_left_is_told_and_counted(tmp_path: Path, is_remote: bool) -> None:
    """As `route` tells it: a nightly job hears of it, though it is no row of the input."""
    cli = RemoteCli(tmp_path) if is_remote else Cli(tmp_path)
    home = cli.server if isinstance(cli, RemoteCli) else cli
    (home.folder / "config.yaml").write_text(DOWN)
    if isinstance(cli, RemoteCli):
        cli.serve()
    try:
        first = cli("run", "-q", "--map", "verdict=v", stdin="id,subject,v\n1,refund,Billing\n")
        assert (first.returncode, first.stderr) == (0, "")
        done = cli("run", "-o", "csv", "--map", "verdict=v", stdin="id,subject,v\n2,invoice,Billing\n")
        assert done.returncode == 3, done.stderr
        assert [row[0] for row in parsed(done.stdout)] == ["id", "2"], "rows in are rows out"
        assert DEAD.search(done.stderr), done.stderr
        assert done.stderr.endswith(
            "1 created, 0 updated, 0 unchanged, 0 rejected; "
            "0 routed, 0 need review, 0 failed, 1 undeliverable, 1 pending\n"
        )
        record = json.loads(home("runs", "last", "-o", "json").stdout)
        assert (record["exit_code"], record["counts"]["undeliverable"]) == (3, 1)
        quiet = cli("run", "-q", "--map", "verdict=v", stdin="id,subject,v\n3,invoice,Billing\n")
        assert quiet.returncode == 3
        assert quiet.stderr.startswith("undeliverable: ")
    finally:
        cli.close()
