"""`triage discover`: topics of a file and of stored tickets, as a configuration, a table, JSON and a page."""

import asyncio
import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import running_server
from tests.support.cli import Cli
from tests.support.commands import rows
from tests.support.llm_server import Script, Step, chat, message, running_llm_server
from tests.support.online import ONLINE
from tests.support.records import replace
from tests.support.three_subjects import three_subjects
from tests.support.typed_terminal import Typist
from triage_cli import domain as dm
from triage_cli.cli import TopicEditor, TopicScreen
from triage_cli.config import load_config
from triage_cli.extensions.remote import Address, RemoteAnalysis, RemoteTriage


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
    one_topic = "".join(f"my parcel to the number {n} of the street never arrived at home\n" for n in range(12))
    few = desk("discover", "-", stdin=f"description\n{one_topic}zebra\n").stderr
    assert "1 topic, and a configuration takes 2 categories or more; " in few
    assert desk("discover", "export.csv", "--most", "4").stdout == done.stdout
    quiet = desk("discover", "export.csv", "--most", "4", "-q")
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")


def test_a_first_configuration_names_its_database_and_is_careful(desk: Cli) -> None:
    """A person types this in a folder that has a CSV alone; with a configuration in use, the categories are enough."""
    desk.env.pop("TRIAGE_DB", None)
    with (desk.folder / "config.yaml").open("wb") as made_by_the_shell:
        process = desk.start("discover", "export.csv", "--most", "3", stdout=made_by_the_shell)
        said = process.communicate()[1].decode()
    assert "ignored" not in said
    config = load_config(config=None, env={}, cwd=desk.folder)
    assert config.database == str(desk.folder / "triage.db")
    assert config.classifiers["local"].max_error == dm.MaxError(0.1)
    second = desk("discover", "export.csv", "--most", "3", "-q").stdout
    assert "categories:" in second
    assert "database:" not in second
    assert "classifiers:" not in second


def test_a_first_configuration_leaves_the_database_of_other_tickets_alone(desk: Cli) -> None:
    """A file's topics get a database of their own; those of stored tickets belong to the one that has them."""
    assert desk("create", "-q", "export.csv").returncode == 0
    of_file = desk("discover", "export.csv", "--most", "3")
    assert '\ndatabase: "triage.db"\n' in of_file.stdout
    assert f"note: its database is a new one, triage.db beside it; {desk.db} stays as it is\n" in of_file.stderr
    of_stored = desk("discover", "--most", "3")
    assert f'\ndatabase: "{desk.db}"\n' in of_stored.stdout
    assert "note: its database" not in of_stored.stderr
    for made in (of_file, of_stored):
        (desk.folder / "proposal.yaml").write_text(made.stdout)
        edited = desk("discover", "proposal.yaml", "--edit", stdin="")
        (line,) = (line for line in made.stdout.splitlines() if line.startswith("database: "))
        assert line in edited.stdout.splitlines(), "editing keeps it"


def test_stored_tickets_have_the_topics_of_their_file(desk: Cli) -> None:
    desk("create", "-q", "export.csv", "--source", "shop")
    stored = json.loads(desk("discover", "--most", "3", "-o", "json", "--source", "shop", "--since", "1d").stdout)
    assert (stored["tickets"], stored["near"], len(stored["topics"])) == (240, 240, 3)
    assert {topic["tickets"] for topic in stored["topics"]} == {80}
    assert {topic["customers"] for topic in stored["topics"]} == {80}
    none = desk("discover", "--source", "mail")
    assert (none.returncode, none.stdout) == (0, "")
    assert "0 tickets are too few" in none.stderr
    desk("create", "-q", "--subject", "hello", "--source", "mail")
    one = "1 ticket is too few to find topics in, or it says too little"
    assert one in desk("discover", "--source", "mail").stderr


def test_the_page_has_no_script_and_escapes_what_customers_wrote(desk: Cli) -> None:
    page = desk("discover", "export.csv", "-o", "html").stdout
    assert "<script" not in page
    assert "1 &lt; 2 [email]" in page


def test_mistakes_are_told_before_anything_is_read(desk: Cli) -> None:
    for line, said in {
        ("export.csv", "--since", "7d"): "--since and --source are for stored tickets",
        ("--most", "1"): "--most",
        ("nothing.csv",): "cannot read nothing.csv",
        ("--map", "subject=a"): "options for reading files are given, and no tickets' file is",
        (): "no database",
    }.items():
        done = desk("discover", *line)
        assert done.returncode != 0
        assert said in done.stderr


def test_columns_that_no_name_gives_away_are_named_and_can_be_mapped(desk: Cli) -> None:
    table = export().replace("id,description,customer_id", "Nr,What happened,Headline")
    plain = desk("discover", "-", "-o", "json", stdin=table)
    assert "subject ← Headline, external_id ← Nr; utf-8, ','; extra ← What happened\n" in plain.stderr
    mapped = desk("discover", "-", "-o", "json", "--most", "3", "--map", "description=What happened", stdin=table)
    assert "description ← What happened" in mapped.stderr
    assert len(json.loads(mapped.stdout)["topics"]) == 3


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


def test_labels_of_topics_teach_and_prove_nothing(desk: Cli) -> None:
    lines = "nest 1\nnest 2\nnest 3\nname 1 Parcels\nname 2 Money\nname 3 Logins\n"
    done = desk("discover", "export.csv", "--most", "3", "--edit", "--labels", "labels.csv", stdin=lines)
    (desk.folder / "config.yaml").write_text("categories: [Parcels, Money, Logins]\n")
    assert done.returncode == 0, done.stderr
    learned = desk("learn", "labels.csv", "-o", "json")
    report = json.loads(learned.stdout)
    assert (report["outcome"], report["before"], report["after"]) == ("learned", None, None)
    assert "45 labels are of topics: they teach, and prove nothing" in learned.stderr
    assert "nobody knows how good it is" in learned.stderr
    assert "local is sure of nothing: it has learned too few labels" in desk("doctor").stdout
    refused = desk("eval", "labels.csv")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "all labels are of topics, which prove nothing" in refused.stderr
    desk("create", "-q", "labels.csv", "--map", "verdict=label")
    assert rows(desk.db, "select count(*), sum(verdict) from tickets") == [(45, 0)]
    names = {"parcel": "Parcels", "invoice": "Money", "password": "Logins"}
    judged = "".join(f"{text},{names[subject]}\n" for text, subject in three_subjects(60, seed=1))
    (desk.folder / "judged.csv").write_text(f"description,verdict\n{judged.replace(', thanks', '')}")
    desk("create", "-q", "judged.csv", "--map", "verdict=verdict")
    again = desk("learn", "labels.csv", "-o", "json")
    measured = json.loads(again.stdout)
    assert (measured["outcome"], measured["labelled"], measured["after"]["n"]) == ("learned", 105, 60)
    assert "triage review asks about hard tickets first" in again.stderr
    assert "missing" not in again.stderr
    without = desk("learn", "-o", "json")
    assert (json.loads(without.stdout)["missing"], json.loads(without.stdout)["labelled"]) == (0, 105), "it is stored"
    assert "sure from 0.85 on" not in desk("doctor").stdout


def test_a_remote_knows_labels_of_topics_too(tmp_path: Path) -> None:
    labelled = [dm.Labelled(text, subject, is_typical=True) for text, subject in three_subjects(60)]
    with running_server(tmp_path, config="categories: [parcel, password, invoice]\n") as server:
        remote = RemoteTriage(Address(server.url, server.keys["admin"]), ONLINE)
        (lesson,) = RemoteAnalysis(remote).learn(labelled, lambda _doing, _share: None)
        remote.close()
    assert (lesson.report.outcome, lesson.report.labelled, lesson.report.after) == ("learned", 60, None)


def test_numbers_of_topics_are_the_same_wherever_they_stand(desk: Cli) -> None:
    done = desk("discover", "export.csv", "--most", "8")
    (desk.folder / "proposal.yaml").write_text(done.stdout)
    table = desk("discover", "export.csv", "--most", "8", "-o", "table").stdout.splitlines()[1:]
    numbered = {tuple(line.split()[:2]) for line in table}
    assert len({name.split("/")[0] for _, name in numbered}) < len(numbered), "some stand below a parent"
    for words in (("export.csv", "--most", "8"), ("proposal.yaml",)):
        listed = desk("discover", *words, "--edit", stdin="").stderr
        assert {tuple(line.split()[:2]) for line in listed.splitlines() if line.split()[0].isdigit()} >= numbered, words


def test_a_proposal_is_edited_and_a_mistake_of_a_script_writes_nothing(desk: Cli) -> None:
    (desk.folder / "proposal.yaml").write_text(desk("discover", "export.csv", "--most", "3", "-q").stdout)
    edited = desk("discover", "--edit", "proposal.yaml", "-q", stdin="nest 1\nnest 2\nnest 3\nname 2 Second\n")
    assert edited.stdout.count("- name:") == 3
    assert "- name: Second\n" in edited.stdout
    for lines, said in {"name 9 X\n": 'no topic "9"', "drop 1 2 3\n": "fewer than two categories"}.items():
        refused = desk("discover", "--edit", "proposal.yaml", "--labels", "l.csv", stdin=lines)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert said in refused.stderr
        assert not (desk.folder / "l.csv").exists()
    assert "leave out -o json" in desk("discover", "--edit", "proposal.yaml", "-o", "json").stderr


def test_the_screen_edits_by_keys() -> None:
    topics = tuple(
        dm.Topic(name, "", (name,), 5, 5, None, (f"{name} example",), name)
        for name in ("Parcels", "Invoices", "Passwords")
    )
    editor = TopicEditor.of_proposal(dm.Proposal(topics, (), 15, 0, 0, 15))
    screen = TopicScreen(editor)

    async def run() -> None:
        async with screen.run_test(size=(90, 20)) as pilot:
            await pilot.press("down", "n", *["backspace"] * 8, "B", "i", "l", "l", "s", "enter")
            await pilot.press("up", "m", "3", "enter", "d", "u", "p", "X", "escape")
            shown = "\n".join(strip.text for strip in screen.screen._compositor.render_strips())
            assert "Parcels (10 tickets)" in shown
            assert "Passwords example" in shown
            await pilot.resize_terminal(60, 3)
            await pilot.pause()
            shown = "\n".join(strip.text for strip in screen.screen._compositor.render_strips())
            assert "1  Parcels (10 tickets)…" in shown, "it is cut before the scroll bar, and one sees that"
            await pilot.press("q")

    asyncio.run(run())
    assert screen.return_value == dm.ExitCode.OK
    assert [topic.category for topic in editor.topics] == ["Parcels", "Bills"]


def test_names_are_replaced_whole_and_a_category_that_is_no_topic_is_added() -> None:
    topics = tuple(
        dm.Topic(name, "Load", (name,), 5, 5, None, (f"{name} example",), f"Load/{name}")
        for name in ("Websites fine", "Slow")
    )
    editor = TopicEditor.of_proposal(dm.Proposal(topics, (), 10, 0, 0, 10))
    screen = TopicScreen(editor)

    async def run() -> None:
        async with screen.run_test(size=(80, 24)) as pilot:

            async def typed(*keys: str) -> list[str]:
                await pilot.press(*keys)
                return [topic.category for topic in editor.topics]

            shown = "\n".join(strip.text for strip in screen.screen._compositor.render_strips())
            assert "a add" in shown
            assert "ctrl+c leave" in shown, "the line of keys fits"
            assert await typed("n", "B", "enter") == ["B", "Load/Slow"]
            assert await typed("n", *"Load/B", "enter") == ["Load/B", "Load/Slow"]
            assert await typed("n", "enter") == ["Load/B", "Load/Slow"]
            assert await typed("p", "enter") == ["B", "Load/Slow"], "empty: the first level"
            assert await typed("n", *"TCP/IP", "enter") == ["TCP/IP", "Load/Slow"]
            assert await typed("a", *"Odd", "enter") == ["TCP/IP", "Load/Slow", "Odd"]
            await typed("t", *"rare things", "enter")
            assert editor.topics[-1].line.strip() == "3  Odd: rare things"
            assert await typed("a", *"Odd", "enter") == ["TCP/IP", "Load/Slow", "Odd"], "it is there already"
            assert await typed("u", "u") == ["TCP/IP", "Load/Slow"]
            assert await typed("a", *"Load/New", "enter", "q") == ["TCP/IP", "Load/Slow", "Load/New"]
            assert editor.topics[-1].number == 4, "a number is given once"

    asyncio.run(run())
    names = [category.name for category in editor.categories()]
    assert names == ["TCP/IP", "Load", "Load/Slow", "Load/New"]


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40)])
def test_the_screen_has_the_size_of_the_terminal_that_it_draws_on(cli: Cli, columns: int, lines: int) -> None:
    """Its stdout is a file."""
    (cli.folder / "proposal.yaml").write_text("categories: [Billing, Technical]\n")
    with (cli.folder / "edited.yaml").open("w") as file:
        typist = Typist(cli, "discover", "proposal.yaml", "--edit", columns=columns, lines=lines, stdout=file.fileno())
        typist.sees("ctrl+c leave")
        moves = re.findall(r"\x1b\[(\d+);\d+H", typist.shown.partition("ctrl+c leave")[0])
        assert int(moves[-1]) == lines, "the keys are on the last line"
        typist.types("q", see="\x1b[?1049l")
        assert typist.ends() == 0
    assert "- name: Billing\n" in (cli.folder / "edited.yaml").read_text()


NAMED = """
categories: [Billing, Other]
classifiers:
  gpt:
    {{type: openai, model: m, base_url: "{url}", api_key_env: null, price: {{input: 1.0, output: 1.0}}, max_retries: 0}}
"""


def naming(names: Callable[[list[dict[str, Any]]], object]) -> Script:
    """Answer each request with what `names` makes of the topics that it shows."""
    return lambda _n, asked: Step(chat(json.dumps(names(json.loads(asked.ticket)))))


def test_a_language_model_names_topics_in_one_budgeted_call_and_sees_no_personal_data(desk: Cli) -> None:
    with running_llm_server(naming(lambda topics: {str(t["topic"]): f"Name {t['topic']}" for t in topics})) as server:
        (desk.folder / "config.yaml").write_text(NAMED.format(url=server.url))
        done = desk("discover", "export.csv", "--most", "4", "--name-with", "gpt", "--max-cost", "1", "-o", "json")
        assert done.returncode == 0, done.stderr
        (asked,) = server.asked
        found = json.loads(done.stdout)
        things = len(found["topics"]) + len(found["groups"])
        assert f"gpt named {things} of {things} topics and groups, for 0.0001 USD" in done.stderr
        names = [each["name"] for each in (*found["groups"], *found["topics"])]
        assert names == [f"Name {n}" for n in range(1, things + 1)]
        assert {topic["parent"] for topic in found["topics"]} <= {"", *(group["name"] for group in found["groups"])}
        assert "jane.doe" not in asked.ticket
        assert "[email]" in asked.ticket
        properties = asked.body["response_format"]["json_schema"]["schema"]["properties"]
        assert [*properties] == [*(str(n) for n in range(1, things + 1)), "reason"]
        (run,) = rows(desk.db, "select kind, spent, reserved, exit_code from runs")
        assert run == ("discover", pytest.approx(110e-6), 0.0, 0)
        poor = desk("discover", "export.csv", "--name-with", "gpt", "--max-cost", "0.000001")
        assert (poor.returncode, poor.stdout, len(server.asked)) == (7, "", 1)
        refused = desk("--offline", "discover", "export.csv", "--name-with", "gpt")
        assert (refused.returncode, len(server.asked)) == (2, 1)


def test_another_instance_has_its_model_name_the_topics_of_these_tickets(tmp_path: Path) -> None:
    names = {str(number): f"Name {number}" for number in range(1, 20)}
    with running_llm_server(lambda _n, _asked: Step(message(json.dumps(names)))) as provider:
        config = NAMED.format(url=provider.root).replace("openai", "anthropic")
        with running_server(tmp_path, config=config) as server:
            remote = RemoteTriage(Address(server.url, server.keys["admin"]), ONLINE)
            texts = [dm.TopicText(text, f"C-{n}") for n, (text, _) in enumerate(three_subjects(60))]
            found = RemoteAnalysis(remote).discover(texts, dm.Discovery(4, name_with="gpt", max_cost=1.0))
            plain = RemoteAnalysis(remote).discover(texts, dm.Discovery(4))
            remote.close()
        (asked,) = provider.asked
    assert [topic.name for topic in found.topics] == [
        f"Name {len(found.groups) + n + 1}" for n in range(len(found.topics))
    ]
    assert [replace(topic, name="", parent="", category="") for topic in found.topics] == [
        replace(topic, name="", parent="", category="") for topic in plain.topics
    ]
    assert asked.body["output_config"]["format"]["schema"]["required"][-1] == "reason"


def test_what_a_model_says_that_is_no_name_leaves_the_words(desk: Cli) -> None:
    plain = json.loads(desk("discover", "export.csv", "--most", "4", "-o", "json").stdout)
    words = [each["name"] for each in (*plain["groups"], *plain["topics"])]
    answers: list[object] = [
        {str(n): name for n, name in enumerate([words[1], "a/b", "x" * 5000, "\u202egnp", "\x1b[2J", "", ["a"]], 1)},
        dict.fromkeys(map(str, range(1, 9)), "The same"),
        {"1": {"name": "deep"}, "99": "No topic", "__proto__": "x"},
        "{" * 10_000, [], None, "[red]" * 4,
    ]  # fmt: skip
    with running_llm_server(lambda n, _: Step(chat(json.dumps(answers[n])))) as server:
        (desk.folder / "config.yaml").write_text(NAMED.format(url=server.url))
        for n, answer in enumerate(answers):
            done = desk("discover", "export.csv", "--most", "4", "--name-with", "gpt", "-o", "json")
            assert done.returncode == 0, done.stderr
            found = json.loads(done.stdout)
            names = [each["name"] for each in (*found["groups"], *found["topics"])]
            assert names == (["The same", *words[1:]] if n == 1 else words), answer


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("export.csv --name-with nobody", 'no classifier "nobody"'),
        ("export.csv --name-with local", "of type local, which names nothing"),
        ("export.csv --max-cost 1", "--max-cost is for --name-with"),
        ("--edit proposal.yaml --name-with gpt", "--name-with names topics of tickets"),
    ],
)
def test_a_mistake_about_names_is_a_sentence(desk: Cli, words: str, error: str) -> None:
    done = desk("discover", *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr
