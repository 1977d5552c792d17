"""Anthropic's Messages API. It gives no log-probabilities, so the confidence is the model's own estimate."""

from collections.abc import Mapping
from typing import Any

import anthropic

from triage_cli.classifiers.llm.prompt import Question, answer_schema
from triage_cli.classifiers.llm.provider import (
    BY_NOTHING,
    BY_SCHEMA,
    ProviderClient,
    Reply,
    Usage,
    member,
    reply_or_unreadable,
    request_bytes,
    token_count,
)
from triage_cli.classifiers.llm.provider_errors import ProviderError, is_web_page, web_page_error
from triage_cli.config import ClassifierSpec
from triage_cli.runtime import Network

ANTHROPIC_URL = "https://api.anthropic.com"
SCHEMA_TOKENS = 512  # that Anthropic adds to a request with a schema, and bills
STOP_PROBLEMS = {"max_tokens": "cut", "model_context_window_exceeded": "cut", "refusal": "refused"}


class AnthropicProvider(ProviderClient[anthropic.AsyncAnthropic]):
    """Asks Anthropic for JSON with a schema; the static part of the prompt is marked for its cache."""

    sdk_error = anthropic.AnthropicError
    connection_error = anthropic.APIConnectionError

    def __init__(self, spec: ClassifierSpec, env: Mapping[str, str]) -> None:
        super().__init__(spec, env, ANTHROPIC_URL, "anthropic")
        self._without_schema = False
        self._schema_followed = False

    def open(self, network: Network) -> None:
        """Make Anthropic's client, without its own retries and telemetry."""
        self._sdk = network.anthropic(self.display_name, self._url, open_telemetry=False, **self.sdk_options())

    def most_tokens(self, question: Question, answer_tokens: int) -> int:
        request = self.message_request(question, answer_tokens, without_schema=self._without_schema)
        return request_bytes(request) + (0 if self._without_schema else SCHEMA_TOKENS)

    async def ask(self, question: Question, answer_tokens: int) -> Reply:
        """Request one message of Anthropic's; if the schema's parameter is refused, leave it out from then on."""
        while True:
            without_schema = self._without_schema
            try:
                request = self.message_request(question, answer_tokens, without_schema=without_schema)
                message = await self.sdk.post("/v1/messages", body=request, cast_to=object)
            except Exception as error:  # noqa: BLE001 - Anthropic's SDK fails at unexpected content
                provider_error = self.provider_error(error)
                if provider_error is None or not self.leave_out_refused(provider_error, without_schema=without_schema):
                    return self.unreadable_reply(error)
            else:
                return self.message_reply(message)

    def record_form(self, *, is_followed: bool) -> None:
        """Record whether a message followed the schema; if the first one did not, no schema is sent any more."""
        self._schema_followed = self._schema_followed or is_followed
        self._without_schema = self._without_schema or not self._schema_followed

    @property
    def constraint(self) -> str:
        return BY_NOTHING if self._without_schema else BY_SCHEMA

    @property
    def options(self) -> dict[str, Any]:
        return {"plain": self._without_schema}

    def remember_options(self, options: Mapping[str, Any]) -> None:
        self._without_schema = bool(options.get("plain"))

    def provider_error(self, error: Exception) -> ProviderError | None:
        if not isinstance(error, anthropic.APIStatusError):
            return None
        return ProviderError.of(error.status_code, error.body, error.response.headers)

    def leave_out_refused(self, provider_error: ProviderError, *, without_schema: bool) -> bool:
        """Leave out the schema if Anthropic's server refuses it; return whether to ask again."""
        if (
            without_schema
            or provider_error.status not in (400, 422, 500)
            or not provider_error.says(r"output_config|json_schema|format")
        ):
            return False
        self._without_schema = True
        return True

    def message_request(self, question: Question, answer_tokens: int, *, without_schema: bool) -> dict[str, Any]:
        """Return the body of a request for a message."""
        output_config: dict[str, Any] = {}
        if not without_schema:
            json_schema = {"type": "json_schema", "schema": answer_schema(question.parts)}
            output_config["output_config"] = {"format": json_schema}
        return {
            "model": self._spec.model or "",
            "max_tokens": answer_tokens,
            "system": [{"type": "text", "text": question.system, "cache_control": {"type": "ephemeral"}}],
            "messages": [*question.decided_turns, {"role": "user", "content": question.user}],
            **output_config,
        }

    def message_reply(self, message: object) -> Reply:
        """Read a message of Anthropic's, even an incomplete or malformed one."""
        return reply_or_unreadable(lambda: self._read_message(message), lambda: _usage_of_message(message))

    def _read_message(self, message: object) -> Reply:
        if isinstance(message, str):
            if is_web_page(message):
                raise web_page_error(self._spec, self.address, 200)
            return Reply(message)
        content_blocks = member(message, "content") or ()
        block_texts = [member(block, "text") for block in content_blocks]
        message_text = "".join(block_text for block_text in block_texts if isinstance(block_text, str))
        model = member(message, "model")
        stop_problem = STOP_PROBLEMS.get(str(member(message, "stop_reason")))
        return Reply(message_text, _usage_of_message(message), model if isinstance(model, str) else None, stop_problem)


def _usage_of_message(message: object) -> Usage | None:
    """Return the token counts of a message; Anthropic's input count excludes cached tokens, ours includes them."""
    usage = member(message, "usage")
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    token_counts = [token_count(member(usage, name)) or 0 for name in names]
    if not any(token_counts):
        return None
    uncached_input, output, cache_read, cache_write = token_counts
    return Usage(uncached_input + cache_read + cache_write, output, cache_read, cache_write)
