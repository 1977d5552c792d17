"""Refusals over HTTP: the error for an answer that does not accept a delivery, and when to try again after it."""

import time
from collections.abc import Callable

from triage_cli.domain.errors import DeliveryError
from triage_cli.domain.json_values import storable_text
from triage_cli.runtime.http_exchange import READ, HttpAnswer
from triage_cli.runtime.retry import limit_wait, retry_after

# Statuses by which a gateway reports that it lost the receiver, which may have accepted the request.
GATEWAY_STATUSES = frozenset({502, 504})
GONE = 410
# Statuses by which some systems refuse too many requests, as the configuration tells: Linear 400, GitHub 403.
RATE_LIMIT_STATUSES = frozenset({400, 403})
# How many characters of a refusal's body are stored.
KEPT = 500
# The longest time, in seconds, for which a `Retry-After` delays the next attempt.
LONGEST_RETRY_AFTER = 7 * 24 * 3600.0


def refusal(name: str, answer: HttpAnswer, *, retried: bool = False, is_secret: bool = False) -> DeliveryError:
    """Return the error for an answer that does not accept.

    `retried` if the configuration has it tried again, `is_secret` if the address must not be shown.
    """
    status, now = answer.status, time.time()
    asks_to_wait = answer.headers.get("retry-after", "").strip() != "0"
    limited = asks_to_wait and (status == 429 or (retried and status in RATE_LIMIT_STATUSES))
    retried = retried or answer.is_transient  # every other refusal is final
    wait = retry_after(answer.headers, now, most=LONGEST_RETRY_AFTER) if retried else None
    if limited and wait is None:
        wait = limit_wait(answer.headers, answer.body, now)
    why, hint = f"answered {status}", ""
    if 300 <= status < 400:
        redirect_origin = "" if is_secret else answer.target[0]
        why = f"redirects{redirect_origin and f' to {redirect_origin}'}, which is not followed"
        hint = "name in url where it leads" if redirect_origin else "check url and auth"
    return DeliveryError(
        f"{name} {why}",
        hint=hint,
        final=not retried,
        status=status,
        retry_after=wait,
        doubtful=status in GATEWAY_STATUSES,
        limited=limited,
    )


def beginning_of(answer: HttpAnswer, hide: Callable[[str], str] = str) -> str | None:
    """Return the beginning of a refusal's body, without what `hide` removes; None if it is empty."""
    refusal_text = hide(answer.body[:READ].decode("utf-8", "replace"))
    return storable_text(refusal_text)[:KEPT] or None
