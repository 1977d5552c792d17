"""`triage discover`: topics of a file and of stored tickets, as a configuration, a table, JSON and a page."""

import asyncio
import csv
import io
import json

import pytest

from tests.support.cli import Cli
from tests.support.three_subjects import three_subjects
from triage_cli.cli import TopicEditor, TopicScreen
from triage_cli.domain import ExitCode, Proposal, Topic


def export(number: int = 240) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["id", "description", "customer_id"])
    writer.writerows(
        (f"T-{n}", f"{text} 1 < 2 jane.doe@example.com", f"C-{n % 80}")
        for n, (text, _) in enumerate(three_subjects(number))
    )
    return out.getvalue()


@pytest.fixture
def desk(cli: Cli) -> Cli:
    (cli.folder / "export.csv").write_text(export())
    return cli


def test_a_file_becomes_a_configuration_and_nothing_is_stored(desk: Cli) -> None:
    done = desk("discover", "export.csv", "--most", "4")
    assert done.returncode == 0
    (desk.folder / "proposal.yaml").write_text(done.stdout)
    assert "no mistakes" in desk("--config", "proposal.yaml", "config", "check").stderr
    assert "jane.doe" not in done.stdout + done.stderr
    assert "4 topics; 100% of 240 tickets are near one" in done.stderr
    assert "nearest" in done.stderr, "the table stands on stderr"
    assert not (desk.folder / "triage.db").exists()
    assert desk("discover", "export.csv", "--most", "4").stdout == done.stdout
    quiet = desk("discover", "export.csv", "--most", "4", "-q")
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")


def test_stored_tickets_have_the_topics_of_their_file(desk: Cli) -> None:
    desk("create", "-q", "export.csv", "--source", "shop")
    stored = json.loads(desk("discover", "--most", "3", "-o", "json", "--source", "shop", "--since", "1d").stdout)
    assert (stored["tickets"], stored["near"], len(stored["topics"])) == (240, 240, 3)
    assert {topic["tickets"] for topic in stored["topics"]} == {80}
    assert {topic["customers"] for topic in stored["topics"]} == {80}
    none = desk("discover", "--source", "mail")
    assert (none.returncode, none.stdout) == (0, "")
    assert "0 tickets are too few" in none.stderr


def test_the_page_has_no_script_and_escapes_what_customers_wrote(desk: Cli) -> None:
    page = desk("discover", "export.csv", "-o", "html").stdout
    assert "<script" not in page
    assert "1 &lt; 2 [email]" in page


def test_mistakes_are_told_before_anything_is_read(desk: Cli) -> None:
    for line, message in {
        ("export.csv", "--since", "7d"): "--since and --source are for stored tickets",
        ("--most", "1"): "--most",
        ("nothing.csv",): "cannot read nothing.csv",
        (): "no database",
    }.items():
        done = desk("discover", *line)
        assert done.returncode != 0
        assert message in done.stderr


def test_edits_by_lines_end_with_a_configuration_and_labels_that_can_be_learned(desk: Cli) -> None:
    lines = "nest 1\nnest 2\nnest 3\nname 1 Parcels\nmerge 1 2\nundo\nshow 1\nnest 2 Money\nquit\n"
    done = desk("discover", "export.csv", "--most", "3", "--edit", "--labels", "labels.csv", stdin=lines)
    assert done.returncode == 0, done.stderr
    (desk.folder / "config.yaml").write_text(done.stdout)
    names = [json.loads(line)["category"] for line in desk("config", "check").stdout.splitlines()]
    assert names[:2] == ["Parcels", "Money"]
    assert names[2].startswith("Money/")
    rows = list(csv.DictReader(io.StringIO((desk.folder / "labels.csv").read_text())))
    assert {row["label"] for row in rows} == {*names} - {"Money"}
    learned = desk("learn", "labels.csv", "--label", "label", "-o", "json")
    assert json.loads(learned.stdout)["labelled"] == len(rows), learned.stderr


def test_a_proposal_is_edited_and_a_mistake_of_a_script_writes_nothing(desk: Cli) -> None:
    (desk.folder / "proposal.yaml").write_text(desk("discover", "export.csv", "--most", "3", "-q").stdout)
    edited = desk("discover", "--edit", "proposal.yaml", "-q", stdin="nest 1\nnest 2\nnest 3\nname 2 Second\n")
    assert edited.stdout.count("- name:") == 3
    assert "- name: Second\n" in edited.stdout
    for lines, message in {"name 9 X\n": 'no topic "9"', "drop 1 2 3\n": "fewer than two categories"}.items():
        refused = desk("discover", "--edit", "proposal.yaml", "--labels", "l.csv", stdin=lines)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert message in refused.stderr
        assert not (desk.folder / "l.csv").exists()
    assert "leave out -o json" in desk("discover", "--edit", "proposal.yaml", "-o", "json").stderr


def test_the_screen_edits_by_keys() -> None:
    topics = tuple(
        Topic(name, "", (name,), 5, 5, None, (f"{name} example",)) for name in ("Parcels", "Invoices", "Passwords")
    )
    editor = TopicEditor.of_proposal(Proposal(topics, (), 15, 0, 0))
    screen = TopicScreen(editor)

    async def run() -> None:
        async with screen.run_test(size=(90, 20)) as pilot:
            await pilot.press("down", "n", *["backspace"] * 8, "B", "i", "l", "l", "s", "enter")
            await pilot.press("up", "m", "3", "enter", "d", "u", "p", "X", "escape")
            shown = "\n".join(strip.text for strip in screen.screen._compositor.render_strips())
            assert "Parcels (10 tickets)" in shown
            assert "Passwords example" in shown
            await pilot.press("q")

    asyncio.run(run())
    assert screen.return_value == ExitCode.OK
    assert [topic.category for topic in editor.topics] == ["Parcels", "Bills"]
