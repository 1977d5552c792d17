"""A provider that bills at worst: a token for each byte of the whole request, and all that an answer may have."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.support.batch_server import BatchServer, End
from tests.support.llm_server import Asked, Step, chat, decision, message, verdict

USD = {"input": 3.0, "output": 15.0}  # per million tokens
DECIDED = {"Billing": 0.9, "Technical": 0.06, "General": 0.03, "none of these": 0.01}


class Billed(NamedTuple):
    """What one request takes."""

    input: int
    output: int

    @property
    def usd(self) -> float:
        return (self.input * USD["input"] + self.output * USD["output"]) / 1e6


def billed(body: Mapping[str, Any]) -> Billed:
    """Return the most that any tokenizer of bytes could make of a request."""
    size = len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())
    return Billed(size, body.get("max_completion_tokens") or body.get("max_tokens") or 16)


class Till:
    """The script of an `LlmServer`; counts what it bills. Each `losing`-th answer is lost, but billed all the same."""

    def __init__(
        self, *, category: str = "Billing", confidence: float = 0.9, losing: int = 0, delay: float = 0.0
    ) -> None:
        self.usd = 0.0
        self.calls = 0
        self._content = verdict(category, confidence)
        self._losing = losing
        self._delay = delay

    def __call__(self, n: int, asked: Asked) -> Step:
        bill = billed(asked.body)
        self.usd += bill.usd
        self.calls += 1
        if self._losing and n % self._losing == self._losing - 1:
            return Step(cut=-1)
        return Step(self._answer(asked, bill), delay=self._delay)

    def _answer(self, asked: Asked, bill: Billed) -> dict[str, Any]:
        tokens: dict[str, Any] = {"input_tokens": bill.input, "output_tokens": bill.output}
        if asked.path.endswith("/messages"):
            return message(self._content) | {"usage": tokens}
        if asked.path.endswith("/decisions"):
            return decision("Billing", DECIDED) | {"usage": tokens}
        usage = {"prompt_tokens": bill.input, "completion_tokens": bill.output, "total_tokens": sum(bill)}
        return chat(self._content, usage=usage)

    def collect(self, server: BatchServer) -> None:
        """Answer all batches that are under way, at half the price."""
        for made in list(server.batches.values()):
            if made.status != "in_progress":
                continue
            bills = [billed(request.get("body") or request["params"]) for request in made.requests]
            self.usd += sum(bill.usd for bill in bills) / 2
            self.calls += len(bills)
            server.finish(lambda n, _: End(self._content, tokens=bills[n]), name=made.name)  # noqa: B023 - called at once


def configuration(url: str, kind: str = "openai", more: str = "", *, workers: int = 4, classifier: str = "gpt") -> str:
    """Return a configuration whose `gpt` and `other` ask a till, and `both` where the embedded one is unsure."""
    question_spec = f"type: {kind}, base_url: {url}, api_key_env: null, workers: {workers}, max_retries: 1"
    price = f"price: {{input: {USD['input']}, output: {USD['output']}}}"
    return (
        f"classifier: {classifier}\nclassifiers:\n  local: {{type: local}}\n"
        f"  gpt: {{model: m, {question_spec}, {price}}}\n  other: {{model: o, {question_spec}, {price}}}\n"
        f"  both: {{type: cascade, steps: [local, gpt]}}\n{more}"
    )
