"""Language models: the vendors' own SDKs against a real server that misbehaves in every known way."""

import asyncio
import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.support.commands import PATIENCE
from tests.support.llm_classifiers import CATEGORIES, KEY, PRICE, TYPES, WORDS, asked, opened, steps, tickets
from tests.support.llm_server import (
    Asked,
    LlmServer,
    Script,
    Step,
    chat,
    decision,
    failing,
    good,
    message,
    running_llm_server,
    thinker,
    verdict,
)
from tests.support.online import ONLINE
from tests.support.ports import number_of, reserve_port
from tests.support.records import replace
from tests.support.world import a_budget
from triage_cli import domain as dm
from triage_cli.classifiers import Bounded, Promise
from triage_cli.config import ClassifierSpec, Price
from triage_cli.extensions.llm import ANSWER_TOKENS, TICKET_LIMITS, Cost, build
from triage_cli.runtime import Network, StopControl


def first(script_steps: Sequence[Step], then: Script = good) -> Script:
    """Answer the first requests so, later ones by another script."""
    return lambda n, one: script_steps[n] if n < len(script_steps) else then(n, one)


def always(step: Step) -> Script:
    return lambda _n, _asked: step


@pytest.fixture
def serve() -> Iterator[Callable[[Script], LlmServer]]:
    servers: list[LlmServer] = []

    def start(script: Script = good) -> LlmServer:
        servers.append(LlmServer(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


# --- the ordinary case, and what is recorded of it


@pytest.mark.parametrize(("kind", "source"), [("openai", "said"), ("anthropic", "said"), ("decision", "decision")])
def test_every_ticket_gets_its_answer(kind: str, source: str) -> None:
    with running_llm_server(lambda n, one: replace(good(n, one), delay=0.02)) as server:
        outcomes, error = asked(opened(server, kind, workers=4, price=PRICE), 20)
    assert error is None
    assert sorted(s.ticket_id for s in steps(outcomes)) == sorted(f"t{n}" for n in range(20))
    assert {(s.category, s.confidence, s.confidence_source, s.threshold) for s in steps(outcomes)} == {
        ("Billing", 0.9, source, 0.6)
    }
    assert len(server.asked) == 20
    assert 1 < server.most <= 4


@pytest.mark.parametrize("kind", TYPES)
def test_an_answer_at_its_threshold_is_sure_and_one_a_hair_below_is_not(kind: str) -> None:
    with running_llm_server() as server:
        for threshold, sure in ((0.9, True), (0.9 + 1e-9, False)):
            (outcome,), error = asked(opened(server, kind, min_confidence=threshold))
            assert (error, steps([outcome])[0].confidence) == (None, 0.9)
            assert outcome.value is not None
            assert outcome.value.sure is sure


def test_the_tokens_and_their_price_are_recorded() -> None:
    with running_llm_server() as server:
        (chats,), _ = asked(opened(server, price=PRICE))
        (messages,), _ = asked(opened(server, "anthropic", price=PRICE))
    (one,), (two,) = steps([chats]), steps([messages])
    assert (one.input_tokens, one.output_tokens) == (100, 10)
    assert one.cost == pytest.approx(0.2)
    assert (two.input_tokens, two.cache_read, two.cache_write) == (100, 70, 10)
    assert two.cost == pytest.approx((20 * 1000 + 10 * 10000 + 70 * 100 + 10 * 1250) / 1e6)


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}])
def test_usage_that_is_not_told_is_estimated(usage: dict[str, int] | None) -> None:
    with running_llm_server(always(Step(chat(verdict(), usage=usage)))) as server:
        outcomes, _ = asked(opened(server, price=PRICE), 1, budget := a_budget())
    assert steps(outcomes)[0].input_tokens > 50
    assert budget.spent > 0


def test_no_more_of_the_input_is_from_a_cache_than_there_is() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 10**9}}
    with running_llm_server(always(Step(chat(verdict(), usage=usage)))) as server:
        outcomes, _ = asked(opened(server, price=Price(1000.0, 1000.0)))
    (step,) = steps(outcomes)
    assert (step.input_tokens, step.cache_read) == (100, 100)
    assert step.cost == pytest.approx(0.11)


def test_the_confidence_is_that_of_the_label_s_token_where_it_is_told() -> None:
    logprobs = [('{"category": "', {}), ("General", {"General": -0.1, "Billing": -2.4}), ('"}', {})]
    with running_llm_server(always(Step(chat('{"category": "General"}', logprobs=logprobs)))) as server:
        outcomes, _ = asked(opened(server))
    (step,) = steps(outcomes)
    assert (step.category, step.confidence_source) == ("General", "logprob")
    assert step.confidence == pytest.approx(0.9089, abs=1e-4)
    assert json.loads(step.probabilities or "")["Billing"] == pytest.approx(0.0911, abs=1e-4)


def test_below_the_threshold_nobody_is_sure() -> None:
    with running_llm_server(always(Step(chat(verdict(confidence=0.4))))) as server:
        (outcome,), _ = asked(opened(server))
    assert outcome.value is not None
    assert not outcome.value.sure
    assert outcome.error is None


def test_an_answer_without_any_confidence_is_not_sure() -> None:
    with running_llm_server(always(Step(chat("Billing")))) as server:
        (outcome,), _ = asked(opened(server))
    (step,) = steps([outcome])
    assert (step.category, step.confidence, step.confidence_source) == ("Billing", None, "said")
    assert outcome.value is not None
    assert not outcome.value.sure


@pytest.mark.parametrize("kind", TYPES)
def test_none_of_these_is_an_abstention_and_no_failure(kind: str) -> None:
    bodies = {
        "openai": chat(verdict("none of these")),
        "anthropic": message(verdict("none of these")),
        "decision": decision("none of these", {"none of these": 0.9, "Billing": 0.1}),
    }
    with running_llm_server(always(Step(bodies[kind]))) as server:
        outcomes, error = asked(opened(server, kind))
    (step,) = steps(outcomes)
    assert error is None
    assert (step.category, step.error, step.confidence) == (None, None, 0.9)


def test_the_model_that_really_answered_is_on_the_step() -> None:
    with running_llm_server() as server:
        outcomes, _ = asked(opened(server, model="m-large"))
    assert steps(outcomes)[0].step == "gpt (m)"
    assert steps(outcomes)[0].classifier == "gpt"


def test_what_is_masked_does_not_leave_and_is_named() -> None:
    with running_llm_server() as server:
        classifier = opened(server, redact=("email", "card"))
        ticket = replace(tickets(1)[0], subject="from jane@example.com", description="card 4111 1111 1111 1111")
        outcomes = [o for chunk in classifier.classify([[ticket]], a_budget()) for o in chunk]
    assert json.loads(server.asked[0].ticket) == {"subject": "from [email]", "description": "card [card]"}
    assert json.loads(steps(outcomes)[0].redacted or "") == ["email", "card"]


def test_what_nobody_sees_hides_nothing_from_the_masks() -> None:
    with running_llm_server() as server:
        classifier = opened(server, redact=("email", "card"))
        ticket = replace(
            tickets(1)[0],
            subject="from jane\u200b@exam\u00adple.com",
            description="card 4111\u2060 1111 11\u200b11 1111",
        )
        outcomes = [o for chunk in classifier.classify([[ticket]], a_budget()) for o in chunk]
    assert json.loads(server.asked[0].ticket) == {"subject": "from [email]", "description": "card [card]"}
    assert json.loads(steps(outcomes)[0].redacted or "") == ["email", "card"]


def test_the_fingerprint_names_everything_that_is_asked() -> None:
    with running_llm_server() as server:
        base = opened(server).fingerprint
        same = opened(server, workers=3, min_confidence=0.9, price=PRICE, max_answer_tokens=999)
        assert same.fingerprint == base
        others = [opened(server, model="n"), opened(server, "decision"), opened(server, redact=("email",))]
        others += [opened(server.url + "/other"), opened(server, effort="low"), opened(server, effort="none")]
    assert len({base, *(c.fingerprint for c in others)}) == 7
    (questions,) = others[0].askings()
    assert (questions.kind, questions.model, json.loads(questions.categories)[0][0]) == ("openai", "n", "Billing")


@pytest.mark.parametrize(
    ("kind", "fingerprint"),
    [
        ("openai", "8a649619b56ace94f5755fea8b2d91990221c3fa66b0f2d1d3c8c3b0b5af3cbf"),
        ("anthropic", "046e67b972adba546f9e29086cbc3d1d7c0bef8189b17a6b80dc3394d02a3a6a"),
    ],
)
def test_answers_that_earlier_versions_paid_are_not_asked_again(kind: str, fingerprint: str) -> None:
    """The fingerprints are those of the version of 2 December 2026, before a model's effort was asked for."""
    assert opened("http://127.0.0.1:9/v1", kind).fingerprint == fingerprint


@pytest.mark.parametrize("kind", TYPES)
def test_instructions_stand_in_the_prompt_and_are_part_of_the_question(kind: str) -> None:
    rule = "Who cannot pay is Billing."
    with running_llm_server() as server:
        told = opened(server, kind, instructions=rule)
        asked(told)
        assert rule in json.dumps(server.asked[0].body)
        assert WORDS in json.dumps(server.asked[0].body)
        assert told.fingerprint != opened(server, kind).fingerprint
        assert opened(server, kind, instructions="").fingerprint == opened(server, kind).fingerprint
    (spec,) = told.askings()
    assert rule in spec.prompt


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_the_nearest_decided_tickets_stand_behind_the_fixed_part_masked_and_are_named(kind: str) -> None:
    decided = tickets(2, "write to ada@example.com about it")
    near = [replace(t, ticket_id=f"d{n}", category=("Billing", "General")[n], verdict=1) for n, t in enumerate(decided)]
    with running_llm_server() as server:
        plain = opened(server, kind)
        asked(plain)
        taught = opened(server, kind, nearest=2, redact=("email",), find_nearest=lambda _: near)
        outcomes, error = asked(taught)
        before, after = (json.dumps(one.body) for one in server.asked)
    assert error is None
    assert after.count("write to") == 2
    assert "ada@example.com" not in after
    assert "write to" not in before
    if kind == "openai":  # where the user's ticket comes last
        assert after.index("I was charged twice") < after.index("write to") < after.index(WORDS)
    assert json.loads(steps(outcomes)[0].nearest or "") == ["d0", "d1"]
    assert plain.fingerprint != taught.fingerprint
    assert taught.fingerprint == opened(server, kind, nearest=2, redact=("email",)).fingerprint


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_what_a_model_repeats_of_other_peoples_tickets_is_not_kept_with_this_one(kind: str) -> None:
    other = "my daughter Ida is in hospital"
    near = [replace(t, category="General", verdict=1) for t in tickets(1, f"{WORDS} and {other}")]

    def answers(number: int, _: Asked) -> Step:
        said = verdict(reason=(f"as in: {other.upper()}!", f"it says: {WORDS}")[min(number, 1)])
        given = Step(message(said) if kind == "anthropic" else chat(said))
        return given if number < 2 else failing(400, f"bad input: {other}")

    with running_llm_server(answers) as server:
        outcomes, _ = asked(opened(server, kind, nearest=1, workers=1, find_nearest=lambda _: near), 3)
    assert [step.reason for step in steps(outcomes)] == [None, f"it says: {WORDS}", None], "its own words may be one"
    errors = [o.error.message for o in outcomes if o.error]
    assert [error.endswith("did not take the request (400)") for error in errors] == [True]


def test_an_address_is_recorded_without_its_password() -> None:
    assert opened("http://user:hunter2@127.0.0.1:9/v1?key=hunter3").askings()[0].endpoint == "http://127.0.0.1:9/v1"


# --- the wire


def test_openai_is_sent_schema_logprobs_and_the_key() -> None:
    with running_llm_server() as server:
        asked(opened(server))
    (one,) = server.asked
    assert one.headers["authorization"] == f"Bearer {KEY}"
    assert one.body["response_format"]["json_schema"]["strict"] is True
    assert one.body["response_format"]["json_schema"]["schema"]["properties"]["category"]["enum"][-1] == "none of these"
    assert (one.body["temperature"], one.body["logprobs"], one.body["max_completion_tokens"]) == (0, True, 256)
    assert one.body["reasoning_effort"] == "none"
    assert "prompt_cache_key" not in one.body
    assert [m["role"] for m in one.body["messages"]] == ["system", *["user", "assistant"] * 3, "user"]


def test_anthropic_is_sent_a_schema_and_a_cached_system_block() -> None:
    with running_llm_server() as server:
        asked(opened(server, "anthropic"))
    (one,) = server.asked
    assert one.path == "/v1/messages"
    assert one.body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert one.body["output_config"]["format"]["type"] == "json_schema"
    assert (one.body["max_tokens"], one.body["thinking"]) == (256, {"type": "disabled"})
    assert "temperature" not in one.body


def test_a_decision_is_asked_with_its_choices() -> None:
    with running_llm_server() as server:
        asked(opened(server, "decision"))
    (one,) = server.asked
    assert one.path == "/v1/decisions"
    (question,) = one.body["questions"]
    assert [c["value"] for c in question["choices"]] == ["Billing", "Technical", "General", "none of these"]
    assert question["choices"][0]["description"] == "Money Examples: I was charged twice"


def test_a_server_without_decisions_is_asked_in_the_older_shape() -> None:
    answer = {
        "type": "choice",
        "choice": "Billing",
        "probabilities": {"Billing": 0.8, "General": 0.2},
        "confidence": 0.8,
    }

    def script(_n: int, one: Asked) -> Step:
        if one.path.endswith("/decisions"):
            return failing(404, "not found")
        return Step({"answers": {"category": answer}, "model": "m", "usage": {"input_tokens": 7}})

    with running_llm_server(script) as server:
        outcomes, error = asked(opened(server, "decision", workers=1), 3)
    assert error is None
    assert {(s.category, s.confidence, s.confidence_source, s.input_tokens) for s in steps(outcomes)} == {
        ("Billing", 0.8, "decision", 7)
    }
    assert [a.path for a in server.asked].count("/v1/decisions") == 1


def test_a_server_that_needs_no_key_gets_none_of_ours() -> None:
    with running_llm_server() as server:
        outcomes, error = asked(opened(server, api_key_env=None))
    assert (len(outcomes), error) == (1, None)
    assert KEY not in str(server.asked)


# --- what a server cannot do is left out, once


@pytest.mark.parametrize(
    ("objection", "gone", "instead"),
    [
        (failing(400, "Unrecognized request argument: logprobs"), "logprobs", None),
        (failing(403, "You are not allowed to request logprobs from this model"), "logprobs", None),
        (failing(400, "Unsupported value: 'temperature' does not support 0"), "temperature", None),
        (failing(400, "max_completion_tokens: extra fields not permitted"), "max_completion_tokens", "max_tokens"),
        (failing(400, "response_format json_schema is not supported"), None, "response_format"),
        (
            failing(500, "[{'type': 'literal_error', 'loc': ('body', 'response_format', 'type')}]"),
            None,
            "response_format",
        ),
        (failing(422, "Invalid schema for response_format"), None, "response_format"),
    ],
)
def test_what_the_server_objects_to_is_left_out_and_remembered(
    objection: Step, gone: str | None, instead: str | None
) -> None:
    with running_llm_server(first([objection])) as server:
        outcomes, error = asked(opened(server, workers=1, max_retries=0), 3)
    assert error is None
    assert [s.category for s in steps(outcomes)] == ["Billing"] * 3
    assert len(server.asked) == 4
    for later in server.asked[1:]:
        assert gone not in later.body
        assert instead is None or instead in later.body


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "response_format json_schema is not supported"),
        (500, "[{'type': 'literal_error', 'loc': ('body', 'response_format', 'type')}]"),
        (422, "Invalid schema for response_format"),
    ],
)
def test_a_server_without_schemas_is_asked_for_an_object(status: int, words: str) -> None:
    """First without the bounds of the schema, which may be all it objects to; llama-cpp-python says so with a 500."""

    def script(n: int, one: Asked) -> Step:
        form = one.body.get("response_format", {}).get("type")
        return failing(status, words) if form == "json_schema" else good(n, one)

    with running_llm_server(script) as server:
        outcomes, error = asked(opened(server, workers=1, max_retries=0), 3)
    assert error is None
    assert [s.category for s in steps(outcomes)] == ["Billing"] * 3
    assert len(server.asked) == 5
    assert server.asked[-1].body["response_format"] == {"type": "json_object"}


def test_a_server_that_takes_no_bounds_keeps_the_schema() -> None:
    with running_llm_server(first([failing(400, "schema: maxLength is not supported")])) as server:
        outcomes, _ = asked(opened(server, workers=1), 2)
    assert [s.category for s in steps(outcomes)] == ["Billing"] * 2
    assert "maxLength" in str(server.asked[0].body)
    assert "maxLength" not in str(server.asked[1].body)
    assert server.asked[1].body["response_format"]["type"] == "json_schema"


def test_a_server_that_knows_no_forms_at_all_is_asked_plainly() -> None:
    def script(_n: int, one: Asked) -> Step:
        return failing(400, "response_format: unknown") if "response_format" in one.body else good(_n, one)

    with running_llm_server(script) as server:
        outcomes, _ = asked(opened(server, workers=1), 2)
    assert [s.category for s in steps(outcomes)] == ["Billing"] * 2
    assert len(server.asked) == 5


def test_a_server_that_ignores_the_form_is_asked_in_the_next() -> None:
    def script(_n: int, one: Asked) -> Step:
        form = one.body.get("response_format", {}).get("type")
        return Step(chat("I believe it is about money.")) if form == "json_schema" else good(_n, one)

    with running_llm_server(script) as server:
        outcomes, _ = asked(opened(server, workers=1), 5)
    assert [s.category for s in steps(outcomes)] == ["Billing"] * 5
    assert len(server.asked) == 6


def test_anthropic_without_schemas_is_asked_without() -> None:
    with running_llm_server(first([failing(400, "output_config: Extra inputs are not permitted")])) as server:
        outcomes, _ = asked(opened(server, "anthropic", workers=1), 2)
    assert [s.category for s in steps(outcomes)] == ["Billing"] * 2
    assert "output_config" not in server.asked[-1].body


# --- models that think before they answer


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("takes", [["none", "low"], ["low"], []])
@pytest.mark.parametrize("thought", [0, 120, 700, 2000])
def test_a_model_that_thinks_is_asked_to_think_little_and_else_given_room(
    kind: str, takes: Sequence[str], thought: int
) -> None:
    """At worst one ticket pays for an answer that was cut in thought; every other one is answered at once."""
    with running_llm_server(thinker(thought, takes)) as server:
        outcomes, error = asked(opened(server, kind, workers=1, price=PRICE), 5)
    assert error is None
    assert [s.category for s in steps(outcomes)] == ["Billing"] * 5
    refused, cut = 2 - len(takes), thought > 246 and "none" not in takes
    assert len(server.asked) == refused + cut + 5
    assert (steps(outcomes)[0].output_tokens, steps(outcomes)[4].output_tokens) == (
        (10, 10) if "none" in takes else (256 * cut + thought + 10, thought + 10)
    )


def test_a_server_that_knows_neither_schema_nor_effort_is_asked_without() -> None:
    def script(n: int, one: Asked) -> Step:
        known = "output_config" not in one.body and "thinking" not in one.body
        return good(n, one) if known else failing(400, "output_config: Extra inputs are not permitted")

    with running_llm_server(script) as server:
        outcomes, _ = asked(opened(server, "anthropic", workers=1, effort="medium"), 2)
    assert [s.category for s in steps(outcomes)] == ["Billing"] * 2
    assert len(server.asked) == 4


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_an_effort_that_is_configured_is_asked_for_with_room_for_it(kind: str) -> None:
    with running_llm_server(thinker(2000, ["medium"])) as server:
        outcomes, _ = asked(opened(server, kind, effort="medium"))
    assert [s.category for s in steps(outcomes)] == ["Billing"]
    (one,) = server.asked
    assert one.body.get("reasoning_effort", one.body.get("output_config", {}).get("effort")) == "medium"
    assert "thinking" not in one.body


def test_no_answer_takes_more_tokens_than_are_configured() -> None:
    with running_llm_server(thinker(700)) as server:
        (outcome,), _ = asked(opened(server, max_answer_tokens=300))
    assert steps([outcome])[0].error == "cut"
    assert "max_answer_tokens" in str(outcome.error)
    assert [one.body["max_completion_tokens"] for one in server.asked] == [300] * 3, "twice for the refused effort"


def test_a_model_that_ends_at_no_room_is_not_asked_for_ever_more() -> None:
    with running_llm_server(thinker(10_000)) as server:
        outcomes, _ = asked(opened(server, workers=1), 2)
    assert [s.error for s in steps(outcomes)] == ["cut"] * 2
    assert [one.body["max_completion_tokens"] for one in server.asked] == [256, 256, 256, 4096, 4096]


DRAFT = '<think>Perhaps {"category": "General", "confidence": 0.95, "reason": "draft"}? </think>'


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (f"{DRAFT}\n{verdict()}", None),
        (DRAFT.removeprefix("<think>") + verdict(), None),  # where the template has begun the thought
        (f"[THINK]{{{{[/THINK]```json\n{verdict()}\n```", None),
        (verdict(reason="because"), None),
        (f"{DRAFT}Billing", None),
        (DRAFT.removesuffix("</think>"), "empty"),
        (f"{DRAFT}{verdict(reason='it says </think>')}", "not_json"),
    ],
)
def test_what_a_model_thinks_aloud_is_no_answer(said: str, problem: str | None) -> None:
    with running_llm_server(always(Step(chat(said, logprobs=[(said, {said: -0.1})])))) as server:
        outcomes, _ = asked(opened(server, max_retries=0))
    (step,) = steps(outcomes)
    assert (step.category, step.error) == (None if problem else "Billing", problem)
    assert step.reason in ("because", None)
    assert "General" not in json.loads(step.probabilities or "{}")


def test_an_answer_in_parts_is_joined_without_its_thought() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": '{"category": "General"}'}]}
    parts = [thought, *({"type": "text", "text": text} for text in (verdict()[:9], verdict()[9:]))]
    whole = chat("") | {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": parts}}]}
    with running_llm_server(always(Step(whole))) as server:
        outcomes, _ = asked(opened(server))
    assert [(s.category, s.confidence) for s in steps(outcomes)] == [("Billing", 0.9)]


def test_thoughts_that_stand_in_the_total_alone_are_paid_for() -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 168, "total_tokens": 736}
    with running_llm_server(always(Step(chat(verdict(), usage=usage)))) as server:
        outcomes, _ = asked(opened(server))
    assert [s.output_tokens for s in steps(outcomes)] == [716]


# --- bad answers: each has a name, none is a category, all are paid for

BAD: dict[str, tuple[Step, str]] = {
    "prose": (Step(chat("It seems to be about billing.")), "not_json"),
    "a wrong label": (Step(chat(verdict("Sales"))), "unknown_label"),
    "nothing": (Step(chat("")), "empty"),
    "null": (Step(chat(None)), "empty"),
    "cut": (Step(chat('{"category": "Bil', finish="length")), "cut"),
    "cut after the label": (Step(chat('{"category": "Billing", "conf', finish="length")), "cut"),
    "a refusal": (Step(chat(None, refusal="I cannot help with that.")), "refused"),
    "a filter": (Step(chat(verdict(), finish="content_filter")), "refused"),
    "no choices": (Step({**chat(""), "choices": []}), "empty"),
    "null choices": (Step({**chat(""), "choices": None}), "empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_has_a_name_and_was_paid_for(name: str) -> None:
    step, problem = BAD[name]
    with running_llm_server(always(step)) as server:
        outcomes, error = asked(opened(server, workers=2, price=PRICE), 3)
    assert error is None
    assert [s.error for s in steps(outcomes)] == [problem] * 3
    times = 1 if problem == "refused" else 2
    assert len(server.asked) == 3 * times
    assert [s.cost for s in steps(outcomes)] == [pytest.approx(0.2 * times)] * 3


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (Step(message("prose")), "not_json"),
        (Step(message(verdict("Sales"))), "unknown_label"),
        (Step(message("", stop="refusal")), "refused"),
        (Step(message('{"cat', stop="max_tokens")), "cut"),
        (Step({**message(""), "content": []}), "empty"),
        (Step({**message(""), "content": None, "usage": None}), "empty"),
    ],
)
def test_the_same_of_anthropic(step: Step, problem: str) -> None:
    with running_llm_server(always(step)) as server:
        outcomes, error = asked(opened(server, "anthropic"))
    assert error is None
    assert [s.error for s in steps(outcomes)] == [problem]


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (Step(decision("", {}, kind="refusal")), "refused"),
        (Step(decision("Sales", {"Sales": 1.0})), "unknown_label"),
        (Step({**decision("Billing", {"Billing": 1.0}), "answers": []}), "empty"),
        (Step({"answers": None, "model": None, "usage": None}), "empty"),
    ],
)
def test_the_same_of_a_decision(step: Step, problem: str) -> None:
    with running_llm_server(always(step)) as server:
        outcomes, error = asked(opened(server, "decision"))
    assert error is None
    assert [s.error for s in steps(outcomes)] == [problem]


def test_a_cut_answer_is_asked_for_again_with_twice_the_room() -> None:
    with running_llm_server(first([Step(chat("{", finish="length"))])) as server:
        outcomes, _ = asked(opened(server))
    assert steps(outcomes)[0].category == "Billing"
    assert [a.body["max_completion_tokens"] for a in server.asked] == [256, 512]


def test_a_bad_answer_is_not_repeated_without_retries() -> None:
    with running_llm_server(always(Step(chat("prose")))) as server:
        outcomes, _ = asked(opened(server, max_retries=0))
    assert [s.error for s in steps(outcomes)] == ["not_json"]
    assert len(server.asked) == 1


def test_a_ticket_that_is_too_long_is_cut_until_it_fits() -> None:
    too_long = failing(400, "request (5031 tokens) exceeds the available context size (2048 tokens)")
    with running_llm_server(first([too_long])) as server:
        classifier = opened(server)
        big = tickets(1, "word " * 9_999)
        (chunk,) = [c for c in classifier.classify([big], a_budget()) if c]
        assert steps(chunk)[0].category == "Billing"
    assert len(server.asked[1].ticket) < 5_000 < len(server.asked[0].ticket)
    with running_llm_server(always(too_long)) as server:
        outcomes, error = asked(opened(server))
        assert (steps(outcomes)[0].error, error, len(server.asked)) == ("too_long", None, 1), "it is short already"
        (chunk,) = [c for c in opened(server).classify([big], a_budget()) if c]
    assert (steps(chunk)[0].error, len(server.asked)) == ("too_long", 1 + len(TICKET_LIMITS))


# --- failures that pass

PASSING: dict[str, list[Step]] = {
    "429 on the first 20": [failing(429, "slow down")] * 20,
    "429 with Retry-After": [failing(429, "slow down", retry_after="7")] * 5,
    "bursts of 5xx": [failing(code, "oops") for code in (500, 502, 503, 504, 529)] * 3,
    "cut before the status": [Step(chat(verdict()), cut=-1)] * 6,
    "cut within the body": [Step(chat(verdict()), cut=30)] * 6,
    "a page of a gateway": [Step("<html>502</html>", 502, kind="text/html")] * 4,
    "broken JSON": [Step('{"choices": [', kind="application/json")] * 3,
    "408 and 409": [failing(408), failing(409)],
    "a failure with status 200": [Step({"error": {"code": 503, "message": "overloaded"}})] * 3,
}


@pytest.mark.parametrize("name", PASSING)
def test_failures_that_pass_cost_no_ticket(name: str) -> None:
    with running_llm_server(first(PASSING[name])) as server:
        outcomes, error = asked(opened(server, workers=4, max_retries=20), 30)
    assert error is None
    assert [s.category for s in steps(outcomes)] == ["Billing"] * 30
    assert len(server.asked) == 30 + len(PASSING[name]), "no more calls than needed"


@pytest.mark.parametrize("name", ["bursts of 5xx", "cut before the status", "429 with Retry-After", "broken JSON"])
@pytest.mark.parametrize("kind", ["anthropic", "decision"])
def test_the_same_with_the_other_vendors(kind: str, name: str) -> None:
    with running_llm_server(first(PASSING[name])) as server:
        outcomes, error = asked(opened(server, kind, workers=4, max_retries=20), 10)
    assert error is None
    assert [s.category for s in steps(outcomes)] == ["Billing"] * 10
    assert len(server.asked) == 10 + len(PASSING[name])


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("retries", [0, 2])
def test_one_call_and_as_many_as_retries(kind: str, retries: int) -> None:
    with running_llm_server(always(failing(500, "oops"))) as server:
        outcomes, error = asked(opened(server, kind, workers=1, max_retries=retries), 3)
    assert error is None
    assert [s.error for s in steps(outcomes)] == ["unavailable"] * 3
    assert len(server.asked) == 3 * (retries + 1)


@pytest.mark.slow
@pytest.mark.parametrize("step", [Step(chat(verdict()), drip=0.05), Step(hang=True)], ids=["drips", "hangs"])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_no_server_stretches_the_deadline(kind: str, step: Step) -> None:
    with running_llm_server(always(step)) as server:
        outcomes, error = asked(opened(server, kind, workers=3, max_retries=1, timeout=0.1), 3)
        assert error is None
        assert [s.error for s in steps(outcomes)] == ["unavailable"] * 3
        assert all("0.1 s" in str(o.error) for o in outcomes)
        assert len(server.asked) <= 6  # on a busy machine a request may be given up before it is there


def test_a_server_that_stays_broken_ends_the_run_and_the_rest_stays_new() -> None:
    with running_llm_server(always(failing(500, "oops"))) as server:
        outcomes, error = asked(opened(server, workers=4, max_retries=5), 100)
    assert isinstance(error, dm.UnavailableError)
    assert error.exit_code == dm.ExitCode.UNAVAILABLE
    assert len(server.asked) < 30
    assert len(outcomes) < 10


# --- what ends a run


ENDING: dict[str, tuple[Step, type[dm.TriageError], dm.ExitCode, str]] = {
    "a wrong key": (failing(401, f"Incorrect API key provided: {KEY}"), dm.RefusedError, dm.ExitCode.REFUSED, "KEY"),
    "a key that may not": (failing(403, "no access"), dm.RefusedError, dm.ExitCode.REFUSED, "KEY"),
    "no quota": (
        failing(429, "You exceeded", code="insufficient_quota"),
        dm.RefusedError,
        dm.ExitCode.REFUSED,
        "quota",
    ),
    "no credit": (failing(400, "Your credit balance is too low"), dm.RefusedError, dm.ExitCode.REFUSED, "quota"),
    "no such model": (failing(404, "no", code="model_not_found"), dm.ConfigError, dm.ExitCode.USAGE, '"m"'),
    "a model of another": (failing(400, "The model `m` does not exist"), dm.ConfigError, dm.ExitCode.USAGE, '"m"'),
    "a page with 200": (
        Step("<!doctype html><p>Hello", kind="text/html"),
        dm.ConfigError,
        dm.ExitCode.USAGE,
        "web page",
    ),
    "a page with 404": (Step("<html>nothing", 404, kind="text/html"), dm.ConfigError, dm.ExitCode.USAGE, "web page"),
    "a proxy's login": (Step("<html>log in", 403, kind="text/html"), dm.RefusedError, dm.ExitCode.REFUSED, "web page"),
    "an hour's pause": (
        failing(429, "later", retry_after="3600"),
        dm.UnavailableError,
        dm.ExitCode.UNAVAILABLE,
        "max-wait",
    ),
}


@pytest.mark.parametrize("name", ENDING)
@pytest.mark.parametrize("kind", TYPES)
def test_what_ends_a_run_ends_it_at_once(kind: str, name: str) -> None:
    step, kind_of_error, code, word = ENDING[name]
    with running_llm_server(always(replace(step, delay=0.02))) as server:
        outcomes, error = asked(opened(server, kind, workers=4), 50)
    assert isinstance(error, kind_of_error)
    assert (error.exit_code, error.stops_run) == (code, True)
    assert word in error.sentence()
    assert KEY not in error.sentence()
    assert "\n" not in error.sentence()
    assert len(error.sentence()) < 400
    assert outcomes == []
    assert len(server.asked) <= 4 * (2 if kind == "decision" and "model" not in step.body else 1)


def page(_number: int, _one: Asked) -> Step:
    return Step("<html>back soon", kind="text/html")


@pytest.mark.slow
def test_a_web_page_among_good_answers_is_a_failure_like_any_other() -> None:
    """A gateway that is out of order may answer so; the address is right, since there were answers."""
    with running_llm_server(lambda n, one: page(n, one) if n == 3 else good(n, one)) as server:
        outcomes, error = asked(opened(server, workers=1, max_retries=2), 6)
    assert error is None
    assert [s.category for s in steps(outcomes)] == ["Billing"] * 6
    with running_llm_server(lambda n, one: page(n, one) if n > 2 else good(n, one)) as server:
        outcomes, error = asked(opened(server, workers=1, max_retries=2), 50)
    assert isinstance(error, dm.UnavailableError)
    assert (error.exit_code, "web page" in error.sentence()) == (dm.ExitCode.UNAVAILABLE, True)
    assert len(server.asked) < 30


@pytest.mark.slow
def test_what_was_in_flight_at_the_end_is_kept() -> None:
    refused = threading.Event()

    def script(n: int, one: Asked) -> Step:
        if n == 3:
            refused.set()
            return failing(401, "no")
        refused.wait(PATIENCE)
        return replace(good(n, one), delay=0.5)  # the refusal is there first

    def unlocked(server: LlmServer) -> None:
        server._lock = NoLock()  # type: ignore[assignment]

    with running_llm_server(script) as server:
        unlocked(server)
        outcomes, error = asked(opened(server, workers=4), 50)
    assert isinstance(error, dm.RefusedError)
    assert [s.category for s in steps(outcomes)] == ["Billing"] * 3
    assert len(server.asked) == 4


class NoLock:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def test_nobody_there_is_unavailable() -> None:
    with reserve_port() as reserved:
        url = f"http://127.0.0.1:{number_of(reserved)}/v1"
        outcomes, error = asked(opened(url, workers=2, max_retries=2), 5)
    assert isinstance(error, dm.UnavailableError)
    assert "base_url" in error.hint
    assert outcomes == []


def test_a_server_that_takes_no_request_at_all_ends_the_run() -> None:
    with running_llm_server(always(failing(400, "bad request"))) as server:
        outcomes, error = asked(opened(server, workers=2), 50)
    assert isinstance(error, dm.ConfigError)
    assert [s.error for s in steps(outcomes)].count("rejected") == len(outcomes) <= 11
    assert len(server.asked) <= 12


def test_a_request_rejected_now_and_then_is_its_ticket_s_failure() -> None:
    def script(n: int, one: Asked) -> Step:
        return failing(400, "bad request") if n % 2 else good(n, one)

    with running_llm_server(script) as server:
        outcomes, error = asked(opened(server, workers=1), 40)
    assert error is None
    assert [s.error for s in steps(outcomes)].count("rejected") == 20


def test_stop_takes_nothing_new() -> None:
    stop_control = StopControl()
    budget = a_budget(stop_control=stop_control)

    def script(n: int, one: Asked) -> Step:
        if n == 5:
            stop_control.stop()
        return good(n, one)

    with running_llm_server(script) as server:
        outcomes, error = asked(opened(server, workers=2), 50, budget)
    assert error is None
    assert len(outcomes) == len(server.asked) <= 8


def test_a_pause_does_not_outlast_a_stop() -> None:
    stop_control = StopControl()
    budget = a_budget(stop_control=stop_control)

    def script(_n: int, _one: Asked) -> Step:
        stop_control.stop()
        return failing(429, "later", retry_after="100")

    with running_llm_server(script) as server:
        outcomes, error = asked(opened(server, workers=1), 5, budget)
    assert (outcomes, error, len(server.asked)) == ([], None, 1)


# --- money


def test_no_call_passes_the_limit() -> None:
    with running_llm_server() as server:
        outcomes, error = asked(opened(server, workers=4, price=PRICE), 100, budget := a_budget(20.0))
    assert isinstance(error, dm.BudgetError)
    assert error.exit_code == dm.ExitCode.BUDGET
    assert budget.spent == pytest.approx(0.2 * len(outcomes))
    assert len(outcomes) == len(server.asked) > 30
    assert budget.spent <= 20
    assert budget.reserved == pytest.approx(0)


def test_a_small_limit_is_spent_by_many_workers_as_by_one() -> None:
    """A call costs 0.2; what eight may cost together passes the limit, so that some wait for what others have left."""
    spent = []
    for workers in (1, 8):
        with running_llm_server() as server:
            classifier = opened(server, workers=workers, price=PRICE)
            worst = Cost(PRICE).price_of(classifier.worst_usage(classifier.question(tickets(1)[0])[0], ANSWER_TOKENS))
            outcomes, error = asked(classifier, 60, budget := a_budget(2 * worst))
        assert isinstance(error, dm.BudgetError)
        assert budget.limits.limit == 2 * worst
        assert 2 * worst - 0.2 < budget.spent + worst, "until a worst case has no more room"
        spent.append((len(outcomes), round(budget.spent, 2)))
    assert spent[0] == spent[1]


def test_a_limit_without_a_price_is_refused_before_any_call() -> None:
    with running_llm_server() as server:
        _, error = asked(opened(server), 3, a_budget(1.0))
    assert isinstance(error, dm.ConfigError)
    assert "price" in error.hint
    assert server.asked == []


def test_failures_give_back_what_was_reserved() -> None:
    with running_llm_server(always(failing(500))) as server:
        budget = a_budget(50.0)
        asked(opened(server, workers=2, max_retries=1, price=PRICE), 3, budget)
    assert (budget.spent, budget.reserved) == (0, 0)


LOST = {
    "no answer in time": Step(chat(verdict()), delay=0.4),
    "cut within the body": Step(chat(verdict()), cut=30),
    "cut before the status": Step(cut=-1),
    "broken JSON": Step('{"choices": [', kind="application/json"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOST)
def test_a_request_whose_answer_was_lost_stays_on_the_bill_as_its_worst_case(name: str) -> None:
    with running_llm_server(first([LOST[name]] * 2)) as server:
        timeout = 0.2 if name == "no answer in time" else PATIENCE
        classifier = opened(server, workers=1, max_retries=20, timeout=timeout, price=PRICE)
        worst = Cost(replace(PRICE, input=PRICE.cache_write or 0)).price_of(
            classifier.worst_usage(classifier.question(tickets(1)[0])[0], ANSWER_TOKENS)
        )
        outcomes, error = asked(classifier, 1, budget := a_budget(100.0))
    assert error is None
    lost = round((budget.spent - 0.2) / worst)
    assert lost == 2 or (lost > 2 and timeout < 1)  # on a busy machine a good answer may come too late as well
    assert steps(outcomes)[0].cost == pytest.approx(lost * worst + 0.2)
    assert budget.spent == pytest.approx(lost * worst + 0.2)
    assert budget.reserved == 0


def test_a_ticket_that_was_never_answered_bears_what_was_lost_on_it() -> None:
    with running_llm_server(always(LOST["cut within the body"])) as server:
        outcomes, error = asked(opened(server, workers=1, max_retries=1, price=PRICE), 1, budget := a_budget())
    assert error is None
    (step,) = steps(outcomes)
    assert step.error == "unavailable"
    assert step.cost == pytest.approx(budget.spent)
    assert budget.spent > 0


def test_requests_are_repeated_only_while_their_worst_case_has_room() -> None:
    """A limit of 2.5 worst cases is room for two requests, whatever the retries; the ticket stays new."""
    with running_llm_server(always(LOST["cut within the body"])) as server:
        classifier = opened(server, workers=4, max_retries=9, price=replace(PRICE, cache_write=None))
        worst = Cost(PRICE).price_of(classifier.worst_usage(classifier.question(tickets(1)[0])[0], ANSWER_TOKENS))
        outcomes, error = asked(classifier, 8, budget := a_budget(2.5 * worst))
    assert isinstance(error, dm.BudgetError)
    assert outcomes == []
    assert len(server.asked) == 2
    assert budget.spent == pytest.approx(2 * worst)
    assert budget.reserved == 0


def test_a_paid_bad_answer_is_kept_when_the_money_ends_before_its_repetition() -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 10}
    with running_llm_server(always(Step(chat("prose", usage=usage)))) as server:
        classifier = opened(server, workers=1, price=PRICE)
        worst = Cost(PRICE).price_of(classifier.worst_usage(classifier.question(tickets(1)[0])[0], ANSWER_TOKENS))
        outcomes, error = asked(classifier, 1, a_budget(worst + 0.15))
    assert isinstance(error, dm.BudgetError)
    assert [s.error for s in steps(outcomes)] == ["not_json"]
    assert len(server.asked) == 1


def test_a_question_that_something_inside_cancels_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    question_spec = opened("http://127.0.0.1:9/v1")
    monkeypatch.setattr(question_spec.provider, "ask", cancelled)
    with pytest.raises(RuntimeError, match="cancelled"):
        list(question_spec.classify([tickets(3)], a_budget()))


# --- bad input


def test_a_missing_key_names_the_variable() -> None:
    spec = ClassifierSpec("gpt", "openai", model="m", api_key_env="MY_KEY")
    for env in ({}, {"MY_KEY": " "}):
        with pytest.raises(dm.RefusedError, match="MY_KEY"):
            build(spec, CATEGORIES, env=env, actor="a", run_id=None, network=ONLINE)


def test_a_key_that_cannot_be_sent_is_not_shown() -> None:
    spec = ClassifierSpec("gpt", "openai", model="m", api_key_env="MY_KEY")
    with pytest.raises(dm.RefusedError) as caught:
        build(spec, CATEGORIES, env={"MY_KEY": f"{KEY}\nx"}, actor="a", run_id=None, network=ONLINE)
    assert KEY not in caught.value.sentence()


@pytest.mark.parametrize("kind", TYPES)
def test_offline_opens_nothing(kind: str) -> None:
    with pytest.raises(dm.UsageError, match="gpt"):
        opened("http://127.0.0.1:9/v1", kind, network=Network(offline=True))


def test_a_decision_has_at_most_255_choices() -> None:
    many = [dm.Category(f"c{n}") for n in range(255)]
    spec = ClassifierSpec("d", "decision", model="m")
    with pytest.raises(dm.ConfigError, match="254"):
        build(spec, many, env={}, actor="a", run_id=None, network=ONLINE)


# --- keys and tickets stay where they belong


@pytest.mark.parametrize("kind", TYPES)
def test_no_key_and_no_ticket_in_any_log_or_traceback(
    kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    messages = []
    for step in (
        good(0, Asked(f"/{kind}", {}, {})),
        failing(500, "x"),
        failing(401, KEY),
        failing(400, "bad"),
        Step(cut=-1),
    ):
        with caplog.at_level(logging.DEBUG), running_llm_server(always(step)) as server:
            for name in ("openai", "anthropic", "httpx2"):
                logging.getLogger(name).setLevel(logging.DEBUG)
            classifier = opened(server, kind, max_retries=1)
            try:
                for chunk in classifier.classify([tickets(2)], a_budget()):
                    messages += [repr(o.error) for o in chunk]
            except dm.TriageError:
                messages.append(traceback.format_exc())
    output = caplog.text + "".join(capfd.readouterr()) + "".join(messages)
    assert KEY not in output
    assert WORDS not in output


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in ("openai", "anthropic", "httpx2")}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


NESTED = (dm.Category("Billing"), dm.Category("Billing/Refund", parent="Billing"), dm.Category("Technical"))


@pytest.mark.parametrize(
    ("chances", "least", "expected"),
    [
        ({"Billing/Refund": 0.5, "Billing": 0.3, "Technical": 0.2}, 0.7, ("Billing", 0.8, "Billing/Refund")),
        ({"Billing/Refund": 0.5, "Billing": 0.3, "Technical": 0.2}, 0.5, ("Billing/Refund", 0.5, None)),
        ({"Billing/Refund": 0.5, "Billing": 0.3, "Technical": 0.2}, 0.9, ("Billing/Refund", 0.5, None)),
    ],
)
def test_where_no_child_is_sure_a_ticket_is_sure_at_the_parent(
    serve: Callable[[Script], LlmServer], chances: dict[str, float], least: float, expected: tuple[str, float, str]
) -> None:
    server = serve(always(Step(decision("Billing/Refund", chances))))
    classifier = opened(server, "decision", categories=NESTED, min_confidence=least)
    flat = opened(server, "decision", categories=[replace(c, parent="") for c in NESTED], min_confidence=least)
    assert classifier.fingerprint != flat.fingerprint
    (outcome,), _ = asked(classifier)
    assert outcome.value is not None
    (step,) = outcome.value.steps
    assert (step.category, step.confidence, dm.Levels.of(NESTED).below(step)) == expected
    assert outcome.value.sure is step.is_sure is (least < 0.9)
    again = opened(server, "decision", categories=NESTED, min_confidence=0.7).rejudged(step, "")
    assert (again.category, again.confidence) == ("Billing", 0.8)


def test_without_probabilities_a_parent_has_its_child_s_confidence(serve: Callable[[Script], LlmServer]) -> None:
    classifier = opened(serve(always(Step(chat(verdict("Billing/Refund", 0.65))))), categories=NESTED)
    (outcome,), _ = asked(classifier)
    assert outcome.value is not None
    (step,) = outcome.value.steps
    assert dm.Levels.of(NESTED).steps(step) == [("Billing/Refund", 0.65), ("Billing", 0.65)]
    bounded = Bounded(classifier, {dm.CATEGORY: Promise({"Billing": 0.6, "Billing/Refund": 0.9}, dm.Levels.of(NESTED))})
    settled = bounded.changed(outcome.value)
    assert (settled.steps[-1].category, settled.sure, dm.Levels.of(NESTED).below(settled.steps[-1])) == (
        "Billing", True, "Billing/Refund",
    )  # fmt: skip
