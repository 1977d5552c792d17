"""A teacher labels stored tickets once: its labels are paid once, teach, prove nothing, and go with their tickets."""

import json
from typing import Any

from tests.support.cli import Cli
from tests.support.llm_server import Asked, LlmServer, Step, chat, running_llm_server

CONFIG = """
categories: [Refunds, Logins]
classifier: local
classifiers:
  local: {{type: local}}
  gpt: {{type: openai, model: m, base_url: "{url}", api_key_env: null, workers: 2, price: {{input: 1, output: 1}}}}
"""
REFUNDS = ["my money back for order {n}", "refund of the double charge {n}", "the invoice {n} was paid twice"]
LOGINS = ["cannot sign in since {n}", "the password {n} is refused", "locked out of account {n}"]


def teaching(_n: int, asked: Asked) -> Step:
    """Know what is about money."""
    about_money = any(word in asked.ticket for word in ("money", "refund of", "invoice"))
    return Step(chat(json.dumps({"category": "Refunds" if about_money else "Logins"})))


def queue(cli: Cli, server: LlmServer, numbers: range) -> None:
    (cli.folder / "config.yaml").write_text(CONFIG.format(url=server.url))
    rows = [each.format(n=n) for n in numbers for each in (*REFUNDS, *LOGINS)]
    text = "".join(f"{n}-{numbers.start},C-{n % 3},{row}\n" for n, row in enumerate(rows))
    assert cli("create", "-q", stdin=f"id,customer,subject\n{text}").returncode == 0


def labelled(cli: Cli) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cli("list", "--labelled", "-o", "jsonl").stdout.splitlines()]


def test_a_teacher_is_paid_once_and_its_student_waits_until_people_have_judged(cli: Cli) -> None:
    with running_llm_server(teaching) as server:
        queue(cli, server, range(10, 15))
        verdicts = "id,category\n0-10,Refunds\n3-10,Logins\n"
        assert cli("verdict", "-", stdin=verdicts).returncode == 0
        taught = cli("learn", "--teacher", "gpt", "--max-cost", "1", "--texts", "20", "-o", "json")
        assert taught.returncode == 0, taught.stderr
        assert "gpt labelled 20 new texts" in taught.stderr
        assert "it agrees with 2 of 2 decisions of people" in taught.stderr
        assert "$" in taught.stderr.split("gpt is asked about 22 texts: ")[1]
        asked = len(server.asked)
        assert asked == 22
        assert {(row["source"], row["proves"]) for row in labelled(cli)} == {("teacher", False)}
        assert json.loads(taught.stdout)["before"] is None, "nothing is measured on labels of a teacher"
        decided = [json.loads(line) for line in cli("classify", "-o", "jsonl").stdout.splitlines()]
        answers = [row for row in decided if row["confidence_source"] == "model"]  # others follow what a person decided
        assert {row["status"] for row in answers} == {"needs_review"}
        right = sum((row["suggestion"] == "Refunds") == (int(row["external_id"][:-3]) % 6 < 3) for row in answers)
        assert right >= 0.9 * len(answers)
        again = cli("learn", "--teacher", "gpt", "--max-cost", "1")
        assert "labelled 8 new texts" in again.stderr
        assert len(server.asked) == asked + 8, "what was paid for is not asked again"
        limited = cli("learn", "--teacher", "gpt", "--max-cost", "0")
        assert "labelled 0 new texts" in limited.stderr


def test_a_limit_ends_a_teacher_and_what_it_said_is_learned(cli: Cli) -> None:
    with running_llm_server(teaching) as server:
        queue(cli, server, range(10, 15))
        refused = cli("learn", "--teacher", "gpt")
        assert (refused.returncode, len(server.asked)) == (2, 0)
        assert "no limit is given; add --max-cost USD, or budget.per_day" in refused.stderr
        stopped = cli("learn", "--teacher", "gpt", "--max-cost", "0.002")
        assert stopped.returncode == 7, stopped.stderr
        assert 0 < len(labelled(cli)) == len(server.asked) < 30


def test_texts_of_a_teacher_go_with_the_tickets_that_they_are_of(cli: Cli) -> None:
    with running_llm_server(teaching) as server:
        queue(cli, server, range(10, 13))
        queue(cli, server, range(13, 15))
        assert cli("learn", "-q", "--teacher", "gpt", "--max-cost", "1").returncode == 0
    assert len(labelled(cli)) == 30
    second = json.loads(cli("runs", "-o", "json").stdout)
    imported = next(run for run in second if run["kind"] == "create")
    assert cli("undo", imported["run_id"], "--yes", "-q").returncode == 0
    assert len(labelled(cli)) == 18
    assert cli("forget", "--customer-id", "C-1", "--yes", "-q").returncode == 0
    assert {row["customer_id"] for row in labelled(cli)} == {"C-0", "C-2"}
    assert b"invoice 13 " not in cli.db.read_bytes()
