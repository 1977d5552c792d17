"""Anthropic's Messages API. It gives no log-probabilities, so the confidence is the model's own estimate."""

from collections.abc import Mapping
from typing import Any

import anthropic

from triage_cli.config import ClassifierSpec
from triage_cli.extensions.llm.prompt import Question, answer_schema
from triage_cli.extensions.llm.provider import (
    BY_NOTHING,
    BY_SCHEMA,
    EFFORT_REFUSED,
    REFUSING_STATUSES,
    ProviderClient,
    Reply,
    Usage,
    asked_effort,
    joined_texts,
    member,
    refused_effort,
    reply_or_unreadable,
    request_bytes,
    token_count,
)
from triage_cli.extensions.llm.provider_errors import ProviderError, is_web_page, web_page_error
from triage_cli.runtime import Network

ANTHROPIC_URL = "https://api.anthropic.com"
SCHEMA_TOKENS = 512  # that Anthropic adds to a request with a schema, and bills
LOW_EFFORT_TOKENS = 2  # by which a request is longer that asks for low effort in place of none
# Features of a request that a server may refuse, with a pattern for its message; the first one that fits is left out.
REFUSABLE_FEATURES = (
    ("effort", EFFORT_REFUSED),
    ("schema", r"output_config|json_schema|format"),
    ("effort", r"output_config"),
)
STOP_PROBLEMS = {"max_tokens": "cut", "model_context_window_exceeded": "cut", "refusal": "refused"}


class AnthropicProvider(ProviderClient[anthropic.AsyncAnthropic]):
    """Asks Anthropic for JSON with a schema; the static part of the prompt is marked for its cache."""

    sdk_error = anthropic.AnthropicError
    connection_error = anthropic.APIConnectionError

    def __init__(self, spec: ClassifierSpec, env: Mapping[str, str]) -> None:
        super().__init__(spec, env, ANTHROPIC_URL, "anthropic")
        self._left_out_features: set[str] = set()
        self._schema_followed = False

    def open(self, network: Network) -> None:
        """Make Anthropic's client, without its own retries and telemetry."""
        self._sdk = network.anthropic(self.display_name, self._url, open_telemetry=False, **self.sdk_options())

    def most_tokens(self, question: Question, answer_tokens: int) -> int:
        request = self.message_request(question, answer_tokens)
        without_schema = "schema" in self._left_out_features
        return request_bytes(request) + LOW_EFFORT_TOKENS + (0 if without_schema else SCHEMA_TOKENS)

    async def ask(self, question: Question, answer_tokens: int) -> Reply:
        """Request one message of Anthropic's; what is refused is left out from then on, and it is repeated at once."""
        while True:
            without = frozenset(self._left_out_features)
            try:
                request = self.message_request(question, answer_tokens)
                message = await self.sdk.post("/v1/messages", body=request, cast_to=object)
            except Exception as error:  # noqa: BLE001 - Anthropic's SDK fails at unexpected content
                provider_error = self.provider_error(error)
                if provider_error is None or not self.leave_out_refused(provider_error, without):
                    return self.unreadable_reply(error)
            else:
                return self.message_reply(message)

    def record_form(self, *, is_followed: bool) -> None:
        """Record whether a message followed the schema; if the first one did not, no schema is sent any more."""
        self._schema_followed = self._schema_followed or is_followed
        if not self._schema_followed:
            self._left_out_features.add("schema")

    @property
    def constraint(self) -> str:
        return BY_NOTHING if "schema" in self._left_out_features else BY_SCHEMA

    @property
    def options(self) -> dict[str, Any]:
        return {"without": sorted(self._left_out_features)}

    def remember_options(self, options: Mapping[str, Any]) -> None:
        self._left_out_features |= self.features_without(options)

    @staticmethod
    def features_without(options: Mapping[str, Any]) -> frozenset[str]:
        """Return the features that were left out by kept options; earlier versions knew the schema alone."""
        return frozenset(options.get("without", ["schema"] if options.get("plain") else []))

    def provider_error(self, error: Exception) -> ProviderError | None:
        if not isinstance(error, anthropic.APIStatusError):
            return None
        return ProviderError.of(error.status_code, error.body, error.response.headers)

    def leave_out_refused(self, provider_error: ProviderError, without: frozenset[str]) -> bool:
        """Leave out the feature that Anthropic's server refuses; return whether to ask again."""
        if provider_error.status not in REFUSING_STATUSES:
            return False
        for feature, pattern in REFUSABLE_FEATURES:
            if feature not in without and provider_error.says(pattern):
                self._left_out_features.add(refused_effort(self._spec, without) if feature == "effort" else feature)
                return True
        return False

    def message_request(self, question: Question, answer_tokens: int) -> dict[str, Any]:
        """Return the body of a request for a message, without refused features."""
        effort = asked_effort(self._spec, self._left_out_features)
        output_config: dict[str, Any] = {}
        if "schema" not in self._left_out_features:
            output_config["format"] = {"type": "json_schema", "schema": answer_schema(question.parts)}
        if effort not in (None, "none"):
            output_config["effort"] = effort
        options: dict[str, Any] = {"output_config": output_config} if output_config else {}
        if effort == "none":
            options["thinking"] = {"type": "disabled"}
        return {
            "model": self._spec.model or "",
            "max_tokens": answer_tokens,
            "system": [{"type": "text", "text": question.system, "cache_control": {"type": "ephemeral"}}],
            "messages": [*question.decided_turns, {"role": "user", "content": question.user}],
            **options,
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
        thought = any(member(block, "type") in ("thinking", "redacted_thinking") for block in content_blocks)
        model = member(message, "model")
        stop_problem = STOP_PROBLEMS.get(str(member(message, "stop_reason")))
        return Reply(
            joined_texts(content_blocks),
            _usage_of_message(message),
            model if isinstance(model, str) else None,
            stop_problem,
            thought=thought,
        )


def _usage_of_message(message: object) -> Usage | None:
    """Return the token counts of a message; Anthropic's input count excludes cached tokens, ours includes them."""
    usage = member(message, "usage")
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    token_counts = [token_count(member(usage, name)) or 0 for name in names]
    if not any(token_counts):
        return None
    uncached_input, output, cache_read, cache_write = token_counts
    return Usage(uncached_input + cache_read + cache_write, output, cache_read, cache_write)
