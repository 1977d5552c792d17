"""What all providers share: the protocol, keys, and the meaning of failed requests."""

import json
import logging
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from triage_cli.classifiers.llm.prompt import Question, shown
from triage_cli.classifiers.llm.redaction import redact
from triage_cli.config import ClassifierSpec
from triage_cli.domain.errors import AnswerError, ConfigError, RefusedError, TemporaryError, TriageError
from triage_cli.runtime.network import Network
from triage_cli.runtime.retry import retry_after

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


SLACK = 5.0  # seconds after our own deadline at which the SDK times out


class Sdk(Protocol):
    """A vendor's client."""

    def close(self) -> Coroutine[Any, Any, None]:
        """Close its connections."""


S = TypeVar("S", bound=Sdk)


class Client(Generic[S]):
    """Holds a vendor's client during a run."""

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

    def failure(self, complaint: "ProviderError") -> TriageError:
        """Return the error for a failed request, without the key, which the server may repeat."""
        return failure(complaint._replace(message=self.masked(complaint.message)), self._spec, self.address)


BY_SCHEMA = "held to the list by a JSON schema"
BY_NOTHING = "held to the list by nothing there, only checked here"


class TooLongError(AnswerError):
    """The ticket does not fit into the model's context."""


class RejectedError(AnswerError):
    """The server refused the request."""


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


class ProviderError(NamedTuple):
    """A failed request: its status, and what the body says."""

    status: int
    message: str
    code: str
    param: str
    headers: Mapping[str, str]
    html: bool

    @classmethod
    def of(cls, status: int, body: object, headers: Mapping[str, str]) -> "ProviderError":
        """Read the body of an error: `{"error": {…}}`, `{"error": "…", "code": "…"}`, a text, or a page."""
        inner = body.get("error", body) if isinstance(body, Mapping) else body
        fields = next((part for part in (inner, body) if isinstance(part, Mapping)), {})
        message = inner or ""
        if isinstance(inner, Mapping):
            message = inner.get("message") or inner.get("detail") or inner.get("error") or ""
        code = " ".join(str(fields[key]) for key in ("code", "type", "reason") if fields.get(key))
        return cls(status, str(message), code, str(fields.get("param") or ""), headers, is_page(message))

    def says(self, pattern: str) -> bool:
        """Return whether message, code or parameter match a pattern."""
        return re.search(pattern, f"{self.message[:2000]}\n{self.code}\n{self.param}", re.IGNORECASE) is not None

    @property
    def summary(self) -> str:
        """Return the message to show: one line of bounded length, without anything that looks like a key."""
        text = " ".join(shown(self.message[:2000]).split())
        return redact(text, ("secret",))[0][:200]


def is_page(body: object) -> bool:
    """Return whether a body is a web page."""
    return isinstance(body, str) and re.match(r"\s*<(!doctype|html|head|body|\?xml)", body, re.IGNORECASE) is not None


OUT_OF_MONEY = (
    r"insufficient_quota|billing_(hard_limit|not_active|error)|credit balance is too low|exceeded your current quota"
)
TOO_LONG = (
    r"context_length_exceeded|(context|token)[^.]{0,40}(length|size|window|limit)|prompt is too long|too many tokens"
    r"|STATE_TRUNCATED|STATE_TOO_LONG"
)
FILTERED = r"content_filter|content management policy|content_policy|safety"
NO_MODEL = (
    r"model_not_found|(no such|unknown|invalid) model"
    r"|\bmodel\b.{0,80}(not found|not exist|does not exist|not supported)"
)


def failure(complaint: ProviderError, spec: ClassifierSpec, address: str) -> TriageError:  # noqa: PLR0911 - a table
    """Return the error for a failed request: one that ends the run, or that fails only its ticket."""
    status, host = complaint.status, urlsplit(address).netloc
    reply = f" ({status}: {complaint.summary})" if complaint.summary and not complaint.html else f" ({status})"
    key = f"check {spec.api_key_env}" if spec.api_key_env else "the server wants a key: set api_key_env"
    if status == 402 or complaint.says(OUT_OF_MONEY):
        return RefusedError(f'{host}: the account of classifier "{spec.name}" is out of quota{reply}', hint="top it up")
    if complaint.html and status < 500 and status != 429:
        return page(spec, address, status)
    if status in (401, 403, 407):
        return RefusedError(f'{host} refused the key of classifier "{spec.name}"{reply}', hint=key)
    if status == 404 or (status in (400, 422) and complaint.says(NO_MODEL)):
        return ConfigError(f'{host} knows no model "{spec.model}"{reply}', hint="check model and base_url")
    if status in (405, 501):
        return ConfigError(f'{host} cannot do what type "{spec.type}" asks{reply}', hint="choose another type")
    if status in (408, 409, 425, 429) or status >= 500:
        wait = retry_after(complaint.headers, time.time())
        return TemporaryError(f"{host} failed{reply}", retry_after=wait, limited=status in (429, 529))
    if status == 413 or complaint.says(TOO_LONG):
        return TooLongError("the ticket is too long for the model")
    if complaint.says(FILTERED):
        return AnswerError("refused by the provider's content filter")
    return RejectedError(f"{host} did not take the request{reply}")


def unconnected(error: Exception) -> TemporaryError:
    """Return the error for a connection that could not be opened, or that broke."""
    import httpx2

    from triage_cli.runtime.unreachable import reason

    if isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout):
        return TemporaryError(f"no connection: {reason(error)}", reached=False)
    return TemporaryError("the connection was cut", lost=True)


def page(spec: ClassifierSpec, address: str, status: int) -> TriageError:
    """Return the error for a web page in place of an answer."""
    where = f'{urlsplit(address).netloc} answered classifier "{spec.name}" with a web page ({status})'
    if status in (401, 403, 407):
        return RefusedError(where, hint="there may be a proxy or a login page in between")
    return ConfigError(where, hint="check base_url; there may be a proxy in between")
