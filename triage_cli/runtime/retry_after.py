"""The wait that a response asks for: header `Retry-After` (RFC 9110, 10.2.3), or OpenAI's `retry-after-ms`."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

FOREVER = 1e9  # seconds; longer waits are cut to this


def retry_after(headers: Mapping[str, str], now: float, *, most: float = FOREVER) -> float | None:
    """Return the seconds that a response asks to wait, at most `most`; None if it asks for no valid time.

    `now` is seconds since 1970, for a header with a date; a date without a zone is taken as UTC.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _seconds(headers.get(name, "").strip(), now, scale)
        if seconds is not None and seconds > 0:  # false for NaN too
            return min(seconds, most)
    return None


def _seconds(value: str, now: float, scale: float) -> float | None:
    try:
        return float(value) * scale
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, OverflowError, OSError):
        return None
