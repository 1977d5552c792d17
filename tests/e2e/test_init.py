"""`triage init`: from an export to a proven configuration; what it refuses, and what a kill leaves."""

import json
import random
import shutil
import signal
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import labelled_tickets as labelled
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, rows
from tests.support.three_subjects import three_subjects
from tests.support.typed_terminal import Typist


def export(each: int = 110, *, dated: bool = True, told: bool = True) -> str:
    """Return an export with a group, which texts tell or not, beside a person, a status, a priority and a constant."""
    chance, made = random.Random(0), labelled.rows(each)
    chance.shuffle(made)
    lines = ["Number,Description,Assignee,Status,Priority,Brand,Created,Group"]
    for n, (text, label) in enumerate(made):
        group = label if told else chance.choice([*labelled.WORDS])
        created = f"2026-01-{1 + n * 27 // len(made):02} 10:00:00" if dated else ""
        lines.append(f"N-{n},{text},{chance.choice(['Ann', 'Bob'])},closed,high,Acme,{created},{group}")
    lines += [f"R-{n},about the seldom {n} thing,Ann,closed,high,Acme,2026-01-01 10:00:00,Seldom" for n in range(3)]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, str, str]:
    """What `init` makes of an export, as a record, and what it says."""
    cli = Cli(tmp_path_factory.mktemp("init"))
    (cli.folder / "export.csv").write_text(export())
    done = cli("init", "export.csv", "-o", "json")
    assert done.returncode == 0, done.stderr
    return cli, done.stdout, done.stderr


@pytest.fixture
def made(first: tuple[Cli, str, str], cli: Cli) -> Cli:
    """The command line over a folder with that configuration."""
    for path in (*first[0].folder.glob("*.*"),):
        shutil.copy(path, cli.folder / path.name)
    return cli


def test_an_export_becomes_a_proven_configuration(first: tuple[Cli, str, str], made: Cli) -> None:
    record, said = json.loads(first[1]), first[2]
    assert record["column"] == "Group"
    assert record["categories"] == {"Billing": 110, "Technical": 110, "General": 110}
    assert (record["left_out"], record["teaching"], record["proving"], record["by_time"]) == (
        {"Seldom": 3}, 264, 66, True,
    )  # fmt: skip
    assert (record["suspects"], record["confused"]) == (0, None)
    at_ten = record["promises"][-1]
    assert (at_ten["max_error"], at_ten["proven"]) == (0.1, True)
    assert at_ten["sent"] > 0.9
    assert "3 categories of Group, learned from 264 tickets; left out with fewer than 20 tickets: Seldom" in said
    assert "on 66 others (the last fifth): at 5% wrong " in said
    assert "wrote config.yaml; next: triage run NEXT.csv --dry-run" in said
    assert "max_error: 10%" in (made.folder / "config.yaml").read_text()
    database = str(made.folder / "triage.db")
    assert rows(Path(database), "select count(*) from tickets") == [(0,)]
    again = made("run", "export.csv", "-o", "csv", "--db", database)
    assert (again.returncode, again.stdout.count(",history,")) == (0, 330), again.stderr
    assert "note: 330 rows are history that the model has learned from: not stored, and not sent again" in again.stderr
    assert rows(Path(database), "select external_id from tickets order by 1") == [("R-0",), ("R-1",), ("R-2",)]
    (made.folder / "next.csv").write_text("id,description\nX-1,about my ducat and the florin please\n")
    done = made("run", "next.csv", "--dry-run", "--db", database, "-o", "jsonl")
    assert json.loads(done.stdout)["category"] == "Billing"


def test_what_was_taken_back_does_not_come_again(made: Cli) -> None:
    (made.folder / "config.yaml").unlink()
    database = made.folder / "triage.db"
    assert made("undo", "last", "--yes", "--db", str(database)).returncode == 0
    again = made("init", "export.csv")
    assert again.returncode == 0
    assert "note: 330 of these texts were forgotten or taken back, and stay out" in again.stderr
    assert "3 categories of Group, learned from 0 tickets" in again.stderr
    assert "nothing is proven: too few labelled tickets (0)" in again.stderr
    assert "missing" in (made.folder / "config.yaml").read_text()
    assert rows(database, "select count(text) from labelled_texts") == [(0,)]


def test_what_exists_is_not_touched(made: Cli) -> None:
    config = (made.folder / "config.yaml").read_bytes()
    again = made("init", "export.csv")
    assert (again.returncode, "config.yaml exists already; name another path with --to" in again.stderr) == (2, True)
    assert (made.folder / "config.yaml").read_bytes() == config
    (made.folder / "other.csv").write_text(export(60).replace(",Billing", ",Money"))
    versions = "select version, categories, active from versions"
    before = rows(made.folder / "triage.db", versions)
    other = made("init", "other.csv", "--to", "other.yaml", "--max-error", "1%")
    assert other.returncode == 8, other.stderr
    assert "the new database is triage-2.db" in other.stderr
    assert rows(made.folder / "triage.db", versions) == before
    written = (made.folder / "other.yaml").read_text()
    assert "# not proven yet, so everything waits for a person: at least " in written
    assert "max_error: 1%" in written


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("x.yaml",), "x.yaml is no export but a configuration; triage init --to x.yaml writes one there"),
        (("export.csv", "--label", "Nope"), 'no column "Nope"; the columns without a field are '),
        (("export.csv", "--label", "Brand"), "Brand cannot say where tickets went: fewer than two of its values"),
        (("export.csv", "--max-error", "none"), "--max-error none is no share above 0% and up to 50%"),
        (("export.csv", "--to", "no/config.yaml"), "no folder no for config.yaml"),
        (("untold.csv",), "no column says where the tickets went in a way that their texts tell"),
        (("--label", "Group"), "--label is for an export, and none is named"),
        (("export.csv", "--label", "Group", "--topics", "9"), "of a column or of topics, and both are named"),
    ],
)
def test_what_it_cannot_do_is_one_sentence_and_nothing_is_made(cli: Cli, args: tuple[str, ...], said: str) -> None:
    (cli.folder / "export.csv").write_text(export(25))
    (cli.folder / "untold.csv").write_text(export(60, told=False))
    before = sorted(cli.folder.rglob("*"))
    done = cli("init", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert sorted(cli.folder.rglob("*")) == before


def test_without_an_export_it_writes_a_short_configuration_and_reads_no_stdin(cli: Cli) -> None:
    done = cli("init", stdin=export())
    assert done.returncode == 0
    assert "wrote config.yaml; next: edit it" in done.stderr
    assert "name: Billing" in (cli.folder / "config.yaml").read_text()


def test_on_a_terminal_it_shows_what_it_would_learn_and_asks(cli: Cli) -> None:
    (cli.folder / "export.csv").write_text(export(40))
    typist = Typist(cli, "init", "export.csv", columns=200)
    typist.sees("Group has 3 categories: ")
    typist.sees("learn from 96 tickets, prove on 24 that at most 10% of what is sent is wrong, and write config.yaml")
    typist.types("n\r", see="nothing was written")
    assert typist.ends() == 0
    assert [path.name for path in cli.folder.glob("*.*")] == ["export.csv"]


def subjects(folder: Path) -> None:
    """Write an export of three subjects, in which no column says what a ticket is about."""
    texts = "".join(f'T-{n},"{text}"\n' for n, (text, _) in enumerate(three_subjects(90)))
    (folder / "export.csv").write_text(f"id,description\n{texts}")


def test_without_a_column_topics_become_categories_and_nothing_is_proven(cli: Cli) -> None:
    subjects(cli.folder)
    assert "--topics 20 makes categories of topics" in cli("init", "export.csv").stderr
    done = cli("init", "export.csv", "--topics", "3", "--max-error", "10%", "-o", "json")
    assert done.returncode == 8, done.stderr
    record = json.loads(done.stdout)
    assert (record["column"], record["proving"], sum(record["categories"].values())) == (None, 0, 90)
    assert "3 categories of topics, learned from " in done.stderr
    assert "labels of topics and teachers prove nothing" in done.stderr
    config = (cli.folder / "config.yaml").read_text()
    assert "# not proven yet, so everything waits for a person: at least " in config
    assert config.count("examples:") == 3
    assert rows(cli.folder / "triage.db", "select distinct source, proves from labelled_texts") == [("topic", 0)]
    assert json.loads(cli("run", "export.csv", "--limit", "1", "-o", "jsonl").stdout)["triage_status"] == "needs_review"


def test_on_a_terminal_topics_are_edited_before_it_asks(cli: Cli) -> None:
    subjects(cli.folder)
    typist = Typist(cli, "init", "export.csv", columns=200, term="dumb")
    typist.sees("topics are to be the categories")
    typist.types("name 1 First of all\r", see="1 is First of all")
    typist.types("quit\r", see="which prove nothing, and write config.yaml")
    typist.types("y\r", see="wrote config.yaml")
    assert typist.ends() == 0
    assert "First of all" in (cli.folder / "config.yaml").read_text()


def test_an_import_without_categories_of_its_own_names_the_column(cli: Cli) -> None:
    names = (("Billing", "Money"), ("Technical", "Repairs"), ("General", "Rest"))
    text = export(40)
    for built_in, own in names:
        text = text.replace(f",{built_in}", f",{own}")
    (cli.folder / "export.csv").write_text(text)
    said = "note: Group says where 100% of these went; triage init export.csv learns from it"
    assert said in cli("create", "export.csv", "--dry-run").stderr
    assert said in cli("run", "export.csv", "--dry-run", "--limit", "3").stderr
    (cli.folder / "config.yaml").write_text(labelled.CATEGORIES)
    assert said not in cli("create", "export.csv", "--dry-run").stderr


def test_a_kill_leaves_no_half_configuration_and_the_next_one_goes_on(first: tuple[Cli, str, str], cli: Cli) -> None:
    (cli.folder / "export.csv").write_text(export())
    database = cli.folder / "triage.db"
    for wait_for_texts in (False, True):
        process = cli.start("init", "export.csv")
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(sqlite3.OperationalError):  # its tables are not there yet
                if database.exists() and (not wait_for_texts or rows(database, "select 1 from labelled_texts limit 1")):
                    break
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        assert not (cli.folder / "config.yaml").exists()
    done = cli("init", "export.csv", "-o", "json")
    assert done.returncode == 0, done.stderr
    record, before = json.loads(done.stdout), json.loads(first[1])
    assert {**record, "version": 1, "database": ""} == {**before, "version": 1, "database": ""}
    texts = "select proves, count(*) from labelled_texts group by proves"
    assert rows(database, texts) == [(0, 264), (1, 66)]
