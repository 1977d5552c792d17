"""What all providers share: the protocol, keys, and how errors of their SDKs are translated."""

import json
import logging
import re
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from triage_cli.classifiers.llm.prompt import Question
from triage_cli.classifiers.llm.provider_errors import ProviderError, failure, unconnected
from triage_cli.config import ClassifierSpec
from triage_cli.domain.errors import RefusedError, TemporaryError, TriageError
from triage_cli.runtime.network import Network

MOST_TOKENS = 1 << 31  # larger counts are cut
BUDGET = 256  # tokens of an answer at most; after a cut answer, twice as many


class Usage(NamedTuple):
    """Tokens of one request. `input` counts all of them; `cache_read` and `cache_write` are parts of it."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def plus(self, other: "Usage") -> "Usage":
        """Return the sum of two usages."""
        return Usage(*(a + b for a, b in zip(self, other, strict=True)))


class Reply(NamedTuple):
    """An answer of a provider: its text, or a `problem` (refused, cut); `chances` are probabilities by label.

    `usage` is None if the server does not count; `model` is the model that really answered.
    """

    text: str | None
    usage: Usage | None = None
    model: str | None = None
    problem: str | None = None
    chances: Mapping[str, float] = {}
    source: str = "said"  # where the chances come from


def size_of(body: object) -> int:
    """Return the bytes of a request, an upper bound of its tokens: no tokenizer makes more tokens than bytes.

    The punctuation of JSON is counted for the vendor's own tokens between turns.
    """
    return len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


UNREADABLE = Reply(None, problem="not_json")


def legible(read: Callable[[], Reply], usage: Callable[[], Usage | None]) -> Reply:
    """Return the reply that `read` makes of an answer. If the answer has an unexpected shape, it is `not_json`.

    An unreadable answer was paid for too: `usage` reads its usage, if possible.
    """
    try:
        return read()
    except TriageError:
        raise
    except Exception:  # noqa: BLE001 - a malformed answer fails its ticket, not the run
        with suppress(Exception):
            return UNREADABLE._replace(usage=usage())
        return UNREADABLE


def tokens(count: object) -> int | None:
    """Return a reported number of tokens, within bounds; None if it is no number."""
    return min(max(0, count), MOST_TOKENS) if isinstance(count, int) and not isinstance(count, bool) else None


class Provider(Protocol):
    """One model at one address, which learns from responses which features its server supports."""

    address: str

    @property
    def constraint(self) -> str:
        """Return what restricts answers to the list of categories, as far as is known so far."""

    def open(self, network: Network) -> None:
        """Make the client. Raises `UsageError` when offline."""

    def close(self) -> Coroutine[Any, Any, None]:
        """Drop the client at once, and return a coroutine that closes its connections."""

    def most(self, question: Question, budget: int) -> int:
        """Return an upper bound of the tokens of a request about this question, for any tokenizer."""

    async def ask(self, question: Question, budget: int) -> Reply:
        """Make one request. Raises `TemporaryError`, `TooLongError`, `AnswerError`, or what ends the run."""

    def heeded(self, *, form: bool) -> None:
        """Record whether an answer had the form that was asked for."""


SLACK = 600.0  # seconds after our own deadline at which the SDK times out, also if the process was suspended


class Sdk(Protocol):
    """A vendor's client."""

    def close(self) -> Coroutine[Any, Any, None]:
        """Close its connections."""


S = TypeVar("S", bound=Sdk)


class Client(Generic[S]):
    """Holds a vendor's client during a run, and translates its errors; each `connection_error` is an `sdk_error`."""

    sdk_error: type[Exception]
    connection_error: type[Exception]
    asks_many = False  # one request is about many tickets

    def __init__(self, spec: ClassifierSpec, env: Mapping[str, str], home: str, package: str) -> None:
        self._spec = spec
        self._key = key_of(spec, env)
        self._url = spec.base_url or home
        self.address = address_of(self._url)
        self._sdk: S | None = None
        hush(package, "httpx2")

    @property
    def who(self) -> str:
        """Return its name for errors."""
        return f'classifier "{self._spec.name}"'

    @property
    def sdk(self) -> S:
        """Return the open client."""
        if self._sdk is None:
            raise RuntimeError("the client is not open")
        return self._sdk

    def close(self) -> Coroutine[Any, Any, None]:
        """Drop the client at once, and return a coroutine that closes its connections."""
        sdk, self._sdk = self.sdk, None
        return sdk.close()

    def masked(self, text: str) -> str:
        """Return a server's message without our key, whatever its format."""
        return text.replace(self._key, "[secret]") if self._spec.api_key_env else text

    def failure(self, complaint: ProviderError) -> TriageError:
        """Return the error for a failed request, without the key, which the server may repeat."""
        complaint = complaint._replace(message=self.masked(complaint.message), about_many=self.asks_many)
        return failure(complaint, self._spec, self.address)

    def complaint(self, error: Exception) -> ProviderError | None:
        """Return what a server said in an error with a status; None for another error."""
        raise NotImplementedError

    def translated(self, error: Exception) -> TriageError:
        """Translate an error of the SDK. The request, which contains the key, is left out."""
        if complaint := self.complaint(error):
            return self.failure(complaint)
        if isinstance(error, self.connection_error):
            return unconnected(error)
        return TemporaryError("the answer could not be read", lost=True)

    def without_answer(self, error: Exception) -> Reply:
        """Return the reply for an answer that the SDK cannot read. Raises the error of a request that failed."""
        from triage_cli.classifiers.llm.response_limit import is_oversize

        if isinstance(error, (self.sdk_error, ValueError)) and not is_oversize(error):
            raise self.translated(error) from None
        return UNREADABLE


BY_SCHEMA = "held to the list by a JSON schema"
BY_NOTHING = "held to the list by nothing there, only checked here"


def key_of(spec: ClassifierSpec, env: Mapping[str, str]) -> str:
    """Return a classifier's key; a placeholder if it needs none, because SDKs require one. Raises `RefusedError`."""
    if spec.api_key_env is None:
        return "none"
    key = env.get(spec.api_key_env, "").strip()
    if not key:
        raise RefusedError(
            f'classifier "{spec.name}" needs a key: {spec.api_key_env} is not set',
            hint=f"export {spec.api_key_env}, or name another variable with api_key_env",
        )
    if not re.fullmatch(r"[!-~]+", key):
        raise RefusedError(f"{spec.api_key_env} holds characters that no key has", hint="copy the key again")
    return key


def address_of(url: str) -> str:
    """Return an address without user, password and query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}".rstrip("/")


def hush(*packages: str) -> None:
    """Disable the loggers of packages, which print requests, and so tickets, at their debug level."""
    for name in [*packages, *logging.root.manager.loggerDict]:
        if name.split(".")[0] in packages:
            logging.getLogger(name).disabled = True
