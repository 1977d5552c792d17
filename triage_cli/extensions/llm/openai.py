"""OpenAI's chat completions, which every compatible server understands."""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import openai

from triage_cli.config import ClassifierSpec
from triage_cli.extensions.llm.prompt import PROMPT_VERSION, Question, answer_schema
from triage_cli.extensions.llm.provider import (
    BY_NOTHING,
    BY_SCHEMA,
    EFFORT_REFUSED,
    LARGEST_COUNT,
    REFUSING_STATUSES,
    ProviderClient,
    Reply,
    Usage,
    answer_start,
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


class AnswerToken(NamedTuple):
    """One token of a model's answer: its text, and the options at its position as (text, log-probability)."""

    text: str
    options: tuple[tuple[str, float], ...]


def likelihoods(tokens: Sequence[AnswerToken], labels: Sequence[str], question: str = "category") -> dict[str, float]:
    """Return the probability of each label, from the tokens of the label in the answer to a question.

    At each token, only options that continue some label are compared. The probability of the answered label is the
    product of its shares over its tokens. That of another label is known if one option continues it alone, at the token
    where it differs. The result is empty if the label is not found or has no options.
    """
    answer_text = "".join(token.text for token in tokens)
    begin = answer_start(answer_text)
    key = re.compile(rf'"{re.escape(question)}"\s*:\s*"').search(answer_text, begin)
    # A category may be answered alone, without JSON.
    start = key.end() if key else len(answer_text) - len(answer_text[begin:].lstrip())
    folded_answer = answer_text[start:].casefold()
    answer_labels = [label for label in labels if folded_answer.startswith(label.casefold())]
    if not answer_labels:
        return {}
    answered_label = max(answer_labels, key=len)
    label_likelihoods: dict[str, float] = {}
    answered_likelihood, position = 1.0, 0
    for token in tokens:
        token_start, position = position, position + len(token.text)
        if position <= start or token_start >= start + len(answered_label):
            continue
        before_label = token.text[: max(0, start - token_start)]  # the part of the first token before the label
        label_so_far = answer_text[start : max(token_start, start)]
        labels_of_option: dict[str, set[str]] = {}
        for option, _ in token.options:
            if option.startswith(before_label) and option != before_label:
                beginning = label_so_far + option[len(before_label) :]
                labels_of_option[option] = {label for label in labels if _continues_label(beginning, label)}
        # Log-probabilities are never above 0; larger values could overflow.
        option_masses = {
            option: math.exp(min(logprob, 0.0)) for option, logprob in token.options if labels_of_option.get(option)
        }
        total_mass = sum(option_masses.values())
        if len(token.options) == 1 and total_mass > 0:  # without other options, its own probability counts
            total_mass = 1.0
        if token.text not in option_masses or not 0 < total_mass < math.inf:  # excludes NaN too
            return {}
        for option, option_mass in option_masses.items():
            if answered_label not in labels_of_option[option] and len(labels_of_option[option]) == 1:
                (label,) = labels_of_option[option]
                label_likelihoods.setdefault(label, 0.0)
                label_likelihoods[label] += answered_likelihood * option_mass / total_mass
        answered_masses = [mass for option, mass in option_masses.items() if answered_label in labels_of_option[option]]
        answered_likelihood *= sum(answered_masses) / total_mass
    label_likelihoods[answered_label] = answered_likelihood
    return {label: round(likelihood, 4) for label, likelihood in label_likelihoods.items()}


def _continues_label(text: str, label: str) -> bool:
    """Return whether a token's text is a beginning of this label, or this label with what follows."""
    ended_label = f'{label}"'
    return ended_label.startswith(text) or text.startswith(ended_label) or text == label


OPENAI_URL = "https://api.openai.com/v1"
TOP_LOGPROBS = 10  # options per token whose log-probability is asked for
JSON_FORMS = ("schema", "object", "plain")  # of a request for JSON; a server gets the first one that it supports

# Features of a chat completion that a server may refuse, with a pattern for its message.
REFUSABLE_FEATURES = (
    ("logprobs", r"logprobs?"),
    ("temperature", r"temperature"),
    ("budget", r"max_completion_tokens"),
    ("cache", r"prompt_cache"),
    ("effort", EFFORT_REFUSED),
    ("bounds", r"max_?length"),
    ("form", r"response_format|json_schema|json_object|structured output|grammar|schema"),
)


class OpenAIClient(ProviderClient[openai.AsyncOpenAI]):
    """Holds the client of OpenAI's SDK."""

    sdk_error = openai.OpenAIError
    connection_error = openai.APIConnectionError

    def __init__(self, spec: ClassifierSpec, env: Mapping[str, str]) -> None:
        super().__init__(spec, env, OPENAI_URL, "openai")

    def open(self, network: Network) -> None:
        """Make OpenAI's client, without its own retries."""
        self._sdk = network.openai(self.display_name, self._url, **self.sdk_options())

    def provider_error(self, error: Exception) -> ProviderError | None:
        return read_status_error(error) if isinstance(error, openai.APIStatusError) else None


def read_status_error(error: openai.APIStatusError) -> ProviderError:
    """Read a status error of OpenAI's SDK, from the full response: its `body` has only the field `error`."""
    error_body = error.body
    with suppress(ValueError):
        error_body = error.response.json()
    return ProviderError.of(error.status_code, error_body, error.response.headers)


class OpenAIProvider(OpenAIClient):
    """Asks for JSON with a schema, log-probabilities and temperature 0, as far as a compatible server supports each."""

    def __init__(self, spec: ClassifierSpec, env: Mapping[str, str]) -> None:
        super().__init__(spec, env)
        self._json_form = 0
        self._json_form_followed = False
        # OpenAI's own models are large: they need no worked examples and no length limits, which OpenAI refuses.
        self._left_out_features = {"shots", "bounds"} if self.address == OPENAI_URL else {"cache"}

    @property
    def constraint(self) -> str:
        form = JSON_FORMS[self._json_form]
        if form == "object":
            return "held to JSON, not to the list, which is checked here"
        return BY_SCHEMA if form == "schema" else BY_NOTHING

    def most_tokens(self, question: Question, answer_tokens: int) -> int:
        """Return an upper bound of the tokens of a chat completion; refused features only make its request shorter."""
        return request_bytes(self.completion_request(question, answer_tokens))

    async def ask(self, question: Question, answer_tokens: int) -> Reply:
        """Request one chat completion; what the server refuses is left out from then on, and it is repeated at once."""
        while True:
            form, without = self._json_form, frozenset(self._left_out_features)
            try:
                # Not by `chat.completions.create`, which spends half of a call's CPU time on checking type hints.
                request_body = self.completion_request(question, answer_tokens)
                completion = await self.sdk.post("/chat/completions", body=request_body, cast_to=object)
            except openai.APIStatusError as error:
                if not self.leave_out_refused(read_status_error(error), form, without):
                    raise self.translated_error(error) from None
            except Exception as error:  # noqa: BLE001 - OpenAI's SDK fails at unexpected content
                return self.unreadable_reply(error)
            else:
                return self.completion_reply(completion, question)

    @property
    def options(self) -> dict[str, Any]:
        return {"form": self._json_form, "without": sorted(self._left_out_features)}

    def remember_options(self, options: Mapping[str, Any]) -> None:
        self._json_form = min(int(options.get("form", 0)), len(JSON_FORMS) - 1)
        self._left_out_features |= set(options.get("without", ()))

    def record_form(self, *, is_followed: bool) -> None:
        """Record whether a chat completion followed the form of JSON; if none ever did, the next form is used."""
        if is_followed:
            self._json_form_followed = True
        elif not self._json_form_followed:
            self._json_form = min(self._json_form + 1, len(JSON_FORMS) - 1)

    def completion_request(self, question: Question, answer_tokens: int) -> dict[str, Any]:
        """Return the body of a request for a chat completion, without refused features."""
        messages = [{"role": "system", "content": question.system}]
        for ticket, answer in question.shots if "shots" not in self._left_out_features else ():
            messages += [{"role": "user", "content": ticket}, {"role": "assistant", "content": answer}]
        messages += [*question.decided_turns, {"role": "user", "content": question.user}]
        request: dict[str, Any] = {"model": self._spec.model, "messages": messages}
        form = JSON_FORMS[self._json_form]
        if form == "schema":
            json_schema = answer_schema(question.parts, bounded="bounds" not in self._left_out_features)
            verdict = {"name": "verdict", "strict": True, "schema": json_schema}
            request["response_format"] = {"type": "json_schema", "json_schema": verdict}
        elif form == "object":
            request["response_format"] = {"type": "json_object"}
        if "temperature" not in self._left_out_features:
            request["temperature"] = 0
        if "logprobs" not in self._left_out_features:
            request |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        if effort := asked_effort(self._spec, self._left_out_features):
            request["reasoning_effort"] = effort
        if "cache" not in self._left_out_features:
            request["prompt_cache_key"] = f"triage-{PROMPT_VERSION}"
        request["max_tokens" if "budget" in self._left_out_features else "max_completion_tokens"] = answer_tokens
        return request

    def leave_out_refused(self, provider_error: ProviderError, form: int, without: frozenset[str]) -> bool:
        """Leave out the feature of chat completions that the server refuses; return whether to ask again.

        Some servers (llama-cpp-python) refuse with a 500, so the message counts more than the status.
        """
        if provider_error.status not in REFUSING_STATUSES:
            return False
        for feature, pattern in REFUSABLE_FEATURES:
            if feature in without or not provider_error.says(pattern):
                continue
            if feature == "form" and "bounds" not in without:
                self._left_out_features.add("bounds")  # perhaps only these were refused
            elif feature == "form":
                if form == len(JSON_FORMS) - 1:
                    return False
                self._json_form = max(self._json_form, form + 1)
            elif feature == "effort":
                self._left_out_features.add(refused_effort(self._spec, without))
            else:
                self._left_out_features.add(feature)
            return True
        return False

    def completion_reply(self, completion: object, question: Question) -> Reply:
        """Read a chat completion, even an incomplete or malformed one."""
        return reply_or_unreadable(
            lambda: self._read_completion(completion, question), lambda: openai_usage(member(completion, "usage"))
        )

    def _read_completion(self, completion: object, question: Question) -> Reply:
        if isinstance(completion, str) and is_web_page(completion):
            raise web_page_error(self._spec, self.address, 200)
        if isinstance(gateway_error := member(completion, "error"), Mapping):  # some gateways fail with a 200
            code = str(gateway_error.get("code") or "")
            raise self.request_failure(ProviderError.of(int(code) if code.isdigit() else 500, gateway_error, {}))
        usage, model = openai_usage(member(completion, "usage")), member(completion, "model")
        choice = next(iter(member(completion, "choices") or ()), None)
        message = member(choice, "message")
        answer_text = completion if isinstance(completion, str) else member(message, "content")
        answer_parts = answer_text if isinstance(answer_text, list) else []
        answer_text = joined_texts(answer_parts) if answer_parts else answer_text
        finish_reason = member(choice, "finish_reason")
        finish_problem = {"length": "cut", "content_filter": "refused"}.get(str(finish_reason))
        if member(message, "refusal"):
            finish_problem = "refused"
        answer_text = answer_text if isinstance(answer_text, str) else None
        tokens = _logprob_tokens(choice) if not finish_problem else ()
        chances = likelihoods(tokens, question.labels, question.name)
        further = {part.name: likelihoods(tokens, part.labels, part.name) for part in question.further}
        model = model if isinstance(model, str) else None
        details = member(member(completion, "usage"), "completion_tokens_details")
        thoughts = [member(message, name) for name in ("reasoning_content", "reasoning")]
        thoughts.append(member(details, "reasoning_tokens"))
        thought = any(thoughts) or any(member(part, "type") == "thinking" for part in answer_parts)
        return Reply(answer_text, usage, model, finish_problem, chances, "logprob", further, thought)


def _logprob_tokens(choice: object) -> Sequence[AnswerToken]:
    """Return the tokens of a choice with their log-probabilities; empty if the server gives none."""
    logprobs = member(member(choice, "logprobs"), "content") or ()
    tokens = []
    for token in logprobs:
        text, logprob = member(token, "token"), member(token, "logprob")
        options = {member(option, "token"): member(option, "logprob") for option in member(token, "top_logprobs") or ()}
        if logprob is not None:
            options.setdefault(text, logprob)
        tokens.append(AnswerToken(text or "", tuple(options.items())))
    return tokens


def openai_usage(usage: object) -> Usage | None:
    """Return the token counts of a chat completion or of OpenAI's decision; None if they are missing."""
    inputs = member(usage, "prompt_tokens"), member(usage, "input_tokens")
    outputs = member(usage, "completion_tokens"), member(usage, "output_tokens")
    input_tokens, output_tokens = (
        next((count for count in map(token_count, reported) if count is not None), None)
        for reported in (inputs, outputs)
    )
    if not input_tokens:
        return None  # zero too: some compatible servers do not count
    details = member(usage, "prompt_tokens_details") or member(usage, "input_tokens_details")
    cache_read, cache_write = (
        # Limited to the input, because some gateways report sums over many requests.
        min(token_count(member(details, name)) or 0, input_tokens)
        for name in ("cached_tokens", "cache_write_tokens")
    )
    # Gemini counts thoughts, which it bills as output, in the total alone.
    total = token_count(member(usage, "total_tokens")) or 0
    output = min(max(output_tokens or 0, total - input_tokens), LARGEST_COUNT)
    return Usage(input_tokens, output, cache_read, cache_write)
