"""Malformed and endless answers of a language model: the ticket fails, its cost is booked, the run goes on."""

import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cli import Cli
from tests.support.llm_classifiers import CATEGORIES, PRICE, TYPES, asked, opened, steps, tickets
from tests.support.llm_server import Step, chat, decision, message, running_llm_server, verdict
from tests.support.local_server import Handler, LocalServer
from triage_cli import domain as dm
from triage_cli.extensions.llm import (
    ANSWER_TOKENS,
    Cost,
    DecisionProvider,
    Reply,
    batch_api_of,
    charged_usage,
    interpretation_of,
    question,
)

LOGPROBS = [(token, {token: -0.1, "x": -2.0}) for token in ('{"category": "', "Cost", "ing", '"}')]
GOOD: Mapping[str, dict[str, Any]] = {
    "openai": chat('{"category": "Billing"}', logprobs=LOGPROBS, usage={"prompt_tokens": 9, "completion_tokens": 2,
                   "prompt_tokens_details": {"cached_tokens": 3}}),
    "anthropic": message(verdict()),
    "decision": decision("Billing", {"Billing": 0.9, "Technical": 0.1}),
}  # fmt: skip
STRANGE = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.just(10**400), st.just(math.inf), st.just(math.nan),
    st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=2), st.just({}), st.just({"a": [None]}),
    st.just([None]), st.just([{}]),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all that stands in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in pairs for found in [(*path, key), *places(inner, (*path, key))]]


@st.composite
def mangled(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """Return a good answer in which something else stands at one or two places."""
    body = deepcopy(GOOD[kind])
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(places(body)))
        at: Any = body
        for key in way:
            at = at[key]
        at[last] = deepcopy(draw(STRANGE))
    return body


def read_by(kind: str) -> Callable[[dict[str, Any]], Reply | dm.TriageError | None]:
    classifier = opened("http://127.0.0.1:9/v1", kind, price=PRICE)
    question_spec = question(CATEGORIES, "a", "b")
    if isinstance(classifier.provider, DecisionProvider):
        return classifier.provider.reply
    batch_api = batch_api_of(classifier.spec, {"KEY": "k" * 20})

    def read(body: dict[str, Any]) -> Reply | dm.TriageError | None:
        if kind == "openai":
            line = batch_api.read_result(
                {"custom_id": "a-1", "response": {"status_code": 200, "body": body}}, question_spec, {}
            )
        else:
            line = batch_api.read_result(
                {"custom_id": "a-1", "result": {"type": "succeeded", "message": body}}, question_spec, {}
            )
        return line.reply or line.error

    return read


@pytest.mark.parametrize("kind", TYPES)
def test_any_answer_can_be_read_and_none_pays_us(kind: str) -> None:
    read, classifier = read_by(kind), opened("http://127.0.0.1:9/v1", kind, price=PRICE)
    question_spec, ticket = question(CATEGORIES, "a", "b"), tickets(1)[0]
    good = read(GOOD[kind])
    assert isinstance(good, Reply)
    assert interpretation_of(good, question_spec).parsed.label == "Billing"
    assert good.usage

    @given(mangled(kind))
    def holds(body: dict[str, Any]) -> None:
        try:
            reply = read(body)
        except dm.TriageError:  # what a server says of itself, in a status of 200
            return
        if not isinstance(reply, Reply):
            return
        bill = Cost(PRICE)
        worst = classifier.worst_usage(question_spec, ANSWER_TOKENS)
        usage = charged_usage(reply, worst)
        assert min(usage) >= 0
        assert usage.input <= worst.input
        assert usage.output <= 131_072
        assert usage.cache_read + usage.cache_write <= usage.input
        assert 0 <= bill.add(usage) < math.inf
        (outcome,) = classifier.outcomes(ticket, question_spec, interpretation_of(reply, question_spec), bill, ())
        assert outcome.value is not None
        (step,) = outcome.value.steps
        assert step.confidence is None or 0 <= step.confidence <= 1
        assert step.category or step.error or step.category is None

    holds()


BAD: Mapping[str, Any] = {
    "a logprob of null": {"content": [{"token": '{"category": "Billing"', "logprob": -0.1,
                          "top_logprobs": [{"token": '{"category": "Billing"', "logprob": None}]}]},
    "a logprob of a million": {"content": [{"token": '{"category": "Billing"', "logprob": 1e6,
                               "top_logprobs": [{"token": '{"category": "Billing"', "logprob": 1e6}]}]},
    "logprobs that are a text": {"content": "abc"},
}  # fmt: skip


@pytest.mark.parametrize("what", [*BAD, "choices", "a list", "usage", "deep"])
def test_a_malformed_answer_fails_its_ticket_alone(what: str) -> None:
    body: Any = chat(verdict())
    if what in BAD:
        body["choices"][0]["logprobs"] = BAD[what]
    elif what == "deep":
        body = '{"choices": ' + "[" * 100_000 + "]" * 100_000 + "}"
    else:
        others = {"choices": body | {"choices": 5}, "usage": body | {"usage": {"prompt_tokens": -5}}}
        body = others.get(what, [1, 2])
    with running_llm_server(
        lambda _n, one: Step(body) if "Subject 0" in one.ticket else Step(chat(verdict()))
    ) as server:
        outcomes, ended = asked(opened(server, price=PRICE, workers=1, max_retries=0), 3)
    assert ended is None
    assert len(outcomes) == 3
    assert all(step.cost >= 0 for step in steps(outcomes))
    assert [step.error for step in steps(outcomes)].count(None) >= 2


class Endless(LocalServer):
    """Answers every request with a body that is 200 MB long, in chunks."""

    def __init__(self) -> None:
        super().__init__(_Endless)
        self.sent = 0


class _Endless(Handler):
    def do_POST(self) -> None:  # noqa: N802 - so http.server calls it
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        piece = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
        try:
            for _ in range(200):
                self.wfile.write(piece)
                self.server.fake.sent += 1
        except OSError:
            self.close_connection = True


@pytest.fixture
def endless() -> Any:
    server = Endless()
    yield server
    server.close()


@pytest.mark.parametrize("kind", TYPES)
def test_an_answer_without_an_end_is_not_read_to_it(endless: Endless, kind: str) -> None:
    url = endless.root if kind == "anthropic" else f"{endless.root}/v1"
    outcomes, ended = asked(opened(url, kind, price=PRICE, max_retries=0), 1)
    assert ended is None
    (step,) = steps(outcomes)
    assert step.error == "not_json"
    assert step.cost > 0, "it was answered, so it is paid for"
    assert endless.sent < 50


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_an_answer_without_an_end_takes_no_memory(endless: Endless, cli: Cli) -> None:
    spec = f"type: openai, model: m, api_key_env: null, base_url: {endless.root}/v1, max_retries: 0"
    (cli.folder / "config.yaml").write_text(f"classifier: gpt\nclassifiers:\n  gpt: {{{spec}}}\n")
    assert cli("create", "-q", stdin="id,subject\n1,What about it?\n").returncode == 0
    cli.fresh = True
    peak, process = 0, cli.start("classify", "-q")
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        peak = max(peak, int(found[1]) if found else 0)
        os.sched_yield()
    process.communicate()
    assert process.returncode == 3
    assert peak < 150 * 1024, "kB"
