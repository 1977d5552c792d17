"""What failed requests to a provider mean: errors that end the run, and errors of single tickets."""

import re
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from triage_cli.classifiers.llm.prompt import cut_text
from triage_cli.classifiers.llm.redaction import redact
from triage_cli.config import ClassifierSpec
from triage_cli.domain import AnswerError, ConfigError, RefusedError, TemporaryError, TriageError, WebPageError
from triage_cli.runtime import retry_after


class TooLongError(AnswerError):
    """A provider's error: the ticket does not fit into the model's context."""


class RejectedError(AnswerError):
    """A provider's error: the server refused the request."""


# Where a provider's message may begin to quote a request: a quote mark, which is no apostrophe, a bracket, or a colon.
QUOTE_START = re.compile(r"""["`“”„«»<{[]|(?<!\w)'|:\s""")


class ProviderError(NamedTuple):
    """A provider's answer to a failed request: its status, and what the body says.

    `about_many`: the request was a batch of tickets.
    """

    status: int
    message: str
    code: str
    param: str
    headers: Mapping[str, str]
    html: bool
    about_many: bool = False

    @classmethod
    def of(cls, status: int, body: object, headers: Mapping[str, str]) -> "ProviderError":
        """Read the body of a provider's error: `{"error": {…}}`, `{"error": "…", "code": "…"}`, a text, or a page."""
        error = body.get("error", body) if isinstance(body, Mapping) else body
        error_fields = next((part for part in (error, body) if isinstance(part, Mapping)), {})
        message = error or ""
        if isinstance(error, Mapping):
            message = error.get("message") or error.get("detail") or error.get("error") or ""
        code = " ".join(str(error_fields[key]) for key in ("code", "type", "reason") if error_fields.get(key))
        return cls(status, str(message), code, str(error_fields.get("param") or ""), headers, is_web_page(message))

    def says(self, pattern: str) -> bool:
        """Return whether the message, code or parameter of the error match a pattern."""
        return re.search(pattern, f"{self.message[:2000]}\n{self.code}\n{self.param}", re.IGNORECASE) is not None

    @property
    def summary(self) -> str:
        """Return the provider's message to show: one line of bounded length, without anything that looks like a key.

        That of a batch ends where it may begin to quote a ticket. It cannot be compared with the tickets, as that about
        one is: there are up to 50,000, and where a batch is refused later, they are not at hand.
        """
        text = " ".join(cut_text(self.message[:2000]).split())
        if self.about_many and (quote := QUOTE_START.search(text)):
            text = f"{text[: quote.start()].rstrip()}…"
        return redact(text, ("secret",))[0][:200]


def is_web_page(body: object) -> bool:
    """Return whether a provider's body is a web page."""
    return isinstance(body, str) and re.match(r"\s*<(!doctype|html|head|body|\?xml)", body, re.IGNORECASE) is not None


OUT_OF_QUOTA = (
    r"insufficient_quota|billing_(hard_limit|not_active|error)|credit balance is too low|exceeded your current quota"
)
CONTEXT_EXCEEDED = (
    r"context_length_exceeded|(context|token)[^.]{0,40}(length|size|window|limit)|prompt is too long|too many tokens"
    r"|STATE_TRUNCATED|STATE_TOO_LONG"
)
CONTENT_FILTERED = r"content_filter|content management policy|content_policy|safety"
UNKNOWN_MODEL = (
    r"model_not_found|(no such|unknown|invalid) model"
    r"|\bmodel\b.{0,80}(not found|not exist|does not exist|not supported)"
)


def request_failure(provider_error: ProviderError, spec: ClassifierSpec, address: str) -> TriageError:  # noqa: PLR0911
    """Return the error for a provider's failed request: one that ends the run, or that fails only its ticket."""
    status, host = provider_error.status, urlsplit(address).netloc
    has_summary = provider_error.summary and not provider_error.html
    reply = f" ({status}: {provider_error.summary})" if has_summary else f" ({status})"
    key_hint = f"check {spec.api_key_env}" if spec.api_key_env else "the server wants a key: set api_key_env"
    if status == 402 or provider_error.says(OUT_OF_QUOTA):
        return RefusedError(f'{host}: the account of classifier "{spec.name}" is out of quota{reply}', hint="top it up")
    if provider_error.html and status < 500 and status != 429:
        return web_page_error(spec, address, status)
    if status in (401, 403, 407):
        return RefusedError(f'{host} refused the key of classifier "{spec.name}"{reply}', hint=key_hint)
    if status == 404 or (status in (400, 422) and provider_error.says(UNKNOWN_MODEL)):
        return ConfigError(f'{host} knows no model "{spec.model}"{reply}', hint="check model and base_url")
    if status in (405, 501):
        return ConfigError(f'{host} cannot do what type "{spec.type}" asks{reply}', hint="choose another type")
    if status in (408, 409, 425, 429) or status >= 500:
        wait = retry_after(provider_error.headers, time.time())
        brief, limited = f"{host} answered {status}", status in (429, 529)
        return TemporaryError(f"{host} failed{reply}", brief=brief, retry_after=wait, limited=limited)
    if status == 413 or provider_error.says(CONTEXT_EXCEEDED):
        return TooLongError("the ticket is too long for the model")
    if provider_error.says(CONTENT_FILTERED):
        return AnswerError("refused by the provider's content filter")
    return RejectedError(f"{host} did not take the request{reply}")


def connection_failure(error: Exception) -> TemporaryError:
    """Return the error for a connection to a provider that could not be opened, or that broke."""
    import httpx2

    from triage_cli.runtime import reason

    if isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout):
        return TemporaryError(f"no connection: {reason(error)}", reached=False)
    return TemporaryError("the connection was cut", lost=True)


def web_page_error(spec: ClassifierSpec, address: str, status: int) -> TriageError:
    """Return the error for a web page in place of a provider's answer."""
    message = f'{urlsplit(address).netloc} answered classifier "{spec.name}" with a web page ({status})'
    if status in (401, 403, 407):
        return RefusedError(message, hint="there may be a proxy or a login page in between")
    return WebPageError(message, hint="check base_url; there may be a proxy in between")
