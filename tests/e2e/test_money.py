"""Money has one gate: over all commands, requests and providers no call is made beyond the budget, and none unbooked.

The provider bills at worst (`till`), so that a bound which only holds for English would be seen.
"""

import ast
import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.support import llm_server
from tests.support.api_server import ApiServer, running_server
from tests.support.billing_server import USD, Till, billed, configuration
from tests.support.cli import Cli
from tests.support.every_command import check_rows
from tests.support.llm_classifiers import TYPES, opened
from tests.support.llm_server import Script, failing, good
from tests.support.mcp_client import ToolFailedError, connected
from tests.support.rooms import PACKAGE, room_of
from tests.support.world import a_budget
from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import CommandContext
from triage_cli.config import MODELS, Price, load_config
from triage_cli.extensions.llm import (
    AnthropicBatchApi,
    AnthropicProvider,
    BudgetReserver,
    DecisionProvider,
    LLMClassifier,
    OpenAIBatchApi,
    OpenAIProvider,
)
from triage_cli.extensions.llm import provider as llm_provider
from triage_cli.extensions.mcp import AgentServer
from triage_cli.ports import operations
from triage_cli.runtime import TOLERANCE
from triage_cli.service import (
    EvaluationRun,
    LocalConsultation,
    LocalTriage,
    RunRecorder,
    Services,
    unasked_budget,
)
from triage_cli.wiring import LocalAnalysis

TINY = "budget: {per_day: 0.000001}\n"
AMPLE = "budget: {per_day: 1000}\n"
TICKETS = "id,subject,customer\n" + "".join(f"{n},The case number {n} of a crash,C-{n}\n" for n in range(4))
LABELLED = "subject,label\n" + "".join(f"The case number {n} of an invoice,Billing\n" for n in range(3))
TOPICS = ["The parcel arrived broken", "I forgot my password"] * 8

# Every command that there is, by its words: what is typed, and stdin. A new one needs its row here.
COMMANDS: dict[str, list[tuple[str, str]]] = {
    "create": [("create --dry-run --classify", TICKETS), ("create", TICKETS)],
    "pull": [("pull", "")],
    "nightly": [("nightly", "")],
    "classify": [
        ("classify --dry-run", ""),
        ("classify", ""),
        ("classify 0 --classifier both --force", ""),
        ("classify 1 --force", ""),
        ("classify --text - --max-cost 1", "A crash of the app\nThe case number 78\n"),
    ],
    "route": [("route --dry-run", ""), ("route", ""), ("route 0 --again --retry-dead", "")],
    "run": [
        ("run -", "id,subject\n9,Something else broke\n"),
        ("run - --classifier both", "id,subject\n8,Zyxw vuts\n"),
        ("run - --dry-run --classifier other", "id,subject\n7,Something else again\n"),
        ("run - --dry-run --ask --max-cost 1", "id,subject\n6,Something quite else\n"),
    ],
    "learn": [("learn labelled.csv", ""), ("learn --teacher other --texts 1 --max-cost 1", "")],
    "reclassify": [("reclassify --classifier other", ""), ("reclassify 2 --force --apply --classifier gpt", "")],
    "plan": [("plan plan.yaml", ""), ("plan plan.yaml --ask --max-cost 1", "")],
    "spikes": [("spikes", "")],
    "drift": [("drift", "")],
    "report": [("report", "")],
    "verdict": [("verdict 3 Billing", ""), ("verdict -", "id,category\n2,General\n")],
    "review": [("review", "")],
    "runs": [("runs", "")],
    "list": [("list", "")],
    "show": [("show 0", "")],
    "why": [("why 0", "")],
    "similar": [("similar 0", "")],
    "logs": [("logs", "")],
    "audit verify": [("audit verify", "")],
    "audit head": [("audit head", "")],
    "undo": [("undo last --dry-run", ""), ("undo last --yes", "")],
    "forget": [("forget --customer-id C-3 --yes", "")],
    "stats": [("stats", "")],
    "init": [("init --to made.yaml", "")],
    "config init": [("config init other.yaml", "")],
    "config show": [("config show", "")],
    "config check": [("config check", "")],
    "config schema": [("config schema", "")],
    "db path": [("db path", "")],
    "db migrate": [("db migrate", "")],
    "db backup": [("db backup copy.db", "")],
    "db restore": [("db restore copy.db --yes", "")],
    "db copy": [("db copy postgresql://127.0.0.1:9/nowhere", "")],
    "doctor": [("doctor", "")],
    "check": [("check --max-review 1000", "")],
    "serve": [],  # its requests have a table of their own
    "mcp": [],  # its tools have a test of their own
    "keys create": [("keys create tester --role agent", "")],
    "keys list": [("keys list", "")],
    "keys rotate": [("keys rotate tester", "")],
    "keys revoke": [("keys revoke tester", "")],
    "eval": [
        ("eval labelled.csv --classifier gpt --classifier both --calibrate", ""),
    ],
    "discover": [("discover", ""), ("discover topics.csv", ""), ("discover topics.csv --name-with gpt", "")],
    "suspects": [("suspects labelled.csv", "")],
    "categories": [("categories --labels labelled.csv", "")],
}
DOORS = {
    "classify",
    "nightly",
    "run",
    "reclassify",
    "plan",
    "doctor",
    "eval",
    "discover",
    "learn",
}  # the commands that ask a provider


def test_every_command_has_its_row() -> None:
    check_rows(COMMANDS, "COMMANDS", __file__)


def used(cli: Cli, kind: str, url: str, till: Till, more: str, words: set[str]) -> dict[str, int]:
    """Use these commands one after the other; return how many calls each made."""
    (cli.folder / "config.yaml").write_text(configuration(url, kind, more))
    (cli.folder / "labelled.csv").write_text(LABELLED)
    (cli.folder / "topics.csv").write_text("subject\n" + "\n".join(TOPICS))
    categories = "categories: [Billing, Technical, General, Sales]\n"  # another question, so that no answer is kept
    (cli.folder / "plan.yaml").write_text(categories + configuration(url, kind, more))
    calls: dict[str, int] = {}
    for name, lines in COMMANDS.items():
        for line, stdin in lines if name in words else ():
            before = till.calls
            done = cli(*line.split(), stdin=stdin)
            assert done.returncode in (0, 2, 3, 5, 6, 7, 8), (line, done.stderr)
            assert "unexpected" not in done.stderr, (line, done.stderr)
            calls[line] = till.calls - before
    return calls


def cost(cli: Cli) -> float:
    return float(json.loads(cli("stats", "-o", "json").stdout)["cost_usd"])


@pytest.mark.parametrize("kind", TYPES)
def test_no_command_asks_a_provider_beyond_the_budget(fitted: Cli, kind: str) -> None:
    with llm_server.running_llm_server(till := Till()) as server:
        url = server.root if kind == "anthropic" else server.url
        calls = used(fitted, kind, url, till, TINY, set(COMMANDS) if kind == "openai" else {"create", "classify"})
    assert (till.usd, {line for line, number in calls.items() if number}) == (0, set())
    assert cost(fitted) == 0


@pytest.mark.parametrize("kind", TYPES)
def test_every_cent_that_a_command_is_billed_is_in_stats(fitted: Cli, kind: str) -> None:
    with llm_server.running_llm_server(till := Till(losing=7)) as server:
        url = server.root if kind == "anthropic" else server.url
        doors = DOORS if kind == "openai" else {"classify", "doctor"}
        calls = used(fitted, kind, url, till, AMPLE, {"create", *doors})
    assert {name for name, lines in COMMANDS.items() if any(calls.get(line) for line, _ in lines)} == doors
    assert till.usd - TOLERANCE <= cost(fitted) <= 1.5 * till.usd, "what was lost is booked at its worst"


# Every request that may change something, with its body. A new one needs its row here.
REQUESTS: dict[str, Any] = {
    "POST /tickets": {"subject": "It broke"},
    "POST /tickets/batch": TICKETS,
    "POST /tickets/{ticket_id}/classify": None,
    "POST /tickets/{ticket_id}/verdict": {"category": "Billing"},
    "POST /tickets/{ticket_id}/route": None,
    "POST /tickets/{ticket_id}/suggestions": {"category": "Billing", "agent": "claude"},
    "POST /classify/text": {"description": "The case number 77 of a crash"},
    "POST /classify": {"selection": {"ids": ["0", "1"]}, "plan": {"force": True}},
    "POST /route": {},
    "POST /reclassify": {"plan": {"classify": {"classifier": "other"}}},
    "POST /verdicts": {"verdicts": [{"name": "2", "category": "Billing"}]},
    "POST /webhooks/{source}": None,
    "POST /keys": {"name": "tester", "role": "reader"},
    "POST /keys/{name}/rotate": None,
    "DELETE /keys/{name}": None,
    "POST /forget": {"customer_id": "nobody"},
    "POST /imports/{run}/undo": {"dry_run": True},
    "POST /audit/verify": None,
    "POST /operations/keep_reading": {"header": "0" * 64, "reading": {"source": "shop"}},
    "POST /operations/find_spikes": {"window": 60.0, "baseline": 604800.0},
    "POST /operations/send_spikes": {"window": 60.0, "baseline": 604800.0},
    "POST /operations/drift": {"window": 60.0},
    "POST /operations/discover": {"tickets": [{"text": text} for text in TOPICS], "asked": {"name_with": "gpt"}},
    "POST /operations/suspects": {"rows": []},
    "POST /operations/category_changes": {"rows": []},
    "POST /operations/learn": {"rows": [{"text": "The case number 3 of an invoice", "category": "Billing"}]},
    "POST /operations/teach": {"plan": {"classifier": "gpt"}, "most": 2},
    "POST /operations/roll_back": {},
    "POST /operations/evaluate": {
        "rows": [{"text": "The case number 4 of an invoice", "category": "Billing"}],
        "plan": {"classifier": "other"},
        "calibrate": False,
    },
    "POST /operations/classify": {"selection": {"ids": []}, "plan": {"force": True}},
    "POST /operations/route": {"selection": {}, "plan": {}},
    "POST /operations/reclassify": {"selection": {}, "plan": {"classify": {"classifier": "other"}}},
    "POST /operations/give_verdicts": {"verdicts": [{"row": 0, "name": "2", "category": "Billing"}]},
    "POST /operations/forget": {"customer_id": "nobody"},
    "POST /operations/undo": {"name": "last", "dry_run": True},
    "POST /operations/runs": {"limit": 1},
    "POST /operations/classify_text": {"question": {"description": "The case number 78 of a crash"}, "plan": {}},
    "POST /operations/suggest": {"draft": {"name": "0", "category": "Billing", "agent": "claude"}},
    "POST /operations/plan_texts": {"config": "categories: [Billing, Technical, General, Sales]\n", "routes": None},
}


def requested(server: ApiServer) -> list[str]:
    """Use every request that may change something, and return the words of those that there are."""
    changing = {"post", "put", "patch", "delete"}
    with server.client("admin") as client:
        paths = client.get("/openapi.json").json()["paths"]
        for words, body in REQUESTS.items():
            method, _, path = words.partition(" ")
            path = path.format(ticket_id="0", source="desk", name="tester", run="last")
            query = {"do": "classify,route"} if "batch" in path else {}
            table = {"content": body, "headers": {"content-type": "text/csv"}}
            client.request(method, path, params=query, **(table if isinstance(body, str) else {"json": body}))
    return sorted(
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method in methods.keys() & changing
        if not (path.startswith(operations.PATH) and methods[method]["x-required-role"] == "reader")
    )


@pytest.mark.parametrize("more", [TINY, AMPLE])
def test_no_request_asks_a_provider_beyond_the_budget_or_off_the_books(
    fitted_database: Path, tmp_path: Path, more: str
) -> None:
    db = tmp_path / "t.db"
    db.write_bytes(fitted_database.read_bytes())
    with (
        llm_server.running_llm_server(till := Till()) as provider,
        running_server(tmp_path, config=configuration(provider.url, more=more), db=db) as server,
    ):
        assert requested(server) == sorted(REQUESTS)
        with server.client() as client:
            reported_cost = client.get("/stats").json()["cost_usd"]
    assert (till.calls > 5) == (more == AMPLE)
    assert reported_cost == pytest.approx(till.usd)


@pytest.mark.parametrize(("more", "max_cost", "called"), [(TINY, 99.0, 0), (AMPLE, 0.0, 0), (AMPLE, 99.0, 2)])
def test_no_text_of_an_agent_is_classified_beyond_the_budget(
    fitted_database: Path, tmp_path: Path, more: str, max_cost: float, called: int
) -> None:
    db = tmp_path / "t.db"
    db.write_bytes(fitted_database.read_bytes())
    with llm_server.running_llm_server(till := Till()) as provider:
        (tmp_path / "config.yaml").write_text(configuration(provider.url, more=more))
        config = load_config(db=str(db), env={"HOME": str(tmp_path)}, cwd=tmp_path)
        parts = wiring.services(config)
        consult = LocalConsultation(parts, "ada")
        with connected(AgentServer(LocalTriage(parts, "ada"), consult, max_cost=max_cost)) as call:
            for number in range(2):
                with nullcontext() if called else pytest.raises(ToolFailedError, match="the next call might pass the"):
                    call("classify_text", text=f"The case {number} of a crash", classifier="gpt")
    assert till.calls == called
    assert parts.store.stats().cost_usd == pytest.approx(till.usd)
    assert consult.spent == pytest.approx(till.usd)


# -- the worst case


NASTY = ("0123456789abcdef" * 200, "Zm9vYmFy" * 300, "😀" * 500, "订单没有收到" * 200, '"\\\n\t' * 300, "a" * 30_000)
TEXTS = [
    dm.Ticket(f"t{n}", "i", "s", None, "h", text, text, None, None, 2, None, "now") for n, text in enumerate(NASTY)
]


def objecting(to: str) -> Script:
    """Object to a part of the request, so that the next one leaves it out."""
    return lambda n, one: failing(400, f"{to} is not known here") if n == 0 else good(n, one)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    "to", ["", "logprobs", "temperature", "max_completion_tokens", "maxLength", "json_schema", "effort"]
)
def test_no_request_is_longer_than_its_worst_case(kind: str, to: str) -> None:
    with llm_server.running_llm_server(objecting(to) if to else good) as server:
        classifier = opened(server, kind, workers=1, price=Price(1.0, 1.0))
        for ticket in TEXTS:
            worst = classifier.worst_usage(classifier.question(ticket)[0], llm_provider.ANSWER_TOKENS)
            before = len(server.asked)
            list(classifier.classify([[ticket]], a_budget()))
            for one in server.asked[before:]:
                assert billed(one.body).input <= worst.input
                assert billed(one.body).output <= worst.output


def test_every_provider_has_a_worst_case_that_the_tests_above_look_at() -> None:
    def below(kind: type[Any]) -> Iterator[type[Any]]:
        for one in kind.__subclasses__():
            yield from (one, *below(one))

    question_spec = {one for one in below(llm_provider.ProviderClient) if hasattr(one, "ask")}
    assert question_spec == {OpenAIProvider, AnthropicProvider, DecisionProvider, OpenAIBatchApi, AnthropicBatchApi}
    assert all(callable(getattr(one, "most_tokens", None)) for one in question_spec)
    assert set(MODELS) == set(TYPES)
    assert USD


# -- who may open a budget


def calls(name: str) -> dict[str, list[str]]:
    """Return where something is called in the package, and with what."""
    found: dict[str, list[str]] = {}
    _, _, last = name.rpartition(".")
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text()
        if f"{last}(" not in source:  # to parse all takes seconds
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                call = ast.unparse(node.func)
                if call == name or (name.startswith(".") and call.endswith(name)):
                    found.setdefault(str(path.relative_to(PACKAGE)), []).append(", ".join(map(ast.unparse, node.args)))
    return found


def test_only_a_run_opens_a_budget_and_each_is_bounded_by_the_day() -> None:
    plan = room_of(unasked_budget)
    assert set(calls("Budget")) == {room_of(RunRecorder), plan}, "a plan's is of nothing asked"
    diagnostics = room_of(wiring.classifier_diagnostics)
    assert set(calls("Budget.free")) == {room_of(RunRecorder), diagnostics}
    opened = calls(".open_budget")
    openers = (LocalConsultation, EvaluationRun, Services, LocalAnalysis)
    assert set(opened) == {*map(room_of, openers), diagnostics}
    assert all(args[0].endswith("per_day") for args in opened.values())
    # One asks the person in front of it, two ask the store about many tickets at once.
    free = {room_of(CommandContext), room_of(BudgetReserver)}
    question_spec = set(calls(".ask")) - free
    assert question_spec == {room_of(LLMClassifier)}, "a provider is asked by whoever sets money aside alone"
