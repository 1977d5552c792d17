"""Language models through the command line: shared work, cost, kills, and that no answer is paid twice."""

import json
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.support.caught_connections import VARIABLE
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, is_whole, rows, until
from tests.support.llm_server import Asked, LlmServer, Step, chat, failing, good, running_llm_server, verdict
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.config import load_config
from triage_cli.service import LocalTriage

KEY = "sk-canary-4711-canary"
CANARY = "the zebra invoice of Mrs Quackenbush"


def configure(cli: Cli, url: str, more: str = "", classifier: str = "gpt") -> None:
    (cli.folder / "config.yaml").write_text(
        f"classifier: {classifier}\n"
        "classifiers:\n"
        f"  gpt: {{type: openai, model: m, base_url: {url}, api_key_env: TEST_KEY, workers: 4, max_retries: 0,\n"
        "        price: {input: 1000, output: 1000}}\n" + more
    )
    cli.env["TEST_KEY"] = KEY


def steps(url: str, *names: str) -> str:
    """Return the classifiers of a cascade that asks these models after `gpt`."""
    of = f"type: openai, base_url: {url}, api_key_env: null, workers: 4, max_retries: 0"
    price = "price: {input: 1000, output: 1000}"
    later = "".join(f"  {name}: {{model: {name}, {of}, {price}}}\n" for name in names)
    return f"{later}  both: {{type: cascade, steps: [{', '.join(('gpt', *names))}]}}\n"


def tickets(cli: Cli, number: int, text: str = "Where is invoice {n}?") -> None:
    rows = "".join(f"{n},{text.format(n=n)}\n" for n in range(number))
    assert cli("create", "-q", stdin="id,subject\n" + rows).returncode == 0


def statuses(cli: Cli) -> Counter[str]:
    return Counter(json.loads(line)["status"] for line in cli("list").stdout.splitlines())


def test_answers_are_stored_with_tokens_cost_and_source(cli: Cli) -> None:
    with running_llm_server() as server:
        configure(cli, server.url)
        tickets(cli, 5)
        done = cli("classify")
        assert done.returncode == 0, done.stderr
        first = json.loads(done.stdout.splitlines()[0])
        assert first["status"] == "classified"
        assert first["confidence_source"] == "said"
        assert first["cost_usd"] > 0
        assert (
            cli("classify", "--force", *[json.loads(line)["ticket_id"] for line in done.stdout.splitlines()]).returncode
            == 0
        )
        assert len(server.asked) == 10, "--force asks again"


def test_what_was_answered_is_not_asked_again_nor_an_equal_text(cli: Cli) -> None:
    with running_llm_server() as server:
        configure(cli, server.url)
        tickets(cli, 40, "Where is my refund?")
        assert cli("classify", "-q").returncode == 0
        assert statuses(cli) == {"classified": 40}
        assert len(server.asked) == 1
        tickets(cli, 3, "Where is my refund?")
        assert cli("create", "--subject", "Where is my refund?", "-q").returncode == 0
        assert cli("classify", "-q").returncode == 0
        assert len(server.asked) == 1


@pytest.mark.parametrize("answer", ["Billing", '{"category": "none of these"}'])
def test_an_answer_without_a_confidence_is_not_paid_for_twice_either(cli: Cli, answer: str) -> None:
    with running_llm_server(lambda _n, _asked: Step(chat(answer))) as server:
        configure(cli, server.url)
        for _ in range(2):
            tickets(cli, 1, "Where is my refund?")
            assert cli("create", "--subject", "Where is my refund?", "-q").returncode == 0
            assert cli("classify", "-q").returncode == 0
        assert statuses(cli) == {"needs_review": 3}
        assert len(server.asked) == 1


def test_a_bound_on_cost_stops_before_it_and_holds_over_restarts(cli: Cli) -> None:
    with running_llm_server() as server:
        configure(cli, server.url, "budget: {per_day: 4.0}\n")
        tickets(cli, 60)
        codes = [cli("classify", "-q").returncode for _ in range(3)]
        assert codes == [7, 7, 7]
        spent = sum(json.loads(line)["cost_usd"] for line in cli("list").stdout.splitlines())
        assert 0 < spent <= 4.0
        assert statuses(cli)["new"] == 60 - len(server.asked)
        one = cli("classify", "--max-cost", "0", "-o", "json")
        assert one.returncode == 7
        assert json.loads(one.stderr.splitlines()[-1])["error"]["code"] == "budget"


def test_a_wrong_key_stops_the_run_and_leaves_tickets_new(cli: Cli) -> None:
    with running_llm_server(lambda _n, _asked: failing(401)) as server:
        configure(cli, server.url)
        tickets(cli, 50)
        done = cli("classify")
        assert done.returncode == 4, done.stderr
        assert statuses(cli) == {"new": 50}
        assert len(server.asked) <= 4
        assert KEY not in done.stdout + done.stderr


def test_what_stops_a_run_leaves_out_no_row_that_was_stored(cli: Cli) -> None:
    with running_llm_server(lambda n, asked: failing(401) if "number 2" in asked.ticket else good(n, asked)) as server:
        configure(cli, server.url)
        table = "id,subject\n" + "".join(f"{n},This is number {n}\n" for n in range(4)) + "4,\n"
        done = cli("run", "-", "-o", "csv", "--workers", "1", stdin=table)
    assert done.returncode == 4
    assert "4 created, 0 updated, 0 unchanged, 1 rejected; 2 routed" in done.stderr.splitlines()[-2]
    printed = [line.split(",") for line in done.stdout.splitlines()[1:]]
    assert [line[0] for line in printed] == ["0", "1", "2", "3", "4"]
    assert [line[6] for line in printed] == ["routed", "routed", "new", "new", "rejected"]
    assert json.loads(cli("runs", "last").stdout)["counts"]["created"] == 4


def test_a_provider_that_is_gone_is_6_and_leaves_tickets_new(cli: Cli) -> None:
    configure(cli, "http://127.0.0.1:9")
    tickets(cli, 5)
    done = cli("classify", "--max-wait", "0s")
    assert done.returncode == 6, done.stderr
    assert statuses(cli) == {"new": 5}


def test_offline_opens_no_socket(cli: Cli) -> None:
    """What else might open one is in tests/e2e/test_network.py, command by command."""
    caught = cli.folder / "caught.txt"
    cli.env |= {VARIABLE: str(caught)}
    with running_llm_server() as server:
        local = "  local: {type: local, min_confidence: 0.99}\n  both: {type: cascade, steps: [local, gpt]}\n"
        configure(cli, server.url, local)
        tickets(cli, 1)
        refused = cli("classify", "--offline")
        assert refused.returncode == 2
        assert "needs the network, and --offline switches it off" in refused.stderr
        assert statuses(cli) == {"new": 1}
        assert cli("classify", "--offline", "--classifier", "both").returncode == 0, "its local step is asked"
        assert statuses(cli) == {"needs_review": 1}
        assert server.asked == []
        assert not caught.exists()
        tickets(cli, 2, "Where is parcel {n}?")
        assert cli("classify", "-q", "--max-wait", "0s").returncode != 0
        assert caught.exists(), "a socket that is opened is caught"


def test_a_cascade_asks_the_model_only_where_the_local_one_is_unsure(cli: Cli) -> None:
    with running_llm_server(lambda _n, _asked: Step(chat(verdict("General", 0.95)))) as server:
        configure(
            cli,
            server.url,
            "  local: {type: local, min_confidence: 0.8}\n  both: {type: cascade, steps: [local, gpt]}\n",
            "both",
        )
        assert cli("create", "-q", "--subject", "Refund: I was charged twice on my invoice").returncode == 0
        assert cli("create", "-q", "--subject", "Zyxw vuts rqpo").returncode == 0
        done = cli("classify")
        assert done.returncode == 0, done.stderr
        by = {r["subject"][:6]: r for r in map(json.loads, done.stdout.splitlines())}
        assert (by["Refund"]["classifier"], by["Refund"]["category"]) == ("local", "Billing")
        assert (by["Zyxw v"]["classifier"], by["Zyxw v"]["category"]) == ("gpt", "General")
        assert len(server.asked) == 1
        kept = json.loads(cli("show", by["Zyxw v"]["ticket_id"]).stdout)["classifications"]
        assert [c["classifier"] for c in kept] == ["local", "gpt"], "every step's answer is kept"
        assert cli("run", "-q", stdin="subject\nRefund: I was charged twice on my invoice\n").returncode == 0
        assert len(server.asked) == 1


def test_a_control_sample_of_sure_answers_shows_drift_in_stats(cli: Cli) -> None:
    def half(n: int, _asked: Asked) -> Step:
        return Step(chat(verdict("Billing" if n % 2 else "General", 0.9)))

    with running_llm_server(half) as server:
        more = (
            "  local: {type: local, min_confidence: 0.3}\n  both: {type: cascade, steps: [local, gpt], audit_rate: 1}\n"
        )
        configure(cli, server.url, more, "both")
        tickets(cli, 8, "Refund invoice {n}: I was charged twice")
        assert cli("classify", "-q").returncode == 0
        assert json.loads(cli("stats", "-o", "json").stdout)["audited"] == {"local": {"asked": 8, "agreed": 4}}
        assert "audited" in cli("stats", "-o", "table").stdout


def test_a_sure_answer_stands_where_only_its_control_fails(cli: Cli) -> None:
    with running_llm_server(lambda _n, _asked: Step(chat("prose"))) as server:
        more = (
            "  local: {type: local, min_confidence: 0.3}\n  both: {type: cascade, steps: [local, gpt], audit_rate: 1}\n"
        )
        configure(cli, server.url, more, "both")
        tickets(cli, 3, "Refund invoice {n}: I was charged twice")
        done = cli("classify", "-o", "jsonl")
        assert done.returncode == 0, done.stderr
        records = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(t["status"], t["category"], t["classifier"]) for t in records] == [
            ("classified", "Billing", "local")
        ] * 3
        assert all(t["cost_usd"] > 0 for t in records), "what failed was paid for"
        assert len(server.asked) == 3


def test_a_cascade_goes_on_where_a_step_is_not_available_and_the_log_says_what_went_where(cli: Cli) -> None:
    def dying(n: int, asked: Asked) -> Step:
        return good(n, asked) if n < 5 else Step("gone", status=503)

    with running_llm_server(dying) as first, running_llm_server() as second:
        more = (
            f"  backup: {{type: openai, model: m, base_url: {second.url}, api_key_env: null}}\n"
            "  both: {type: cascade, steps: [gpt, backup]}\n"
        )
        configure(cli, first.url, more, "both")
        tickets(cli, 60)
        done = cli("classify", "-q", "--max-wait", "0s", "-o", "jsonl")
        assert done.returncode == 0, done.stderr
        assert statuses(cli) == {"classified": 60}
        (stderr,) = done.stderr.splitlines()
        assert stderr.startswith('warning: classifier "gpt" is not available (127.0.0.1:')
        assert stderr.endswith("the next step of both is asked instead")
        by = Counter(json.loads(line)["classifier"] for line in done.stdout.splitlines())
        assert by == {"gpt": 5, "backup": 55}
        assert len(second.asked) == 55
        ticket = json.loads(done.stdout.splitlines()[-1])["ticket_id"]
        detail = json.loads(cli("logs", ticket, "--action", "classified", "-o", "jsonl").stdout)["detail"]
        assert detail["sent"][second.url] == ["subject"]


def test_why_tells_of_each_step_of_a_cascade(cli: Cli) -> None:
    with running_llm_server() as server:
        more = "  local: {type: local, min_confidence: 0.99}\n  both: {type: cascade, steps: [local, gpt]}\n"
        configure(cli, server.url, more, "both")
        tickets(cli, 1, "The refund {n} and a crash at the start of the app")
        assert cli("classify", "-q").returncode == 0
        (name,) = cli("list", "-o", "id").stdout.split()
        _, _, first, second, _ = cli("why", name).stdout.splitlines()
    assert "the embedded model answered Billing at 0." in first
    assert first.endswith("below its threshold of 0.99, so the next step is asked")
    assert "gpt (openai m) answered Billing" in second


def first_unsure(_n: int, asked: Asked) -> Step:
    return Step(chat(verdict(confidence=0.3 if asked.body["model"] == "m" else 0.95)))


def test_a_plan_compares_a_ticket_once_that_two_paid_steps_were_asked_about(cli: Cli) -> None:
    (cli.folder / "old.yaml").write_text("classifier: local\n")
    invoices = "id,subject\n" + "".join(f"{n},Invoice {n} was charged twice\n" for n in range(5))
    assert cli("run", "-q", "--config", "old.yaml", stdin=invoices).returncode == 0
    with running_llm_server(first_unsure) as server:
        configure(cli, server.url, steps(server.url, "big"), "both")
        compare = ["plan", "config.yaml", "--config", "old.yaml", "-o", "json"]
        asking, stored = cli(*compare, "--ask", "--max-cost", "5", "--max-moved", "5%"), cli(*compare)
        assert len(server.asked) == 10
    assert (asking.returncode, stored.returncode) == (0, 0), asking.stderr
    assert "0 of 5 tickets of the last 30d would move" in asking.stderr
    assert json.loads(asking.stdout) == json.loads(stored.stdout)
    assert json.loads(cli("runs", "last").stdout)["counts"] == {"asked": 10}


def test_doctor_tells_what_the_last_step_of_a_cascade_answered(cli: Cli) -> None:
    with running_llm_server(first_unsure) as server:
        configure(cli, server.url, steps(server.url, "big"), "both")
        tickets(cli, 1)
        checks = {row["what"]: row for row in map(json.loads, cli("doctor", "-o", "jsonl").stdout.splitlines())}
        assert [asked.body["model"] for asked in server.asked] == ["m", "big", "m", "big"]
    assert checks["classifier both"]["said"] == "big answered Billing at 0.95 (said)"


@pytest.mark.parametrize("command", ["classify", "reclassify", "eval"])
def test_what_stops_a_later_step_loses_no_answer_of_an_earlier_one(cli: Cli, command: str) -> None:
    allowed = 0  # every so many requests are refused by the second step, which ends the run

    def unsure(n: int, _asked: Asked) -> Step:
        return Step(chat(verdict("General", 0.2)), delay=0.02 * (n % 3))

    def refusing(n: int, asked: Asked) -> Step:
        return failing(401) if allowed and n % allowed == allowed - 1 else good(n, asked)

    with running_llm_server(unsure) as first, running_llm_server(refusing) as second:
        price = "price: {input: 1000, output: 1000}"
        of = f"base_url: {second.url}, api_key_env: null, workers: 4, max_retries: 0, {price}"
        more = (
            f"  old: {{type: openai, model: old, {of}}}\n  big: {{type: openai, model: big, {of}}}\n"
            "  both: {type: cascade, steps: [gpt, big]}\n"
        )
        configure(cli, first.url, more, "both")
        tickets(cli, 40)
        words = [command, "-q"]
        if command == "reclassify":
            assert cli("classify", "-q", "--classifier", "old").returncode == 0
        if command == "eval":
            labelled = "".join(f"Where is invoice {n}?,Billing\n" for n in range(40))
            (cli.folder / "labelled.csv").write_text("subject,label\n" + labelled)
            words += ["labelled.csv"]
        before, allowed = statuses(cli), 9
        assert [cli(*words).returncode for _ in range(2)] == [4, 4]
        if command == "reclassify":
            assert statuses(cli) == before
        allowed = 0
        assert cli(*words).returncode == 0
        assert len(first.asked) == 40, "what the first step has answered is not asked again"
        if command == "classify":
            assert statuses(cli) == {"classified": 40}
            paid = 40 + sum(json.loads(line)["category"] == "Billing" for line in cli("list").stdout.splitlines())
            costs = [json.loads(line)["cost_usd"] for line in cli("list").stdout.splitlines()]
            assert sum(costs) == pytest.approx(0.11 * paid)


def test_kill_9_loses_no_paid_answer_beyond_those_in_flight(cli: Cli) -> None:
    number, kills, workers = 120, 3, 4
    gate: list[LlmServer] = []

    def slow(n: int, asked: Asked) -> Step:
        return replace(good(n, asked), delay=0.01)

    with running_llm_server(slow) as server:
        gate.append(server)
        configure(cli, server.url)
        tickets(cli, number)
        for kill in range(kills):
            process = cli.start("classify", "-q")
            while len(server.asked) < (kill + 1) * 20 and process.poll() is None:
                pass
            process.kill()
            process.communicate()
        assert cli("classify", "-q").returncode == 0
        assert statuses(cli) == {"classified": number}
        assert len(server.asked) <= number + kills * 2 * workers


def test_kill_9_loses_no_paid_answer_that_waits_for_the_next_step(cli: Cli) -> None:
    hangs, answered = True, 8

    def unsure(n: int, _asked: Asked) -> Step:
        return Step(chat(verdict("General", 0.2)), hang=hangs and n >= answered)

    def hanging(n: int, asked: Asked) -> Step:
        return replace(good(n, asked), hang=hangs)

    with running_llm_server(unsure) as first, running_llm_server(hanging) as second:
        configure(cli, first.url, steps(second.url, "big"), "both")
        tickets(cli, 40)
        process = cli.start("classify", "-q")
        until(lambda: len(second.asked) == 4, "a queue before the second step")
        until(lambda: rows(cli.db, "select count(*) from classifications") == [(answered,)], "what was paid for")
        process.kill()
        process.communicate()
        hangs, before = False, len(first.asked)
        assert statuses(cli) == {"new": 40}
        assert sum(json.loads(line)["cost_usd"] for line in cli("list").stdout.splitlines()) == pytest.approx(
            0.11 * answered
        )
        assert cli("classify", "-q").returncode == 0
        assert statuses(cli) == {"classified": 40}
        assert len(first.asked) == before + 40 - answered, "no answer was lost"
        records = [json.loads(line) for line in cli("list").stdout.splitlines()]
        assert [t["cost_usd"] for t in records] == pytest.approx([0.22] * 40)
        log = [json.loads(line) for line in cli("logs", "--action", "classified", "-o", "jsonl").stdout.splitlines()]
        outcomes = Counter(event["detail"].get("outcome") for event in log)
        assert outcomes[None] == 40
        assert answered <= outcomes["next"] <= 40, "what is saved by itself is no decision"
        assert is_whole(cli.db)


def test_a_verdict_wins_that_comes_between_two_steps(cli: Cli) -> None:
    go = threading.Event()

    def waiting(n: int, asked: Asked) -> Step:
        go.wait(PATIENCE)
        return good(n, asked)

    with (
        running_llm_server(lambda _n, _asked: Step(chat(verdict("General", 0.2)))) as first,
        running_llm_server(waiting) as second,
    ):
        configure(cli, first.url, steps(second.url, "big"), "both")
        tickets(cli, 2)
        with cli.start("classify", "-q") as process:
            until(
                lambda: rows(cli.db, "select count(*) from classifications") == [(2,)], "the answers of the first step"
            )
            assert cli("verdict", "0", "Technical", "-q").returncode == 0
            go.set()
            assert process.wait(PATIENCE) == 0
    by_external_id = {t["external_id"]: t for t in map(json.loads, cli("list").stdout.splitlines())}
    assert (by_external_id["0"]["category"], by_external_id["0"]["verdict"]) == ("Technical", 1)
    assert (by_external_id["1"]["category"], by_external_id["1"]["cost_usd"]) == ("Billing", pytest.approx(0.22))
    kept = "select count(*), count(distinct classification_id), round(sum(cost), 2) from classifications"
    assert rows(cli.db, kept) == [(5, 5, 0.44)], "the late answer is kept too"
    assert is_whole(cli.db)


def test_a_sure_answer_that_was_paid_stands_where_its_controls_fail(cli: Cli) -> None:
    def failing_control(n: int, asked: Asked) -> Step:
        return good(n, asked) if asked.body["model"] == "m" else Step(chat("prose"), delay=0.05)

    with running_llm_server(failing_control) as server:
        more = steps(server.url, "big", "huge").replace("}\n  both: {", "}\n  both: {audit_rate: 1, ")
        configure(cli, server.url, more, "both")
        tickets(cli, 6)
        done = cli("classify", "-o", "jsonl")
        assert done.returncode == 0, done.stderr
        records = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(t["status"], t["classifier"]) for t in records] == [("classified", "gpt")] * 6
        assert [t["cost_usd"] for t in records] == pytest.approx([0.33] * 6)
        assert len(server.asked) == 18
        assert rows(cli.db, "select count(*) from classifications") == [(18,)]
        why = cli("why", records[0]["ticket_id"]).stdout
    assert "its threshold of 0.60 is reached; the next step is asked as a control" in why
    assert is_whole(cli.db)


def test_two_runs_at_once_ask_about_each_ticket_once(cli: Cli) -> None:
    with running_llm_server() as server:
        configure(cli, server.url)
        tickets(cli, 80)
        runs = [cli.start("classify", "-q") for _ in range(2)]
        assert [process.wait(PATIENCE) for process in runs] == [0, 0]
        for process in runs:
            process.communicate()
        assert statuses(cli) == {"classified": 80}
        assert len(server.asked) == 80


def test_neither_key_nor_ticket_text_leaks(cli: Cli, tmp_path: Path) -> None:
    with running_llm_server(lambda n, _asked: failing(500) if n % 2 else Step(chat("prose"))) as server:
        configure(cli, server.url)
        assert cli("create", "-q", "--subject", CANARY).returncode == 0
        for _ in range(2):
            done = cli("classify", "-v", "-o", "id", OPENAI_LOG="debug")
            assert KEY not in done.stdout + done.stderr
            assert CANARY not in done.stdout + done.stderr
        assert len(server.asked) == 2
    for path in tmp_path.rglob("*.db*"):
        assert KEY.encode() not in path.read_bytes()
    events = cli("logs").stdout
    assert CANARY not in events


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_a_key_that_its_server_repeats_is_never_told_whatever_it_looks_like(cli: Cli, status: int) -> None:
    key = "0123456789abcdef+123456789abcde/"
    spelt = key.replace("+", "%2b").replace("/", "\\u002F")
    with running_llm_server(lambda _n, _asked: failing(status, f"The key {key} may not do that, {spelt}")) as server:
        configure(cli, server.url)
        assert cli("create", "-q", "--subject", "hello").returncode == 0
        results = [cli("classify", "-v", "--max-wait", "0s", TEST_KEY=key), cli("list"), cli("logs"), cli("runs")]
    assert len(server.asked) == 1
    assert not [done for done in results if key[:16] in done.stdout + done.stderr]


def test_a_dry_run_shows_the_first_prompt_and_the_cost_and_asks_nobody(cli: Cli) -> None:
    with running_llm_server() as server:
        configure(cli, server.url)
        tickets(cli, 7)
        done = cli("classify", "--dry-run")
        assert done.returncode == 0
        assert "7 tickets would be asked" in done.stderr
        assert "$" in done.stderr
        assert "Billing" in done.stdout
        assert server.asked == []


def test_a_dry_run_without_a_price_says_so(cli: Cli) -> None:
    free = "  free: {type: openai, model: m, base_url: http://127.0.0.1:9/v1, api_key_env: null}\n"
    configure(cli, "http://127.0.0.1:9/v1", free, classifier="free")
    tickets(cli, 2)
    done = cli("classify", "--dry-run")
    assert done.returncode == 0
    assert "2 tickets would be asked" in done.stderr
    assert "at a price that is not configured" in done.stderr


def test_a_dry_run_tells_of_the_tickets_that_would_be_asked_about_in_their_order(cli: Cli) -> None:
    with running_llm_server() as server:
        configure(cli, server.url)
        cli("create", "-q", stdin="id,subject,priority\n1,one,low\n2,two,urgent\n3,three,normal\n")
        assert cli("classify", "3", "-q").returncode == 0
        assert cli("verdict", "1", "General", "-q").returncode == 0
        cli("create", "-q", "--subject", "four")
        assert "two" in cli("classify", "--dry-run").stdout
        assert "2 tickets would be asked" in cli("classify", "--dry-run").stderr
        assert "0 tickets would be asked" in cli("classify", "1", "3", "--dry-run").stderr
        assert "1 ticket would be asked" in cli("classify", "1", "--force", "--dry-run").stderr
        assert len(server.asked) == 1


def test_the_doctor_tells_what_works_and_what_to_do(cli: Cli) -> None:
    with running_llm_server() as server:
        configure(
            cli, server.url, "  gone: {type: openai, model: m, base_url: http://127.0.0.1:9, api_key_env: null}\n"
        )
        checks = {record["what"]: record for record in map(json.loads, cli("doctor").stdout.splitlines())}
        assert checks["classifier gpt"]["works"] is None, "there is no database to book a call in"
        assert server.asked == []
        assert not cli.db.exists()
        assert cli("create", "-q", stdin="subject\n").returncode == 0
        done = cli("doctor")
        assert "by a JSON schema" in done.stdout
        assert done.returncode == 8, done.stderr
        checks = {record["what"]: record for record in map(json.loads, done.stdout.splitlines())}
        assert checks["classifier gpt"]["works"]
        assert "answered" in checks["classifier gpt"]["said"]
        assert not checks["classifier gone"]["works"]
        assert statuses(cli) == {}, "nothing was stored"


@pytest.mark.parametrize("text", ["5", "soon", "-1m", ""])
def test_a_wait_that_is_no_duration_is_told(cli: Cli, text: str) -> None:
    done = cli("classify", "--max-wait", text)
    assert done.returncode == 2
    assert "30s, 2m or 1h" in done.stderr


def test_the_runs_of_one_process_keep_a_providers_pace_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "k")
    with running_llm_server() as server:
        (tmp_path / "triage.yaml").write_text(
            f"classifier: gpt\nclassifiers: {{gpt: {{type: openai, model: m, base_url: {server.url}, "
            "api_key_env: TEST_KEY, requests_per_minute: 1}}\n"
        )
        config = load_config(config=str(tmp_path / "triage.yaml"), db=str(tmp_path / "t.db"), env={}, cwd=tmp_path)
        parts = wiring.services(config, make=True)
        first, second = (LocalTriage(parts, "me", word) for word in ("one", "two"))
        list(first.create([dm.TicketDraft(n, n, f"Refund {n}") for n in range(2)]))
        list(first.classify(dm.Selection(limit=1), dm.ClassifyPlan()))
        with pytest.raises(dm.UnavailableError, match="--deadline"):
            list(second.classify(dm.Selection(limit=1), dm.ClassifyPlan(deadline=0.1)))
    assert len(server.asked) == 1
