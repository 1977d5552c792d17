"""What failed requests to a provider mean: errors that end the run, and errors of single tickets."""

import re
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from triage_cli import domain as dm
from triage_cli.config import ClassifierSpec
from triage_cli.runtime import retry_after, tell_what_was_said


class TooLongError(dm.AnswerError):
    """A provider's error: the ticket does not fit into the model's context."""


class RejectedError(dm.AnswerError):
    """A provider's error: the server refused the request."""


# What an error shows of a provider's answer: its codes, and fields of our requests. Any other word may be of a ticket.
SHOWN_NAMES = frozenset(
    """
    account_deactivated api_error authentication_error billing_error billing_hard_limit_reached billing_not_active
    content_filter content_policy_violation context_length_exceeded insufficient_quota internal_error
    invalid_api_key invalid_argument invalid_json invalid_prompt invalid_request invalid_request_error invalid_type
    invalid_value ip_not_authorized model_not_found not_found_error organization_restricted overloaded_error
    permission_denied permission_error rate_limit_error rate_limit_exceeded request_too_large resource_exhausted
    server_error string_above_max_length timeout_error token_limit_exceeded too_many_requests unauthenticated
    unknown_parameter unsupported_country_region_territory unsupported_parameter unsupported_value
    deploymentnotfound operationnotsupported batch_expired batch_cancelled duplicate_custom_id empty_file
    internal_server_error invalid_json_line max_completion_tokens max_tokens json_object json_schema logprobs
    output_config prompt_cache_key reasoning_effort response_format temperature top_logprobs
    """.split()  # noqa: SIM905 - a list of strings would take a line each
)
MOST_SHOWN_NAMES = 3


class ProviderError(NamedTuple):
    """A provider's answer to a failed request: its status, and what the body says."""

    status: int
    message: str
    code: str
    param: str
    headers: Mapping[str, str]
    html: bool

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
        """Return what an error shows of the answer: its status, and those of its codes that are `SHOWN_NAMES`."""
        return " ".join((str(self.status), *shown_names(f"{self.code} {self.param} {self.message[:2000]}")))


def shown_names(text: str) -> tuple[str, ...]:
    """Return the `SHOWN_NAMES` in a provider's text, at most three, in their order."""
    names = (word.lower() for word in re.findall(r"\w+", text))
    return tuple(dict.fromkeys(name for name in names if name in SHOWN_NAMES))[:MOST_SHOWN_NAMES]


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


def request_failure(provider_error: ProviderError, spec: ClassifierSpec, address: str) -> dm.TriageError:  # noqa: PLR0911
    """Return the error for a provider's failed request: one that ends the run, or that fails only its ticket."""
    status, host = provider_error.status, urlsplit(address).netloc
    if not provider_error.html:
        tell_what_was_said(f"{host} answered {status}", dm.redact(provider_error.message, ("secret",))[0])
    reply = f" ({provider_error.summary})"
    key_hint = f"check {spec.api_key_env}" if spec.api_key_env else "the server wants a key: set api_key_env"
    if status == 402 or provider_error.says(OUT_OF_QUOTA):
        return dm.RefusedError(
            f'{host}: the account of classifier "{spec.name}" is out of quota{reply}', hint="top it up"
        )
    if provider_error.html and status < 500 and status != 429:
        return web_page_error(spec, address, status)
    if status in (401, 403, 407):
        return dm.RefusedError(f'{host} refused the key of classifier "{spec.name}"{reply}', hint=key_hint)
    if status == 404 or (status in (400, 422) and provider_error.says(UNKNOWN_MODEL)):
        return dm.ConfigError(f'{host} knows no model "{spec.model}"{reply}', hint="check model and base_url")
    if status in (405, 501):
        return dm.ConfigError(f'{host} cannot do what type "{spec.type}" asks{reply}', hint="choose another type")
    if status in (408, 409, 425, 429) or status >= 500:
        wait = retry_after(provider_error.headers, time.time())
        brief, limited = f"{host} answered {status}", status in (429, 529)
        return dm.TemporaryError(f"{host} failed{reply}", brief=brief, retry_after=wait, limited=limited)
    if status == 413 or provider_error.says(CONTEXT_EXCEEDED):
        return TooLongError("the ticket is too long for the model")
    if provider_error.says(CONTENT_FILTERED):
        return dm.AnswerError("refused by the provider's content filter")
    return RejectedError(f"{host} did not take the request{reply}")


def connection_failure(error: Exception) -> dm.TemporaryError:
    """Return the error for a connection to a provider that could not be opened, or that broke."""
    import httpx2

    from triage_cli.runtime import reason

    if isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout):
        return dm.TemporaryError(f"no connection: {reason(error)}", reached=False)
    return dm.TemporaryError("the connection was cut", lost=True)


def web_page_error(spec: ClassifierSpec, address: str, status: int) -> dm.TriageError:
    """Return the error for a web page in place of a provider's answer."""
    message = f'{urlsplit(address).netloc} answered classifier "{spec.name}" with a web page ({status})'
    if status in (401, 403, 407):
        return dm.RefusedError(message, hint="there may be a proxy or a login page in between")
    return dm.WebPageError(message, hint="check base_url; there may be a proxy in between")
