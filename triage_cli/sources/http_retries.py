"""Makes a source's HTTP requests again until the answer can be used, or no retry may help."""

import random
import re
import time
from collections.abc import Callable

from triage_cli.config import SourceSpec
from triage_cli.domain import DeliveryError, InputError, RefusedError, UnavailableError, UsageError
from triage_cli.ports import Pause
from triage_cli.runtime import READ, Exchange, HttpAnswer, HttpRequest, limit_wait, retry_after
from triage_cli.sources.pagination import LARGEST_PAGE

# The most retries of a source's request in a row: if the answer says when to retry, and if it does not.
MOST_ASKED_RETRIES, MOST_RETRIES = 100, 8
# Seconds to wait before a retry if the answer does not say.
FIRST_BACKOFF, LONGEST_BACKOFF = 0.25, 60.0
# How many characters of a source's refusal are shown.
SHOWN = 200


class RetriedRequests:
    """Makes the requests of one source with retries.

    `hide` removes the secrets from a text: an answer may repeat its request. `has_answered` is set once a list was
    read, now or at an earlier pull: from then on an HTML page means that the system is down for a while. `until` is the
    monotonic time at which a request is given up, whatever has come of its answer.
    """

    def __init__(self, spec: SourceSpec, hide: Callable[[str], str]) -> None:
        self.has_answered = False
        self.until: float | None = None
        self._name = spec.name
        self._auth = spec.auth
        self._hide = hide

    def answer(self, exchange: Exchange, request: HttpRequest, pause: Pause, *, lenient: bool) -> HttpAnswer | None:
        """Return the answer to a request, with retries until it can be used; None if the pull must stop.

        With `lenient`, an answer that the address does not exist is returned too.
        """
        attempts = 0
        while True:
            asked_wait: float | None = None
            try:
                answer = exchange(request._replace(until=self.until))
            except DeliveryError as error:
                if error.final:
                    raise UsageError(error.message, hint=error.hint) from error
                retry_reason = error.message
            else:
                is_usable = 200 <= answer.status < 300 and answer.complete
                if is_usable and not (self.has_answered and answer.is_page):
                    self._check_login(answer)
                    return answer
                if lenient and answer.status in (400, 404, 410, 422):
                    return answer
                retry_reason = self._retry_reason(answer)
                asked_wait = self._asked_wait(answer)
            attempts += 1
            if attempts >= (MOST_RETRIES if asked_wait is None else MOST_ASKED_RETRIES):
                failures = f"{retry_reason}, {attempts} times in a row"
                raise UnavailableError(failures, hint="try later: the same command goes on")
            backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(attempts, 10)) * random.uniform(0.5, 1)  # noqa: S311
            if pause(backoff if asked_wait is None else asked_wait, retry_reason):
                return None

    def _retry_reason(self, answer: HttpAnswer) -> str:
        """Return why an answer cannot be used, if a retry may help; raise an error if it cannot."""
        name, status = self._name, answer.status
        if 200 <= status < 300:
            if len(answer.body) >= LARGEST_PAGE:
                raise InputError(
                    f"{name}: a page is larger than {LARGEST_PAGE >> 20} MB", hint="ask for fewer items a page"
                )
            if content_encoding := answer.headers.get("content-encoding"):
                raise InputError(f"{name}: the answer is packed ({content_encoding[:40]}), which was not asked for")
            return f"{name} answered {status} with an HTML page" if answer.complete else f"{name}: an answer broke off"
        if answer.is_transient or status == 409 or _is_rate_limited(answer):  # 409: as Zendesk answers while it is busy
            return f"{name} answered {status}"
        body_start = self._hide(_body_text(answer.body))[:SHOWN]
        if status in (401, 403):
            raise self._key_refused(f"{status}", "" if body_start[:1] in ("", "<") else f" ({body_start})")
        if 300 <= status < 400:
            redirect_target = self._hide("".join(answer.target))[:SHOWN]
            raise UsageError(
                f"{name} redirects{redirect_target and f' to {redirect_target}'}, which is not followed",
                hint="name in url where it leads",
            )
        hint = "check url and auth" if status == 404 else "check url, query and next"  # GitHub's 404 may mean the key
        raise UsageError(f"{name} answered {status}: {body_start or 'nothing more'}", hint=hint)

    def _check_login(self, answer: HttpAnswer) -> None:
        """Raise `RefusedError` for a list as everybody sees it: so Jira answers a key that has expired."""
        seraph_login = answer.headers.get("x-seraph-loginreason", "")
        if seraph_login.startswith(("AUTHENTICATED_FAILED", "AUTHENTICATION_DENIED")):
            raise self._key_refused(f"{answer.status} ({seraph_login[:40]})")

    def _key_refused(self, status_text: str, reason: str = "") -> RefusedError:
        variables = self._auth.env if self._auth else ()
        hint = f"check what {' and '.join(variables)} hold{'s' if len(variables) == 1 else ''}"
        why = f"{self._name} answered {status_text}: the key is wrong or may not read this{reason}"
        return RefusedError(why, hint=hint if variables else "give it auth")

    def _asked_wait(self, answer: HttpAnswer) -> float | None:
        """Return the seconds that an answer asks to wait: `Retry-After`, else the time until its rate limit ends."""
        now = time.time()
        wait = retry_after(answer.headers, now)
        if wait is None and (answer.status == 429 or _is_rate_limited(answer)):
            return limit_wait(answer.headers, answer.body, now)
        return wait


def _is_rate_limited(answer: HttpAnswer) -> bool:
    """Return whether a refusal means too many requests, as 403 with GitHub and 400 with Linear."""
    has_limit_header = "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining", "").strip() == "0"
    names_rate_limit = re.search(rb"rate ?limit", answer.body[:1000], re.IGNORECASE) is not None
    if answer.status == 403:
        return has_limit_header or names_rate_limit
    return answer.status == 400 and names_rate_limit


def _body_text(body: bytes) -> str:
    return " ".join(body[:READ].decode("utf-8", "replace").split())
