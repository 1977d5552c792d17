"""Anthropic's Messages API. It gives no log-probabilities, so the confidence is the model's own estimate."""

from collections.abc import Mapping
from typing import Any

import anthropic

from triage_cli.classifiers.llm.prompt import Question, schema
from triage_cli.classifiers.llm.provider import (
    BY_NOTHING,
    BY_SCHEMA,
    SLACK,
    Client,
    Reply,
    Usage,
    legible,
    size_of,
    tokens,
)
from triage_cli.classifiers.llm.provider_errors import ProviderError, is_page, web_page_error
from triage_cli.classifiers.llm.response_limit import hooks
from triage_cli.config import ClassifierSpec
from triage_cli.runtime.network import Network

HOME = "https://api.anthropic.com"
SCHEMA_TOKENS = 512  # tokens that the vendor adds to a request with a schema, and bills
PROBLEMS = {"max_tokens": "cut", "model_context_window_exceeded": "cut", "refusal": "refused"}


class AnthropicProvider(Client[anthropic.AsyncAnthropic]):
    """Asks for JSON with a schema; the static part of the prompt is marked for the provider's cache."""

    sdk_error = anthropic.AnthropicError
    connection_error = anthropic.APIConnectionError
    bounded = True  # answers are short, so their size is limited

    def __init__(self, spec: ClassifierSpec, env: Mapping[str, str]) -> None:
        super().__init__(spec, env, HOME, "anthropic")
        self._without_schema = False
        self._schema_followed = False

    def open(self, network: Network) -> None:
        """Make the client, without its own retries and telemetry."""
        self._sdk = network.anthropic(
            self.who, self._url, hooks=hooks() if self.bounded else {}, open_telemetry=False,
            api_key=self._key, timeout=self._spec.timeout + SLACK, max_retries=0,
        )  # fmt: skip

    def most(self, question: Question, budget: int) -> int:
        """Return an upper bound of a request's tokens."""
        return size_of(self.request(question, budget, without_schema=self._without_schema)) + (
            0 if self._without_schema else SCHEMA_TOKENS
        )

    async def ask(self, question: Question, budget: int) -> Reply:
        """Make one request; if the server refuses the parameter for the schema, leave it out from then on."""
        while True:
            without_schema = self._without_schema
            try:
                request = self.request(question, budget, without_schema=without_schema)
                answer: object = await self.sdk.messages.create(**request)
            except Exception as error:  # noqa: BLE001 - the SDK fails at unexpected content
                complaint = self.complaint(error)
                if complaint is None or not self.learned(complaint, without_schema=without_schema):
                    return self.without_answer(error)
            else:
                return self.reply(answer)

    def heeded(self, *, form: bool) -> None:
        """Record whether an answer followed the schema; if the first one did not, no schema is sent any more."""
        self._schema_followed = self._schema_followed or form
        self._without_schema = self._without_schema or not self._schema_followed

    @property
    def constraint(self) -> str:
        """Return what restricts answers to the list of categories."""
        return BY_NOTHING if self._without_schema else BY_SCHEMA

    @property
    def options(self) -> dict[str, Any]:
        """Return which features the server refused, to be stored for later processes."""
        return {"plain": self._without_schema}

    def remember(self, options: Mapping[str, Any]) -> None:
        """Start with the refused features that an earlier process found."""
        self._without_schema = bool(options.get("plain"))

    def complaint(self, error: Exception) -> ProviderError | None:
        """Read a status error of the SDK; None for another error."""
        if not isinstance(error, anthropic.APIStatusError):
            return None
        return ProviderError.of(error.status_code, error.body, error.response.headers)

    def learned(self, complaint: ProviderError, *, without_schema: bool) -> bool:
        """Leave out the schema if the server refuses it; return whether to ask again."""
        if (
            without_schema
            or complaint.status not in (400, 422, 500)
            or not complaint.says(r"output_config|json_schema|format")
        ):
            return False
        self._without_schema = True
        return True

    def request(self, question: Question, budget: int, *, without_schema: bool) -> dict[str, Any]:
        """Return the body of a request."""
        extra: dict[str, Any] = {}
        if not without_schema:
            extra["output_config"] = {"format": {"type": "json_schema", "schema": schema(question.labels)}}
        return {
            "model": self._spec.model or "",
            "max_tokens": budget,
            "system": [{"type": "text", "text": question.system, "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": question.user}],
            **extra,
        }

    def reply(self, answer: object) -> Reply:
        """Read an answer, even an incomplete or malformed one."""
        return legible(lambda: self._read(answer), lambda: usage_of(getattr(answer, "usage", None)))

    def _read(self, answer: object) -> Reply:
        if isinstance(answer, str):
            if is_page(answer):
                raise web_page_error(self._spec, self.address, 200)
            return Reply(answer)
        content = getattr(answer, "content", None) or ()
        parts = [getattr(block, "text", None) for block in content]
        text = "".join(part for part in parts if isinstance(part, str))
        model = getattr(answer, "model", None)
        problem = PROBLEMS.get(str(getattr(answer, "stop_reason", None)))
        return Reply(text, usage_of(getattr(answer, "usage", None)), model if isinstance(model, str) else None, problem)


def usage_of(usage: object) -> Usage | None:
    """Return the token counts; the provider's own input count excludes cached tokens, ours includes them."""
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    counts = [tokens(getattr(usage, name, None)) or 0 for name in names]
    if not any(counts):
        return None
    taken, written, read, stored = counts
    return Usage(taken + read + stored, written, read, stored)
