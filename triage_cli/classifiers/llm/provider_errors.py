"""What failed requests to a provider mean: errors that end the run, and errors of single tickets."""

import re
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from triage_cli.classifiers.llm.prompt import shown
from triage_cli.classifiers.llm.redaction import redact
from triage_cli.config import ClassifierSpec
from triage_cli.domain.errors import AnswerError, ConfigError, RefusedError, TemporaryError, TriageError, WebPageError
from triage_cli.runtime.retry import retry_after


class TooLongError(AnswerError):
    """The ticket does not fit into the model's context."""


class RejectedError(AnswerError):
    """The server refused the request."""


# Where a message may begin to quote a request: a quotation mark, which is no apostrophe, a bracket, or a colon.
QUOTATION = re.compile(r"""["`“”„«»<{[]|(?<!\w)'|:\s""")


class ProviderError(NamedTuple):
    """A failed request: its status, and what the body says; `about_many` if the request is a batch of tickets."""

    status: int
    message: str
    code: str
    param: str
    headers: Mapping[str, str]
    html: bool
    about_many: bool = False

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
        """Return the message to show: one line of bounded length, without anything that looks like a key.

        That of a batch ends where it may begin to quote a ticket. It cannot be compared with the tickets, as that about
        one is: there are up to 50,000, and where a batch is refused later, they are not at hand.
        """
        text = " ".join(shown(self.message[:2000]).split())
        if self.about_many and (quotation := QUOTATION.search(text)):
            text = f"{text[: quotation.start()].rstrip()}…"
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
        return web_page_error(spec, address, status)
    if status in (401, 403, 407):
        return RefusedError(f'{host} refused the key of classifier "{spec.name}"{reply}', hint=key)
    if status == 404 or (status in (400, 422) and complaint.says(NO_MODEL)):
        return ConfigError(f'{host} knows no model "{spec.model}"{reply}', hint="check model and base_url")
    if status in (405, 501):
        return ConfigError(f'{host} cannot do what type "{spec.type}" asks{reply}', hint="choose another type")
    if status in (408, 409, 425, 429) or status >= 500:
        wait = retry_after(complaint.headers, time.time())
        brief, limited = f"{host} answered {status}", status in (429, 529)
        return TemporaryError(f"{host} failed{reply}", brief=brief, retry_after=wait, limited=limited)
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


def web_page_error(spec: ClassifierSpec, address: str, status: int) -> TriageError:
    """Return the error for a web page in place of an answer."""
    where = f'{urlsplit(address).netloc} answered classifier "{spec.name}" with a web page ({status})'
    if status in (401, 403, 407):
        return RefusedError(where, hint="there may be a proxy or a login page in between")
    return WebPageError(where, hint="check base_url; there may be a proxy in between")
