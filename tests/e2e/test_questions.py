"""Further questions through the command line: one call of a language model, kills, what is malformed, what is paid."""

import json
import random
import subprocess
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, is_whole, rows, until
from tests.support.llm_server import Asked, LlmServer, Step, chat, decision, running_llm_server
from tests.support.records import replace
from tests.support.remotes import instances

VALUES = {"urgency": ["now", "soon", "later"], "mood": ["calm", "upset"], "product": ["app", "shop", "invoice"]}
QUESTIONS = "questions:\n" + "".join(f"  {name}: {{values: {json.dumps(v)}}}\n" for name, v in VALUES.items())
STORED_ANSWERS = """select ticket_id, question from classifications
    where reused is null and error is null and confidence_source = 'said'"""
LETTER = "I have written to you twice already about this. " * 12


def configure(cli: Cli, url: str, more: str = QUESTIONS, classifier: str = "gpt") -> None:
    (cli.folder / "config.yaml").write_text(
        f"classifier: {classifier}\n"
        "classifiers:\n"
        f"  gpt: {{type: openai, model: m, base_url: {url}, api_key_env: null, workers: 4, max_retries: 1,\n"
        "        price: {input: 1000, output: 1000}}\n"
        "  both: {type: cascade, steps: [local, gpt]}\n" + more
    )


def tickets(cli: Cli, number: int, text: str = "Where is invoice {n}?") -> None:
    table = "".join(f"{n},{text.format(n=n)}\n" for n in range(number))
    assert cli("create", "-q", stdin="id,subject\n" + table).returncode == 0


def asked_names(asked: Asked) -> list[str]:
    """Return the questions of a request, as its schema has them."""
    properties = asked.body["response_format"]["json_schema"]["schema"]["properties"]
    return [name for name in properties if not name.endswith("confidence") and name != "reason"]


def answering(**instead: Any) -> Any:
    """Return a script that gives the first value of each question, or what is said instead; None leaves one out."""

    def script(_n: int, asked: Asked) -> Step:
        said: dict[str, Any] = {}
        properties = asked.body["response_format"]["json_schema"]["schema"]["properties"]
        for name in asked_names(asked):
            value = instead.get(name, properties[name]["enum"][0])
            if value is not None:
                said |= {name: value, "confidence" if name == "category" else f"{name} confidence": 0.9}
        return Step(chat(json.dumps(said | {"reason": "because"})))

    return script


def answers(cli: Cli) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in cli("list").stdout.splitlines()]
    return [
        {"category": t["category"], **{name: given["value"] for name, given in t["answers"].items()}} for t in found
    ]


FIRST = {"category": "Billing", "urgency": "now", "mood": "calm", "product": "app"}


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_a_column_of_an_import_holds_answers_also_where_it_is_read_as_a_field(tmp_path: Path, kind: str) -> None:
    config = """
questions:
  urgency: {values: [now, later], column: Priority, map: {P1: now, P2: later}}
  team: {values: [shop, app], column: Team}
"""
    for cli, _ in instances(kind, tmp_path, config):
        table = "Id,Subject,Priority,Team\n1,It is down,P1,shop\n2,An idea,P9,app\n3,Hello,,APP\n4,Late,P2,\n"
        made = cli("create", stdin=table)
        assert made.returncode == 0, made.stderr
        columns = "something in Priority that is no value of urgency; questions.urgency.map says what it means"
        assert f"note: 1 row has {columns}\n" in made.stderr
        found = {t["external_id"]: t for t in map(json.loads, made.stdout.splitlines())}
        assert [found[n]["extra"] for n in "134"] == [
            {"Priority": "P1", "Team": "shop"},
            {"Team": "APP"},
            {"Priority": "P2"},
        ]
        assert found["1"]["priority"] == "urgent", "it is a field all the same"
        body = '[{"id": 5, "subject": "Down again", "Priority": "P1"}]'
        (again,) = map(json.loads, cli("create", "--format", "json", stdin=body).stdout.splitlines())
        assert again["extra"] == {"Priority": "P1"}
        assert "0 created, 0 updated, 4 unchanged" in cli("create", stdin=table).stderr


SAYS = """
questions:
  urgency:
    values:
      - {name: now, examples: [The whole shop is down, Nobody can log in]}
      - {name: later, examples: [A dark mode would be nice some day, Just an idea for the future]}
    min_confidence: 0.6
routes:
  - {when: {urgency: now}, to: pager}
  - {to: rest}
destinations:
  pager: {type: file, path: pager.jsonl}
  rest: {type: file, path: rest.jsonl}
"""


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_a_dry_run_shows_what_would_be_answered_and_where_that_leads(tmp_path: Path, kind: str) -> None:
    for cli, _ in instances(kind, tmp_path, SAYS):
        table = "id,subject\n1,Nobody can log in and the shop is down\n2,A dark mode would be nice some day\n"
        done = cli("run", "--dry-run", "-o", "jsonl", stdin=table)
        assert done.returncode == 0, done.stderr
        found = list(map(json.loads, done.stdout.splitlines()))
        assert [t["answers"]["urgency"]["value"] for t in found] == ["now", "later"]
        assert [t["routed_to"] for t in found] == ["pager", "rest"]
        chosen = cli("run", "--dry-run", "--columns", "external_id,urgency", "-o", "csv", stdin=table)
        assert chosen.stdout == "external_id,urgency\n1,now\n2,later\n"


TAGS = """
questions:
  topics:
    values:
      - {name: shipping, examples: [Where is my parcel, The courier never came]}
      - {name: returns, examples: [How do I send this back, I want to return the shoes]}
      - {name: app, examples: [The app crashes on my phone, I cannot log in to the app]}
    many: true
    column: Tags
    map: {mobile: app}
routes:
  - {when: {topics: [app, returns]}, to: pager}
  - {when: {topics: null}, to: unclear}
  - {to: rest}
destinations:
  pager: {type: file, path: pager.jsonl}
  unclear: {type: file, path: unclear.jsonl}
  rest: {type: file, path: rest.jsonl}
"""


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_none_one_or_several_values_of_a_question_hold(tmp_path: Path, kind: str) -> None:
    for cli, _ in instances(kind, tmp_path, TAGS):
        table = 'id,subject,Tags\n1,It is broken,"mobile; shipping"\n2,Hello,rubbish\n3,Bye,\n4,Late,\n'
        made = cli("create", stdin=table)
        assert made.returncode == 0, made.stderr
        assert "1 row has something in Tags that is no value of topics; questions.topics.map says" in made.stderr
        assert made.stderr.count("has something in Tags") == 1
        given = cli("verdict", "1", "Technical", "topics=app,returns", "--columns", "category,topics", "-o", "csv")
        assert given.stdout == 'category,topics\nTechnical,"returns,app"\n', given.stderr
        columns = "ticket_id,topics,topics.app\n"
        many = cli("verdict", "-", stdin=columns + '2,none,\n3,shipping; app,\n4,,yes\n1,"app, soup",\n')
        assert many.returncode == 3, many.stderr
        assert 'rejected: line 5 (1): "soup" is no value of topics; name one or several of' in many.stderr
        told = [(t["external_id"], t["answers"]["topics"]["value"]) for t in map(json.loads, many.stdout.splitlines())]
        assert told == [("2", "none"), ("3", "shipping,app"), ("4", None)], "a line for each row"

        def found(*answers: str, cli: Cli = cli) -> set[str]:
            options = [word for answer in answers for word in ("--answer", answer)]
            done = cli("list", *options, "--columns", "external_id", "-o", "csv")
            assert done.returncode == 0, done.stderr
            return set(done.stdout.split()[1:])

        assert (found("topics=app"), found("topics=app,shipping")) == ({"1", "3", "4"}, {"3"})
        assert (found("topics=none"), found("topics=app", "topics.returns=yes")) == ({"2"}, {"1"})
        assert found("topics.shipping=") == {"4"}
        assert '"topics=" could mean any value of topics' in cli("list", "--answer", "topics=").stderr
        assert '"apps" is no value of topics' in cli("verdict", "1", "topics=apps").stderr
        assert "two answers are given to topics.app" in cli("verdict", "1", "topics=app", "topics.app=no").stderr
        counted = cli("stats", "--by", "topics", "-o", "csv").stdout.splitlines()
        assert counted[0].startswith("topics.shipping,topics.returns,topics.app,tickets,")
        assert len(counted) == 5
        assert cli("route", "-q").returncode == 0
        assert cli("verdict", "1", "topics=", "--columns", "topics", "-o", "jsonl").stdout == '{"topics": null}\n'
        (shown,) = json.loads(cli("list", "--answer", "topics=none", "-o", "json").stdout)
        assert list(shown["answers"]) == ["topics", "topics.shipping", "topics.returns", "topics.app"]
        done = cli("run", "-o", "csv", stdin="id,subject\n9,I cannot log in to the app on my phone\n")
        assert done.stdout.splitlines()[0].endswith(",triage_error,triage_topics"), done.stderr
        assert "topics.app" in cli("why", "9").stdout


def test_a_language_model_says_of_each_value_whether_it_holds_in_one_call(cli: Cli) -> None:
    said = {"topics.shipping": "no", "topics.returns": "yes", "topics.app": "yes"}
    with running_llm_server(answering(**said)) as server:
        configure(cli, server.url, "questions: {topics: {values: [shipping, returns, app], many: true}}\n")
        tickets(cli, 2, LETTER + "{n}")
        done = cli("classify")
        assert done.returncode == 0, done.stderr
        assert [asked_names(asked) for asked in server.asked] == [["category", *said]] * 2
        assert answers(cli) == [{"category": "Billing", "topics": "returns,app", **said}] * 2
        assert is_whole(cli.db)


def test_a_language_model_is_asked_all_questions_about_a_ticket_in_one_call(cli: Cli) -> None:
    with running_llm_server(answering()) as server:
        configure(cli, server.url)
        tickets(cli, 3, LETTER + "{n}")
        done = cli("classify")
        assert done.returncode == 0, done.stderr
        assert [asked_names(asked) for asked in server.asked] == [["category", *VALUES]] * 3
        assert answers(cli) == [FIRST] * 3
        costs = {json.loads(line)["cost_usd"] for line in done.stdout.splitlines()}
        together = size_of(server)
        assert cli("classify", "-q").returncode == 0
        assert len(server.asked) == 3
        assert is_whole(cli.db)
    apart = 0
    for name, values in VALUES.items():
        with running_llm_server(answering()) as server:
            categories = "".join(f"  - {value}\n" for value in values)
            configure(cli, server.url, f"database: {name}.db\ncategories:\n{categories}")
            tickets(cli, 3, LETTER + "{n}")
            assert cli("classify", "-q").returncode == 0
            apart += size_of(server)
    with running_llm_server(answering()) as server:
        configure(cli, server.url, "database: alone.db\n")
        tickets(cli, 3, LETTER + "{n}")
        assert cli("classify", "-q").returncode == 0
        apart += size_of(server)
    assert together <= apart / 2, (together, apart)
    assert len(costs) == 1  # of one call, though it has four answers


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_reclassify_asks_a_language_model_one_question_alone(tmp_path: Path, kind: str) -> None:
    with running_llm_server(answering(urgency="later")) as server:
        gpt = f"type: openai, model: m, base_url: {server.url}, api_key_env: null, price: {{input: 1, output: 1}}"
        config = f"classifiers: {{local: {{type: local}}, gpt: {{{gpt}}}}}{SAYS}"
        for number, (cli, _) in enumerate(instances(kind, tmp_path, config)):
            table = "id,subject\n1,Nobody can log in and the shop is down\n2,A dark mode would be nice some day\n"
            assert cli("run", "-q", stdin=table).returncode == 0
            ask = ("reclassify", "--question", "urgency", "--classifier", "gpt", "-o", "jsonl")
            done = cli(*ask)
            assert done.returncode == 0, done.stderr
            (flip,) = map(json.loads, done.stdout.splitlines())
            assert [flip[key] for key in ("external_id", "old", "new", "applied")] == ["1", "now", "later", False]
            assert "1 would flip, 1 confirmed, 0 unchanged" in done.stderr
            assert cli(*ask, "--apply", "--max-flips", "0").returncode == 8
            assert cli(*ask, "--apply", "--reroute").returncode == 0
            shown = json.loads(cli("show", "1").stdout)
            assert (shown["answers"]["urgency"]["value"], shown["classifier"], shown["routed_to"]) == (
                "later", "local", "rest",
            )  # fmt: skip
            assert [asked_names(asked) for asked in server.asked] == [["urgency"]] * 2 * (number + 1)
            assert "urgency: later 0.90, by gpt" in cli("logs", "1", "-o", "table").stdout
            wrong = cli("reclassify", "--question", "colour")
            assert wrong.returncode == 2
            assert 'no question "colour"' in wrong.stderr


def has_gone_on(server: LlmServer, calls: int, process: "subprocess.Popen[bytes]") -> bool:
    return len(server.asked) >= calls or process.poll() is not None


def size_of(server: LlmServer) -> int:
    """Return the characters of all prompts that came."""
    return sum(len(message["content"]) for asked in server.asked for message in asked.body["messages"])


@pytest.mark.parametrize("mood", ["furious", None, 7, ["calm"]])
def test_what_is_missing_or_malformed_beside_the_category_is_asked_again_alone(cli: Cli, mood: Any) -> None:
    with running_llm_server(answering(mood=mood)) as server:
        configure(cli, server.url)
        tickets(cli, 2)
        done = cli("classify")
        assert done.returncode == 0, done.stderr
        assert len(server.asked) == 2
        assert answers(cli) == [FIRST | {"mood": None}] * 2
        states = {json.loads(line)["answers"]["mood"]["state"] for line in done.stdout.splitlines()}
        assert states == {"failed"}
        server.script = answering()
        assert cli("classify", "-q").returncode == 0
        assert [asked_names(asked) for asked in server.asked[2:]] == [["mood"]] * 2
        assert answers(cli) == [FIRST] * 2
        assert cli("classify", "-q").returncode == 0
        assert len(server.asked) == 4


def test_a_malformed_category_is_asked_again_at_once_without_what_was_answered(cli: Cli) -> None:
    with running_llm_server(answering(category="Weather")) as server:
        configure(cli, server.url)
        tickets(cli, 1)
        assert cli("classify", "-q").returncode == 3
        assert [asked_names(asked) for asked in server.asked] == [["category", *VALUES], ["category"]]
        assert answers(cli) == [FIRST | {"category": None}]


def test_a_changed_question_is_asked_again_alone_and_a_new_one_too(cli: Cli) -> None:
    with running_llm_server(answering()) as server:
        configure(cli, server.url)
        tickets(cli, 2)
        assert cli("classify", "-q").returncode == 0
        ids = [json.loads(line)["ticket_id"] for line in cli("list").stdout.splitlines()]
        configure(cli, server.url, QUESTIONS.replace("mood: {", "mood: {ask: Is anybody angry, "))
        assert cli("classify", "-q", *ids).returncode == 0
        assert [asked_names(asked) for asked in server.asked[2:]] == [["mood"]] * 2
        configure(cli, server.url, QUESTIONS + "  team: {values: [a, b]}\n")
        estimate = cli("classify", "--dry-run", *ids)
        assert "2 tickets" in estimate.stdout + estimate.stderr
        assert '"category"' not in estimate.stdout  # the first prompt asks for what is new
        assert cli("classify", "-q", *ids).returncode == 0
        assert [asked_names(asked) for asked in server.asked[4:]] == [["team"]] * 2  # that of mood is known from before


def test_a_cascade_goes_on_for_the_unsure_questions_alone(cli: Cli) -> None:
    with running_llm_server(answering()) as server:
        questions = "questions:\n  mood: {values: [calm, upset]}\n"
        configure(cli, server.url, questions, classifier="both")
        tickets(cli, 2, "I was charged twice and want a refund of invoice {n}")
        assert cli("classify", "-q").returncode == 0
        assert [asked_names(asked) for asked in server.asked] == [["mood"]] * 2
        assert answers(cli) == [{"category": "Billing", "mood": "calm"}] * 2
        assert is_whole(cli.db)


SEVERAL = """questions:
  topics:
    values:
      - {name: money, examples: [I was charged twice, I want a refund of the invoice]}
      - {name: app, examples: [The app crashes on my phone, The app does not start]}
      - {name: rest}
    many: true
"""


def test_a_cascade_goes_on_for_the_values_that_are_not_sure_alone(cli: Cli) -> None:
    said = {"topics.money": "yes", "topics.app": "no", "topics.rest": "yes"}
    with running_llm_server(answering(**said)) as server:
        configure(cli, server.url, SEVERAL, classifier="both")
        tickets(cli, 1, "I was charged twice and want a refund of the invoice {n}")
        assert cli("classify", "-q").returncode == 0
        assert [asked_names(asked) for asked in server.asked] == [["topics.rest"]]
        assert answers(cli) == [{"category": "Billing", "topics": "money,rest", **said}]
        assert cli("classify", "-q").returncode == 0
        assert len(server.asked) == 1
        assert is_whole(cli.db)


def test_a_server_of_decisions_says_of_each_value_whether_it_holds_in_one_call(cli: Cli) -> None:
    said = {"category": "Billing", "topics.money": "yes", "topics.app": "no", "topics.rest": "no"}

    def script(_n: int, asked: Asked) -> Step:
        names = [question["name"] for question in asked.body["questions"]]
        choices = [decision(said[name], {said[name]: 0.95})["answers"][0] | {"name": name} for name in names]
        return Step(decision("Billing", {"Billing": 0.95}) | {"answers": choices})

    with running_llm_server(script) as server:
        configure(cli, server.url, SEVERAL)
        config = (cli.folder / "config.yaml").read_text()
        (cli.folder / "config.yaml").write_text(config.replace("type: openai", "type: decision"))
        tickets(cli, 2)
        assert cli("classify", "-q").returncode == 0
        assert len(server.asked) == 2
        assert answers(cli) == [{**said, "topics": "money"}] * 2
        assert "app" in server.asked[0].body["questions"][2]["instructions"]


def test_the_category_is_saved_while_a_later_step_is_asked_about_the_rest(cli: Cli) -> None:
    with running_llm_server(lambda _n, _asked: Step(hang=True)) as server:
        questions = "questions:\n  mood: {values: [calm, upset]}\n"
        configure(cli, server.url, questions, classifier="both")
        tickets(cli, 2, "I was charged twice and want a refund of invoice {n}")
        process = cli.start("classify")
        until(lambda: len(server.asked) == 2, "both calls to hang")
        until(lambda: [a["category"] for a in answers(cli)] == ["Billing"] * 2, "the categories to be saved")
        process.kill()
        process.wait(PATIENCE)
        server.released.set()
        server.script = answering()
        server.asked.clear()
        assert cli("classify", "-q").returncode == 0
        assert [asked_names(asked) for asked in server.asked] == [["mood"]] * 2
        assert answers(cli) == [{"category": "Billing", "mood": "calm"}] * 2


def test_a_budget_that_ends_between_two_questions_leaves_the_category_and_the_rest_for_later(cli: Cli) -> None:
    with running_llm_server(answering()) as server:
        questions = "questions:\n  mood: {values: [calm, upset]}\n"
        configure(cli, server.url, questions, classifier="both")
        tickets(cli, 3, "I was charged twice and want a refund of invoice {n}")
        assert cli("classify", "--max-cost", "0", "-q").returncode == 7
        assert answers(cli) == [{"category": "Billing", "mood": None}] * 3
        assert cli("classify", "-q").returncode == 0
        assert len(server.asked) == 3
        assert answers(cli) == [{"category": "Billing", "mood": "calm"}] * 3


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.parametrize("classifier", ["gpt", "both"])
def test_whenever_it_is_killed_nothing_is_paid_twice_and_nothing_half_counts_as_whole(
    cli: Cli, classifier: str, kills: int
) -> None:
    """What was in flight at a kill may come again; what was stored never does."""
    rng, number = random.Random(43), 12
    with running_llm_server(lambda n, asked: replace(answering()(n, asked), delay=0.01)) as server:
        configure(cli, server.url, classifier=classifier)
        tickets(cli, number, "Zq {n} wv")
        for _ in range(kills):
            before, at = len(server.asked), rng.randint(1, 5)
            process = cli.start("classify")
            until(partial(has_gone_on, server, before + at, process), "some calls")
            time.sleep(rng.random() * 0.02)
            process.kill()
            process.wait(PATIENCE)
            stored = rows(cli.db, STORED_ANSWERS)
            assert max(Counter(stored).values(), default=0) <= 1, "an answer that was stored was paid for again"
            for ticket in map(json.loads, cli("list").stdout.splitlines()):
                known = {question for ticket_id, question in stored if ticket_id == ticket["ticket_id"]}
                answered = {name for name, given in ticket["answers"].items() if given["state"] == "answered"}
                assert answered <= known, "an answer holds that is not stored"
        assert cli("classify", "-q").returncode == 0
        assert answers(cli) == [FIRST] * number
        assert cli("classify", "-q").returncode == 0
        assert is_whole(cli.db)
