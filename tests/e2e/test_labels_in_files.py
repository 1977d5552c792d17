"""Labels that a file holds: they are noticed by an import, and learned from on a machine without a database."""

import json

import pytest

from tests.support import labelled_tickets as labelled
from tests.support.cli import Cli
from tests.support.commands import rows

TEAMS = "id,subject,{0},shop\n1,refund,Billing,General\n2,crash,technical,General\n3,hello,Nobody,General\n"


@pytest.mark.parametrize("command", ["create", "run"])
@pytest.mark.parametrize(("column", "option"), [("Team", "verdict=Team"), ("Issue type", "'verdict=Issue type'")])
def test_a_column_of_labels_is_named_with_the_option_that_reads_it(
    fitted: Cli, command: str, column: str, option: str
) -> None:
    note = f"note: most of {column} are names of categories; --map {option} takes them as verdicts"
    table = TEAMS.format(column)
    assert note in fitted(command, "--dry-run", stdin=table).stderr.splitlines()
    assert note not in fitted(command, "-q", stdin=table).stderr
    done = fitted(command, "--map", f"verdict={column}", stdin=table)
    assert (done.returncode, "names of categories" in done.stderr) == (3, False)
    assert rows(fitted.db, "select count(*) from tickets where verdict = 1") == [(2,)]


@pytest.mark.parametrize(
    "table",
    [
        "id,subject,shop\n1,refund,General\n2,crash,General\n",  # the same word in each row says nothing
        "id,subject,team\n1,refund,Billing\n2,crash,Technical\n3,a,b\n4,c,d\n",
        "id,subject,team\n1,refund,\n",
    ],
)
def test_other_columns_are_no_labels(cli: Cli, table: str) -> None:
    assert "names of categories" not in cli("create", stdin=table).stderr


def test_one_label_under_its_usual_header_is_one(cli: Cli) -> None:
    assert "--map verdict=Category takes them" in cli("create", stdin="id,subject,Category\n1,refund,Billing\n").stderr


def test_the_columns_of_an_earlier_run_are_no_labels(fitted: Cli) -> None:
    printed = fitted("run", "-o", "csv", stdin="id,subject\n1,refund of the invoice\n2,the app crashes\n").stdout
    assert "names of categories" not in fitted("run", stdin=printed).stderr


@pytest.mark.parametrize("header", ["Team", "label"])
def test_a_labelled_file_is_learned_before_there_is_a_database(cli: Cli, header: str) -> None:
    (cli.folder / "config.yaml").write_text(labelled.CATEGORIES)
    (cli.folder / "teach.csv").write_text(labelled.csv(labelled.rows(8), header))
    if header != "label":
        refused = cli("learn", "teach.csv")
        assert (refused.returncode, cli.db.exists()) == (2, False)
        assert "most of Team are names of categories: --label Team" in refused.stderr
    done = cli("learn", "teach.csv", "--label", header, "-o", "json")
    assert done.returncode == 0, done.stderr
    lesson = json.loads(done.stdout)
    assert (lesson["version"], lesson["labelled"]) == (1, 24)
    assert rows(cli.db, "select count(*) from tickets") == [(0,)]
    nowhere = cli("learn", "teach.csv", "--label", header, "--db", "no/where.db")
    assert (nowhere.returncode, "there is no folder" in nowhere.stderr) == (2, True)


def test_a_labelled_file_is_measured_and_calibrated_before_there_is_a_database(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(labelled.CATEGORIES)
    (cli.folder / "l.csv").write_text(labelled.csv(labelled.rows(12)))
    done = cli("eval", "l.csv", "--calibrate", "-o", "jsonl")
    assert done.returncode == 0, done.stderr
    assert "there is no database" not in done.stderr
    assert cli.db.exists()


def test_without_a_file_there_is_nothing_to_make_a_database_for(cli: Cli) -> None:
    done = cli("learn")
    assert (done.returncode, cli.db.exists()) == (2, False)
    assert "there is no database at" in done.stderr
