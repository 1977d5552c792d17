"""Decision servers that speak TypeSafe's wire: found out by themselves, or named; one request a ticket."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.llm_classifiers import asked, opened, steps, tickets
from tests.support.llm_server import Asked, LlmServer, Script, Step, decision, running_llm_server
from tests.support.records import replace
from tests.support.world import a_budget
from triage_cli import domain as dm
from triage_cli.extensions.llm import TICKET_LIMITS

WINDOW = 512  # tokens of a state that a small decision model takes
CHANCES = {"Billing": 0.7, "Technical": 0.2, "General": 0.06, "none of these": 0.04}


def answered(chances: Mapping[str, float] = CHANCES) -> dict[str, Any]:
    """Return an answer in that wire: its confidence is concentration, (K p - 1) / (K - 1), and no probability."""
    best = max(chances, key=lambda label: chances[label])
    confidence = (len(chances) * chances[best] - 1) / (len(chances) - 1)
    answer = {"type": "choice", "choice": best, "confidence": round(confidence, 4), "probabilities": dict(chances)}
    return {
        "model": "decima-small",
        "answers": {"category": answer},
        "usage": {"input_tokens": 9, "output_tokens": 0},
    }


def missing_state() -> Step:
    detail = [{"loc": ["body", "state"], "msg": "Field required", "type": "missing"}]
    return Step({"error": "state: field required", "code": "INVALID_REQUEST", "detail": detail}, 422)


def truncated() -> Step:
    words = "part of state would be dropped to fit the context of decima-small"
    context = {"model": "decima-small", "max_state_tokens": WINDOW}
    detail = [{"loc": ["body", "state"], "msg": words, "type": "state_truncated", "ctx": context}]
    return Step({"error": f"state: {words}", "code": "STATE_TRUNCATED", "detail": detail}, 422)


def system_one(refusal: Step | None = None, window: int = 10**6) -> Script:
    """Answer as such a server does: TypeSafe's shape at both addresses, and what is too long is refused."""

    def script(_n: int, one: Asked) -> Step:
        if "state" not in one.body:
            return refusal or missing_state()
        assert one.body["questions"]["category"]["criteria"].keys() == CHANCES.keys()
        tokens = len(str(one.body["state"])) // 2  # of a script with two characters a token
        return truncated() if tokens > window else Step(answered())

    return script


def paths(server: LlmServer) -> list[str]:
    return [one.path for one in server.asked]


REFUSALS = {
    "in one sentence": missing_state(),
    "by pydantic": Step({"detail": [{"loc": ["body", "state"], "msg": "Field required", "type": "missing"}]}, 422),
    "in OpenAI's shape": Step({"error": {"message": "Field required", "param": "state", "code": None}}, 400),
    "no such address": Step({"error": "no endpoint /v1/decisions", "code": "NOT_FOUND"}, 404),
}


@pytest.mark.slow
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_server_that_wants_a_state_is_asked_in_its_own_wire_from_then_on(refusal: str) -> None:
    with running_llm_server(system_one(REFUSALS[refusal])) as server:
        outcomes, error = asked(opened(server, "decision", workers=1), 5)
    assert (error, len(outcomes)) == (None, 5)
    assert {(s.category, s.error) for s in steps(outcomes)} == {("Billing", None)}
    assert paths(server) == ["/v1/decisions"] + ["/v1/systemone"] * 5, "one request a ticket but for the first"


@pytest.mark.slow
def test_workers_that_find_it_out_at_the_same_time_lose_no_ticket() -> None:
    def slow(n: int, one: Asked) -> Step:
        return replace(system_one()(n, one), delay=0.05 if n < 8 else 0)

    with running_llm_server(slow) as server:
        outcomes, error = asked(opened(server, "decision", workers=8), 40)
    assert error is None
    assert {s.category for s in steps(outcomes)} == {"Billing"}
    assert len(server.asked) <= 40 + 8


def test_a_wire_that_is_named_is_asked_at_once_and_no_other() -> None:
    with running_llm_server(system_one()) as server:
        outcomes, error = asked(opened(server, "decision", wire="systemone"), 3)
        assert error is None
        assert {s.category for s in steps(outcomes)} == {"Billing"}
        assert paths(server) == ["/v1/systemone"] * 3
        outcomes, error = asked(opened(server, "decision", wire="decisions"), 1)
    assert paths(server)[3:] == ["/v1/decisions"]
    assert [s.error for s in steps(outcomes)] == ["rejected"]


def test_the_confidence_is_the_probability_and_not_that_wire_s_concentration() -> None:
    with running_llm_server(system_one()) as server:
        (step,) = steps(asked(opened(server, "decision", wire="systemone"))[0])
    assert (step.confidence, step.confidence_source) == (0.7, "decision")
    assert json.loads(step.probabilities or "") == CHANCES


def test_of_what_was_not_asked_for_no_probability_is_kept() -> None:
    """Such a name may be of any length, and hold what no database takes."""
    answer = answered()
    answer["answers"]["category"]["probabilities"] |= {"Evil": 0.01, "\ud800": 0.01, "x" * 10_000: 0.01}
    with running_llm_server(lambda _n, _one: Step(answer)) as server:
        (step,) = steps(asked(opened(server, "decision", wire="systemone"))[0])
    assert (step.category, json.loads(step.probabilities or "")) == ("Billing", CHANCES)


def test_without_probabilities_there_is_no_confidence_in_that_wire() -> None:
    answer = answered()
    del answer["answers"]["category"]["probabilities"]
    with running_llm_server(lambda _n, _one: Step(answer)) as server:
        (step,) = steps(asked(opened(server, "decision", wire="systemone"))[0])
    assert (step.category, step.confidence) == ("Billing", None)


@pytest.mark.parametrize("code", ["STATE_TRUNCATED", "STATE_TOO_LONG"])
def test_a_state_that_does_not_fit_is_asked_about_again_shorter(code: str) -> None:
    def script(n: int, one: Asked) -> Step:
        step = system_one(window=WINDOW)(n, one)
        return replace(step, body=step.body | {"code": code}) if step.status == 422 else step

    with running_llm_server(script) as server:
        classifier = opened(server, "decision", wire="systemone")
        (outcome,) = next(iter(classifier.classify([tickets(1, "我" * 20_000)], a_budget())))
    (step,) = steps([outcome])
    assert (step.category, step.error) == ("Billing", None)
    sizes = [len(one.body["state"]) for one in server.asked]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) <= len(TICKET_LIMITS)


def test_a_state_that_fits_in_no_length_is_too_long() -> None:
    with running_llm_server(system_one(window=0)) as server:
        (step,) = steps(asked(opened(server, "decision", wire="systemone"))[0])
    assert step.error == "too_long"
    assert len(server.asked) == 1, "it is short already"


def test_a_ticket_cannot_turn_the_wire_of_a_server_of_decisions() -> None:
    """A refusal may quote the ticket; what is found out is remembered only where the other wire is there."""

    def script(_n: int, one: Asked) -> Step:
        if one.path.endswith("/systemone"):
            return Step({"error": {"message": "no such endpoint"}}, 404)
        if "wombat" in one.ticket:
            return Step({"error": {"message": 'input: bad value "state"', "param": "input"}}, 422)
        return Step(decision("Billing", {"Billing": 0.9, "Technical": 0.1}))

    with running_llm_server(script) as server:
        classifier = opened(server, "decision", workers=1)
        found = steps(asked(classifier, 1)[0])
        (calm,) = next(iter(classifier.classify([tickets(1, "I was charged twice")], a_budget())))
        found += steps([calm])
        assert [s.error for s in found] == ["rejected", None]
        assert paths(server) == ["/v1/decisions", "/v1/systemone", "/v1/decisions"]
        found = steps(asked(classifier, 1)[0])
    assert found[0].error == "rejected"
    assert paths(server)[3:] == ["/v1/decisions"], "which wire it speaks is known by now"


def test_a_server_of_neither_wire_ends_the_run() -> None:
    with running_llm_server(lambda _n, _one: Step({"error": "no"}, 404)) as server:
        outcomes, error = asked(opened(server, "decision", workers=1), 5)
    assert (outcomes, type(error)) == ([], dm.ConfigError)
    assert len(server.asked) == 2
