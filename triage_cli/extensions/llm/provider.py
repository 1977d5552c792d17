"""What all providers of language models share: the protocol, keys, and how errors of their SDKs are translated."""

import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx2

from triage_cli import domain as dm
from triage_cli.config import ClassifierSpec
from triage_cli.extensions.llm.prompt import Question
from triage_cli.extensions.llm.provider_errors import ProviderError, connection_failure, request_failure
from triage_cli.runtime import Network

MAX_RESPONSE_BYTES = 1 << 20
MAX_COMPRESSED_BYTES = MAX_RESPONSE_BYTES // 32  # of a compressed response, which may grow a thousandfold


class OversizeError(Exception):
    """A response is larger than the limit."""


def is_oversize(error: BaseException) -> bool:
    """Return whether an SDK's error means that a response was too large."""
    return isinstance(error, OversizeError) or isinstance(error.__cause__, OversizeError)


async def _limit_response(response: httpx2.Response) -> None:
    is_compressed = response.headers.get("content-encoding", "identity") != "identity"
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _LimitedStream(response.stream, MAX_COMPRESSED_BYTES if is_compressed else MAX_RESPONSE_BYTES)


class _LimitedStream(httpx2.AsyncByteStream):
    """A response's stream that raises `OversizeError` where it is longer than the limit."""

    def __init__(self, stream: httpx2.AsyncByteStream, remaining_bytes: int) -> None:
        self._stream = stream
        self._remaining_bytes = remaining_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for response_bytes in self._stream:
            self._remaining_bytes -= len(response_bytes)
            if self._remaining_bytes < 0:
                raise OversizeError
            yield response_bytes

    async def aclose(self) -> None:
        await self._stream.aclose()


LARGEST_COUNT = 1 << 31  # larger numbers of tokens in a provider's answer are cut
ANSWER_TOKENS = 256  # that a provider may use for an answer; after a cut answer, twice as many
THINKING_TOKENS = 4096  # the same of a model that thinks before it answers


class Usage(NamedTuple):
    """Tokens that a provider counts for a request. `cache_read` and `cache_write` are parts of `input`."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def plus(self, other: "Usage") -> "Usage":
        """Return the sum of the tokens of two requests."""
        return Usage(*(count + more for count, more in zip(self, other, strict=True)))


class Reply(NamedTuple):
    """An answer of a provider: its text, or a `problem` (refused, cut); `chances` are probabilities by label.

    `usage` is None if the server does not count; `model` is the model that really answered. `thought` is true where the
    server says that the model thought before it answered.
    """

    text: str | None
    usage: Usage | None = None
    model: str | None = None
    problem: str | None = None
    chances: Mapping[str, float] = {}
    source: str = "said"  # where the chances come from
    further: Mapping[str, Mapping[str, float]] = {}  # the same of further questions, by their names
    thought: bool = False

    @property
    def said(self) -> str:
        """Return the text of the answer, without what the model thought aloud before."""
        text = self.text or ""
        return text[answer_start(text) :].strip()

    @property
    def is_cut_in_thought(self) -> bool:
        """Return whether the model used up its tokens by thinking."""
        return self.problem == "cut" and (self.thought or not self.said)


def request_bytes(body: object) -> int:
    """Return the bytes of a request to a provider, an upper bound of its tokens: no tokenizer makes more of them.

    The punctuation of JSON is counted for the vendor's own tokens between turns.
    """
    return len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


UNREADABLE_REPLY = Reply(None, problem="not_json")


def reply_or_unreadable(read_reply: Callable[[], Reply], read_usage: Callable[[], Usage | None]) -> Reply:
    """Return the reply that `read_reply` makes of a provider's answer; an answer of unexpected shape is `not_json`.

    An unreadable answer was paid for too: `read_usage` reads its usage, if possible.
    """
    try:
        return read_reply()
    except dm.TriageError:
        raise
    except Exception:  # noqa: BLE001 - a malformed answer fails its ticket, not the run
        with suppress(Exception):
            return UNREADABLE_REPLY._replace(usage=read_usage())
        return UNREADABLE_REPLY


def member(answer: object, name: str) -> Any:
    """Return a member of a provider's JSON; None where it is missing, or what should hold it is no object.

    The answers are read as JSON, not as the types of an SDK: making these takes a fifth of a call's CPU time.
    """
    return answer.get(name) if isinstance(answer, Mapping) else None


def joined_texts(parts: object) -> str:
    """Return the text of an answer that comes in parts; a part that holds a thought has none."""
    texts = [member(part, "text") for part in parts] if isinstance(parts, Sequence) else []
    return "".join(text for text in texts if isinstance(text, str))


THOUGHT_END = re.compile(r"</think(?:ing)?>|\[/THINK\]")
THOUGHT_START = re.compile(r"\s*(?:<think(?:ing)?>|\[THINK\])")


def answer_start(text: str) -> int:
    """Return where the answer begins in the text of a model that thinks aloud; its end if it did not stop to think.

    What it thinks may hold drafts of the answer, and what others wrote, so it is never read.
    """
    if text.lstrip().startswith("{"):
        return 0
    ends = [match.end() for match in THOUGHT_END.finditer(text)]
    return ends[-1] if ends else len(text) if THOUGHT_START.match(text) else 0


def token_count(reported: object) -> int | None:
    """Return the number of tokens that a provider reports, within bounds; None if it is no number."""
    if isinstance(reported, bool) or not isinstance(reported, int):
        return None
    return min(max(0, reported), LARGEST_COUNT)


class Provider(Protocol):
    """A provider's model at one address; it learns from responses which features the server supports."""

    address: str

    @property
    def constraint(self) -> str:
        """Return what restricts answers to the list of categories, as far as is known so far."""

    def open(self, network: Network) -> None:
        """Make the provider's client. Raises `UsageError` when offline."""

    def close(self) -> Coroutine[Any, Any, None]:
        """Drop the provider's client at once, and return a coroutine that closes its connections."""

    def most_tokens(self, question: Question, answer_tokens: int) -> int:
        """Return an upper bound of the tokens of a request about this question, for any tokenizer."""

    async def ask(self, question: Question, answer_tokens: int) -> Reply:
        """Ask the provider once. Raises `TemporaryError`, `TooLongError`, `AnswerError`, or what ends the run."""

    def record_form(self, *, is_followed: bool) -> None:
        """Record whether a reply had the form that the provider was asked for."""


SDK_SLACK = 600.0  # seconds after our deadline at which a provider's SDK times out, also if the process was suspended


class SdkClient(Protocol):
    """The client of a vendor's SDK."""

    def close(self) -> Coroutine[Any, Any, None]:
        """Close the connections of the SDK's client."""


S = TypeVar("S", bound=SdkClient)


class ProviderClient(Generic[S]):
    """Holds the client of a provider's SDK during a run, and translates the SDK's errors.

    Each `connection_error` is an `sdk_error`.
    """

    sdk_error: type[Exception]
    connection_error: type[Exception]
    sends_batches = False  # a request to the provider is about many tickets, and its response is large

    def __init__(self, spec: ClassifierSpec, env: Mapping[str, str], home: str, package: str) -> None:
        self._spec = spec
        self._api_key = api_key_of(spec, env)
        self._url = spec.base_url or home
        self.address = provider_address(self._url)
        self._sdk: S | None = None
        silence_loggers(package, "httpx2")

    @property
    def display_name(self) -> str:
        """Return the name of the provider's classifier for errors."""
        return f'classifier "{self._spec.name}"'

    @property
    def sdk(self) -> S:
        """Return the open client of the SDK."""
        if self._sdk is None:
            raise RuntimeError("the client is not open")
        return self._sdk

    def sdk_options(self) -> dict[str, Any]:
        """Return with what the SDK's client is made: the key, no retries of its own, and a limit on responses."""
        hooks = {} if self.sends_batches else {"response": [_limit_response]}
        timeout = self._spec.timeout + SDK_SLACK
        return {"hooks": hooks, "api_key": self._api_key, "timeout": timeout, "max_retries": 0}

    def close(self) -> Coroutine[Any, Any, None]:
        """Drop the provider's client at once, and return a coroutine that closes its connections."""
        sdk, self._sdk = self.sdk, None
        return sdk.close()

    def without_key(self, text: str) -> str:
        """Return a provider's message without our key, whatever the key's format."""
        return dm.hide_secrets(text, [self._api_key]) if self._spec.api_key_env else text

    def request_failure(self, provider_error: ProviderError) -> dm.TriageError:
        """Return the error for a failed request to the provider, without the key, which the server may repeat."""
        message = self.without_key(provider_error.message[:LONGEST_MESSAGE])
        provider_error = provider_error._replace(message=message)
        return request_failure(provider_error, self._spec, self.address)

    def provider_error(self, error: Exception) -> ProviderError | None:
        """Return what the provider's server says in an error with a status; None for another error of the SDK."""
        raise NotImplementedError

    def translated_error(self, error: Exception) -> dm.TriageError:
        """Translate an error of the provider's SDK. The request, which contains the key, is left out."""
        if provider_error := self.provider_error(error):
            return self.request_failure(provider_error)
        if isinstance(error, self.connection_error):
            return connection_failure(error)
        return dm.TemporaryError("the answer could not be read", lost=True)

    def unreadable_reply(self, error: Exception) -> Reply:
        """Return the reply for an answer that the provider's SDK cannot read. Raises the error of a failed request."""
        if isinstance(error, (self.sdk_error, ValueError)) and not is_oversize(error):
            raise self.translated_error(error) from None
        return UNREADABLE_REPLY


LEAST_EFFORTS = ("none", "minimal")  # which some models refuse that think
EFFORT_REFUSED = r"effort|thinking|reasoning"
REFUSING_STATUSES = (400, 403, 422, 500)  # of servers that do not know a feature; llama-cpp-python has 500
LONGEST_MESSAGE = 10_000  # characters of a failed request's message that are read; far fewer are shown
BY_SCHEMA = "held to the list by a JSON schema"
BY_NOTHING = "held to the list by nothing there, only checked here"


def asked_effort(spec: ClassifierSpec, without: Collection[str]) -> str | None:
    """Return how much a model is asked to think `without` what its server refused: by default, the least that it takes.

    None if the server knows no such thing.
    """
    effort = spec.effort or "none"
    if "effort" in without:
        return None
    return "low" if effort in LEAST_EFFORTS and "least effort" in without else effort


def refused_effort(spec: ClassifierSpec, without: Collection[str]) -> str:
    """Return what is to be left out where a server refuses the effort of a request that was `without` this."""
    return "least effort" if asked_effort(spec, without) in LEAST_EFFORTS else "effort"


def api_key_of(spec: ClassifierSpec, env: Mapping[str, str]) -> str:
    """Return the key for a provider; a placeholder if it needs none, as SDKs require one. Raises `RefusedError`."""
    if spec.api_key_env is None:
        return "none"
    api_key = env.get(spec.api_key_env, "").strip()
    if not api_key:
        raise dm.RefusedError(
            f'classifier "{spec.name}" needs a key: {spec.api_key_env} is not set',
            hint=f"export {spec.api_key_env}, or name another variable with api_key_env",
        )
    if not re.fullmatch(r"[!-~]+", api_key):
        raise dm.RefusedError(f"{spec.api_key_env} holds characters that no key has", hint="copy the key again")
    return api_key


def provider_address(url: str) -> str:
    """Return a provider's address without user, password and query."""
    url_parts = urlsplit(url)
    host = url_parts.hostname or ""
    port = f":{url_parts.port}" if url_parts.port else ""
    return f"{url_parts.scheme}://{host}{port}{url_parts.path}".rstrip("/")


def silence_loggers(*packages: str) -> None:
    """Disable the loggers of SDKs, which print requests to the provider, and so tickets, at their debug level."""
    for logger_name in [*packages, *logging.root.manager.loggerDict]:
        if logger_name.split(".")[0] in packages:
            logging.getLogger(logger_name).disabled = True
