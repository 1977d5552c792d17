"""OpenAI's chat completions, which every compatible server understands."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

# openai looks for httpx in sys.modules. Imported here, before openai, it is complete there: else openai could find it
# half imported by another thread, which sends a webhook.
import httpx  # noqa: F401
import openai
from openai.types.chat import ChatCompletion

from triage_cli.classifiers.llm.likelihood import Token, likelihoods
from triage_cli.classifiers.llm.prompt import VERSION, Question, schema
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

HOME = "https://api.openai.com/v1"
TOP = 10  # options whose log-probability is asked for
FORMS = ("schema", "object", "plain")  # how JSON is asked for; a server gets the first form that it supports

# Features that a server may refuse, with a pattern for its message.
REFUSABLE_FEATURES = (
    ("logprobs", r"logprobs?"),
    ("temperature", r"temperature"),
    ("budget", r"max_completion_tokens"),
    ("cache", r"prompt_cache"),
    ("bounds", r"max_?length"),
    ("form", r"response_format|json_schema|json_object|structured output|grammar|schema"),
)


class OpenAIClient(Client[openai.AsyncOpenAI]):
    """Holds the SDK's client."""

    sdk_error = openai.OpenAIError
    connection_error = openai.APIConnectionError
    bounded = True  # answers are short, so their size is limited

    def __init__(self, spec: ClassifierSpec, env: Mapping[str, str]) -> None:
        super().__init__(spec, env, HOME, "openai")

    def open(self, network: Network) -> None:
        """Make the client, without its own retries."""
        self._sdk = network.openai(
            self.who, self._url, hooks=hooks() if self.bounded else {},
            api_key=self._key, timeout=self._spec.timeout + SLACK, max_retries=0,
        )  # fmt: skip

    def complaint(self, error: Exception) -> ProviderError | None:
        """Read a status error of the SDK; None for another error."""
        return read_complaint(error) if isinstance(error, openai.APIStatusError) else None


def read_complaint(error: openai.APIStatusError) -> ProviderError:
    """Read a status error of the SDK, from the full response: its `body` has only the field `error`."""
    body = error.body
    with suppress(ValueError):
        body = error.response.json()
    return ProviderError.of(error.status_code, body, error.response.headers)


class OpenAIProvider(OpenAIClient):
    """Asks for JSON with a schema, log-probabilities and temperature 0, as far as the server supports each."""

    def __init__(self, spec: ClassifierSpec, env: Mapping[str, str]) -> None:
        super().__init__(spec, env)
        self._form = 0
        self._form_followed = False
        # OpenAI's own models are large: they need no worked examples and no length limits, which OpenAI refuses.
        self._without = {"shots", "bounds"} if self.address == HOME else {"cache"}

    @property
    def constraint(self) -> str:
        """Return what restricts answers to the list of categories."""
        return {"schema": BY_SCHEMA, "object": "held to JSON, not to the list, which is checked here"}.get(
            FORMS[self._form], BY_NOTHING
        )

    def most(self, question: Question, budget: int) -> int:
        """Return an upper bound of a request's tokens; refused features only make it shorter."""
        return size_of(self.request(question, budget))

    async def ask(self, question: Question, budget: int) -> Reply:
        """Make one request; features that the server refuses are left out from then on, and it is repeated at once."""
        while True:
            form, without = self._form, frozenset(self._without)
            try:
                # Not by `chat.completions.create`, which spends half of a call's CPU time on checking type hints.
                body = self.request(question, budget)
                answer: object = await self.sdk.post("/chat/completions", body=body, cast_to=ChatCompletion)
            except openai.APIStatusError as error:
                if not self.learned(read_complaint(error), form, without):
                    raise self.translated(error) from None
            except Exception as error:  # noqa: BLE001 - the SDK fails at unexpected content
                return self.without_answer(error)
            else:
                return self.reply(answer, question)

    @property
    def options(self) -> dict[str, Any]:
        """Return which features the server refused, to be stored for later processes."""
        return {"form": self._form, "without": sorted(self._without)}

    def remember(self, options: Mapping[str, Any]) -> None:
        """Start with the refused features that an earlier process found."""
        self._form = min(int(options.get("form", 0)), len(FORMS) - 1)
        self._without |= set(options.get("without", ()))

    def heeded(self, *, form: bool) -> None:
        """Record whether an answer followed the form; if no answer ever did, the next form is used."""
        if form:
            self._form_followed = True
        elif not self._form_followed:
            self._form = min(self._form + 1, len(FORMS) - 1)

    def request(self, question: Question, budget: int) -> dict[str, Any]:
        """Return the body of a request, without refused features."""
        messages = [{"role": "system", "content": question.system}]
        for ticket, answer in question.shots if "shots" not in self._without else ():
            messages += [{"role": "user", "content": ticket}, {"role": "assistant", "content": answer}]
        messages.append({"role": "user", "content": question.user})
        request: dict[str, Any] = {"model": self._spec.model, "messages": messages}
        form = FORMS[self._form]
        if form == "schema":
            json_schema = schema(question.labels, bounded="bounds" not in self._without)
            verdict = {"name": "verdict", "strict": True, "schema": json_schema}
            request["response_format"] = {"type": "json_schema", "json_schema": verdict}
        elif form == "object":
            request["response_format"] = {"type": "json_object"}
        if "temperature" not in self._without:
            request["temperature"] = 0
        if "logprobs" not in self._without:
            request |= {"logprobs": True, "top_logprobs": TOP}
        if "cache" not in self._without:
            request["prompt_cache_key"] = f"triage-{VERSION}"
        request["max_tokens" if "budget" in self._without else "max_completion_tokens"] = budget
        return request

    def learned(self, complaint: ProviderError, form: int, without: frozenset[str]) -> bool:
        """Leave out the feature that the server refuses; return whether to ask again.

        Some servers (llama-cpp-python) refuse with a 500, so the message counts more than the status.
        """
        if complaint.status not in (400, 422, 500):
            return False
        for name, pattern in REFUSABLE_FEATURES:
            if name in without or not complaint.says(pattern):
                continue
            if name == "form" and "bounds" not in without:
                self._without.add("bounds")  # perhaps only these were refused
            elif name == "form":
                if form == len(FORMS) - 1:
                    return False
                self._form = max(self._form, form + 1)
            else:
                self._without.add(name)
            return True
        return False

    def reply(self, answer: object, question: Question) -> Reply:
        """Read an answer, even an incomplete or malformed one."""
        return legible(lambda: self._read(answer, question), lambda: usage_of(getattr(answer, "usage", None)))

    def _read(self, answer: object, question: Question) -> Reply:
        if isinstance(answer, str) and is_page(answer):
            raise web_page_error(self._spec, self.address, 200)
        if isinstance(wrapped := getattr(answer, "error", None), Mapping):  # some gateways fail with a 200
            code = str(wrapped.get("code") or "")
            raise self.failure(ProviderError.of(int(code) if code.isdigit() else 500, wrapped, {}))
        usage, model = usage_of(getattr(answer, "usage", None)), getattr(answer, "model", None)
        choice = next(iter(getattr(answer, "choices", None) or ()), None)
        message = getattr(choice, "message", None)
        text = answer if isinstance(answer, str) else getattr(message, "content", None)
        ended = getattr(choice, "finish_reason", None)
        problem = {"length": "cut", "content_filter": "refused"}.get(str(ended))
        if getattr(message, "refusal", None):
            problem = "refused"
        text = text if isinstance(text, str) else None
        chances = likelihoods(tokens_of(choice), question.labels) if not problem else {}
        return Reply(text, usage, model if isinstance(model, str) else None, problem, chances, "logprob")


def tokens_of(choice: object) -> Sequence[Token]:
    """Return the tokens of an answer with their options; empty if the server gives none."""
    content = getattr(getattr(choice, "logprobs", None), "content", None) or ()
    tokens = []
    for token in content:
        options = {option.token: option.logprob for option in token.top_logprobs or ()}
        if token.logprob is not None:
            options.setdefault(token.token, token.logprob)
        tokens.append(Token(token.token or "", tuple(options.items())))
    return tokens


def usage_of(usage: object) -> Usage | None:
    """Return the token counts of chat completions or decisions; None if they are missing."""
    read = getattr(usage, "prompt_tokens", None), getattr(usage, "input_tokens", None)
    written = getattr(usage, "completion_tokens", None), getattr(usage, "output_tokens", None)
    taken, spoken = (next((n for n in map(tokens, counts) if n is not None), None) for counts in (read, written))
    if not taken:
        return None  # zero too: some servers do not count
    details = getattr(usage, "prompt_tokens_details", None) or getattr(usage, "input_tokens_details", None)
    cached, stored = getattr(details, "cached_tokens", None), getattr(details, "cache_write_tokens", None)
    # Limited to the input, because some gateways report sums over many requests.
    return Usage(taken, spoken or 0, min(tokens(cached) or 0, taken), min(tokens(stored) or 0, taken))
