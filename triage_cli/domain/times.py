"""Times as ISO 8601 and as seconds since 1970."""

import re
from datetime import UTC, datetime, timedelta

# RFC 3339, as `format: date-time` means it, and a day alone.
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def now() -> str:
    """Return the present time as ISO 8601 in UTC, with milliseconds and Z."""
    return timestamp(datetime.now(UTC))


def timestamp(moment: datetime) -> str:
    """Return a moment in UTC as `now` has it, so that the texts of two times compare as the times do."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(seconds: float) -> str:
    """Return the time so many seconds ago, in the format of `now`."""
    return timestamp(datetime.now(UTC) - timedelta(seconds=seconds))


def rfc3339(moment: str) -> datetime:
    """Return a time of RFC 3339; a day alone is its beginning in UTC. Raises `ValueError`."""
    if _DAY.fullmatch(moment):
        return datetime.fromisoformat(moment).replace(tzinfo=UTC)
    if not _RFC_3339.fullmatch(moment):
        raise ValueError("is no time of RFC 3339, such as 2026-11-24T08:00:00Z, and no day")
    return datetime.fromisoformat(moment.upper())


def to_seconds(moment: str) -> float:
    """Return a time of ISO 8601 as seconds since 1970; without a zone it is UTC. Raises `ValueError`."""
    parsed_time = datetime.fromisoformat(moment)
    return (parsed_time if parsed_time.tzinfo else parsed_time.replace(tzinfo=UTC)).timestamp()


def readable_time(moment: str) -> str:
    """Return a time of ISO 8601 in UTC to the second, as sentences have it."""
    return f"{moment[:19].replace('T', ' ')}Z"


def whole_second(moment: datetime) -> str:
    """Return a moment in UTC as ISO 8601 with Z, without a fraction of a second."""
    return moment.replace(tzinfo=None, microsecond=0).isoformat() + "Z"


def from_seconds(moment: int) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC."""
    return whole_second(datetime.fromtimestamp(moment, UTC))


def period_text(period: timedelta) -> str:
    """Return a period in the largest unit that it is a multiple of, such as `2h` or `7d`."""
    seconds = period.total_seconds()
    for unit, letter in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds % unit == 0:
            return f"{seconds / unit:g}{letter}"
    return f"{seconds:g}s"
