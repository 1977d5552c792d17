"""Providers' batches: each ticket is submitted once and each paid answer kept, whatever is killed or refused."""

import json
import os
import re
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.batch_kinds import KINDS
from tests.support.batch_server import BatchServer, End, running_batch_server, well
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, is_whole, rows, until
from tests.support.llm_server import refund_logprobs, verdict
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.config import load_config
from triage_cli.extensions.llm import AnthropicBatchApi, BatchLimits, OpenAIBatchApi
from triage_cli.runtime import AsyncBridge
from triage_cli.service import AHEAD, LocalTriage, RunContext
from triage_cli.stores import SqliteStore
from triage_cli.wiring import open_model_registry

EACH = 110 * 1000 / 1_000_000 / 2  # USD: what one answer of the fake costs, at half the price
BATCH = dm.ClassifyPlan(batch=True, max_wait=0.0)
# Texts that the embedded model has a category for, and one with a verdict.
SURE = "id,subject,said\n1,I was charged twice,\n2,my refund is missing,\n3,three,General\n"


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with running_batch_server() as server:
        yield server


def configured(folder: Path, server: BatchServer, kind: str = "openai", more: str = "", name: str = "gpt") -> None:
    url = server.url if kind == "openai" else server.root
    (folder / "config.yaml").write_text(
        f"classifier: {name}\nclassifiers:\n"
        f"  gpt: {{type: {kind}, model: m, base_url: {url}, api_key_env: TEST_KEY, max_retries: 0,\n"
        "        price: {input: 1000, output: 1000}}\n" + more
    )


class Shop:
    """The use cases as the command line has them, over a configuration in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db = folder / "triage.db"
        self.url: str | None = None  # of a PostgreSQL database instead
        self.error: dm.TriageError | None = None

    def triage(self) -> LocalTriage:
        config = load_config(
            config=str(self.folder / "config.yaml"),
            db=self.url or str(self.db),
            remote=None,
            offline=None,
            env={},
            cwd=self.folder,
        )
        return LocalTriage(wiring.services(config, make=True), "tester", "test")

    def create(self, *texts: str, first: int = 0, given_verdict: str | None = None) -> list[dm.Ticket]:
        drafts = [
            dm.TicketDraft(n, n, text, external_id=f"t{first + n}", verdict=given_verdict)
            for n, text in enumerate(texts)
        ]
        return [o.value for o in self.triage().create(drafts) if o.value]

    def classify(
        self, plan: dm.ClassifyPlan = BATCH, selection: dm.Selection | None = None
    ) -> list[dm.Outcome[dm.Decided]]:
        """Run once; what stopped it is kept in `error`."""
        outcomes: list[dm.Outcome[dm.Decided]] = []
        self.error = None
        try:
            outcomes.extend(self.triage().classify(selection or dm.Selection(), plan))
        except dm.TriageError as error:
            self.error = error
        return outcomes

    def tickets(self) -> dict[str, dm.Ticket]:
        return {t.external_id or "": t for t in self.triage().find(dm.Selection())}

    def statuses(self) -> list[str]:
        return [ticket.status for _, ticket in sorted(self.tickets().items())]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return rows(self.db, sql)

    def spent(self) -> float:
        return float(self.rows("select sum(spent + reserved) from runs")[0][0])

    def age(self) -> None:
        """Let so much time pass that a batch which a provider does not know will not turn up any more."""
        with closing(sqlite3.connect(self.db, timeout=30, isolation_level=None)) as db:
            db.execute("update batches set sent_at = ? where state = 'sending'", (dm.times.ago(3600),))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shop(tmp_path: Path, server: BatchServer, kind: str, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop at either vendor."""
    monkeypatch.setenv("TEST_KEY", "sk-canary")
    configured(tmp_path, server, kind)
    return Shop(tmp_path)


@pytest.fixture
def openai_shop(tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("TEST_KEY", "sk-canary")
    configured(tmp_path, server)
    return Shop(tmp_path)


def dids(outcomes: list[dm.Outcome[dm.Decided]]) -> Counter[str]:
    return Counter(outcome.action for outcome in outcomes)


# -- the plain course


def test_one_command_submits_waits_and_collects_at_half_the_price(shop: Shop, server: BatchServer) -> None:
    shop.create("one", "two", "three")
    assert dids(shop.classify()) == {"waiting": 3}
    assert shop.statuses() == ["waiting"] * 3
    assert shop.classify() == [], "nothing is ready, nothing is missing"
    assert len(server.batches) == 1
    server.finish()
    assert dids(shop.classify()) == {"classified": 3}
    assert shop.error is None
    assert shop.statuses() == ["classified"] * 3
    assert set(server.asked.values()) == {1}
    assert len(server.batches) == 1
    ticket = shop.tickets()["t1"]
    assert (ticket.category, ticket.confidence, ticket.classifier) == ("Billing", 0.9, "gpt")
    assert ticket.cost_usd == pytest.approx(EACH)
    assert shop.rows("select distinct input_tokens, output_tokens from classifications") == [(100, 10)]
    assert shop.spent() == pytest.approx(3 * EACH), "what was set aside has become what it cost"
    assert is_whole(shop.db)


def test_requests_are_those_of_a_live_call_under_names_that_providers_take(shop: Shop, server: BatchServer) -> None:
    shop.create("one")
    shop.classify()
    (made,) = server.batches.values()
    (request,) = made.requests
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", request["custom_id"])
    body = request.get("body") or request["params"]
    assert body["model"] == "m"
    assert json.loads(body["messages"][-1]["content"]) == {"subject": "one", "description": ""}
    headers = server.headers[-1]
    assert headers["authorization" if "authorization" in headers else "Authorization"] == "Bearer sk-canary"


def test_what_waits_is_told_by_list_why_and_stats(shop: Shop) -> None:
    shop.create("one", "two")
    shop.classify()
    triage = shop.triage()
    waiting = triage.stats().waiting["gpt"]
    assert (waiting["tickets"], waiting["batches"]) == (2, 1)
    assert waiting["since"] == shop.rows("select opened_at from batches")[0][0]

    messages = list(dm.explain(triage.history("t0")))
    assert any('put into a batch of classifier "gpt"' in line for line in messages)
    assert messages[-1].startswith('Next: it waits in a batch of classifier "gpt" since 20')


def test_a_batch_settles_each_ticket_at_the_level_that_is_sure(openai_shop: Shop, server: BatchServer) -> None:
    categories = "categories: [Billing, Billing/Refund, Technical]\n"
    configured(openai_shop.folder, server, more=categories)
    openai_shop.create("no child is sure", "a child is sure", "no level is sure")
    openai_shop.classify()
    (made,) = server.batches.values()
    assert all("Billing/Refund" in json.dumps(request) for request in made.requests)
    chances = {"no child": (0.9, 0.55), "a child": (0.95, 0.95), "no level": (0.5, 0.5)}

    def answer(_n: int, ticket: str) -> End:
        billing, refund = next(each for words, each in chances.items() if words in ticket)
        return End('{"category": "Billing/Refund"}', logprobs=refund_logprobs(billing, refund))

    server.finish(answer)
    openai_shop.classify()
    found = [(t.category, t.suggestion, t.confidence) for _, t in sorted(openai_shop.tickets().items())]
    assert found == [
        ("Billing", "Billing/Refund", 0.9), ("Billing/Refund", None, 0.9025), (None, "Billing/Refund", 0.25),
    ]  # fmt: skip


def test_answers_that_are_known_are_not_submitted_and_equal_texts_once(shop: Shop, server: BatchServer) -> None:
    shop.create("same", "same", "other")
    shop.classify()
    shop.create("same", first=3)
    assert dids(shop.classify()) == {"waiting": 1}, "it joins the request that is under way"
    assert len(server.batches) == 1
    server.finish()
    assert dids(shop.classify()) == {"classified": 4}
    assert sorted(server.asked.values()) == [1, 1]
    assert shop.spent() == pytest.approx(2 * EACH)
    assert shop.rows("select count(*) from classifications where reused is not null and cost = 0") == [(2,)]
    shop.create("same", first=4)
    assert dids(shop.classify()) == {"classified": 1}, "an answer that was paid for is used again"
    assert len(server.batches) == 1


@pytest.mark.parametrize(("most", "batches"), [(BatchLimits(3, 10**9), 4), (BatchLimits(1000, 9000), None)])
def test_batches_keep_within_the_providers_limits(
    shop: Shop, server: BatchServer, kind: str, monkeypatch: pytest.MonkeyPatch, most: BatchLimits, batches: int | None
) -> None:
    monkeypatch.setattr(OpenAIBatchApi if kind == "openai" else AnthropicBatchApi, "limits", most)
    shop.create(*(f"ticket {n}" for n in range(10)))
    assert dids(shop.classify()) == {"waiting": 10}
    assert batches is None or len(server.batches) == batches
    assert len(server.batches) > 1
    for made in server.batches.values():
        assert len(made.requests) <= most.requests
    assert all(len(data) <= most.bytes for data in server.files.values())
    server.finish()
    assert dids(shop.classify()) == {"classified": 10}
    assert set(server.asked.values()) == {1}


def test_postgresql_keeps_batches_as_well(openai_shop: Shop, server: BatchServer, pg_url: str) -> None:
    shop = openai_shop
    shop.url = pg_url
    shop.create("one", "one", "two", "three")
    assert dids(shop.classify()) == {"waiting": 4}
    assert shop.triage().stats().waiting["gpt"]["tickets"] == 4
    server.finish(lambda n, _text: End(expired=True) if n == 1 else well(0, ""), status="expired")
    assert dids(shop.classify()) == {"classified": 3, "waiting": 1}
    server.finish()
    assert dids(shop.classify()) == {"classified": 1}
    assert shop.statuses() == ["classified"] * 4
    assert sum(t.cost_usd for t in shop.tickets().values()) == pytest.approx(3 * EACH)
    assert sum(run.spent for run in shop.triage().runs(None)) == pytest.approx(3 * EACH)


def test_answers_from_a_batch_are_as_sure_as_they_are_worth(shop: Shop, server: BatchServer) -> None:
    shop.create("one")
    shop.classify()
    server.finish()
    shelf, (fingerprint,) = (
        open_model_registry(SqliteStore(str(shop.db))),
        shop.rows("select fingerprint from batches")[0],
    )
    curve = dm.Calibration(fingerprint, "gpt", "[[0.0, 0.3]]", "constant", 30, 0.5, 0.1, dm.times.now())
    shelf.keep_calibration(curve, dm.Event("calibrated", None, None, "tester", dm.times.now()))
    assert dids(shop.classify()) == {"needs_review": 1}
    assert shop.rows("select confidence, raw from classifications") == [(0.3, 0.9)]
    assert shop.tickets()["t0"].suggestion == "Billing"


# -- batches that end badly


def test_a_partly_failed_batch_is_salvaged(shop: Shop, server: BatchServer) -> None:
    shop.create(*"abcdefg")
    shop.classify()
    ends = {
        "a": well(0, ""),
        "b": End(verdict("Sales")),
        "c": End(expired=True),
        "d": End(status=500, error={"type": "api_error", "message": "boom"}),
        "e": None,
        "f": End(verdict("Technical", 0.1)),
        "g": End("prose"),
    }
    server.finish(lambda _n, text: ends[json.loads(text)["subject"]], status="expired")
    again = shop.classify()
    assert dids(again) == {"classified": 1, "failed": 3, "needs_review": 1, "waiting": 5}
    assert shop.statuses() == ["classified", *["waiting"] * 4, "needs_review", "waiting"]
    assert sorted(json.loads(text)["subject"] for text in list(server.batches.values())[1].texts) == list("bcdeg")
    assert shop.rows("select distinct category from classifications where error is not null") == [(None,)]
    assert {t.external_id: t.failures for t in shop.tickets().values() if t.failures} == {"t1": 1, "t3": 1, "t6": 1}
    server.finish()
    assert dids(shop.classify()) == {"classified": 5}
    paid = 4 + 5  # answers that said nothing useful cost as much
    assert shop.spent() == pytest.approx(paid * EACH)


def test_results_that_are_doubled_strange_or_none_of_ours_disturb_no_others(shop: Shop, server: BatchServer) -> None:
    shop.create("one", "two")
    shop.classify()
    server.finish()
    (made,) = server.batches.values()
    (first, end), second = made.ends
    prefix = first.rpartition("-")[0]
    strange = (
        f"{prefix}-\u00b2",
        f"{prefix}-{'9' * 40}",
        f"{prefix}-{'9' * 5000}",
        f"{prefix}-7",
        prefix,
        "another-1",
        "",
    )
    made.ends = [*((name, end) for name in strange), (first, end), second, (first, End(verdict("General")))]
    assert dids(shop.classify()) == {"classified": 2}
    assert shop.error is None
    assert shop.spent() == pytest.approx(2 * EACH)


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_a_batch_without_answers_is_submitted_again(shop: Shop, server: BatchServer, status: str) -> None:
    shop.create("one", "two")
    shop.classify()
    server.finish(lambda _n, _text: End(expired=True), status=status)
    assert dids(shop.classify()) == {"waiting": 2}
    assert shop.error is None
    assert len(server.batches) == 2
    assert {t.failures for t in shop.tickets().values()} == {0}
    server.finish()
    shop.classify()
    assert shop.spent() == pytest.approx(2 * EACH)


def test_a_batch_that_the_provider_forgot_is_submitted_again(shop: Shop, server: BatchServer) -> None:
    shop.create("one", "two")
    shop.classify()
    forgotten = server.batches.pop("batch_1")
    server.batches["another"] = forgotten
    assert dids(shop.classify()) == {"waiting": 2}
    assert shop.rows("select state, error from batches order by 1 limit 1")[0][0] == "returned"


def test_a_ticket_that_fails_in_three_batches_goes_to_a_person(shop: Shop, server: BatchServer) -> None:
    shop.create("poison", "fine")
    for _ in range(3):
        shop.classify()
        server.finish(lambda _n, text: End("prose") if "poison" in text else well(0, ""))
    shop.classify()
    assert shop.statuses() == ["needs_review", "classified"]


def test_an_outage_inside_a_batch_is_no_fault_of_its_tickets(shop: Shop, server: BatchServer) -> None:
    shop.create("one", "two")
    shop.classify()
    server.finish(lambda _n, _text: End(status=500, error={"type": "api_error", "message": "boom"}))
    assert dids(shop.classify()) == {"waiting": 2}
    assert {t.failures for t in shop.tickets().values()} == {0}


def test_a_batch_that_is_refused_as_a_whole_ends_the_run_and_its_tickets_are_new(
    openai_shop: Shop, server: BatchServer
) -> None:
    openai_shop.create("one")
    openai_shop.classify()
    server.batches["batch_1"].errors = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]
    server.finish(lambda _n, _text: None, status="failed")
    openai_shop.classify()
    assert isinstance(openai_shop.error, dm.UnavailableError)
    assert "(400 token_limit_exceeded)" in openai_shop.error.message
    assert openai_shop.statuses() == ["new"]
    assert len(server.batches) == 1, "it is not tried again in the same run"


SENTENCE = "the canary sentence of a ticket"
QUOTES = (f'cannot parse {{"content":"{SENTENCE}"}}', f"cannot parse '{SENTENCE}'", f"cannot parse: {SENTENCE}, at 3")


@pytest.mark.parametrize("quoting", QUOTES)
@pytest.mark.parametrize("status", [400, 401, 503])
def test_a_provider_that_quotes_a_line_of_a_batch_makes_no_error_with_a_ticket_s_text(
    shop: Shop, server: BatchServer, kind: str, status: int, quoting: str
) -> None:
    shop.create(SENTENCE)
    body = {"error": {"message": quoting, "type": "invalid_request_error"}}
    for moment in ("upload", "create") if kind == "openai" else ("create",):
        server.fail = {moment: (status, body)}
        shop.classify()
        assert shop.error is not None
        assert "canary" not in shop.error.sentence()
    assert SENTENCE not in str(shop.rows("select * from batches")) + str(shop.rows("select * from events"))


@pytest.mark.parametrize("quoting", QUOTES)
def test_a_batch_that_is_refused_later_makes_no_error_with_a_ticket_s_text(
    openai_shop: Shop, server: BatchServer, quoting: str
) -> None:
    openai_shop.create(SENTENCE)
    openai_shop.classify()
    server.batches["batch_1"].errors = [{"code": "invalid_json_line", "message": f"It's no JSON; {quoting}"}]
    server.finish(lambda _n, _text: None, status="failed")
    openai_shop.classify()
    assert openai_shop.error is not None
    assert "(400 invalid_json_line)" in openai_shop.error.message
    assert "canary" not in openai_shop.error.sentence()
    assert SENTENCE not in str(openai_shop.rows("select * from batches"))


def test_what_a_server_objects_to_is_left_out_of_the_next_batch(openai_shop: Shop, server: BatchServer) -> None:
    openai_shop.create("one", "two")
    openai_shop.classify()
    complaint = {"message": "Unsupported parameter: 'temperature' is not supported", "param": "temperature"}
    server.finish(lambda _n, _text: End(status=400, error=complaint))
    assert dids(openai_shop.classify()) == {"waiting": 2}
    assert {t.failures for t in openai_shop.tickets().values()} == {0}
    first, second = server.batches.values()
    assert "temperature" in first.requests[0]["body"]
    assert "temperature" not in second.requests[0]["body"]
    openai_shop.create("three", first=2)
    openai_shop.classify()
    assert "temperature" not in server.batches["batch_3"].requests[0]["body"], "it is remembered over processes"


def test_a_model_that_thinks_is_asked_for_less_and_given_room_in_the_next_batch(
    shop: Shop, server: BatchServer, kind: str
) -> None:
    def sent(number: int) -> dict[str, Any]:
        request = server.batches[[*server.batches][number]].requests[0]
        return {**(request.get("body") or request["params"])}

    shop.create("one")
    shop.classify()
    named = "reasoning_effort" if kind == "openai" else "thinking.type.disabled"
    complaint = {"type": "invalid_request_error", "message": f"{named} is not supported for this model"}
    server.finish(lambda _n, _text: End(status=400, error=complaint))
    assert dids(shop.classify()) == {"waiting": 1}
    body = sent(1)
    assert body.get("reasoning_effort", body.get("output_config", {}).get("effort")) == "low"
    assert "thinking" not in body
    server.finish(lambda _n, _text: End("", cut=True))
    shop.classify()
    body = sent(2)
    assert (body.get("max_completion_tokens") or body["max_tokens"]) == 4096


def test_a_wrong_model_ends_the_run_and_no_ticket_fails(shop: Shop, server: BatchServer) -> None:
    shop.create("one", "two")
    shop.classify()
    error = {"type": "not_found_error", "message": "model: m does not exist"}
    server.finish(lambda _n, _text: End(status=404, error=error))
    shop.classify()
    assert isinstance(shop.error, dm.ConfigError)
    assert shop.statuses() == ["new", "new"]
    assert len(server.batches) == 1


# -- what a provider refuses, and what is in doubt


@pytest.mark.parametrize("moment", ["upload", "create"])
@pytest.mark.parametrize(("status", "code"), [(401, 4), (429, 6), (402, 4), (400, 6)])
def test_a_refusal_leaves_tickets_new(shop: Shop, server: BatchServer, moment: str, status: int, code: int) -> None:
    shop.create("one", "two")
    server.fail[moment] = (status, {"error": {"message": "no", "type": "error"}})
    shop.classify()
    if moment == "upload" and not server.calls["upload received"]:
        return  # this vendor knows no such step
    assert shop.error is not None
    assert shop.error.exit_code == code
    assert shop.statuses() == ["new", "new"]
    assert shop.spent() == 0
    server.fail.clear()
    assert dids(shop.classify()) == {"waiting": 2}
    assert set(server.asked.values()) == {1}


@pytest.mark.parametrize("failure", [(0, {}), (503, {"error": {"message": "busy"}})])
def test_a_batch_whose_answer_was_lost_is_found_again(
    shop: Shop, server: BatchServer, failure: tuple[int, dict[str, Any]]
) -> None:
    shop.create("one", "two")
    server.fail["created"] = failure
    assert dids(shop.classify()) == {"waiting": 2}
    assert isinstance(shop.error, dm.UnavailableError)
    server.fail.clear()
    server.make([{"custom_id": "x-0", "params": {"messages": [{"content": "?"}]}}] * 2, {"of": "somebody else"})
    for _ in range(3):
        server.make([], {})  # batches of others, more than fit on a page
    shop.classify()
    server.finish()
    shop.classify()
    assert shop.statuses() == ["classified"] * 2
    assert sorted(server.asked.values()) == [1, 1, 2]
    assert shop.spent() == pytest.approx(2 * EACH)


def test_a_batch_that_never_arrived_is_submitted_again_but_not_at_once(shop: Shop, server: BatchServer) -> None:
    shop.create("one", "two")
    server.fail["create"] = (0, {})
    shop.classify()
    server.fail.clear()
    assert shop.classify() == [], "it might still arrive"
    assert shop.statuses() == ["waiting"] * 2
    shop.age()
    assert dids(shop.classify()) == {"waiting": 2}
    assert set(server.asked.values()) == {1}


def test_a_provider_that_is_gone_is_told_and_nothing_is_lost(shop: Shop, server: BatchServer, kind: str) -> None:
    shop.create("one")
    shop.classify()
    shop.create("two", first=1)
    there = (shop.folder / "config.yaml").read_text()
    server.fail["look"] = (503, {"error": {"message": "busy"}})
    shop.classify()
    assert isinstance(shop.error, dm.UnavailableError)
    assert shop.statuses() == ["waiting", "new"]
    server.fail.clear()
    configured(shop.folder, server, kind, "")
    (shop.folder / "config.yaml").write_text(there.replace("127.0.0.1", "localhost"))
    shop.classify()
    assert isinstance(shop.error, dm.ConfigError), "another address may be another account: nothing is asked twice"
    assert shop.statuses() == ["waiting", "new"]
    (shop.folder / "config.yaml").write_text(there)
    server.finish()
    assert dids(shop.classify()) == {"classified": 1, "waiting": 1}


def test_half_of_the_results_is_not_taken_for_all(shop: Shop, server: BatchServer) -> None:
    shop.create("one", "two", "three")
    shop.classify()
    server.finish()
    made = server.batches["batch_1"]
    ends, made.ends, made.counted = made.ends, made.ends[:1], len(made.ends)
    shop.classify()
    assert isinstance(shop.error, dm.UnavailableError)
    assert shop.statuses() == ["waiting"] * 3
    made.ends = ends
    made.counted = 0
    assert dids(shop.classify()) == {"classified": 3}
    assert len(server.batches) == 1


# -- people and imports in the meantime


def test_a_verdict_given_meanwhile_holds(shop: Shop, server: BatchServer) -> None:
    shop.create("one", "two")
    shop.classify()
    shop.create("one", given_verdict="Technical")
    server.finish()
    assert dids(shop.classify()) == {"held": 1, "classified": 1}
    ticket = shop.tickets()["t0"]
    assert (ticket.category, ticket.verdict, ticket.status) == ("Technical", 1, "classified")
    assert shop.rows("select count(*) from classifications where classifier = 'gpt'") == [(2,)], "it is kept"
    assert shop.spent() == pytest.approx(2 * EACH)


def test_the_answer_about_a_text_that_was_edited_is_kept_but_does_not_hold(shop: Shop, server: BatchServer) -> None:
    shop.create("one", "two")
    shop.classify()
    shop.create("one, rewritten")
    assert dids(shop.classify()) == {"waiting": 1}
    server.finish(name="batch_1")
    assert dids(shop.classify()) == {"held": 1, "classified": 1}
    assert shop.statuses() == ["waiting", "classified"]
    server.finish(lambda _n, _text: End(verdict("Technical")))
    shop.classify()
    assert [t.category for _, t in sorted(shop.tickets().items())] == ["Technical", "Billing"]
    assert shop.rows("select count(*) from classifications") == [(3,)]


def test_a_change_that_leaves_the_text_alone_does_not_disturb(shop: Shop, server: BatchServer) -> None:
    shop.create("one")
    shop.classify()
    list(shop.triage().create([dm.TicketDraft(0, 0, "one", external_id="t0", customer_id="C-9")]))
    server.finish()
    assert dids(shop.classify()) == {"classified": 1}
    assert shop.tickets()["t0"].customer_id == "C-9"


def test_a_customer_forgotten_meanwhile_stays_forgotten(shop: Shop, server: BatchServer) -> None:
    texts = {"t0": "one", "t1": "two"}
    drafts = [dm.TicketDraft(0, 0, text, external_id=name, customer_id="C-9") for name, text in texts.items()]
    list(shop.triage().create([*drafts, dm.TicketDraft(1, 1, "one")]))
    shop.classify()
    list(shop.triage().forget("C-9"))
    assert shop.triage().stats().waiting["gpt"]["tickets"] == 1
    assert shop.spent() > 3 * EACH
    server.finish()
    shop.classify()
    assert shop.spent() == pytest.approx(2 * EACH), "the provider has answered and billed both requests"
    assert shop.triage().stats().cost_usd == pytest.approx(2 * EACH)
    gone = "ticket_id in (select ticket_id from tickets where subject is null)"
    assert shop.rows(f"select 1 from classifications where {gone}") == [], "what a provider says later is not kept"
    assert shop.rows(f"select answer_key, state from batch_items where {gone}") == [("", "returned")] * 2
    assert shop.rows("select status from tickets where subject is not null") == [("classified",)]
    assert shop.rows("select answer_key <> '' from classifications") == [(1,)]


def test_force_overrules_an_earlier_verdict_but_none_that_came_later(shop: Shop, server: BatchServer) -> None:
    first, second = shop.create("one", "two", given_verdict="General")
    named = dm.Selection(ids=(first.ticket_id, second.ticket_id))
    shop.classify(replace(BATCH, force=True), named)
    shop.create("two", first=1, given_verdict="Technical")
    server.finish()
    shop.classify()
    assert [(t.category, t.verdict) for _, t in sorted(shop.tickets().items())] == [("Billing", 0), ("Technical", 1)]


def test_a_named_ticket_that_waits_is_left_waiting(shop: Shop, server: BatchServer) -> None:
    (ticket,) = shop.create("one")
    shop.classify()
    for plan in (BATCH, replace(BATCH, force=True)):
        outcomes = shop.classify(plan, dm.Selection(ids=(ticket.ticket_id,)))
        assert [(o.action, o.value.asked) for o in outcomes if o.value] == [("waiting", False)]
    assert len(server.batches) == 1
    server.finish()
    shop.classify()
    assert shop.statuses() == ["classified"]


# -- money


def test_money_is_set_aside_before_a_batch_and_freed_by_its_answers(shop: Shop, server: BatchServer) -> None:
    shop.create(*(f"ticket {n}" for n in range(40)))
    bound = replace(BATCH, max_cost=3.0)
    shop.classify(bound)
    assert isinstance(shop.error, dm.BudgetError)
    sent = len(server.asked)
    assert 0 < sent < 40
    assert Counter(shop.statuses()) == {"waiting": sent, "new": 40 - sent}
    assert shop.spent() <= 3.0
    server.finish()
    shop.classify(bound)
    assert shop.spent() <= 3.0 + sent * EACH


def test_the_budget_of_a_day_counts_batches_under_way_over_restarts(shop: Shop, server: BatchServer) -> None:
    with (shop.folder / "config.yaml").open("a") as file:
        file.write("budget: {per_day: 3.0}\n")
    shop.create(*(f"ticket {n}" for n in range(40)))
    shop.classify()
    sent = len(server.asked)
    for _ in range(5):
        shop.classify()
        assert isinstance(shop.error, dm.BudgetError)
    assert len(server.asked) == sent, "what is set aside stays so"
    server.finish()
    shop.classify()
    assert len(server.asked) > sent, "the answers cost less than was set aside"
    assert shop.spent() <= 3.0
    assert sum(t.cost_usd for t in shop.tickets().values()) == pytest.approx(sent * EACH)


def test_a_run_renews_its_lease_while_a_provider_is_waited_for(
    shop: Shop, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload may take a quarter of an hour: nobody else is to take the batch for one that never arrived."""
    given: list[object] = []
    run = AsyncBridge.run

    def spied(bridge: AsyncBridge, work: Awaitable[Any], heartbeat: Callable[[], None] | None = None) -> Any:
        given.append(heartbeat)
        return run(bridge, work, heartbeat)

    monkeypatch.setattr(AsyncBridge, "run", spied)
    shop.create("one")
    for _ in range(2):
        given.clear()
        shop.classify()
        assert any(isinstance(getattr(heartbeat, "__self__", None), RunContext) for heartbeat in given)
        server.finish()
    assert shop.statuses() == ["classified"]


def test_a_bound_without_a_price_is_refused(shop: Shop, server: BatchServer) -> None:
    config = shop.folder / "config.yaml"
    config.write_text(re.sub(r",\s*price: \{.*?\}", "", config.read_text()))
    shop.create("one")
    shop.classify(replace(BATCH, max_cost=1.0))
    assert isinstance(shop.error, dm.ConfigError)
    assert server.batches == {}


# -- cascades, and what has no batches


def test_a_cascade_answers_what_it_can_here_and_submits_the_rest(fitted: Cli, server: BatchServer) -> None:
    more = "  local: {type: local, min_confidence: 0.8}\n  both: {type: cascade, steps: [local, gpt]}\n"
    configured(fitted.folder, server, more=more, name="both")
    fitted.env["TEST_KEY"] = "sk-canary"
    tickets = "id,subject\n1,Refund: I was charged twice on my invoice\n2,Zyxw vuts rqpo\n"
    assert fitted("create", "-q", stdin=tickets).returncode == 0
    done = fitted("classify", "--batch")
    assert done.returncode == 0, done.stderr
    by = {r["external_id"]: r for r in map(json.loads, done.stdout.splitlines())}
    assert (by["1"]["classifier"], by["1"]["status"]) == ("local", "classified")
    assert by["2"]["status"] == "waiting"
    assert "1 waits in batches of gpt, since 20" in done.stderr
    server.finish()
    assert fitted("classify", "--batch", "-q").returncode == 0
    kept = json.loads(fitted("show", "2", "-o", "json").stdout)
    assert [c["classifier"] for c in kept["classifications"]] == ["local", "gpt"], "every step's answer is kept"
    assert kept["category"] == "Billing"
    assert len(server.batches) == 1


def test_the_next_paid_step_takes_what_the_first_was_unsure_of_or_failed_at(
    openai_shop: Shop, server: BatchServer
) -> None:
    more = (
        f"  claude: {{type: anthropic, model: m, base_url: {server.root}, api_key_env: TEST_KEY}}\n"
        "  both: {type: cascade, steps: [gpt, claude]}\n"
    )
    configured(openai_shop.folder, server, more=more, name="both")
    openai_shop.create("sure", "unsure", "junk", "mute", "none")
    openai_shop.classify()
    ends = {
        "sure": well(0, ""), "unsure": End(verdict("General", 0.2)), "junk": End("prose"), "mute": End("General"),
        "none": End('{"category": "none of these"}'),
    }  # fmt: skip
    server.finish(lambda _n, text: ends[json.loads(text)["subject"]])
    openai_shop.classify()
    assert openai_shop.statuses() == ["classified", *["waiting"] * 4]
    first, second = server.batches.values()
    assert "params" in second.requests[0], "it is the other vendor's"
    assert len(second.requests) == 4
    server.finish(lambda _n, _text: End(verdict("Technical")))
    assert dids(openai_shop.classify()) == {"classified": 4}
    assert [t.category for _, t in sorted(openai_shop.tickets().items())] == ["Billing", *["Technical"] * 4]
    assert len(first.requests) == 5
    assert openai_shop.rows("select count(*) from classifications where cost > 0 or classifier = 'claude'") == [(9,)]


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ("", "local"),
        ("  d: {type: decision, model: m, api_key_env: TEST_KEY}\n", "d"),
    ],
)
def test_what_no_provider_answers_in_batches_is_a_usage_error(
    openai_shop: Shop, server: BatchServer, more: str, name: str
) -> None:
    configured(openai_shop.folder, server, more=more, name=name)
    openai_shop.create("one")
    openai_shop.classify()
    assert isinstance(openai_shop.error, dm.UsageError)
    assert openai_shop.statuses() == ["new"]


def test_a_missing_key_is_refused_before_anything_is_written(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, server: BatchServer
) -> None:
    monkeypatch.delenv("TEST_KEY")
    shop.create("one")
    shop.classify()
    assert isinstance(shop.error, dm.RefusedError)
    assert server.calls == {}


def test_the_command_line_is_silent_with_q_and_tells_half_the_price(cli: Cli, server: BatchServer) -> None:
    configured(cli.folder, server)
    cli.env["TEST_KEY"] = "sk-canary"
    assert cli("create", "-q", stdin="id,subject\n1,one\n2,two\n").returncode == 0
    plain, half = (cli("classify", "--dry-run", *more).stderr for more in ((), ("--batch",)))
    assert cost(half) == pytest.approx(cost(plain) / 2, rel=0.01)
    settings = cli.folder / "config.yaml"
    before = settings.read_text()
    settings.write_text(before.replace("model: m", "model: m, effort: medium"))
    assert tokens(cli("classify", "--dry-run").stderr) == pytest.approx(tokens(plain) + 2 * 700, abs=20)
    settings.write_text(before)
    assert cli("classify", "--batch", "--offline").returncode == 2
    for _ in range(3):
        done = cli("classify", "--batch", "-q")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        server.finish()
    assert [json.loads(line)["status"] for line in cli("list").stdout.splitlines()] == ["classified"] * 2


def test_a_named_ticket_that_waits_is_not_paid_for_again_unless_it_is_forced(cli: Cli, server: BatchServer) -> None:
    configured(
        cli.folder, server, more=f"  other: {{type: openai, model: n, base_url: {server.url}, api_key_env: TEST_KEY}}\n"
    )
    cli.env["TEST_KEY"] = "sk-canary"
    assert cli("create", "-q", stdin="id,subject\n1,one\n").returncode == 0
    assert cli("classify", "--batch", "-q").returncode == 0
    calls = server.calls.copy()
    assert "0 tickets would be asked" in cli("classify", "1", "--dry-run").stderr
    done = cli("classify", "1")
    assert (done.returncode, server.calls) == (0, calls), done.stderr
    record = json.loads(done.stdout)
    assert (record["status"], record["asked"]) == ("waiting", False)
    assert "1 waiting in a batch" in done.stderr
    assert re.search(r"1 waits in batches of gpt, since \d{4}-\d\d-\d\d \d\d:\d\d", done.stderr), done.stderr
    assert "triage classify --batch collects the answers; --force asks now, at the full price" in done.stderr
    server.fail["create"] = (400, {})
    for asks in (("--force",), ("--classifier", "other")):
        calls = server.calls.copy()
        cli("classify", "1", *asks)
        assert server.calls != calls, "another question is asked, and the same one if that is forced"


def table(number: int) -> str:
    return "id,subject\n" + "".join(f"{n},ticket {n}\n" for n in range(number))


def tokens(text: str) -> int:
    found = re.search(r"about ([0-9,]+) tokens", text)
    assert found, text
    return int(found[1].replace(",", ""))


def cost(text: str) -> float:
    found = re.search(r"\$([0-9.]+)", text)
    assert found, text
    return float(found[1])


# -- reclassify


def test_reclassify_asks_in_batches_keeps_proposals_and_applies_all_at_once(cli: Cli, server: BatchServer) -> None:
    configured(cli.folder, server, more="  local: {type: local, min_confidence: 0.0}\n", name="local")
    cli.env["TEST_KEY"] = "sk-canary"
    created = cli("create", "-q", "--map", "verdict=said", stdin=SURE)
    assert created.returncode == 0, created.stderr
    assert cli("classify", "-q").returncode == 0
    before = rows(cli.db, "select external_id, category, status from tickets order by 1")
    again = ("reclassify", "--batch", "--classifier", "gpt", "--apply")
    result = cli(*again)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert "2 waiting in a batch" in result.stderr
    assert "2 wait in batches of gpt, since 20" in result.stderr
    assert cli(*again).returncode == 0
    assert (len(server.batches), set(server.asked.values())) == (1, {1}), "what is under way is not asked again"
    assert rows(cli.db, "select external_id, category, status from tickets order by 1") == before
    server.finish(lambda _n, _text: End(verdict("Technical")))
    done = cli(*again)
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["new"] for line in done.stdout.splitlines()} <= {"Technical"}
    assert rows(cli.db, "select category from tickets order by external_id") == [("Technical",)] * 2 + [("General",)]
    assert rows(cli.db, "select sum(cost) from classifications") == [(pytest.approx(2 * EACH),)]
    assert rows(cli.db, "select sum(cost_usd) from tickets") == [(pytest.approx(2 * EACH),)]
    assert rows(cli.db, "select sum(spent + reserved) from runs") == [(pytest.approx(2 * EACH),)]
    assert len(server.batches) == 1
    assert is_whole(cli.db)


def test_what_waits_in_a_batch_for_a_proposal_is_not_asked_at_once_too(cli: Cli, server: BatchServer) -> None:
    configured(cli.folder, server, more="  local: {type: local, min_confidence: 0.0}\n", name="local")
    cli.env["TEST_KEY"] = "sk-canary"
    assert cli("run", "-q", "--map", "verdict=said", stdin=SURE).returncode == 0
    again = ("reclassify", "--classifier", "gpt", "--apply")
    assert "1 waiting in a batch" in cli("reclassify", "1", *again[1:], "--batch").stderr
    done = cli(*again)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "1 waiting in a batch" in done.stderr
    assert "1 waits in batches of gpt, since 20" in done.stderr
    assert "triage reclassify --batch collects the answers" in done.stderr
    assert (server.calls["asked at once"], set(server.asked.values())) == (1, {1})
    assert "1 waiting in a batch" in cli("classify", "1", "--classifier", "gpt").stderr
    assert server.calls["asked at once"] == 1
    server.finish()
    assert cli(*again, "--batch").returncode == 0
    assert rows(cli.db, "select sum(cost) from classifications") == [(pytest.approx(3 * EACH),)]


def test_flips_from_a_batch_hold_only_once_nothing_waits(openai_shop: Shop, server: BatchServer) -> None:
    configured(openai_shop.folder, server, more="  local: {type: local, min_confidence: 0.0}\n", name="local")
    openai_shop.create("I was charged twice", "my refund is missing")
    openai_shop.classify(dm.ClassifyPlan())
    plan = dm.ReclassifyPlan(replace(BATCH, classifier="gpt"), apply=True)

    def again() -> Counter[str]:
        return Counter(o.action for o in openai_shop.triage().reclassify(dm.Selection(), plan))

    first = {t.ticket_id: t.category for t in openai_shop.tickets().values()}
    assert again() == {"waiting": 2}
    other = next(name for name in ("Billing", "Technical", "General") if name not in first.values())
    server.finish(lambda n, _text: End(expired=True) if n else End(verdict(other)))
    assert again() == {"flip": 1, "waiting": 1}
    assert {t.ticket_id: t.category for t in openai_shop.tickets().values()} == first
    server.finish(lambda _n, _text: End(verdict(other)))
    assert again() == {"flipped": 2}
    assert {t.category for t in openai_shop.tickets().values()} == {other}
    assert set(server.asked.values()) == {1, 2}


# -- kills


MOMENTS = [
    ("openai", "upload received"), ("openai", "upload stored"), ("openai", "create received"),
    ("openai", "create stored"), ("openai", "list"), ("openai", "look"), ("openai", "results asked"),
    ("openai", "results half"), ("openai", "results sent"), ("anthropic", "create received"),
    ("anthropic", "create stored"), ("anthropic", "list"), ("anthropic", "look"), ("anthropic", "results asked"),
    ("anthropic", "results half"), ("anthropic", "results sent"),
]  # fmt: skip


# The others are run by `pytest -m long`.
QUICK = {
    (vendor, moment)
    for vendor in ("openai", "anthropic")
    for moment in ("create stored", "results half", "create received")
}


@pytest.mark.parametrize(
    ("vendor", "moment", "lost"),
    [
        pytest.param(*each, marks=() if each[:2] in QUICK else pytest.mark.long)
        for each in (*((*m, False) for m in MOMENTS), *((vendor, "create received", True) for vendor in KINDS))
    ],
)
def test_killed_at_each_step_each_ticket_is_submitted_once_and_each_paid_answer_kept(
    cli: Cli, server: BatchServer, vendor: str, moment: str, lost: bool
) -> None:
    """`lost`: the request that is under way at the kill never reaches the provider."""
    number = 30
    configured(cli.folder, server, vendor)
    cli.env["TEST_KEY"] = "sk-canary"
    assert cli("create", "-q", stdin=table(number)).returncode == 0
    if moment == "list":  # only what is in doubt is looked up
        assert run_and_kill(cli, server, "create stored")
    if not run_and_kill(cli, server, moment, lost=lost):
        server.finish()
        assert run_and_kill(cli, server, moment, lost=lost)
    shop = Shop(cli.folder)
    shop.db = cli.db
    for _ in range(4):
        done = cli("classify", "--batch", "-q")
        assert done.returncode == 0, done.stderr
        shop.age()
        server.finish()
    assert rows(cli.db, "select status, count(*) from tickets group by 1") == [("classified", number)]
    assert len(server.asked) == number
    assert set(server.asked.values()) == {1}
    assert rows(cli.db, "select count(*), sum(cost) from classifications") == [(number, pytest.approx(number * EACH))]
    assert shop.spent() == pytest.approx(number * EACH)
    assert rows(cli.db, "select distinct state from batch_items where state = 'waiting'") == []
    assert is_whole(cli.db)


def run_and_kill(cli: Cli, server: BatchServer, moment: str, *, lost: bool = False) -> bool:
    """Run once and kill -9 the process at a moment of the server; return whether that moment came."""
    process: subprocess.Popen[bytes]

    def kill() -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)

    server.hooks[moment] = kill
    if lost:
        server.fail_once.add("create")
    process = cli.start("classify", "--batch", "-q")
    process.communicate(timeout=PATIENCE)
    came = moment not in server.hooks
    until(lambda: not came or not server.busy, "the end of the request")
    server.hooks.clear()
    return came


def test_killed_before_anything_is_sent_it_blocks_little_of_the_budget(cli: Cli, server: BatchServer) -> None:
    configured(cli.folder, server, more="budget: {per_day: 3000}\n")
    cli.env["TEST_KEY"] = "sk-canary"
    assert cli("create", "-q", stdin=table(900)).returncode == 0
    process = cli.start("classify", "--batch", "-q")
    until(lambda: rows(cli.db, "select 1 from runs where reserved > 0"), "the first sum that is set aside")
    process.kill()
    process.communicate()
    assert cli("classify", "--batch", "-q").returncode == 0
    ((worst,),) = rows(cli.db, "select max(reserved) from batch_items")
    ((blocked,),) = rows(cli.db, "select sum(reserved) from runs")
    assert 0 < blocked < 1.1 * AHEAD * worst


@pytest.mark.parametrize("state", [pytest.param("gathering", marks=pytest.mark.long), "answered"])
def test_killed_between_two_transactions_nothing_is_lost(cli: Cli, server: BatchServer, state: str) -> None:
    """Killed while tickets go into a batch that nobody was told of, and while answers are saved."""
    number = 2400
    configured(cli.folder, server)
    cli.env["TEST_KEY"] = "sk-canary"
    assert cli("create", "-q", stdin=table(number)).returncode == 0
    if state == "answered":
        assert cli("classify", "--batch", "-q").returncode == 0
        server.finish()
    process = cli.start("classify", "--batch", "-q")
    sought = "waiting" if state == "gathering" else "answered"
    until(lambda: rows(cli.db, f"select 1 from batch_items where state = '{sought}' limit 1"), "the first items")
    process.kill()
    process.communicate()
    done = rows(cli.db, f"select count(*) from batch_items where state = '{sought}'")[0][0]
    assert 0 < done < number, "the kill fell into the work"
    for _ in range(3):
        assert cli("classify", "--batch", "-q").returncode == 0
        server.finish()
    assert rows(cli.db, "select status, count(*) from tickets group by 1") == [("classified", number)]
    assert (len(server.asked), set(server.asked.values())) == (number, {1})
    assert rows(cli.db, "select count(*) from classifications") == [(number,)]


def test_two_runs_at_once_submit_and_collect_each_ticket_once(cli: Cli, server: BatchServer) -> None:
    number = 1500
    configured(cli.folder, server)
    cli.env["TEST_KEY"] = "sk-canary"
    assert cli("create", "-q", stdin=table(number)).returncode == 0
    for _ in range(2):
        runs = [cli.start("classify", "--batch", "-q") for _ in range(2)]
        for process in runs:
            out, output = process.communicate(timeout=PATIENCE)
            assert (process.returncode, out, output) == (0, b"", b"")
        server.finish()
    assert cli("classify", "--batch", "-q").returncode == 0
    assert rows(cli.db, "select status, count(*) from tickets group by 1") == [("classified", number)]
    happened = rows(cli.db, "select action, run_id, count(*), min(detail) from events group by 1, 2 order by min(seq)")
    assert (len(server.asked), set(server.asked.values())) == (number, {1}), happened
    assert rows(cli.db, "select count(*) from classifications") == [(number,)]


def test_a_run_that_is_told_to_stop_gives_its_tickets_back(cli: Cli, server: BatchServer) -> None:
    configured(cli.folder, server)
    cli.env["TEST_KEY"] = "sk-canary"
    assert cli("create", "-q", stdin="id,subject\n1,one\n2,two\n").returncode == 0
    assert cli("classify", "--batch", "-q", "--limit", "1").returncode == 0
    process = cli.start("classify", "--batch", "-q")
    server.hooks["look"] = lambda: process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert sorted(json.loads(line)["status"] for line in cli("list").stdout.splitlines()) == ["new", "waiting"]
    assert len(server.batches) == 1


# -- further questions

ASKED = """questions:
  urgency: {values: [now, soon]}
  mood: {values: [calm, upset]}
"""


def saying(**instead: Any) -> Callable[[int, str], End]:
    """Return what answers each question of a request that asks all; None leaves one out."""
    said = {"category": "Billing", "urgency": "now", "mood": "calm"} | instead
    answer: dict[str, Any] = {}
    for name, value in said.items():
        if value is not None:
            answer |= {name: value, "confidence" if name == "category" else f"{name} confidence": 0.9}
    return lambda _n, _ticket: End(json.dumps(answer | {"reason": "because"}))


def given(shop: Shop) -> dict[str, dict[str, tuple[str, str | None]]]:
    return {
        name: {question: (g.state, g.value) for question, g in dm.given_answers(ticket).items()}
        for name, ticket in shop.tickets().items()
    }


SURE_ANSWERS = {"urgency": ("answered", "now"), "mood": ("answered", "calm")}


def test_one_request_asks_all_questions_of_a_ticket(shop: Shop, server: BatchServer, kind: str) -> None:
    configured(shop.folder, server, kind, ASKED)
    shop.create("one", "two", "one")
    assert dids(shop.classify()) == {"waiting": 3}
    assert sum(server.asked.values()) == 2, "equal texts are asked once"
    server.finish(saying())
    assert dids(shop.classify()) == {"classified": 3}
    assert given(shop) == dict.fromkeys(("t0", "t1", "t2"), SURE_ANSWERS)
    assert shop.classify() == []
    assert shop.spent() == pytest.approx(2 * EACH)
    assert sum(server.asked.values()) == 2
    assert is_whole(shop.db)


def test_a_missing_second_answer_is_asked_alone(shop: Shop, server: BatchServer, kind: str) -> None:
    configured(shop.folder, server, kind, ASKED)
    shop.create("one")
    shop.classify()
    server.finish(saying(mood=None))
    assert dids(shop.classify()) == {"classified": 1, "waiting": 1}
    (ticket,) = shop.tickets().values()
    assert (ticket.category, ticket.status) == ("Billing", "classified"), "it goes on while the batch is under way"
    assert given(shop)["t0"] == {"urgency": ("answered", "now"), "mood": ("failed", None)}
    second = server.batches["batch_2"].requests[0]
    assert "upset" in json.dumps(second)
    assert "Technical" not in json.dumps(second), "the category is not asked again"
    shop.classify()
    assert dids(shop.classify(selection=dm.Selection(ids=(ticket.ticket_id,)))) == {"unchanged": 1}
    assert len(server.batches) == 2, "what is under way is not asked again"
    server.finish(saying(category=None, urgency=None))
    shop.classify()
    assert given(shop)["t0"] == SURE_ANSWERS
    assert shop.classify() == []
    assert shop.spent() == pytest.approx(2 * EACH)
    assert is_whole(shop.db)


def test_what_a_person_answered_meanwhile_holds(shop: Shop, server: BatchServer, kind: str) -> None:
    configured(shop.folder, server, kind, ASKED)
    (ticket,) = shop.create("one")
    shop.classify()
    list(shop.triage().give_verdicts([dm.VerdictDraft(0, ticket.ticket_id, "upset", question="mood")]))
    server.finish(saying())
    assert dids(shop.classify()) == {"classified": 1}
    assert given(shop)["t0"] == {"urgency": ("answered", "now"), "mood": ("answered", "upset")}
    assert shop.spent() == pytest.approx(EACH)
    assert is_whole(shop.db)


def test_reclassify_asks_one_question_in_a_batch_and_applies_what_it_brings(
    openai_shop: Shop, server: BatchServer
) -> None:
    configured(openai_shop.folder, server, more=ASKED)
    openai_shop.create("one", "two")
    openai_shop.classify()
    server.finish(saying())
    openai_shop.classify()
    configured(openai_shop.folder, server, more=ASKED.replace("urgency: {", "urgency: {ask: How soon, "))
    plan = dm.ReclassifyPlan(BATCH, apply=True, question="urgency")

    def again() -> Counter[str]:
        return Counter(o.action for o in openai_shop.triage().reclassify(dm.Selection(), plan))

    assert again() == {"waiting": 2}
    assert again() == {"waiting": 2}
    assert openai_shop.statuses() == ["classified"] * 2, "nothing waits for another question"
    server.finish(saying(category="Technical", urgency="soon", mood="upset"))
    assert again() == {"flipped": 2}
    assert given(openai_shop) == dict.fromkeys(("t0", "t1"), SURE_ANSWERS | {"urgency": ("answered", "soon")})
    assert {ticket.category for ticket in openai_shop.tickets().values()} == {"Billing"}
    assert (len(server.batches), again()) == (2, {"unchanged": 2})
    assert is_whole(openai_shop.db)


def test_a_cascade_puts_the_unsure_questions_alone_into_a_batch(openai_shop: Shop, server: BatchServer) -> None:
    more = "  both: {type: cascade, steps: [local, gpt]}\n" + ASKED
    configured(openai_shop.folder, server, more=more, name="both")
    openai_shop.create("I was charged twice and want a refund", "Zq wv")
    assert dids(openai_shop.classify()) == {"classified": 1, "waiting": 1}
    assert openai_shop.statuses() == ["classified", "waiting"]
    server.finish(saying())
    openai_shop.classify()
    assert openai_shop.statuses() == ["classified", "classified"]
    assert given(openai_shop) == dict.fromkeys(("t0", "t1"), SURE_ANSWERS)
    assert openai_shop.classify() == []
    assert sum(server.asked.values()) == 2
    assert is_whole(openai_shop.db)


def test_one_request_asks_of_each_value_whether_it_holds(shop: Shop, server: BatchServer, kind: str) -> None:
    said: dict[str, Any] = {"category": "Billing", "topics.ship": "yes", "topics.app": "no", "reason": "because"}
    said |= {"confidence": 0.9, "topics.ship confidence": 0.9, "topics.app confidence": 0.9}
    configured(shop.folder, server, kind, "questions: {topics: {values: [ship, app], many: true}}\n")
    shop.create("one")
    shop.classify()
    server.finish(lambda _n, _ticket: End(json.dumps(said | {"topics.app": None})))
    assert dids(shop.classify()) == {"classified": 1, "waiting": 1}
    assert given(shop)["t0"] == {"topics.ship": ("answered", "yes"), "topics.app": ("failed", None)}
    assert "topics.ship" not in json.dumps(server.batches["batch_2"].requests[0]), "what is known is not asked again"
    server.finish(lambda _n, _ticket: End(json.dumps(said)))
    shop.classify()
    assert given(shop)["t0"] == {"topics.ship": ("answered", "yes"), "topics.app": ("answered", "no")}
    assert shop.spent() == pytest.approx(2 * EACH)
    assert is_whole(shop.db)
