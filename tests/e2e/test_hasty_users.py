"""What a hasty user does: mistyped databases, exports that come again, filters that nothing passes."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import triage_cli
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, TICKETS, rows
from triage_cli import domain as dm
from triage_cli.cli import runs
from triage_cli.config import STARTER


def test_looking_makes_no_database_and_says_that_there_is_none(cli: Cli) -> None:
    nothing = f"there is no database at {cli.folder}/typo/t.db"
    for command in ("list", "stats", "logs", "runs"):
        done = cli(command, "--db", "typo/t.db")
        assert done.returncode == 0
        assert done.stderr == f"note: {nothing} yet; triage --db typo/t.db create FILE makes one\n"
        assert cli(command, "-q", "--db", "typo/t.db").stderr == ""
    assert cli("show", "A-1", "--db", "typo/t.db").returncode == 5
    done = cli("db", "backup", "copy.db", "--db", "typo/t.db")
    assert done.returncode == 2
    assert done.stderr == f"error: {nothing}; triage --db typo/t.db create FILE makes one, --db names another\n"
    assert sorted(path.name for path in cli.folder.iterdir()) == []


def test_a_database_in_a_folder_that_is_missing_is_a_mistyped_one(cli: Cli) -> None:
    done = cli("create", "--subject", "Refund?", "--db", "typo/t.db")
    folder = cli.folder / "typo"
    expected = f"error: there is no folder {folder} for a database; make it, or name another path with --db\n"
    assert (done.returncode, done.stderr, folder.exists()) == (2, expected, False)


def test_a_typed_ticket_is_only_shown_by_a_dry_run(cli: Cli) -> None:
    done = cli("create", "--subject", "Refund?", "--dry-run", "-o", "csv")
    assert (done.returncode, done.stderr) == (0, "nothing was stored (--dry-run)\n")
    assert "Refund?" in done.stdout
    assert not cli.db.exists()


def test_json_is_an_array_whatever_stops_the_command(cli: Cli) -> None:
    done = cli("create", "--strict", "-o", "json", stdin=f"{TICKETS}A-4,,,C-4,low\n")
    assert done.returncode == 3
    assert [record["external_id"] for record in json.loads(done.stdout)] == ["A-1", "A-2", "A-3"]
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "rejected"


def test_a_name_that_is_no_utf_8_is_a_name(cli: Cli) -> None:
    odd = os.fsdecode(b"caf\xe9.csv")
    (cli.folder / odd).write_text(TICKETS)
    assert cli("create", "-q", odd).returncode == 0
    assert cli("show", odd).returncode == 5
    for command in (("list", "--search", odd), ("list", "--category", odd), ("logs", "--actor", odd)):
        done = cli(*command)
        assert (done.returncode, done.stdout) == (0, "")
    assert cli("verdict", "A-1", "General", "--note", odd, "-q").returncode == 0
    assert [cli("keys", does, odd).returncode for does in ("revoke", "rotate")] == [5, 5]
    assert cli("create", "-q", "--source", odd, stdin=TICKETS).returncode == 2


@pytest.mark.parametrize("output", ["csv", "json", "jsonl"])
def test_its_own_export_changes_nothing(cli: Cli, output: str) -> None:
    cli("create", "-q", stdin="id,subject,shop\n1,refund me,Graz\n2,crash,\n")
    cli("create", "-q", "--subject", "typed", "--description", "at some millisecond")
    before = cli("list", "-o", output).stdout
    done = cli("create", "-o", "id", stdin=before)
    assert done.stderr.splitlines()[-1] == "0 created, 0 updated, 3 unchanged, 0 rejected"
    assert cli("list", "-o", output).stdout == before


@pytest.mark.parametrize("output", ["csv", "jsonl"])
def test_the_export_of_another_database_keeps_its_ids(cli: Cli, output: str) -> None:
    """They name the tickets in the helpdesk, so a pull doubles none of them, and labels are written back."""
    odd = "zen\u00addesk"  # as any name that --source takes
    cli("create", "-q", "--source", odd, stdin="id,subject\n1,refund me\n2,crash\n")
    typed = cli("create", "--subject", "typed", "-o", "id").stdout.strip()
    exported = cli("list", "-o", output).stdout
    for counts in ("3 created, 0 updated, 0 unchanged", "0 created, 0 updated, 3 unchanged"):
        done = cli("create", "-o", "id", "--db", "other.db", stdin=exported)
        assert done.stderr.splitlines()[-1] == f"{counts}, 0 rejected"
    listed = cli("list", "--db", "other.db", "--columns", "source,external_id", "-o", "tsv").stdout.splitlines()
    assert {*listed[1:]} == {f"{odd}\t1", f"{odd}\t2", f"import\t{typed}"}


@pytest.mark.parametrize("name", ["a\tb", " a", "a" * 81])
def test_what_is_no_name_for_a_source_is_told_with_the_rule(cli: Cli, name: str) -> None:
    rule = "1 to 80 characters, no blank first, and no tab or other control character\n"
    done = cli("create", "--source", name, stdin=TICKETS)
    assert (done.returncode, done.stderr.endswith(f"is no name for a source; use {rule}")) == (2, True)
    kept = {"imports": {"shop": {"columns": ["a"], "map": {"subject": "a"}, "source": name}}}
    (cli.folder / "config.yaml").write_text(json.dumps(kept))
    assert f"imports.shop.source: must have {rule.strip()}" in cli("config", "check").stderr


@pytest.mark.parametrize("piped", [False, True])
def test_other_tickets_under_known_ids_are_noticed_before_anything_is_stored(cli: Cli, *, piped: bool) -> None:
    """The first thousands of rows are as they were, and the others are not."""
    table = "id,subject\n" + "".join(f"{n},text {n}\n" for n in range(6000))
    assert cli("create", "-q", stdin=table).returncode == 0
    (cli.folder / "late.csv").write_text(re.sub(r"(?m)^([3-5]\d{3}|2[5-9]\d\d),.*$", r"\1,another", table))
    for _ in range(2):  # nor does saying it again help
        if piped:
            with (cli.folder / "late.csv").open("rb") as late:
                cat = subprocess.Popen(["cat"], stdin=late, stdout=subprocess.PIPE)
                with cat, cli.start("create", "-q", stdin=cat.stdout) as process:
                    assert process.stderr is not None
                    stderr, code = process.stderr.read().decode(), process.wait(PATIENCE)
        else:
            done = cli("create", "-q", "late.csv")
            stderr, code = done.stderr, done.returncode
        assert code == 2
        assert stderr.startswith(
            'error: 3,500 of 6,000 known ids of source "import" would get the text of another ticket'
        )
        assert "no row was stored; if these are other tickets, give --source NAME" in stderr
    assert rows(cli.db, "select count(*) from tickets where subject = 'another'") == [(0,)]


@pytest.mark.parametrize("number", [3, 9])
@pytest.mark.parametrize("piped", [False, True])
def test_another_small_file_with_the_same_ids_does_not_replace_the_first(cli: Cli, number: int, *, piped: bool) -> None:
    monday, tuesday = (["cannot log in", "login page error", "app crashes"], ["error 500 on save", "password reset"])
    texts = [*monday, *(f"order {word} is late" for word in ("amber", "birch", "cedar", "delta", "ember", "fjord"))]
    others = [
        *tuesday,
        "the app is down",
        *(f"send me invoice {word}" for word in ("one", "two", "six", "ten", "a", "b")),
    ]

    def table(subjects: list[str]) -> str:
        return "No,Title\n" + "".join(f"{n},{subject}\n" for n, subject in enumerate(subjects[:number], 1))

    def done(*options: str) -> subprocess.CompletedProcess[str]:
        (cli.folder / "tue.csv").write_text(table(others))
        return cli("run", *options, stdin=table(others)) if piped else cli("run", *options, "tue.csv")

    assert cli("run", "-q", stdin=table(texts)).returncode == 0
    before = cli("list", "-o", "jsonl").stdout
    refused = done("-q")
    assert refused.returncode == 2
    assert f'{number} of {number} known ids of source "import" would get the text of another ticket' in refused.stderr
    assert "--source NAME; if they are the same ones, --same-tickets" in refused.stderr
    assert cli("list", "-o", "jsonl").stdout == before
    assert f"{number} created, 0 updated" in done("--source", "tuesday", "-o", "id").stderr
    assert f"0 created, {number} updated" in done("--same-tickets", "-o", "id").stderr


def test_a_rejected_row_of_several_inputs_names_its_own(cli: Cli) -> None:
    for name in ("a", "b"):
        (cli.folder / f"{name}.csv").write_text("id,subject\n1,one\n2,\n")
    done = cli("create", "-q", "a.csv", "b.csv")
    assert done.returncode == 3
    assert [line.partition(": line")[0] for line in done.stderr.splitlines()] == ["rejected: a.csv", "rejected: b.csv"]


def test_a_config_of_another_encoding_is_not_passed_over(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_bytes("categories: [Ärger]\n".encode("utf-16"))
    done = cli("list")
    assert done.returncode == 2
    assert "config.yaml:1" in done.stderr


def test_an_export_with_a_row_for_each_message_is_the_same_twice(cli: Cli, tmp_path: Path) -> None:
    table = tmp_path / "messages.csv"
    table.write_text("id,subject\n" + "".join(f"{n},message {m} of {n}\n" for n in range(12) for m in range(3)))
    for command in (["create", str(table)], ["create", str(table)], ["create", "-"], ["run", str(table)]):
        done = cli(*command, stdin=table.read_text() if command[-1] == "-" else "")
        assert done.returncode == 3, done.stderr
        assert "24 rejected" in done.stderr
    assert len(cli("list").stdout.splitlines()) == 12


@pytest.mark.parametrize(
    ("later", "did", "extra"),
    [
        ("id,subject,bar,foo\n1,a,2,1\n", "unchanged", {"foo": "1", "bar": "2"}),
        ("id,subject,bar\n1,a,2\n", "unchanged", {"foo": "1", "bar": "2"}),
        ("id,subject\n1,a\n", "unchanged", {"foo": "1", "bar": "2"}),
        ("id,subject,bar,new\n1,a,3,4\n", "updated", {"foo": "1", "bar": "3", "new": "4"}),
        ("id,subject,foo,bar\n1,a,,2\n", "updated", {"bar": "2"}),
        ("id,subject,foo,bar\n1,a,, \n", "updated", {}),
        ('{"id": 1, "subject": "a", "foo": null}', "updated", {"bar": "2"}),
        ('{"id": 1, "subject": "a"}', "unchanged", {"foo": "1", "bar": "2"}),
    ],
)
def test_a_later_export_changes_the_columns_that_it_has(
    cli: Cli, later: str, did: str, extra: dict[str, object]
) -> None:
    assert cli("create", "-q", stdin="id,subject,foo,bar\n1,a,1,2\n").returncode == 0
    done = cli("create", "-o", "json", stdin=later)
    assert json.loads(done.stdout)[0]["extra"] == extra
    assert f"1 {did}" in done.stderr
    assert "1 unchanged" in cli("create", stdin=later).stderr


def test_what_could_not_be_read_goes_once_it_can(cli: Cli) -> None:
    def extra(priority: str) -> object:
        done = cli("create", "-o", "json", stdin=f"id,subject,priority\n1,a,{priority}\n")
        return json.loads(done.stdout)[0]["extra"]

    assert [extra("purple"), extra(""), extra("purple"), extra("high")] == [
        {"priority": "purple"}, {}, {"priority": "purple"}, {}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("list --category Biling", 'note: there is no category "Biling"; did you mean "Billing"? known are Billing, '),
        (
            "list --destination billing",
            'note: there is no destination "billing"; did you mean "Billing"? known are Billing, Technical, General',
        ),
        ("list --classifier own", 'note: there is no classifier "own"; known are local, verdict'),
        ("list --answer urgency=nw", 'note: there is no urgency "nw"; did you mean "now"? known are now, later'),
        ("list --answer urgency=NOW", ""),
        ("list --answer urgency=now", ""),
        ("list --category billing", ""),
        ("list --classifier local", ""),
        ("logs --action routed", ""),
        ("runs --kind eval", ""),
        ("list --category Biling -q", ""),
    ],
)
def test_a_filter_that_nothing_can_pass_is_told(cli: Cli, args: str, message: str) -> None:
    (cli.folder / "config.yaml").write_text("questions: {urgency: {values: [now, later]}}\n")
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    done = cli(*args.split())
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(message) if message else done.stderr == ""


def test_every_action_and_kind_is_known() -> None:
    package = Path(triage_cli.__file__).parent
    code = "".join(path.read_text() for path in package.rglob("*.py"))
    assert not re.findall(r'(?:\bEvent|\.event|self\._log)\(\s*"\w+"', code)  # a text would be no known action
    assert not {action.name for action in dm.EventAction} - set(re.findall(r"EventAction\.(\w+)", code))
    kinds = re.findall(r'running\(\s*(?:(?:self\._)?store, )?"(\w+)"', code)
    assert set(kinds) <= set(runs.RUN_KINDS)


def test_a_category_is_listed_whatever_its_case(cli: Cli) -> None:
    created = cli("create", "--subject", "x", "-o", "id").stdout.strip()
    assert cli("verdict", created, "billing", "-q").returncode == 0
    for name in ("billing", "BILLING", "Billing"):
        assert cli("list", "--category", name, "-o", "id").stdout.strip() == created


def test_an_empty_priority_is_none_to_list(cli: Cli) -> None:
    done = cli("list", "--priority", "")
    assert (done.returncode, done.stdout) == (2, "")
    assert cli("create", "--subject", "x", "--priority", "").returncode == 0


def test_a_first_configuration_says_which_tickets_it_leaves_behind(cli: Cli) -> None:
    def noted(*args: str, **env: str) -> str:
        (cli.folder / "config.yaml").unlink(missing_ok=True)
        first, *rest = cli("init", *args, **env).stderr.splitlines()
        assert first.startswith("wrote ")
        return "\n".join(rest)

    assert noted() == "", "there is none"
    cli.db.parent.mkdir(parents=True)
    cli("create", "-q", "--subject", "x", "--db", str(cli.db))
    assert noted() == (
        f"note: the tickets stored so far are in {cli.db}; as database: in config.yaml it goes on with them"
    )
    assert cli("list").stderr.startswith(f"note: there is no database at {cli.folder}/triage.db yet")
    assert noted("--db", str(cli.db)) == noted(TRIAGE_DB=str(cli.db)) == "", "these go before any file"
    assert cli("init", "--to", "b.yaml", "-q").stderr == ""
    assert noted("--to", str(cli.db.parent / "config.yaml")) == "", "it is the same"


def test_a_first_configuration_goes_to_stdout_for_a_dash(cli: Cli) -> None:
    done = cli("init", "--to", "-")
    assert (done.returncode, done.stdout, done.stderr) == (0, STARTER, "")
    assert not (cli.folder / "-").exists()
