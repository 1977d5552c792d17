"""How long a response asks to wait: the header `Retry-After` (RFC 9110, 10.2.3), and OpenAI's in milliseconds."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

FOREVER = 1e9  # seconds that a longer wait counts as


def retry_after(headers: Mapping[str, str], now: float, *, most: float = FOREVER) -> float | None:
    """Return the seconds that a response asks to wait, no more than `most`; None where it asks for nothing sensible.

    `now` is seconds since 1970, for a header that names a date; a date without a zone is taken as UTC.
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
