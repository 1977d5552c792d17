"""`triage discover`: topics of a file and of stored tickets, as a configuration, a table, JSON and a page."""

import csv
import io
import json

import pytest

from tests.support.cli import Cli
from tests.support.three_subjects import three_subjects


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
